//! From text to tokens and back.

use ebm_core::{Error, Result};

#[cfg(feature = "bpe")]
use super::Bpe;

/// How text becomes tokens, whole numbers below [`Tokenizer::vocabulary`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Tokenizer {
    /// One token a byte of UTF-8.
    Bytes,
    /// Byte-level byte-pair encoding.
    #[cfg(feature = "bpe")]
    Bpe(Box<Bpe>),
}

impl Tokenizer {
    /// The number of different tokens: 256 for bytes.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 256,
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => bpe.vocabulary(),
        }
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// When a byte-pair encoding does not know a piece of it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => bpe.encode(text),
        }
    }

    /// The bytes of these tokens. Whole texts come back as they went in; tokens cut out of a text, or generated ones,
    /// may begin or end inside a character: `String::from_utf8_lossy` shows them.
    ///
    /// # Errors
    /// When a token is outside the vocabulary; the text names its position.
    pub fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>> {
        match self {
            Self::Bytes => {
                check_tokens(tokens, 256, "the tokens")?;
                Ok(tokens.iter().map(|&token| token as u8).collect())
            }
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => bpe.decode(tokens),
        }
    }
}

/// Refuses the first token outside the vocabulary, by its position.
pub(super) fn check_tokens(tokens: &[u32], vocabulary: usize, what: &str) -> Result<()> {
    match tokens.iter().position(|&token| token as usize >= vocabulary) {
        None => Ok(()),
        Some(position) => Err(Error::bad_value(
            format!("token at position {position} of {what}"),
            tokens[position],
            format!("below {vocabulary}, the vocabulary"),
            "was another tokeniser used?",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        let text = "naïve ✓\0\n";
        let tokens = Tokenizer::Bytes.encode(text).unwrap();
        assert_eq!(tokens.len(), text.len());
        assert_eq!(Tokenizer::Bytes.decode(&tokens).unwrap(), text.as_bytes());
        let error = Tokenizer::Bytes.decode(&[1, 256, 300]).unwrap_err().to_string();
        assert!(error.starts_with("token at position 1 of the tokens = 256: must be below 256"), "{error}");
    }
}
