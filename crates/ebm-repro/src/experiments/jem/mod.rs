//! `jem-digits` and `jem-fashion`: JEM as a joint classifier and energy-based model (arXiv 1912.03263).
//!
//! Trains the network by JEM's objective, and the same network by cross-entropy alone as the control; then
//! compares accuracy, calibration, outlier scores and the samples in the buffer. The two differ in data and preset.

mod config;
mod data;
mod evaluate;
mod figures;
mod train;

use ebm_core::torch::Params;
use ebm_models::jem::JemNet;
use ebm_train::optim::Named;
use ebm_train::{Outcome, tensors};

use crate::experiment::{Experiment, Plan, Status};
use crate::preset::Preset;
use crate::run::Run;
use config::Config;
use data::Data;

/// One of the two experiments.
pub struct Jem {
    name: &'static str,
}

/// JEM on the 1,797 8x8 digits: the quickstart.
pub static DIGITS: Jem = Jem { name: "jem-digits" };
/// JEM on Fashion-MNIST.
pub static FASHION: Jem = Jem { name: "jem-fashion" };

/// A trained network with its parameters.
struct Trained {
    params: Params,
    net: JemNet,
}

impl Experiment for Jem {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        Ok(config.plan(preset.info().minutes))
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let data = Data::load(&config, run)?;
        let (jem, objective) = match train::jem(&config, &data, run)? {
            (trained, objective, Outcome::Complete) => (trained, objective),
            (_, _, Outcome::Interrupted) => return Ok(Status::Interrupted),
            (_, _, Outcome::Diverged) => return Ok(Status::Diverged),
        };
        tensors::save(&run.weights_path(), &named(&jem.params))?;
        let twin = match train::twin(&config, &data, run)? {
            (trained, Outcome::Complete) => trained,
            (_, Outcome::Interrupted) => return Ok(Status::Interrupted),
            (_, Outcome::Diverged) => {
                anyhow::bail!("the cross-entropy twin diverged: lower its learning rate")
            }
        };
        // None when `--weights` skipped the training that would have filled it.
        let buffer = objective.map(|o| o.buffer().shallow_clone());
        evaluate::evaluate(&config, &data, &jem.net, buffer, &twin.net, run)
    }
}

fn named(params: &Params) -> Named {
    params.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
}
