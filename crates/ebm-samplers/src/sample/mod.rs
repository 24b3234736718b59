//! The one entry for users: `sample(&kernel, &energy, starts, &config)`, on host chains, blocks and tensors.

mod config;
mod draws;
mod host;
pub(crate) mod observe;
mod running;
mod summary;
#[cfg(feature = "torch")]
mod tensor;

pub use config::{MetricChoice, Progress, SampleConfig};
pub use draws::{DrawSink, Draws, NoSink};
pub use running::Sampler;
pub use summary::{Divergence, Failure, Summary, Warning};

use ebm_core::{Point, Result};

use crate::kernel::Kernel;

/// What came out of [`sample`].
#[derive(Clone, Debug)]
pub struct Run {
    /// The draws `[chain, draw, dim]` with their statistics; empty when they went to a sink.
    pub draws: Draws,
    /// What they say about themselves. Print it.
    pub summary: Summary,
}

/// Sample `energy` with `kernel` from `starts`: `Vec<Vec<f64>>` or `Vec<Vec<f32>>` (one chain each),
/// `Vec<Block<T>>`, or a tensor `[chains, ..]`. Draws are kept in memory.
///
/// Diverging steps are counted in the summary, not errors. An energy that fails or panics ends the chains of its
/// point (the block of 64, all chains of a tensor): the others' draws are returned, and the failure stands in the
/// summary with the chain and the seed. A run that the progress callback stops returns its draws so far.
///
/// # Errors
/// No chains, start points of different lengths or with non-finite coordinates, impossible settings; what the energy
/// returns if every point failed; [`Error::is_stopped`](ebm_core::Error::is_stopped) if stopped before a draw.
pub fn sample<S, K, E>(kernel: &K, energy: &E, starts: S, config: &SampleConfig) -> Result<Run>
where
    S: Starts<K, E>,
    K: Kernel<S::Point, E>,
    E: ?Sized,
{
    let mut sampler = Sampler::new(kernel, energy, starts, config)?;
    sampler.run();
    sampler.finish()
}

/// [`sample`], with each draw handed to a sink, so that memory does not grow with the number of draws.
/// `make(i)` builds the sink of point `i`.
///
/// # Errors
/// As [`sample`], and whatever a sink returns.
pub fn sample_into<S, K, E, D: DrawSink>(
    kernel: &K,
    energy: &E,
    starts: S,
    config: &SampleConfig,
    make: impl Fn(usize) -> D,
) -> Result<Run>
where
    S: Starts<K, E>,
    K: Kernel<S::Point, E>,
    E: ?Sized,
{
    let mut sampler = Sampler::into_sinks(kernel, energy, starts, config, make)?;
    sampler.run();
    sampler.finish()
}

/// Start points that [`sample`] takes, and how their chains are run.
pub trait Starts<K, E: ?Sized>: Sized {
    /// What moves: a chain, a block of chains, a tensor.
    type Point: Point;

    /// Draws that may wait on the device before they are copied out together; 0 on the host.
    const PATIENCE: usize;

    /// The points, checked.
    ///
    /// # Errors
    /// When there is none, they differ in length, or a coordinate is not finite.
    fn into_points(self) -> Result<Vec<Self::Point>>;

    /// The random stream of point `i`.
    fn rng(seed: u64, i: usize) -> <Self::Point as Point>::Rng;

    /// Work on every point: side by side on the host, one after the other on tensors.
    fn for_each<T: Send>(kernel: &K, energy: &E, points: &mut [T], work: impl Fn(&K, &E, &mut T) + Sync);
}
