//! EBT on text (arXiv 2507.02092): both stages beside Transformer++ at equal tokens and at equal counted FLOPs, and a
//! trigram; thinking longer, self-verification, energies against difficulty, text of other kinds.

mod config;
mod data;
mod evaluate;
mod figures;
mod predict;
mod train;

use ebm_train::Outcome;

use crate::experiment::{Experiment, Plan, Status};
use crate::preset::Preset;
use crate::run::Run;
use config::Config;
use data::Data;
use evaluate::Models;
use train::Seconds;

/// See the module.
pub struct EbtText;

/// The trained network, or how the run ends without it.
macro_rules! complete {
    ($training:expr) => {
        match $training {
            (trained, Outcome::Complete) => trained,
            (_, Outcome::Interrupted) => return Ok(Status::Interrupted),
            (_, Outcome::Diverged) => return Ok(Status::Diverged),
        }
    };
}

impl Experiment for EbtText {
    fn name(&self) -> &'static str {
        "ebt-text"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        Ok(config.plan(preset.info().minutes))
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let data = Data::load(&config, run)?;
        let mut seconds = Seconds::new();
        let s1 = complete!(train::ebt(&config, "s1", &config.s1, &data, &mut seconds, run)?);
        let s2 = match &config.s2 {
            Some(policy) => Some(complete!(train::ebt(&config, "s2", policy, &data, &mut seconds, run)?)),
            None => None,
        };
        let n_steps = config.n_steps(&config.s1);
        let transformer = if config.wants("transformer") {
            Some(complete!(train::baseline(&config, "transformer", n_steps, &data, &mut seconds, run)?))
        } else {
            None
        };
        let longer = config.equal_flops_steps();
        let transformer_flops = if config.wants("transformer-flops") {
            Some(complete!(train::baseline(&config, "transformer-flops", longer, &data, &mut seconds, run)?))
        } else {
            None
        };
        let trigram = config.wants("trigram").then(|| train::trigram(&config, &data, run)).transpose()?;
        let models = Models {
            s1: &s1,
            s2: s2.as_ref(),
            transformer: transformer.as_ref(),
            transformer_flops: transformer_flops.as_ref().map(|t| (t, longer)),
            trigram,
        };
        evaluate::evaluate(&config, &data, &models, &seconds, run)?;
        Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
    }
}
