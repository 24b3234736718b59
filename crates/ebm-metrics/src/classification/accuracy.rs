//! Accuracy: the share of items whose largest logit is the label's.

use ebm_core::Result;
use ndarray::{ArrayView1, ArrayView2};

use super::check_labelled;
use crate::bootstrap::{Bootstrap, bootstrap_mean};
use crate::check;
use crate::interval::Estimate;

/// The class with the largest logit of each row of `[item, class]`; of equals the first.
///
/// # Errors
/// An empty matrix or a number that is not finite.
pub fn predictions(logits: ArrayView2<f64>) -> Result<Vec<usize>> {
    check::matrix("logits", logits, 1)?;
    Ok(logits.rows().into_iter().map(largest).collect())
}

/// Whether each item of `[item, class]` is classified rightly.
///
/// # Errors
/// An empty matrix, a number that is not finite, unequal lengths, or a label out of range.
pub fn correctness(logits: ArrayView2<f64>, labels: &[usize]) -> Result<Vec<bool>> {
    check_labelled(logits, labels)?;
    Ok(logits.rows().into_iter().zip(labels).map(|(row, &y)| largest(row) == y).collect())
}

/// The share of right answers, in `[0, 1]`.
///
/// # Errors
/// As [`correctness`].
pub fn accuracy(logits: ArrayView2<f64>, labels: &[usize]) -> Result<f64> {
    let right = correctness(logits, labels)?.into_iter().filter(|&c| c).count();
    Ok(right as f64 / labels.len() as f64)
}

/// [`accuracy`] with its bootstrap interval over the items.
///
/// # Errors
/// As [`correctness`], or unusable settings.
pub fn accuracy_interval(
    logits: ArrayView2<f64>,
    labels: &[usize],
    settings: &Bootstrap,
) -> Result<Estimate> {
    let right: Vec<f64> = correctness(logits, labels)?.into_iter().map(f64::from).collect();
    bootstrap_mean(&right, settings)
}

fn largest(row: ArrayView1<f64>) -> usize {
    let mut best = 0;
    for (class, &logit) in row.iter().enumerate() {
        if logit > row[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn counts_right_answers_and_gives_ties_to_the_first() {
        let logits = array![[0.0, 2.0, 1.0], [3.0, 3.0, 0.0], [-1.0, -2.0, -0.5], [0.0, 0.0, 1.0]];
        assert_eq!(predictions(logits.view()).unwrap(), [1, 0, 2, 2]);
        assert_eq!(correctness(logits.view(), &[1, 1, 2, 2]).unwrap(), [true, false, true, true]);
        assert_eq!(accuracy(logits.view(), &[1, 1, 2, 2]).unwrap(), 0.75);
        let e = accuracy_interval(logits.view(), &[1, 1, 2, 2], &Bootstrap::default()).unwrap();
        assert!(e.value == 0.75 && e.interval.contains(0.75) && e.interval.low >= 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        let logits = array![[0.0, 1.0], [1.0, 0.0]];
        let text = |labels: &[usize]| accuracy(logits.view(), labels).unwrap_err().to_string();
        assert!(text(&[0]).contains("expected 2, found 1"));
        assert!(text(&[0, 2]).starts_with("labels[1] = 2: must be below 2"));
        assert!(predictions(Array2::zeros((0, 2)).view()).is_err());
        assert!(predictions(Array2::zeros((2, 0)).view()).is_err());
        let e = predictions(array![[0.0, f64::NAN]].view()).unwrap_err().to_string();
        assert!(e.starts_with("logits[0, 1] = NaN"));
    }
}
