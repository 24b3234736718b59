//! Microcanonical Langevin Monte Carlo (MCLMC), unadjusted: isokinetic dynamics whose direction decays at random.
//!
//! Each step moves (x, u) along the isokinetic dynamics of [`crate::Splitting`] by the distance `h` (the speed is 1),
//! then turns the velocity at random, `u <- (u + nu z) / |u + nu z|`, `nu^2 = (exp(2 h / L) - 1) / d`: a direction is
//! forgotten after the distance `L`. Sources: Robnik, De Luca, Silverstein and Seljak, "Microcanonical Hamiltonian
//! Monte Carlo" (arXiv 2212.08549); Robnik and Seljak, "Fluctuation without dissipation: Microcanonical Langevin Monte
//! Carlo" (arXiv 2303.18221). They turn the velocity by half before and by half after the dynamics; the positions
//! have the same law.

use ebm_core::{ChainMask, Error, GradEnergy, Mask, Point, Real, Result, Scalar, Schedule};
use serde::{Deserialize, Serialize};

use crate::drive::sample_host;
use crate::isokinetic::{IsokineticWork, Splitting, draw_velocity, normalise, trajectory};
use crate::kernel::{Kernel, Observer, State, StepInfo, check_step_size};
use crate::metric::Metric;
use crate::start_points::check_points;

/// An energy error beyond this is a divergence, as in the accept step of the adjusted kernels.
const DIVERGENCE: f64 = 1000.0;

/// The variance of the energy error per coordinate and step that [`Mclmc::tuned`] aims at; the bias follows it. Source:
/// arXiv 2303.18221.
const ENERGY_VARIANCE: f64 = 5e-4;

/// Settings of microcanonical Langevin. Biased, of second order in `h`; nothing is ever rejected but what diverges.
///
/// Use it in hundreds of coordinates where a small bias is fine. Not for exact expectations (`MclmcAdjusted`), nor
/// for one coordinate.
///
/// Both settings are distances, in the units of the coordinates. `length` should be the size of the bulk,
/// `sqrt(sum of the variances)`: about `sqrt(d)` widths. `step_size` is a share of it: the bias is small as long as the
/// variance of the energy error per coordinate stays below about 5e-4. [`Mclmc::tuned`] finds both.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Mclmc, SampleConfig, sample};
/// let (law, starts) = (Gaussian::standard(20)?, vec![vec![0.5f64; 20]; 4]);
/// let kernel = Mclmc::new(1.0, 4.0).tuned(&law, starts.clone(), 500, 0)?;
/// let run = sample(&kernel, &law, starts, &SampleConfig { n_draws: 100, burn_in: 50, ..Default::default() })?;
/// assert_eq!(run.summary.n_diverged, [0; 4]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mclmc {
    /// `h`, above 0: the distance of a step.
    pub step_size: Schedule,
    /// `L`, above 0: the distance after which a direction is forgotten.
    pub length: f64,
    /// Kicks and drifts of a step.
    #[serde(default)]
    pub splitting: Splitting,
}

impl Mclmc {
    /// With [`Splitting::MinimalNorm`].
    pub fn new(step_size: impl Into<Schedule>, length: f64) -> Self {
        Self { step_size: step_size.into(), length, splitting: Splitting::default() }
    }

    /// Set [`Mclmc::splitting`].
    pub fn splitting(mut self, splitting: Splitting) -> Self {
        self.splitting = splitting;
        self
    }

