//! Sequential Monte Carlo with adaptive tempering: weighted particles from one energy to another, and `ln Z` on the way.
//!
//! Along `E_beta = (1 - beta) E_0 + beta E_1` particles of weights `W_i` gain the factors
//! `w_i = exp(-(beta' - beta) (E_1 - E_0)(x_i))`, and `Z_beta' / Z_beta` is estimated by `sum W_i w_i`. The next `beta'`
//! is where `(sum W w)^2 / sum W w^2`, the conditional effective sample size as a share of the particles, has fallen to
//! a given value. Then the particles are resampled (systematically) where their effective size is low, and moved by a
//! kernel that leaves `E_beta'` invariant. Sources: Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers" (DOI
//! 10.1111/j.1467-9868.2006.00553.x); adaptive tempering: Jasra, Stephens, Doucet and Tsagaris 2011 (DOI
//! 10.1111/j.1467-9469.2010.00723.x); the conditional effective size: Zhou, Johansen and Aston (arXiv 1303.3123).
//!
//! The standard error of `ln Z` is that of the product estimator by lineages: particles that descend from the same
//! first particle are one group, and groups are independent. `sum over groups of (W_group - 1/n)^2` estimates the
//! relative variance. Sources: Chan and Lai 2013 (DOI 10.1214/13-AOS1172); Lee and Whiteley (arXiv 1509.00394). It was
//! derived for independent resampling; systematic resampling adds less noise.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Energy, Error, Real, Result};
use rayon::prelude::*;

use crate::bridge::{Bridge, check_draws, constant_step_size};
use crate::kernel::{Kernel, State, StepInfo};

/// Settings of sequential Monte Carlo.
///
/// Use it for modes far apart and for `log Z`. Not without exact draws of a start that covers the target.
///
/// The kernel has to leave each rung's law invariant (`Hmc`, `Mala`, `Nuts`), and its step size has to be a constant.
/// The number of particles is that of the draws it starts from.
///
/// ```
/// use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
/// use ebm_core::random::{Purpose, Stream};
/// use ebm_samplers::{Hmc, Smc};
/// let start = Gaussian::diagonal(vec![0.0], vec![25.0])?;
/// let end = GaussianMixture::new(vec![0.3, 0.7], vec![vec![-5.0], vec![5.0]], vec![1.0, 1.0])?;
/// let mut stream = Stream::new(0, Purpose::Start, 0);
/// let draws: Vec<_> = (0..500).map(|_| start.sample(&mut stream)).collect();
/// let run = Smc::default().run(&Hmc::new(0.5, 4), &start, &end, draws, start.log_partition())?;
/// assert!((run.log_z - end.log_partition()).abs() < 5.0 * run.std_error);
/// let (left, std_error) = run.expectation(|x| f64::from(u8::from(x[0] < 0.0)));
/// assert!((left - 0.3).abs() < 5.0 * std_error);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Smc {
    /// What is left of the conditional effective size after each change of `beta`, in (0, 1); nearer to 1 for more
    /// and smaller changes.
    pub ess_share: f64,
    /// Resample where the effective size is below this share of the particles, in [0, 1].
    pub resample_below: f64,
    /// Kernel steps of each particle after each change of `beta`; at least 1.
    pub n_steps: usize,
    /// Where given, the step size is multiplied by `exp(2 (acceptance - target))` after each change of `beta`.
    pub target_accept: Option<f64>,
    /// The run ends with an error when `beta = 1` is not reached in so many changes.
    pub max_stages: usize,
    /// The run is a function of this seed, whatever the number of threads.
    pub seed: u64,
}

impl Default for Smc {
    fn default() -> Self {
        Self {
            ess_share: 0.9,
            resample_below: 0.5,
            n_steps: 1,
            target_accept: Some(0.8),
            max_stages: 1000,
            seed: 0,
        }
    }
}

/// What came out of sequential Monte Carlo.
#[derive(Clone, Debug)]
pub struct SmcRun<X> {
    /// The particles at the end.
    pub points: Vec<X>,
    /// Their weights, which sum to 1; 0 where an energy was not finite.
    pub weights: Vec<f64>,
    /// For each particle, the draw it descends from.
    pub lineages: Vec<usize>,
    /// `ln Z` of the end.
    pub log_z: f64,
    /// Its standard error by lineages; too small to believe when few lineages are left ([`SmcRun::n_lineages`]).
    pub std_error: f64,
    /// `1 / sum W^2`, at most the number of particles.
    pub effective_size: f64,
    /// The path that was taken, from 0 to 1.
    pub betas: Vec<f64>,
    /// Mean acceptance after each change of `beta`; NaN for kernels that accept everything.
    pub acceptance: Vec<f64>,
    /// The kernel's step size after each change of `beta`.
    pub step_sizes: Vec<f64>,
    /// How often the particles were resampled.
    pub n_resampled: usize,
}

