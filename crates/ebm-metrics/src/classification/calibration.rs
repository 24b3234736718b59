//! Calibration: is an answer given with confidence p right with probability p?
//!
//! Expected calibration error with equal-width bins `(k/n, (k+1)/n]` (Guo et al. 2017, arXiv 1706.04599; JEM,
//! arXiv 1912.03263, uses 20 bins): `ECE = sum_bins (count / N) |accuracy - confidence|`.
//! A confidence of 0 falls into the first bin. The ECE of a finite sample lies above that of the population, and
//! resampling adds to that once more, so its percentile interval is not centred on the value and may even lie
//! above it: to compare two models, look at both intervals with the same bins and number of items.

use ebm_core::{Error, Result};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{check_labelled, correctness, log_softmax};
use crate::bootstrap::{Bootstrap, bootstrap, estimate};
use crate::check;
use crate::interval::Estimate;

/// The number of bins in JEM's evaluation.
pub const DEFAULT_BINS: usize = 20;

/// One bar of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end of the confidences (not included, but for the first bin).
    pub low: f64,
    /// Upper end (included).
    pub high: f64,
    /// Number of items.
    pub count: usize,
    /// Mean confidence of the items (0 in an empty bin).
    pub confidence: f64,
    /// Share of right answers (0 in an empty bin).
    pub accuracy: f64,
}

/// A reliability diagram and what it sums up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The bins, from low to high confidence.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error, in `[0, 1]`.
    pub ece: f64,
    /// The largest gap of a bin that holds items.
    pub largest_gap: f64,
}

/// The largest probability of each item, and whether that class is the label: what [`calibration`] takes.
///
/// # Errors
/// An empty matrix, a number that is not finite, unequal lengths, or a label out of range.
pub fn confidences(logits: ArrayView2<f64>, labels: &[usize]) -> Result<(Vec<f64>, Vec<bool>)> {
    check_labelled(logits, labels)?;
    let log_p = log_softmax(logits)?;
    // Rounding may lift a certain answer above 1 by one unit in the last place.
    let largest =
        |row: ndarray::ArrayView1<f64>| row.fold(f64::NEG_INFINITY, |m, &x| m.max(x)).exp().min(1.0);
    Ok((log_p.rows().into_iter().map(largest).collect(), correctness(logits, labels)?))
}

/// The reliability diagram of `confidence` (in `[0, 1]`) and `correct`, one of each per item.
///
/// # Errors
/// No items, unequal lengths, a confidence outside `[0, 1]`, or no bins.
pub fn calibration(confidence: &[f64], correct: &[bool], n_bins: usize) -> Result<Calibration> {
    let bin_of = assign_bins(confidence, correct, n_bins)?;
    let sums = sum_bins(n_bins, (0..confidence.len()).map(|i| (bin_of[i], confidence[i], correct[i])));
    let bin = |(k, sum): (usize, &BinSum)| {
        let count = sum.count.max(1.0);
        CalibrationBin {
            low: edge(k, n_bins),
            high: edge(k + 1, n_bins),
            count: sum.count as usize,
            confidence: sum.confidence / count,
            accuracy: sum.right / count,
        }
    };
    let bins: Vec<CalibrationBin> = sums.iter().enumerate().map(bin).collect();
    let largest_gap = bins.iter().map(|b| (b.accuracy - b.confidence).abs()).fold(0.0, f64::max);
    Ok(Calibration { bins, ece: error_of_sums(&sums, confidence.len()), largest_gap })
}

/// The expected calibration error alone; see [`calibration`].
///
/// # Errors
/// As [`calibration`].
pub fn calibration_error(confidence: &[f64], correct: &[bool], n_bins: usize) -> Result<f64> {
    Ok(calibration(confidence, correct, n_bins)?.ece)
}

/// The expected calibration error with its bootstrap interval over the items (see the module's note on its bias).
///
/// # Errors
/// As [`calibration`], or unusable settings.
pub fn calibration_error_interval(
    confidence: &[f64],
    correct: &[bool],
    n_bins: usize,
    settings: &Bootstrap,
) -> Result<Estimate> {
    let bin_of = assign_bins(confidence, correct, n_bins)?;
    let n = confidence.len();
    let error = |items: &mut dyn Iterator<Item = usize>| {
        error_of_sums(&sum_bins(n_bins, items.map(|i| (bin_of[i], confidence[i], correct[i]))), n)
    };
    let errors =
        bootstrap(n, settings.n_resamples, settings.seed, |items| error(&mut items.iter().copied()))?;
    estimate(error(&mut (0..n)), &errors, settings)
}

#[derive(Clone, Default)]
struct BinSum {
    count: f64,
    confidence: f64,
    right: f64,
}

