//! How much to sample, and what to adapt.

use std::fmt;
use std::sync::Arc;

use ebm_core::{Error, Point, Result};

use crate::kernel::{Kernel, State};
use crate::metric::Metric;
use crate::warm_up::{Adapt, WarmUp};

/// How much to sample.
#[derive(Clone, Debug)]
pub struct SampleConfig {
    /// Draws kept from each chain.
    pub n_draws: usize,
    /// Steps before the first draw; adaptation happens here.
    pub burn_in: usize,
    /// Steps per kept draw.
    pub thin: usize,
    /// The run is a function of this seed, whatever the number of threads.
    pub seed: u64,
    /// Adapt the step size during burn-in towards this acceptance (MALA: 0.57, HMC and NUTS: 0.8, slices: 0.5). Needs a kernel
    /// with an accept step and a constant step size.
    pub target_accept: Option<f64>,
    /// What preconditions the moves. Needs a kernel that heeds it: MALA, HMC, NUTS, slices.
    pub metric: MetricChoice,
    /// Whether to work out R-hat and effective sample sizes at the end, which sorts all draws.
    pub diagnostics: bool,
    /// Told about progress from time to time; can interrupt the run.
    pub progress: Option<Progress>,
}

/// The metric of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum MetricChoice {
    /// None: all directions alike.
    #[default]
    Unit,
    /// A scale per coordinate, learnt during burn-in from the chain's own draws. Needs `target_accept`.
    Diagonal,
    /// The whole covariance, learnt during burn-in. Needs `target_accept`, and draws well above the dimension.
    Dense,
    /// These inverse masses, `[dim]`: best near the target's variances.
    FixedDiagonal(Vec<f64>),
    /// This inverse mass matrix, `[dim * dim]` row by row: best near the target's covariance.
    FixedDense(Vec<f64>),
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            n_draws: 1000,
            burn_in: 500,
            thin: 1,
            seed: 0,
            target_accept: None,
            metric: MetricChoice::Unit,
            diagnostics: true,
            progress: None,
        }
    }
}

impl SampleConfig {
    /// What suits NUTS and HMC on a target of which nothing is known: 1,000 steps of warm-up that learn the step
    /// size (acceptance 0.8) and a diagonal metric, then 1,000 draws.
    pub fn adaptive() -> Self {
        Self { burn_in: 1000, target_accept: Some(0.8), metric: MetricChoice::Diagonal, ..Self::default() }
    }

    pub(crate) fn check<X: Point, E: ?Sized, K: Kernel<X, E>>(&self, kernel: &K) -> Result<()> {
        kernel.check()?;
        self.check_counts()?;
        if self.target_accept.is_some() && kernel.step_size().as_constant().is_none() {
            let fix = "give a constant step_size to adapt, or keep the schedule and leave target_accept out";
            return Err(Error::bad_value("target_accept", "set", "unset with a scheduled step_size", fix));
        }
        if self.metric != MetricChoice::Unit && !kernel.has_metric() {
            let fix = "use MALA, HMC or NUTS, or leave the metric out";
            return Err(Error::bad_value("metric", "set", "unset for this kernel", fix));
        }
        let adapt = self.adapt();
        if adapt != Adapt::Nothing && self.target_accept.is_none() {
            let fix = "set target_accept (0.8 suits HMC and NUTS): a new metric needs a new step size";
            return Err(Error::bad_value("metric", "adapted", "adapted together with the step size", fix));
        }
        adapt.check(self.burn_in)
    }

    fn check_counts(&self) -> Result<()> {
        for (name, value) in [("n_draws", self.n_draws), ("thin", self.thin)] {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        Ok(())
    }

    /// For discrete variables on the host, where nothing adapts.
    pub(crate) fn check_discrete(&self) -> Result<()> {
        self.check_counts()?;
        if self.target_accept.is_some() {
            let fix = "give Dmala a step size, or run it on tensors, where it adapts";
            return Err(Error::bad_value("target_accept", "set", "unset for discrete variables", fix));
        }
        if self.metric != MetricChoice::Unit {
            let fix = "leave the metric out: no discrete kernel heeds one";
            return Err(Error::bad_value("metric", "set", "unset for discrete variables", fix));
        }
        Ok(())
    }

    fn adapt(&self) -> Adapt {
        match self.metric {
            MetricChoice::Diagonal => Adapt::Diagonal,
            MetricChoice::Dense => Adapt::Dense,
            _ => Adapt::Nothing,
        }
    }

    /// Steps of each chain in all.
    pub(crate) fn n_steps(&self) -> u64 {
        (self.burn_in + self.n_draws * self.thin) as u64
    }

    pub(crate) fn warm_up<X: Point>(&self, x: &X) -> Result<Option<WarmUp<X>>> {
        let new = |target| WarmUp::new(x, target, self.burn_in as u64, self.adapt());
        self.target_accept.map(new).transpose()
    }

    pub(crate) fn set_metric<X: Point, W>(&self, state: &mut State<X, W>) -> Result<()> {
        let dim = state.x.dim_of_chain();
        match &self.metric {
            MetricChoice::FixedDiagonal(variances) => {
                if variances.len() != dim {
                    return Err(Error::shape("entries of the metric", dim, variances.len()));
                }
                state.metric = Metric::diagonal(&state.x, variances)?;
            }
            MetricChoice::FixedDense(covariance) => {
                state.metric = Metric::dense(&state.x, dim, covariance)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What must be alike for a saved sampler to go on.
    pub(crate) fn fingerprint(&self) -> String {
        let Self { n_draws, burn_in, thin, seed, target_accept, metric, .. } = self;
        format!(
            "n_draws: {n_draws}, burn_in: {burn_in}, thin: {thin}, seed: {seed}, \
             target_accept: {target_accept:?}, metric: {metric:?}"
        )
    }
}

/// A callback `(steps done, steps in all) -> go on?`, counted over all points; `false` stops the run.
#[derive(Clone)]
pub struct Progress(pub(crate) Arc<dyn Fn(u64, u64) -> bool + Send + Sync>);

impl Progress {
    /// Called from the sampling threads, about every 100 steps of each point.
    pub fn new(f: impl Fn(u64, u64) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress(..)")
    }
}
