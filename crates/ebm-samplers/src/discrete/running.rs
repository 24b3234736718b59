//! Discrete chains under way: run them, stop them, save them, go on, finish them.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ebm_core::random::{Purpose, Stream};
use ebm_core::{DiscreteEnergy, Error, Result, StepRng, check_state};
use ndarray::{Array2, Array3, ArrayView2};
use rayon::prelude::*;

use super::DiscreteKernel;
use super::record::{Record, STATISTICS};
use crate::archive::Archive;
use crate::guard::catch_panic;
use crate::sample::observe::Ticker;
use crate::{Failure, SampleConfig, Summary, Warning};

/// What came out of [`sample_discrete`].
#[derive(Clone, Debug)]
pub struct DiscreteRun {
    /// `[chain, draw, variable]`.
    pub draws: Array3<u8>,
    /// What they say about themselves. Print it.
    pub summary: Summary,
    statistics: Vec<(&'static str, Array2<f64>)>,
}

impl DiscreteRun {
    /// One statistic, `[chain, draw]`, by ArviZ's name: `lp` (minus the energy), `acceptance_rate`, `diverging` (0 or 1;
    /// of any step since the draw before). `None` where the kernel has no such thing.
    pub fn statistic(&self, name: &str) -> Option<ArrayView2<'_, f64>> {
        self.statistics.iter().find(|(n, _)| *n == name).map(|(_, values)| values.view())
    }

    /// All statistics, `[chain, draw]` each, by name.
    pub fn statistics(&self) -> impl Iterator<Item = (&'static str, ArrayView2<'_, f64>)> {
        self.statistics.iter().map(|(name, values)| (*name, values.view()))
    }
}

/// Run a chain from each start: `burn_in` steps, then `n_draws` draws with `thin` steps before each. Chain `i` draws
/// from the stream (seed, chain, `i`), so results do not depend on the number of threads.
///
/// Diverging steps are counted in the summary, not errors. An energy that panics ends its chain: the others' draws are
/// returned, and the failure stands in the summary with the chain and the seed. A run that the progress callback stops
/// returns its draws so far.
///
/// # Errors
/// What the kernel's settings are wrong about, no chain, no draw, `thin` 0, settings of continuous points, a start that
/// is no state of the energy or has no finite energy; why the first chain failed if every one did;
/// [`Error::is_stopped`] if stopped before a draw.
pub fn sample_discrete<K, E>(
    kernel: &K,
    energy: &E,
    starts: &[Vec<u8>],
    config: &SampleConfig,
) -> Result<DiscreteRun>
where
    E: DiscreteEnergy + ?Sized,
    K: DiscreteKernel<E> + Sync,
{
    let mut sampler = DiscreteSampler::new(kernel, energy, starts, config)?;
    sampler.run();
    sampler.finish()
}

/// One chain under way. Its scratch is made when it first runs, so that chains start side by side.
struct RunningChain<W> {
    x: Vec<u8>,
    work: Option<W>,
    rng: Stream,
    step: u64,
    record: Record,
    ticker: Ticker,
    /// Its number in the run.
    chain: Range<usize>,
    failure: Option<Failure>,
}

impl<W> RunningChain<W> {
    /// Take steps until `n_steps` are taken in all, it fails, or the progress callback stops it. A panic of the
    /// energy is a failure of this chain alone.
    fn run_to<E, K>(&mut self, kernel: &K, energy: &E, seed: u64, n_steps: u64)
    where
        E: DiscreteEnergy + ?Sized,
        K: DiscreteKernel<E, Work = W>,
    {
        if self.failure.is_some() {
            return;
        }
        let end = catch_panic(|| {
            let Self { x, work, rng, step, record, ticker, .. } = self;
            let work = work.get_or_insert_with(|| kernel.resume(energy, x, *step));
            while *step < n_steps {
                let info = kernel.step(energy, x, work, rng);
                *step += 1;
                record.after_step(*step, x, info, || kernel.current_energy(energy, x, work));
                ticker.tick(*step)?;
            }
            Ok(())
        });
        if let Err(error) = end
            && !error.is_stopped()
        {
            self.fail(seed, &error);
        }
    }

    fn fail(&mut self, seed: u64, error: &Error) {
        let (chains, step) = (self.chain.clone(), self.step);
        self.failure = Some(Failure { chains, seed, step, message: error.to_string() });
    }

