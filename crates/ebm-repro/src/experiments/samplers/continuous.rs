//! The continuous kernels on laws whose moments and exact draws are known.

use std::time::Instant;

use ebm_core::analytic::{DoubleWell, Funnel, Gaussian, Rosenbrock};
use ebm_core::{Block, EnergyExt};
use ebm_samplers::{
    Directions, EllipticalSlice, Hmc, Kernel, Mala, MclmcAdjusted, MetricChoice, Nuts, Rmhmc, SampleConfig,
    Sampler, Slice, Starts, sample,
};
use ndarray::Axis;
use tch::Tensor;

use super::Settings;
use super::cell::Cost;
use super::gallery::{Gallery, Law, far_modes, opposite_starts, starts};

/// How a kernel is run in a cell.
#[derive(Clone, Default)]
struct How {
    target_accept: Option<f64>,
    metric: MetricChoice,
    /// A quarter of the steps, a tenth of the long chains' draws and sixteen times as many of them: on tensors every step
    /// costs dozens of dispatches, however many the chains.
    short: bool,
}

/// Starts as host chains.
fn vectors(rows: Vec<Vec<f64>>) -> anyhow::Result<Vec<Vec<f64>>> {
    Ok(rows)
}

/// Starts as blocks of host chains.
pub(super) fn blocks(rows: Vec<Vec<f64>>) -> anyhow::Result<Vec<Block<f64>>> {
    Ok(Block::from_rows(rows[0].len(), &rows.concat())?)
}

/// Starts as a tensor `[chains, dim]`.
pub(super) fn tensor(rows: Vec<Vec<f64>>) -> anyhow::Result<Tensor> {
    let size = [rows.len() as i64, rows[0].len() as i64];
    Ok(Tensor::f_from_slice(&rows.concat())?.f_view(size)?)
}

