//! A sampler under way: run it, stop it, save it, go on, finish it.

use std::any::type_name;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ebm_core::{Error, Point, Result, StepRng};

use super::config::SampleConfig;
use super::draws::{DrawSink, Memory, NoSink, gather};
use super::observe::{Keeper, Tally, Ticker, Watch};
use super::summary::{Failure, Summary, Warning};
use super::{Run, Starts};
use crate::archive::Archive;
use crate::drive::take_steps;
use crate::guard::catch_panic;
use crate::kernel::{Kernel, State};

/// One point under way. Its state is made when it first runs, so that chains start side by side.
struct RunningPoint<X: Point, W, D> {
    start: Option<X>,
    state: Option<State<X, W>>,
    rng: X::Rng,
    watch: Watch<X, D>,
    /// Its chains, counted over the run.
    chains: std::ops::Range<usize>,
    failure: Option<Failure>,
}

impl<X: Point, W, D: DrawSink> RunningPoint<X, W, D> {
    fn begin<E: ?Sized, K: Kernel<X, E, Work = W>>(
        &mut self,
        kernel: &K,
        energy: &E,
        config: &SampleConfig,
    ) -> Result<()> {
        if let Some(x) = self.start.take() {
            let mut state = kernel.init(energy, x)?;
            config.set_metric(&mut state)?;
            self.state = Some(state);
        }
        Ok(())
    }

    fn step(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.step)
    }

    /// Take steps until `n_steps` are taken in all, it fails, or the progress callback stops it. A panic of the
    /// energy is a failure of this point alone.
    fn run_to<E: ?Sized, K: Kernel<X, E, Work = W>>(
        &mut self,
        kernel: &K,
        energy: &E,
        config: &SampleConfig,
        n_steps: u64,
    ) {
        if self.failure.is_some() {
            return;
        }
        let end = catch_panic(|| {
            self.begin(kernel, energy, config)?;
            let Some(state) = &mut self.state else { return Ok(()) };
            let missing = n_steps.saturating_sub(state.step);
            take_steps(kernel, energy, state, &mut self.rng, missing, &mut self.watch)
        });
        // What was drawn before any trouble is handed over all the same.
        let flushed = self.watch.keeper.flush();
        if let Err(error) = end.and(flushed)
            && !error.is_stopped()
        {
            let (chains, seed, step) = (self.chains.clone(), config.seed, self.step());
            self.failure = Some(Failure { chains, seed, step, message: error.to_string() });
        }
    }

    fn save<E: ?Sized, K: Kernel<X, E, Work = W>>(
        &mut self,
        kernel: &K,
        prefix: &str,
        archive: &mut Archive,
    ) -> Result<()> {
        self.watch.keeper.flush()?;
        if let Some(failure) = &self.failure {
            return Err(failure.not_saved());
        }
        let Some(state) = &mut self.state else { return Ok(()) };
        let n = state.x.n_chains();
        archive.put(format!("{prefix}.x"), state.x.to_rows()?);
        archive.put(format!("{prefix}.grad"), state.grad.to_rows()?);
        archive.put_scalar(&format!("{prefix}.energy"), &state.energy, n)?;
        archive.put_scalar(&format!("{prefix}.step_size"), &state.step_size, n)?;
        state.metric.save(&format!("{prefix}.metric"), archive)?;
        if state.step > 0 {
            for (i, carried) in kernel.carried(&mut state.work).into_iter().enumerate() {
                archive.put(format!("{prefix}.carried.{i}"), carried.to_rows()?);
            }
        }
        archive.put_count(format!("{prefix}.step"), state.step);
        archive.put_position(prefix, self.rng.position());
        self.watch.save(prefix, n, archive)
    }

    fn restore<E: ?Sized, K: Kernel<X, E, Work = W>>(
        &mut self,
        kernel: &K,
        energy: &E,
        config: &SampleConfig,
        prefix: &str,
        archive: &mut Archive,
    ) -> Result<()> {
        let Ok(step) = archive.count(&format!("{prefix}.step")) else { return Ok(()) };
        self.begin(kernel, energy, config)?;
        let Some(state) = &mut self.state else { return Ok(()) };
        state.x = state.x.with_rows(&archive.take(&format!("{prefix}.x"))?)?;
        state.grad = state.x.with_rows(&archive.take(&format!("{prefix}.grad"))?)?;
        state.energy = archive.take_scalar(&format!("{prefix}.energy"), &state.x)?;
        state.step_size = archive.take_scalar(&format!("{prefix}.step_size"), &state.x)?;
        state.metric.restore(&format!("{prefix}.metric"), &state.x, archive)?;
        state.step = step;
        if step > 0 {
            for (i, carried) in kernel.carried(&mut state.work).into_iter().enumerate() {
                *carried = state.x.with_rows(&archive.take(&format!("{prefix}.carried.{i}"))?)?;
            }
        }
        self.rng.go_to(archive.position(prefix)?);
        self.watch.restore(prefix, &state.x, step, archive)
    }
}

