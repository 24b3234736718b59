//! Demonstrations, and the three trainings on them.

use std::sync::Arc;

use ebm_core::torch::Params;
use ebm_datasets::push::{Demonstration, Variant, World, action_rms, demonstrations, windows};
use ebm_datasets::{BatchConfig, Dataset};
use ebm_models::diffusion::DiffusionLoss;
use ebm_models::ebt_policy::{CloningObjective, DiffusionPolicyObjective, EnergyObjective, PolicyNet};
use ebm_train::objectives::Objective;
use ebm_train::{DatasetSource, Outcome, TrainerConfig, tensors};

use super::config::Config;
use crate::experiments::training::Training;
use crate::run::Run;
use crate::usage::usage;

/// What a world's policies learn from.
pub struct Data {
    pub world: World,
    pub demonstrations: Vec<Demonstration>,
    /// What a network's actions are multiplied by.
    pub action_scale: f64,
    pub windows: Arc<Dataset>,
}

impl Data {
    pub fn new(config: &Config, variant: Variant, seed: u64) -> anyhow::Result<Self> {
        let world = World::new(variant);
        let (n, noise) = (config.data.n_demonstrations, config.data.action_noise);
        let demonstrations = demonstrations(&world, seed, n, noise)?;
        let action_scale = if config.data.unit_actions { action_rms(&demonstrations) } else { 1.0 };
        let windows = Arc::new(windows(&demonstrations, action_scale)?);
        if windows.len() < config.trainer.batch_size {
            let found = windows.len();
            return Err(usage(format!(
                "trainer.batch_size is above the {found} windows of the demonstrations"
            )));
        }
        Ok(Self { world, demonstrations, action_scale, windows })
    }

    /// The start of the names of this world's trainings.
    fn prefix(&self) -> &'static str {
        match self.world.variant() {
            Variant::OneGap => "",
            Variant::TwoGaps => "two-gaps-",
        }
    }
}

/// A network with its parameters.
pub struct Trained {
    pub params: Params,
    pub net: PolicyNet,
}

/// The three.
pub struct Policies {
    pub energy: Trained,
    pub diffusion: Trained,
    pub cloning: Trained,
}

/// Train all three on these demonstrations, or say why one did not come to its end.
pub fn all(config: &Config, data: &Data, run: &mut Run) -> anyhow::Result<Result<Policies, Outcome>> {
    let seed = run.seed();
    let energy = EnergyObjective::new(config.descent(), config.objective.step_size, seed)?;
    let energy = match one(config, data, "energy", false, config.energy_trainer(), energy, run)? {
        Ok(trained) => trained,
        Err(outcome) => return Ok(Err(outcome)),
    };
    let (diffusion, cloning) = (&config.eval.diffusion, &config.eval.cloning);
    let noise = DiffusionPolicyObjective::new(DiffusionLoss::new(config.sampler.schedule.build()?), seed);
    let diffusion = one(config, data, "diffusion", true, config.control_trainer(diffusion), noise, run)?;
    let cloning =
        one(config, data, "cloning", false, config.control_trainer(cloning), CloningObjective, run)?;
    match (diffusion, cloning) {
        (Ok(diffusion), Ok(cloning)) => Ok(Ok(Policies { energy, diffusion, cloning })),
        (Err(Outcome::Interrupted), _) | (_, Err(Outcome::Interrupted)) => Ok(Err(Outcome::Interrupted)),
        _ => anyhow::bail!("a control diverged: lower its learning rate"),
    }
}

fn one(
    config: &Config,
    data: &Data,
    name: &str,
    timed: bool,
    trainer: TrainerConfig,
    mut objective: impl Objective<PolicyNet>,
    run: &mut Run,
) -> anyhow::Result<Result<Trained, Outcome>> {
    let mut params = Params::new(run.seed(), run.device());
    let net = PolicyNet::new(&config.model, timed, &mut params)?;
    let is_model = name == "energy" && data.world.variant() == Variant::OneGap;
    if let Some(path) = run.weights().filter(|_| is_model) {
        let load = || params.load(&tensors::load(path)?);
        load().map_err(|e| usage(format!("--weights {}: {e}", path.display())))?;
        return Ok(Ok(Trained { params, net }));
    }
    let label = format!("{}{name}", data.prefix());
    let training = Training {
        label: &label,
        is_control: !is_model,
        config: trainer,
        identity: &config.identity,
        keep_last: config.trainer.keep_last,
        grid: |_| anyhow::bail!("these objectives have no pictures"),
    };
    let batches =
        BatchConfig { batch_size: config.trainer.batch_size, seed: run.seed(), ..BatchConfig::default() };
    let mut source = DatasetSource::new(Arc::clone(&data.windows), batches, run.device());
    Ok(match training.run(&net, &params, &mut objective, &mut source, run)? {
        Outcome::Complete => Ok(Trained { params, net }),
        outcome => Err(outcome),
    })
}
