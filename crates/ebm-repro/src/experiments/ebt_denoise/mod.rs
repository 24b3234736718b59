//! `ebt-denoise`: one step down an energy against a hundred steps of diffusion, and against plain regression
//! (arXiv 2507.02092, bidirectional EBT).
//!
//! An energy of whole images learns to take noisy images to clean ones in one step of its descent. Controls on the
//! same trunk: DiT with DDIM, once and re-applied, and a network that regresses the clean image at once. Judged by PSNR
//! at the noise of training and at twice that part of the schedule; passes, multiply-accumulates and seconds stand
//! side by side.

mod config;
mod data;
mod evaluate;
mod figures;
mod train;

use ebm_train::Outcome;

use crate::experiment::{Experiment, Plan, Status};
use crate::preset::Preset;
use crate::run::Run;
use config::Config;
use data::Data;

/// The experiment.
pub struct EbtDenoise;

impl Experiment for EbtDenoise {
    fn name(&self) -> &'static str {
        "ebt-denoise"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        Ok(config.plan(preset.info().minutes))
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let data = Data::load(&config, run)?;
        let (models, outcome) = train::all(&config, &data, run)?;
        match outcome {
            Outcome::Complete => evaluate::evaluate(&config, &data, &models, run),
            Outcome::Interrupted => Ok(Status::Interrupted),
            Outcome::Diverged => Ok(Status::Diverged),
        }
    }
}
