//! The control of EBWM: the same blocks in an ordinary causal transformer that predicts the next frame in one pass,
//! `y = W h`, trained by the same loss.

use ebm_core::Result;
use ebm_core::torch::Params;
use ebm_train::{Batch, Loss, Objective};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::net::smooth_l1;
use super::objective::{check_beta, observed_and_next};
use crate::nn::{CausalTransformer, Linear, LinearInit, LinearSpec, TransformerConfig};

/// The sizes of [`FrameTransformer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameTransformerConfig {
    /// The blocks; a frame's vector is as wide as they are.
    pub transformer: TransformerConfig,
}

impl FrameTransformerConfig {
    fn head(&self) -> LinearSpec {
        let width = self.transformer.width;
        LinearSpec::new(width, width).without_bias().init(LinearInit::XavierNormal)
    }

    /// Trainable numbers: blocks and head.
    pub fn n_parameters(&self) -> u64 {
        self.transformer.n_parameters() + self.head().parameters()
    }

    /// Multiply-accumulates of one film's predictions.
    pub fn prediction_macs(&self) -> u64 {
        let t = &self.transformer;
        t.context as u64 * (t.causal_macs() + self.head().macs())
    }

    /// Multiply-accumulates of one film in training: forward, back to inputs, back to weights.
    pub fn training_macs(&self) -> u64 {
        3 * self.prediction_macs()
    }
}

/// See [`FrameTransformerConfig`].
#[derive(Debug)]
pub struct FrameTransformer {
    transformer: CausalTransformer,
    output: Linear,
}

impl FrameTransformer {
    /// A fresh network whose parameters join `params`.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &FrameTransformerConfig, params: &mut Params) -> Result<Self> {
        let mut root = params.root();
        Ok(Self {
            transformer: CausalTransformer::new(&config.transformer, root.sub("transformer"))?,
            output: config.head().build(root.sub("output"))?,
        })
    }

    /// The frame after each of `frames`: `[n, s, width] -> [n, s, width]`.
    ///
    /// # Errors
    /// More frames than the context, or another width.
    pub fn predict(&self, frames: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.transformer.forward(frames)?)
    }
}

/// Smooth-L1 of the predictions of a [`FrameTransformer`]. The batch's `x` is films `[n, s + 1, width]`.
#[derive(Debug)]
pub struct NextFrameObjective {
    beta: f64,
    validation: Option<Tensor>,
}

impl NextFrameObjective {
    /// `beta` is the width of Smooth-L1's parabola.
    ///
    /// # Errors
    /// When it is not above 0.
    pub fn new(beta: f64) -> Result<Self> {
        check_beta(beta)?;
        Ok(Self { beta, validation: None })
    }

    /// Log `validation_loss` on these held-out films.
    pub fn with_validation(mut self, films: Tensor) -> Self {
        self.validation = Some(films);
        self
    }

    fn mean(&self, model: &FrameTransformer, films: &Tensor) -> Result<Tensor> {
        let (frames, next) = observed_and_next(films)?;
        Ok(smooth_l1(&model.predict(&frames)?, &next, self.beta)?.f_mean(None::<Kind>)?)
    }
}

impl Objective<FrameTransformer> for NextFrameObjective {
    fn loss(&mut self, model: &FrameTransformer, batch: &Batch, _step: u64) -> Result<Loss> {
        Ok(Loss::new(self.mean(model, &batch.x)?, Vec::new()))
    }

    fn diagnostics(&self, model: &FrameTransformer) -> Result<Vec<(&'static str, Tensor)>> {
        let Some(films) = &self.validation else { return Ok(Vec::new()) };
        Ok(vec![("validation_loss", tch::no_grad(|| self.mean(model, films))?)])
    }
}
