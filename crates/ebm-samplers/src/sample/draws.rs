//! Where draws go: into memory, or to a sink that a user gives.

use ebm_core::Result;
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, s};

/// Draws in memory, f64 whatever the point's type, with the statistics of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draws {
    pub(crate) positions: Array3<f64>,
    pub(crate) statistics: Vec<(&'static str, Array2<f64>)>,
}

impl Draws {
    /// `[chain, draw, dim]`.
    pub fn array(&self) -> ArrayView3<'_, f64> {
        self.positions.view()
    }

    /// The array itself.
    pub fn into_array(self) -> Array3<f64> {
        self.positions
    }

    /// One statistic, `[chain, draw]`, by ArviZ's name: `lp` (minus the energy), `energy` (with the kinetic energy
    /// at the start of the step), `acceptance_rate`, `diverging` (0 or 1), `tree_depth`, `n_steps` (leapfrogs),
    /// `step_size`. `None` where the kernel has no such thing. They are those of the step that ended in the draw;
    /// `diverging` of any step since the draw before.
    pub fn statistic(&self, name: &str) -> Option<ArrayView2<'_, f64>> {
        self.statistics.iter().find(|(n, _)| *n == name).map(|(_, values)| values.view())
    }

    /// All statistics, `[chain, draw]` each, by name.
    pub fn statistics(&self) -> impl Iterator<Item = (&'static str, ArrayView2<'_, f64>)> {
        self.statistics.iter().map(|(name, values)| (*name, values.view()))
    }
}

/// Where draws go when they should not stay in memory. One sink per point (a chain, a block, a tensor).
pub trait DrawSink: Send {
    /// One draw of all chains of the point, `[n_chains * dim]`, chain after chain.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking it; ends the chains of its point.
    fn write(&mut self, draw: &[f64]) -> Result<()>;

    /// The statistics of the draw just written: `values[i * n_chains + c]` is the statistic `names[i]` of chain `c`.
    /// The names are ArviZ's ([`Draws::statistic`]) and the same for every draw of a run.
    ///
    /// # Errors
    /// As [`DrawSink::write`].
    fn write_statistics(&mut self, _names: &[&'static str], _values: &[f64]) -> Result<()> {
        Ok(())
    }

    /// Everything handed over so far must survive the process from here on. Called at the end of a run, and before
    /// a sampler's state is saved.
    ///
    /// # Errors
    /// As [`DrawSink::write`].
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// A saved sampler goes on after its first `n_draws` draws: forget what came later. Sinks that cannot go back
    /// just get the draws from there on.
    ///
    /// # Errors
    /// When there are fewer, or as [`DrawSink::write`].
    fn resume_at(&mut self, _n_draws: usize) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&[f64]) -> Result<()> + Send> DrawSink for F {
    fn write(&mut self, draw: &[f64]) -> Result<()> {
        self(draw)
    }
}

/// For runs whose draws stay in memory.
#[derive(Clone, Copy, Debug)]
pub struct NoSink;

impl DrawSink for NoSink {
    fn write(&mut self, _draw: &[f64]) -> Result<()> {
        Ok(())
    }
}

/// The draws of one point, draw after draw.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// `[draw][chain][dim]`.
    pub(crate) positions: Vec<f64>,
    /// `[draw][statistic][chain]`.
    pub(crate) statistics: Vec<f64>,
}

impl Memory {
    pub(crate) fn for_draws(n_numbers: usize) -> Self {
        Self { positions: Vec::with_capacity(n_numbers), statistics: Vec::new() }
    }
}

/// Put the points' draws together, the first `n_draws` of each; `points` gives each one's chains and memory.
pub(crate) fn gather(
    points: Vec<(usize, Memory)>,
    names: &[&'static str],
    n_draws: usize,
    dim: usize,
) -> Draws {
    let n_chains = points.iter().map(|(n, _)| n).sum();
    if n_chains == 0 {
        return Draws::default();
    }
    let mut positions = Array3::zeros((n_chains, n_draws, dim));
    let mut statistics: Vec<_> =
        names.iter().map(|name| (*name, Array2::zeros((n_chains, n_draws)))).collect();
    let mut first = 0;
    for (n, memory) in points {
        for (t, draw) in memory.positions.chunks_exact(n * dim).take(n_draws).enumerate() {
            for (c, row) in draw.chunks_exact(dim).enumerate() {
                positions.slice_mut(s![first + c, t, ..]).assign(&ArrayView1::from(row));
            }
        }
        let per_draw = (names.len() * n).max(1);
        for (t, values) in memory.statistics.chunks_exact(per_draw).take(n_draws).enumerate() {
            for ((_, array), values) in statistics.iter_mut().zip(values.chunks_exact(n)) {
                values.iter().enumerate().for_each(|(c, v)| array[[first + c, t]] = *v);
            }
        }
        first += n;
    }
    Draws { positions, statistics }
}
