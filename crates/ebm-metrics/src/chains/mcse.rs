//! Monte-Carlo standard error: how far an average over the draws may be from the exact one.
//!
//! Of the mean `sd / sqrt(ESS)`; of the standard deviation by the delta method from the variance of the squared
//! deviations; of a quantile half the distance between the order statistics at the 16 % and 84 % points of a beta
//! law (arXiv 1903.08008).

use ebm_core::Result;
use ndarray::ArrayView2;

use super::ess::{check_probability, mean_of, quantile_of, squared_deviations};
use super::{mean, prepare, sorted, variance};
use crate::special::beta_quantile;

/// Probabilities of one standard deviation to either side under a normal law.
const ONE_SD: [f64; 2] = [0.158_655_3, 0.841_344_7];

/// Standard error of the mean of `[chain, draw]`, in the draws' units. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains or no draws.
pub fn mcse_mean(chains: ArrayView2<f64>) -> Result<f64> {
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| mcse_mean_of(&chains)))
}

/// Standard error of the standard deviation of `[chain, draw]`. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains or no draws.
pub fn mcse_sd(chains: ArrayView2<f64>) -> Result<f64> {
    let sd = |chains: Vec<Vec<f64>>| {
        let squares = squared_deviations(&chains);
        let ess = mean_of(&squares);
        let all = squares.concat();
        let second = mean(&all);
        let fourth = all.iter().map(|s| s * s).sum::<f64>() / all.len() as f64;
        ((fourth - second * second).max(0.0) / ess / second / 4.0).sqrt()
    };
    Ok(prepare(chains)?.map_or(f64::NAN, sd))
}

/// Standard error of the quantile of `[chain, draw]` at `probability`. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains, no draws, or a probability outside `[0, 1]`.
pub fn mcse_quantile(chains: ArrayView2<f64>, probability: f64) -> Result<f64> {
    check_probability(probability)?;
    let quantile = |chains: Vec<Vec<f64>>| {
        let sorted = sorted(&chains);
        let ess = quantile_of(&chains, &sorted, probability);
        let last = sorted.len() as f64 - 1.0;
        let [low, high] = ONE_SD.map(|p| {
            beta_quantile(p, ess * probability + 1.0, ess * (1.0 - probability) + 1.0) * sorted.len() as f64
                - 1.0
        });
        let (low, high) = (low.max(0.0).floor() as usize, high.min(last).ceil() as usize);
        0.5 * (sorted[high] - sorted[low])
    };
    Ok(prepare(chains)?.map_or(f64::NAN, quantile))
}

pub(super) fn mcse_mean_of(chains: &[Vec<f64>]) -> f64 {
    (variance(&chains.concat()) / mean_of(chains)).sqrt()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::super::testing::assert_golden;
    use super::*;

    #[test]
    fn agree_with_arviz() {
        assert_golden(
            mcse_mean,
            [
                0.031_946_586_962_059_3,
                0.078_648_540_851_953_19,
                0.685_377_667_560_984_4,
                0.082_105_472_090_005_77,
                0.129_722_320_566_016_9,
            ],
        );
        assert_golden(
            mcse_sd,
            [
                0.014_568_019_511_167_086,
                0.009_335_067_549_068_515,
                0.397_620_690_489_243_37,
                0.033_798_290_067_418_17,
                0.036_367_715_709_450_2,
            ],
        );
        assert_golden(
            |x| mcse_quantile(x, 0.3),
            [
                0.052_064_529_244_822_83,
                0.069_173_099_123_215_2,
                0.5,
                0.225_446_734_237_182_06,
                0.084_419_814_120_955_48,
            ],
        );
    }

    #[test]
    fn degenerate_input_is_defined() {
        let ones = Array2::ones((2, 10));
        assert_eq!(mcse_mean(ones.view()).unwrap(), 0.0);
        assert!(mcse_sd(ones.view()).unwrap().is_nan());
        assert_eq!(mcse_quantile(ones.view(), 0.5).unwrap(), 0.0);
        for p in [0.0, 1.0] {
            assert!(mcse_quantile(array![[0.0, 3.0, 1.0, 2.0, 5.0]].view(), p).unwrap().is_finite());
        }
        let broken = array![[0.0, f64::NAN, 1.0, 2.0]];
        assert!(mcse_mean(broken.view()).unwrap().is_nan() && mcse_sd(broken.view()).unwrap().is_nan());
        assert!(mcse_quantile(broken.view(), 0.5).unwrap().is_nan());
        assert!(mcse_quantile(ones.view(), -0.1).unwrap_err().to_string().starts_with("probability = -0.1"));
        assert!(mcse_mean(Array2::zeros((0, 4)).view()).is_err());
    }
}
