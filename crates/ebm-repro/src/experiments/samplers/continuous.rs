//! The continuous kernels on laws whose moments and exact draws are known.

use std::time::Instant;

use ebm_core::analytic::{DoubleWell, Exact, Funnel, Gaussian, GaussianMixture, Rosenbrock};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Block, GradEnergy, RiemannianMetric};
use ebm_metrics::samples::{Exactness, exactness};
use ebm_samplers::{
    Baoab, Bracket, Hmc, Kernel, Mala, MclmcAdjusted, MetricChoice, Nuts, Rmhmc, SampleConfig, Sampler,
    Sghmc, Starts, Ula, sample,
};
use ndarray::{Array2, ArrayView2, Axis};
use tch::Tensor;

use super::Settings;
use super::cell::{Cell, Cost, Expected};
use super::picture::Picture;

/// What every cell needs.
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

/// How a kernel is run in a cell.
#[derive(Clone, Default)]
struct How {
    target_accept: Option<f64>,
    metric: MetricChoice,
    /// A quarter of the steps, a tenth of the long chains' draws: on tensors every step costs dozens of dispatches.
    short: bool,
}

/// The funnel's Fisher metric: `1 / 9 + n / 2` for the first coordinate, `e^-v` for the `n` others.
struct FunnelMetric;

impl RiemannianMetric for FunnelMetric {
    fn metric(&self, x: &[f64], g: &mut [f64]) {
        let dim = x.len();
        g.fill(0.0);
        g[0] = 1.0 / 9.0 + 0.5 * (dim as f64 - 1.0);
        (1..dim).for_each(|i| g[i * (dim + 1)] = (-x[0]).exp());
    }

    fn metric_derivatives(&self, x: &[f64], dg: &mut [f64]) {
        let dim = x.len();
        dg.fill(0.0);
        (1..dim).for_each(|i| dg[i * (dim + 1)] = -(-x[0]).exp());
    }
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

/// Starts spread more widely than the targets, `[n, dim]`.
pub(super) fn starts(n: usize, dim: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(seed, Purpose::Start, 0);
    let mut start = || (0..dim).map(|_| 2.0 * stream.normal()).collect();
    (0..n).map(|_| start()).collect()
}

pub(super) fn exact_draws(law: &dyn Exact, n: usize, seed: u64) -> Array2<f64> {
    let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
    let draws: Vec<Vec<f64>> = (0..n).map(|_| law.sample(&mut stream)).collect();
    Array2::from_shape_fn((n, draws[0].len()), |(t, i)| draws[t][i])
}

impl Gallery<'_> {
    /// All continuous cells.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`.
    pub fn continuous(&mut self) -> anyhow::Result<()> {
        let gaussian =
            Gaussian::new(vec![1.0, -2.0, 0.0], vec![4.0, 1.2, 0.2, 1.2, 1.0, -0.1, 0.2, -0.1, 0.09])?;
        self.exact_kernels("gaussian", &gaussian, Expected::Exact)?;
        let banana = Rosenbrock::new(2, 0.0, 0.5, 0.5)?;
        self.exact_kernels("banana", &banana, Expected::Exact)?;
        let wells = DoubleWell::new(1.5)?.with_dim(2)?;
        self.exact_kernels("double_well", &wells, Expected::Exact)?;
        let means = vec![vec![-6.0, 0.0], vec![6.0, 0.0]];
        let far = GaussianMixture::new(vec![0.3, 0.7], means, vec![1.0; 2])?;
        self.exact_kernels("far_modes", &far, Expected::DoesNotMix)?;
        self.across(&far)?;
        self.funnel()?;
        self.biased_kernels()
    }

