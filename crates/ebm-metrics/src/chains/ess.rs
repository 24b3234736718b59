//! Effective sample size: how many independent draws would give the same precision.
//!
//! `S / tau`, `tau = 1 + 2 sum rho_t`, with the autocorrelation over all split chains
//! `rho_t = 1 - (W - mean c_t) / var_plus`, cut off by Geyer's initial monotone sequence (Geyer 1992,
//! doi:10.1214/ss/1177011137; arXiv 1903.08008). Bulk: of the normal scores. Tail: the lesser
//! one of the indicators `x <= q` at the 5 % and the 95 % quantile. Negative correlation may lift it above the
//! number of draws, at most to `S log10 S`.

use ebm_core::{Error, Result};
use ndarray::ArrayView2;

use super::autocovariance::mean_autocovariance;
use super::ranks::normal_scores;
use super::{map, mean, prepare, sorted, split, variance};
use crate::interval::quantile_of_sorted;

/// The tail's probabilities.
const TAIL: [f64; 2] = [0.05, 0.95];

/// Effective sample size in the bulk of the law, of `[chain, draw]`: for the mean after rank normalisation, so
/// that it exists for heavy tails. Want at least 400 in all. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains or no draws.
pub fn ess_bulk(chains: ArrayView2<f64>) -> Result<f64> {
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| bulk_of(&chains)))
}

/// Effective sample size for the 5 % and 95 % quantiles, the lesser one. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains or no draws.
pub fn ess_tail(chains: ArrayView2<f64>) -> Result<f64> {
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| tail_of(&chains)))
}

/// Effective sample size for the mean. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains or no draws.
pub fn ess_mean(chains: ArrayView2<f64>) -> Result<f64> {
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| mean_of(&chains)))
}

/// Effective sample size for the standard deviation. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains or no draws.
pub fn ess_sd(chains: ArrayView2<f64>) -> Result<f64> {
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| mean_of(&squared_deviations(&chains))))
}

/// Effective sample size for the quantile at `probability`. NaN: see [the module](crate::chains).
///
/// # Errors
/// No chains, no draws, or a probability outside `[0, 1]`.
pub fn ess_quantile(chains: ArrayView2<f64>, probability: f64) -> Result<f64> {
    check_probability(probability)?;
    Ok(prepare(chains)?.map_or(f64::NAN, |chains| quantile_of(&chains, &sorted(&chains), probability)))
}

pub(super) fn check_probability(probability: f64) -> Result<()> {
    if (0.0..=1.0).contains(&probability) {
        return Ok(());
    }
    Err(Error::bad_value("probability", probability, "from 0 to 1", ""))
}

pub(super) fn bulk_of(chains: &[Vec<f64>]) -> f64 {
    effective(&normal_scores(&split(chains)))
}

pub(super) fn mean_of(chains: &[Vec<f64>]) -> f64 {
    effective(&split(chains))
}

pub(super) fn tail_of(chains: &[Vec<f64>]) -> f64 {
    let sorted = sorted(chains);
    let [low, high] = TAIL.map(|p| quantile_of(chains, &sorted, p));
    low.min(high)
}

/// `sorted`: all draws, ascending.
pub(super) fn quantile_of(chains: &[Vec<f64>], sorted: &[f64], probability: f64) -> f64 {
    let quantile = quantile_of_sorted(sorted, probability);
    mean_of(&map(chains, |x| f64::from(x <= quantile)))
}

/// Squared deviations from the mean of all draws.
pub(super) fn squared_deviations(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let centre = mean(&chains.concat());
    map(chains, |x| (x - centre) * (x - centre))
}

/// The effective sample size of chains (two or more draws each) as they are.
fn effective(chains: &[Vec<f64>]) -> f64 {
    let n = chains[0].len();
    let total = (n * chains.len()) as f64;
    if is_constant(chains) {
        return total;
    }
    let covariance = mean_autocovariance(chains);
    let within = covariance[0] * n as f64 / (n as f64 - 1.0);
    let mut var_plus = covariance[0];
    if chains.len() > 1 {
        let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
        var_plus += variance(&means);
    }
    let correlation = |lag: usize| 1.0 - (within - covariance[lag]) / var_plus;

    // Initial positive sequence: sums of neighbouring pairs, up to the first that is not positive.
    let mut rho = vec![0.0; n];
    let (mut even, mut odd) = (1.0, correlation(1));
    rho[0] = even;
    rho[1] = odd;
    let mut t = 1;
    while t + 3 < n && even + odd > 0.0 {
        even = correlation(t + 1);
        odd = correlation(t + 2);
        if even + odd >= 0.0 {
            rho[t + 1] = even;
            rho[t + 2] = odd;
        }
        t += 2;
    }
    // The last even lag improves antithetic chains.
    let last = t - 1;
    if even > 0.0 {
        rho[last] = even;
    }
    // Initial monotone sequence: no pair above the one before it.
    let mut s = 1;
    while s + 4 <= t {
        let before = rho[s - 1] + rho[s];
        if rho[s + 1] + rho[s + 2] > before {
            rho[s + 1] = 0.5 * before;
            rho[s + 2] = 0.5 * before;
        }
        s += 2;
    }
    // Overflow is not a large sample: `max` below would pass over the NaN.
    if rho.iter().any(|r| r.is_nan()) {
        return f64::NAN;
    }
    let tau = -1.0 + 2.0 * rho[..last].iter().sum::<f64>() + rho[last];
    total / tau.max(1.0 / total.log10())
}

