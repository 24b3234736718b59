//! What surrounds the steps of a run: adaptation, counts, draws and progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ebm_core::{ChainMask, Error, Mask, Point, Result, Scalar};

use super::config::{Progress, SampleConfig};
use super::draws::{DrawSink, Memory};
use super::summary::Divergence;
use crate::archive::Archive;
use crate::kernel::{Observer, State, StepInfo};
use crate::warm_up::WarmUp;

/// Divergences kept with their positions, per point.
pub(crate) const KEPT_DIVERGENCES: usize = 100;

/// All observers of one point.
pub(crate) struct Watch<X: Point, D> {
    pub(crate) warm_up: Option<WarmUp<X>>,
    pub(crate) tally: Tally<X>,
    pub(crate) keeper: Keeper<X, D>,
    pub(crate) ticker: Ticker,
}

impl<X: Point, D: DrawSink> Watch<X, D> {
    pub(crate) fn save(&self, prefix: &str, n_chains: usize, archive: &mut Archive) -> Result<()> {
        if let Some(warm_up) = &self.warm_up {
            warm_up.save(&format!("{prefix}.warm_up"), n_chains, archive)?;
        }
        self.tally.save(&format!("{prefix}.tally"), n_chains, archive)?;
        self.keeper.save(&format!("{prefix}.keeper"), archive)
    }

    pub(crate) fn restore(&mut self, prefix: &str, x: &X, step: u64, archive: &mut Archive) -> Result<()> {
        if let Some(warm_up) = &mut self.warm_up {
            warm_up.restore(&format!("{prefix}.warm_up"), x, archive)?;
        }
        self.tally.restore(&format!("{prefix}.tally"), x, archive)?;
        self.ticker.skip(step);
        self.keeper.restore(&format!("{prefix}.keeper"), x, archive)
    }
}

impl<X: Point, W, I: StepInfo<X>, D: DrawSink> Observer<X, W, I> for Watch<X, D> {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
        self.warm_up.after_step(state, info)?;
        self.tally.after_step(state, info)?;
        self.keeper.after_step(state, info)?;
        self.ticker.after_step(state, info)
    }
}

/// Counts steps over all points and tells the callback.
pub(crate) struct Ticker {
    progress: Option<Progress>,
    done: Arc<AtomicU64>,
    total: u64,
}

/// Steps of a point between two calls of the callback.
const TICK: u64 = 100;

impl Ticker {
    pub(crate) fn new(config: &SampleConfig, n_points: usize, done: &Arc<AtomicU64>) -> Self {
        let total = config.n_steps() * n_points as u64;
        Self { progress: config.progress.clone(), done: Arc::clone(done), total }
    }

    /// Count steps that an earlier process took.
    pub(crate) fn skip(&self, n_steps: u64) {
        self.done.fetch_add(n_steps / TICK * TICK, Ordering::Relaxed);
    }

    /// A point took step number `step`, counted from 1.
    #[inline(always)]
    pub(crate) fn tick(&self, step: u64) -> Result<()> {
        let Some(Progress(tell)) = &self.progress else { return Ok(()) };
        if step.is_multiple_of(TICK) {
            let done = self.done.fetch_add(TICK, Ordering::Relaxed) + TICK;
            if !tell(done, self.total) {
                return Err(Error::stopped());
            }
        }
        Ok(())
    }
}

impl<X: Point, W, I> Observer<X, W, I> for Ticker {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, _info: &I) -> Result<()> {
        self.tick(state.step)
    }
}

/// Sums acceptance, divergences and saturated paths after burn-in, on the device where the chains are.
pub(crate) struct Tally<X: Point> {
    burn_in: u64,
    steps: u64,
    accept: Option<X::Scalar>,
    diverged: X::Scalar,
    saturated: X::Scalar,
    step_size: X::Scalar,
}

/// What a tally comes to, per chain.
pub(crate) struct Counts {
    pub(crate) acceptance: Vec<f64>,
    pub(crate) n_diverged: Vec<u64>,
    pub(crate) n_saturated: Vec<u64>,
    pub(crate) step_size: Vec<f64>,
}

