//! Documents of tokens, in memory or mapped from a file.

use std::path::Path;

use ebm_core::{Error, Result};

use super::tokenizer::check_tokens;
use super::{Texts, TokenFile, Tokenizer};

/// Documents of tokens below a vocabulary's size.
#[derive(Debug)]
pub struct Corpus {
    name: String,
    vocabulary: usize,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// All documents behind one another; document `i` is `tokens[offsets[i]..offsets[i + 1]]`.
    Memory {
        tokens: Vec<u32>,
        offsets: Vec<usize>,
    },
    Mapped(TokenFile),
}

impl Corpus {
    /// These documents; empty ones are kept.
    ///
    /// # Errors
    /// When a token is outside the vocabulary; the text names the document and the position.
    pub fn new(name: impl Into<String>, documents: &[Vec<u32>], vocabulary: usize) -> Result<Self> {
        let name = name.into();
        let (mut tokens, mut offsets) = (Vec::new(), vec![0]);
        for (number, document) in documents.iter().enumerate() {
            check_tokens(document, vocabulary, &format!("document {number} of {name}"))?;
            tokens.extend_from_slice(document);
            offsets.push(tokens.len());
        }
        Ok(Self { name, vocabulary, store: Store::Memory { tokens, offsets } })
    }

    /// The documents of `texts` through `tokenizer`.
    ///
    /// # Errors
    /// When the tokeniser fails.
    pub fn encode(texts: &Texts, tokenizer: &Tokenizer) -> Result<Self> {
        let documents = texts.documents().iter().map(|document| tokenizer.encode(document));
        Self::new(texts.name(), &documents.collect::<Result<Vec<_>>>()?, tokenizer.vocabulary())
    }

    /// A [token file](super::token_file), mapped: windows are cut out of it without reading the rest.
    ///
    /// # Errors
    /// As for [`TokenFile::open`]. Tokens outside the vocabulary are errors when they are read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = TokenFile::open(path)?;
        let name = path.file_stem().map_or_else(|| "tokens".to_owned(), |n| n.to_string_lossy().into_owned());
        Ok(Self { name, vocabulary: file.vocabulary(), store: Store::Mapped(file) })
    }

    /// Writes a token file that [`Corpus::open`] reads.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        TokenFile::write(path, self.vocabulary, |writer| {
            for document in 0..self.n_documents() {
                let mut tokens = vec![0; self.document_len(document)];
                self.read(document, 0, &mut tokens)?;
                writer.push(&tokens)?;
            }
            Ok(())
        })
    }

    /// The name, for reports and errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All tokens are below this.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The number of documents.
    pub fn n_documents(&self) -> usize {
        match &self.store {
            Store::Memory { offsets, .. } => offsets.len() - 1,
            Store::Mapped(file) => file.n_documents(),
        }
    }

    /// The tokens of all documents together.
    pub fn n_tokens(&self) -> usize {
        match &self.store {
            Store::Memory { tokens, .. } => tokens.len(),
            Store::Mapped(file) => file.n_tokens(),
        }
    }

    /// The tokens of one document; 0 past the last.
    pub fn document_len(&self, document: usize) -> usize {
        self.range(document).map_or(0, |range| range.len())
    }

    /// Fills `out` with the tokens of `document` from position `start` on.
    ///
    /// # Errors
    /// When the document does not hold them; in a mapped file, when a token is outside the vocabulary.
    pub fn read(&self, document: usize, start: usize, out: &mut [u32]) -> Result<()> {
        let range = self.range(document).unwrap_or(0..0);
        let wanted = start.checked_add(out.len()).filter(|&end| end <= range.len());
        if wanted.is_none() {
            return Err(Error::bad_value(
                format!("tokens of document {document} of {}", self.name),
                format!("{} from position {start} on", out.len()),
                format!("within its {} tokens", range.len()),
                "",
            ));
        }
        let first = range.start + start;
        match &self.store {
            Store::Memory { tokens, .. } => out.copy_from_slice(&tokens[first..first + out.len()]),
            Store::Mapped(file) => file.read(first, out)?,
        }
        Ok(())
    }

    /// Where a document stands among all tokens.
    pub(super) fn range(&self, document: usize) -> Option<std::ops::Range<usize>> {
        match &self.store {
            Store::Memory { offsets, .. } => {
                Some(*offsets.get(document)?..*offsets.get(document.checked_add(1)?)?)
            }
            Store::Mapped(file) => file.document(document),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_memory_and_mapped_alike() {
        let documents = [vec![1, 2, 3], vec![], vec![4, 5, 6, 7]];
        let memory = Corpus::new("c", &documents, 8).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.tokens");
        memory.save(&path).unwrap();
        for corpus in [memory, Corpus::open(&path).unwrap()] {
            assert_eq!(
                (corpus.name(), corpus.vocabulary(), corpus.n_documents(), corpus.n_tokens()),
                ("c", 8, 3, 7)
            );
            assert_eq!([0, 1, 2, 3, usize::MAX].map(|i| corpus.document_len(i)), [3, 0, 4, 0, 0]);
            let mut out = [0; 2];
            corpus.read(2, 1, &mut out).unwrap();
            assert_eq!(out, [5, 6]);
            corpus.read(1, 0, &mut []).unwrap();
            for (document, start) in [(0, 2), (1, 0), (3, 0), (2, usize::MAX)] {
                let error = corpus.read(document, start, &mut out).unwrap_err().to_string();
                assert!(error.contains(&format!("document {document} of c")), "{error}");
            }
        }
    }

    #[test]
    fn tokens_outside_the_vocabulary_are_named() {
        let error = Corpus::new("c", &[vec![0], vec![1, 9]], 8).unwrap_err().to_string();
        assert!(error.starts_with("token at position 1 of document 1 of c = 9: must be below 8"), "{error}");
    }
}
