//! `ebwm`: next frames of moving digits by descending an energy (arXiv 2406.08862).
//!
//! EBWM and, as its control, a causal transformer on the same blocks see the same films. Judged: the loss beside the
//! control's and that of copying the last frame, whether energies fall, whether the energy tells the true next frame
//! from the film's other frames, and whether it is high where the prediction is bad.

mod config;
mod data;
mod evaluate;
mod figures;
mod predictions;

use ebm_core::torch::Params;
use ebm_datasets::BatchConfig;
use ebm_models::ebwm::{Ebwm, EbwmObjective, FrameTransformer, NextFrameObjective};
use ebm_train::optim::Named;
use ebm_train::{DatasetSource, Objective, Outcome, TrainerConfig, tensors};
use tch::Tensor;

use crate::experiment::{Experiment, Plan, Status};
use crate::experiments::training::Training;
use crate::preset::Preset;
use crate::run::Run;
use crate::usage::usage;
use config::{Config, TRANSFORMER};
use data::Data;

/// The experiment.
pub struct WorldModel;

impl Experiment for WorldModel {
    fn name(&self) -> &'static str {
        "ebwm"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        Ok(config.plan(preset.info().minutes))
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let data = Data::load(&config, run)?;
        let logged = data::tensor(&data.validation, run.device())?;
        let logged = logged.f_narrow(0, 0, (config.eval.n_logged as i64).min(logged.size()[0]))?;

        let mut params = Params::new(run.seed(), run.device());
        let net = Ebwm::new(&config.model, &mut params)?;
        if let Some(path) = run.weights() {
            let load = || params.load(&tensors::load(path)?);
            load().map_err(|e| usage(format!("--weights {}: {e}", path.display())))?;
        } else {
            let mut objective = EbwmObjective::new(config.descent, config.objective.beta, run.seed())?
                .with_validation(logged.shallow_clone());
            let trainer = config.trainer.config(&config.optimizer);
            match train("ebwm", &config, trainer, &data, &net, &params, &mut objective, run)? {
                Outcome::Complete => {}
                Outcome::Interrupted => return Ok(Status::Interrupted),
                Outcome::Diverged => return Ok(Status::Diverged),
            }
        }
        tensors::save(&run.weights_path(), &named(&params))?;

        let mut params = Params::new(run.seed(), run.device());
        let transformer = FrameTransformer::new(&config.transformer(), &mut params)?;
        let mut objective = NextFrameObjective::new(config.objective.beta)?.with_validation(logged);
        let trainer = config.control_trainer();
        match train(TRANSFORMER, &config, trainer, &data, &transformer, &params, &mut objective, run)? {
            Outcome::Complete => {}
            Outcome::Interrupted => return Ok(Status::Interrupted),
            Outcome::Diverged => anyhow::bail!("the transformer diverged: lower trainer.learning_rate"),
        }
        evaluate::evaluate(&config, &data, &net, &transformer, run)?;
        Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
    }
}

fn named(params: &Params) -> Named {
    params.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
}

fn train<M, O: Objective<M>>(
    label: &str,
    config: &Config,
    trainer: TrainerConfig,
    data: &Data,
    model: &M,
    params: &Params,
    objective: &mut O,
    run: &mut Run,
) -> anyhow::Result<Outcome> {
    let batch_size = config.trainer.batch_size.min(data.train.len());
    let batches = BatchConfig { batch_size, seed: run.seed(), ..BatchConfig::default() };
    let mut source = DatasetSource::new(data.train.clone(), batches, run.device());
    let training = Training {
        label,
        is_control: label == TRANSFORMER,
        config: trainer,
        identity: &config.identity,
        keep_last: config.trainer.keep_last,
        grid: |_: &Tensor| anyhow::bail!("the objectives of frames have no images"),
    };
    training.run(model, params, objective, &mut source, run)
}
