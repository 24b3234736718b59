//! Training of the energy and of its two controls.

use std::sync::Arc;
use std::time::Instant;

use ebm_core::torch::Params;
use ebm_datasets::{BatchConfig, Dataset};
use ebm_models::diffusion::{DiffusionLoss, DiffusionObjective, Dit, VarianceLoss};
use ebm_models::ebt::{Corruption, Denoising, ImageEbt, ImageRegressor};
use ebm_train::optim::Named;
use ebm_train::{DatasetSource, Objective, Outcome, tensors};

use super::config::Config;
use super::data::{Data, images};
use super::figures;
use crate::experiments::training::Training;
use crate::run::Run;
use crate::usage::usage;

/// Held-out images whose loss is logged.
const WATCHED: usize = 256;

/// The three trained networks.
pub struct Models {
    /// The energy.
    pub ebt: ImageEbt,
    /// The diffusion model.
    pub dit: Dit,
    /// The regressor.
    pub regressor: ImageRegressor,
}

/// Train the energy (or load it when `--weights` was given), then the controls; stops at the first that does not end.
pub fn all(config: &Config, data: &Data, run: &mut Run) -> anyhow::Result<(Models, Outcome)> {
    let fresh = || Params::new(run.seed(), run.device());
    let [mut ebt_params, mut dit_params, mut regressor_params] = [fresh(), fresh(), fresh()];
    let models = Models {
        ebt: ImageEbt::new(&config.model, &mut ebt_params)?,
        dit: Dit::new(&config.dit(), &mut dit_params)?,
        regressor: ImageRegressor::new(&config.regressor(), &mut regressor_params)?,
    };
    let some: Vec<usize> = (0..data.validation.len().min(WATCHED)).collect();
    let watched = images(&data.validation.take(&some)?, run.device())?;
    let corruption = Corruption::new(&config.objective.schedule, config.objective.train_fraction)?;
    let denoising = || {
        Denoising::new(corruption.clone(), config.objective.loss, run.seed())
            .with_validation(watched.shallow_clone())
    };
    let (mut for_ebt, mut for_regressor) = (denoising()?, denoising()?);
    if let Some(path) = run.weights() {
        // Wrong weights are a mistake of whoever typed them, not a crash.
        let load = || ebt_params.load(&tensors::load(path)?);
        load().map_err(|e| usage(format!("--weights {}: {e}", path.display())))?;
    } else {
        let outcome = train(config, "ebt", data, &ebt_params, &models.ebt, &mut for_ebt, run)?;
        if outcome != Outcome::Complete {
            return Ok((models, outcome));
        }
    }
    tensors::save(&run.weights_path(), &named(&ebt_params))?;
    let mut for_dit = DiffusionObjective::new(dit_loss(config, &corruption)?, run.seed());
    let mut outcome = train(config, "dit", data, &dit_params, &models.dit, &mut for_dit, run)?;
    if outcome == Outcome::Complete {
        let net = &models.regressor;
        outcome = train(config, "regressor", data, &regressor_params, net, &mut for_regressor, run)?;
    }
    if outcome == Outcome::Diverged {
        anyhow::bail!("a control diverged: lower its learning rate");
    }
    Ok((models, outcome))
}

/// Noise prediction at every step up to the noise that the energy is trained on.
fn dit_loss(config: &Config, corruption: &Corruption) -> anyhow::Result<DiffusionLoss> {
    let loss = DiffusionLoss::new(config.objective.schedule.build()?).below(corruption.step() + 1)?;
    Ok(if config.objective.learn_variance { loss.with_variance(VarianceLoss::default())? } else { loss })
}

fn named(params: &Params) -> Named {
    params.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
}

fn train<M, O: Objective<M>>(
    config: &Config,
    label: &str,
    data: &Data,
    params: &Params,
    net: &M,
    objective: &mut O,
    run: &mut Run,
) -> anyhow::Result<Outcome> {
    let training = Training {
        label,
        is_control: label != "ebt",
        config: config.trainer(label),
        identity: &config.identity,
        keep_last: config.trainer.keep_last,
        grid: figures::grid,
    };
    let mut source = source(&data.train, config, run);
    let began = Instant::now();
    let outcome = training.run(net, params, objective, &mut source, run)?;
    if !run.resume() {
        run.report.metric(&format!("training_seconds_{label}"), began.elapsed().as_secs_f64());
    }
    Ok(outcome)
}

/// The same batches for every network.
fn source(train: &Arc<Dataset>, config: &Config, run: &Run) -> DatasetSource {
    let batch_size = config.trainer.batch_size.min(train.len());
    let batches = BatchConfig { batch_size, seed: run.seed(), ..BatchConfig::default() };
    DatasetSource::new(Arc::clone(train), batches, run.device())
}
