//! Metropolis-adjusted microcanonical sampling: isokinetic trajectories from a fresh direction, accepted or not.
//!
//! The velocity is drawn uniformly on the unit sphere, (x, u) follows the isokinetic dynamics for a random number of
//! steps, and the end is accepted with probability `min(1, exp(-(change of E) - (change of K)))`, `K` as in
//! [`crate::Splitting`]'s dynamics. Source: Robnik, Cohn-Gordon and Seljak, "Metropolis Adjusted Microcanonical
//! Hamiltonian Monte Carlo" (arXiv 2503.01707).

use ebm_core::{Error, GradEnergy, Point, Result, Scalar, Schedule, StepRng};
use serde::{Deserialize, Serialize};

use crate::isokinetic::{IsokineticWork, Splitting, draw_velocity, trajectory};
use crate::kernel::{Info, Kernel, State, check_step_size};
use crate::metropolis::metropolis;

/// Settings of adjusted microcanonical sampling. Exact: the target is its stationary law at any step size.
///
/// Use it as `Mclmc`, where the bias is not fine. Not for one coordinate: the velocity turns on a sphere.
///
/// The speed is 1, so `step_size` is a distance. A trajectory, `n_steps * step_size` long on average, should be about
/// the size of the bulk, `sqrt(sum of the variances)`; the step is best adapted, `target_accept: Some(0.9)`.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{MclmcAdjusted, SampleConfig, sample};
/// let config = SampleConfig { n_draws: 200, burn_in: 200, target_accept: Some(0.9), ..Default::default() };
/// let run = sample(&MclmcAdjusted::new(0.5, 5), &Gaussian::standard(10)?, vec![vec![0.5f64; 10]; 4], &config)?;
/// assert!(run.summary.acceptance.iter().all(|a| *a > 0.7));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MclmcAdjusted {
    /// The distance of a step, above 0.
    pub step_size: Schedule,
    /// Steps of a trajectory, on average: their number is uniform on `1 ..= 2 n_steps - 1` and shared by the chains of
    /// a point. At least 1.
    pub n_steps: u32,
    /// Kicks and drifts of a step.
    #[serde(default)]
    pub splitting: Splitting,
}

impl MclmcAdjusted {
    /// With [`Splitting::MinimalNorm`].
    pub fn new(step_size: impl Into<Schedule>, n_steps: u32) -> Self {
        Self { step_size: step_size.into(), n_steps, splitting: Splitting::default() }
    }

    /// Set [`MclmcAdjusted::splitting`].
    pub fn splitting(mut self, splitting: Splitting) -> Self {
        self.splitting = splitting;
        self
    }
}

