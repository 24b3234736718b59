//! Transformer++, the baseline of EBT: the same blocks, causal, with an untied output layer.
//! It has as many parameters as the EBT of its sizes, but for the energy head and alpha.

use ebm_core::Result;
use ebm_core::torch::{Init, Params};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::nn::attention::KeysValues;
use crate::nn::{CausalTransformer, Linear, LinearInit, LinearSpec, TransformerConfig};

/// Sizes of a [`Baseline`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    /// Tokens.
    pub vocabulary: usize,
    /// The blocks.
    pub transformer: TransformerConfig,
}

impl BaselineConfig {
    /// Trainable numbers.
    pub fn n_parameters(&self) -> u64 {
        self.transformer.n_parameters() + (2 * self.vocabulary * self.transformer.width) as u64
    }

    /// Multiply-accumulates per token of a training step: forward, to the inputs, to the weights.
    pub fn training_macs(&self) -> u64 {
        3 * self.prediction_macs()
    }

    /// Multiply-accumulates per token of a prediction.
    pub fn prediction_macs(&self) -> u64 {
        self.transformer.causal_macs() + (self.vocabulary * self.transformer.width) as u64
    }
}

/// The network. Its parameters are named as in EBT's released code.
#[derive(Debug)]
pub struct Baseline {
    embeddings: Tensor,
    transformer: CausalTransformer,
    output: Linear,
}

impl Baseline {
    /// A fresh network whose parameters join `params`, started by the same rules as EBT.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &BaselineConfig, params: &mut Params) -> Result<Self> {
        let width = config.transformer.width;
        let size = [config.vocabulary as i64, width as i64];
        let embeddings = params.root().sub("embeddings").parameter("weight", &size, Init::Normal(1.0))?;
        let transformer = CausalTransformer::new(&config.transformer, params.root().sub("transformer"))?;
        let output = LinearSpec::new(width, config.vocabulary).without_bias().init(LinearInit::XavierNormal);
        Ok(Self { embeddings, transformer, output: output.build(params.root().sub("output"))? })
    }

    /// Logits `[n, s, vocabulary]` of the token after each of `tokens` `[n, s]`, i64.
    ///
    /// # Errors
    /// A sequence longer than the context.
    pub fn logits(&self, tokens: &Tensor) -> Result<Tensor> {
        self.logits_after(tokens, &mut Vec::new())
    }

    /// The same for tokens that come after those in `cache`, which grows by theirs.
    ///
    /// # Errors
    /// As [`Baseline::logits`].
    pub fn logits_after(&self, tokens: &Tensor, cache: &mut Vec<KeysValues>) -> Result<Tensor> {
        let x = Tensor::f_embedding(&self.embeddings, tokens, -1, false, false)?;
        self.output.forward(&self.transformer.forward_after(&x, cache)?)
    }
}
