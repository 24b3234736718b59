//! Slice sampling: a uniform point of the stretch of a line where the density is above a random level.
//!
//! Along a line `x + t d` the level is `E(x) + e`, `e` exponential of mean 1. An interval of one width is laid at random
//! around `t = 0` and grown by whole widths, at most `max_widths` in all and split at random between its ends, until both
//! ends are outside the slice (stepping out); then points drawn in it are tried, each failure becoming the new end on its
//! side (shrinkage). Source: Neal 2003 (DOI 10.1214/aos/1056562461), figures 3 and 5. Directions at random: hit and run,
//! section 5 there.

use ebm_core::random::Stream;
use ebm_core::{Energy, Error, Point, Real, Result, Schedule};
use serde::{Deserialize, Serialize};

use crate::kernel::{Kernel, State, StepInfo};

/// Points tried in an interval before a chain counts as stuck. Failures shrink the interval by a constant share on
/// average, so a slice that a number can resolve was found long before.
const MAX_TRIES: u32 = 200;

/// Settings of slice sampling, on host chains. Exact at any width; needs no gradient.
///
/// Use it where there is no gradient. Not where there is one and more than a few coordinates, nor for strongly
/// correlated ones without a learnt metric.
///
/// A step slices along as many lines as there are coordinates. A point whose energy is not finite is outside the slice:
/// walls need no care. The acceptance that is reported, and that `target_accept` adapts the width by, is the share of
/// the tried points that were in the slice; it falls as the width grows, and 0.5 is a good value. A metric makes the
/// lines those of its factor.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{SampleConfig, Slice, sample};
/// let config = SampleConfig { n_draws: 200, burn_in: 100, target_accept: Some(0.5), ..Default::default() };
/// let run = sample(&Slice::new(1.0), &Gaussian::standard(3)?, vec![vec![5.0f64; 3]; 4], &config)?;
/// assert_eq!(run.summary.n_diverged, [0; 4]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The length of the first interval, above 0: best near the width of the target along a line.
    pub width: Schedule,
    /// How many widths the interval may become; at least 1. With 1 it is not grown at all.
    #[serde(default = "default_max_widths")]
    pub max_widths: u32,
    /// Which lines.
    #[serde(default)]
    pub directions: Directions,
}

/// The lines along which [`Slice`] moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directions {
    /// One coordinate after the other.
    #[default]
    Coordinates,
    /// Uniformly random directions (hit and run), as many per step as there are coordinates.
    Random,
}

fn default_max_widths() -> u32 {
    32
}

impl Slice {
    /// Along the coordinates, at most 32 widths.
    pub fn new(width: impl Into<Schedule>) -> Self {
        Self { width: width.into(), max_widths: default_max_widths(), directions: Directions::default() }
    }

    /// Set [`Slice::max_widths`].
    pub fn max_widths(mut self, max_widths: u32) -> Self {
        self.max_widths = max_widths;
        self
    }

    /// Set [`Slice::directions`].
    pub fn directions(mut self, directions: Directions) -> Self {
        self.directions = directions;
        self
    }
}

/// What a slice sampler reports of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SliceInfo {
    /// The share of the points tried inside the intervals that were in the slice.
    pub accept_prob: f64,
    /// Whether some slice had no point to be found: the energy where the chain stands is not finite, or not the same
    /// when asked again. The chain stays along that line.
    pub diverged: bool,
    /// Energies evaluated.
    pub n_energies: u32,
}

impl<X: Point<Scalar = f64>> StepInfo<X> for SliceInfo {
    fn accept_prob(&self) -> Option<&f64> {
        Some(&self.accept_prob)
    }
    fn diverged(&self) -> Option<&bool> {
        Some(&self.diverged)
    }
    fn n_leapfrogs(&self) -> Option<f64> {
        Some(f64::from(self.n_energies))
    }
}

/// A search in one interval.
pub(crate) struct Tried {
    /// Whether the last point was in the slice.
    pub(crate) found: bool,
    pub(crate) n_tries: u32,
}

/// Try uniform points of `[low, high]`, which holds 0, until one is in the slice. `inside` is called for that one last.
pub(crate) fn shrink(
    mut low: f64,
    mut high: f64,
    rng: &mut Stream,
    mut inside: impl FnMut(f64) -> Result<bool>,
) -> Result<Tried> {
    for n_tries in 1..=MAX_TRIES {
        let t = low + rng.uniform() * (high - low);
        if inside(t)? {
            return Ok(Tried { found: true, n_tries });
        }
        *(if t < 0.0 { &mut low } else { &mut high }) = t;
    }
    Ok(Tried { found: false, n_tries: MAX_TRIES })
}

