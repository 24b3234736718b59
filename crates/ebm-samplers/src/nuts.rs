//! The No-U-Turn Sampler on one host chain: Hamiltonian Monte Carlo that finds its own path length.
//!
//! Momentum `r ~ N(0, I)`; a path is doubled forwards or backwards, 2^depth leapfrogs at a time, until its ends
//! turn towards each other; the next position is drawn from the path with weights `exp(-H)` (multinomial, biased
//! towards the newer half). The path is walked leaf by leaf: of a subtree only the left ends of its unfinished
//! binary subtrees are kept, `depth` points in all.
//!
//! Sources: Hoffman and Gelman 2014 (arXiv 1111.4246); multinomial weights and the generalised criterion, Betancourt
//! 2017 (arXiv 1701.02434); the walk without recursion, Phan, Pradhan and Jankowiak 2019 (arXiv 1912.11554).

use ebm_core::random::Stream;
use ebm_core::{Error, GradEnergy, Mask, Point, Real, Result, Schedule};
use serde::{Deserialize, Serialize};

use crate::kernel::{Kernel, State, StepInfo, check_step_size};
use crate::metric::Metric;

/// A leaf whose energy is this far above the start's ends the path as diverged (Stan's limit).
pub(crate) const DIVERGENCE: f64 = 1000.0;

/// Settings of the No-U-Turn Sampler. Exact: the target is its stationary law at any step size.
///
/// Runs on host chains, each with its own path, and on tensors in lock step; not on blocks.
/// Use it when nothing is known about a good path length. Not for targets whose gradient is not the energy's, and
/// not across separated modes.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Nuts, SampleConfig, sample};
/// let config = SampleConfig { n_draws: 200, burn_in: 200, target_accept: Some(0.8), ..Default::default() };
/// let run = sample(&Nuts::new(0.1), &Gaussian::standard(3)?, vec![vec![0.0f64; 3]; 4], &config)?;
/// assert!(run.summary.acceptance.iter().all(|a| *a > 0.5));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nuts {
    /// The leapfrog's step size, above 0.
    pub step_size: Schedule,
    /// The path is doubled at most this often: at most `2^max_depth - 1` leapfrogs a step. In `1..=20`.
    #[serde(default = "default_max_depth")]
    pub max_depth: u32,
}

fn default_max_depth() -> u32 {
    10
}

impl Nuts {
    /// With at most 10 doublings.
    pub fn new(step_size: impl Into<Schedule>) -> Self {
        Self { step_size: step_size.into(), max_depth: default_max_depth() }
    }

    /// Set [`Nuts::max_depth`].
    pub fn max_depth(mut self, max_depth: u32) -> Self {
        self.max_depth = max_depth;
        self
    }

    pub(crate) fn check_settings(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if !(1..=20).contains(&self.max_depth) {
            return Err(Error::bad_value("max_depth", self.max_depth, "1 to 20", "10 is usual"));
        }
        Ok(())
    }
}

/// What NUTS reports of a step, per chain.
pub struct NutsInfo<X: Point> {
    /// Mean over the path's leaves of `2 min(1, w) / (1 + w)`, `w = exp(H_start - H_leaf)`: what the step size is
    /// adapted by. NUTS has no accept step, and `min(1, w)` alone counts only the leaves that lost energy: adapted by
    /// it to the usual 0.8, steps are a quarter shorter than they need to be. Source: the warm-up of nuts-rs.
    pub accept_prob: X::Scalar,
    /// Whether the path met an energy error above 1000 or a number that is not finite.
    pub diverged: Mask<X>,
    /// Doublings of the path.
    pub depth: X::Scalar,
    /// Whether it was cut off at `max_depth`.
    pub saturated: Mask<X>,
    /// Leapfrogs of the path, and so its gradients.
    pub n_leapfrogs: X::Scalar,
    /// The Hamiltonian at the start of the path: E-BFMI is computed from it.
    pub hamiltonian: X::Scalar,
}

impl<X: Point> StepInfo<X> for NutsInfo<X> {
    fn accept_prob(&self) -> Option<&X::Scalar> {
        Some(&self.accept_prob)
    }
    fn diverged(&self) -> Option<&Mask<X>> {
        Some(&self.diverged)
    }
    fn hamiltonian(&self) -> Option<&X::Scalar> {
        Some(&self.hamiltonian)
    }
    fn n_leapfrogs(&self) -> Option<X::Scalar> {
        Some(self.n_leapfrogs.clone())
    }
    fn tree_depth(&self) -> Option<X::Scalar> {
        Some(self.depth.clone())
    }
    fn saturated(&self) -> Option<&Mask<X>> {
        Some(&self.saturated)
    }
}

/// A place in phase space, with the gradient there.
#[derive(Debug)]
struct Place<X> {
    x: X,
    momentum: X,
    grad: X,
}