    fn save(&self, prefix: &str, archive: &mut Archive) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.not_saved());
        }
        archive.put_bytes(format!("{prefix}.x"), self.x.clone());
        archive.put_count(format!("{prefix}.step"), self.step);
        archive.put_position(prefix, self.rng.position());
        self.record.save(prefix, archive);
        Ok(())
    }

    fn restore<E: DiscreteEnergy + ?Sized>(
        &mut self,
        energy: &E,
        prefix: &str,
        archive: &mut Archive,
    ) -> Result<()> {
        self.x = archive.take_bytes(&format!("{prefix}.x"))?;
        check_state(energy, &format!("{prefix}.x"), &self.x)?;
        self.step = archive.count(&format!("{prefix}.step"))?;
        self.rng.go_to(archive.position(prefix)?);
        self.work = None;
        self.ticker.skip(self.step);
        self.record.restore(prefix, archive)
    }
}

/// Discrete chains under way. [`sample_discrete`] makes one, runs it and finishes it; make your own to run in pieces, or
/// to save it and go on in another process, with the same draws as without the interruption.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Dmala, DiscreteSampler, SampleConfig, sample_discrete};
/// let (kernel, lattice) = (Dmala::new(0.3), IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?);
/// let (config, starts) = (SampleConfig::default(), vec![vec![0; 16], vec![1; 16]]);
/// let folder = tempfile::tempdir().map_err(ebm_core::Error::user)?;
/// let file = folder.path().join("sampler");
///
/// let mut first = DiscreteSampler::new(&kernel, &lattice, &starts, &config)?;
/// first.run_to(700);
/// first.save(&file)?;
///
/// let mut second = DiscreteSampler::new(&kernel, &lattice, &starts, &config)?;
/// second.restore(&file)?;
/// second.run();
/// let uninterrupted = sample_discrete(&kernel, &lattice, &starts, &config)?;
/// assert_eq!(second.finish()?.draws, uninterrupted.draws);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub struct DiscreteSampler<'a, K, E>
where
    E: DiscreteEnergy + ?Sized,
    K: DiscreteKernel<E>,
{
    kernel: &'a K,
    energy: &'a E,
    config: SampleConfig,
    chains: Vec<RunningChain<K::Work>>,
}

