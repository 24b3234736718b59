//! The tables of the presets of EBT on text.

use ebm_core::Schedule;
use ebm_models::ebt::{BaselineConfig, Compute, EbtTextConfig, Gradients, ReplayShare, Variant};
use ebm_models::nn::TransformerConfig;
use ebm_samplers::descent::{Descent, Graph, Steps};
use ebm_train::optim::{AdamWConfig, OptimizerConfig, ParamGroup};
use ebm_train::{Limits, TrainerConfig};
use serde::Deserialize;

use crate::experiment::Plan;
use crate::preset::Preset;
use crate::usage::usage;

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// `sotu` (bytes), or `token-files`: `path`, `validation` and `test` are mapped token files.
    pub source: String,
    /// The user's own text: a UTF-8 file, or a folder of .txt files. Read by [`Preset::data_path`].
    #[allow(dead_code, reason = "declared so that the key is known")]
    #[serde(default)]
    pub path: String,
    /// The token file of the validation part.
    #[serde(default)]
    pub validation: String,
    /// The token file of the test part.
    #[serde(default)]
    pub test: String,
}

/// `[model]`: what EBT and the baseline share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Tokens; 256 are bytes.
    pub vocabulary: usize,
    /// The blocks.
    pub transformer: TransformerConfig,
}

/// `[objective.s1]` and `[objective.s2]`: one way to train EBT.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySection {
    /// Which landscapes.
    pub variant: Variant,
    /// Where alpha starts.
    pub step_size: f64,
    /// Learning rate of alpha over everybody's; 0 keeps it fixed.
    pub step_size_lr_factor: f64,
    /// Peak of the learning rate.
    pub learning_rate: f64,
    /// The descent in training.
    pub descent: Descent,
    /// Steps of a prediction.
    pub predict_steps: usize,
    /// Whether predictions have the training's noise.
    pub predict_noise: bool,
    /// Continued candidates.
    #[serde(default)]
    pub replay: Option<ReplayShare>,
    /// Who takes the gradients.
    #[serde(default)]
    pub gradients: Gradients,
    /// What the network is computed in while it is trained.
    #[serde(default)]
    pub compute: Compute,
    /// Optimiser steps of this stage.
    pub n_steps: u64,
}

/// `[trainer]`: what every run of the experiment shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerSection {
    /// Windows in a batch.
    pub batch_size: usize,
    /// Batches whose gradients are averaged before each step.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// What the baseline is computed in while it is trained.
    #[serde(default)]
    pub baseline_compute: Compute,
    /// Peak of the baseline's learning rate.
    pub baseline_learning_rate: f64,
    /// Steps over which the rate rises.
    pub warm_up: u64,
    /// Length of the cosine, where it is longer than the run (the paper's is).
    #[serde(default)]
    pub schedule_steps: Option<u64>,
    /// The cosine ends at this share of the peak.
    pub floor: f64,
    /// Decoupled weight decay, of all parameters but alpha.
    pub weight_decay: f64,
    /// Clip gradients to this norm.
    pub clip_norm: f64,
    /// Steps between rows of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept.
    pub keep_last: usize,
    /// The divergence watch.
    #[serde(default)]
    pub limits: Limits,
}

fn one() -> u64 {
    1
}

/// `[eval]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// `test`, or `validation` while settings are chosen.
    pub part: String,
    /// Windows that are judged, evenly taken from all.
    pub n_windows: usize,
    /// Windows of each set out of distribution; 0 leaves these sets out.
    pub n_outlier_windows: usize,
    /// Windows a batch.
    pub batch_size: usize,
    /// Numbers of steps of thinking longer.
    pub thinking: Vec<usize>,
    /// Candidates of self-verification.
    pub n_candidates: usize,
    /// Resamples of a bootstrap.
    pub n_resamples: usize,
    /// Candidates for the trigram's delta, chosen on validation windows.
    pub deltas: Vec<f64>,
    /// Many trainings instead of one: `ebt-scaling`.
    #[serde(default)]
    pub scaling: Option<ScalingSection>,
}

/// `[eval.scaling]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingSection {
    /// Training tokens; each number is a training of its own with a cosine of its own.
    pub tokens: Vec<u64>,
    /// Seeds, from the run's on.
    pub n_seeds: u64,
    /// Training tokens of the second stage and of what is left out of it, under the run's seed.
    pub s2_tokens: u64,
    /// What to leave out, one at a time.
    pub without: Vec<Part>,
}

/// A part of the second stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Step sizes that differ over rows and positions.
    RandomStepSize,
    /// A number of steps that is drawn for each batch; without it, the fewest.
    RandomNSteps,
    /// Noise on the candidates, in training and in prediction.
    Langevin,
    /// Candidates that are gone on with; without it a step has no replayed rows.
    Replay,
}