impl<X: Point> Place<X> {
    fn like(x: &X) -> Result<Self> {
        Ok(Self { x: x.zeros_like()?, momentum: x.zeros_like()?, grad: x.zeros_like()? })
    }

    fn set_from(&mut self, other: &Self) -> Result<()> {
        self.x.set_from(&other.x)?;
        self.momentum.set_from(&other.momentum)?;
        self.grad.set_from(&other.grad)
    }
}

/// A position drawn from a path: its gradient and energy are kept, so that nothing is evaluated twice.
#[derive(Debug)]
struct Drawn<X> {
    x: X,
    grad: X,
    energy: f64,
}

impl<X: Point> Drawn<X> {
    fn like(x: &X) -> Result<Self> {
        Ok(Self { x: x.zeros_like()?, grad: x.zeros_like()?, energy: f64::NAN })
    }
}

/// The left end of an unfinished binary subtree.
#[derive(Debug)]
struct Mark<X> {
    momentum: X,
    /// Sum of the momenta from the first leaf of the doubling up to this one.
    sum: X,
    /// `sum . momentum` and `|momentum|^2`.
    sum_dot: f64,
    norm2: f64,
}

/// The path's ends, what was drawn from it, and the marks of the doubling under way. Allocated once.
#[derive(Debug)]
pub struct NutsWork<X> {
    /// Backward and forward end.
    ends: [Place<X>; 2],
    walker: Place<X>,
    /// Drawn from the new half.
    drawn: Drawn<X>,
    /// Sums of the momenta of the path and of the new half.
    sum: X,
    new_sum: X,
    marks: Vec<Mark<X>>,
}

impl<X: Point> NutsWork<X> {
    fn new(x: &X, max_depth: u32) -> Result<Self> {
        let mark = |_| Ok(Mark { momentum: x.zeros_like()?, sum: x.zeros_like()?, sum_dot: 0.0, norm2: 0.0 });
        Ok(Self {
            ends: [Place::like(x)?, Place::like(x)?],
            walker: Place::like(x)?,
            drawn: Drawn::like(x)?,
            sum: x.zeros_like()?,
            new_sum: x.zeros_like()?,
            marks: (0..max_depth).map(mark).collect::<Result<_>>()?,
        })
    }
}

/// `ln(e^a + e^b)`.
#[inline(always)]
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// Whether a stretch of path turns: the mean momentum between its ends, `sum - (first + last) / 2`, points against
/// one of the ends. Given as dot products.
#[inline(always)]
fn turns(sum_first: f64, sum_last: f64, first2: f64, last2: f64, first_last: f64) -> bool {
    sum_first - 0.5 * (first2 + first_last) <= 0.0 || sum_last - 0.5 * (last2 + first_last) <= 0.0
}

/// What a doubling came to.
struct Half {
    log_weight: f64,
    complete: bool,
}

/// One leapfrog of `h` (negative: backwards); returns the energy there.
#[inline(always)]
fn leapfrog<X: Point<Scalar = f64>, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    place: &mut Place<X>,
    metric: &Metric<X>,
    h: f64,
) -> Result<f64> {
    let half = -0.5 * h;
    metric.kick(&mut place.momentum, &half, &place.grad)?;
    metric.drift(&mut place.x, &h, &place.momentum)?;
    let end = energy.energy_grad(&place.x, &mut place.grad)?;
    metric.kick(&mut place.momentum, &half, &place.grad)?;
    Ok(end)
}

impl<X: Point<Scalar = f64>> NutsWork<X> {
    /// Walk `2^depth` leaves from `walker` on; what is drawn from them is in `drawn`, their momenta's sum in
    /// `new_sum`.
    fn double<E: GradEnergy<X> + ?Sized>(
        &mut self,
        energy: &E,
        metric: &Metric<X>,
        depth: u32,
        h: f64,
        info: &mut NutsInfo<X>,
        rng: &mut Stream,
    ) -> Result<Half>
    where
        X: Point<Rng = Stream>,
    {
        let mut log_weight = f64::NEG_INFINITY;
        let n_leaves = 1u32 << depth;
        for leaf in 0..n_leaves {
            let end = leapfrog(energy, &mut self.walker, metric, h)?;
            let norm2 = self.walker.momentum.inner_each(&self.walker.momentum)?;
            let gain = info.hamiltonian - (end + 0.5 * norm2);
            info.n_leapfrogs += 1.0;
            // A NaN compares false.
            if !(gain > -DIVERGENCE) {
                info.diverged = true;
                return Ok(Half { log_weight, complete: false });
            }
            let away = (-gain.abs()).exp();
            info.accept_prob += 2.0 * away / (1.0 + away);

            let total = log_add(log_weight, gain);
            if log_weight == f64::NEG_INFINITY || rng.uniform().ln() < gain - total {
                self.drawn.x.set_from(&self.walker.x)?;
                self.drawn.grad.set_from(&self.walker.grad)?;
                self.drawn.energy = end;
            }
            log_weight = total;

            if leaf == 0 {
                self.new_sum.set_from(&self.walker.momentum)?;
            } else {
                self.new_sum.add_scaled(&1.0, &self.walker.momentum)?;
            }
            if leaf % 2 == 0 {
                self.mark(leaf, norm2)?;
            } else if self.turns_at(leaf, norm2)? {
                return Ok(Half { log_weight, complete: false });
            }
        }
        Ok(Half { log_weight, complete: true })
    }