impl<X: Point> Tally<X> {
    pub(crate) fn new(burn_in: usize) -> Self {
        let zero = X::Scalar::same(0.0);
        let (diverged, saturated, step_size) = (zero.clone(), zero.clone(), zero);
        Self { burn_in: burn_in as u64, steps: 0, accept: None, diverged, saturated, step_size }
    }

    pub(crate) fn counts(&self, n_chains: usize) -> Result<Counts> {
        let acceptance = match &self.accept {
            Some(sum) => sum.to_host(n_chains)?.iter().map(|a| a / self.steps as f64).collect(),
            None => vec![f64::NAN; n_chains],
        };
        let whole = |count: &X::Scalar| -> Result<Vec<u64>> {
            Ok(count.to_host(n_chains)?.iter().map(|d| *d as u64).collect())
        };
        let (n_diverged, n_saturated) = (whole(&self.diverged)?, whole(&self.saturated)?);
        Ok(Counts { acceptance, n_diverged, n_saturated, step_size: self.step_size.to_host(n_chains)? })
    }

    pub(crate) fn save(&self, prefix: &str, n_chains: usize, archive: &mut Archive) -> Result<()> {
        archive.put_count(format!("{prefix}.steps"), self.steps);
        let counts =
            [("diverged", &self.diverged), ("saturated", &self.saturated), ("step_size", &self.step_size)];
        for (name, scalar) in counts.into_iter().chain(self.accept.as_ref().map(|a| ("accept", a))) {
            archive.put_scalar(&format!("{prefix}.{name}"), scalar, n_chains)?;
        }
        Ok(())
    }

    pub(crate) fn restore(&mut self, prefix: &str, x: &X, archive: &mut Archive) -> Result<()> {
        self.steps = archive.count(&format!("{prefix}.steps"))?;
        let mut scalar = |name: &str| archive.take_scalar(&format!("{prefix}.{name}"), x);
        (self.diverged, self.saturated) = (scalar("diverged")?, scalar("saturated")?);
        self.step_size = scalar("step_size")?;
        self.accept = scalar("accept").ok();
        Ok(())
    }
}

/// `count` and one more where the mask holds.
#[inline(always)]
fn counted<S: Scalar>(count: &S, mask: &S::Mask) -> Result<S> {
    // Chosen from the count and the count plus one: a 1 and a 0 to choose from would be two more tensors in every
    // step.
    S::select(mask, &S::linear([(1.0, count), (1.0, &S::same(1.0))])?, count)
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
            self.diverged = counted(&self.diverged, diverged)?;
        }
        if let Some(saturated) = info.saturated() {
            self.saturated = counted(&self.saturated, saturated)?;
        }
        Ok(())
    }
}

/// Statistics of a draw, in the order in which a sink gets those that the kernel has.
const STATISTICS: [&str; 7] =
    ["lp", "energy", "acceptance_rate", "diverging", "tree_depth", "n_steps", "step_size"];

/// A draw that waits on the device.
struct Pending<X: Point> {
    x: X,
    statistics: [Option<X::Scalar>; STATISTICS.len()],
}

/// Hands every `thin`-th position after burn-in to a sink, with its statistics.
pub(crate) struct Keeper<X: Point, D> {
    burn_in: u64,
    thin: u64,
    n_chains: usize,
    /// Draws that may wait on the device before they are copied out together; 0 on the host.
    patience: usize,
    pending: Vec<Pending<X>>,
    /// Those of [`STATISTICS`] that there are.
    pub(crate) names: Vec<&'static str>,
    row: Vec<f64>,
    values: Vec<f64>,
    /// Which chains diverged since the last draw.
    diverged: Option<Mask<X>>,
    pub(crate) sink: D,
    pub(crate) memory: Option<Memory>,
    pub(crate) kept: Kept,
}

/// What a keeper saw pass, per chain.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) n_draws: usize,
    pub(crate) divergences: Vec<Divergence>,
    /// Draws with a coordinate that is not finite.
    pub(crate) n_not_finite: Vec<u64>,
    /// Running sums of the Hamiltonian: its last value, squared steps, mean, squared deviations from the mean.
    pub(crate) hamiltonian: Vec<[f64; 4]>,
}

