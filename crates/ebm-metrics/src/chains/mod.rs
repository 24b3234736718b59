//! Has a sampler converged, and how many independent draws is its output worth?
//!
//! Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021, "Rank-normalization, folding, and localization: an improved
//! R-hat for assessing convergence of MCMC" (arXiv 1903.08008), with the conventions of ArviZ 0.23, against whose
//! numbers the tests hold. Deviations: one chain is enough for R-hat (its halves are compared), and a chain counts
//! as constant when its range is below rounding, whatever its scale.
//!
//! Everything takes `[chain, draw]` of one quantity; [`summary`] takes `[chain, draw, dim]`. A numerical failure is
//! data, not an error: **with fewer than 4 draws a chain, or any draw that is not finite, a diagnostic is NaN**.
//! All draws equal: R-hat is NaN, an effective sample size is the number of draws, a standard error 0 (of the
//! standard deviation: NaN). Chains constant at different values: R-hat is infinite. No chains or no draws at all
//! is an error.

mod acceptance;
mod autocovariance;
mod energy;
mod ess;
mod fft;
mod mcse;
mod r_hat;
mod ranks;
mod summary;
#[cfg(test)]
mod testing;

pub use acceptance::mean_acceptance;
pub use autocovariance::autocovariance;
pub use energy::e_bfmi;
pub use ess::{ess_bulk, ess_mean, ess_quantile, ess_sd, ess_tail};
pub use mcse::{mcse_mean, mcse_quantile, mcse_sd};
pub use r_hat::r_hat;
pub(crate) use ranks::average_ranks;
pub use summary::{ParameterSummary, Summary, summary};

use ebm_core::Result;
use ndarray::{ArrayView2, Axis};

use crate::check;

/// Draws per chain below which no diagnostic is defined.
const LEAST_DRAWS: usize = 4;

/// The chains as vectors; `None` where the diagnostics are NaN.
fn prepare(chains: ArrayView2<f64>) -> Result<Option<Vec<Vec<f64>>>> {
    check::at_least("chains", chains.nrows(), 1)?;
    check::at_least("draws", chains.ncols(), 1)?;
    if chains.ncols() < LEAST_DRAWS || chains.iter().any(|x| !x.is_finite()) {
        return Ok(None);
    }
    Ok(Some(chains.axis_iter(Axis(0)).map(|chain| chain.to_vec()).collect()))
}

/// Each chain's first and last half; the middle draw of an odd number is left out.
fn split(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let halves = |chain: &Vec<f64>| {
        let half = chain.len() / 2;
        [chain[..half].to_vec(), chain[chain.len() - half..].to_vec()]
    };
    chains.iter().flat_map(halves).collect()
}

/// Every draw through `f`.
fn map(chains: &[Vec<f64>], f: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    chains.iter().map(|chain| chain.iter().map(|&x| f(x)).collect()).collect()
}

/// All draws, ascending.
fn sorted(chains: &[Vec<f64>]) -> Vec<f64> {
    let mut all = chains.concat();
    all.sort_unstable_by(f64::total_cmp);
    all
}

/// The mean; equal numbers have exactly that mean.
fn mean(x: &[f64]) -> f64 {
    let first = x[0];
    first + x.iter().map(|v| v - first).sum::<f64>() / x.len() as f64
}

/// The unbiased variance; NaN for one number.
fn variance(x: &[f64]) -> f64 {
    let centre = mean(x);
    x.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / (x.len() as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;

    fn awkward() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => -2.0..2.0_f64,
            4 => prop::sample::select(vec![0.0, -0.0, 1.0, 1e300, -1.7e308, 1e-300]),
            1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ]
    }

    proptest! {
        /// Whatever the draws: no panic, no negative size, and NaN for every coordinate that is not finite.
        #[test]
        fn nothing_panics(
            n_chains in 1_usize..4,
            n_draws in 1_usize..14,
            values in prop::collection::vec(awkward(), 3 * 13),
            probability in 0.0..=1.0_f64,
        ) {
            let draws = Array3::from_shape_fn((n_chains, n_draws, 1), |(c, t, _)| values[c * n_draws + t]);
            let chains = draws.index_axis(Axis(2), 0);
            let usable = n_draws >= 4 && chains.iter().all(|x| x.is_finite());
            let p = summary(draws.view()).unwrap().parameters[0];
            let others = [
                ess_mean(chains).unwrap(),
                ess_sd(chains).unwrap(),
                ess_quantile(chains, probability).unwrap(),
                mcse_sd(chains).unwrap(),
                mcse_quantile(chains, probability).unwrap(),
            ];
            e_bfmi(chains).unwrap();
            for x in [p.r_hat, p.ess_bulk, p.ess_tail, p.mcse_mean].into_iter().chain(others) {
                prop_assert!(x.is_nan() || (usable && x >= 0.0));
            }
        }
    }
}
