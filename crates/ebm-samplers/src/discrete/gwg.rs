//! Gibbs-with-gradients: change one variable, chosen by the gradient, and accept or reject.
//!
//! With `d(i, k) = g[i, k] - g[i, x_i]` from the relaxed gradient, the change of variable `i` to `k != x_i` is proposed
//! with probability `q(i, k | x) = exp(-d(i, k) / 2) / sum exp(-d / 2)` and accepted with probability
//! `min(1, exp(E(x) - E(x')) q(i, x_i | x') / q(i, k | x))`.
//!
//! Source: Grathwohl, Swersky, Hashemi, Duvenaud, Maddison 2021, arXiv 2102.04509.

use ebm_core::RelaxedEnergy;
use ebm_core::random::Stream;

use super::guided::{GuidedWork, accept, draw, exponentiate, log_weight};
use super::{DiscreteInfo, DiscreteKernel};

/// Gibbs-with-gradients, for bits and for variables of more states; exact, and without anything to tune.
///
/// One energy and one gradient per step, however many variables there are: for energies whose single conditionals are
/// as dear as the whole gradient.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{GibbsWithGradients, sample_discrete};
/// let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?;
/// let run = sample_discrete(&GibbsWithGradients, &lattice, &[vec![0; 16], vec![1; 16]], 10, 50, 16, 0)?;
/// assert!(run.acceptance.iter().all(|a| *a > 0.5));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GibbsWithGradients;

impl<E: RelaxedEnergy + ?Sized> DiscreteKernel<E> for GibbsWithGradients {
    type Work = GuidedWork;

    fn init(&self, energy: &E, x: &[u8]) -> GuidedWork {
        GuidedWork::new(energy, x)
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut GuidedWork, rng: &mut Stream) -> DiscreteInfo {
        let n_states = energy.n_states();
        let log_sum = change_weights(&work.at.gradient, x, n_states, &mut work.weights);
        if !log_sum.is_finite() {
            return DiscreteInfo { accept_prob: 0.0, diverged: true };
        }
        let change = draw(&work.weights, rng);
        let (i, new) = (change / n_states, (change % n_states) as u8);
        let old = std::mem::replace(&mut x[i], new);
        work.proposal.update(energy, x);
        let forward = log_weight(row(&work.at.gradient, i, n_states), old, new.into()) - log_sum;
        let log_sum = change_weights(&work.proposal.gradient, x, n_states, &mut work.weights);
        let backward = log_weight(row(&work.proposal.gradient, i, n_states), new, old.into()) - log_sum;
        let log_ratio = work.at.energy - work.proposal.energy + backward - forward;
        let (accepted, info) = accept(log_ratio, rng);
        if accepted {
            std::mem::swap(&mut work.at, &mut work.proposal);
        } else {
            x[i] = old;
        }
        info
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
                let mut gradient = vec![0.0; n * k];
                energy.relaxed_gradient(from, &mut gradient);
                let mut weights = vec![0.0; n * k];
                let log_sum = change_weights(&gradient, from, k, &mut weights);
                let changed: Vec<usize> = (0..n).filter(|i| from[*i] != to[*i]).collect();
                match changed[..] {
                    [i] => log_weight(row(&gradient, i, k), from[i], to[i].into()) - log_sum,
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
