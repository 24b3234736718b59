//! The tables of the presets.

use ebm_core::Schedule;
use ebm_datasets::push::{ACTION, OBSERVATION, TO, TP};
use ebm_models::diffusion::NoiseScheduleConfig;
use ebm_models::ebt_policy::{EnergyObjective, PolicyNetConfig, policy_descent, policy_prediction};
use ebm_samplers::descent::{Descent, Graph, LossOn, Normaliser, Steps};
use ebm_train::TrainerConfig;
use ebm_train::optim::OptimizerConfig;
use serde::Deserialize;

use crate::experiment::Plan;
use crate::experiments::training::TrainerSection;
use crate::preset::Preset;
use crate::usage::usage;

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Successful episodes of the expert.
    pub n_demonstrations: usize,
    /// Standard deviation of the noise on the expert's actions.
    pub action_noise: f64,
    /// Whether networks see actions in units of the demonstrations' root mean square. Candidates of the descent have
    /// a root mean square of 1, so actions that are much smaller would leave the last step most of the way.
    pub unit_actions: bool,
}

/// Over what the root mean square of a candidate is taken.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rms {
    /// Each sample by itself.
    Sample,
    /// The whole batch, as in the released code.
    Batch,
}

/// `[objective]`: the descent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSection {
    /// Alpha.
    pub step_size: f64,
    /// Weight of the velocity.
    pub momentum: f64,
    /// Divides `exp(E)` in the step size.
    pub tau: f64,
    /// See [`Rms`].
    pub rms: Rms,
    /// Fewest and most steps in training.
    pub n_steps: [usize; 2],
    /// Which candidates the loss is put on, and with them which steps are differentiated, each by itself.
    pub loss_on: LossOn,
    /// Prediction ends one step after the gradient's norm over the chunk fell to this.
    pub stop_gradient_norm: f64,
    /// Most evaluations in prediction.
    pub max_evaluations: usize,
}

/// `[eval]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// Episodes of each policy, undisturbed and shoved.
    pub n_episodes: usize,
    /// Episodes drawn.
    pub n_shown: usize,
    /// Resamples of a bootstrap.
    pub n_resamples: usize,
    /// What tells a shoved state: `energy` or `steps`.
    pub signal: String,
    /// Train and try all policies in the world with two gaps too, with this share of the optimiser steps: what
    /// averaging costs. 0 leaves it out.
    pub two_gaps_share: f64,
    /// Training of the control by diffusion.
    pub diffusion: ControlTraining,
    /// Training of the control by squared error.
    pub cloning: ControlTraining,
}

/// Training of a control; everything else is as for EBT-Policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlTraining {
    /// Optimiser steps.
    pub n_steps: u64,
    /// Learning rate.
    pub learning_rate: Schedule,
}

/// `[[controls]]`: what is trained beside EBT-Policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlSection {
    /// `diffusion` or `cloning`.
    name: String,
    /// What it is.
    #[allow(dead_code, reason = "shown in the report's configuration")]
    what: String,
}

/// `[sampler]`: the control by diffusion.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSection {
    /// How noise grows.
    pub schedule: NoiseScheduleConfig,
    /// Evaluations of DDIM, the usual and the few.
    pub ddim_steps: [usize; 2],
}

/// A preset, read.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`DataSection`].
    pub data: DataSection,
    /// The network.
    pub model: PolicyNetConfig,
    /// See [`ObjectiveSection`].
    pub objective: ObjectiveSection,
    /// See [`SamplerSection`].
    pub sampler: SamplerSection,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The trainer of EBT-Policy.
    pub trainer: TrainerSection,
    /// See [`EvalSection`].
    pub eval: EvalSection,
    /// Everything in the preset, as text.
    pub identity: String,
}

impl Config {
    pub fn read(preset: &Preset) -> anyhow::Result<Self> {
        let controls: Vec<ControlSection> = preset.list("controls")?;
        if controls.len() != 2 || controls[0].name != "diffusion" || controls[1].name != "cloning" {
            return Err(usage(format!("preset {}: needs the controls diffusion, cloning", preset.name())));
        }
        Ok(Self {
            data: preset.section("data")?,
            model: preset.section("model")?,
            objective: preset.section("objective")?,
            sampler: preset.section("sampler")?,
            optimizer: preset.section("optimizer")?,
            trainer: preset.section("trainer")?,
            eval: preset.section("eval")?,
            identity: preset.identity_json().to_string(),
        })
    }

