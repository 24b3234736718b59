//! Nested sampling: `ln Z` and weighted draws of an energy, from the prior inwards through ever higher likelihoods.
//!
//! With a start `E_0` (the prior) and an end `E_1`, `L(x) = exp(-(E_1 - E_0)(x))` is the likelihood, and
//! `Z_1 / Z_0 = integral of L over X`, `X(l)` the prior's mass where `L > l`. Of `n` live points the lowest is taken away
//! and replaced by a draw of the prior above it; each time `X` shrinks by a factor `t` of density `n t^(n - 1)`, so that
//! `ln X` falls by `1 / n` on average. Source: Skilling 2006 (DOI 10.1214/06-BA127).
//!
//! New points are copies of live ones moved by slices along random directions, whitened by the covariance of the live
//! points, that leave the prior within the bound as it is (as PolyChord: Handley, Hobson and Lasenby 2015, arXiv
//! 1506.00171). Equal likelihoods are told apart by a random label. Taking away several points at once, with counts
//! `n, n - 1, ...`, lets them be replaced side by side.
//!
//! The estimate and its standard error are mean and standard deviation of `ln Z` over simulated sequences of the factors
//! `t`, as they are all that is random when each new point is an independent draw. The standard error is near
//! `sqrt(H / n)`, `H` the information.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Cholesky, Energy, Error, Point, Real, Result, log_sum_exp};
use rayon::prelude::*;

use crate::bridge::Bridge;
use crate::slice::{below, draw_level, slice_line};
use crate::start_points::check_points;

/// The first interval of a slice, in standard deviations of the live points along it, and how often it may grow.
const WIDTH: f64 = 2.0;
const MAX_WIDTHS: u32 = 32;

/// The covariance is taken anew each time this share of the live points was replaced.
const RENEWED: f64 = 0.2;

/// Simulated sequences of shrinkages: the standard error is known to 5 percent.
const N_SIMULATIONS: u64 = 200;

/// Settings of nested sampling, on host points. Needs no gradient.
///
/// Use it for `log Z`, and for modes far apart, where there is no gradient. Not where there is one and the start is
/// far wider than the end: `Smc` needs fewer evaluations.
///
/// The number of live points is that of the draws it starts from: the standard error falls with its root, the cost grows
/// with it and with the information. The start has to cover the end; where its energy is infinite it has a wall.
///
/// ```
/// use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
/// use ebm_core::random::{Purpose, Stream};
/// use ebm_samplers::Nested;
/// let start = Gaussian::diagonal(vec![0.0], vec![25.0])?;
/// let end = GaussianMixture::new(vec![0.3, 0.7], vec![vec![-5.0], vec![5.0]], vec![1.0, 1.0])?;
/// let mut stream = Stream::new(0, Purpose::Start, 0);
/// let draws: Vec<_> = (0..200).map(|_| start.sample(&mut stream)).collect();
/// let run = Nested::default().run(&start, &end, draws, start.log_partition())?;
/// assert!((run.log_z - end.log_partition()).abs() < 5.0 * run.std_error);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nested {
    /// Slices that make a new point, per coordinate; at least 1. Too few leave it near the point it was copied from, and
    /// the standard error too small.
    pub n_sweeps: usize,
    /// Points replaced at once, side by side on the cores; from 1 to half of the live points.
    pub n_parallel: usize,
    /// Stop when the live points could add no more than this share to `Z`; above 0.
    pub remaining: f64,
    /// The run ends with an error when it has not stopped after so many points.
    pub max_points: usize,
    /// The run is a function of this seed, whatever the number of threads.
    pub seed: u64,
}

impl Default for Nested {
    fn default() -> Self {
        Self { n_sweeps: 5, n_parallel: 8, remaining: 1e-3, max_points: 10_000_000, seed: 0 }
    }
}

/// What came out of a nested sampler.
#[derive(Clone, Debug)]
pub struct NestedRun<X> {
    /// All points, from low to high likelihood; weighted by [`NestedRun::weights`] they are draws of the end.
    pub points: Vec<X>,
    /// They sum to 1.
    pub weights: Vec<f64>,
    /// `(sum w)^2 / sum w^2`: how many of the points count.
    pub effective_size: f64,
    /// `ln Z` of the end.
    pub log_z: f64,
    /// Its standard error.
    pub std_error: f64,
    /// `H`, the mean of `ln(p_1 / p_0)` under the end, in nats: how much narrower the end is than the start.
    pub information: f64,
    /// Points tried by the slices; each costs an energy of the start and mostly one of the end.
    pub n_tried: u64,
    /// Slices that found no point, which happens only with energies that are not the same when asked again.
    pub n_stuck: u64,
}