impl Kept {
    fn add_hamiltonian(&mut self, values: &[f64]) {
        self.hamiltonian.resize(values.len(), [f64::NAN, 0.0, 0.0, 0.0]);
        let n = (self.n_draws + 1) as f64;
        for ([last, steps, mean, deviations], h) in self.hamiltonian.iter_mut().zip(values) {
            if self.n_draws > 0 {
                *steps += (h - *last).powi(2);
            }
            *last = *h;
            let delta = h - *mean;
            *mean += delta / n;
            *deviations += delta * (h - *mean);
        }
    }

    /// E-BFMI of each chain; NaN without a momentum or with fewer than three draws.
    pub(crate) fn e_bfmi(&self, n_chains: usize) -> Vec<f64> {
        if self.hamiltonian.is_empty() || self.n_draws < 3 {
            return vec![f64::NAN; n_chains];
        }
        self.hamiltonian.iter().map(|[_, steps, _, deviations]| steps / deviations).collect()
    }
}

impl<X: Point, D: DrawSink> Keeper<X, D> {
    pub(crate) fn new(config: &SampleConfig, n_chains: usize, patience: usize, sink: D) -> Self {
        Self {
            burn_in: config.burn_in as u64,
            thin: config.thin as u64,
            n_chains,
            patience,
            pending: Vec::new(),
            names: Vec::new(),
            row: Vec::new(),
            values: Vec::new(),
            diverged: None,
            sink,
            memory: None,
            kept: Kept { n_not_finite: vec![0; n_chains], ..Kept::default() },
        }
    }

    /// The statistics that this kernel has; none without an accept step.
    #[inline(always)]
    fn statistics<W, I: StepInfo<X>>(
        &mut self,
        state: &State<X, W>,
        info: &I,
    ) -> Result<[Option<X::Scalar>; STATISTICS.len()]> {
        let Some(accept) = info.accept_prob() else { return Ok([const { None }; STATISTICS.len()]) };
        Ok([
            Some(X::Scalar::linear([(-1.0, &state.energy)])?),
            info.hamiltonian().cloned(),
            Some(accept.clone()),
            self.diverged.take().map(|diverged| X::Scalar::of_mask(&diverged)).transpose()?,
            info.tree_depth(),
            info.n_leapfrogs(),
            Some(state.step_size.clone()),
        ])
    }

    fn write(&mut self, x: &X, statistics: &[Option<X::Scalar>]) -> Result<()> {
        let n = self.n_chains;
        self.row.resize(n * x.dim_of_chain(), 0.0);
        x.write_rows(&mut self.row)?;
        if self.names.is_empty() {
            let named = STATISTICS.iter().zip(statistics).filter(|(_, scalar)| scalar.is_some());
            self.names = named.map(|(name, _)| *name).collect();
        }
        self.values.resize(n * self.names.len(), 0.0);
        for (scalar, values) in statistics.iter().flatten().zip(self.values.chunks_exact_mut(n)) {
            scalar.write_each(values)?;
        }
        if let Some(memory) = &mut self.memory {
            memory.positions.extend_from_slice(&self.row);
            memory.statistics.extend_from_slice(&self.values);
        }
        self.sink.write(&self.row)?;
        if !self.names.is_empty() {
            self.sink.write_statistics(&self.names, &self.values)?;
        }
        self.look();
        self.kept.n_draws += 1;
        Ok(())
    }

