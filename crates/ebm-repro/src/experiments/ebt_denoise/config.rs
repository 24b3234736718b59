//! The tables of `ebt-denoise`'s presets.

use ebm_core::Schedule;
use ebm_models::diffusion::{DitConfig, NoiseScheduleConfig, evenly_spaced};
use ebm_models::ebt::{ALPHA, Corruption, ImageEbtConfig, ImageRegressorConfig, PixelLoss};
use ebm_train::TrainerConfig;
use ebm_train::optim::{AdamWConfig, OptimizerConfig, ParamGroup};
use serde::Deserialize;

use crate::experiment::Plan;
use crate::experiments::training::TrainerSection;
use crate::preset::Preset;
use crate::usage::usage;

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// `fashion-mnist`, or `png` for a folder that `path` names.
    pub source: String,
    /// The user's own folder of PNG images. Read by [`Preset::data_path`].
    #[allow(dead_code, reason = "declared so that the key is known")]
    #[serde(default)]
    pub path: String,
    /// Images to train on, to choose settings with, and to judge with.
    pub sizes: [usize; 3],
}

/// `[objective]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSection {
    /// The noise schedule.
    pub schedule: NoiseScheduleConfig,
    /// The part of it that training images have gone through.
    pub train_fraction: f64,
    /// The loss on pixels, of the energy and of the regressor.
    pub loss: PixelLoss,
    /// Whether the diffusion model learns the variance of its steps too.
    pub learn_variance: bool,
    /// The step size's learning rate is this times alpha at the start times everybody's: 3 by the authors' rule.
    pub alpha_lr_factor: f64,
}

/// `[sampler]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSection {
    /// Steps of DDIM from the noise of training down to 0.
    pub ddim_steps: usize,
    /// Shorter chains, for comparison.
    pub short: Vec<usize>,
    /// Clamp DDIM's guesses of the clean image to this.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Times that each method is applied, at most.
    pub repeats: usize,
}

/// `[eval]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// Which part is judged: `test`, or `validation` while settings are chosen.
    pub part: String,
    /// Parts of the schedule that judged images have gone through: that of training, and a noisier one.
    pub fractions: [f64; 2],
    /// Images denoised at a time.
    pub batch_size: usize,
    /// Resamples of a bootstrap.
    pub n_resamples: usize,
    /// Images shown.
    pub shown: usize,
}

/// `[[controls]]`: a network on the same trunk, with what it is trained by.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    /// `dit` or `regressor`; `noisy` and `one-step` train nothing.
    pub name: String,
    /// What it is.
    #[allow(dead_code, reason = "shown in the report's configuration")]
    pub what: String,
    /// Learning rate; the energy's where it is left out.
    #[serde(default)]
    pub learning_rate: Option<Schedule>,
    /// Weight decay; the energy's where it is left out.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

/// A preset, read.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`DataSection`].
    pub data: DataSection,
    /// The energy.
    pub model: ImageEbtConfig,
    /// See [`ObjectiveSection`].
    pub objective: ObjectiveSection,
    /// See [`SamplerSection`].
    pub sampler: SamplerSection,
    /// The optimiser.
    pub optimizer: AdamWConfig,
    /// See [`TrainerSection`].
    pub trainer: TrainerSection,
    /// See [`EvalSection`].
    pub eval: EvalSection,
    /// See [`ControlSection`].
    pub controls: Vec<ControlSection>,
    /// Everything in the preset, as text: what makes a run this run.
    pub identity: String,
}

impl Config {
    pub fn read(preset: &Preset) -> anyhow::Result<Self> {
        let OptimizerConfig::AdamW(optimizer) = preset.section("optimizer")? else {
            return Err(usage("optimizer.name must be adamw: alpha needs a group of its own"));
        };
        let controls: Vec<ControlSection> = preset.list("controls")?;
        for name in ["dit", "regressor"] {
            if !controls.iter().any(|c| c.name == name) {
                return Err(usage(format!("preset {}: needs the control `{name}`", preset.name())));
            }
        }
        Ok(Self {
            data: preset.section("data")?,
            model: preset.section("model")?,
            objective: preset.section("objective")?,
            sampler: preset.section("sampler")?,
            optimizer,
            trainer: preset.section("trainer")?,
            eval: preset.section("eval")?,
            controls,
            identity: preset.identity_json().to_string(),
        })
    }