impl Gallery<'_> {
    /// The kernels with an accept step.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`.
    pub fn continuous(&mut self) -> anyhow::Result<()> {
        let covariance = vec![4.0, 1.2, 0.2, 1.2, 1.0, -0.1, 0.2, -0.1, 0.09];
        self.adjusted("gaussian", &Gaussian::new(vec![1.0, -2.0, 0.0], covariance)?)?;
        self.adjusted("banana", &Rosenbrock::new(2, 0.0, 0.5, 0.5)?)?;
        self.adjusted("double_well", &DoubleWell::new(1.5)?.with_dim(2)?)?;
        self.adjusted("far_modes", &far_modes(1.0)?)?;
        // Kernels with one metric everywhere do not get into the funnel's neck, one whose metric follows it does.
        let funnel = Funnel::new(3)?;
        self.adjusted("funnel", &funnel)?;
        // Adapted, because a start outside the funnel rejects every step of a length that suits its inside.
        let adapted = How { target_accept: Some(0.8), ..How::default() };
        self.cell("rmhmc", "funnel", &Rmhmc::new(&funnel, 0.4, 8), &funnel, vectors, &adapted)
    }

    /// Those that need no more than a gradient, on every kind of point.
    fn adjusted<L: Law>(&mut self, target: &'static str, law: &L) -> anyhow::Result<()> {
        let adapted =
            |target: f64, metric: MetricChoice| How { target_accept: Some(target), metric, short: false };
        let unit = adapted(0.8, MetricChoice::Unit);
        let short = How { short: true, ..unit.clone() };
        let diagonal = adapted(0.8, MetricChoice::Diagonal);
        let dense = adapted(0.8, MetricChoice::Dense);
        let (mala, langevin) = (Mala::new(0.5), adapted(0.57, MetricChoice::Diagonal));
        let (hmc, nuts) = (Hmc::new(0.3, 8), Nuts::new(0.3));
        let (mclmc, microcanonical) = (MclmcAdjusted::new(0.3, 6), adapted(0.9, MetricChoice::Unit));
        self.cell("mala", target, &mala, law, vectors, &langevin)?;
        self.cell("hmc", target, &hmc, law, vectors, &unit)?;
        self.cell("hmc_blocks", target, &hmc, law, blocks, &unit)?;
        self.cell("hmc_dense", target, &hmc, law, vectors, &dense)?;
        self.cell("hmc_tensors", target, &hmc, law, tensor, &short)?;
        self.cell("nuts", target, &nuts, law, vectors, &diagonal)?;
        self.cell("nuts_tensors", target, &nuts, law, tensor, &short)?;
        self.cell("mclmc_adjusted", target, &mclmc, law, vectors, &microcanonical)?;
        self.slices(target, law)
    }

    /// Those that need no gradient, on host chains.
    fn slices<L: Law>(&mut self, target: &'static str, law: &L) -> anyhow::Result<()> {
        let adapted = How { target_accept: Some(0.5), ..How::default() };
        let random = Slice::new(1.0).directions(Directions::Random);
        self.cell("slice", target, &Slice::new(1.0), law, vectors, &adapted)?;
        self.cell("slice_random", target, &random, law, vectors, &adapted)?;
        // Any normal law can play the prior: the likelihood is what it leaves of the target.
        let dim = law.mean().len();
        let prior = Gaussian::diagonal(vec![0.0; dim], vec![4.0; dim])?;
        let kernel = EllipticalSlice::diagonal(vec![0.0; dim], vec![4.0; dim])?;
        let likelihood = law.plus((&prior).scaled(-1.0));
        self.cell_of("elliptical_slice", target, &kernel, &likelihood, law, vectors, &How::default())
    }

    /// One kernel: one draw from each of many chains against the law, then a few long chains for the cost. `point` makes
    /// what the kernel moves of the start points.
    fn cell<K, L, S>(
        &mut self,
        kernel_name: &'static str,
        target: &'static str,
        kernel: &K,
        law: &L,
        point: fn(Vec<Vec<f64>>) -> anyhow::Result<S>,
        how: &How,
    ) -> anyhow::Result<()>
    where
        L: Law,
        S: Starts<K, L>,
        K: Kernel<S::Point, L>,
    {
        self.cell_of(kernel_name, target, kernel, law, law, point, how)
    }

    /// [`Gallery::cell`] for a kernel that is given another energy than that of the law it draws from.
    fn cell_of<K, E, L, S>(
        &mut self,
        kernel_name: &'static str,
        target: &'static str,
        kernel: &K,
        energy: &E,
        law: &L,
        point: fn(Vec<Vec<f64>>) -> anyhow::Result<S>,
        how: &How,
    ) -> anyhow::Result<()>
    where
        L: Law,
        S: Starts<K, E>,
        K: Kernel<S::Point, E>,
    {
        if !self.wants(kernel_name, target) {
            return Ok(());
        }
        let (dim, seed) = (law.mean().len(), self.seed);
        let &Settings { n_chains, n_long_chains, mut burn_in, mut settle, mut n_draws, .. } = self.settings;
        let mut n_long = n_long_chains;
        if how.short {
            (burn_in, settle) = (burn_in.div_ceil(4).max(20), settle.div_ceil(4));
            (n_long, n_draws) = (16 * n_long, n_draws.div_ceil(10).max(4));
        }
        // A chain's adapted step size depends on where it was: only steps after the adaptation forget that.
        let config = SampleConfig {
            n_draws: 1,
            burn_in,
            thin: settle,
            seed,
            target_accept: how.target_accept,
            metric: how.metric.clone(),
            diagnostics: false,
            ..SampleConfig::default()
        };
        let run = sample(kernel, energy, point(starts(n_chains, dim, seed))?, &config)?;
        let last = run.draws.array();
        let found = self.against(kernel_name, target, law, last.index_axis(Axis(1), 0))?;

        let config = SampleConfig { n_draws, thin: 1, seed: seed + 1_000_000, diagnostics: true, ..config };
        let mut sampler = Sampler::new(kernel, energy, point(opposite_starts(n_long, dim, seed))?, &config)?;
        sampler.run_to(burn_in as u64);
        let begin = Instant::now();
        sampler.run();
        let seconds = begin.elapsed().as_secs_f64();
        let run = sampler.finish()?;
        let leapfrogs = run.draws.statistic("n_steps").map(|n| n.sum());
        let coordinates = run.summary.coordinates.map(|c| c.parameters).unwrap_or_default();
        let cost = Cost {
            ess: coordinates.iter().map(|p| p.ess_bulk).fold(f64::INFINITY, f64::min),
            gradients: leapfrogs.unwrap_or((n_long * n_draws) as f64),
            seconds,
            r_hat: coordinates.iter().map(|p| p.r_hat).fold(f64::NEG_INFINITY, f64::max),
            n_diverged: run.summary.n_diverged.iter().sum(),
        };
        self.add(kernel_name, target, found, Some(cost))
    }
}
