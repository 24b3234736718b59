//! The bootstrap: how a statistic varies when the items are drawn again with replacement.
//!
//! Percentile intervals (Efron 1979, doi:10.1214/aos/1176344552; Efron and Tibshirani 1993, chapter 13).
//! Resample number r has its own random stream, so the numbers do not depend on the threads, and two statistics
//! that use the same seed and number of items see the same items: their differences are paired.
//!
//! The interval covers the choice of test items only. The spread between training runs is another matter: see
//! [`crate::t_interval`].

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::interval::{Estimate, percentile_interval};

/// How to bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// How many resamples (1000).
    pub n_resamples: usize,
    /// The confidence level (0.95).
    pub level: f64,
    /// The seed of the resamples (0).
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { n_resamples: 1000, level: 0.95, seed: 0 }
    }
}

/// The statistic on each of `n_resamples` resamples, in their order.
///
/// `statistic` gets `n_items` indices below `n_items`, drawn with replacement. For a paired comparison of two
/// models let it return the difference of the two on the same indices.
///
/// # Errors
/// No items, no resamples, or a statistic that is not finite (the error names the resample).
///
/// ```
/// let x = [1.0, 2.0, 6.0];
/// let means = ebm_metrics::bootstrap(3, 500, 0, |items| items.iter().map(|&i| x[i]).sum::<f64>() / 3.0)?;
/// assert!(means.iter().all(|m| (1.0..=6.0).contains(m)));
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub fn bootstrap(
    n_items: usize,
    n_resamples: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> f64 + Sync,
) -> Result<Vec<f64>> {
    check::at_least("items to resample", n_items, 1)?;
    resample(n_resamples, seed, |stream, items| {
        items.clear();
        items.extend((0..n_items).map(|_| stream.below(n_items)));
        statistic(items)
    })
}

/// Like [`bootstrap`], with two groups that keep their sizes: `statistic` gets indices into the first (positive)
/// and into the second (negative) group. A ranking metric such as the AUROC needs this: an ordinary resample
/// could hold one class only.
///
/// # Errors
/// An empty group, no resamples, or a statistic that is not finite.
pub fn bootstrap_stratified(
    n_positive: usize,
    n_negative: usize,
    n_resamples: usize,
    seed: u64,
    statistic: impl Fn(&[usize], &[usize]) -> f64 + Sync,
) -> Result<Vec<f64>> {
    check::at_least("positive items to resample", n_positive, 1)?;
    check::at_least("negative items to resample", n_negative, 1)?;
    resample(n_resamples, seed, |stream, items| {
        items.clear();
        items.extend((0..n_positive).map(|_| stream.below(n_positive)));
        items.extend((0..n_negative).map(|_| stream.below(n_negative)));
        let (positive, negative) = items.split_at(n_positive);
        statistic(positive, negative)
    })
}

/// The mean of `values` with its bootstrap interval.
///
/// # Errors
/// No values, one that is not finite, or unusable settings.
pub fn bootstrap_mean(values: &[f64], settings: &Bootstrap) -> Result<Estimate> {
    check::at_least("values", values.len(), 1)?;
    check::finite("values", values)?;
    let n = values.len() as f64;
    let means = bootstrap(values.len(), settings.n_resamples, settings.seed, |items| {
        items.iter().map(|&i| values[i]).sum::<f64>() / n
    })?;
    estimate(values.iter().sum::<f64>() / n, &means, settings)
}

/// The mean of `a[i] - b[i]` with its paired bootstrap interval over the items: for two models' losses, or their
/// 0/1 correctness (then it is the difference of the accuracies), on the same items.
///
/// # Errors
/// No values, unequal lengths, a number that is not finite, or unusable settings.
pub fn paired_difference(a: &[f64], b: &[f64], settings: &Bootstrap) -> Result<Estimate> {
    check::same_len("b (as a)", a.len(), b.len())?;
    check::finite("a", a)?;
    check::finite("b", b)?;
    let differences: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).collect();
    bootstrap_mean(&differences, settings)
}