    /// These settings with `step_size` and `length` found by running one chain from each start for `n_steps` steps,
    /// beginning with the present ones (a constant step). The step is the one whose energy error has a variance of
    /// 5e-4 per coordinate (it goes with `h^6`), the geometric mean over the chains; the length is the root of the
    /// summed variances of the positions in the second half. Take at least some hundred steps, and starts that are
    /// spread over the bulk.
    ///
    /// # Errors
    /// Impossible settings, fewer than 10 steps, and whatever the energy returns; starts from which no step could be
    /// taken.
    pub fn tuned<T, E>(&self, energy: &E, starts: Vec<Vec<T>>, n_steps: u64, seed: u64) -> Result<Self>
    where
        T: Real,
        E: GradEnergy<Vec<T>> + Sync + ?Sized,
    {
        check_points(&starts)?;
        if n_steps < 10 {
            return Err(Error::bad_value("n_steps", n_steps, "at least 10", "take 500 or more"));
        }
        if self.step_size.as_constant().is_none() {
            return Err(Error::bad_value(
                "step_size",
                "a schedule",
                "a constant",
                "a tuned step is a constant",
            ));
        }
        let dim = starts[0].len();
        let make = |_| Tuner {
            n_steps,
            error: 0.0,
            weight: 0.0,
            step_size: 0.0,
            count: 0.0,
            sums: vec![[0.0; 2]; dim],
        };
        let tuners: Vec<Tuner> = sample_host(self, energy, starts, n_steps, seed, make)?
            .into_iter()
            .map(|(_, tuner)| tuner)
            .collect();
        let log_steps: f64 = tuners.iter().map(|t| t.step_size.ln()).sum();
        let step_size = (log_steps / tuners.len() as f64).exp();
        let count: f64 = tuners.iter().map(|t| t.count).sum();
        let variance = |i: usize| {
            let [sum, squares] =
                tuners.iter().fold([0.0; 2], |[a, b], t| [a + t.sums[i][0], b + t.sums[i][1]]);
            squares / count - (sum / count).powi(2)
        };
        let length = (0..dim).map(variance).sum::<f64>().sqrt();
        for (name, found) in [("tuned step_size", step_size), ("tuned length", length)] {
            if !(found > 0.0 && found.is_finite()) {
                let fix = "the chains did not move: are energy and gradient finite at the starts?";
                return Err(Error::bad_value(name, found, "above 0 and finite", fix));
            }
        }
        Ok(Self { step_size: step_size.into(), length, splitting: self.splitting })
    }
}

/// What a step reports, per chain.
pub struct MclmcInfo<X: Point> {
    /// The change of energy and kinetic energy over the step: 0 if the dynamics were followed exactly.
    pub energy_error: X::Scalar,
    /// Whether it was not finite or beyond 1000: the step was undone and the direction drawn anew.
    pub diverged: Mask<X>,
}

impl<X: Point> StepInfo<X> for MclmcInfo<X> {
    fn accept_prob(&self) -> Option<&X::Scalar> {
        None
    }
    fn diverged(&self) -> Option<&Mask<X>> {
        Some(&self.diverged)
    }
}

/// The velocity, of length 1 after the first step, and where a diverged chain goes back to.
#[derive(Debug)]
pub struct MclmcWork<X> {
    flow: IsokineticWork<X>,
    started: bool,
    old_velocity: X,
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for Mclmc {
    type Work = MclmcWork<X>;
    type Info = MclmcInfo<X>;

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if !(self.length > 0.0 && self.length.is_finite()) {
            let fix = "take the root of the summed variances, about sqrt(dim) widths";
            return Err(Error::bad_value("length", self.length, "above 0 and finite", fix));
        }
        Ok(())
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn init(&self, energy: &E, x: X) -> Result<State<X, Self::Work>> {
        let flow = IsokineticWork::new(&x)?;
        let work = MclmcWork { flow, started: false, old_velocity: x.zeros_like()? };
        let mut state = State::new(x, &self.step_size, work)?;
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<X, Self::Work>) -> Result<()> {
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(())
    }

    fn carried<'a>(&self, work: &'a mut Self::Work) -> Vec<&'a mut X> {
        work.started = true;
        vec![&mut work.flow.velocity]
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<Self::Info> {
        let State { x, grad, energy: old_energy, step_size, work, .. } = state;
        let MclmcWork { flow, started, old_velocity } = work;
        if !*started {
            draw_velocity(&mut flow.velocity, rng)?;
            *started = true;
        }
        flow.old_x.set_from(x)?;
        flow.old_grad.set_from(grad)?;
        old_velocity.set_from(&flow.velocity)?;
        let unit = Metric::Unit;
        let (new_energy, kinetic) = trajectory(energy, x, grad, flow, step_size, &unit, 1, self.splitting)?;
        let energy_error = X::Scalar::linear([(1.0, &new_energy), (-1.0, &*old_energy), (1.0, &kinetic)])?;

        // A NaN compares false, so it is on neither side of a limit.
        let not_above = energy_error.less_than(&X::Scalar::same(DIVERGENCE))?.negate()?;
        let not_below = X::Scalar::same(-DIVERGENCE).less_than(&energy_error)?.negate()?;
        let diverged = not_above.either(&not_below)?;
        let fine = diverged.negate()?;
        x.restore_unless(&fine, &flow.old_x)?;
        grad.restore_unless(&fine, &flow.old_grad)?;
        flow.velocity.restore_unless(&fine, old_velocity)?;
        *old_energy = X::Scalar::select(&fine, &new_energy, old_energy)?;

        // exp(60) forgets every direction; beyond it f32 would overflow. A diverged chain forgets its own too.
        let decay = X::Scalar::linear([(2.0 / self.length, &*step_size)])?.at_most(60.0)?;
        let per_coordinate = 1.0 / x.dim_of_chain() as f64;
        let one = X::Scalar::same(1.0);
        let variance = X::Scalar::linear([(per_coordinate, &decay.exp_each()?), (-per_coordinate, &one)])?;
        let noise = X::Scalar::select(&fine, &variance.sqrt_each()?, &X::Scalar::same(1e12))?;
        flow.velocity.add_normal(&noise, rng)?;
        normalise(&mut flow.velocity)?;
        Ok(MclmcInfo { energy_error, diverged })
    }
}

