//! Windows of `context + 1` tokens within documents: a model sees the first `context` and predicts the last `context`.

use std::sync::Arc;

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};
use ndarray::Array2;

use super::Corpus;

/// Where a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The document's number.
    pub document: usize,
    /// The position of the first token in it.
    pub start: usize,
}

/// The windows of a corpus; none crosses the end of a document.
#[derive(Clone, Debug)]
pub struct Windows {
    corpus: Arc<Corpus>,
    context: usize,
    /// The documents that hold a window, each with the number of places in it and in those before it.
    documents: Vec<(usize, usize)>,
}

impl Windows {
    /// The windows of `context + 1` tokens.
    ///
    /// # Errors
    /// When `context` is 0, or no document is long enough for one window.
    pub fn new(corpus: Arc<Corpus>, context: usize) -> Result<Self> {
        if context == 0 {
            return Err(Error::bad_value("context", 0, "at least 1", "64 is usual for bytes"));
        }
        let (mut documents, mut n_places, mut longest) = (Vec::new(), 0, 0);
        for document in 0..corpus.n_documents() {
            let length = corpus.document_len(document);
            longest = longest.max(length);
            if length > context {
                n_places += length - context;
                documents.push((document, n_places));
            }
        }
        if documents.is_empty() {
            return Err(Error::bad_value(
                "context",
                context,
                format!("below {longest}, the tokens of the longest document of {}", corpus.name()),
                "take a smaller context or longer texts",
            ));
        }
        Ok(Self { corpus, context, documents })
    }

    /// The corpus.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// The tokens that a window predicts; it holds one more.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The places where a window can be.
    pub fn n_places(&self) -> usize {
        self.documents.last().map_or(0, |last| last.1)
    }

    /// The `n` windows of training step `step`: uniformly random places, a function of `seed` and `step` alone
    /// (stream `Shuffle`, index `step`).
    ///
    /// What a training run saw is this for each of its steps.
    pub fn random(&self, seed: u64, step: u64, n: usize) -> Vec<Window> {
        let mut stream = Stream::new(seed, Purpose::Shuffle, step);
        (0..n).map(|_| self.place(stream.below(self.n_places()))).collect()
    }

    fn place(&self, place: usize) -> Window {
        let index = self.documents.partition_point(|&(_, end)| end <= place);
        let before = index.checked_sub(1).map_or(0, |previous| self.documents[previous].1);
        Window { document: self.documents[index].0, start: place - before }
    }

