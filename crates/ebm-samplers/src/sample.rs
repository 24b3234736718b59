//! The one entry for users: `sample(&kernel, &energy, starts, &config)`, on host chains, blocks and tensors.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ebm_core::{Error, HostPoint, Point, Result, Scalar};
use ndarray::{Array3, ArrayView3};

use crate::drive::run_host;
use crate::dual_averaging::DualAveraging;
use crate::kernel::{Kernel, Observer, State, StepInfo};

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
    /// Adapt the step size during burn-in towards this acceptance (MALA: 0.57, HMC: 0.8). Needs a kernel with
    /// an accept step and a constant step size.
    pub target_accept: Option<f64>,
    /// Told about progress from time to time.
    pub progress: Option<Progress>,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { n_draws: 1000, burn_in: 500, thin: 1, seed: 0, target_accept: None, progress: None }
    }
}

/// A callback `(steps done, steps in all) -> go on?`, counted over all points; `false` stops the run.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64, u64) -> bool + Send + Sync>);

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

/// Draws in memory, f64 whatever the point's type.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws(Array3<f64>);

impl Draws {
    /// `[chain, draw, dim]`.
    pub fn array(&self) -> ArrayView3<'_, f64> {
        self.0.view()
    }

    /// The array itself.
    pub fn into_array(self) -> Array3<f64> {
        self.0
    }
}

/// What came out of [`sample`].
#[derive(Clone, Debug)]
pub struct Run {
    /// The draws `[chain, draw, dim]`; empty when they went to a sink.
    pub draws: Draws,
    /// Mean acceptance probability after burn-in, per chain; NaN for kernels that accept everything.
    pub acceptance: Vec<f64>,
    /// Diverged steps after burn-in, per chain.
    pub n_diverged: Vec<u64>,
    /// The step size of the first step after burn-in, per chain: the adapted one, or where a schedule stood.
    pub step_size: Vec<f64>,
}

/// Where draws go when they should not stay in memory. One sink per point (a chain, a block, a tensor).
pub trait DrawSink: Send {
    /// One draw of all chains of the point, `[n_chains * dim]`, chain after chain.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking it; ends the run.
    fn write(&mut self, draw: &[f64]) -> Result<()>;

    /// The statistics of the draw just written: `values[i * n_chains + c]` is the statistic `names[i]` of chain `c`.
    /// The names are ArviZ's (`lp`, `acceptance_rate`, `diverging`, ...) and the same for every draw of a run.
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
}

impl<F: FnMut(&[f64]) -> Result<()> + Send> DrawSink for F {
    fn write(&mut self, draw: &[f64]) -> Result<()> {
        self(draw)
    }
}