/// Whether all draws are equal, up to rounding.
fn is_constant(chains: &[Vec<f64>]) -> bool {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &x in chains.iter().flatten() {
        low = low.min(x);
        high = high.max(x);
    }
    high - low <= 1e-15 * high.abs().max(low.abs())
}

#[cfg(test)]
mod tests {
    use ebm_core::random::{Purpose, Stream};
    use ndarray::{Array2, array};

    use super::super::testing::assert_golden;
    use super::*;

    #[test]
    fn agree_with_arviz() {
        let small = [12.950_174_952_571_5, 7.224_719_895_935_548];
        let with = |a, b, c| [a, b, c, small[0], small[1]];
        assert_golden(ess_bulk, with(119.819_323_076_038_93, 17.975_861_435_944_466, 14.756_864_832_604_47));
        assert_golden(ess_tail, with(212.663_742_346_862_16, 53.610_543_657_331_1, 42.830_356_261_719_12));
        assert_golden(ess_mean, with(118.777_218_083_820_09, 18.199_516_717_941_034, 14.357_961_600_183_24));
        assert_golden(ess_sd, with(201.197_976_909_866_8, 387.174_958_367_011_64, 16.530_833_484_370_03));
        let at_30 = |x: ArrayView2<f64>| ess_quantile(x, 0.3);
        assert_golden(at_30, with(135.876_467_632_144_57, 45.987_190_000_197_62, 17.700_529_630_537_403));
        // One chain: arviz.ess(chains(1, 60, 0.5)).
        let one = super::super::testing::formula_chains(1, 60, 0.5);
        assert!((ess_bulk(one.view()).unwrap() - 12.142_153_440_964_384).abs() < 1e-10);
    }

    /// An AR(1) chain of n draws is worth n (1 - rho) / (1 + rho).
    #[test]
    fn autoregressive_chains_have_the_known_size() {
        let (n_chains, n) = (4, 20_000);
        for (k, rho) in [-0.5, 0.0, 0.5, 0.9].into_iter().enumerate() {
            let mut x = Array2::zeros((n_chains, n));
            for (c, mut chain) in x.rows_mut().into_iter().enumerate() {
                let mut stream = Stream::new(k as u64, Purpose::User, c as u64);
                let mut last = stream.normal();
                for v in &mut chain {
                    last = rho * last + (1.0 - rho * rho).sqrt() * stream.normal();
                    *v = last;
                }
            }
            let exact = (n_chains * n) as f64 * (1.0 - rho) / (1.0 + rho);
            let found = ess_mean(x.view()).unwrap();
            assert!((found / exact - 1.0).abs() < 0.1, "rho {rho}: {found} against {exact}");
            let bulk = ess_bulk(x.view()).unwrap();
            assert!((bulk / exact - 1.0).abs() < 0.1, "rho {rho}: {bulk} against {exact}");
            let tail = ess_tail(x.view()).unwrap();
            assert!(if rho > 0.0 { tail > exact } else { tail > 0.9 * (n_chains * n) as f64 }, "{tail}");
        }
    }

    #[test]
    fn bulk_and_tail_depend_on_ranks_only() {
        let x = super::super::testing::formula_chains(4, 101, 0.4);
        let stretched = x.mapv(|v| (20.0 * v).exp());
        assert_eq!(ess_bulk(x.view()).unwrap(), ess_bulk(stretched.view()).unwrap());
        assert_eq!(ess_tail(x.view()).unwrap(), ess_tail(stretched.view()).unwrap());
    }

    #[test]
    fn degenerate_input_is_defined() {
        let all = [ess_bulk, ess_tail, ess_mean, ess_sd];
        for ess in all {
            assert_eq!(ess(Array2::from_elem((2, 10), 0.1).view()).unwrap(), 20.0);
            assert!(ess(Array2::ones((3, 1)).view()).unwrap().is_nan());
            assert!(ess(array![[0.0, f64::NAN, 1.0, 2.0, 3.0]].view()).unwrap().is_nan());
            assert!(ess(Array2::zeros((0, 9)).view()).is_err());
            // The scale does not matter.
            let x = super::super::testing::formula_chains(2, 40, 0.3);
            let (plain, tiny) = (ess(x.view()).unwrap(), ess((&x * 1e-30).view()).unwrap());
            assert!((plain / tiny - 1.0).abs() < 1e-9);
        }
        let apart = Array2::from_shape_fn((2, 10), |(c, _)| 1.0 + c as f64);
        assert!((ess_bulk(apart.view()).unwrap() - 5.0).abs() < 1e-9);
        assert!(ess_quantile(apart.view(), 1.5).is_err() && ess_quantile(apart.view(), f64::NAN).is_err());
    }
}
