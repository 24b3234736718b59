//! E-BFMI, the energy Bayesian fraction of missing information of Hamiltonian samplers.
//!
//! `sum_t (H_t - H_{t-1})^2 / sum_t (H_t - mean H)^2` in each chain (Betancourt 2016, arXiv 1604.00695), here with
//! ArviZ's means: the numerator over n - 1 differences, the denominator the unbiased variance. Below 0.3 the
//! momentum refreshments explore the energies too slowly.

use ebm_core::Result;
use ndarray::{ArrayView2, Axis};

use super::{mean, variance};
use crate::check;

/// E-BFMI of each chain of total energies `[chain, draw]` (potential plus kinetic, at the start of each trajectory).
///
/// NaN for a chain with an energy that is not finite, that is constant, or of one draw.
///
/// # Errors
/// No chains or no draws.
pub fn e_bfmi(energies: ArrayView2<f64>) -> Result<Vec<f64>> {
    check::at_least("chains", energies.nrows(), 1)?;
    check::at_least("draws", energies.ncols(), 1)?;
    let one = |chain: ndarray::ArrayView1<f64>| {
        let h = chain.to_vec();
        if h.len() < 2 || h.iter().any(|x| !x.is_finite()) {
            return f64::NAN;
        }
        let steps: Vec<f64> = h.windows(2).map(|w| (w[1] - w[0]) * (w[1] - w[0])).collect();
        mean(&steps) / variance(&h)
    };
    Ok(energies.axis_iter(Axis(0)).map(one).collect())
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::{Array2, array};

    use super::super::testing::formula_chains;
    use super::*;

    #[test]
    fn by_hand() {
        // Steps 1 and 4, mean 5/2; variance of 1, 2, 4 is 7/3. Alternating -1, 1: 4 over 4/3.
        let found = e_bfmi(array![[1.0, 2.0, 4.0]].view()).unwrap();
        assert_abs_diff_eq!(found[0], 15.0 / 14.0, epsilon = 1e-14);
        let found = e_bfmi(array![[-1.0, 1.0, -1.0, 1.0]].view()).unwrap();
        assert_abs_diff_eq!(found[0], 3.0, epsilon = 1e-14);
    }

    /// `arviz.bfmi(chains(4, 100, 0.6))`.
    #[test]
    fn agrees_with_arviz() {
        let found = e_bfmi(formula_chains(4, 100, 0.6).view()).unwrap();
        let golden = [0.7645560347868425, 0.7922313644739672, 0.7640491852818314, 0.9914409357944509];
        for (found, gold) in found.iter().zip(golden) {
            assert_abs_diff_eq!(*found, gold, epsilon = 1e-12);
        }
    }

    #[test]
    fn degenerate_input_is_defined() {
        let found = e_bfmi(array![[1.0, 1.0, 1.0], [1.0, f64::NAN, 2.0], [0.0, 1.0, 3.0]].view()).unwrap();
        assert!(found[0].is_nan() && found[1].is_nan() && found[2].is_finite());
        assert!(e_bfmi(array![[1.0]].view()).unwrap()[0].is_nan());
        assert!(e_bfmi(Array2::zeros((0, 3)).view()).is_err());
    }
}