/// Sample `energy` with `kernel` from `starts`: `Vec<Vec<f64>>` or `Vec<Vec<f32>>` (one chain each),
/// `Vec<Block<T>>`, or a tensor `[chains, ..]`. Draws are kept in memory.
///
/// # Errors
/// No chains, start points of different lengths or with non-finite coordinates, impossible settings; and
/// whatever the energy returns. Diverging steps are counted in [`Run::n_diverged`], not errors.
pub fn sample<S, K, E>(kernel: &K, energy: &E, starts: S, config: &SampleConfig) -> Result<Run>
where
    S: Starts<K, E>,
    E: ?Sized,
{
    starts.run(kernel, energy, config)
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
    E: ?Sized,
{
    starts.run_into(kernel, energy, config, make)
}

/// Start points that [`sample`] takes.
pub trait Starts<K, E: ?Sized> {
    /// See [`sample`].
    ///
    /// # Errors
    /// See [`sample`].
    fn run(self, kernel: &K, energy: &E, config: &SampleConfig) -> Result<Run>;

    /// See [`sample_into`].
    ///
    /// # Errors
    /// See [`sample_into`].
    fn run_into<D: DrawSink>(
        self,
        kernel: &K,
        energy: &E,
        config: &SampleConfig,
        make: impl Fn(usize) -> D,
    ) -> Result<Run>;
}

impl SampleConfig {
    fn check<X: Point, E: ?Sized, K: Kernel<X, E>>(&self, kernel: &K) -> Result<()> {
        kernel.check()?;
        for (name, value) in [("n_draws", self.n_draws), ("thin", self.thin)] {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if self.target_accept.is_some() && kernel.step_size().as_constant().is_none() {
            let fix = "give a constant step_size to adapt, or keep the schedule and leave target_accept out";
            return Err(Error::bad_value("target_accept", "set", "unset with a scheduled step_size", fix));
        }
        Ok(())
    }

    fn n_steps(&self) -> u64 {
        (self.burn_in + self.n_draws * self.thin) as u64
    }

    fn adapter<S: Scalar>(&self) -> Result<Option<DualAveraging<S>>> {
        self.target_accept.map(|target| DualAveraging::new(target, self.burn_in as u64)).transpose()
    }
}

/// Counts steps over all points and tells the callback.
struct Ticker {
    progress: Option<Progress>,
    done: Arc<AtomicU64>,
    total: u64,
    every: u64,
}

impl Ticker {
    fn new(config: &SampleConfig, n_points: usize, done: &Arc<AtomicU64>) -> Self {
        let total = config.n_steps() * n_points as u64;
        Self { progress: config.progress.clone(), done: Arc::clone(done), total, every: 100 }
    }
}

impl<X: Point, W, I> Observer<X, W, I> for Ticker {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, _info: &I) -> Result<()> {
        let Some(Progress(tell)) = &self.progress else { return Ok(()) };
        if state.step.is_multiple_of(self.every) {
            let done = self.done.fetch_add(self.every, Ordering::Relaxed) + self.every;
            if !tell(done, self.total) {
                return Err(Error::stopped());
            }
        }
        Ok(())
    }
}

/// Sums acceptance and divergences after burn-in, on the device where the chains are.
struct Tally<X: Point> {
    burn_in: u64,
    steps: u64,
    accept: Option<X::Scalar>,
    diverged: X::Scalar,
    step_size: X::Scalar,
}

impl<X: Point> Tally<X> {
    fn new(burn_in: usize) -> Self {
        let zero = X::Scalar::same(0.0);
        Self { burn_in: burn_in as u64, steps: 0, accept: None, diverged: zero.clone(), step_size: zero }
    }

    fn finish(&self, n_chains: usize, run: &mut Run) -> Result<()> {
        match &self.accept {
            Some(sum) => {
                let steps = self.steps as f64;
                run.acceptance.extend(sum.to_host(n_chains)?.iter().map(|a| a / steps));
            }
            None => run.acceptance.extend(vec![f64::NAN; n_chains]),
        }
        run.n_diverged.extend(self.diverged.to_host(n_chains)?.iter().map(|d| *d as u64));
        run.step_size.extend(self.step_size.to_host(n_chains)?);
        Ok(())
    }
}

impl<X: Point, W, I: StepInfo<X>> Observer<X, W, I> for Tally<X> {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
        if state.step <= self.burn_in {
            return Ok(());
        }
        self.steps += 1;
        if self.steps == 1 {
            self.step_size = state.step_size.clone();
        }
        if let Some(accept) = info.accept_prob() {
            self.accept = Some(match &self.accept {
                None => accept.clone(),
                Some(sum) => Scalar::linear([(1.0, sum), (1.0, accept)])?,
            });
        }
        if let Some(diverged) = info.diverged() {
            // Chosen from the count and the count plus one: a 1 and a 0 to choose from would be two more tensors
            // in every step.
            let one_more = Scalar::linear([(1.0, &self.diverged), (1.0, &X::Scalar::same(1.0))])?;
            self.diverged = Scalar::select(diverged, &one_more, &self.diverged)?;
        }
        Ok(())
    }
}

/// Hands every `thin`-th position after burn-in to a sink.
struct Keeper<D> {
    burn_in: u64,
    thin: u64,
    row: Vec<f64>,
    sink: D,
}

impl<D> Keeper<D> {
    fn new(config: &SampleConfig, sink: D) -> Self {
        Self { burn_in: config.burn_in as u64, thin: config.thin as u64, row: Vec::new(), sink }
    }

    fn is_due(&self, step: u64) -> bool {
        step > self.burn_in && (step - self.burn_in).is_multiple_of(self.thin)
    }
}