impl Part {
    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::RandomStepSize => "random step size",
            Self::RandomNSteps => "random number of steps",
            Self::Langevin => "Langevin noise",
            Self::Replay => "replay",
        }
    }

    /// The stage without it.
    pub fn left_out_of(self, policy: &PolicySection) -> PolicySection {
        let mut policy = policy.clone();
        match self {
            Self::RandomStepSize => policy.descent.step_factor = None,
            Self::RandomNSteps => {
                if let Steps::Between { from, .. } = policy.descent.n_steps {
                    policy.descent.n_steps = Steps::Fixed(from);
                }
            }
            Self::Langevin => policy.descent.noise.std = 0.0,
            Self::Replay => policy.replay = None,
        }
        policy
    }
}

/// `[[controls]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    /// `transformer` (equal tokens), `transformer-flops` (equal counted FLOPs), `trigram`.
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
    /// See [`ModelSection`].
    pub model: ModelSection,
    /// The first stage.
    pub s1: PolicySection,
    /// The second, where the preset trains it.
    pub s2: Option<PolicySection>,
    /// See [`TrainerSection`].
    pub trainer: TrainerSection,
    /// See [`EvalSection`].
    pub eval: EvalSection,
    /// Controls to train.
    pub controls: Vec<String>,
    /// Everything in the preset, as text.
    pub identity: String,
}

impl Config {
    pub fn read(preset: &Preset) -> anyhow::Result<Self> {
        let controls: Vec<ControlSection> = preset.list("controls")?;
        let objective: ObjectiveSection = preset.section("objective")?;
        Ok(Self {
            data: preset.section("data")?,
            model: preset.section("model")?,
            s1: objective.s1,
            s2: objective.s2.filter(|_| objective.train_s2),
            trainer: preset.section("trainer")?,
            eval: preset.section("eval")?,
            controls: controls.into_iter().map(|c| c.name).collect(),
            identity: preset.identity_json().to_string(),
        })
    }