/// Uniform on `1 ..= 2 mean - 1`: a length that is always the same may resonate with the target.
#[inline(always)]
pub(crate) fn random_length(mean: u32, rng: &mut impl StepRng) -> u32 {
    let most = 2 * mean - 1;
    (1 + (rng.shared_uniform() * f64::from(most)) as u32).min(most)
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for MclmcAdjusted {
    type Work = IsokineticWork<X>;
    type Info = Info<X>;

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if !(1..=1 << 29).contains(&self.n_steps) {
            return Err(Error::bad_value("n_steps", self.n_steps, "from 1 to 2^29", ""));
        }
        Ok(())
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn has_metric(&self) -> bool {
        true
    }

    fn init(&self, energy: &E, x: X) -> Result<State<X, Self::Work>> {
        let work = IsokineticWork::new(&x)?;
        let mut state = State::new(x, &self.step_size, work)?;
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<X, Self::Work>) -> Result<()> {
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(())
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<Info<X>> {
        let State { x, grad, energy: old_energy, step_size, metric, work, .. } = state;
        let n = random_length(self.n_steps, rng);
        work.old_x.set_from(x)?;
        work.old_grad.set_from(grad)?;
        draw_velocity(&mut work.velocity, rng)?;
        let (new_energy, kinetic) = trajectory(energy, x, grad, work, step_size, metric, n, self.splitting)?;
        let log_ratio = X::Scalar::linear([(1.0, &*old_energy), (-1.0, &new_energy), (-1.0, &kinetic)])?;
        let mut info = metropolis(x, &log_ratio, rng)?;
        info.n_leapfrogs = n * self.splitting.n_gradients();
        x.restore_unless(&info.accepted, &work.old_x)?;
        grad.restore_unless(&info.accepted, &work.old_grad)?;
        *old_energy = X::Scalar::select(&info.accepted, &new_energy, old_energy)?;
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::{Exact, Gaussian, Rosenbrock};
    use ebm_core::random::{Purpose, Stream};
    use ebm_core::{Block, Host};

    /// From exact draws in 4096 independent chains, at a step so coarse that many are rejected: after 12 steps each
    /// mean and covariance is still the exact one. Returns the acceptance.
    fn check_invariant(law: &(impl Exact + GradEnergy<Block<f64>>), kernel: &MclmcAdjusted) -> f64 {
        let (mean, covariance) = (law.mean(), law.covariance());
        let dim = mean.len();
        let (mut rows, mut accepted) = (vec![], 0.0);
        for block in 0..64 {
            let mut rng = Stream::new(8, Purpose::Chain, block);
            let start: Vec<f64> = (0..64).flat_map(|_| law.sample(&mut rng)).collect();
            let mut state = kernel.init(law, Block::new(dim, start).unwrap()).unwrap();
            for _ in 0..12 {
                let info = kernel.advance(law, &mut state, &mut rng).unwrap();
                accepted += info.accept_prob.to_host(64).unwrap().iter().sum::<f64>() / (12.0 * 4096.0);
            }
            rows.extend_from_slice(state.x.as_slice());
        }
        let z = |exact: f64, f: &dyn Fn(&[f64]) -> f64| {
            let values: Vec<f64> = rows.chunks(dim).map(f).collect();
            let found = values.iter().sum::<f64>() / 4096.0;
            let square = values.iter().map(|v| (v - found).powi(2)).sum::<f64>();
            (found - exact) / (square / (4096.0 * 4095.0)).sqrt()
        };
        for i in 0..dim {
            let z1 = z(mean[i], &|x| x[i]);
            assert!(z1.abs() < 4.5, "mean {i}: z = {z1}");
            for j in 0..=i {
                let z2 = z(covariance[i * dim + j], &|x| (x[i] - mean[i]) * (x[j] - mean[j]));
                assert!(z2.abs() < 4.5, "covariance {i} {j}: z = {z2}");
            }
        }
        accepted
    }

    #[test]
    fn the_target_is_stationary_at_coarse_steps() {
        let covariance = vec![2.0, 0.6, 0.1, 0.6, 0.5, 0.0, 0.1, 0.0, 1.0];
        let law = Gaussian::new(vec![1.0, -1.0, 0.5], covariance).unwrap();
        let rosenbrock = Rosenbrock::new(2, 1.0, 0.5, 0.5).unwrap();
        for (splitting, for_law, for_rosenbrock) in
            [(Splitting::Leapfrog, 1.3, 0.9), (Splitting::MinimalNorm, 2.0, 1.5)]
        {
            let kernel = |step_size: f64| MclmcAdjusted::new(step_size, 3).splitting(splitting);
            let accepted = check_invariant(&law, &kernel(for_law));
            assert!((0.3..0.9).contains(&accepted), "{splitting:?}: too weak a test, acceptance {accepted}");
            let accepted = check_invariant(&rosenbrock, &kernel(for_rosenbrock));
            assert!((0.3..0.9).contains(&accepted), "{splitting:?}: too weak a test, acceptance {accepted}");
        }
    }

    #[test]
    fn lengths_are_uniform() {
        let mut rng = Stream::new(0, Purpose::User, 0);
        let mut counts = [0; 9];
        (0..70_000).for_each(|_| counts[random_length(4, &mut rng) as usize] += 1);
        assert_eq!(counts[0] + counts[8], 0);
        let chi2: f64 = counts[1..8].iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 39.0, "{chi2}"); // 6 degrees of freedom, level 1e-6
        assert_eq!(random_length(1, &mut rng), 1);
    }

    #[test]
    fn divergences_are_rejected_and_flagged() {
        let wall = Host::value_grad(2, |x: &[f64], g: &mut [f64]| {
            g.copy_from_slice(x);
            if x[0].abs() > 1.0 { f64::NAN } else { 0.5 * (x[0] * x[0] + x[1] * x[1]) }
        });
        let kernel = MclmcAdjusted::new(0.3, 4);
        let mut state = kernel.init(&wall, vec![0.0, 0.0]).unwrap();
        let mut rng = Stream::new(1, Purpose::Chain, 0);
        let mut diverged = 0;
        for _ in 0..500 {
            let (before, info) = (state.x.clone(), kernel.advance(&wall, &mut state, &mut rng).unwrap());
            assert!(info.accepted || state.x == before);
            diverged += u32::from(info.diverged);
            assert!(state.x[0].abs() <= 1.0 && state.energy.is_finite());
        }
        assert!(diverged > 50, "{diverged}");
    }

    #[test]
    fn bad_settings_are_errors() {
        let check =
            |kernel: MclmcAdjusted| Kernel::<Vec<f64>, Gaussian>::check(&kernel).unwrap_err().to_string();
        assert_eq!(check(MclmcAdjusted::new(0.1, 0)), "n_steps = 0: must be from 1 to 2^29");
        assert!(check(MclmcAdjusted::new(0.0, 1)).starts_with("step_size = 0"));
        let one = Gaussian::standard(1).unwrap();
        assert!(MclmcAdjusted::new(0.1, 1).init(&one, vec![0.0f64]).is_err());
    }
}