    pub fn check(&self) -> anyhow::Result<()> {
        self.model.check()?;
        let PolicyNetConfig { observation, n_observations, action, n_actions, .. } = self.model;
        let sizes = [observation, n_observations, action, n_actions];
        if sizes != [OBSERVATION, TO, ACTION, TP] {
            return Err(usage(format!(
                "model.observation, n_observations, action, n_actions = {sizes:?}: the task has \
                 {OBSERVATION}, {TO}, {ACTION}, {TP}"
            )));
        }
        EnergyObjective::new(self.descent(), self.objective.step_size, 0)?;
        self.prediction().check()?;
        self.sampler.schedule.build()?;
        for (name, value) in [
            ("data.n_demonstrations", self.data.n_demonstrations),
            ("eval.n_episodes", self.eval.n_episodes),
            ("eval.n_shown", self.eval.n_shown),
            ("eval.n_resamples", self.eval.n_resamples),
            ("trainer.batch_size", self.trainer.batch_size),
            ("trainer.keep_last", self.trainer.keep_last),
        ] {
            if value == 0 {
                return Err(usage(format!("{name} = 0: must be at least 1")));
            }
        }
        if !(0.0..=1.0).contains(&self.eval.two_gaps_share) {
            let found = self.eval.two_gaps_share;
            return Err(usage(format!("eval.two_gaps_share = {found}: must be between 0 and 1")));
        }
        if !["energy", "steps"].contains(&self.eval.signal.as_str()) {
            return Err(usage(format!("eval.signal = {}: must be energy or steps", self.eval.signal)));
        }
        self.energy_trainer().check()?;
        for control in [&self.eval.diffusion, &self.eval.cloning] {
            self.control_trainer(control).check()?;
        }
        Ok(())
    }

    /// The same with this share of the optimiser steps of all three trainings.
    pub fn with_share(&self, share: f64) -> Self {
        let steps = |n: u64| ((n as f64 * share).round() as u64).max(1);
        let mut config = self.clone();
        config.trainer.n_steps = steps(self.trainer.n_steps);
        config.trainer.learning_rate = self.trainer.learning_rate.stretched(share);
        for control in [&mut config.eval.diffusion, &mut config.eval.cloning] {
            control.n_steps = steps(control.n_steps);
            control.learning_rate = control.learning_rate.stretched(share);
        }
        config
    }

    /// The trainer of EBT-Policy.
    pub fn energy_trainer(&self) -> TrainerConfig {
        self.trainer.config(&self.optimizer)
    }

    /// The trainer of a control.
    pub fn control_trainer(&self, control: &ControlTraining) -> TrainerConfig {
        let ControlTraining { n_steps, ref learning_rate } = *control;
        TrainerConfig { n_steps, learning_rate: learning_rate.clone(), ..self.energy_trainer() }
    }

    /// The descent of training.
    pub fn descent(&self) -> Descent {
        let normaliser = match self.objective.rms {
            Rms::Sample => Normaliser::RmsSample,
            Rms::Batch => Normaliser::RmsBatch,
        };
        let [from, to] = self.objective.n_steps;
        let loss_on = self.objective.loss_on;
        let graph = match loss_on {
            LossOn::EveryStep => Graph::PerStep,
            LossOn::LastStep => Graph::LastStep,
        };
        let (n_steps, momentum) = (Steps::Between { from, to }, self.objective.momentum);
        Descent { n_steps, momentum, graph, loss_on, ..policy_descent(normaliser, self.objective.tau) }
    }

    /// The descent of prediction.
    pub fn prediction(&self) -> Descent {
        policy_prediction(&self.descent(), self.objective.stop_gradient_norm, self.objective.max_evaluations)
    }

    /// Multiply-accumulates of one optimiser step of EBT-Policy, diffusion and cloning.
    ///
    /// A backward pass to the candidates costs one forward, one to the parameters another. A step of the descent without
    /// graph is a forward and a pass back to the candidates; one with graph is these and the passes back of both to
    /// candidates and parameters.
    pub fn step_macs(&self) -> [u64; 3] {
        let batch = self.trainer.batch_size as u64;
        let (once, chunk) = (3 * self.model.condition_macs(), self.model.macs());
        let mean_steps = self.objective.n_steps.iter().sum::<usize>() as f64 / 2.0;
        let passes = match self.objective.loss_on {
            LossOn::EveryStep => 6.0 * mean_steps,
            LossOn::LastStep => 2.0 * (mean_steps - 1.0) + 6.0,
        };
        let descent = (passes * chunk as f64) as u64;
        [batch * (once + descent), batch * (once + 3 * chunk), batch * (once + 3 * chunk)]
    }

    /// Multiply-accumulates of one decision that takes `n_evaluations`; those of an energy come with a pass back.
    pub fn decision_macs(&self, n_evaluations: f64, is_energy: bool) -> f64 {
        let each = self.model.macs() as f64 * if is_energy { 2.0 } else { 1.0 };
        self.model.condition_macs() as f64 + n_evaluations * each
    }

    pub fn plan(&self, minutes: f64) -> Plan {
        let steps = [self.trainer.n_steps, self.eval.diffusion.n_steps, self.eval.cloning.n_steps];
        let trained: u64 = steps.iter().zip(self.step_macs()).map(|(n, macs)| n * macs).sum();
        // Activations of a pass with graph and of its derivative, f32: some numbers for each token and width.
        let tokens = (self.trainer.batch_size * self.model.n_actions * self.model.width) as u64;
        let activations = 4 * tokens * 100 * self.model.n_layers as u64;
        Plan {
            parameters: self.model.n_parameters(false),
            macs: (trained as f64 * (1.0 + self.eval.two_gaps_share)) as u64,
            memory_bytes: 300_000_000 + 4 * 4 * self.model.n_parameters(true) + activations,
            steps: self.trainer.n_steps,
            minutes,
        }
    }
}
