//! What the plots of chains are drawn from, and the one call that draws them all.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use ebm_core::{Error, Result, write_atomically};
use ndarray::{ArrayView1, ArrayView2, ArrayView3, Axis};

use super::figure::shorten;
use crate::chains::ess_bulk;
use crate::check;

/// Letters of a coordinate's name that a plot shows.
const NAME_LETTERS: usize = 22;

/// Draws with what is known of them, ready to be drawn.
///
/// ```
/// use ebm_metrics::plots::ChainPlots;
/// use ndarray::Array3;
///
/// # fn main() -> ebm_core::Result<()> {
/// let draws = Array3::from_shape_fn((4, 100, 2), |(c, t, d)| ((c + 7 * t * (d + 1)) as f64).sin());
/// let folder = std::env::temp_dir().join("ebm-doc-plots");
/// let files = ChainPlots::new(draws.view())?.names(&["mu", "tau"])?.save(&folder)?;
/// assert_eq!(files.len(), 3); // trace.svg, rank.svg, pair.svg; energy.svg only with energies
/// # std::fs::remove_dir_all(folder).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChainPlots<'a> {
    pub(super) draws: ArrayView3<'a, f64>,
    pub(super) names: Vec<String>,
    pub(super) energy: Option<ArrayView2<'a, f64>>,
    pub(super) diverging: Option<ArrayView2<'a, f64>>,
    divergences: Option<ArrayView2<'a, f64>>,
    coordinates: Option<Vec<usize>>,
}

impl<'a> ChainPlots<'a> {
    /// Draws `[chain, draw, dim]`, the coordinates named `x[0]`, `x[1]`, ...
    ///
    /// # Errors
    /// No chains, no draws or no coordinates.
    pub fn new(draws: ArrayView3<'a, f64>) -> Result<Self> {
        for (axis, name) in ["chains", "draws", "coordinates"].into_iter().enumerate() {
            check::at_least(name, draws.len_of(Axis(axis)), 1)?;
        }
        let names = (0..draws.len_of(Axis(2))).map(|d| format!("x[{d}]")).collect();
        Ok(Self { draws, names, energy: None, diverging: None, divergences: None, coordinates: None })
    }

    /// Names for the coordinates.
    ///
    /// # Errors
    /// Not one for each.
    pub fn names(mut self, names: &[impl AsRef<str>]) -> Result<Self> {
        check::same_len("names of the coordinates", self.names.len(), names.len())?;
        self.names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(self)
    }

    /// Total energies `[chain, draw]` of a Hamiltonian sampler, at the start of each trajectory.
    ///
    /// # Errors
    /// Another shape than the draws'.
    pub fn energy(mut self, energy: ArrayView2<'a, f64>) -> Result<Self> {
        self.check_shape("energy", &energy)?;
        self.energy = Some(energy);
        Ok(self)
    }

    /// Which draws `[chain, draw]` ended a trajectory that diverged: 1 where one did, 0 elsewhere.
    ///
    /// # Errors
    /// Another shape than the draws'.
    pub fn diverging(mut self, diverging: ArrayView2<'a, f64>) -> Result<Self> {
        self.check_shape("diverging", &diverging)?;
        self.diverging = Some(diverging);
        Ok(self)
    }

    /// Where trajectories diverged, `[n, dim]`. Without it, the pair plot marks the draws that are `diverging`.
    ///
    /// # Errors
    /// Positions of another number of coordinates than the draws'.
    pub fn divergences(mut self, positions: ArrayView2<'a, f64>) -> Result<Self> {
        check::same_len("coordinates of the divergences", self.names.len(), positions.ncols())?;
        self.divergences = Some(positions);
        Ok(self)
    }

    /// Draw these coordinates, in this order. Without it, those with the smallest bulk effective sample size are
    /// chosen where there are too many for a plot.
    ///
    /// # Errors
    /// None, or one that is not there.
    pub fn coordinates(mut self, coordinates: &[usize]) -> Result<Self> {
        check::at_least("coordinates to draw", coordinates.len(), 1)?;
        let dim = self.names.len();
        if let Some(wrong) = coordinates.iter().find(|d| **d >= dim) {
            return Err(Error::bad_value("coordinate to draw", wrong, format!("below {dim}"), ""));
        }
        self.coordinates = Some(coordinates.to_vec());
        Ok(self)
    }

