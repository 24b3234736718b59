//! Area under the receiver operating characteristic: `P(s+ > s-) + P(s+ = s-) / 2` over all pairs of one
//! positive and one negative item, exact with ties, in O(n log n).
//!
//! It is the Mann-Whitney statistic over the number of pairs (Hanley and McNeil 1982,
//! doi:10.1148/radiology.143.1.7063747). For outlier detection: positives are the in-distribution items, and the
//! score is high for them (`-E(x)`, the largest probability, ...).

use ebm_core::{Error, Result};

use crate::bootstrap::{Bootstrap, bootstrap_stratified, estimate};
use crate::check;
use crate::interval::Estimate;

/// AUROC of scores that should be high for `positive` and low for `negative` items; 0.5 is chance.
///
/// # Errors
/// An empty group (a class is missing), or a score that is not finite.
pub fn auroc(positive: &[f64], negative: &[f64]) -> Result<f64> {
    Ok(Ranked::new(positive, negative)?.area())
}

/// [`auroc`] of one list of scores, `is_positive[i]` telling the class of item i.
///
/// # Errors
/// Unequal lengths, one class only, or a score that is not finite.
pub fn auroc_labelled(scores: &[f64], is_positive: &[bool]) -> Result<f64> {
    check::same_len("is_positive (one per score)", scores.len(), is_positive.len())?;
    check::finite("scores", scores)?;
    let group = |wanted: bool| -> Vec<f64> {
        scores.iter().zip(is_positive).filter(|&(_, &p)| p == wanted).map(|(&s, _)| s).collect()
    };
    let (positive, negative) = (group(true), group(false));
    if positive.is_empty() || negative.is_empty() {
        let found = if positive.is_empty() { "no positive item" } else { "no negative item" };
        return Err(Error::shape("is_positive", "items of both classes", format_args!("{found}")));
    }
    auroc(&positive, &negative)
}

/// [`auroc`] with its bootstrap interval; positives and negatives are resampled apart.
///
/// # Errors
/// As [`auroc`], or unusable settings.
pub fn auroc_interval(positive: &[f64], negative: &[f64], settings: &Bootstrap) -> Result<Estimate> {
    let ranked = Ranked::new(positive, negative)?;
    let Bootstrap { n_resamples, seed, .. } = *settings;
    let areas = bootstrap_stratified(positive.len(), negative.len(), n_resamples, seed, |p, n| {
        ranked.resampled(p, n)
    })?;
    estimate(ranked.area(), &areas, settings)
}

/// `auroc(a) - auroc(b)` of two models on the same items, with its paired, stratified bootstrap interval.
///
/// # Errors
/// As [`auroc`], groups of unequal lengths, or unusable settings.
pub fn auroc_difference(
    (positive_a, negative_a): (&[f64], &[f64]),
    (positive_b, negative_b): (&[f64], &[f64]),
    settings: &Bootstrap,
) -> Result<Estimate> {
    check::same_len("positive scores of b (as a)", positive_a.len(), positive_b.len())?;
    check::same_len("negative scores of b (as a)", negative_a.len(), negative_b.len())?;
    let (a, b) = (Ranked::new(positive_a, negative_a)?, Ranked::new(positive_b, negative_b)?);
    let Bootstrap { n_resamples, seed, .. } = *settings;
    let differences = bootstrap_stratified(positive_a.len(), negative_a.len(), n_resamples, seed, |p, n| {
        a.resampled(p, n) - b.resampled(p, n)
    })?;
    estimate(a.area() - b.area(), &differences, settings)
}

/// Where each score stands among the distinct scores: sorted once, so that a resample costs O(n).
struct Ranked {
    n_levels: usize,
    positive: Vec<u32>,
    negative: Vec<u32>,
}

impl Ranked {
    fn new(positive: &[f64], negative: &[f64]) -> Result<Self> {
        check::at_least("positive scores", positive.len(), 1)?;
        check::at_least("negative scores", negative.len(), 1)?;
        check::finite("positive", positive)?;
        check::finite("negative", negative)?;
        let mut levels: Vec<f64> = positive.iter().chain(negative).copied().collect();
        levels.sort_unstable_by(f64::total_cmp);
        // Not by bits: -0.0 and 0.0 are a tie.
        levels.dedup_by(|a, b| a == b);
        let find = |s: &f64| levels.partition_point(|level| level < s) as u32;
        Ok(Self {
            n_levels: levels.len(),
            positive: positive.iter().map(find).collect(),
            negative: negative.iter().map(find).collect(),
        })
    }

    fn area(&self) -> f64 {
        area_of_levels(self.n_levels, self.positive.iter().copied(), self.negative.iter().copied())
    }

    /// The area of the items with these indices.
    fn resampled(&self, positive: &[usize], negative: &[usize]) -> f64 {
        area_of_levels(
            self.n_levels,
            positive.iter().map(|&i| self.positive[i]),
            negative.iter().map(|&i| self.negative[i]),
        )
    }
}

