//! What the training of most experiments has in common: the table `[trainer]`, and one run of the trainer with its
//! progress bar, logs, checkpoints, resume and events.

use std::fs;
use std::path::Path;

use ebm_core::Schedule;
use ebm_core::torch::Params;
use ebm_train::logs::{JsonlWriter, LogSink, Loggers};
use ebm_train::optim::OptimizerConfig;
use ebm_train::{
    BatchSource, Checkpoints, Limits, Objective, Outcome, TrainObserver, Trainer, TrainerConfig,
};
use serde::Deserialize;
use serde_json::Value;
use tch::Tensor;

use crate::run::{Progress, Run};

/// `[trainer]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerSection {
    /// Optimiser steps.
    pub n_steps: u64,
    /// Items in a batch.
    pub batch_size: usize,
    /// Learning rate.
    pub learning_rate: Schedule,
    /// Batches whose gradients are averaged before each step.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// Clip gradients to this norm.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// Average the weights.
    #[serde(default)]
    pub ema_decay: Option<f64>,
    /// Steps between rows of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept.
    pub keep_last: usize,
    /// The divergence watch.
    #[serde(default)]
    pub limits: Limits,
}

fn one() -> u64 {
    1
}

impl TrainerSection {
    /// The trainer's settings.
    pub fn config(&self, optimizer: &OptimizerConfig) -> TrainerConfig {
        TrainerConfig {
            n_steps: self.n_steps,
            learning_rate: self.learning_rate.clone(),
            optimizer: optimizer.clone(),
            clip_norm: self.clip_norm,
            accumulate: self.accumulate,
            ema_decay: self.ema_decay,
            log_every: self.log_every,
            checkpoint_every: self.checkpoint_every,
            limits: self.limits.clone(),
        }
    }
}

/// A PNG of images `[n, c, h, w]`.
pub type Grid = fn(&Tensor) -> anyhow::Result<Vec<u8>>;

/// One training run of an experiment.
pub struct Training<'a> {
    /// What it is called in the progress bar, in events, and (of a control) in files.
    pub label: &'a str,
    /// A control has a folder of checkpoints and a file `<label>.jsonl` of its own; the run's log is the model's.
    pub is_control: bool,
    /// The trainer's settings.
    pub config: TrainerConfig,
    /// Whatever else fixes the run.
    pub identity: &'a str,
    /// Checkpoints kept.
    pub keep_last: usize,
    /// Makes a PNG of the objective's images.
    pub grid: Grid,
}

impl Training<'_> {
    /// Trains to the end, or goes on from the newest checkpoint where a resume was asked for. At the end averaged
    /// weights, if there are any, are the model's.
    ///
    /// # Errors
    /// What the trainer returns.
    pub fn run<M: ?Sized, O: Objective<M>>(
        self,
        model: &M,
        params: &Params,
        objective: &mut O,
        source: &mut dyn BatchSource,
        run: &mut Run,
    ) -> anyhow::Result<Outcome> {
        let Self { label, is_control, config, identity, keep_last, grid } = self;
        let folder = run.checkpoints_dir();
        let folder = if is_control { folder.join(label) } else { folder };
        let n_steps = config.n_steps;
        let mut trainer = Trainer::new(config, identity, run.seed(), model, params, objective)?
            .with_checkpoints(Checkpoints::new(folder, keep_last)?);
        let first = if run.resume() { trainer.resume(run.force())? } else { 0 };
        let resumed = (first > 0).then_some(first);
        let loggers = if is_control {
            let path = run.out().join(format!("{label}.jsonl"));
            let rows =
                resumed.map_or_else(|| JsonlWriter::create(&path), |s| JsonlWriter::resume(&path, s))?;
            Loggers(vec![Box::new(rows)])
        } else {
            run.open_loggers(resumed)?
        };
        let mut watcher = Watcher { progress: run.progress(label, n_steps, first), loggers, grid };
        let stop = run.stop_flag();
        let outcome = trainer.run(source, &mut watcher, &stop)?;
        for event in trainer.events() {
            run.report.event(event.step, &event.kind, &format!("{label}: {}", event.detail));
        }
        if trainer.ema_weights().is_some() && outcome == Outcome::Complete {
            params.load(&trainer.weights())?;
        }
        Ok(outcome)
    }
}

/// Shows progress, writes logs.
struct Watcher {
    progress: Progress,
    loggers: Loggers,
    grid: Grid,
}

impl TrainObserver for Watcher {
    fn log(&mut self, step: u64, values: &[(&str, f64)]) -> ebm_core::Result<()> {
        self.progress.update(step, values.first().map(|(_, loss)| *loss));
        self.loggers.scalars(step, values)?;
        self.loggers.flush()
    }

    fn images(&mut self, step: u64, name: &str, images: &Tensor) -> ebm_core::Result<()> {
        let png = (self.grid)(images).map_err(|e| ebm_core::Error::user(e.to_string()))?;
        self.loggers.image(step, name, &png)
    }

    fn rewind(&mut self, step: u64) -> ebm_core::Result<()> {
        self.loggers.rewind(step)
    }
}

/// The rows of a log.
pub struct History(Vec<Value>);

impl History {
    /// Reads `metrics.jsonl`, or a control's `<label>.jsonl`; a file that is not there has no rows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
        Ok(Self(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
    }

    /// `(x, y)` of every row that has an `x` (`step` or `wall_s`); a `y` that is missing or null is not a number.
    pub fn points(&self, x: &str, y: &str) -> Vec<(f64, f64)> {
        let point = |row: &Value| Some((row[x].as_f64()?, row[y].as_f64().unwrap_or(f64::NAN)));
        self.0.iter().filter_map(point).collect()
    }

    /// The largest magnitude of `name` after step `from`; a value that is not a number counts as infinite.
    pub fn largest(&self, name: &str, from: f64) -> f64 {
        let after = self.points("step", name).into_iter().filter(|(step, _)| *step > from);
        after.map(|(_, v)| if v.is_nan() { f64::INFINITY } else { v.abs() }).fold(0.0, f64::max)
    }
}
