//! Metropolis-adjusted Langevin (MALA): Hamiltonian Monte Carlo with one leapfrog.
//!
//! `x' = x - (h^2 / 2) grad E(x) + h z`, accepted by Metropolis-Hastings. `step_size` is the leapfrog's `h`: a
//! ULA step of size `e` corresponds to `h^2 = 2 e`. Source: Roberts and Tweedie 1996; the identity with one
//! leapfrog: Neal, arXiv 1206.1901, section 5.2.

use ebm_core::{GradEnergy, Point, Result, Schedule};
use serde::{Deserialize, Serialize};

use crate::hamiltonian::{HamiltonianWork, init, refresh, transition};
use crate::kernel::{Clip, Info, Kernel, State, check_step_size};

/// Settings of MALA. Exact. The best acceptance is about 0.57.
///
/// Use it where one gradient per step is all that can be paid. Not where several can: `Hmc` mixes faster.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Mala, SampleConfig, sample};
/// let config = SampleConfig { n_draws: 200, burn_in: 200, target_accept: Some(0.57), ..Default::default() };
/// let run = sample(&Mala::new(0.5), &Gaussian::standard(2)?, vec![vec![3.0f64; 2]; 2], &config)?;
/// assert_eq!(run.summary.n_diverged, [0, 0]);
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

    fn has_metric(&self) -> bool {
        true
    }

    fn init(&self, energy: &E, x: X) -> Result<State<X, Self::Work>> {
        init(energy, x, &self.step_size, self.clip)
    }

    fn refresh(&self, energy: &E, state: &mut State<X, Self::Work>) -> Result<()> {
        refresh(energy, state, self.clip)
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<Info<X>> {
        transition(energy, state, rng, 1, self.clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::Gaussian;
    use ebm_core::random::{Purpose, Stream};

    /// One leapfrog's acceptance is the Metropolis-Hastings ratio of the Langevin proposal, densities written out.
    #[test]
    fn the_acceptance_is_that_of_the_langevin_proposal() {
        let target = Gaussian::new(vec![0.0, 1.0], vec![1.0, 0.3, 0.3, 0.5]).unwrap();
        let (h, kernel) = (0.7, Mala::new(0.7));
        let start = vec![0.4, -0.9];
        for index in 0..50 {
            let mut state = kernel.init(&target, start.clone()).unwrap();
            let (e0, g0) = (state.energy, state.grad.clone());
            let mut rng = Stream::new(1, Purpose::Chain, index);
            // The proposal, from the same normals.
            let mut z = vec![0.0; 2];
            rng.clone().fill_normal(&mut z);
            let proposal: Vec<f64> = (0..2).map(|i| start[i] - 0.5 * h * h * g0[i] + h * z[i]).collect();
            let mut g1 = vec![0.0; 2];
            let e1 = target.energy_grad(&proposal, &mut g1).unwrap();
            let log_q = |to: &[f64], from: &[f64], g: &[f64]| -> f64 {
                (0..2).map(|i| -(to[i] - from[i] + 0.5 * h * h * g[i]).powi(2) / (2.0 * h * h)).sum()
            };
            let log_ratio = e0 - e1 + log_q(&start, &proposal, &g1) - log_q(&proposal, &start, &g0);
            let info = kernel.step(&target, &mut state, &mut rng).unwrap();
            assert!((info.accept_prob - log_ratio.min(0.0).exp()).abs() < 1e-12);
            let end = if info.accepted { &proposal } else { &start };
            assert!((state.x[0] - end[0]).abs() < 1e-14 && (state.x[1] - end[1]).abs() < 1e-14);
        }
    }

    /// Preconditioned by a diagonal metric: each coordinate as with its own step size.
    #[test]
    fn a_metric_scales_each_coordinate() {
        let target = Gaussian::new(vec![0.0, 1.0], vec![1.0, 0.3, 0.3, 0.5]).unwrap();
        let (h, scales) = (0.7, [2.0, 0.3]);
        let kernel = Mala::new(h);
        let mut state = kernel.init(&target, vec![0.4, -0.9]).unwrap();
        state.metric = crate::Metric::diagonal(&state.x, &[4.0, 0.09]).unwrap();
        let (start, g) = (state.x.clone(), state.grad.clone());
        let mut rng = Stream::new(1, Purpose::Chain, 3);
        let mut z = vec![0.0; 2];
        rng.clone().fill_normal(&mut z);
        let info = kernel.step(&target, &mut state, &mut rng).unwrap();
        assert!(info.accepted);
        for i in 0..2 {
            let s = scales[i];
            let expected = start[i] - 0.5 * (h * s) * (h * s) * g[i] + h * s * z[i];
            assert!((state.x[i] - expected).abs() < 1e-14);
        }
    }
}
