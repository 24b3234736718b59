//! Training of JEM and of its twin.

use std::sync::Arc;

use ebm_core::torch::Params;
use ebm_datasets::{Augment, BatchConfig};
use ebm_models::jem::{JemNet, JemObjective, JemWeights, PairedSource};
use ebm_samplers::ReplayBuffer;
use ebm_train::logs::{LogSink, Loggers};
use ebm_train::objectives::PersistentContrastiveDivergence;
use ebm_train::{Checkpoints, Outcome, TrainObserver, Trainer, TrainerConfig, tensors};
use tch::Tensor;

use super::Trained;
use super::config::Config;
use super::data::Data;
use super::figures;
use crate::run::{Progress, Run};
use crate::usage::usage;

/// Shows progress, writes logs.
struct Watcher {
    progress: Progress,
    loggers: Loggers,
}

impl TrainObserver for Watcher {
    fn log(&mut self, step: u64, values: &[(&str, f64)]) -> ebm_core::Result<()> {
        self.progress.update(step, values.first().map(|(_, loss)| *loss));
        self.loggers.scalars(step, values)?;
        self.loggers.flush()
    }

    fn images(&mut self, step: u64, name: &str, images: &Tensor) -> ebm_core::Result<()> {
        let png = figures::grid(images, 8).map_err(|e| ebm_core::Error::user(e.to_string()))?;
        self.loggers.image(step, name, &png)
    }

    fn rewind(&mut self, step: u64) -> ebm_core::Result<()> {
        self.loggers.rewind(step)
    }
}

/// Train JEM, or load it when `--weights` was given (then there is no buffer).
pub fn jem(
    config: &Config,
    data: &Data,
    run: &mut Run,
) -> anyhow::Result<(Trained, Option<JemObjective>, Outcome)> {
    let mut params = Params::new(run.seed(), run.device());
    let net = JemNet::new(&config.model, &mut params)?;
    if let Some(path) = run.weights() {
        // Wrong weights are a mistake of whoever typed them, not a crash.
        let load = || params.load(&tensors::load(path)?);
        load().map_err(|e| usage(format!("--weights {}: {e}", path.display())))?;
        return Ok((Trained { params, net }, None, Outcome::Complete));
    }
    let mut objective = objective(config, config.weights(), config.sampler.capacity, run)?
        .with_validation(data.images(data.validation.x(), run.device())?);
    let outcome = train(config, config.jem_trainer(), "jem", data, &params, &net, &mut objective, run)?;
    Ok((Trained { params, net }, Some(objective), outcome))
}

/// Train the same network, from the same start, by cross-entropy alone.
pub fn twin(config: &Config, data: &Data, run: &mut Run) -> anyhow::Result<(Trained, Outcome)> {
    let mut params = Params::new(run.seed(), run.device());
    let net = JemNet::new(&config.model, &mut params)?;
    let weights = JemWeights { marginal: 0.0, joint: 0.0, ..config.weights() };
    let mut objective = objective(config, weights, 1, run)?;
    let outcome = train(config, config.twin_trainer(), "ce-twin", data, &params, &net, &mut objective, run)?;
    Ok((Trained { params, net }, outcome))
}

fn objective(
    config: &Config,
    weights: JemWeights,
    capacity: usize,
    run: &Run,
) -> anyhow::Result<JemObjective> {
    let size = [config.model.channels, config.model.side, config.model.side].map(|n| n as i64);
    let buffer = ReplayBuffer::new(config.buffer(capacity), &size, run.seed(), run.device())?;
    let (n_steps, l2) = (config.sampler.n_steps, config.objective.energy_l2);
    let chains = PersistentContrastiveDivergence::new(config.kernel(), n_steps, l2, buffer, run.seed())?;
    Ok(JemObjective::new(weights, chains)?)
}

fn train(
    config: &Config,
    trainer_config: TrainerConfig,
    label: &str,
    data: &Data,
    params: &Params,
    net: &JemNet,
    objective: &mut JemObjective,
    run: &mut Run,
) -> anyhow::Result<Outcome> {
    let is_jem = label == "jem";
    let folder = run.checkpoints_dir();
    let folder = if is_jem { folder } else { folder.join(label) };
    let checkpoints = Checkpoints::new(folder, config.trainer.keep_last)?;
    let n_steps = trainer_config.n_steps;
    let mut trainer = Trainer::new(trainer_config, &config.identity, run.seed(), net, params, objective)?
        .with_checkpoints(checkpoints);
    let first = if run.resume() { trainer.resume(run.force())? } else { 0 };
    // The twin is a control: its curve is not part of the run's log.
    let loggers = if is_jem { run.open_loggers((first > 0).then_some(first))? } else { Loggers::default() };
    let mut watcher = Watcher { progress: run.progress(label, n_steps, first), loggers };
    let augment = Augment {
        pad: config.data.pad,
        flip: config.data.flip,
        noise_sd: config.data.noise_std,
        ..Augment::default()
    };
    let batch_size = config.trainer.batch_size.min(data.train.len());
    let batches = BatchConfig { batch_size, seed: run.seed(), augment, ..BatchConfig::default() };
    let mut source = PairedSource::new(&Arc::clone(&data.train), &batches, run.device());
    let stop = run.stop_flag();
    let outcome = trainer.run(&mut source, &mut watcher, &stop)?;
    for event in trainer.events() {
        run.report.event(event.step, &event.kind, &format!("{label}: {}", event.detail));
    }
    if trainer.ema_weights().is_some() && outcome == Outcome::Complete {
        params.load(&trainer.weights())?;
    }
    Ok(outcome)
}