    /// Draw everything into a folder, made if it is not there: `trace.svg`, `rank.svg`, `pair.svg`, and `energy.svg`
    /// if energies were given. Files of these names are replaced.
    ///
    /// # Errors
    /// The drawing failed, or the file system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let mut plots = vec![
            ("trace.svg", self.trace_plot()?),
            ("rank.svg", self.rank_plot()?),
            ("pair.svg", self.pair_plot()?),
        ];
        if let Some(svg) = self.energy_plot()? {
            plots.push(("energy.svg", svg));
        }
        let write = |(name, svg): (&str, String)| {
            let path = folder.join(name);
            write_atomically(&path, svg.as_bytes())?;
            Ok(path)
        };
        plots.into_iter().map(write).collect()
    }

    /// At most `most` coordinates to draw, and a note if that is not all of them.
    pub(super) fn chosen(&self, most: usize) -> Result<(Vec<usize>, String)> {
        let dim = self.names.len();
        if let Some(asked) = &self.coordinates {
            let shown: Vec<usize> = asked.iter().copied().take(most).collect();
            let note = if shown.len() < asked.len() {
                format!("The first {} of the {} coordinates asked for.", shown.len(), asked.len())
            } else {
                String::new()
            };
            return Ok((shown, note));
        }
        if dim <= most {
            return Ok(((0..dim).collect(), String::new()));
        }
        let mut sizes = Vec::with_capacity(dim);
        for d in 0..dim {
            let size = ess_bulk(self.coordinate(d))?;
            // What has no effective sample size is worth a look.
            sizes.push((if size.is_nan() { 0.0 } else { size }, d));
        }
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut shown: Vec<usize> = sizes[..most].iter().map(|(_, d)| *d).collect();
        shown.sort_unstable();
        Ok((
            shown,
            format!("{most} of {dim} coordinates: those with the smallest bulk effective sample size."),
        ))
    }

    /// `[chain, draw]`.
    pub(super) fn coordinate(&self, d: usize) -> ArrayView2<'a, f64> {
        self.draws.index_axis_move(Axis(2), d)
    }

    /// A coordinate's name, as far as there is room.
    pub(super) fn short_name(&self, d: usize) -> String {
        shorten(&self.names[d], NAME_LETTERS)
    }

    /// Where trajectories diverged, `[n, dim]`.
    pub(super) fn divergence_positions(&self) -> Cow<'_, [Vec<f64>]> {
        let row = |x: ArrayView1<f64>| x.to_vec();
        let rows = match (&self.divergences, &self.diverging) {
            (Some(positions), _) => positions.outer_iter().map(row).collect(),
            (None, Some(flags)) => flags
                .indexed_iter()
                .filter(|(_, flag)| **flag != 0.0)
                .map(|((c, t), _)| self.draws.slice(ndarray::s![c, t, ..]).to_vec())
                .collect(),
            (None, None) => Vec::new(),
        };
        Cow::Owned(rows)
    }

    /// The chains to draw one by one: all of them, or the `most` whose mean of some coordinate lies farthest from
    /// the other chains', in units of the spread within chains.
    pub(super) fn chains_apart(&self, coordinates: &[usize], most: usize) -> Vec<usize> {
        let n_chains = self.draws.len_of(Axis(0));
        if n_chains <= most {
            return (0..n_chains).collect();
        }
        let mut worst = vec![0.0f64; n_chains];
        for d in coordinates {
            let moments: Vec<(f64, f64)> =
                self.coordinate(*d).outer_iter().map(|c| moments(c.iter())).collect();
            let (centre, _) = moments_of(moments.iter().map(|m| m.0));
            let spread = moments_of(moments.iter().map(|m| m.1)).0.sqrt();
            for (worst, (mean, _)) in worst.iter_mut().zip(&moments) {
                let away = (mean - centre).abs() / spread;
                // A chain without any finite draw, too, is worth a look.
                *worst = worst.max(if away.is_nan() { f64::INFINITY } else { away });
            }
        }
        let mut order: Vec<usize> = (0..n_chains).collect();
        order.sort_by(|a, b| worst[*b].total_cmp(&worst[*a]));
        order.truncate(most);
        order.sort_unstable();
        order
    }

    fn check_shape(&self, name: &str, matrix: &ArrayView2<f64>) -> Result<()> {
        let (n_chains, n_draws, _) = self.draws.dim();
        if matrix.dim() != (n_chains, n_draws) {
            return Err(Error::shape(name, (n_chains, n_draws), matrix.dim()));
        }
        Ok(())
    }
}

/// Mean and variance of the finite numbers.
fn moments<'b>(values: impl Iterator<Item = &'b f64>) -> (f64, f64) {
    moments_of(values.copied())
}

fn moments_of(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut n, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for x in values.filter(|x| x.is_finite()) {
        n += 1.0;
        let away = x - mean;
        mean += away / n;
        squares += away * (x - mean);
    }
    if n == 0.0 { (f64::NAN, f64::NAN) } else { (mean, squares / n) }
}

/// How many numbers are not finite, as a note; empty if all are.
pub(super) fn not_finite(draws: ArrayView2<f64>) -> String {
    match draws.iter().filter(|x| !x.is_finite()).count() {
        0 => String::new(),
        n => format!(" ({n} not finite)"),
    }
}