/// Moves the step size of one chain to the wanted variance of the energy error, and sums up its positions in the second
/// half. The estimate forgets after about 150 steps and trusts errors near the wanted one most (as blackjax does).
struct Tuner {
    n_steps: u64,
    /// Weighted sum of `error^2 / (d wanted h^6)`, and of the weights.
    error: f64,
    weight: f64,
    step_size: f64,
    count: f64,
    /// Per coordinate, the sum and the sum of squares.
    sums: Vec<[f64; 2]>,
}

impl<T: Real> Observer<Vec<T>, MclmcWork<Vec<T>>, MclmcInfo<Vec<T>>> for Tuner {
    fn after_step(
        &mut self,
        state: &mut State<Vec<T>, MclmcWork<Vec<T>>>,
        info: &MclmcInfo<Vec<T>>,
    ) -> Result<()> {
        const MEMORY: f64 = 150.0;
        const TRUST: f64 = 1.5;
        if info.diverged {
            state.step_size *= 0.7;
        } else {
            let wanted = ENERGY_VARIANCE * state.x.len() as f64;
            let share = info.energy_error.powi(2) / wanted + 1e-8;
            let weight = (-0.5 * (share.ln() / (6.0 * TRUST)).powi(2)).exp();
            let keep = (MEMORY - 1.0) / (MEMORY + 1.0);
            self.error = keep * self.error + weight * share / state.step_size.powi(6);
            self.weight = keep * self.weight + weight;
            // A chain that starts at a low energy error must not leap.
            let next = (self.weight / self.error).powf(1.0 / 6.0);
            state.step_size = next.clamp(0.5 * state.step_size, 2.0 * state.step_size);
        }
        self.step_size = state.step_size;
        if 2 * state.step > self.n_steps {
            self.count += 1.0;
            for (sums, x) in self.sums.iter_mut().zip(&state.x) {
                sums[0] += x.to_f64();
                sums[1] += x.to_f64().powi(2);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::Gaussian;
    use ebm_core::random::{Purpose, Stream};
    use ebm_core::{Block, Host};

    /// Relative error of the mean square of a standard normal in 8 dimensions, with its standard error over blocks.
    fn bias(h: f64, splitting: Splitting, n_steps: u64) -> (f64, f64) {
        let dim = 8;
        let law = Gaussian::standard(dim).unwrap();
        let kernel = Mclmc::new(h, 3.0).splitting(splitting);
        let block = |block| {
            let mut rng = Stream::new(5, Purpose::Chain, block);
            let mut rows = vec![0.0; 64 * dim];
            rng.fill_normal(&mut rows);
            let mut state = kernel.init(&law, Block::new(dim, rows).unwrap()).unwrap();
            let mut sum = 0.0;
            for step in 0..n_steps + 20 {
                let info = kernel.advance(&law, &mut state, &mut rng).unwrap();
                assert_eq!(info.diverged.0, 0);
                if step >= 20 {
                    sum += state.x.as_slice().iter().map(|x| x * x).sum::<f64>();
                }
            }
            for velocity in state.work.flow.velocity.rows() {
                assert!((velocity.iter().map(|u| u * u).sum::<f64>() - 1.0).abs() < 1e-13);
            }
            sum / (n_steps * 64 * dim as u64) as f64 - 1.0
        };
        let means: Vec<f64> = (0..16).map(block).collect();
        let mean = means.iter().sum::<f64>() / 16.0;
        (mean, (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (16.0 * 15.0)).sqrt())
    }

    #[test]
    fn the_bias_of_the_variance_is_second_order() {
        let ((wide, wide_error), (narrow, error)) =
            (bias(1.6, Splitting::Leapfrog, 500), bias(0.8, Splitting::Leapfrog, 3000));
        assert!(
            (wide - 4.0 * narrow).abs() < 4.0 * wide_error.hypot(4.0 * error),
            "{wide} {narrow} +- {error}"
        );
        // It can be told from no bias, from first order and from third.
        assert!(
            narrow > 4.0 * error && wide - 2.0 * narrow > 4.0 * wide_error.hypot(2.0 * error),
            "{wide} {narrow}"
        );
        assert!(8.0 * narrow - wide > 4.0 * wide_error.hypot(8.0 * error), "{wide} {narrow} {error}");
        // Steps twice as long at the same number of gradients, and still less biased.
        let (other, other_error) = bias(3.2, Splitting::MinimalNorm, 300);
        assert!(other.abs() + 4.0 * other_error < wide, "{other} {wide}");
    }

    /// The tuned step has the energy variance that it was tuned to, and the length is the size of the bulk.
    #[test]
    fn tuning_finds_the_step_and_the_length() {
        let dim = 20;
        let variances: Vec<f64> = (0..dim).map(|i| 0.2 + 0.1 * i as f64).collect();
        let law = Gaussian::diagonal(vec![1.0; dim], variances.clone()).unwrap();
        let mut stream = Stream::new(0, Purpose::Start, 0);
        let starts: Vec<Vec<f64>> = (0..8).map(|_| (0..dim).map(|_| stream.normal()).collect()).collect();
        for (step_size, length) in [(0.01, 1.0), (30.0, 30.0)] {
            let kernel = Mclmc::new(step_size, length).tuned(&law, starts.clone(), 1500, 3).unwrap();
            let exact = variances.iter().sum::<f64>().sqrt();
            assert!((kernel.length / exact - 1.0).abs() < 0.2, "{} {exact}", kernel.length);
            let (mut squares, n) = (0.0, 2000);
            let mut state = kernel.init(&law, starts[0].clone()).unwrap();
            let mut rng = Stream::new(1, Purpose::Chain, 0);
            for _ in 0..n {
                squares += kernel.advance(&law, &mut state, &mut rng).unwrap().energy_error.powi(2);
            }
            let variance = squares / f64::from(n * dim as u32) / ENERGY_VARIANCE;
            assert!((0.4..2.5).contains(&variance), "{step_size}: {variance} {kernel:?}");
        }
    }

    /// Beyond a wall nothing is finite: the steps there are undone and counted, and the chain goes on.
    #[test]
    fn divergences_are_undone() {
        let wall = Host::value_grad(2, |x: &[f64], g: &mut [f64]| {
            g.copy_from_slice(x);
            if x[0].abs() > 1.0 { f64::NAN } else { 0.5 * (x[0] * x[0] + x[1] * x[1]) }
        });
        let kernel = Mclmc::new(0.5, 2.0);
        let mut state = kernel.init(&wall, vec![0.0, 0.0]).unwrap();
        let mut rng = Stream::new(1, Purpose::Chain, 0);
        let (mut diverged, mut left, mut right) = (0, 0, 0);
        for _ in 0..2000 {
            diverged += u32::from(kernel.advance(&wall, &mut state, &mut rng).unwrap().diverged);
            assert!(state.x[0].abs() <= 1.0 && state.x[1].is_finite() && state.energy.is_finite());
            left += u32::from(state.x[0] < -0.5);
            right += u32::from(state.x[0] > 0.5);
        }
        assert!(diverged > 50 && left > 100 && right > 100, "{diverged} {left} {right}");
    }

    #[test]
    fn bad_settings_are_errors() {
        let law = Gaussian::standard(2).unwrap();
        let text = |kernel: Mclmc, n: u64, x: Vec<f64>| {
            kernel.tuned(&law, vec![x], n, 0).map(|_| ()).unwrap_err().to_string()
        };
        assert!(text(Mclmc::new(0.1, 0.0), 10, vec![0.0; 2]).starts_with("length = 0: must be above 0"));
        assert!(text(Mclmc::new(-0.1, 1.0), 10, vec![0.0; 2]).starts_with("step_size = -0.1"));
        assert!(text(Mclmc::new(0.1, 1.0), 9, vec![0.0; 2]).starts_with("n_steps = 9: must be at least 10"));
        assert!(text(Mclmc::new(0.1, 1.0), 10, vec![]).starts_with("coordinates of a start point = 0"));
        let scheduled = Mclmc::new(Schedule::linear(0.1, 0.2, 9), 1.0);
        assert!(text(scheduled, 10, vec![0.0; 2]).starts_with("step_size = a schedule"));
        let one = Gaussian::standard(1).unwrap();
        let error = Mclmc::new(0.1, 1.0).init(&one, vec![0.0f64]).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("coordinates of a point = 1: must be at least 2"), "{error}");
        let nan = Host::value_grad(2, |_: &[f64], _: &mut [f64]| f64::NAN);
        let error =
            Mclmc::new(0.1, 1.0).tuned(&nan, vec![vec![0.0; 2]], 100, 0).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("tuned length = 0"), "{error}");
    }
}
