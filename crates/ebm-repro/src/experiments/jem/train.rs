//! Training of JEM and of its twin.

use std::sync::Arc;

use ebm_core::torch::Params;
use ebm_datasets::{Augment, BatchConfig};
use ebm_models::jem::{JemNet, JemObjective, JemWeights, PairedSource};
use ebm_samplers::ReplayBuffer;
use ebm_train::objectives::PersistentContrastiveDivergence;
use ebm_train::{Outcome, TrainerConfig, tensors};

use super::Trained;
use super::config::Config;
use super::data::Data;
use super::figures;
use crate::experiments::training::Training;
use crate::run::Run;
use crate::usage::usage;

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
    let outcome = train(config, config.jem_trainer(), "jem", data, (&params, &net), &mut objective, run)?;
    Ok((Trained { params, net }, Some(objective), outcome))
}

/// Train the same network, from the same start, by cross-entropy alone.
pub fn twin(config: &Config, data: &Data, run: &mut Run) -> anyhow::Result<(Trained, Outcome)> {
    let mut params = Params::new(run.seed(), run.device());
    let net = JemNet::new(&config.model, &mut params)?;
    let weights = JemWeights { marginal: 0.0, joint: 0.0, ..config.weights() };
    let mut objective = objective(config, weights, 1, run)?;
    let outcome =
        train(config, config.twin_trainer(), "ce-twin", data, (&params, &net), &mut objective, run)?;
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
    trainer: TrainerConfig,
    label: &str,
    data: &Data,
    (params, net): (&Params, &JemNet),
    objective: &mut JemObjective,
    run: &mut Run,
) -> anyhow::Result<Outcome> {
    let augment = Augment {
        pad: config.data.pad,
        flip: config.data.flip,
        noise_sd: config.data.noise_std,
        ..Augment::default()
    };
    let batch_size = config.trainer.batch_size.min(data.train.len());
    let batches = BatchConfig { batch_size, seed: run.seed(), augment, ..BatchConfig::default() };
    let mut source = PairedSource::new(&Arc::clone(&data.train), &batches, run.device());
    let training = Training {
        label,
        is_control: label != "jem",
        config: trainer,
        identity: &config.identity,
        keep_last: config.trainer.keep_last,
        grid: |images| figures::grid(images, 8),
    };
    training.run(net, params, objective, &mut source, run)
}