fn area_of_levels(
    n_levels: usize,
    positive: impl Iterator<Item = u32>,
    negative: impl Iterator<Item = u32>,
) -> f64 {
    // (positives, negatives) at each distinct score, ascending.
    let mut counts = vec![(0_u64, 0_u64); n_levels];
    positive.for_each(|level| counts[level as usize].0 += 1);
    negative.for_each(|level| counts[level as usize].1 += 1);
    // Twice the number of won pairs is whole, so the sum is exact.
    let (mut twice_won, mut below, mut n_positive) = (0_u128, 0, 0);
    for (positive, negative) in counts {
        twice_won += u128::from(positive) * u128::from(2 * below + negative);
        below += negative;
        n_positive += positive;
    }
    twice_won as f64 / (2.0 * n_positive as f64 * below as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_enumeration(positive: &[f64], negative: &[f64]) -> f64 {
        let mut won = 0.0;
        for p in positive {
            for n in negative {
                won += if p > n { 1.0 } else { f64::from(p == n) * 0.5 };
            }
        }
        won / (positive.len() * negative.len()) as f64
    }

    proptest! {
        #[test]
        fn equals_the_enumeration_of_pairs(
            p in proptest::collection::vec(-5_i8..5, 1..30),
            n in proptest::collection::vec(-5_i8..5, 1..30),
        ) {
            let p: Vec<f64> = p.into_iter().map(|x| f64::from(x) / 4.0).collect();
            let n: Vec<f64> = n.into_iter().map(|x| f64::from(x) / 4.0).collect();
            let area = auroc(&p, &n).unwrap();
            prop_assert!((area - by_enumeration(&p, &n)).abs() < 1e-14);
            // Swapping the classes turns it round.
            prop_assert!((area + auroc(&n, &p).unwrap() - 1.0).abs() < 1e-14);
            let scores: Vec<f64> = p.iter().chain(&n).copied().collect();
            let labels: Vec<bool> = (0..scores.len()).map(|i| i < p.len()).collect();
            prop_assert_eq!(auroc_labelled(&scores, &labels).unwrap(), area);
            // A resample by index is the area of the resampled lists.
            let (pi, ni) = (vec![0, p.len() - 1, p.len() / 2], vec![n.len() / 2, 0]);
            let pick = |x: &[f64], i: &[usize]| i.iter().map(|&i| x[i]).collect::<Vec<_>>();
            let direct = auroc(&pick(&p, &pi), &pick(&n, &ni)).unwrap();
            prop_assert_eq!(Ranked::new(&p, &n).unwrap().resampled(&pi, &ni), direct);
        }
    }

    /// Scores by a formula, many of them tied; scikit-learn:
    /// ```python
    /// import numpy as np; from sklearn.metrics import roc_auc_score
    /// i = np.arange(500); s = np.round(3 * np.sin(1.7 * i) + 0.4 * (i % 3), 1); y = i % 3 == 2
    /// print(repr(roc_auc_score(y, s)))
    /// ```
    #[test]
    fn agrees_with_scikit_learn() {
        let score = |i: usize| {
            let raw = 3.0 * (1.7 * i as f64).sin() + 0.4 * (i % 3) as f64;
            (10.0 * raw).round_ties_even() / 10.0
        };
        let scores: Vec<f64> = (0..500).map(score).collect();
        let positive: Vec<bool> = (0..500).map(|i| i % 3 == 2).collect();
        let area = auroc_labelled(&scores, &positive).unwrap();
        approx::assert_abs_diff_eq!(area, 0.593_490_729_384_604_3, epsilon = 1e-14);
    }

    #[test]
    fn known_cases() {
        assert_eq!(auroc(&[2.0, 3.0], &[0.0, 1.0]).unwrap(), 1.0);
        assert_eq!(auroc(&[0.0], &[-0.0]).unwrap(), 0.5);
        assert_eq!(auroc(&[1.0, 3.0], &[2.0]).unwrap(), 0.5);
    }

    #[test]
    fn intervals_cover_the_value_and_pairing_helps() {
        let positive: Vec<f64> = (0..200).map(|i| (f64::from(i) * 1.3).sin() + 0.5).collect();
        let negative: Vec<f64> = (0..150).map(|i| (f64::from(i) * 2.1).cos()).collect();
        let settings = Bootstrap::default();
        let e = auroc_interval(&positive, &negative, &settings).unwrap();
        assert!(e.interval.contains(e.value) && e.interval.high - e.interval.low < 0.15, "{e}");
        let up: Vec<f64> = positive.iter().map(|s| s + 0.1).collect();
        let d = auroc_difference((&up, &negative), (&positive, &negative), &settings).unwrap();
        assert!(d.interval.low > 0.0 && d.interval.high - d.interval.low < 0.05, "{d}");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(auroc(&[], &[1.0]).unwrap_err().to_string().starts_with("positive scores"));
        let e = auroc(&[1.0], &[0.0, f64::NAN]).unwrap_err().to_string();
        assert!(e.starts_with("negative[1] = NaN"), "{e}");
        let e = auroc_labelled(&[1.0, 2.0], &[true, true]).unwrap_err().to_string();
        assert_eq!(e, "is_positive: expected \"items of both classes\", found no negative item");
        assert!(auroc_labelled(&[1.0], &[true, false]).is_err());
        let short: (&[f64], &[f64]) = (&[1.0], &[0.0]);
        assert!(auroc_difference(short, (&[1.0, 2.0], &[0.0]), &Bootstrap::default()).is_err());
    }
}
