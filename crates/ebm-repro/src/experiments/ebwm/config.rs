//! The tables of EBWM's presets.

use ebm_core::Schedule;
use ebm_models::ebwm::{EbwmConfig, EbwmObjective, FrameTransformerConfig};
use ebm_samplers::descent::Descent;
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
    /// Films of the user's own: a safetensors file with the tensors `train`, `validation` and `test`, each `[films,
    /// frames, width]`. Read by [`Preset::data_path`].
    #[allow(dead_code, reason = "declared so that the key is known")]
    #[serde(default)]
    pub path: String,
    /// Films to train on.
    pub n_train: usize,
    /// Films of each set that is measured.
    pub n_eval: usize,
    /// Frames of a film.
    pub n_frames: usize,
    /// Seed of the films: the same for every run.
    pub seed: u64,
    /// Largest component of a velocity, in pixels a frame; at least 1, so that something moves.
    pub speed: i32,
    /// The same of the velocities that are not trained on: one more.
    pub unseen_speed: i32,
    /// Classes whose digits are not trained on.
    pub held_out: Vec<i64>,
}

/// `[objective]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSection {
    /// Width of Smooth-L1's parabola.
    pub beta: f64,
}

/// `[eval]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// Which part is judged: `test`, or `validation` while settings are chosen.
    pub part: String,
    /// Steps of the longest descent.
    pub most_steps: usize,
    /// Films whose loss is logged during training.
    pub n_logged: usize,
    /// Resamples of a bootstrap.
    pub n_resamples: usize,
}

/// `[[controls]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlSection {
    name: String,
    #[allow(dead_code, reason = "shown in the report's configuration")]
    what: String,
    /// The control's own learning rate, tuned as the model's was; the trainer's without it.
    learning_rate: Option<Schedule>,
}

/// A preset, read.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`DataSection`].
    pub data: DataSection,
    /// The network.
    pub model: EbwmConfig,
    /// See [`ObjectiveSection`].
    pub objective: ObjectiveSection,
    /// `[sampler]`: the descent in training.
    pub descent: Descent,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The trainer, for the model and its control.
    pub trainer: TrainerSection,
    /// The transformer's learning rate, where it has one of its own.
    pub control_learning_rate: Option<Schedule>,
    /// See [`EvalSection`].
    pub eval: EvalSection,
    /// Everything in the preset, as text: what makes a run this run.
    pub identity: String,
}

impl Config {
    pub fn read(preset: &Preset) -> anyhow::Result<Self> {
        let controls: Vec<ControlSection> = preset.list("controls")?;
        let names: Vec<&str> = controls.iter().map(|control| control.name.as_str()).collect();
        if names != [TRANSFORMER, COPY] {
            let text = format!("needs the controls `{TRANSFORMER}` and `{COPY}`");
            return Err(usage(format!("preset {}: {text}", preset.name())));
        }
        Ok(Self {
            data: preset.section("data")?,
            model: preset.section("model")?,
            objective: preset.section("objective")?,
            descent: preset.section("sampler")?,
            optimizer: preset.section("optimizer")?,
            trainer: preset.section("trainer")?,
            control_learning_rate: controls[0].learning_rate.clone(),
            eval: preset.section("eval")?,
            identity: preset.identity_json().to_string(),
        })
    }

    /// Everything that can be wrong without data or a model in memory.
    pub fn check(&self) -> anyhow::Result<()> {
        self.model.check()?;
        EbwmObjective::new(self.descent, self.objective.beta, 0)?;
        self.trainer.config(&self.optimizer).check()?;
        self.control_trainer().check()?;
        for (name, value) in [
            ("data.n_train", self.data.n_train),
            ("data.n_eval", self.data.n_eval),
            ("trainer.batch_size", self.trainer.batch_size),
            ("trainer.keep_last", self.trainer.keep_last),
            ("eval.most_steps", self.eval.most_steps),
            ("eval.n_logged", self.eval.n_logged),
            ("eval.n_resamples", self.eval.n_resamples),
        ] {
            if value == 0 {
                return Err(usage(format!("{name} = 0: must be at least 1")));
            }
        }
        if self.data.n_frames != self.model.transformer.context + 1 {
            return Err(usage(format!(
                "data.n_frames = {}: must be one more than model.transformer.context = {}",
                self.data.n_frames, self.model.transformer.context
            )));
        }
        let (speed, unseen) = (self.data.speed, self.data.unseen_speed);
        if !(1 <= speed && speed < unseen && unseen <= 5) {
            let text = format!("data.speed = {speed} and data.unseen_speed = {unseen}");
            return Err(usage(format!("{text}: must be at least 1, above it, and at most 5")));
        }
        if !["test", "validation"].contains(&self.eval.part.as_str()) {
            return Err(usage(format!("eval.part = {}: must be test or validation", self.eval.part)));
        }
        // What is measured after each step is measured by taking the steps one by one.
        if self.descent.momentum != 0.0 {
            return Err(usage("sampler.momentum: must be 0, EBWM's descent has none"));
        }
        if self.eval.most_steps < self.n_steps() {
            return Err(usage(format!(
                "eval.most_steps = {}: must be at least the {} of training",
                self.eval.most_steps,
                self.n_steps()
            )));
        }
        Ok(())
    }

    /// Inner steps of training and of the judged predictions.
    pub fn n_steps(&self) -> usize {
        self.descent.n_steps.most()
    }

    /// The control with the same blocks.
    pub fn transformer(&self) -> FrameTransformerConfig {
        FrameTransformerConfig { transformer: self.model.transformer.clone() }
    }

    /// The control trains as the model does, but for its learning rate; it has no step size to treat apart.
    pub fn control_trainer(&self) -> TrainerConfig {
        let mut config = self.trainer.config(&self.optimizer);
        if let OptimizerConfig::AdamW(adamw) = &mut config.optimizer {
            adamw.groups.clear();
        }
        if let Some(learning_rate) = &self.control_learning_rate {
            config.learning_rate = learning_rate.clone();
        }
        config
    }

    /// Multiply-accumulates of one training step: of the model, and of the control.
    pub fn step_macs(&self) -> (u64, u64) {
        let films = self.trainer.batch_size as u64 * self.trainer.accumulate;
        (films * self.model.training_macs(self.n_steps()), films * self.transformer().training_macs())
    }

    /// What a run takes.
    pub fn plan(&self, minutes: f64) -> Plan {
        let (own, control) = self.step_macs();
        let pixels = ebm_datasets::moving_digits::N_PIXELS + self.model.transformer.width;
        let films = self.data.n_train * self.data.n_frames * pixels;
        // Activations: a few numbers for each weight's row and position, kept twice over by the second derivative.
        let t = &self.model.transformer;
        let activations = 60 * self.trainer.batch_size * t.context * t.width * t.n_layers * self.n_steps();
        Plan {
            parameters: self.model.n_parameters(),
            macs: (own + control) * self.trainer.n_steps,
            memory_bytes: 250_000_000 + 4 * (films + activations) as u64 + 16 * self.model.n_parameters(),
            steps: self.trainer.n_steps,
            minutes,
        }
    }
}

/// The causal transformer on the same blocks.
pub const TRANSFORMER: &str = "transformer";

/// The frame before, once more.
pub const COPY: &str = "copy-last";
