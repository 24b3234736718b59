//! `ebt-policy`: actions by descending an energy, on a disc that is pushed into a slot (arXiv 2510.27545).
//!
//! EBT-Policy, Diffusion Policy and behaviour cloning learn from the same demonstrations with the same network, and are
//! compared over the same seeded episodes: undisturbed, with a shove that no demonstration holds, and where two ways
//! lead to the goal.

mod config;
mod evaluate;
mod figures;
mod train;

use ebm_datasets::push::Variant;
use ebm_train::{Outcome, tensors};

use crate::experiment::{Experiment, Plan, Status};
use crate::preset::Preset;
use crate::run::Run;
use config::Config;
use train::Data;

/// The experiment.
pub struct EbtPolicy;

impl Experiment for EbtPolicy {
    fn name(&self) -> &'static str {
        "ebt-policy"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        Ok(config.plan(preset.info().minutes))
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let one = Data::new(&config, Variant::OneGap, run.seed())?;
        let trained = match train::all(&config, &one, run)? {
            Ok(trained) => trained,
            Err(Outcome::Diverged) => return Ok(Status::Diverged),
            Err(_) => return Ok(Status::Interrupted),
        };
        let named: Vec<_> =
            trained.energy.params.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        tensors::save(&run.weights_path(), &named)?;
        evaluate::one_gap(&config, &one, &trained, run)?;
        if config.eval.two_gaps_share > 0.0 {
            let config = config.with_share(config.eval.two_gaps_share);
            let two = Data::new(&config, Variant::TwoGaps, run.seed())?;
            match train::all(&config, &two, run)? {
                Ok(trained) => evaluate::two_gaps(&config, &two, &trained, run)?,
                // The limitation test has no gate: what diverges there is a finding, not the end of the run.
                Err(Outcome::Diverged) => run.report.note("With two gaps the training diverged."),
                Err(_) => return Ok(Status::Interrupted),
            }
        }
        figures::training(run)?;
        Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
    }
}
