//! The accept step of Metropolis and Hastings, for every kernel that has one.
//!
//! Accept with probability `min(1, exp(log_ratio))`, `log_ratio = ln (pi(x') q(x | x')) - ln (pi(x) q(x' | x))`.
//! Source: Hastings 1970 (DOI 10.1093/biomet/57.1.97).

use ebm_core::{ChainMask, Point, Result, Scalar};

use crate::kernel::Info;

/// A log ratio at or below minus this is a divergence (Stan's limit on the energy error).
const DIVERGENCE: f64 = 1000.0;

/// Decide per chain: the probability is 0, and the chain is flagged as diverged, where the ratio is not above
/// -1000 or not a number. `x` gives the number of chains. The caller puts rejected chains back.
///
/// # Errors
/// When LibTorch fails.
#[inline(always)]
pub fn metropolis<X: Point>(x: &X, log_ratio: &X::Scalar, rng: &mut X::Rng) -> Result<Info<X>> {
    // A NaN compares false, so "not above the limit" also catches it.
    let diverged = X::Scalar::same(-DIVERGENCE).less_than(log_ratio)?.negate()?;
    let ratio = log_ratio.at_most(0.0)?.exp_each()?;
    let accept_prob = X::Scalar::select(&diverged, &X::Scalar::same(0.0), &ratio)?;
    let accepted = x.uniform_each(rng)?.less_than(&accept_prob)?;
    Ok(Info { accept_prob, accepted, diverged, hamiltonian: None, n_leapfrogs: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::{Purpose, Stream};

    fn accept(log_ratio: f64, rng: &mut Stream) -> Info<Vec<f64>> {
        metropolis(&vec![0.0], &log_ratio, rng).unwrap()
    }

    /// Three states, an asymmetric proposal: `pi_i P_ij = pi_j P_ji` to 1e-12, and each row accepts as it says.
    #[test]
    fn the_accept_rule_satisfies_detailed_balance() {
        let pi = [0.2, 0.5, 0.3];
        let proposal = [[0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.7, 0.1, 0.2]];
        let mut rng = Stream::new(0, Purpose::User, 0);
        let mut flow = [[0.0; 3]; 3];
        for i in 0..3 {
            for j in 0..3 {
                let log_ratio = f64::ln(pi[j] * proposal[j][i] / (pi[i] * proposal[i][j]));
                let mut accepted = 0;
                let mut probability = 0.0;
                for _ in 0..2000 {
                    let Info { accept_prob: p, accepted: yes, diverged, .. } = accept(log_ratio, &mut rng);
                    assert!(!diverged);
                    probability = p;
                    accepted += u32::from(yes);
                }
                let se = (probability * (1.0 - probability) / 2000.0).sqrt();
                assert!((f64::from(accepted) / 2000.0 - probability).abs() <= 5.0 * se);
                flow[i][j] = pi[i] * proposal[i][j] * probability;
            }
        }
        for i in 0..3 {
            for j in 0..3 {
                assert!((flow[i][j] - flow[j][i]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_rejected_and_flagged() {
        let mut rng = Stream::new(0, Purpose::User, 0);
        for log_ratio in [f64::NAN, f64::NEG_INFINITY, -1001.0] {
            let Info { accept_prob: p, accepted, diverged, .. } = accept(log_ratio, &mut rng);
            assert!(p == 0.0 && !accepted && diverged);
        }
        let Info { accept_prob: p, accepted, diverged, .. } = accept(f64::INFINITY, &mut rng);
        assert!(p == 1.0 && accepted && !diverged);
    }
}