/// A sampler under way, over all its points. [`sample`](crate::sample) makes one, runs it and finishes it; make
/// your own to run in pieces, or to save it and go on in another process, with the same draws as without the
/// interruption.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Hmc, SampleConfig, Sampler, sample};
/// let (kernel, target, config) = (Hmc::new(0.3, 4), Gaussian::standard(2)?, SampleConfig::default());
/// let starts = || vec![vec![0.0f64; 2]; 3];
/// let folder = tempfile::tempdir().map_err(ebm_core::Error::user)?;
/// let file = folder.path().join("sampler");
///
/// let mut first = Sampler::new(&kernel, &target, starts(), &config)?;
/// first.run_to(700);
/// first.save(&file)?;
///
/// let mut second = Sampler::new(&kernel, &target, starts(), &config)?;
/// second.restore(&file)?;
/// second.run();
/// let uninterrupted = sample(&kernel, &target, starts(), &config)?;
/// assert_eq!(second.finish()?.draws, uninterrupted.draws);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub struct Sampler<'a, K, E, S, D = NoSink>
where
    E: ?Sized,
    S: Starts<K, E>,
    K: Kernel<S::Point, E>,
{
    kernel: &'a K,
    energy: &'a E,
    config: SampleConfig,
    points: Vec<RunningPoint<S::Point, K::Work, D>>,
    starts: PhantomData<fn(S)>,
}

impl<'a, K, E, S> Sampler<'a, K, E, S, NoSink>
where
    E: ?Sized,
    S: Starts<K, E>,
    K: Kernel<S::Point, E>,
{
    /// A sampler at its starts; its draws are kept in memory.
    ///
    /// # Errors
    /// No chains, start points of different lengths or with non-finite coordinates, impossible settings.
    pub fn new(kernel: &'a K, energy: &'a E, starts: S, config: &SampleConfig) -> Result<Self> {
        let mut sampler = Sampler::into_sinks(kernel, energy, starts, config, |_| NoSink)?;
        for point in &mut sampler.points {
            let dim = point.start.as_ref().map_or(0, Point::dim_of_chain);
            point.watch.keeper.memory = Some(Memory::for_draws(point.chains.len() * config.n_draws * dim));
        }
        Ok(sampler)
    }
}

