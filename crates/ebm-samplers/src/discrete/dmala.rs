//! DMALA, discrete Langevin with an accept step: the proposal of [`Dula`](super::Dula), made exact.
//!
//! `x'` from `q(. | x)` (see `dula.rs`), accepted with probability `min(1, exp(E(x) - E(x')) q(x | x') / q(x' | x))`.
//!
//! Source: Zhang, Liu, Liu 2022, arXiv 2206.09914.

use ebm_core::random::Stream;
use ebm_core::{RelaxedEnergy, Result, Schedule};
use serde::{Deserialize, Serialize};

use super::dula::Proposal;
use super::guided::{GuidedWork, accept};
use super::{DiscreteInfo, DiscreteKernel};
use crate::kernel::check_step_size;

/// Discrete Langevin with an accept step; exact at any step size.
///
/// Use it where the energy has a relaxed gradient; many variables move at once. Not where the energy is rough between
/// states: its gradient then says nothing about them.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Dmala, SampleConfig, sample_discrete};
/// let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?;
/// let config = SampleConfig { n_draws: 10, burn_in: 50, ..Default::default() };
/// let run = sample_discrete(&Dmala::new(0.3), &lattice, &[vec![0; 16], vec![1; 16]], &config)?;
/// assert!(run.summary.acceptance.iter().all(|a| *a > 0.3));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dmala {
    /// `h`: a variable whose change costs nothing is changed with odds `exp(-1 / (2 h))`. Several variables must
    /// change at a time for this to be worth its price; an acceptance near 0.57 is a fair choice.
    pub step_size: Schedule,
}

impl Dmala {
    /// With this step size, a number or a schedule.
    pub fn new(step_size: impl Into<Schedule>) -> Self {
        Self { step_size: step_size.into() }
    }
}

impl<E: RelaxedEnergy + ?Sized> DiscreteKernel<E> for Dmala {
    type Work = GuidedWork;

    fn check(&self, _energy: &E) -> Result<()> {
        check_step_size(&self.step_size)
    }

    fn init(&self, energy: &E, x: &[u8]) -> GuidedWork {
        GuidedWork::new(energy, x)
    }

    fn resume(&self, energy: &E, x: &[u8], n_steps: u64) -> GuidedWork {
        GuidedWork { step: n_steps, ..GuidedWork::new(energy, x) }
    }

    fn current_energy(&self, _energy: &E, _x: &[u8], work: &GuidedWork) -> f64 {
        work.at.energy
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut GuidedWork, rng: &mut Stream) -> DiscreteInfo {
        let proposal = Proposal { n_states: energy.n_states(), step_size: self.step_size.at(work.step) };
        work.step += 1;
        work.x.copy_from_slice(x);
        let forward = proposal.draw(&work.at.gradient, &mut work.x, &mut work.weights, rng);
        if forward.is_nan() {
            return DiscreteInfo { accept_prob: 0.0, diverged: true };
        }
        if work.x == x {
            // What stays is accepted with probability 1, and needs no energy.
            return DiscreteInfo { accept_prob: 1.0, diverged: false };
        }
        work.proposal.update(energy, &work.x);
        let backward = proposal.log_prob(&work.proposal.gradient, &work.x, x, &mut work.weights);
        let log_ratio = work.at.energy - work.proposal.energy + backward - forward;
        let (accepted, info) = accept(log_ratio, rng);
        if accepted {
            x.copy_from_slice(&work.x);
            std::mem::swap(&mut work.at, &mut work.proposal);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{
        Rough, assert_matrix_is_reversible, assert_moments, assert_stationary, small_rbm,
    };
    use ebm_core::DiscreteEnergy;
    use ebm_core::exact::Enumeration;

    #[test]
    fn the_transition_matrix_is_reversible() {
        fn check<E: RelaxedEnergy>(energy: &E, step_size: f64) {
            let (n, k) = (energy.n_variables(), energy.n_states());
            let proposal = Proposal { n_states: k, step_size };
            let log_proposal = |from: &[u8], to: &[u8]| {
                let mut gradient = vec![0.0; n * k];
                energy.relaxed_gradient(from, &mut gradient);
                proposal.log_prob(&gradient, from, to, &mut vec![0.0; k])
            };
            assert_matrix_is_reversible(&Dmala::new(step_size), energy, log_proposal);
        }
        check(&small_rbm(), 0.7);
        check(&Rough::new(4, 3), 1.2);
    }

    #[test]
    fn long_runs_have_the_exact_law() {
        let rbm = small_rbm();
        let law = Enumeration::new(5, 2, |x| rbm.energy(x)).unwrap();
        assert_stationary(&Dmala::new(0.7), &rbm, &law, 2);
        assert_moments(&Dmala::new(0.7), &rbm, &law, 2);
        let rough = Rough::new(4, 3);
        let law = Enumeration::new(4, 3, |x| rough.energy(x)).unwrap();
        assert_stationary(&Dmala::new(1.2), &rough, &law, 2);
        assert_moments(&Dmala::new(1.2), &rough, &law, 3);
    }
}