    /// The kernels with an accept step, on every kind of point they have.
    fn exact_kernels<L: Law>(
        &mut self,
        target: &'static str,
        law: &L,
        expected: Expected,
    ) -> anyhow::Result<()> {
        let dim = law.mean().len();
        let (many, few) = (self.settings.n_chains, self.settings.n_long_chains);
        let vectors = |n: usize, seed: u64| starts(n, dim, seed);
        let rows = |n: usize, seed: u64| vectors(n, seed).concat();
        let adapted =
            |target: f64, metric: MetricChoice| How { target_accept: Some(target), metric, short: false };
        let seed = self.seed;
        let (mala, hmc, nuts) = (Mala::new(0.5), Hmc::new(0.3, 8), Nuts::new(0.3));
        let langevin = adapted(0.57, MetricChoice::Diagonal);
        self.cell("mala", target, &mala, law, vectors(many, seed), vectors(few, seed), &langevin, expected)?;
        let plain = adapted(0.8, MetricChoice::Unit);
        self.cell("hmc", target, &hmc, law, vectors(many, seed), vectors(few, seed), &plain, expected)?;
        let blocks = |n| Block::from_rows(dim, &rows(n, seed));
        self.cell("hmc_blocks", target, &hmc, law, blocks(many)?, blocks(few)?, &plain, expected)?;
        let dense = adapted(0.8, MetricChoice::Dense);
        self.cell("hmc_dense", target, &hmc, law, vectors(many, seed), vectors(few, seed), &dense, expected)?;
        let tensor = |n: usize| -> anyhow::Result<Tensor> {
            Ok(Tensor::f_from_slice(&rows(n, seed))?.f_view([n as i64, dim as i64])?)
        };
        let short = How { short: true, ..plain.clone() };
        self.cell("hmc_tensors", target, &hmc, law, tensor(many)?, tensor(16 * few)?, &short, expected)?;
        let diagonal = adapted(0.8, MetricChoice::Diagonal);
        self.cell("nuts", target, &nuts, law, vectors(many, seed), vectors(few, seed), &diagonal, expected)?;
        if expected == Expected::Exact {
            self.cell(
                "nuts_tensors",
                target,
                &nuts,
                law,
                tensor(many)?,
                tensor(16 * few)?,
                &short,
                expected,
            )?;
        }
        let microcanonical = (MclmcAdjusted::new(0.3, 6), adapted(0.9, MetricChoice::Unit));
        let (kernel, how) = &microcanonical;
        self.cell(
            "mclmc_adjusted",
            target,
            kernel,
            law,
            vectors(many, seed),
            vectors(few, seed),
            how,
            expected,
        )
    }

    /// A funnel: kernels with one metric everywhere do not get into its neck, one whose metric follows it does.
    fn funnel(&mut self) -> anyhow::Result<()> {
        let law = Funnel::new(3)?;
        self.exact_kernels("funnel", &law, Expected::DoesNotMix)?;
        let kernel = Rmhmc::new(FunnelMetric, 0.4, 8);
        let (many, few) = (self.settings.n_chains, self.settings.n_long_chains);
        // Adapted, because a start outside the funnel rejects every step of a length that suits its inside.
        let (seed, adapted) = (self.seed, How { target_accept: Some(0.8), ..How::default() });
        self.cell(
            "rmhmc",
            "funnel",
            &kernel,
            &law,
            starts(many, 3, seed),
            starts(few, 3, seed),
            &adapted,
            Expected::Exact,
        )
    }