/// An interval around 0 whose ends are outside the slice, or that is `max_widths` long.
fn step_out(
    width: f64,
    max_widths: u32,
    rng: &mut Stream,
    inside: &mut impl FnMut(f64) -> Result<bool>,
) -> Result<(f64, f64)> {
    let mut low = -width * rng.uniform();
    let mut high = low + width;
    // The bound is split at random: the way back from the new point must be able to make the same interval.
    let below = ((f64::from(max_widths) * rng.uniform()) as u32).min(max_widths - 1);
    for _ in 0..below {
        if !inside(low)? {
            break;
        }
        low -= width;
    }
    for _ in below + 1..max_widths {
        if !inside(high)? {
            break;
        }
        high += width;
    }
    Ok((low, high))
}

/// One slice along a line: `inside(t)` says whether the point at `t` is in it, as the one at 0 is.
pub(crate) fn slice_line(
    width: f64,
    max_widths: u32,
    rng: &mut Stream,
    mut inside: impl FnMut(f64) -> Result<bool>,
) -> Result<Tried> {
    let (low, high) = step_out(width, max_widths, rng, &mut inside)?;
    shrink(low, high, rng, inside)
}

/// What the energy of a point of the slice is at most, drawn for a chain that stands at `energy`.
pub(crate) fn draw_level(energy: f64, rng: &mut Stream) -> f64 {
    let level = energy - (1.0 - rng.uniform()).ln();
    // From outside the support every point of it is welcome.
    if level.is_nan() { f64::INFINITY } else { level }
}

/// Whether a point is in the slice below `level`.
pub(crate) fn below(level: f64, energy: f64) -> bool {
    energy.is_finite() && energy <= level
}

/// Scratch: a direction before and after the metric, and the point that is tried.
#[derive(Debug)]
pub struct SliceWork<X> {
    unit: X,
    direction: X,
    candidate: X,
}

impl<T: Real, E: Energy<Vec<T>> + ?Sized> Kernel<Vec<T>, E> for Slice {
    type Work = SliceWork<Vec<T>>;
    type Info = SliceInfo;

    fn check(&self) -> Result<()> {
        self.width.check("width", "above 0 and finite", |width| width > 0.0)?;
        if self.max_widths == 0 {
            return Err(Error::bad_value("max_widths", 0, "at least 1", "32 is usual"));
        }
        Ok(())
    }

    fn step_size(&self) -> &Schedule {
        &self.width
    }

    fn has_metric(&self) -> bool {
        true
    }

    fn init(&self, energy: &E, x: Vec<T>) -> Result<State<Vec<T>, Self::Work>> {
        let work =
            SliceWork { unit: x.zeros_like()?, direction: x.zeros_like()?, candidate: x.zeros_like()? };
        let mut state = State::new(x, &self.width, work)?;
        self.refresh(energy, &mut state)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<Vec<T>, Self::Work>) -> Result<()> {
        state.energy = energy.energy(&state.x)?;
        Ok(())
    }

    fn step(&self, energy: &E, state: &mut State<Vec<T>, Self::Work>, rng: &mut Stream) -> Result<SliceInfo> {
        let State { x, energy: here, step_size, metric, work, .. } = state;
        let SliceWork { unit, direction, candidate } = work;
        let (mut n_found, mut n_tries, mut n_energies) = (0, 0, 0);
        for i in 0..x.len() {
            match self.directions {
                Directions::Coordinates => {
                    unit.fill(T::default());
                    unit[i] = T::of(1.0);
                }
                Directions::Random => {
                    unit.set_normal(rng)?;
                    let length = unit.inner_each(unit)?.sqrt();
                    unit.scale_by(&length.recip())?;
                }
            }
            direction.fill(T::default());
            metric.drift(direction, &1.0, unit)?;
            let level = draw_level(*here, rng);
            let mut there = *here;
            let tried = slice_line(*step_size, self.max_widths, rng, |t| {
                candidate.set_from(x)?;
                candidate.add_scaled(&t, direction)?;
                there = energy.energy(candidate)?;
                n_energies += 1;
                Ok(below(level, there))
            })?;
            n_tries += tried.n_tries;
            if tried.found {
                n_found += 1;
                x.set_from(candidate)?;
                *here = there;
            }
        }
        let accept_prob = f64::from(n_found) / f64::from(n_tries.max(1));
        Ok(SliceInfo { accept_prob, diverged: (n_found as usize) < x.len(), n_energies })
    }
}

#[cfg(test)]
#[path = "slice_tests.rs"]
pub(crate) mod tests;