impl<X> SmcRun<X> {
    /// The weighted mean of `f` over the particles, and its standard error by lineages.
    pub fn expectation(&self, f: impl Fn(&X) -> f64) -> (f64, f64) {
        let weighted = || self.points.iter().zip(&self.weights).filter(|(_, w)| **w > 0.0);
        let mean = weighted().map(|(x, w)| w * f(x)).sum::<f64>();
        let off = |i: usize| {
            if self.weights[i] > 0.0 { self.weights[i] * (f(&self.points[i]) - mean) } else { 0.0 }
        };
        (mean, root_of_squares(&by_lineage(&self.lineages, off)))
    }

    /// How many of the first particles have descendants. A standard error from less than some dozens is a guess.
    pub fn n_lineages(&self) -> usize {
        by_lineage(&self.lineages, |i| self.weights[i]).iter().filter(|w| **w > 0.0).count()
    }
}

/// Sums of `value` over the particles of each lineage.
fn by_lineage(lineages: &[usize], value: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; lineages.len()];
    lineages.iter().enumerate().for_each(|(i, lineage)| sums[*lineage] += value(i));
    sums
}

/// The root of the summed squares of `n` independent terms that sum to 0, times `n / (n - 1)`.
fn root_of_squares(terms: &[f64]) -> f64 {
    let n = terms.len() as f64;
    terms.iter().map(|t| t * t).sum::<f64>().sqrt() * (n / (n - 1.0)).sqrt()
}

/// One particle with its kernel's state and its random numbers.
struct Particle<T: Real, W> {
    state: State<Vec<T>, W>,
    rng: Stream,
    /// `E_1 - E_0` at its position.
    slope: f64,
    /// Summed acceptance since the last change of `beta`.
    accepted: Option<f64>,
}

