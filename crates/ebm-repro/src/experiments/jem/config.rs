//! The tables of JEM's presets.

use ebm_core::Schedule;
use ebm_models::jem::{JemConfig, JemWeights};
use ebm_samplers::{Kernel, ReplayConfig, Ula};
use ebm_train::TrainerConfig;
use ebm_train::optim::OptimizerConfig;
use serde::Deserialize;
use tch::Tensor;

use crate::experiment::Plan;
use crate::experiments::training::TrainerSection;
use crate::preset::Preset;
use crate::usage::usage;

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// `digits` or `fashion-mnist`.
    pub source: String,
    /// A folder of the user's own: `images-idx3-ubyte` and `labels-idx1-ubyte`, `.gz` or not. Read by
    /// [`Preset::data_path`].
    #[allow(dead_code, reason = "declared so that the key is known")]
    #[serde(default)]
    pub path: String,
    /// Items to train on, to choose settings with, and to judge with.
    pub sizes: [usize; 3],
    /// Standard deviation of the noise on every input, in units of pixels on [-1, 1].
    pub noise_std: f32,
    /// Augmentation: reflect-pad by this and crop.
    #[serde(default)]
    pub pad: usize,
    /// Augmentation: flip left and right.
    #[serde(default)]
    pub flip: bool,
}

/// `[objective]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSection {
    /// Weight of the cross-entropy.
    pub classify: f64,
    /// Weight of the marginal likelihood.
    pub marginal: f64,
    /// Weight of the joint likelihood.
    pub joint: f64,
    /// Weight of the penalty on squared energies.
    pub energy_l2: f64,
}

/// `[sampler]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSection {
    /// SGLD's step.
    pub step_size: Schedule,
    /// SGLD's noise.
    pub noise_std: Schedule,
    /// Steps per visit.
    pub n_steps: u64,
    /// Slots in the buffer.
    pub capacity: usize,
    /// Probability of a fresh start.
    pub reinit: f64,
}

/// `[eval]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// Which part is judged: `test`, or `validation` while settings are chosen.
    pub part: String,
    /// Principal components of the training set in which samples are compared.
    pub pca: usize,
    /// Optimiser steps of the twin; everything else is as for JEM.
    pub twin_steps: u64,
    /// Buffer of the twin: slots.
    pub twin_capacity: usize,
    /// Buffer of the twin: visits of each slot, of `sampler.n_steps` each.
    pub twin_visits: u64,
    /// Resamples of a bootstrap.
    pub n_resamples: usize,
    /// Share of the training that the energy gap ignores.
    pub settle: f64,
}

/// `[[controls]]`: the twin trained by cross-entropy alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    /// `ce-twin`.
    pub name: String,
    /// What it is.
    #[allow(dead_code, reason = "shown in the report's configuration")]
    pub what: String,
}

/// A preset, read.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`DataSection`].
    pub data: DataSection,
    /// The network.
    pub model: JemConfig,
    /// See [`ObjectiveSection`].
    pub objective: ObjectiveSection,
    /// See [`SamplerSection`].
    pub sampler: SamplerSection,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// See [`TrainerSection`].
    pub trainer: TrainerSection,
    /// See [`EvalSection`].
    pub eval: EvalSection,
    /// Everything in the preset, as text: what makes a run this run.
    pub identity: String,
}

impl Config {
    pub fn read(preset: &Preset) -> anyhow::Result<Self> {
        let controls: Vec<ControlSection> = preset.list("controls")?;
        if controls.len() != 1 || controls[0].name != "ce-twin" {
            return Err(usage(format!("preset {}: needs one control, `ce-twin`", preset.name())));
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

    /// Everything that can be wrong without data or a model in memory.
    pub fn check(&self) -> anyhow::Result<()> {
        self.model.check()?;
        Kernel::<Tensor, ebm_models::jem::JemNet>::check(&self.kernel())?;
        for (name, value) in [
            ("trainer.batch_size", self.trainer.batch_size),
            ("trainer.keep_last", self.trainer.keep_last),
            ("sampler.n_steps", self.sampler.n_steps as usize),
            ("sampler.capacity", self.sampler.capacity),
            ("eval.twin_capacity", self.eval.twin_capacity),
            ("eval.n_resamples", self.eval.n_resamples),
            ("data.sizes", self.data.sizes.into_iter().min().unwrap_or(0)),
        ] {
            if value == 0 {
                return Err(usage(format!("{name} = 0: must be at least 1")));
            }
        }
        if !["test", "validation"].contains(&self.eval.part.as_str()) {
            return Err(usage(format!("eval.part = {}: must be test or validation", self.eval.part)));
        }
        if !(0.0..=1.0).contains(&self.sampler.reinit) {
            return Err(usage(format!("sampler.reinit = {}: must be in [0, 1]", self.sampler.reinit)));
        }
        self.jem_trainer().check()?;
        self.twin_trainer().check()?;
        Ok(())
    }

    pub fn kernel(&self) -> Ula {
        Ula::new(self.sampler.step_size.clone()).noise_std(self.sampler.noise_std.clone())
    }

    pub fn weights(&self) -> JemWeights {
        let ObjectiveSection { classify, marginal, joint, .. } = self.objective;
        JemWeights { classify, marginal, joint }
    }

    /// A buffer of `capacity` slots that start uniform on the pixels' range.
    pub fn buffer(&self, capacity: usize) -> ReplayConfig {
        ReplayConfig { capacity, reinit: self.sampler.reinit, low: -1.0, high: 1.0 }
    }

    pub fn jem_trainer(&self) -> TrainerConfig {
        self.trainer.config(&self.optimizer)
    }

    pub fn twin_trainer(&self) -> TrainerConfig {
        TrainerConfig {
            n_steps: self.eval.twin_steps,
            checkpoint_every: self.trainer.checkpoint_every.max(self.eval.twin_steps / 4),
            ..self.jem_trainer()
        }
    }

    /// What a run takes. A backward pass to the input costs one forward, to the parameters another; a training
    /// step passes three batches forward and twice back, and each Langevin step one batch once each way.
    pub fn plan(&self, minutes: f64) -> Plan {
        let image = self.model.macs() * self.trainer.batch_size as u64;
        let per_step = image * (3 * 3 + 2 * self.sampler.n_steps);
        let twin = image * 3 * self.eval.twin_steps;
        let pixels = (self.model.channels * self.model.side * self.model.side) as u64;
        let held = 4 * (4 * self.model.n_parameters() + pixels * self.sampler.capacity as u64);
        Plan {
            parameters: self.model.n_parameters(),
            macs: per_step * self.trainer.n_steps + twin,
            // Activations: about the multiply-accumulates over 9 inputs of each output, three batches, kept once.
            memory_bytes: 400_000_000 + held + 4 * 3 * image / 64,
            steps: self.trainer.n_steps,
            minutes,
        }
    }
}