impl<'a, K, E, S, D> Sampler<'a, K, E, S, D>
where
    E: ?Sized,
    S: Starts<K, E>,
    K: Kernel<S::Point, E>,
    D: DrawSink,
{
    /// A sampler at its starts; `make(i)` builds the sink that the draws of point `i` go to.
    ///
    /// # Errors
    /// As [`Sampler::new`].
    pub fn into_sinks(
        kernel: &'a K,
        energy: &'a E,
        starts: S,
        config: &SampleConfig,
        make: impl Fn(usize) -> D,
    ) -> Result<Self> {
        config.check(kernel)?;
        let starts = starts.into_points()?;
        let (n_points, done) = (starts.len(), Arc::new(AtomicU64::new(0)));
        let mut points = Vec::with_capacity(n_points);
        let mut first = 0;
        for (i, x) in starts.into_iter().enumerate() {
            let chains = first..first + x.n_chains();
            first = chains.end;
            let watch = Watch {
                warm_up: config.warm_up(&x)?,
                tally: Tally::new(config.burn_in),
                keeper: Keeper::new(config, chains.len(), S::PATIENCE, make(i)),
                ticker: Ticker::new(config, n_points, &done),
            };
            let rng = S::rng(config.seed, i);
            points.push(RunningPoint { start: Some(x), state: None, rng, watch, chains, failure: None });
        }
        Ok(Self { kernel, energy, config: config.clone(), points, starts: PhantomData })
    }

    /// Take all points to `n_steps` steps in all, burn-in included, at most to the end of the run. Trouble ends the
    /// chains of its point and stands in the summary; the progress callback may stop earlier.
    pub fn run_to(&mut self, n_steps: u64) {
        let (config, n_steps) = (&self.config, n_steps.min(self.config.n_steps()));
        S::for_each(self.kernel, self.energy, &mut self.points, |kernel, energy, point| {
            point.run_to(kernel, energy, config, n_steps);
        });
    }

    /// [`Sampler::run_to`] the end.
    pub fn run(&mut self) {
        self.run_to(u64::MAX);
    }

    /// Whether every point has taken all its steps or failed.
    pub fn is_done(&self) -> bool {
        self.points.iter().all(|point| point.failure.is_some() || point.step() >= self.config.n_steps())
    }

    /// Save all that the rest of the run depends on, with the draws that are in memory; what went to sinks is theirs
    /// to keep. The file is replaced whole, or not at all.
    ///
    /// # Errors
    /// When the file cannot be written, or a point has failed.
    pub fn save(&mut self, path: &Path) -> Result<()>
    where
        K: Debug,
    {
        let mut archive = Archive::of(self.settings());
        for (i, point) in self.points.iter_mut().enumerate() {
            point.save(self.kernel, &i.to_string(), &mut archive)?;
        }
        archive.write(path)
    }

    /// Go on where a sampler of the same kernel, starts and settings was saved. Sinks are asked to go back to the
    /// draws they had then ([`DrawSink::resume_at`]).
    ///
    /// # Errors
    /// When the file is no saved sampler, or one with other settings: the error names both.
    pub fn restore(&mut self, path: &Path) -> Result<()>
    where
        K: Debug,
    {
        let mut archive = Archive::read_for(path, &self.settings())?;
        for (i, point) in self.points.iter_mut().enumerate() {
            point.restore(self.kernel, self.energy, &self.config, &i.to_string(), &mut archive)?;
        }
        Ok(())
    }

    fn settings(&self) -> String
    where
        K: Debug,
    {
        let chains = self.points.last().map_or(0, |point| point.chains.end);
        let of = type_name::<S::Point>();
        format!("{:?}; {}; {chains} chains of {of}", self.kernel, self.config.fingerprint())
    }

    /// The draws up to where the sampler is, and what they say about themselves.
    ///
    /// # Errors
    /// When no point has a draw: why the first failed, or that the run was stopped.
    pub fn finish(self) -> Result<Run> {
        let n_steps = self.config.n_steps() - self.config.burn_in as u64;
        let mut summary = Summary { n_steps, ..Summary::default() };
        let (mut memories, mut n_draws, mut dim) = (Vec::new(), self.config.n_draws, 0);
        let mut names = Vec::new();
        for point in self.points {
            if let Some(failure) = point.failure {
                summary.failures.push(failure);
                continue;
            }
            let Watch { tally, keeper, .. } = point.watch;
            dim = point.state.as_ref().map_or(dim, |state| state.x.dim_of_chain());
            n_draws = n_draws.min(keeper.kept.n_draws);
            summary.add(tally.counts(point.chains.len())?, keeper.kept);
            memories.extend(keeper.memory.map(|memory| (point.chains.len(), memory)));
            names = keeper.names;
        }
        if let (0, Some(failure)) = (summary.acceptance.len(), summary.failures.first()) {
            return Err(Error::user(failure.to_string()));
        }
        if n_draws == 0 {
            return Err(Error::stopped());
        }
        if n_draws < self.config.n_draws {
            summary.warnings.push(Warning::Interrupted { n_draws, of: self.config.n_draws });
        }
        let draws = gather(memories, &names, n_draws, dim);
        if self.config.diagnostics && !draws.array().is_empty() {
            summary.diagnose(draws.array())?;
        }
        summary.warn();
        Ok(Run { draws, summary })
    }
}
