//! Byte-level byte-pair encoding (Sennrich, Haddow and Birch, arXiv 1508.07909, on bytes as in GPT-2), through the
//! crate `tokenizers` and in its file format.
//!
//! Every byte is a token of its own, so any text can be encoded and comes back as it was; frequent sequences within
//! words become further tokens. Nothing is added to a text: no space before it, no special tokens.

use std::collections::HashMap;
use std::path::Path;

use ebm_core::write_atomically;
use ebm_core::{Error, Result};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{ModelWrapper, Tokenizer};

use super::{Texts, tokenizer::check_tokens};

/// A byte-level byte-pair encoding.
#[derive(Clone, Debug)]
pub struct Bpe {
    tokenizer: Tokenizer,
    /// The bytes of each token.
    bytes: Vec<Vec<u8>>,
}

impl Bpe {
    /// Learns an encoding of at most `vocabulary` tokens; fewer where the texts hold too few pairs that come twice.
    ///
    /// The result depends on the texts and `vocabulary` alone.
    ///
    /// # Errors
    /// When `vocabulary` is below 256, the bytes.
    pub fn train(texts: &Texts, vocabulary: usize) -> Result<Self> {
        if vocabulary < 256 {
            let limit = "at least 256, for every byte is a token";
            return Err(Error::bad_value("vocabulary", vocabulary, limit, "4096 suits a few megabytes"));
        }
        let byte_level = ByteLevel::new(false, false, true);
        let mut tokenizer = Tokenizer::new(BPE::default());
        tokenizer.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
        let mut trainer = TrainerWrapper::BpeTrainer(
            BpeTrainer::builder()
                .show_progress(false)
                .vocab_size(vocabulary)
                .min_frequency(2)
                .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
                .build(),
        );
        tokenizer.train(&mut trainer, texts.documents().iter()).map_err(Error::user)?;
        Self::new(tokenizer, Path::new("the trained tokeniser"))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When it cannot be read, is no such file, or holds anything else than a byte-level BPE.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let tokenizer = Tokenizer::from_bytes(bytes)
            .map_err(|error| Error::data(path, None, format!("not a tokenizer.json: {error}")))?;
        Self::new(tokenizer, path)
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.tokenizer.to_string(true).map_err(Error::user)?.as_bytes())
    }

    fn new(tokenizer: Tokenizer, path: &Path) -> Result<Self> {
        let is_bpe = matches!(tokenizer.get_model(), ModelWrapper::BPE(_));
        if !is_bpe || !matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err(Error::data(path, None, "not a byte-level BPE, the only kind that is read here"));
        }
        let byte_of: HashMap<char, u8> = bytes_as_characters().into_iter().zip(0..=255).collect();
        let specials = tokenizer.get_added_tokens_decoder();
        let n_tokens = tokenizer.get_vocab_size(true) as u32;
        let bytes = (0..n_tokens).map(|id| {
            let text = tokenizer.id_to_token(id)?;
            if specials.contains_key(&id) {
                return Some(text.into_bytes());
            }
            text.chars().map(|character| byte_of.get(&character).copied()).collect()
        });
        let bytes = bytes.enumerate().map(|(id, token)| {
            let problem = || format!("token {id} of {n_tokens} is missing or not made of bytes");
            token.ok_or_else(|| Error::data(path, None, problem()))
        });
        let bytes = bytes.collect::<Result<_>>()?;
        Ok(Self { tokenizer, bytes })
    }

    /// The number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// When the text holds a byte that the file of this tokeniser leaves out.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(Error::user)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The bytes of these tokens.
    ///
    /// # Errors
    /// When a token is outside the vocabulary.
    pub fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>> {
        check_tokens(tokens, self.bytes.len(), "the tokens")?;
        Ok(tokens.iter().flat_map(|&token| &self.bytes[token as usize]).copied().collect())
    }
}

/// The character that stands for each byte in a byte-level vocabulary: itself where it can be printed, the others from
/// U+0100 on.
fn bytes_as_characters() -> Vec<char> {
    let mut others = '\u{100}'..;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => others.next().unwrap_or_default(), // never the default: the range does not end
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "The cat sat on the mat.\nThe dog sat on the cat, naïvely — ✓. 12 cats, 123 mats!\n\n  end";

    fn texts() -> Texts {
        Texts::new("cats", vec![TEXT.repeat(3), TEXT.to_uppercase()]).unwrap()
    }

    #[test]
    fn any_text_round_trips_and_familiar_text_is_short() {
        let bpe = Bpe::train(&texts(), 300).unwrap();
        assert!((257..=300).contains(&bpe.vocabulary()), "{}", bpe.vocabulary());
        for text in [TEXT, "", " ", "\u{0}\u{7f}ÿ日本語 🦀", "  leading and trailing \n"] {
            let tokens = bpe.encode(text).unwrap();
            assert_eq!(bpe.decode(&tokens).unwrap(), text.as_bytes(), "{text:?}");
        }
        assert!(bpe.encode(TEXT).unwrap().len() < TEXT.len() * 2 / 3);
        assert_eq!(bpe.decode(&[0, 9999]).unwrap_err().to_string().find("token at position 1"), Some(0));
    }

    #[test]
    fn training_is_a_function_of_the_texts_and_files_bring_it_back() {
        let bpe = Bpe::train(&texts(), 290).unwrap();
        let again = Bpe::train(&texts(), 290).unwrap();
        assert_eq!(bpe.bytes, again.bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        bpe.save(&path).unwrap();
        let read = Bpe::open(&path).unwrap();
        assert_eq!((&read.bytes, read.encode(TEXT).unwrap()), (&bpe.bytes, bpe.encode(TEXT).unwrap()));

        assert!(Bpe::train(&texts(), 255).unwrap_err().to_string().contains("at least 256"));
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Bpe::open(&path).unwrap_err().to_string()
        };
        assert!(error("{}").contains("not a tokenizer.json"), "{}", error("{}"));
        let words = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}"#;
        assert!(error(words).contains("not a byte-level BPE"), "{}", error(words));
    }

    #[test]
    fn the_alphabet_is_the_crates() {
        let alphabet: std::collections::HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        assert_eq!(bytes_as_characters().into_iter().collect::<std::collections::HashSet<_>>(), alphabet);
        let bpe = Bpe::train(&Texts::new("a", vec!["a".into()]).unwrap(), 256).unwrap();
        for text in ["a", "\n", " ", "ä"] {
            assert_eq!(bpe.decode(&bpe.encode(text).unwrap()).unwrap(), text.as_bytes());
        }
    }
}