    /// Windows for evaluation, in order: `context` tokens apart, so that no token is predicted twice. A document's
    /// first token is not predicted, nor those at its end that fill no window.
    pub fn in_order(&self) -> impl Iterator<Item = Window> + '_ {
        self.documents.iter().flat_map(move |&(document, _)| {
            let n = (self.corpus.document_len(document) - 1) / self.context;
            (0..n).map(move |i| Window { document, start: i * self.context })
        })
    }

    /// The number of windows of [`Windows::in_order`].
    pub fn n_in_order(&self) -> usize {
        self.documents
            .iter()
            .map(|&(document, _)| (self.corpus.document_len(document) - 1) / self.context)
            .sum()
    }

    /// The tokens of these windows, one a row: `[windows, context + 1]`.
    ///
    /// # Errors
    /// When a window is not within its document, or a mapped file holds a token outside its vocabulary.
    pub fn tokens(&self, windows: &[Window]) -> Result<Array2<i64>> {
        let mut row = vec![0; self.context + 1];
        let mut tokens = Array2::zeros((windows.len(), row.len()));
        for (window, mut out) in windows.iter().zip(tokens.rows_mut()) {
            self.corpus.read(window.document, window.start, &mut row)?;
            out.iter_mut().zip(&row).for_each(|(out, &token)| *out = i64::from(token));
        }
        Ok(tokens)
    }

    /// How many different tokens of the corpus these windows predict (windows may overlap).
    ///
    /// # Errors
    /// When a window is not within its document.
    pub fn n_distinct(&self, windows: impl IntoIterator<Item = Window>) -> Result<usize> {
        let mut seen = vec![false; self.corpus.n_tokens()];
        for Window { document, start } in windows {
            let range = self.corpus.range(document).filter(|range| start + self.context < range.len());
            let Some(range) = range else {
                let found = format!("start {start} in document {document}");
                return Err(Error::bad_value("window", found, "within its document", ""));
            };
            let first = range.start + start + 1;
            seen[first..first + self.context].fill(true);
        }
        Ok(seen.into_iter().filter(|&seen| seen).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(lengths: &[usize], context: usize) -> Windows {
        let mut next = 0..;
        let documents: Vec<Vec<u32>> = lengths.iter().map(|&n| next.by_ref().take(n).collect()).collect();
        Windows::new(Arc::new(Corpus::new("numbers", &documents, 1000).unwrap()), context).unwrap()
    }

    #[test]
    fn every_place_is_a_whole_window_of_one_document() {
        let windows = windows(&[3, 5, 0, 4, 9], 4);
        assert_eq!(windows.n_places(), 1 + 5);
        let places: Vec<Window> = (0..6).map(|place| windows.place(place)).collect();
        assert_eq!(places[0], Window { document: 1, start: 0 });
        assert_eq!(places[5], Window { document: 4, start: 4 });
        let tokens = windows.tokens(&places).unwrap();
        assert_eq!(tokens.row(0).to_vec(), [3, 4, 5, 6, 7]);
        assert_eq!(tokens.row(5).to_vec(), [16, 17, 18, 19, 20]);
        assert_eq!(windows.n_distinct(places).unwrap(), 4 + 8);
        assert!(windows.tokens(&[Window { document: 4, start: 5 }]).is_err());
        assert!(windows.n_distinct([Window { document: 4, start: 5 }]).is_err());
    }

    #[test]
    fn random_windows_are_a_function_of_seed_and_step_and_uniform() {
        let windows = windows(&[3, 5, 0, 4, 9], 4);
        assert_eq!(windows.random(1, 2, 8), windows.random(1, 2, 8));
        assert_ne!(windows.random(1, 2, 8), windows.random(1, 3, 8));
        assert_ne!(windows.random(1, 2, 8), windows.random(2, 2, 8));
        assert_eq!(windows.random(1, 2, 8)[..3], windows.random(1, 2, 3));
        let mut counts = std::collections::HashMap::new();
        for window in windows.random(0, 0, 60_000) {
            *counts.entry(window).or_insert(0usize) += 1;
        }
        // 10,000 of each of the six, within five standard errors (91).
        assert!(counts.len() == 6 && counts.values().all(|n| n.abs_diff(10_000) < 460), "{counts:?}");
    }

    #[test]
    fn evaluation_predicts_each_token_once() {
        let windows = windows(&[4, 5, 9, 14, 2], 4);
        let all: Vec<Window> = windows.in_order().collect();
        assert_eq!(all.len(), windows.n_in_order());
        let places: Vec<_> = all.iter().map(|w| (w.document, w.start)).collect();
        assert_eq!(places, [(1, 0), (2, 0), (2, 4), (3, 0), (3, 4), (3, 8)]);
        assert_eq!(windows.n_distinct(all).unwrap(), 6 * 4);
    }

    #[test]
    fn impossible_contexts_are_errors() {
        let corpus = Arc::new(Corpus::new("short", &[vec![1, 2, 3]], 4).unwrap());
        let error = Windows::new(corpus.clone(), 3).unwrap_err().to_string();
        assert!(error.contains("below 3, the tokens of the longest document of short"), "{error}");
        assert!(Windows::new(corpus.clone(), 0).is_err());
        assert_eq!(Windows::new(corpus, 2).unwrap().n_places(), 1);
        assert!(Windows::new(Arc::new(Corpus::new("none", &[], 4).unwrap()), 1).is_err());
    }
}
