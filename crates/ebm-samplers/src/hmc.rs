//! Hamiltonian Monte Carlo with a jittered path length.
//!
//! Source: Neal, "MCMC using Hamiltonian dynamics" (arXiv 1206.1901). The number of leapfrogs is drawn anew for
//! each step: a fixed path length can resonate with the target (on a Gaussian, half a period returns to the
//! mirrored start and gives wrong variances while acceptance looks perfect).

use ebm_core::{Error, GradEnergy, Point, Result, Schedule, StepRng};
use serde::{Deserialize, Serialize};

use crate::hamiltonian::{HamiltonianWork, init, refresh, transition};
use crate::kernel::{Clip, Info, Kernel, State, check_step_size};

/// Settings of Hamiltonian Monte Carlo. Exact: the target is its stationary law at any step size.
///
/// Use it for the true expectations of a density with a gradient. Not where the energy jumps or its gradient is
/// noisy: proposals are rejected; nor across separated modes.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Hmc, SampleConfig, sample};
/// let config = SampleConfig { n_draws: 200, burn_in: 100, target_accept: Some(0.8), ..Default::default() };
/// let run = sample(&Hmc::new(0.1, 8), &Gaussian::standard(3)?, vec![vec![0.0f64; 3]; 4], &config)?;
/// assert!(run.summary.acceptance.iter().all(|a| *a > 0.5));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hmc {
    /// The leapfrog's step size, above 0.
    pub step_size: Schedule,
    /// Leapfrogs per step, on average; at least 1.
    pub n_leapfrogs: u32,
    /// Share `j` of the jitter: the number of leapfrogs is uniform on `(1 - j) n ..= (1 + j) n`, at least 1 and
    /// shared by the chains of a point. In `[0, 1)`.
    #[serde(default = "default_jitter")]
    pub jitter: f64,
    /// Limits the gradient that moves the momentum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
}

fn default_jitter() -> f64 {
    0.5
}

impl Hmc {
    /// `n_leapfrogs` on average, jittered by half.
    pub fn new(step_size: impl Into<Schedule>, n_leapfrogs: u32) -> Self {
        Self { step_size: step_size.into(), n_leapfrogs, jitter: default_jitter(), clip: None }
    }

    /// Set [`Hmc::jitter`].
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Set [`Hmc::clip`].
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }

    #[inline(always)]
    fn draw_n_leapfrogs(&self, rng: &mut impl StepRng) -> u32 {
        let n = f64::from(self.n_leapfrogs);
        let low = ((1.0 - self.jitter) * n).ceil().max(1.0);
        let high = ((1.0 + self.jitter) * n).floor().max(low);
        if high == low {
            return low as u32;
        }
        (low + rng.shared_uniform() * (high - low + 1.0)).min(high) as u32
    }
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for Hmc {
    type Work = HamiltonianWork<X>;
    type Info = Info<X>;

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if self.n_leapfrogs == 0 {
            return Err(Error::bad_value("n_leapfrogs", 0, "at least 1", ""));
        }
        if !(0.0..1.0).contains(&self.jitter) {
            return Err(Error::bad_value("jitter", self.jitter, "in [0, 1)", ""));
        }
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
        let n = self.draw_n_leapfrogs(rng);
        transition(energy, state, rng, n, self.clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hamiltonian::leapfrogs;
    use crate::metric::Metric;
    use ebm_core::analytic::Gaussian;
    use ebm_core::random::{Purpose, Stream};

    #[test]
    fn the_number_of_leapfrogs_is_uniform_on_its_range() {
        let mut rng = Stream::new(0, Purpose::User, 0);
        let mut counts = [0; 20];
        for _ in 0..90_000 {
            counts[Hmc::new(0.1, 8).draw_n_leapfrogs(&mut rng) as usize] += 1;
        }
        assert_eq!(counts[..4].iter().sum::<i32>() + counts[13..].iter().sum::<i32>(), 0);
        let chi2: f64 = counts[4..13].iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 42.7, "{chi2}"); // 8 degrees of freedom, level 1e-6
        assert_eq!(Hmc::new(0.1, 1).draw_n_leapfrogs(&mut rng), 1);
        assert_eq!(Hmc::new(0.1, 8).jitter(0.0).draw_n_leapfrogs(&mut rng), 8);
    }

    #[test]
    fn leapfrogs_are_reversible_and_their_energy_error_is_second_order() {
        let target = Gaussian::new(vec![1.0, -1.0], vec![2.0, 0.6, 0.6, 0.5]).unwrap();
        let run = |h: f64, n: u32| {
            let (mut x, mut p, mut g) = (vec![0.3, 0.4], vec![1.0, -0.5], vec![0.0; 2]);
            let start = target.energy_grad(&x, &mut g).unwrap() + 0.5 * (p[0] * p[0] + p[1] * p[1]);
            let end = leapfrogs(&target, &mut x, &mut p, &mut g, &h, &Metric::Unit, n, None).unwrap();
            let error = end + 0.5 * (p[0] * p[0] + p[1] * p[1]) - start;
            p.iter_mut().for_each(|p| *p = -*p);
            leapfrogs(&target, &mut x, &mut p, &mut g, &h, &Metric::Unit, n, None).unwrap();
            assert!((x[0] - 0.3).abs() < 1e-12 && (x[1] - 0.4).abs() < 1e-12);
            assert!((p[0] + 1.0).abs() < 1e-12 && (p[1] - 0.5).abs() < 1e-12);
            error.abs()
        };
        // The same time by steps of h and h / 2: the error falls by 4.
        let order = (run(0.02, 50) / run(0.01, 100)).log2();
        assert!((order - 2.0).abs() < 0.05, "{order}");
    }
}