impl<'a, K, E> DiscreteSampler<'a, K, E>
where
    E: DiscreteEnergy + ?Sized,
    K: DiscreteKernel<E>,
{
    /// A sampler at its starts; its draws are kept in memory.
    ///
    /// # Errors
    /// What the kernel's settings are wrong about, no chain, no draw, `thin` 0, settings of continuous points, a start
    /// that is no state of the energy or has no finite energy.
    pub fn new(kernel: &'a K, energy: &'a E, starts: &[Vec<u8>], config: &SampleConfig) -> Result<Self> {
        if starts.is_empty() {
            return Err(Error::bad_value("n_chains", 0, "at least 1", ""));
        }
        config.check_discrete()?;
        let n = energy.n_variables();
        if n == 0 || !(2..=256).contains(&energy.n_states()) {
            let found = format_args!("{n} of {} states", energy.n_states());
            return Err(Error::bad_value("variables", found, "at least 1, of 2 to 256 states", ""));
        }
        kernel.check(energy)?;
        let done = Arc::new(AtomicU64::new(0));
        let mut chains = Vec::with_capacity(starts.len());
        for (i, x) in starts.iter().enumerate() {
            check_state(energy, &format!("starts[{i}]"), x)?;
            let mut chain = RunningChain {
                x: x.clone(),
                work: None,
                rng: Stream::new(config.seed, Purpose::Chain, i as u64),
                step: 0,
                record: Record::new(config, n),
                ticker: Ticker::new(config, starts.len(), &done),
                chain: i..i + 1,
                failure: None,
            };
            match catch_panic(|| Ok(energy.energy(x))) {
                Ok(value) if value.is_finite() => {}
                Ok(value) => {
                    return Err(Error::bad_value(format!("energy of starts[{i}]"), value, "finite", ""));
                }
                Err(panic) => chain.fail(config.seed, &panic),
            }
            chains.push(chain);
        }
        Ok(Self { kernel, energy, config: config.clone(), chains })
    }

    /// Take all chains to `n_steps` steps in all, burn-in included, at most to the end of the run. Trouble ends its
    /// chain and stands in the summary; the progress callback may stop earlier.
    pub fn run_to(&mut self, n_steps: u64)
    where
        K: Sync,
    {
        let n_steps = n_steps.min(self.config.n_steps());
        let (kernel, energy, seed) = (self.kernel, self.energy, self.config.seed);
        self.chains.par_iter_mut().for_each(|chain| chain.run_to(kernel, energy, seed, n_steps));
    }

    /// [`DiscreteSampler::run_to`] the end.
    pub fn run(&mut self)
    where
        K: Sync,
    {
        self.run_to(u64::MAX);
    }

    /// Whether every chain has taken all its steps or failed.
    pub fn is_done(&self) -> bool {
        self.chains.iter().all(|chain| chain.failure.is_some() || chain.step >= self.config.n_steps())
    }

    /// Save all that the rest of the run depends on, with the draws so far. The file is replaced whole, or not at all.
    ///
    /// # Errors
    /// When the file cannot be written, or a chain has failed.
    pub fn save(&self, path: &Path) -> Result<()>
    where
        K: Debug,
    {
        let mut archive = Archive::of(self.settings());
        for (i, chain) in self.chains.iter().enumerate() {
            chain.save(&i.to_string(), &mut archive)?;
        }
        archive.write(path)
    }

    /// Go on where a sampler of the same kernel, energy and settings was saved.
    ///
    /// # Errors
    /// When the file is no saved sampler, or one with other settings: the error names both.
    pub fn restore(&mut self, path: &Path) -> Result<()>
    where
        K: Debug,
    {
        let mut archive = Archive::read_for(path, &self.settings())?;
        for (i, chain) in self.chains.iter_mut().enumerate() {
            chain.restore(self.energy, &i.to_string(), &mut archive)?;
        }
        Ok(())
    }

    fn settings(&self) -> String
    where
        K: Debug,
    {
        let (n_chains, n, k) = (self.chains.len(), self.energy.n_variables(), self.energy.n_states());
        let config = self.config.fingerprint();
        format!("{:?}; {config}; {n_chains} chains of {n} variables of {k} states", self.kernel)
    }

    /// The draws up to where the sampler is, and what they say about themselves.
    ///
    /// # Errors
    /// When no chain has a draw: why the first failed, or that the run was stopped.
    pub fn finish(self) -> Result<DiscreteRun> {
        let n_steps = self.config.n_steps() - self.config.burn_in as u64;
        let mut summary = Summary { n_steps, discrete: true, ..Summary::default() };
        let mut records = Vec::with_capacity(self.chains.len());
        for mut chain in self.chains {
            match chain.failure {
                Some(failure) => summary.failures.push(failure),
                None => {
                    let (counts, kept) = chain.record.counts();
                    summary.add(counts, kept);
                    records.push(chain.record);
                }
            }
        }
        if let (true, Some(failure)) = (records.is_empty(), summary.failures.first()) {
            return Err(Error::user(failure.to_string()));
        }
        let n_draws = records.iter().map(Record::n_draws).min().unwrap_or(0);
        if n_draws == 0 {
            return Err(Error::stopped());
        }
        if n_draws < self.config.n_draws {
            summary.warnings.push(Warning::Interrupted { n_draws, of: self.config.n_draws });
        }
        let (draws, statistics) = gather(records, n_draws, self.energy.n_variables())?;
        if self.config.diagnostics {
            summary.diagnose_discrete(draws.view(), statistics[0].1.view())?;
        }
        summary.warn();
        Ok(DiscreteRun { draws, summary, statistics })
    }
}

/// A statistic of all draws, `[chain, draw]`, by name.
type Statistic = (&'static str, Array2<f64>);

/// Put the chains together, the first `n_draws` draws of each. Statistics that no draw has are left out.
fn gather(records: Vec<Record>, n_draws: usize, n: usize) -> Result<(Array3<u8>, Vec<Statistic>)> {
    let n_chains = records.len();
    let mut statistics = Vec::with_capacity(STATISTICS.len());
    for (i, name) in STATISTICS.into_iter().enumerate() {
        let values = records.iter().flat_map(|record| &record.statistics[i][..n_draws]).copied().collect();
        let values = Array2::from_shape_vec((n_chains, n_draws), values).map_err(Error::user)?;
        if name == "lp" || !values.iter().all(|value| value.is_nan()) {
            statistics.push((name, values));
        }
    }
    let mut draws = Vec::with_capacity(n_chains * n_draws * n);
    records.into_iter().for_each(|record| draws.extend_from_slice(&record.draws[..n_draws * n]));
    Ok((Array3::from_shape_vec((n_chains, n_draws, n), draws).map_err(Error::user)?, statistics))
}