/// A point of the prior with its place in the order: lower is better.
#[derive(Clone)]
struct Live<T> {
    x: Vec<T>,
    start_energy: f64,
    rank: Rank,
}

/// `E_1 - E_0`, infinite where the likelihood is 0, and the label that tells equal ones apart.
#[derive(Clone, Copy)]
struct Rank {
    slope: f64,
    label: f64,
}

impl Rank {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.slope.total_cmp(&other.slope).then(self.label.total_cmp(&other.label))
    }
}

/// Numerical trouble is likelihood 0.
fn slope_of(start_energy: f64, end_energy: f64) -> f64 {
    let slope = end_energy - start_energy;
    if slope.is_finite() { slope } else { f64::INFINITY }
}

impl Nested {
    /// From exact draws of the start, one live point each. `log_z_start` is `ln Z` of the start.
    ///
    /// # Errors
    /// Impossible settings, no more draws than coordinates, draws of different lengths; energies that are nowhere finite,
    /// no end within `max_points`; and whatever an energy returns.
    pub fn run<T, A, B>(
        &self,
        start: &A,
        end: &B,
        draws: Vec<Vec<T>>,
        log_z_start: f64,
    ) -> Result<NestedRun<Vec<T>>>
    where
        T: Real,
        A: Energy<Vec<T>> + Sync,
        B: Energy<Vec<T>> + Sync,
    {
        self.check(&draws, log_z_start)?;
        let n = draws.len();
        let bridge = Bridge { start, end, beta: 1.0 };
        let mut own = Stream::new(self.seed, Purpose::Chain, 0);
        let mut live = first_points(&bridge, draws, &mut own)?;
        let mut factor = Cholesky::identity(live[0].x.len());
        let mut dead = Dead::default();
        let (mut n_tried, mut n_stuck, mut renewed) = (0, 0, f64::INFINITY);
        loop {
            live.sort_unstable_by(|a, b| a.rank.order(&b.rank));
            let most = dead.log_volume - live[0].rank.slope;
            if most < dead.log_sum + self.remaining.ln() {
                break;
            }
            if dead.points.len() >= self.max_points {
                let limit = format!("below {} of what was found", self.remaining);
                let fix = "take a larger max_points, or a start nearer to the end";
                let share = (most - dead.log_sum).exp();
                return Err(Error::bad_value("share of Z after max_points", share, limit, fix));
            }
            if renewed >= RENEWED * n as f64 {
                renew(&mut factor, &live);
                renewed = 0.0;
            }
            let survivors = n - self.n_parallel;
            let bound = live[survivors].rank;
            // Every new point has its own random numbers and its own parent.
            let first = dead.points.len() as u64 + 1;
            let copies: Vec<Live<T>> =
                (0..self.n_parallel).map(|_| live[own.below(survivors)].clone()).collect();
            let replace = |(i, mut point): (usize, Live<T>)| {
                let mut rng = Stream::new(self.seed, Purpose::Chain, first + i as u64);
                let counts = self.renew_point(&bridge, &factor, bound, &mut point, &mut rng)?;
                Ok((point, counts))
            };
            let new: Vec<(Live<T>, [u64; 2])> =
                copies.into_par_iter().enumerate().map(replace).collect::<Result<_>>()?;
            dead.take_from(&mut live, survivors);
            for (point, [tried, stuck]) in new {
                live.push(point);
                n_tried += tried;
                n_stuck += stuck;
            }
            renewed += self.n_parallel as f64;
        }
        dead.take_from(&mut live, 0);
        Ok(self.summary(dead, log_z_start, n_tried, n_stuck))
    }

