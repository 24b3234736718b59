//! The trigram with add-delta smoothing (Lidstone): what counting alone reaches, the control of every text model.
//!
//! `p(c | a, b) = (n(a, b, c) + delta) / (n(a, b) + delta V)` with `V` the vocabulary. The counts come from windows: the
//! first token of a window is given and never predicted, the second is predicted from the first alone (its context is
//! "start of the window" and that token). So a trigram counted on the windows that a network was trained on has seen
//! what the network saw, as often. Host code, without LibTorch.

use std::collections::HashMap;

use ebm_core::{Error, Result};

/// Counts of three tokens in a row.
///
/// ```
/// use ebm_models::ngram::Trigram;
/// let mut trigram = Trigram::new(3)?;
/// trigram.count(&[0, 1, 2, 1, 2, 1])?;
/// let p = trigram.probability(Some(1), 2, 1, 0.5)?;
/// assert_eq!(p, (2.0 + 0.5) / (2.0 + 0.5 * 3.0));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trigram {
    vocabulary: usize,
    /// By the two tokens before (the first is `None` at the start of a window) and the token.
    counts: HashMap<(Option<i64>, i64, i64), u64>,
    /// By the two tokens before.
    totals: HashMap<(Option<i64>, i64), u64>,
}

impl Trigram {
    /// No counts yet; tokens are in `0..vocabulary`.
    ///
    /// # Errors
    /// When `vocabulary` is 0.
    pub fn new(vocabulary: usize) -> Result<Self> {
        if vocabulary == 0 {
            return Err(Error::bad_value("vocabulary", 0, "at least 1", "bytes have 256"));
        }
        Ok(Self { vocabulary, counts: HashMap::new(), totals: HashMap::new() })
    }

    /// The number of different tokens.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The predictions that were counted.
    pub fn n_counted(&self) -> u64 {
        self.totals.values().sum()
    }

    /// Counts one window: all its tokens but the first.
    ///
    /// # Errors
    /// When a token is outside the vocabulary; then nothing is counted.
    pub fn count(&mut self, window: &[i64]) -> Result<()> {
        self.check(window)?;
        for (before, last, next) in predictions(window) {
            *self.counts.entry((before, last, next)).or_default() += 1;
            *self.totals.entry((before, last)).or_default() += 1;
        }
        Ok(())
    }

    /// `p(next | before, last)`; `before` is `None` where `last` is the first token of a window.
    ///
    /// # Errors
    /// When `delta` is not above 0 and finite, or a token is outside the vocabulary.
    pub fn probability(&self, before: Option<i64>, last: i64, next: i64, delta: f64) -> Result<f64> {
        check_delta(delta)?;
        self.check(&[before.unwrap_or(last), last, next])?;
        Ok(self.smoothed((before, last, next), delta))
    }

    fn smoothed(&self, (before, last, next): (Option<i64>, i64, i64), delta: f64) -> f64 {
        let count = |n: Option<&u64>| n.map_or(0.0, |&n| n as f64);
        let seen = count(self.counts.get(&(before, last, next)));
        (seen + delta) / (count(self.totals.get(&(before, last))) + delta * self.vocabulary as f64)
    }

    /// The surprise `-log2 p` of each predicted token of a window: one number fewer than its tokens, in bits.
    ///
    /// # Errors
    /// As for [`Trigram::probability`].
    pub fn bits(&self, window: &[i64], delta: f64) -> Result<Vec<f64>> {
        check_delta(delta)?;
        self.check(window)?;
        Ok(predictions(window).map(|prediction| -self.smoothed(prediction, delta).log2()).collect())
    }

    /// The mean surprise over all predicted tokens of these windows, in bits a token: bits per byte when tokens are
    /// bytes.
    ///
    /// # Errors
    /// As for [`Trigram::probability`], and when the windows predict nothing.
    pub fn bits_per_token<'a>(
        &self,
        windows: impl IntoIterator<Item = &'a [i64]>,
        delta: f64,
    ) -> Result<f64> {
        let (mut sum, mut n) = (0.0, 0usize);
        for window in windows {
            let bits = self.bits(window, delta)?;
            sum += bits.iter().sum::<f64>();
            n += bits.len();
        }
        if n == 0 {
            return Err(Error::bad_value(
                "predicted tokens",
                0,
                "at least 1",
                "windows hold two tokens or more",
            ));
        }
        Ok(sum / n as f64)
    }

    /// The `delta` among `candidates` with the fewest bits on these windows, with those bits a token; the first of equals.
    /// Choose it on validation data.
    ///
    /// # Errors
    /// As for [`Trigram::bits_per_token`], and without candidates.
    pub fn best_delta(&self, windows: &[&[i64]], candidates: &[f64]) -> Result<(f64, f64)> {
        let mut best: Option<(f64, f64)> = None;
        for &delta in candidates {
            let bits = self.bits_per_token(windows.iter().copied(), delta)?;
            if best.is_none_or(|(_, least)| bits < least) {
                best = Some((delta, bits));
            }
        }
        best.ok_or_else(|| Error::bad_value("candidates", 0, "at least 1", "`DELTAS` is a fair choice"))
    }

    fn check(&self, tokens: &[i64]) -> Result<()> {
        let outside = |token: &i64| usize::try_from(*token).map_or(true, |token| token >= self.vocabulary);
        match tokens.iter().position(outside) {
            None => Ok(()),
            Some(position) => Err(Error::bad_value(
                format!("token at position {position}"),
                tokens[position],
                format!("in 0..{}, the vocabulary", self.vocabulary),
                "was another tokeniser used?",
            )),
        }
    }
}