    /// Remember an even leaf as the left end of the subtrees that begin with it.
    #[inline(always)]
    fn mark(&mut self, leaf: u32, norm2: f64) -> Result<()> {
        let Some(mark) = self.marks.get_mut(leaf.count_ones() as usize) else { return Ok(()) };
        mark.momentum.set_from(&self.walker.momentum)?;
        mark.sum.set_from(&self.new_sum)?;
        mark.sum_dot = mark.sum.inner_each(&mark.momentum)?;
        mark.norm2 = norm2;
        Ok(())
    }

    /// Whether one of the subtrees that end with this odd leaf turns. The leaf ends as many as it has trailing
    /// one bits; their left ends are the latest marks, the smallest subtree's first.
    #[inline(always)]
    fn turns_at(&self, leaf: u32, norm2: f64) -> Result<bool> {
        let last = &self.walker.momentum;
        let sum_last = self.new_sum.inner_each(last)?;
        let newest = (leaf - 1).count_ones() as usize;
        let n_subtrees = leaf.trailing_ones() as usize;
        for mark in self.marks.iter().take(newest + 1).rev().take(n_subtrees) {
            let first_last = mark.momentum.inner_each(last)?;
            // The stretch's sum is new_sum - mark.sum + mark.momentum.
            let with_first = self.new_sum.inner_each(&mark.momentum)? - mark.sum_dot + mark.norm2;
            let with_last = sum_last - mark.sum.inner_each(last)? + first_last;
            if turns(with_first, with_last, mark.norm2, norm2, first_last) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the whole path turns.
    fn path_turns(&self) -> Result<bool> {
        let [first, last] = [&self.ends[0].momentum, &self.ends[1].momentum];
        Ok(turns(
            self.sum.inner_each(first)?,
            self.sum.inner_each(last)?,
            first.inner_each(first)?,
            last.inner_each(last)?,
            first.inner_each(last)?,
        ))
    }
}

impl<T: Real, E: GradEnergy<Vec<T>> + ?Sized> Kernel<Vec<T>, E> for Nuts {
    type Work = NutsWork<Vec<T>>;
    type Info = NutsInfo<Vec<T>>;

    fn check(&self) -> Result<()> {
        self.check_settings()
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn has_metric(&self) -> bool {
        true
    }

    fn init(&self, energy: &E, x: Vec<T>) -> Result<State<Vec<T>, Self::Work>> {
        let work = NutsWork::new(&x, self.max_depth)?;
        let mut state = State::new(x, &self.step_size, work)?;
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<Vec<T>, Self::Work>) -> Result<()> {
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(())
    }

    fn step(
        &self,
        energy: &E,
        state: &mut State<Vec<T>, Self::Work>,
        rng: &mut Stream,
    ) -> Result<NutsInfo<Vec<T>>> {
        let State { x, grad, energy: here, step_size, metric, work, .. } = state;
        let [back, front] = &mut work.ends;
        back.x.set_from(x)?;
        back.grad.set_from(grad)?;
        back.momentum.set_normal(rng)?;
        front.set_from(back)?;
        work.sum.set_from(&back.momentum)?;
        let hamiltonian = *here + 0.5 * work.sum.inner_each(&work.sum)?;
        let mut info = NutsInfo {
            accept_prob: 0.0,
            diverged: false,
            depth: 0.0,
            saturated: true,
            n_leapfrogs: 0.0,
            hamiltonian,
        };
        let mut log_weight = 0.0;
        for depth in 0..self.max_depth {
            let forward = rng.uniform() < 0.5;
            let end = usize::from(forward);
            work.walker.set_from(&work.ends[end])?;
            let h = if forward { *step_size } else { -*step_size };
            let half = work.double(energy, metric, depth, h, &mut info, rng)?;
            if !half.complete {
                info.saturated = false;
                break;
            }
            info.depth = f64::from(depth + 1);
            if rng.uniform().ln() < half.log_weight - log_weight {
                x.set_from(&work.drawn.x)?;
                grad.set_from(&work.drawn.grad)?;
                *here = work.drawn.energy;
            }
            log_weight = log_add(log_weight, half.log_weight);
            std::mem::swap(&mut work.ends[end], &mut work.walker);
            work.sum.add_scaled(&1.0, &work.new_sum)?;
            if work.path_turns()? {
                info.saturated = false;
                break;
            }
        }
        info.accept_prob /= info.n_leapfrogs.max(1.0);
        Ok(info)
    }
}

#[cfg(test)]
#[path = "nuts_tests.rs"]
mod tests;