    /// Move a point within the bound; points tried, and slices that found none.
    fn renew_point<T, A, B>(
        &self,
        bridge: &Bridge<&A, &B>,
        factor: &Cholesky,
        bound: Rank,
        point: &mut Live<T>,
        rng: &mut Stream,
    ) -> Result<[u64; 2]>
    where
        T: Real,
        A: Energy<Vec<T>>,
        B: Energy<Vec<T>>,
    {
        let dim = point.x.len();
        let (mut z, mut direction, mut candidate) = (vec![0.0; dim], vec![0.0; dim], point.x.clone());
        let [mut n_tried, mut n_stuck] = [0, 0];
        for _ in 0..self.n_sweeps * dim {
            z.set_normal(rng)?;
            let length = z.inner_each(&z)?.sqrt();
            z.scale_by(&length.recip())?;
            factor.times(&z, &mut direction);
            let level = draw_level(point.start_energy, rng);
            // The label is uniform where the bound leaves it free, and below the bound's where it is as high.
            let room = if point.rank.slope < bound.slope { 1.0 } else { bound.label };
            point.rank.label = room * rng.uniform();
            let mut there = (f64::NAN, f64::NAN);
            let tried = slice_line(WIDTH, MAX_WIDTHS, rng, |t| {
                for ((new, x), d) in candidate.iter_mut().zip(&point.x).zip(&direction) {
                    *new = T::of(x.to_f64() + t * d);
                }
                n_tried += 1;
                let start_energy = bridge.start.energy(&candidate)?;
                if !below(level, start_energy) {
                    return Ok(false);
                }
                let slope = slope_of(start_energy, bridge.end.energy(&candidate)?);
                there = (start_energy, slope);
                Ok(Rank { slope, ..point.rank }.order(&bound).is_lt())
            })?;
            if tried.found {
                point.x.set_from(&candidate)?;
                (point.start_energy, point.rank.slope) = there;
            } else {
                n_stuck += 1;
            }
        }
        Ok([n_tried, n_stuck])
    }

    fn summary<X: Sync>(&self, dead: Dead<X>, log_z_start: f64, n_tried: u64, n_stuck: u64) -> NestedRun<X> {
        let simulated: Vec<f64> = (0..N_SIMULATIONS)
            .into_par_iter()
            .map(|i| {
                let mut rng = Stream::new(self.seed, Purpose::Bootstrap, i);
                log_sum_exp(dead.log_weights(|n| (1.0 - rng.uniform()).ln() / n as f64).into_iter())
            })
            .collect();
        let n = simulated.len() as f64;
        let log_ratio = simulated.iter().sum::<f64>() / n;
        let squares: f64 = simulated.iter().map(|z| (z - log_ratio).powi(2)).sum();
        let log_weights = dead.log_weights(mean_log_shrinkage);
        let log_sum = log_sum_exp(log_weights.iter().copied());
        let weights: Vec<f64> = log_weights.iter().map(|w| (w - log_sum).exp()).collect();
        let log_likelihood = weights.iter().zip(&dead.slopes).filter(|(w, _)| **w > 0.0).map(|(w, s)| -w * s);
        NestedRun {
            effective_size: 1.0 / weights.iter().map(|w| w * w).sum::<f64>(),
            log_z: log_z_start + log_ratio,
            std_error: (squares / (n - 1.0)).sqrt(),
            information: log_likelihood.sum::<f64>() - log_sum,
            points: dead.points,
            weights,
            n_tried,
            n_stuck,
        }
    }