/// Candidates for [`Trigram::best_delta`]: three a decade from 0.001 to 1.
pub const DELTAS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// (token before the last, last token, token predicted) along a window.
fn predictions(window: &[i64]) -> impl Iterator<Item = (Option<i64>, i64, i64)> + '_ {
    window
        .windows(2)
        .enumerate()
        .map(|(at, pair)| (at.checked_sub(1).map(|before| window[before]), pair[0], pair[1]))
}

fn check_delta(delta: f64) -> Result<()> {
    if delta > 0.0 && delta.is_finite() {
        return Ok(());
    }
    Err(Error::bad_value("delta", delta, "above 0 and finite", "0.01 to 0.1 is usual"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three windows over the alphabet 0, 1, 2.
    const WINDOWS: [&[i64]; 3] = [&[0, 1, 2, 0, 1, 2], &[0, 1, 1, 0, 1, 2], &[2, 0, 1]];

    fn trigram() -> Trigram {
        let mut trigram = Trigram::new(3).unwrap();
        WINDOWS.iter().for_each(|window| trigram.count(window).unwrap());
        trigram
    }

    #[test]
    fn probabilities_are_those_of_the_closed_form_and_sum_to_one() {
        let trigram = trigram();
        assert_eq!(trigram.n_counted(), 5 + 5 + 2);
        let contexts = [None, Some(0), Some(1), Some(2)];
        for delta in [0.01, 0.5, 3.0] {
            for before in contexts {
                for last in 0..3 {
                    // Counted by enumeration of all places instead of maps.
                    let places = || WINDOWS.iter().flat_map(|w| (1..w.len()).map(move |i| (w, i)));
                    let here =
                        |w: &[i64], i: usize| w[i - 1] == last && i.checked_sub(2).map(|j| w[j]) == before;
                    let total = places().filter(|(w, i)| here(w, *i)).count() as f64;
                    let mut sum = 0.0;
                    for next in 0..3 {
                        let n = places().filter(|(w, i)| here(w, *i) && w[*i] == next).count() as f64;
                        let p = trigram.probability(before, last, next, delta).unwrap();
                        assert!((p - (n + delta) / (total + 3.0 * delta)).abs() < 1e-15);
                        sum += p;
                    }
                    assert!((sum - 1.0).abs() < 1e-15);
                }
            }
        }
        // After (0, 1) came 2 three times and 1 once.
        assert_eq!(trigram.probability(Some(0), 1, 2, 1.0).unwrap(), 4.0 / 7.0);
    }

    #[test]
    fn bits_are_the_mean_surprise_and_nothing_seen_is_uniform() {
        let empty = Trigram::new(8).unwrap();
        assert_eq!(empty.bits_per_token([&[1i64, 2, 3, 7][..]], 0.1).unwrap(), 3.0);
        let trigram = trigram();
        let expected: f64 = [(None, 0, 1), (Some(0), 1, 2)]
            .map(|(before, last, next)| -trigram.probability(before, last, next, 0.2).unwrap().log2())
            .iter()
            .sum();
        assert!((trigram.bits_per_token([&[0i64, 1, 2][..]], 0.2).unwrap() - expected / 2.0).abs() < 1e-15);
        // What was counted is best explained by little smoothing, what is new by much.
        assert_eq!(trigram.best_delta(&WINDOWS, &DELTAS).unwrap().0, 0.001);
        assert_eq!(trigram.best_delta(&[&[1, 0, 2, 1, 0, 0, 2, 2]], &DELTAS).unwrap().0, 1.0);
    }

    #[test]
    fn bad_input_is_named() {
        let mut trigram = trigram();
        let error = trigram.count(&[0, 3]).unwrap_err().to_string();
        assert!(error.starts_with("token at position 1 = 3: must be in 0..3"), "{error}");
        assert_eq!(trigram.n_counted(), 12);
        assert!(trigram.count(&[-1]).is_err());
        assert!(trigram.bits(&[0, 1], 0.0).unwrap_err().to_string().contains("delta"));
        assert!(trigram.bits_per_token([&[0i64][..]], 1.0).is_err());
        assert!(trigram.best_delta(&[&[0, 1]], &[]).is_err());
        assert!(Trigram::new(0).is_err());
    }
}
