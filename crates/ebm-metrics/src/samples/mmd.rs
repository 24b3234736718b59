//! Maximum mean discrepancy with Gaussian kernels.
//!
//! `MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)`, the unbiased
//! estimate, which may fall below zero (Gretton et al. 2012, JMLR 13:723-773, lemma 6).
//! `k(x, y) = mean over bandwidths s of exp(-|x - y|^2 / (2 s^2))`, so `k(x, x) = 1`. The usual single bandwidth is
//! the median distance between pooled items. The test permutes which item came from which set.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::check;

/// Items that enter [`median_distance`] at most; more are thinned evenly.
const MEDIAN_ITEMS: usize = 1000;
/// Pooled items that [`mmd_test`] takes; its kernel matrix then fills 800 MB.
const TEST_ITEMS: usize = 10_000;

/// A permutation test of "both sets follow one law".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MmdTest {
    /// The unbiased estimate of MMD^2.
    pub value: f64,
    /// Share of the permutations, the identity among them, whose value is at least as large.
    pub p_value: f64,
    /// The values under permutation: what chance alone gives.
    pub permuted: Vec<f64>,
}

/// The median Euclidean distance between two different rows of the pooled sets, both `[item, feature]`.
///
/// Above 1000 pooled items an evenly spaced 1000 of them are used.
///
/// # Errors
/// No items, different numbers of features, a number that is not finite, or a median of zero (over half of the
/// pairs coincide).
pub fn median_distance(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<f64> {
    check::two_matrices(("a", a), ("b", b), 1)?;
    let rows = pooled(a, b);
    let n = rows.len().min(MEDIAN_ITEMS);
    let picked: Vec<&Vec<f64>> = (0..n).map(|i| &rows[i * rows.len() / n]).collect();
    let mut squares: Vec<f64> = (0..n)
        .into_par_iter()
        .flat_map_iter(|i| (0..i).map(move |j| (i, j)))
        .map(|(i, j)| square_distance(picked[i], picked[j]))
        .collect();
    squares.sort_unstable_by(f64::total_cmp);
    let k = squares.len() / 2;
    let median = if squares.len() % 2 == 1 {
        squares[k].sqrt()
    } else {
        0.5 * (squares[k - 1].sqrt() + squares[k].sqrt())
    };
    if median > 0.0 {
        return Ok(median);
    }
    Err(Error::bad_value("median distance", median, "above 0", "pass bandwidths of your own"))
}

/// The unbiased MMD^2 of two sets `[item, feature]`, at least two items each; O(n^2) time, O(n) memory.
///
/// `bandwidths`: the kernels' standard deviations, in the units of the features.
///
/// # Errors
/// Fewer than two items, different numbers of features, a number that is not finite, no bandwidth or one that is
/// not above 0.
pub fn mmd_squared(a: ArrayView2<f64>, b: ArrayView2<f64>, bandwidths: &[f64]) -> Result<f64> {
    check::two_matrices(("a", a), ("b", b), 2)?;
    let kernel = Kernel::new(bandwidths)?;
    let rows = pooled(a, b);
    let m = a.nrows();
    // Per row the sums over the earlier rows of its own set and over the rows of the other one.
    let sums: Vec<(f64, f64)> = (0..rows.len())
        .into_par_iter()
        .map(|i| {
            let sum = |range: std::ops::Range<usize>| -> f64 {
                range.map(|j| kernel.value(&rows[i], &rows[j])).sum()
            };
            if i < m { (sum(0..i), 0.0) } else { (sum(m..i), sum(0..m)) }
        })
        .collect();
    let within_a: f64 = sums[..m].iter().map(|s| s.0).sum();
    let within_b: f64 = sums[m..].iter().map(|s| s.0).sum();
    let across: f64 = sums[m..].iter().map(|s| s.1).sum();
    Ok(combine(m, rows.len() - m, within_a, within_b, across))
}

/// [`mmd_squared`] with a permutation test; `n_permutations` of a few hundred will do.
///
/// # Errors
/// As [`mmd_squared`], no permutations, or more than 10,000 items together (thin them first).
pub fn mmd_test(
    a: ArrayView2<f64>,
    b: ArrayView2<f64>,
    bandwidths: &[f64],
    n_permutations: usize,
    seed: u64,
) -> Result<MmdTest> {
    check::two_matrices(("a", a), ("b", b), 2)?;
    let kernel = Kernel::new(bandwidths)?;
    if n_permutations == 0 {
        return Err(Error::bad_value("n_permutations", 0, "at least 1", "500 is usual"));
    }
    let rows = pooled(a, b);
    let (m, n) = (a.nrows(), rows.len());
    if n > TEST_ITEMS {
        return Err(Error::bad_value(
            "items of a and b",
            n,
            format!("at most {TEST_ITEMS}"),
            "thin both sets",
        ));
    }
    // Row i holds k(i, j) for j < i.
    let lower: Vec<Vec<f64>> =
        (0..n).into_par_iter().map(|i| (0..i).map(|j| kernel.value(&rows[i], &rows[j])).collect()).collect();
    let row_sums: Vec<f64> = lower.iter().map(|row| row.iter().sum()).collect();
    let total: f64 = row_sums.iter().sum();
    let value_of = |in_a: &[f64]| {
        // With s = 1 for the first set, 0 for the second: within a = sum s_i s_j k, across = sum s_i k - 2 within a.
        let (mut within_a, mut touching) = (0.0, 0.0);
        for ((row, sum), s) in lower.iter().zip(&row_sums).zip(in_a) {
            let both: f64 = row.iter().zip(in_a).map(|(k, t)| k * t).sum();
            within_a += s * both;
            touching += both + s * sum;
        }
        let across = touching - 2.0 * within_a;
        combine(m, n - m, within_a, total - within_a - across, across)
    };
    let identity: Vec<f64> = (0..n).map(|i| f64::from(i < m)).collect();
    let value = value_of(&identity);
    let permuted: Vec<f64> = (0..n_permutations as u64)
        .into_par_iter()
        .map(|r| {
            let mut in_a = identity.clone();
            Stream::new(seed, Purpose::Bootstrap, r).shuffle(&mut in_a);
            value_of(&in_a)
        })
        .collect();
    let as_large = permuted.iter().filter(|&&v| v >= value).count();
    Ok(MmdTest { value, p_value: (as_large + 1) as f64 / (n_permutations + 1) as f64, permuted })
}

/// From sums over unordered pairs to the unbiased estimate.
fn combine(m: usize, n: usize, within_a: f64, within_b: f64, across: f64) -> f64 {
    let (m, n) = (m as f64, n as f64);
    2.0 * within_a / (m * (m - 1.0)) + 2.0 * within_b / (n * (n - 1.0)) - 2.0 * across / (m * n)
}

struct Kernel {
    /// `-1 / (2 s^2)` of each bandwidth.
    exponents: Vec<f64>,
}

impl Kernel {
    fn new(bandwidths: &[f64]) -> Result<Self> {
        check::at_least("bandwidths", bandwidths.len(), 1)?;
        check::finite("bandwidths", bandwidths)?;
        if let Some(i) = bandwidths.iter().position(|&s| s <= 0.0) {
            return Err(Error::bad_value(format!("bandwidths[{i}]"), bandwidths[i], "above 0", ""));
        }
        Ok(Self { exponents: bandwidths.iter().map(|s| -0.5 / (s * s)).collect() })
    }

    fn value(&self, x: &[f64], y: &[f64]) -> f64 {
        let square = square_distance(x, y);
        self.exponents.iter().map(|e| (e * square).exp()).sum::<f64>() / self.exponents.len() as f64
    }
}

fn pooled(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Vec<Vec<f64>> {
    a.axis_iter(Axis(0)).chain(b.axis_iter(Axis(0))).map(|row| row.to_vec()).collect()
}

fn square_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::{Array2, array};

    use super::*;

    fn wave(n: usize, phase: f64) -> Array2<f64> {
        Array2::from_shape_fn((n, 3), |(i, j)| (1.3 * i as f64 + (j * j) as f64 + phase).sin() + phase)
    }

    #[test]
    fn equals_the_double_sum() {
        let (a, b) = (wave(13, 0.0), wave(9, 0.4));
        let bandwidths = [0.5, 2.0];
        let mean = |x: &Array2<f64>, y: &Array2<f64>, skip_diagonal: bool| {
            let (mut sum, mut count) = (0.0, 0.0);
            for (i, p) in x.rows().into_iter().enumerate() {
                for (j, q) in y.rows().into_iter().enumerate() {
                    if skip_diagonal && i == j {
                        continue;
                    }
                    let square = (&p - &q).mapv(|d| d * d).sum();
                    sum += bandwidths.iter().map(|s| (-square / (2.0 * s * s)).exp()).sum::<f64>() / 2.0;
                    count += 1.0;
                }
            }
            sum / count
        };
        let exact = mean(&a, &a, true) + mean(&b, &b, true) - 2.0 * mean(&a, &b, false);
        assert_abs_diff_eq!(mmd_squared(a.view(), b.view(), &bandwidths).unwrap(), exact, epsilon = 1e-14);
        let test = mmd_test(a.view(), b.view(), &bandwidths, 20, 0).unwrap();
        assert_abs_diff_eq!(test.value, exact, epsilon = 1e-14);
        assert_eq!(test.permuted.len(), 20);
    }

    #[test]
    fn the_test_rejects_a_shift_and_keeps_one_law() {
        let mut stream = Stream::new(8, Purpose::User, 0);
        let mut draw =
            |n: usize, shift: f64| Array2::from_shape_simple_fn((n, 2), || shift + stream.normal());
        let (a, b, c) = (draw(80, 0.0), draw(60, 0.0), draw(60, 1.0));
        let s = median_distance(a.view(), b.view()).unwrap();
        // The median distance of two independent standard normals in the plane is sqrt(4 ln 2) = 1.67.
        assert!((s - 1.67).abs() < 0.2, "{s}");
        let same = mmd_test(a.view(), b.view(), &[s], 200, 1).unwrap();
        let other = mmd_test(a.view(), c.view(), &[s], 200, 1).unwrap();
        assert!(same.p_value > 0.05 && other.p_value < 0.01, "{} {}", same.p_value, other.p_value);
        // Under permutation the unbiased estimate has mean exactly zero.
        let mean = same.permuted.iter().sum::<f64>() / 200.0;
        let sd = (same.permuted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        assert!(mean.abs() < 4.0 * sd / 200f64.sqrt());
    }

    #[test]
    fn median_distance_by_hand() {
        // Pairs of {0, 1, 3, 7}: 1, 3, 7, 2, 6, 4, so the median is 3.5.
        let m = median_distance(array![[0.0], [1.0]].view(), array![[3.0], [7.0]].view()).unwrap();
        assert_eq!(m, 3.5);
        let zeros = Array2::zeros((5, 2));
        assert!(median_distance(zeros.view(), zeros.view()).unwrap_err().to_string().contains("above 0"));
        let long = Array2::from_shape_fn((3000, 1), |(i, _)| i as f64);
        // For a uniform law on [0, L] the median distance is L (1 - sqrt(1/2)).
        let m = median_distance(long.view(), array![[0.0]].view()).unwrap();
        assert!((m / 3000.0 - (1.0 - 0.5f64.sqrt())).abs() < 2e-3, "{m}");
    }

    #[test]
    fn bad_input_is_named() {
        let x = wave(3, 0.0);
        let text = |s: &[f64]| mmd_squared(x.view(), x.view(), s).unwrap_err().to_string();
        assert!(text(&[]).starts_with("bandwidths") && text(&[1.0, 0.0]).starts_with("bandwidths[1] = 0"));
        assert!(mmd_squared(x.view(), array![[0.0, 0.0, 0.0]].view(), &[1.0]).is_err());
        assert!(mmd_test(x.view(), x.view(), &[1.0], 0, 0).is_err());
        let one = array![[0.0]];
        assert!(median_distance(one.view(), array![[f64::NAN]].view()).is_err());
    }
}