    /// What the summary needs of the draw just written.
    fn look(&mut self) {
        let dim = self.row.len() / self.n_chains;
        for (chain, row) in self.row.chunks_exact(dim).enumerate() {
            self.kept.n_not_finite[chain] += u64::from(!row.iter().all(|x| x.is_finite()));
        }
        for (name, values) in self.names.iter().zip(self.values.chunks_exact(self.n_chains)) {
            match *name {
                "energy" => self.kept.add_hamiltonian(values),
                "diverging" => {
                    for (chain, _) in values.iter().enumerate().filter(|(_, v)| **v == 1.0) {
                        if self.kept.divergences.len() < KEPT_DIVERGENCES {
                            let position = self.row[chain * dim..(chain + 1) * dim].to_vec();
                            self.kept.divergences.push(Divergence {
                                chain,
                                draw: self.kept.n_draws,
                                position,
                            });
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Copy out what waits, and have the sink make it safe.
    pub(crate) fn flush(&mut self) -> Result<()> {
        for draw in std::mem::take(&mut self.pending) {
            self.write(&draw.x, &draw.statistics)?;
        }
        self.sink.flush()
    }

    pub(crate) fn save(&self, prefix: &str, archive: &mut Archive) -> Result<()> {
        let (kept, has) = (&self.kept, |name: &&str| self.names.contains(name));
        let names = STATISTICS.iter().enumerate().filter(|(_, name)| has(name));
        archive.put_count(format!("{prefix}.statistics"), names.map(|(i, _)| 1 << i).sum());
        if let Some(memory) = &self.memory {
            archive.put(format!("{prefix}.draws"), memory.positions.clone());
            archive.put(format!("{prefix}.values"), memory.statistics.clone());
        }
        archive.put_count(format!("{prefix}.n_draws"), kept.n_draws as u64);
        archive.put(format!("{prefix}.hamiltonian"), kept.hamiltonian.as_flattened().to_vec());
        archive.put(format!("{prefix}.not_finite"), kept.n_not_finite.iter().map(|n| *n as f64).collect());
        archive.put_divergences(prefix, &kept.divergences);
        let Some(diverged) = &self.diverged else { return Ok(()) };
        archive.put_scalar(&format!("{prefix}.diverged_since"), &X::Scalar::of_mask(diverged)?, self.n_chains)
    }

    pub(crate) fn restore(&mut self, prefix: &str, x: &X, archive: &mut Archive) -> Result<()> {
        if let Ok(diverged) = archive.take_scalar(&format!("{prefix}.diverged_since"), x) {
            self.diverged = Some(X::Scalar::same(0.5).less_than(&diverged)?);
        }
        let bits = archive.count(&format!("{prefix}.statistics"))?;
        let named = STATISTICS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
        self.names = named.map(|(_, name)| *name).collect();
        if let Some(memory) = &mut self.memory {
            memory.positions = archive.take(&format!("{prefix}.draws"))?;
            memory.statistics = archive.take(&format!("{prefix}.values"))?;
        }
        let kept = &mut self.kept;
        kept.n_draws = archive.count(&format!("{prefix}.n_draws"))? as usize;
        kept.hamiltonian = archive.take(&format!("{prefix}.hamiltonian"))?.as_chunks().0.to_vec();
        let not_finite = archive.take(&format!("{prefix}.not_finite"))?;
        kept.n_not_finite = not_finite.iter().map(|n| *n as u64).collect();
        kept.divergences = archive.take_divergences(prefix)?;
        self.sink.resume_at(self.kept.n_draws)
    }
}

impl<X: Point, W, I: StepInfo<X>, D: DrawSink> Observer<X, W, I> for Keeper<X, D> {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
        if state.step <= self.burn_in {
            return Ok(());
        }
        if let Some(diverged) = info.diverged() {
            self.diverged = Some(match &self.diverged {
                Some(before) if self.thin > 1 => before.either(diverged)?,
                _ => diverged.clone(),
            });
        }
        if !(state.step - self.burn_in).is_multiple_of(self.thin) {
            return Ok(());
        }
        let statistics = self.statistics(state, info)?;
        if self.patience == 0 {
            return self.write(&state.x, &statistics);
        }
        let mut x = state.x.take_scratch()?;
        x.set_from(&state.x)?;
        self.pending.push(Pending { x, statistics });
        if self.pending.len() == self.patience {
            for draw in std::mem::take(&mut self.pending) {
                self.write(&draw.x, &draw.statistics)?;
            }
        }
        Ok(())
    }
}