impl<X: HostPoint, W, I, D: DrawSink> Observer<X, W, I> for Keeper<D> {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, _info: &I) -> Result<()> {
        if self.is_due(state.step) {
            self.row.resize(state.x.n_chains() * state.x.dim(), 0.0);
            state.x.write_f64(&mut self.row);
            self.sink.write(&self.row)?;
        }
        Ok(())
    }
}

/// A sink into the part of the `[chain, draw, dim]` array that belongs to one point.
struct Memory<'a> {
    chains: &'a mut [f64],
    n_draws: usize,
    dim: usize,
    next: usize,
}

impl DrawSink for Memory<'_> {
    fn write(&mut self, draw: &[f64]) -> Result<()> {
        let at = self.next * self.dim;
        for (chain, row) in
            self.chains.chunks_exact_mut(self.n_draws * self.dim).zip(draw.chunks_exact(self.dim))
        {
            chain[at..at + self.dim].copy_from_slice(row);
        }
        self.next += 1;
        Ok(())
    }
}

fn empty_run() -> Run {
    let draws = Draws(Array3::zeros((0, 0, 0)));
    Run { draws, acceptance: Vec::new(), n_diverged: Vec::new(), step_size: Vec::new() }
}

fn check_starts<X: HostPoint>(starts: &[X]) -> Result<usize> {
    let Some(first) = starts.first() else {
        return Err(Error::bad_value("chains", 0, "at least 1", "give one start point per chain"));
    };
    let dim = first.dim();
    if dim == 0 {
        return Err(Error::bad_value("coordinates of a start point", 0, "at least 1", ""));
    }
    for (i, x) in starts.iter().enumerate() {
        if x.dim() != dim {
            return Err(Error::shape(format!("start point {i}"), dim, x.dim()));
        }
        if !x.all_finite() {
            return Err(Error::bad_value(format!("start point {i}"), "NaN or infinite", "finite", ""));
        }
    }
    Ok(dim)
}

fn run_points<X, K, E, D>(
    kernel: &K,
    energy: &E,
    starts: Vec<X>,
    config: &SampleConfig,
    sinks: Vec<D>,
) -> Result<Run>
where
    X: HostPoint,
    K: Kernel<X, E> + Sync,
    E: Sync + ?Sized,
    D: DrawSink,
{
    let done = Arc::new(AtomicU64::new(0));
    let n_points = starts.len();
    let mut points = Vec::with_capacity(n_points);
    for (x, sink) in starts.into_iter().zip(sinks) {
        let ticker = Ticker::new(config, n_points, &done);
        let tally = Tally::<X>::new(config.burn_in);
        points.push((x, (config.adapter()?, tally, Keeper::new(config, sink), ticker)));
    }
    let mut run = empty_run();
    for (x, (_, tally, _, _)) in run_host(kernel, energy, points, config.n_steps(), config.seed)? {
        tally.finish(x.n_chains(), &mut run)?;
    }
    Ok(run)
}

impl<X, K, E> Starts<K, E> for Vec<X>
where
    X: HostPoint,
    K: Kernel<X, E> + Sync,
    E: Sync + ?Sized,
{
    fn run(self, kernel: &K, energy: &E, config: &SampleConfig) -> Result<Run> {
        config.check(kernel)?;
        let dim = check_starts(&self)?;
        let n_chains: usize = self.iter().map(Point::n_chains).sum();
        let mut draws = Array3::zeros((n_chains, config.n_draws, dim));
        let mut rest = draws.as_slice_mut().unwrap_or_default();
        let mut sinks = Vec::with_capacity(self.len());
        for x in &self {
            let (chains, later) = rest.split_at_mut(x.n_chains() * config.n_draws * dim);
            rest = later;
            sinks.push(Memory { chains, n_draws: config.n_draws, dim, next: 0 });
        }
        let mut run = run_points(kernel, energy, self, config, sinks)?;
        run.draws = Draws(draws);
        Ok(run)
    }

    fn run_into<D: DrawSink>(
        self,
        kernel: &K,
        energy: &E,
        config: &SampleConfig,
        make: impl Fn(usize) -> D,
    ) -> Result<Run> {
        config.check(kernel)?;
        check_starts(&self)?;
        let sinks = (0..self.len()).map(make).collect();
        run_points(kernel, energy, self, config, sinks)
    }
}