    fn check<T: Real>(&self, draws: &[Vec<T>], log_z_start: f64) -> Result<()> {
        for (name, value) in [("n_sweeps", self.n_sweeps), ("max_points", self.max_points)] {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if !(self.remaining > 0.0 && self.remaining.is_finite()) {
            return Err(Error::bad_value("remaining", self.remaining, "above 0 and finite", "1e-3 is usual"));
        }
        if !log_z_start.is_finite() {
            return Err(Error::bad_value("log_z_start", log_z_start, "finite", ""));
        }
        let (n, dim) = (draws.len(), draws.first().map_or(0, Vec::len));
        if n < 2 || n <= dim {
            let limit = format!("at least 2 and above the {dim} coordinates");
            return Err(Error::bad_value("live points", n, limit, "take 500"));
        }
        if !(1..=n / 2).contains(&self.n_parallel) {
            let limit = format!("from 1 to {}, half of the live points", n / 2);
            return Err(Error::bad_value("n_parallel", self.n_parallel, limit, ""));
        }
        check_points(draws)
    }
}

/// The mean of `ln t` with `n` points.
fn mean_log_shrinkage(n: usize) -> f64 {
    -1.0 / n as f64
}

/// What was taken away, from low to high likelihood.
struct Dead<X> {
    points: Vec<X>,
    slopes: Vec<f64>,
    /// Live points at the time, the point itself among them.
    counts: Vec<usize>,
    /// The mean of `ln X` by now.
    log_volume: f64,
    /// `ln Z / Z_0` so far, to know when to stop.
    log_sum: f64,
}

impl<X> Default for Dead<X> {
    fn default() -> Self {
        Self { points: vec![], slopes: vec![], counts: vec![], log_volume: 0.0, log_sum: f64::NEG_INFINITY }
    }
}

impl<T> Dead<Vec<T>> {
    /// Take away all but the first `survivors`, from the last one, which is the worst, on.
    fn take_from(&mut self, live: &mut Vec<Live<T>>, survivors: usize) {
        for count in (survivors + 1..=live.len()).rev() {
            let Some(point) = live.pop() else { return };
            let after = self.log_volume + mean_log_shrinkage(count);
            let log_width = self.log_volume + (-mean_log_shrinkage(count).exp_m1()).ln();
            self.log_sum = log_sum_exp([self.log_sum, log_width - point.rank.slope].into_iter());
            self.log_volume = after;
            self.points.push(point.x);
            self.slopes.push(point.rank.slope);
            self.counts.push(count);
        }
    }
}

impl<X> Dead<X> {
    /// `ln(L w)` of each point, `w = (X_before - X_after_the_next) / 2` by the trapezoidal rule; the last has all the rest.
    fn log_weights(&self, mut log_shrinkage: impl FnMut(usize) -> f64) -> Vec<f64> {
        let mut log_volume = 0.0;
        let volumes: Vec<f64> = self
            .counts
            .iter()
            .map(|n| {
                log_volume += log_shrinkage(*n);
                log_volume
            })
            .collect();
        let one = |i: usize| {
            let before = if i == 0 { 0.0 } else { volumes[i - 1] };
            let share = match volumes.get(i + 1) {
                Some(after) => 0.5 * -(after - before).exp_m1(),
                None => 0.5 * (1.0 + (volumes[i] - before).exp()),
            };
            before + share.ln() - self.slopes[i]
        };
        (0..volumes.len()).map(one).collect()
    }
}

/// The draws of the start as live points.
fn first_points<T, A, B>(
    bridge: &Bridge<&A, &B>,
    draws: Vec<Vec<T>>,
    rng: &mut Stream,
) -> Result<Vec<Live<T>>>
where
    T: Real,
    A: Energy<Vec<T>>,
    B: Energy<Vec<T>>,
{
    let mut live = Vec::with_capacity(draws.len());
    for (i, x) in draws.into_iter().enumerate() {
        let start_energy = bridge.start.energy(&x)?;
        if !start_energy.is_finite() {
            let name = format!("energy of the start at draw {i}");
            return Err(Error::bad_value(name, start_energy, "finite", "are these draws of the start?"));
        }
        let slope = slope_of(start_energy, bridge.end.energy(&x)?);
        live.push(Live { x, start_energy, rank: Rank { slope, label: rng.uniform() } });
    }
    if live.iter().all(|point| point.rank.slope == f64::INFINITY) {
        let fix = "do start and end have finite energies at the same points?";
        let limit = "finite at one draw at least";
        return Err(Error::bad_value("energy of the end at the draws", "NaN or infinite", limit, fix));
    }
    Ok(live)
}

/// The factor of the live points' covariance; the old one where that is not positive definite.
fn renew<T: Real>(factor: &mut Cholesky, live: &[Live<T>]) {
    let (n, dim) = (live.len() as f64, factor.dim());
    let mut mean = vec![0.0; dim];
    for point in live {
        mean.iter_mut().zip(&point.x).for_each(|(m, x)| *m += x.to_f64() / n);
    }
    let mut covariance = vec![0.0; dim * dim];
    let mut off = vec![0.0; dim];
    for point in live {
        off.iter_mut().zip(&point.x).zip(&mean).for_each(|((off, x), m)| *off = x.to_f64() - m);
        for (row, a) in covariance.chunks_exact_mut(dim).zip(&off) {
            row.iter_mut().zip(&off).for_each(|(entry, b)| *entry += a * b / n);
        }
    }
    let mut new = Cholesky::identity(dim);
    if new.factorise(&covariance) {
        factor.set_from(&new);
    }
}

#[cfg(test)]
#[path = "nested_tests.rs"]
mod tests;
