//! Sizes of the network, and the descent in EBT-Policy's configuration.

use ebm_core::{Error, Result};
use ebm_samplers::descent::{Descent, Graph, LossOn, Noise, NoisePlace, Normaliser, StepFactor, Steps, Stop};
use serde::{Deserialize, Serialize};

use crate::nn::LinearSpec;

/// Sizes of a [`super::PolicyNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyNetConfig {
    /// Numbers of an observation.
    pub observation: usize,
    /// Observations that are seen.
    pub n_observations: usize,
    /// Numbers of an action.
    pub action: usize,
    /// Actions of a chunk.
    pub n_actions: usize,
    /// Width of the residual streams, of the feed-forward layers and of the embeddings.
    pub width: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Blocks of the encoder of observations.
    pub n_encoder_layers: usize,
    /// Blocks over the chunk.
    pub n_layers: usize,
}

impl PolicyNetConfig {
    /// The released sizes: 2 observations, 16 actions, width 256, 4 heads, 8 blocks in either stack.
    pub fn paper(observation: usize, action: usize) -> Self {
        let (n_observations, n_actions) = (2, 16);
        let (width, n_heads, n_layers) = (256, 4, 8);
        Self {
            observation,
            n_observations,
            action,
            n_actions,
            width,
            n_heads,
            n_encoder_layers: n_layers,
            n_layers,
        }
    }

    /// For two cores: width 64, 3 blocks over the chunk, 2 over the observations.
    pub fn small(observation: usize, action: usize) -> Self {
        Self { width: 64, n_encoder_layers: 2, n_layers: 3, ..Self::paper(observation, action) }
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [
            ("model.observation", self.observation),
            ("model.n_observations", self.n_observations),
            ("model.action", self.action),
            ("model.n_actions", self.n_actions),
            ("model.width", self.width),
            ("model.n_heads", self.n_heads),
            ("model.n_encoder_layers", self.n_encoder_layers),
            ("model.n_layers", self.n_layers),
        ] {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if self.width < 4 || !self.width.is_multiple_of(2) || !self.width.is_multiple_of(self.n_heads) {
            let limit = format!("even, at least 4, and a multiple of n_heads = {}", self.n_heads);
            return Err(Error::bad_value("model.width", self.width, limit, ""));
        }
        Ok(())
    }

    pub(super) fn square(&self) -> LinearSpec {
        super::net::layer(self.width, self.width)
    }

    /// Trainable numbers; with `timed`, those of the time's embedding too (Diffusion Policy alone has it).
    pub fn n_parameters(&self, timed: bool) -> u64 {
        let (d, square) = (self.width as u64, self.square().parameters());
        let head_norms = 2 * (self.width / self.n_heads) as u64;
        let attention = 4 * square + head_norms;
        let feed_forward = 2 * square;
        let encoder = self.n_encoder_layers as u64 * (attention + feed_forward + 2 * d) + d;
        let chunk = self.n_layers as u64 * (2 * attention + feed_forward + 3 * d) + d;
        let embed = |inputs: usize| super::net::layer(inputs, self.width).parameters() + square;
        let head = square + super::net::layer(self.width, self.action).parameters();
        let time = if timed { 2 * square } else { 0 };
        embed(self.observation) + embed(self.action) + encoder + chunk + head + time
    }

    /// Multiply-accumulates of encoding one sample's observations, with the keys and values that the chunk asks for.
    pub fn condition_macs(&self) -> u64 {
        let (d, n) = (self.width as u64, self.n_observations as u64);
        let embed = n * (self.observation as u64 * d + d * d);
        let block = n * (6 * d * d) + 2 * n * n * d;
        let keys_values = self.n_layers as u64 * n * 2 * d * d;
        embed + self.n_encoder_layers as u64 * block + keys_values
    }

    /// Multiply-accumulates of one evaluation of one chunk, its observations being encoded already.
    pub fn macs(&self) -> u64 {
        let (d, n, seen) = (self.width as u64, self.n_actions as u64, self.n_observations as u64);
        let action = self.action as u64;
        let embed = n * (action * d + d * d);
        // Queries, keys, values and output of self-attention; query and output of cross-attention; feed-forward.
        let block = n * (4 + 2 + 2) * d * d + 2 * n * n * d + 2 * n * seen * d;
        let head = n * (d * d + d * action);
        embed + self.n_layers as u64 * block + head
    }
}

/// The training descent of the released code: each candidate brought to unit root mean square, then noise falling from
/// 0.2 to 0.002, momentum 0.9 with look-ahead, 6 to 10 steps, step sizes times `u exp(E) / tau` with `u` uniform on
/// [1 / 1.5, 1.5], the loss and the graph on the last step. Its `tau` was 9 at the latest commit, 1 in most before.
pub fn policy_descent(normaliser: Normaliser, tau: f64) -> Descent {
    Descent {
        n_steps: Steps::Between { from: 6, to: 10 },
        normaliser,
        noise: Noise { std: 0.2, to: Some(0.002), place: NoisePlace::AfterNormaliser, ..Noise::default() },
        momentum: 0.9,
        step_factor: Some(StepFactor { low: 1.0 / 1.5, high: 1.5 }),
        tau: Some(tau),
        graph: Graph::LastStep,
        loss_on: LossOn::LastStep,
        ..Descent::default()
    }
}

/// The same descent as the released code predicts with: no noise, `u = 1`, until one step after the gradient's norm
/// over the chunk fell to `gradient_norm` (0.001), and at most `most` steps (20).
pub fn policy_prediction(training: &Descent, gradient_norm: f64, most: usize) -> Descent {
    Descent { stop: Stop::GradientNorm(gradient_norm), ..training.prediction(most, false) }
}
