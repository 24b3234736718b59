//! Gibbs-with-gradients: change one variable, chosen by the gradient, and accept or reject.
//!
//! With `d(i, k) = g[i, k] - g[i, x_i]` from the relaxed gradient, the change of variable `i` to `k != x_i` is proposed
//! with probability `q(i, k | x) = exp(-d(i, k) / 2) / sum exp(-d / 2)` and accepted with probability
//! `min(1, exp(E(x) - E(x')) q(i, x_i | x') / q(i, k | x))`.
//!
//! Source: Grathwohl, Swersky, Hashemi, Duvenaud, Maddison 2021, arXiv 2102.04509.

use ebm_core::RelaxedEnergy;
use ebm_core::random::Stream;

use super::guided::{Local, accept, draw, exponentiate, log_weight};
use super::{DiscreteInfo, DiscreteKernel};

/// Gibbs-with-gradients, for bits and for variables of more states; exact, and without anything to tune.
///
/// Use it where the energy has a relaxed gradient and nothing is to be tuned. Not where the energy is rough between
/// states: its gradient then says nothing about them.
///
/// One energy and one gradient per step, however many variables there are: for energies whose single conditionals are
/// as dear as the whole gradient.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{GibbsWithGradients, SampleConfig, sample_discrete};
/// let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?;
/// let config = SampleConfig { n_draws: 10, burn_in: 50, thin: 16, ..Default::default() };
/// let run = sample_discrete(&GibbsWithGradients, &lattice, &[vec![0; 16], vec![1; 16]], &config)?;
/// assert!(run.summary.acceptance.iter().all(|a| *a > 0.5));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GibbsWithGradients;

impl<E: RelaxedEnergy + ?Sized> DiscreteKernel<E> for GibbsWithGradients {
    type Work = GwgWork;

    fn init(&self, energy: &E, x: &[u8]) -> GwgWork {
        let at = Changes::new(energy, x);
        GwgWork { proposal: at.clone(), at }
    }

    fn current_energy(&self, _energy: &E, _x: &[u8], work: &GwgWork) -> f64 {
        work.at.local.energy
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut GwgWork, rng: &mut Stream) -> DiscreteInfo {
        let n_states = energy.n_states();
        let GwgWork { at, proposal } = work;
        if !at.log_sum.is_finite() {
            return DiscreteInfo { accept_prob: 0.0, diverged: true };
        }
        let change = draw(&at.weights, rng);
        let (i, new) = (change / n_states, (change % n_states) as u8);
        let old = std::mem::replace(&mut x[i], new);
        proposal.update(energy, x);
        let forward = at.log_prob(i, n_states, old, new);
        let backward = proposal.log_prob(i, n_states, new, old);
        let log_ratio = at.local.energy - proposal.local.energy + backward - forward;
        let (accepted, info) = accept(log_ratio, rng);
        if accepted {
            std::mem::swap(at, proposal);
        } else {
            x[i] = old;
        }
        info
    }
}

/// The current state's law of changes, and a proposal's.
#[derive(Clone, Debug)]
pub struct GwgWork {
    at: Changes,
    proposal: Changes,
}

/// The changes of one state and their weights.
#[derive(Clone, Debug)]
struct Changes {
    local: Local,
    /// `[n_variables * n_states]`, relative to the largest.
    weights: Vec<f64>,
    /// `ln` of the sum of weights before scaling.
    log_sum: f64,
}

impl Changes {
    fn new<E: RelaxedEnergy + ?Sized>(energy: &E, x: &[u8]) -> Self {
        let local = Local::new(energy, x);
        let mut weights = vec![0.0; local.gradient.len()];
        let log_sum = change_weights(&local.gradient, x, energy.n_states(), &mut weights);
        Self { local, weights, log_sum }
    }

    fn update<E: RelaxedEnergy + ?Sized>(&mut self, energy: &E, x: &[u8]) {
        self.local.update(energy, x);
        self.log_sum = change_weights(&self.local.gradient, x, energy.n_states(), &mut self.weights);
    }

    /// `ln q` of changing variable `i` from `old` to `new`.
    fn log_prob(&self, i: usize, n_states: usize, old: u8, new: u8) -> f64 {
        log_weight(row(&self.local.gradient, i, n_states), old, new.into()) - self.log_sum
    }
}

/// The gradient of variable `i`.
fn row(gradient: &[f64], i: usize, n_states: usize) -> &[f64] {
    &gradient[i * n_states..(i + 1) * n_states]
}

/// The weight of every change, `[n_variables * n_states]`, 0 for what is no change; `ln` of their sum before scaling.
fn change_weights(gradient: &[f64], x: &[u8], n_states: usize, out: &mut [f64]) -> f64 {
    let rows = gradient.chunks_exact(n_states).zip(x).zip(out.chunks_exact_mut(n_states));
    for ((row, current), out) in rows {
        for (k, out) in out.iter_mut().enumerate() {
            *out = log_weight(row, *current, k);
        }
        out[usize::from(*current)] = f64::NEG_INFINITY;
    }
    exponentiate(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{
        Rough, assert_matrix_is_reversible, assert_moments, assert_stationary, small_rbm,
    };
    use ebm_core::DiscreteEnergy;
    use ebm_core::exact::Enumeration;

    /// Detailed balance to rounding, of the matrix that the kernel's own formulas make.
    #[test]
    fn the_transition_matrix_is_reversible() {
        fn check<E: RelaxedEnergy>(energy: &E) {
            let (n, k) = (energy.n_variables(), energy.n_states());
            let log_proposal = |from: &[u8], to: &[u8]| {
                let changed: Vec<usize> = (0..n).filter(|i| from[*i] != to[*i]).collect();
                match changed[..] {
                    [i] => Changes::new(energy, from).log_prob(i, k, from[i], to[i]),
                    _ => f64::NEG_INFINITY,
                }
            };
            assert_matrix_is_reversible(&GibbsWithGradients, energy, log_proposal);
        }
        check(&small_rbm());
        check(&Rough::new(4, 3));
    }

    #[test]
    fn long_runs_have_the_exact_law() {
        let rbm = small_rbm();
        let law = Enumeration::new(5, 2, |x| rbm.energy(x)).unwrap();
        assert_stationary(&GibbsWithGradients, &rbm, &law, 3);
        assert_moments(&GibbsWithGradients, &rbm, &law, 5);
        let rough = Rough::new(4, 3);
        let law = Enumeration::new(4, 3, |x| rough.energy(x)).unwrap();
        assert_stationary(&GibbsWithGradients, &rough, &law, 3);
        assert_moments(&GibbsWithGradients, &rough, &law, 5);
    }
}