    /// Everything that can be wrong without data or a model in memory.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, policy) in self.policies() {
            self.ebt(policy).check()?;
            policy.descent.check().map_err(|e| usage(format!("objective.{name}.descent: {e}")))?;
            if policy.descent.graph == Graph::None {
                return Err(usage(format!(
                    "{name}.descent.graph = none: must be per_step, last_step or full"
                )));
            }
            self.optimizer(policy.step_size_lr_factor);
            self.ebt_trainer(policy).check()?;
            policy.descent.prediction(policy.predict_steps, policy.predict_noise).check()?;
        }
        for (name, value) in [
            ("trainer.batch_size", self.trainer.batch_size),
            ("trainer.keep_last", self.trainer.keep_last),
            ("eval.n_windows", self.eval.n_windows),
            ("eval.batch_size", self.eval.batch_size),
            ("eval.n_candidates", self.eval.n_candidates),
            ("eval.n_resamples", self.eval.n_resamples),
            ("eval.thinking", self.eval.thinking.iter().copied().min().unwrap_or(0)),
        ] {
            if value == 0 {
                return Err(usage(format!("{name} = 0: must be at least 1")));
            }
        }
        if !["test", "validation"].contains(&self.eval.part.as_str()) {
            return Err(usage(format!("eval.part = {}: must be test or validation", self.eval.part)));
        }
        for control in &self.controls {
            if !["transformer", "transformer-flops", "trigram"].contains(&control.as_str()) {
                return Err(usage(format!(
                    "control {control}: must be transformer, transformer-flops or trigram"
                )));
            }
        }
        if self.model.vocabulary != 256 && self.data.source != "token-files" {
            return Err(usage(format!(
                "model.vocabulary = {}: bytes have 256; other vocabularies need data.source = token-files",
                self.model.vocabulary
            )));
        }
        Ok(())
    }

    /// The stages with their names.
    pub fn policies(&self) -> impl Iterator<Item = (&'static str, &PolicySection)> {
        std::iter::once(("s1", &self.s1)).chain(self.s2.iter().map(|s2| ("s2", s2)))
    }

    pub fn wants(&self, control: &str) -> bool {
        self.controls.iter().any(|c| c == control)
    }

    pub fn ebt(&self, policy: &PolicySection) -> EbtTextConfig {
        let ModelSection { vocabulary, transformer } = self.model.clone();
        EbtTextConfig { vocabulary, variant: policy.variant, step_size: policy.step_size, transformer }
    }

    pub fn baseline(&self) -> BaselineConfig {
        let ModelSection { vocabulary, transformer } = self.model.clone();
        BaselineConfig { vocabulary, transformer }
    }

    fn optimizer(&self, alpha_factor: f64) -> OptimizerConfig {
        let alpha = ParamGroup { names: vec!["alpha".into()], lr_factor: alpha_factor, weight_decay: 0.0 };
        let weight_decay = self.trainer.weight_decay;
        OptimizerConfig::AdamW(AdamWConfig { weight_decay, groups: vec![alpha], ..AdamWConfig::default() })
    }

    /// A linear rise, then a cosine down to the floor over the run (or the preset's longer schedule).
    fn trainer(&self, n_steps: u64, peak: f64, optimizer: OptimizerConfig) -> TrainerConfig {
        let t = &self.trainer;
        let warm_up = t.warm_up.min(n_steps / 2);
        let schedule = t.schedule_steps.unwrap_or(n_steps).max(warm_up + 1);
        let cosine = Schedule::cosine(peak, t.floor * peak, schedule - warm_up);
        TrainerConfig {
            n_steps,
            learning_rate: if warm_up > 0 { Schedule::warm_up(warm_up, cosine) } else { cosine },
            optimizer,
            clip_norm: Some(t.clip_norm),
            accumulate: t.accumulate,
            ema_decay: None,
            log_every: t.log_every,
            checkpoint_every: t.checkpoint_every,
            limits: t.limits.clone(),
        }
    }

    pub fn ebt_trainer(&self, policy: &PolicySection) -> TrainerConfig {
        let optimizer = self.optimizer(policy.step_size_lr_factor);
        self.trainer(policy.n_steps, policy.learning_rate, optimizer)
    }

    pub fn baseline_trainer(&self, n_steps: u64) -> TrainerConfig {
        let weight_decay = self.trainer.weight_decay;
        let optimizer = OptimizerConfig::AdamW(AdamWConfig { weight_decay, ..AdamWConfig::default() });
        self.trainer(n_steps, self.trainer.baseline_learning_rate, optimizer)
    }

    /// Multiply-accumulates per fresh token of a training step, replayed rows included.
    pub fn training_macs(&self, policy: &PolicySection) -> f64 {
        let mean = match policy.descent.n_steps {
            Steps::Fixed(n) => n as f64,
            Steps::Between { from, to } => (from + to) as f64 / 2.0,
        };
        let ebt = self.ebt(policy);
        let steps = |n: u64, graph: u64| ebt.training_macs(n, graph) as f64;
        let per_row = match policy.descent.graph {
            // Every step costs the same: a step more is the difference of one and two.
            Graph::PerStep | Graph::Full => steps(0, 0) + mean * (steps(1, 1) - steps(0, 0)),
            _ => steps(0, 0) + mean * (steps(1, 0) - steps(0, 0)) + steps(0, 1) - steps(0, 0),
        };
        per_row * (1.0 + policy.replay.map_or(0.0, |r| r.share))
    }

    /// Steps of the baseline that cost as much as EBT's whole training.
    pub fn equal_flops_steps(&self) -> u64 {
        let multiple = self.training_macs(&self.s1) / self.baseline().training_macs() as f64;
        (self.s1.n_steps as f64 * multiple).round() as u64
    }

    /// The same with another number of training tokens: a cosine and a rise of its own.
    pub fn with_tokens(&self, tokens: u64) -> Self {
        let mut config = self.clone();
        let t = &mut config.trainer;
        let per_step = (t.batch_size * self.model.transformer.context) as u64 * t.accumulate;
        let n_steps = (tokens / per_step).max(1);
        t.warm_up = n_steps / 10;
        config.s1.n_steps = n_steps;
        if let Some(s2) = &mut config.s2 {
            s2.n_steps = n_steps;
        }
        config
    }

    /// What a run takes.
    pub fn plan(&self, minutes: f64) -> Plan {
        let t = &self.trainer;
        let tokens =
            |steps: u64| steps * (t.batch_size * self.model.transformer.context) as u64 * t.accumulate;
        let mut macs = 0.0;
        for (_, policy) in self.policies() {
            macs += self.training_macs(policy) * tokens(policy.n_steps) as f64;
        }
        let mut steps = 0;
        if self.wants("transformer") {
            steps += self.s1.n_steps;
        }
        if self.wants("transformer-flops") {
            steps += self.equal_flops_steps();
        }
        macs += self.baseline().training_macs() as f64 * tokens(steps) as f64;
        let parameters = self.ebt(&self.s1).n_parameters();
        // A row's activations: about 40 numbers of the width and 20 of the hidden layer per token and layer and step,
        // twice the attention weights, and eight of the vocabulary's size.
        let TransformerConfig { n_layers, width, hidden, n_heads, context, .. } = self.model.transformer;
        let per_token =
            n_layers * (40 * width + 20 * hidden + 4 * n_heads * context) * 2 + 8 * self.model.vocabulary;
        Plan {
            parameters,
            macs: macs as u64,
            memory_bytes: 400_000_000 + 16 * parameters + 4 * (per_token * context * t.batch_size) as u64,
            steps: self.s1.n_steps,
            minutes,
        }
    }
}

/// `[objective]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveSection {
    /// Whether the second stage is trained too.
    train_s2: bool,
    s1: PolicySection,
    #[serde(default)]
    s2: Option<PolicySection>,
}
