//! EBT on text (arXiv 2507.02092): both stages beside Transformer++ at equal tokens and at equal counted FLOPs, and a
//! trigram; thinking longer, self-verification, energies against difficulty, text of other kinds.

mod config;
mod data;
mod evaluate;
mod figures;
mod predict;
mod scaling;
mod train;

use ebm_train::Outcome;

use crate::experiment::{Experiment, Plan, Status};
use crate::preset::Preset;
use crate::run::Run;
use config::Config;
use data::Data;
use evaluate::Models;
use train::{Job, Seconds};

pub use scaling::EbtScaling;

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
        let seed = run.seed();
        let job = |label: &'static str| Job { config: &config, data: &data, label, seed };
        let s1 = complete!(train::ebt(job("s1"), &config.s1, &mut seconds, run)?);
        let s2 = match &config.s2 {
            Some(policy) => Some(complete!(train::ebt(job("s2"), policy, &mut seconds, run)?)),
            None => None,
        };
        let transformer = if config.wants("transformer") {
            Some(complete!(train::baseline(job("transformer"), config.s1.n_steps, &mut seconds, run)?))
        } else {
            None
        };
        let longer = config.equal_flops_steps();
        let transformer_flops = if config.wants("transformer-flops") {
            Some(complete!(train::baseline(job("transformer-flops"), longer, &mut seconds, run)?))
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
