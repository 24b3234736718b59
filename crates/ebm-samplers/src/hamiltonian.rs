//! One Metropolis-adjusted Hamiltonian transition: the piece that HMC and MALA share.
//!
//! Momentum `p ~ N(0, I)`, `n` leapfrogs of `H = E(x) + |p|^2 / 2`, accepted with probability
//! `min(1, exp(H_old - H_new))`.

use ebm_core::{ChainMask, GradEnergy, Point, Result, Scalar};

use crate::kernel::{Clip, Info, State, bare_state};

/// An energy error above this is a divergence (Stan's limit).
const DIVERGENCE: f64 = 1000.0;

/// Momentum, and where a rejected chain goes back to.
#[derive(Debug)]
pub struct HamiltonianWork<X> {
    pub(crate) momentum: X,
    old_x: X,
    old_grad: X,
}

pub(crate) fn init<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    x: X,
    step_size: &ebm_core::Schedule,
    clip: Option<Clip>,
) -> Result<State<X, HamiltonianWork<X>>> {
    let work =
        HamiltonianWork { momentum: x.zeros_like()?, old_x: x.zeros_like()?, old_grad: x.zeros_like()? };
    let mut state = bare_state(x, step_size, work)?;
    state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
    Clip::apply(clip, &mut state.grad)?;
    Ok(state)
}

/// `n` leapfrogs from (x, p, grad); returns the energy at the end. Reversible: negate `p` and come back.
#[inline(always)]
pub(crate) fn leapfrogs<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    x: &mut X,
    momentum: &mut X,
    grad: &mut X,
    step_size: &X::Scalar,
    n: u32,
    clip: Option<Clip>,
) -> Result<X::Scalar> {
    let half = X::Scalar::linear([(-0.5, step_size)])?;
    let full = X::Scalar::linear([(-1.0, step_size)])?;
    momentum.add_scaled(&half, grad)?;
    for _ in 1..n {
        x.add_scaled(step_size, momentum)?;
        energy.grad(x, grad)?;
        Clip::apply(clip, grad)?;
        momentum.add_scaled(&full, grad)?;
    }
    x.add_scaled(step_size, momentum)?;
    let end = energy.energy_grad(x, grad)?;
    Clip::apply(clip, grad)?;
    momentum.add_scaled(&half, grad)?;
    Ok(end)
}

#[inline(always)]
pub(crate) fn transition<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    state: &mut State<X, HamiltonianWork<X>>,
    rng: &mut X::Rng,
    n: u32,
    clip: Option<Clip>,
) -> Result<Info<X>> {
    let State { x, grad, energy: old_energy, step_size, work, .. } = state;
    work.old_x.set_from(x)?;
    work.old_grad.set_from(grad)?;
    work.momentum.set_normal(rng)?;
    let old_kinetic = work.momentum.inner_each(&work.momentum)?;
    let new_energy = leapfrogs(energy, x, &mut work.momentum, grad, step_size, n, clip)?;
    let new_kinetic = work.momentum.inner_each(&work.momentum)?;

    let log_ratio = X::Scalar::linear([
        (1.0, &*old_energy),
        (0.5, &old_kinetic),
        (-1.0, &new_energy),
        (-0.5, &new_kinetic),
    ])?;
    let (accept_prob, accepted, diverged) = metropolis(x, &log_ratio, rng)?;
    x.restore_unless(&accepted, &work.old_x)?;
    grad.restore_unless(&accepted, &work.old_grad)?;
    *old_energy = X::Scalar::select(&accepted, &new_energy, old_energy)?;
    Ok(Info { accept_prob, accepted, diverged })
}

/// The accept step: probability `min(1, exp(log_ratio))`, 0 where the ratio is below -1000 or not a number.
/// Returns (probability, accepted, diverged), per chain.
#[inline(always)]
pub(crate) fn metropolis<X: Point>(
    x: &X,
    log_ratio: &X::Scalar,
    rng: &mut X::Rng,
) -> Result<(X::Scalar, ebm_core::Mask<X>, ebm_core::Mask<X>)> {
    // A NaN compares false, so "not above the limit" also catches it.
    let diverged = X::Scalar::same(-DIVERGENCE).less_than(log_ratio)?.negate()?;
    let ratio = log_ratio.at_most(0.0)?.exp_each()?;
    let accept_prob = X::Scalar::select(&diverged, &X::Scalar::same(0.0), &ratio)?;
    let accepted = x.uniform_each(rng)?.less_than(&accept_prob)?;
    Ok((accept_prob, accepted, diverged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::{Purpose, Stream};

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
                    let (p, yes, diverged) = metropolis(&vec![0.0f64], &log_ratio, &mut rng).unwrap();
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
            let (p, accepted, diverged) = metropolis(&vec![0.0f64], &log_ratio, &mut rng).unwrap();
            assert!(p == 0.0 && !accepted && diverged);
        }
        let (p, accepted, diverged) = metropolis(&vec![0.0f64], &f64::INFINITY, &mut rng).unwrap();
        assert!(p == 1.0 && accepted && !diverged);
    }
}
