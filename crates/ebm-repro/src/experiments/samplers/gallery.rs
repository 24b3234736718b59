//! What every cell of the gallery needs: settings, laws with exact draws, starts; and the check that all were run.

use anyhow::bail;
use ebm_core::analytic::{DoubleWell, Exact, Funnel, Gaussian, GaussianMixture, Rosenbrock};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Block, GradEnergy};
use ebm_metrics::samples::{Exactness, exactness};
use ebm_samplers::Bracket;
use ndarray::{Array2, ArrayView2};
use tch::Tensor;

use super::Settings;
use super::cell::{Cell, Cost};
use super::picture::Picture;
use super::table;

/// The run of all cells.
pub struct Gallery<'a> {
    pub settings: &'a Settings,
    pub seed: u64,
    pub cells: Vec<Cell>,
    pub pictures: Vec<Picture>,
    /// What annealed importance sampling says of `ln Z`, and what it is.
    pub bracket: Option<(Bracket, f64)>,
    /// Told after every cell; false ends the run.
    pub tell: &'a mut dyn FnMut(&Cell) -> bool,
}

/// A law that everything can sample.
pub(super) trait Law:
    Exact + GradEnergy<Vec<f64>> + GradEnergy<Block<f64>> + GradEnergy<Tensor> + Sync + Sized
{
    /// Draws `[chain, dim]` against the law and exact draws of it.
    fn compare(&self, draws: ArrayView2<f64>, exact: ArrayView2<f64>) -> ebm_core::Result<Exactness> {
        exactness(draws, &self.mean(), &self.covariance(), exact)
    }
}

impl Law for Gaussian {}
impl Law for Rosenbrock {}
impl Law for DoubleWell {}
impl Law for GaussianMixture {}

/// By `v` and `x_i e^(-v/2)`, which are normal: the fourth moments of `x_i` are beyond any number of draws.
impl Law for Funnel {
    fn compare(&self, draws: ArrayView2<f64>, exact: ArrayView2<f64>) -> ebm_core::Result<Exactness> {
        let normal = |x: ArrayView2<f64>| {
            Array2::from_shape_fn(x.dim(), |(t, i)| match i {
                0 => x[[t, 0]],
                _ => x[[t, i]] * (-0.5 * x[[t, 0]]).exp(),
            })
        };
        let dim = draws.ncols();
        let mut covariance = vec![0.0; dim * dim];
        (0..dim).for_each(|i| covariance[i * (dim + 1)] = if i == 0 { self.covariance()[0] } else { 1.0 });
        exactness(normal(draws).view(), &vec![0.0; dim], &covariance, normal(exact).view())
    }
}

/// The far modes: 12 standard deviations apart.
pub(super) const FAR_MODE: f64 = 6.0;

/// Two modes of this width at `-FAR_MODE` and `FAR_MODE`, the left one with 0.3 of the mass.
pub(super) fn far_modes(width: f64) -> ebm_core::Result<GaussianMixture> {
    let means = vec![vec![-FAR_MODE, 0.0], vec![FAR_MODE, 0.0]];
    GaussianMixture::new(vec![0.3, 0.7], means, vec![width; 2])
}

/// Starts spread more widely than the targets, `[n, dim]`.
pub(super) fn starts(n: usize, dim: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(seed, Purpose::Start, 0);
    let mut start = || (0..dim).map(|_| 2.0 * stream.normal()).collect();
    (0..n).map(|_| start()).collect()
}

/// The same in pairs on opposite sides: few chains that all begin on one side cannot see that they stay there.
pub(super) fn opposite_starts(n: usize, dim: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut starts = starts(n, dim, seed);
    for pair in starts.chunks_exact_mut(2) {
        pair[1] = pair[0].iter().map(|x| -x).collect();
    }
    starts
}

pub(super) fn exact_draws(law: &dyn Exact, n: usize, seed: u64) -> Array2<f64> {
    let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
    let draws: Vec<Vec<f64>> = (0..n).map(|_| law.sample(&mut stream)).collect();
    Array2::from_shape_fn((n, draws[0].len()), |(t, i)| draws[t][i])
}

/// A single z.
pub(super) fn alone(z: f64) -> Exactness {
    Exactness { worst_z: z.abs(), n_moments: 1, least_p: 1.0, n_marginals: 1 }
}

impl Gallery<'_> {
    /// Every pair of the table that the settings ask for.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`; a pair of the table that no code runs.
    pub fn run(&mut self) -> anyhow::Result<()> {
        self.continuous()?;
        self.across()?;
        self.biased()?;
        self.discrete()?;
        self.ising_log_z()?;
        let ran = |kernel, target| self.cells.iter().any(|c| (c.kernel, c.target) == (kernel, target));
        match table::pairs().find(|(k, t, _)| self.settings.wants(k, t) && !ran(k, t)) {
            Some((kernel, target, _)) => bail!("no code runs {kernel} on {target}, which the table holds"),
            None => Ok(()),
        }
    }

    /// Whether the table holds the pair, and the settings ask for it.
    pub(super) fn wants(&self, kernel: &str, target: &str) -> bool {
        table::expected(kernel, target).is_some() && self.settings.wants(kernel, target)
    }

    /// What was found of a pair.
    pub(super) fn add(
        &mut self,
        kernel: &'static str,
        target: &'static str,
        exactness: Exactness,
        cost: Option<Cost>,
    ) -> anyhow::Result<()> {
        let Some(expected) = table::expected(kernel, target) else {
            bail!("the table does not hold {kernel} on {target}")
        };
        let cell = Cell { kernel, target, expected, exactness, cost };
        let go_on = (self.tell)(&cell);
        self.cells.push(cell);
        if go_on { Ok(()) } else { Err(ebm_core::Error::stopped().into()) }
    }

    /// Draws against the law, and a picture of them.
    pub(super) fn against<L: Law>(
        &mut self,
        kernel: &str,
        target: &str,
        law: &L,
        draws: ArrayView2<f64>,
    ) -> anyhow::Result<Exactness> {
        let exact = exact_draws(law, self.settings.n_exact, self.seed);
        self.pictures.push(Picture::new(kernel, target, draws, exact.view())?);
        Ok(law.compare(draws, exact.view())?)
    }
}