    /// One kernel: one draw from each of many chains against the law, then a few long chains for the cost.
    fn cell<K, L, S>(
        &mut self,
        kernel_name: &'static str,
        target: &'static str,
        kernel: &K,
        law: &L,
        many: S,
        few: S,
        how: &How,
        expected: Expected,
    ) -> anyhow::Result<()>
    where
        L: Law,
        S: Starts<K, L>,
        K: Kernel<S::Point, L>,
    {
        if !self.wants(kernel_name, target) {
            return Ok(());
        }
        let &Settings { mut burn_in, mut settle, mut n_draws, .. } = self.settings;
        if how.short {
            (burn_in, settle, n_draws) =
                (burn_in.div_ceil(4).max(20), settle.div_ceil(4), n_draws.div_ceil(10).max(4));
        }
        // A chain's adapted step size depends on where it was: only steps after the adaptation forget that.
        let config = SampleConfig {
            n_draws: 1,
            burn_in,
            thin: settle,
            seed: self.seed,
            target_accept: how.target_accept,
            metric: how.metric.clone(),
            diagnostics: false,
            ..SampleConfig::default()
        };
        let run = sample(kernel, law, many, &config)?;
        let last = run.draws.array();
        let found = self.against(kernel_name, target, law, last.index_axis(Axis(1), 0))?;

        let config =
            SampleConfig { n_draws, thin: 1, seed: self.seed + 1_000_000, diagnostics: true, ..config };
        let mut sampler = Sampler::new(kernel, law, few, &config)?;
        sampler.run_to(burn_in as u64);
        let begin = Instant::now();
        sampler.run();
        let seconds = begin.elapsed().as_secs_f64();
        let run = sampler.finish()?;
        let n_chains = run.draws.array().dim().0;
        let leapfrogs = run.draws.statistic("n_steps").map(|n| n.sum());
        let coordinates = run.summary.coordinates.map(|c| c.parameters).unwrap_or_default();
        let cost = Cost {
            ess: coordinates.iter().map(|p| p.ess_bulk).fold(f64::INFINITY, f64::min),
            gradients: leapfrogs.unwrap_or((n_chains * n_draws) as f64),
            seconds,
            r_hat: coordinates.iter().map(|p| p.r_hat).fold(f64::NEG_INFINITY, f64::max),
            n_diverged: run.summary.n_diverged.iter().sum(),
        };
        self.add(Cell { kernel: kernel_name, target, expected, exactness: found, cost: Some(cost) })
    }

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

    /// Whether the cell was asked for.
    pub(super) fn wants(&self, kernel: &str, target: &str) -> bool {
        format!("{kernel}_{target}").contains(&self.settings.only)
    }

    pub(super) fn add(&mut self, cell: Cell) -> anyhow::Result<()> {
        let go_on = (self.tell)(&cell);
        self.cells.push(cell);
        if go_on { Ok(()) } else { Err(ebm_core::Error::stopped().into()) }
    }

    /// Kernels without an accept step, against the law that theory says they have instead of a standard normal.
    fn biased_kernels(&mut self) -> anyhow::Result<()> {
        let (h, friction) = (0.5, 0.3);
        // Stationary variances of the chains' linear recursions.
        self.biased("ula", &Ula::new(h), 2.0 / (2.0 - h))?;
        let (h2, alpha) = (0.1, friction);
        self.biased("sghmc", &Sghmc::new(h2, alpha), 1.0 / (1.0 - h2 / (2.0 * (2.0 - alpha))))?;
        self.biased("baoab", &Baoab::new(1.0, 1.0), 1.0)
    }

    fn biased<K>(&mut self, name: &'static str, kernel: &K, variance: f64) -> anyhow::Result<()>
    where
        K: Kernel<Vec<f64>, Gaussian> + Sync,
        Vec<Vec<f64>>: Starts<K, Gaussian, Point = Vec<f64>>,
    {
        if !self.wants(name, "standard_normal") {
            return Ok(());
        }
        let law = Gaussian::standard(2)?;
        let &Settings { n_chains, burn_in, n_exact, .. } = self.settings;
        let config =
            SampleConfig { n_draws: 1, burn_in, seed: self.seed, diagnostics: false, ..Default::default() };
        let run = sample(kernel, &law, starts(n_chains, 2, self.seed), &config)?;
        let biased = Gaussian::diagonal(vec![0.0; 2], vec![variance; 2])?;
        let exact = exact_draws(&biased, n_exact, self.seed);
        let draws = run.draws.array();
        let found =
            exactness(draws.index_axis(Axis(1), 0), &biased.mean(), &biased.covariance(), exact.view())?;
        self.add(Cell {
            kernel: name,
            target: "standard_normal",
            expected: Expected::KnownBias,
            exactness: found,
            cost: None,
        })
    }
}