fn sum_bins(n_bins: usize, items: impl Iterator<Item = (u32, f64, bool)>) -> Vec<BinSum> {
    let mut sums = vec![BinSum::default(); n_bins];
    for (bin, confidence, correct) in items {
        let sum = &mut sums[bin as usize];
        sum.count += 1.0;
        sum.confidence += confidence;
        sum.right += f64::from(correct);
    }
    sums
}

fn error_of_sums(sums: &[BinSum], n_items: usize) -> f64 {
    sums.iter().map(|s| (s.right - s.confidence).abs()).sum::<f64>() / n_items as f64
}

fn edge(k: usize, n_bins: usize) -> f64 {
    k as f64 / n_bins as f64
}

/// The bin of each confidence.
fn assign_bins(confidence: &[f64], correct: &[bool], n_bins: usize) -> Result<Vec<u32>> {
    check::at_least("confidence", confidence.len(), 1)?;
    check::same_len("correct (one per confidence)", confidence.len(), correct.len())?;
    if n_bins == 0 || n_bins > 1_000_000 {
        return Err(Error::bad_value("n_bins", n_bins, "from 1 to 1000000", "20 is usual"));
    }
    if let Some(i) = confidence.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::bad_value(format!("confidence[{i}]"), confidence[i], "from 0 to 1", ""));
    }
    let bin = |&p: &f64| {
        let mut k = ((p * n_bins as f64) as usize).min(n_bins - 1);
        // The product is rounded; the edges decide.
        if k > 0 && p <= edge(k, n_bins) {
            k -= 1;
        } else if p > edge(k + 1, n_bins) {
            k += 1;
        }
        k as u32
    };
    Ok(confidence.iter().map(bin).collect())
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    /// Four bins: {0.3, 0.5} one right, {0.6, 0.7, 0.75} all right, {0.9, 1.0} none right.
    #[test]
    fn a_hand_made_table() {
        let confidence = [0.3, 0.5, 0.6, 0.7, 0.75, 0.9, 1.0];
        let correct = [true, false, true, true, true, false, false];
        let c = calibration(&confidence, &correct, 4).unwrap();
        assert_eq!(c.bins.iter().map(|b| b.count).collect::<Vec<_>>(), [0, 2, 3, 2]);
        assert_abs_diff_eq!(c.bins[1].confidence, 0.4, epsilon = 1e-15);
        assert_eq!((c.bins[1].accuracy, c.bins[2].accuracy, c.bins[3].accuracy), (0.5, 1.0, 0.0));
        assert_eq!((c.bins[1].low, c.bins[1].high), (0.25, 0.5));
        // (|1 - 0.8| + |3 - 2.05| + |0 - 1.9|) / 7.
        assert_abs_diff_eq!(c.ece, (0.2 + 0.95 + 1.9) / 7.0, epsilon = 1e-15);
        assert_abs_diff_eq!(c.largest_gap, 0.95, epsilon = 1e-15);
        assert_eq!(calibration_error(&confidence, &correct, 4).unwrap(), c.ece);
        let e = calibration_error_interval(&confidence, &correct, 4, &Bootstrap::default()).unwrap();
        assert!(e.value == c.ece && e.interval.low >= 0.0 && e.interval.high <= 1.0);
    }

    #[test]
    fn every_edge_falls_into_the_bin_below_it() {
        for n_bins in [1, 3, 7, 10, 15, 20] {
            let edges: Vec<f64> = (0..=n_bins).map(|k| edge(k, n_bins)).collect();
            let bins = assign_bins(&edges, &vec![true; n_bins + 1], n_bins).unwrap();
            let expected: Vec<u32> = (0..=n_bins).map(|k| k.saturating_sub(1) as u32).collect();
            assert_eq!(bins, expected);
        }
    }

    #[test]
    fn confidences_are_the_largest_probabilities() {
        let logits = array![[0.0, 3f64.ln()], [800.0, 0.0]];
        let (p, right) = confidences(logits.view(), &[0, 0]).unwrap();
        assert_abs_diff_eq!(p[0], 0.75, epsilon = 1e-15);
        assert_eq!((p[1], right), (1.0, vec![false, true]));
    }

    #[test]
    fn bad_input_is_named() {
        let text = |r: Result<f64>| r.unwrap_err().to_string();
        assert!(text(calibration_error(&[0.5, 1.1], &[true, true], 20)).starts_with("confidence[1] = 1.1"));
        assert!(text(calibration_error(&[f64::NAN], &[true], 20)).starts_with("confidence[0] = NaN"));
        assert!(text(calibration_error(&[0.5], &[], 20)).contains("expected 1, found 0"));
        assert!(text(calibration_error(&[0.5], &[true], 0)).starts_with("n_bins = 0"));
        assert!(calibration_error(&[], &[], 20).is_err());
    }
}
