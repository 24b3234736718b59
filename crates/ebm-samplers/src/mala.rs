//! Metropolis-adjusted Langevin (MALA): Hamiltonian Monte Carlo with one leapfrog.
//!
//! `x' = x - (h^2 / 2) grad E(x) + h z`, accepted by Metropolis-Hastings. `step_size` is the leapfrog's `h`: a
//! ULA step of size `e` corresponds to `h^2 = 2 e`. Source: Roberts and Tweedie 1996; the identity with one
//! leapfrog: Neal, arXiv 1206.1901, section 5.2.

use ebm_core::{GradEnergy, Point, Result, Schedule};
use serde::{Deserialize, Serialize};

use crate::hamiltonian::{HamiltonianWork, init, transition};
use crate::kernel::{Clip, Info, Kernel, State, check_step_size};

/// Settings of MALA. Exact. The best acceptance is about 0.57.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Mala, SampleConfig, sample};
/// let config = SampleConfig { n_draws: 200, burn_in: 200, target_accept: Some(0.57), ..Default::default() };
/// let run = sample(&Mala::new(0.5), &Gaussian::standard(2)?, vec![vec![3.0f64; 2]; 2], &config)?;
/// assert_eq!(run.n_diverged, [0, 0]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mala {
    /// The leapfrog's step size `h`, above 0; `h^2 / 2` multiplies the gradient.
    pub step_size: Schedule,
    /// Limits the gradient of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
}

impl Mala {
    /// No clipping.
    pub fn new(step_size: impl Into<Schedule>) -> Self {
        Self { step_size: step_size.into(), clip: None }
    }

    /// Set [`Mala::clip`].
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for Mala {
    type Work = HamiltonianWork<X>;
    type Info = Info<X>;

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        Clip::check(self.clip)
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn init(&self, energy: &E, x: X) -> Result<State<X, Self::Work>> {
        init(energy, x, &self.step_size, self.clip)
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<Info<X>> {
        transition(energy, state, rng, 1, self.clip)
    }
}
