//! R-hat, the potential scale reduction: do the chains agree with each other, and with themselves over time?
//!
//! Chains are split in halves; `R = sqrt((n - 1) / n + (B / n) / W)` of their normal scores, and once more of
//! `|x - median|` for the spread; the larger of the two (arXiv 1903.08008). Aim for at most 1.01.

use ebm_core::Result;
use ndarray::ArrayView2;

use super::ranks::normal_scores;
use super::{map, mean, prepare, sorted, split, variance};
use crate::interval::quantile_of_sorted;

/// The rank-normalised split R-hat of `[chain, draw]`.
///
/// NaN when a draw is not finite, with fewer than 4 draws a chain, or when all are equal; infinite when every
/// half-chain is constant but they differ.
///
/// # Errors
/// No chains or no draws.
///
/// ```
/// let chains = ndarray::Array2::from_shape_fn((4, 100), |(c, t)| ((101 * c + t) as f64 * 2.4).sin());
/// assert!(ebm_metrics::chains::r_hat(chains.view())? < 1.01);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub fn r_hat(chains: ArrayView2<f64>) -> Result<f64> {
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| r_hat_of(&chains)))
}

pub(super) fn r_hat_of(chains: &[Vec<f64>]) -> f64 {
    let halves = split(chains);
    let median = quantile_of_sorted(&sorted(&halves), 0.5);
    let folded = map(&halves, |x| (x - median).abs());
    // The folded draws may be constant (a symmetric coin); `max` then keeps the other.
    scale_reduction(&normal_scores(&halves)).max(scale_reduction(&normal_scores(&folded)))
}

/// The classical R-hat of chains as they are (Gelman and Rubin 1992, doi:10.1214/ss/1177011136).
fn scale_reduction(chains: &[Vec<f64>]) -> f64 {
    let n = chains[0].len() as f64;
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let variances: Vec<f64> = chains.iter().map(|chain| variance(chain)).collect();
    (variance(&means) / mean(&variances) + (n - 1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ebm_core::random::{Purpose, Stream};
    use ndarray::{Array2, array};

    use super::super::testing::assert_golden;
    use super::*;

    #[test]
    fn agrees_with_arviz() {
        assert_golden(
            r_hat,
            [
                1.022_857_952_693_546_6,
                1.118_196_882_071_517_5,
                1.140_689_113_526_499_4,
                1.117_730_709_682_073_7,
                0.894_742_206_589_054_5,
            ],
        );
    }

    #[test]
    fn the_classical_part_by_hand() {
        // Means 2 and 3, variances 1, B / n = 1/2, n = 3: sqrt(2/3 + 1/2).
        let r = scale_reduction(&[vec![1.0, 2.0, 3.0], vec![2.0, 3.0, 4.0]]);
        assert_abs_diff_eq!(r, (7.0_f64 / 6.0).sqrt(), epsilon = 1e-15);
    }

    #[test]
    fn near_one_for_one_law_and_large_for_shifted_or_widened_chains() {
        let mut stream = Stream::new(2, Purpose::User, 0);
        let mut x = Array2::from_shape_simple_fn((4, 2000), || stream.normal());
        let base = r_hat(x.view()).unwrap();
        assert!((base - 1.0).abs() < 0.005, "{base}");
        // Only the folded part sees a chain that is three times as wide.
        x.row_mut(0).mapv_inplace(|v| 3.0 * v);
        assert!(r_hat(x.view()).unwrap() > 1.05);
        x.row_mut(1).mapv_inplace(|v| v + 4.0);
        assert!(r_hat(x.view()).unwrap() > 1.3);
        // A drift shows in one chain alone.
        let drift = Array2::from_shape_fn((1, 200), |(_, t)| t as f64);
        assert!(r_hat(drift.view()).unwrap() > 1.5);
    }

    #[test]
    fn degenerate_input_is_defined() {
        assert!(r_hat(Array2::ones((2, 10)).view()).unwrap().is_nan());
        let apart = Array2::from_shape_fn((2, 10), |(c, _)| 0.1 + c as f64);
        assert_eq!(r_hat(apart.view()).unwrap(), f64::INFINITY);
        assert!(r_hat(Array2::ones((2, 3)).view()).unwrap().is_nan());
        assert!(r_hat(array![[0.0, 1.0, f64::NAN, 2.0, 3.0]].view()).unwrap().is_nan());
        assert!(r_hat(array![[0.0, 1.0, f64::INFINITY, 2.0, 3.0]].view()).unwrap().is_nan());
        let coin = array![[-1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0]];
        assert!(r_hat(coin.view()).unwrap().is_finite());
        assert!(r_hat(Array2::zeros((0, 5)).view()).unwrap_err().to_string().starts_with("chains"));
        assert!(r_hat(Array2::zeros((5, 0)).view()).unwrap_err().to_string().starts_with("draws"));
    }
}