impl Smc {
    /// From exact draws of the start, one particle each. `log_z_start` is `ln Z` of the start.
    ///
    /// # Errors
    /// Impossible settings, fewer than 2 draws, draws of different lengths; energies that are nowhere finite, `beta = 1`
    /// not reached in `max_stages`; and whatever an energy returns.
    pub fn run<'a, T, K, A, B>(
        &self,
        kernel: &K,
        start: &'a A,
        end: &'a B,
        draws: Vec<Vec<T>>,
        log_z_start: f64,
    ) -> Result<SmcRun<Vec<T>>>
    where
        T: Real,
        A: Energy<Vec<T>> + Sync,
        B: Energy<Vec<T>> + Sync,
        K: Kernel<Vec<T>, Bridge<&'a A, &'a B>> + Sync,
    {
        kernel.check()?;
        self.check(&draws, log_z_start)?;
        let mut step_size = constant_step_size(kernel.step_size())?;
        let n = draws.len();
        let mut bridge = Bridge { start, end, beta: 0.0 };
        let first = |(i, x): (usize, Vec<T>)| {
            let slope = bridge.slope(&x)?;
            let state = kernel.init(&bridge, x)?;
            Ok(Particle {
                state,
                rng: Stream::new(self.seed, Purpose::Chain, i as u64),
                slope,
                accepted: None,
            })
        };
        let mut particles: Vec<Particle<T, K::Work>> =
            draws.into_par_iter().enumerate().map(first).collect::<Result<_>>()?;
        let mut resampling = Stream::new(self.seed, Purpose::Chain, n as u64);
        let mut weights = vec![1.0 / n as f64; n];
        let mut run = SmcRun {
            points: vec![],
            weights: vec![],
            lineages: (0..n).collect(),
            log_z: log_z_start,
            std_error: f64::NAN,
            effective_size: n as f64,
            betas: vec![0.0],
            acceptance: vec![],
            step_sizes: vec![],
            n_resampled: 0,
        };
        while bridge.beta < 1.0 {
            if run.betas.len() > self.max_stages {
                let fix = "lower ess_share, take more n_steps, or a start nearer to the end";
                return Err(Error::bad_value("beta after max_stages changes", bridge.beta, "1", fix));
            }
            let slopes: Vec<f64> = particles.iter().map(|p| p.slope).collect();
            let next = self.next_beta(bridge.beta, &weights, &slopes)?;
            run.log_z += reweight(&mut weights, &slopes, next - bridge.beta);
            bridge.beta = next;
            run.betas.push(next);
            run.effective_size = 1.0 / weights.iter().map(|w| w * w).sum::<f64>();
            if next < 1.0 && run.effective_size < self.resample_below * n as f64 {
                let parents = systematic(&weights, resampling.uniform());
                let points: Vec<Vec<T>> = parents.iter().map(|p| particles[*p].state.x.clone()).collect();
                particles.iter_mut().zip(points).for_each(|(particle, x)| particle.state.x = x);
                run.lineages = parents.iter().map(|p| run.lineages[*p]).collect();
                weights.fill(1.0 / n as f64);
                run.n_resampled += 1;
            }
            particles.par_iter_mut().try_for_each(|particle| {
                let Particle { state, rng, slope, accepted } = particle;
                state.step_size = step_size;
                kernel.refresh(&bridge, state)?;
                *accepted = None;
                for _ in 0..self.n_steps {
                    let info = kernel.advance(&bridge, state, rng)?;
                    if let Some(probability) = info.accept_prob() {
                        *accepted = Some(accepted.unwrap_or(0.0) + probability);
                    }
                }
                *slope = bridge.slope(&state.x)?;
                Ok::<(), Error>(())
            })?;
            let sum: f64 = particles.iter().map(|p| p.accepted.unwrap_or(f64::NAN)).sum();
            let acceptance = sum / (n * self.n_steps) as f64;
            run.acceptance.push(acceptance);
            run.step_sizes.push(step_size);
            if let Some(target) = self.target_accept
                && acceptance.is_finite()
            {
                step_size *= (2.0 * (acceptance - target)).exp();
            }
        }
        let shares = by_lineage(&run.lineages, |i| weights[i]);
        let off: Vec<f64> = shares.iter().map(|share| share - 1.0 / n as f64).collect();
        run.std_error = root_of_squares(&off);
        run.weights = weights;
        run.points = particles.into_iter().map(|p| p.state.x).collect();
        Ok(run)
    }

    /// Where the conditional effective size has fallen to its share; 1 where it stays above.
    fn next_beta(&self, beta: f64, weights: &[f64], slopes: &[f64]) -> Result<f64> {
        let alive = || weights.iter().zip(slopes).filter(|(w, s)| **w > 0.0 && s.is_finite());
        let all: f64 = alive().map(|(w, _)| w).sum();
        if !(all > 0.0) {
            let limit = "finite at one particle at least";
            let fix = "do start and end have finite energies at the same points?";
            return Err(Error::bad_value(
                format!("difference of the energies at beta = {beta}"),
                "NaN or infinite",
                limit,
                fix,
            ));
        }
        let least = alive().map(|(_, s)| *s).fold(f64::INFINITY, f64::min);
        let share = |change: f64| {
            let (sum, squares) = alive().fold((0.0, 0.0), |(sum, squares), (w, slope)| {
                let factor = (-change * (slope - least)).exp();
                (sum + w * factor, squares + w * factor * factor)
            });
            sum * sum / (squares * all)
        };
        let (mut low, mut high) = (0.0, 1.0 - beta);
        if share(high) >= self.ess_share {
            return Ok(1.0);
        }
        // 50 halvings: far below what the choice of beta can matter.
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            *(if share(middle) >= self.ess_share { &mut low } else { &mut high }) = middle;
        }
        let next = beta + high;
        if next > beta {
            return Ok(next);
        }
        let fix = "the energies of the particles are too far apart: take a start nearer to the end";
        Err(Error::bad_value("change of beta", high, "above rounding", fix))
    }

    fn check<T: Real>(&self, draws: &[Vec<T>], log_z_start: f64) -> Result<()> {
        if !(self.ess_share > 0.0 && self.ess_share < 1.0) {
            return Err(Error::bad_value("ess_share", self.ess_share, "above 0 and below 1", "0.9 is usual"));
        }
        if !(0.0..=1.0).contains(&self.resample_below) {
            return Err(Error::bad_value("resample_below", self.resample_below, "in [0, 1]", "0.5 is usual"));
        }
        for (name, value) in [("n_steps", self.n_steps), ("max_stages", self.max_stages)] {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if let Some(target) = self.target_accept
            && !(target > 0.0 && target < 1.0)
        {
            return Err(Error::bad_value(
                "target_accept",
                target,
                "above 0 and below 1",
                "0.8 is usual for Hmc",
            ));
        }
        check_draws("particles", draws, "take 1000", log_z_start)
    }
}

/// Multiply the weights by `exp(-change slope)` and scale them to sum to 1; returns `ln` of their sum before that.
fn reweight(weights: &mut [f64], slopes: &[f64], change: f64) -> f64 {
    let least = slopes.iter().copied().filter(|s| s.is_finite()).fold(f64::INFINITY, f64::min);
    for (w, slope) in weights.iter_mut().zip(slopes) {
        *w *= if slope.is_finite() { (-change * (slope - least)).exp() } else { 0.0 };
    }
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    sum.ln() - change * least
}

/// Parents by systematic resampling: `n` equidistant points, shifted by one uniform, on the cumulative weights.
fn systematic(weights: &[f64], uniform: f64) -> Vec<usize> {
    let n = weights.len() as f64;
    let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
    let (mut parent, mut below) = (0, 0.0);
    let one = |k: usize| {
        let at = (k as f64 + uniform) / n;
        while parent < last && below + weights[parent] <= at {
            below += weights[parent];
            parent += 1;
        }
        parent
    };
    (0..weights.len()).map(one).collect()
}

#[cfg(test)]
#[path = "smc_tests.rs"]
mod tests;