#[cfg(feature = "torch")]
mod batch {
    use super::*;
    use crate::drive::sample_batch;
    use tch::{Kind, Tensor};

    /// Draws waiting on the device before they are copied out together.
    const PENDING: usize = 64;

    /// Keeps shared handles of the draws and hands them to the sink `PENDING` at a time: one wait for the device
    /// each.
    struct BatchKeeper<D: DrawSink> {
        keeper: Keeper<D>,
        pending: Vec<Tensor>,
    }

    impl<D: DrawSink> BatchKeeper<D> {
        fn flush(&mut self) -> Result<()> {
            if self.pending.is_empty() {
                return Ok(());
            }
            let rows = self.pending.len();
            let stacked = Tensor::f_stack(&self.pending, 0)?.f_to_kind(Kind::Double)?.f_flatten(0, -1)?;
            let values: Vec<f64> = Vec::try_from(&stacked)?; // host read: draws are due
            self.pending.clear();
            values.chunks_exact(values.len() / rows).try_for_each(|row| self.keeper.sink.write(row))
        }
    }

    impl<W, I, D: DrawSink> Observer<Tensor, W, I> for BatchKeeper<D> {
        fn after_step(&mut self, state: &mut State<Tensor, W>, _info: &I) -> Result<()> {
            if self.keeper.is_due(state.step) {
                self.pending.push(state.x.shallow_clone());
                if self.pending.len() == PENDING {
                    self.flush()?;
                }
            }
            Ok(())
        }
    }

    fn check_start(x: &Tensor) -> Result<(usize, usize)> {
        let chains = x.n_chains();
        if chains == 0 || x.numel() == 0 {
            return Err(Error::bad_value("chains", 0, "at least 1", "give a tensor [chains, ..]"));
        }
        if !matches!(x.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            return Err(Error::bad_value("kind of the start", format!("{:?}", x.kind()), "a float kind", ""));
        }
        if !bool::try_from(x.f_isfinite()?.f_all()?)? {
            return Err(Error::bad_value("start points", "NaN or infinite", "finite", ""));
        }
        Ok((chains, x.numel() / chains))
    }

    fn run_tensor<K, E, D>(kernel: &K, energy: &E, x: Tensor, config: &SampleConfig, sink: D) -> Result<Run>
    where
        K: Kernel<Tensor, E>,
        E: ?Sized,
        D: DrawSink,
    {
        let n_chains = x.n_chains();
        let ticker = Ticker::new(config, 1, &Arc::default());
        let keeper = BatchKeeper { keeper: Keeper::new(config, sink), pending: Vec::new() };
        let mut observers = (config.adapter()?, Tally::<Tensor>::new(config.burn_in), keeper, ticker);
        let _ = sample_batch(kernel, energy, x, config.n_steps(), config.seed, &mut observers)?;
        observers.2.flush()?;
        let mut run = empty_run();
        observers.1.finish(n_chains, &mut run)?;
        Ok(run)
    }

    impl<K: Kernel<Tensor, E>, E: ?Sized> Starts<K, E> for Tensor {
        fn run(self, kernel: &K, energy: &E, config: &SampleConfig) -> Result<Run> {
            config.check(kernel)?;
            let (n_chains, dim) = check_start(&self)?;
            let mut draws = Array3::zeros((n_chains, config.n_draws, dim));
            let chains = draws.as_slice_mut().unwrap_or_default();
            let memory = Memory { chains, n_draws: config.n_draws, dim, next: 0 };
            let mut run = run_tensor(kernel, energy, self, config, memory)?;
            run.draws = Draws(draws);
            Ok(run)
        }

        fn run_into<D: DrawSink>(
            self,
            kernel: &K,
            energy: &E,
            config: &SampleConfig,
            make: impl Fn(usize) -> D,
        ) -> Result<Run> {
            config.check(kernel)?;
            check_start(&self)?;
            run_tensor(kernel, energy, self, config, make(0))
        }
    }
}
