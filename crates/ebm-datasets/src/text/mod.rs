//! Text: documents, tokenisers, corpora of tokens in memory or on disk, and the windows that models see.
//!
//! The way from a file to a batch:
//!
//! 1. [`Texts`]: named documents of UTF-8, from the fetched sets ([`state_of_the_union`], ...) or any file or folder
//!    of the user's ([`texts_at`]); both come in three [`Parts`].
//! 2. [`Tokenizer`]: bytes, or byte-level BPE (feature `bpe`).
//! 3. [`Corpus`]: the documents as tokens, in memory, or mapped from a [token file](token_file) when they are large.
//! 4. [`Windows`]: pieces of `context + 1` tokens that never cross documents; random ones for training, a function
//!    of (seed, step), and all in order, without overlap of the predicted tokens, for evaluation.
//!
//! ```
//! use std::sync::Arc;
//! use ebm_datasets::text::{Corpus, Texts, Tokenizer, Windows};
//! let texts = Texts::new("proverbs", vec!["Many hands make light work.".into(), "Time flies.".into()])?;
//! let corpus = Corpus::encode(&texts, &Tokenizer::Bytes)?;
//! let windows = Windows::new(Arc::new(corpus), 8)?;
//! let batch = windows.tokens(&windows.random(0, 0, 4))?;
//! assert_eq!(batch.dim(), (4, 9));
//! # Ok::<(), ebm_core::Error>(())
//! ```

#[cfg(feature = "bpe")]
mod bpe;
pub mod brackets;
mod corpus;
mod sets;
mod shuffled;
mod texts;
pub mod token_file;
mod tokenizer;
mod windows;

#[cfg(feature = "bpe")]
pub use bpe::Bpe;
pub use corpus::Corpus;
pub use sets::{german, javascript, moby_dick, state_of_the_union};
pub use shuffled::shuffled_words;
pub use texts::{Parts, Texts, texts_at};
pub use token_file::TokenFile;
pub use tokenizer::Tokenizer;
pub use windows::{Window, Windows};