    /// Everything that can be wrong without data or a model in memory.
    pub fn check(&self) -> anyhow::Result<()> {
        self.model.check()?;
        for (name, value) in [
            ("trainer.batch_size", self.trainer.batch_size),
            ("trainer.keep_last", self.trainer.keep_last),
            ("sampler.repeats", self.sampler.repeats),
            ("eval.batch_size", self.eval.batch_size),
            ("eval.n_resamples", self.eval.n_resamples),
            ("eval.shown", self.eval.shown),
            ("data.sizes", self.data.sizes.into_iter().min().unwrap_or(0)),
        ] {
            if value == 0 {
                return Err(usage(format!("{name} = 0: must be at least 1")));
            }
        }
        if self.sampler.repeats < 3 {
            return Err(usage(format!(
                "sampler.repeats = {}: must be at least 3, for the gates",
                self.sampler.repeats
            )));
        }
        if !["test", "validation"].contains(&self.eval.part.as_str()) {
            return Err(usage(format!("eval.part = {}: must be test or validation", self.eval.part)));
        }
        if !["fashion-mnist", "png"].contains(&self.data.source.as_str()) {
            return Err(usage(format!("data.source = {}: must be fashion-mnist or png", self.data.source)));
        }
        if !(self.objective.alpha_lr_factor >= 0.0 && self.objective.alpha_lr_factor.is_finite()) {
            let found = self.objective.alpha_lr_factor;
            return Err(usage(format!("objective.alpha_lr_factor = {found}: must be at least 0")));
        }
        let train = Corruption::new(&self.objective.schedule, self.objective.train_fraction)?;
        for steps in self.sampler.short.iter().chain([&self.sampler.ddim_steps]) {
            evenly_spaced(train.step(), *steps)?;
        }
        for fraction in self.eval.fractions {
            Corruption::new(&self.objective.schedule, fraction)?;
        }
        for name in ["ebt", "dit", "regressor"] {
            self.trainer(name).check()?;
        }
        Ok(())
    }

    pub fn dit(&self) -> DitConfig {
        DitConfig { trunk: self.model.trunk, learn_variance: self.objective.learn_variance }
    }

    pub fn regressor(&self) -> ImageRegressorConfig {
        ImageRegressorConfig { trunk: self.model.trunk }
    }

    /// The training of `ebt`, `dit` or `regressor`. Steps and batches are the same for all.
    pub fn trainer(&self, name: &str) -> TrainerConfig {
        let control = self.controls.iter().find(|c| c.name == name);
        let mut optimizer = self.optimizer.clone();
        if let Some(decay) = control.and_then(|c| c.weight_decay) {
            optimizer.weight_decay = decay;
        }
        if control.is_none() {
            let lr_factor = self.objective.alpha_lr_factor * self.model.step_size;
            optimizer.groups =
                vec![ParamGroup { names: vec![ALPHA.to_owned()], lr_factor, weight_decay: 0.0 }];
        }
        let mut config = self.trainer.config(&OptimizerConfig::AdamW(optimizer));
        if let Some(learning_rate) = control.and_then(|c| c.learning_rate.clone()) {
            config.learning_rate = learning_rate;
        }
        config
    }

    /// Multiply-accumulates of one training step for one image: three passes of a plain network (forward, and backward
    /// to activations and weights); for the energy twice that of forward and gradient more (each product of either has
    /// two in the backward pass).
    pub fn training_macs(&self, name: &str) -> u64 {
        match name {
            "dit" => 3 * self.dit().macs(),
            "regressor" => 3 * self.regressor().macs(),
            _ => 3 * self.model.step_macs(),
        }
    }

    pub fn plan(&self, minutes: f64) -> Plan {
        let per_image: u64 = ["ebt", "dit", "regressor"].iter().map(|n| self.training_macs(n)).sum();
        let images = self.trainer.n_steps * self.trainer.batch_size as u64;
        let (model, dit, regressor) =
            (self.model.n_parameters(), self.dit().n_parameters(), self.regressor().n_parameters());
        let trunk = &self.model.trunk;
        // Activations of a batch: about 30 numbers of the width per token and layer, three times for double backward.
        let tokens = (self.trainer.batch_size * trunk.patches().count() * trunk.n_layers) as u64;
        let scores = (tokens * trunk.patches().count() as u64) * trunk.n_heads as u64;
        Plan {
            parameters: model,
            macs: per_image * images,
            memory_bytes: 400_000_000
                + 16 * (model + dit + regressor)
                + 12 * (30 * tokens * trunk.width as u64 + 3 * scores),
            steps: 3 * self.trainer.n_steps,
            minutes,
        }
    }
}