/// A value and the interval of its resamples.
pub(crate) fn estimate(value: f64, resamples: &[f64], settings: &Bootstrap) -> Result<Estimate> {
    Ok(Estimate { value, interval: percentile_interval(resamples, settings.level)? })
}

fn resample(
    n_resamples: usize,
    seed: u64,
    one: impl Fn(&mut Stream, &mut Vec<usize>) -> f64 + Sync,
) -> Result<Vec<f64>> {
    if n_resamples == 0 {
        return Err(Error::bad_value("n_resamples", 0, "at least 1", "1000 is usual"));
    }
    let values: Vec<f64> = (0..n_resamples as u64)
        .into_par_iter()
        .map_init(Vec::new, |items, r| one(&mut Stream::new(seed, Purpose::Bootstrap, r), items))
        .collect();
    check::finite("statistic of resample", &values)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(x: &[f64]) -> f64 {
        x.iter().sum::<f64>() / x.len() as f64
    }

    /// The bootstrap variance of a mean is exactly the (biased) sample variance over n.
    #[test]
    fn the_spread_of_a_mean_is_the_standard_error() {
        let x: Vec<f64> = (0..200).map(|i| f64::from(i * i % 17)).collect();
        let means =
            bootstrap(200, 4000, 3, |items| items.iter().map(|&i| x[i]).sum::<f64>() / 200.0).unwrap();
        let variance = x.iter().map(|v| (v - mean(&x)).powi(2)).sum::<f64>() / 200.0;
        let spread = means.iter().map(|v| (v - mean(&x)).powi(2)).sum::<f64>() / 4000.0;
        // The relative standard error of a variance over 4000 draws is sqrt(2 / 4000) = 0.022.
        assert!((spread / (variance / 200.0) - 1.0).abs() < 0.1, "{spread}");
        let e = bootstrap_mean(&x, &Bootstrap { n_resamples: 4000, level: 0.95, seed: 3 }).unwrap();
        let half_width = 0.5 * (e.interval.high - e.interval.low);
        assert!((half_width / (1.96 * (variance / 200.0).sqrt()) - 1.0).abs() < 0.1);
        assert!(e.interval.contains(e.value));
    }

    #[test]
    fn a_seed_gives_the_same_resamples_on_any_number_of_threads() {
        let run = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                bootstrap_stratified(5, 7, 50, 9, |p, n| {
                    assert_eq!((p.len(), n.len()), (5, 7));
                    assert!(p.iter().all(|&i| i < 5) && n.iter().all(|&i| i < 7));
                    p.iter().sum::<usize>() as f64 - n.iter().sum::<usize>() as f64
                })
                .unwrap()
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_paired_difference_is_narrower_than_two_separate_means() {
        let a: Vec<f64> = (0..100).map(|i| f64::from(i * 31 % 100)).collect();
        let b: Vec<f64> = a.iter().map(|x| x + 1.0).collect();
        let e = paired_difference(&b, &a, &Bootstrap::default()).unwrap();
        assert!((e.value - 1.0).abs() < 1e-12 && (e.interval.high - e.interval.low) < 1e-12);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(bootstrap(0, 10, 0, |_| 0.0).unwrap_err().to_string().contains("at least 1, found 0"));
        assert!(bootstrap(3, 0, 0, |_| 0.0).unwrap_err().to_string().starts_with("n_resamples = 0"));
        let e = bootstrap(3, 10, 0, |_| f64::NAN).unwrap_err().to_string();
        assert!(e.starts_with("statistic of resample[0] = NaN"), "{e}");
        assert!(bootstrap_stratified(3, 0, 10, 0, |_, _| 0.0).is_err());
        assert!(paired_difference(&[1.0], &[1.0, 2.0], &Bootstrap::default()).is_err());
        assert!(bootstrap_mean(&[f64::INFINITY], &Bootstrap::default()).is_err());
    }
}
