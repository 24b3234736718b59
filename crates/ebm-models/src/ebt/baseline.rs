//! Transformer++, the baseline of EBT: the same blocks, causal, with an untied output layer.
//! It has as many parameters as the EBT of its sizes, but for the energy head and alpha.

use ebm_core::Result;
use ebm_core::torch::{Init, Params};
use ebm_train::{Batch, Loss, Objective};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::objective::Compute;
use super::text::cross_entropy;
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

    /// The same network computed in `kind`: see [`CausalTransformer::cast`]. Logits stay in the type of the weights.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            embeddings: self.embeddings.f_to_kind(kind)?,
            transformer: self.transformer.cast(kind)?,
            output: self.output.cast(self.output.weight().kind())?,
        })
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

/// The cross-entropy of the next token.
#[derive(Clone, Copy, Debug, Default)]
pub struct NextToken {
    /// Targets that are left out.
    pub padding: Option<i64>,
    /// What the network is computed in.
    pub compute: Compute,
}

impl Objective<Baseline> for NextToken {
    /// `batch.x`: tokens `[n, s + 1]`, i64; the first `s` are observed, the last `s` are the targets.
    fn loss(&mut self, net: &Baseline, batch: &Batch, _step: u64) -> Result<Loss> {
        let s = batch.x.size2()?.1 - 1;
        let cast = self.compute.kind().map(|kind| net.cast(kind)).transpose()?;
        let logits = cast.as_ref().unwrap_or(net).logits(&batch.x.f_narrow(1, 0, s)?)?;
        Ok(Loss::new(cross_entropy(&logits, &batch.x.f_narrow(1, 1, s)?, self.padding)?, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The baseline's rows do not see what comes after them, and a cache changes nothing.
    #[test]
    fn causal_with_and_without_a_cache() {
        let transformer = TransformerConfig::new(2, 8, 2, 6);
        let config = BaselineConfig { vocabulary: 5, transformer };
        let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
        let net = Baseline::new(&config, &mut params).unwrap();
        assert_eq!(params.count() as u64, config.n_parameters());
        let tokens = Tensor::from_slice(&[1i64, 4, 2, 0, 3, 3]).view([1, 6]);
        let all = net.logits(&tokens).unwrap();
        let mut cache = Vec::new();
        for (from, n) in [(0, 3), (3, 1), (4, 2)] {
            let part = net.logits_after(&tokens.narrow(1, from, n), &mut cache).unwrap();
            let difference = (part - all.narrow(1, from, n)).abs().max().double_value(&[]);
            assert!(difference < 1e-13, "{difference}");
        }
        assert!(net.logits(&tokens.repeat([1, 2])).is_err());
        let other = tokens.copy();
        let _ = other.get(0).get(4).fill_(0);
        assert_eq!(net.logits(&other).unwrap().narrow(1, 0, 4), all.narrow(1, 0, 4));
        // Uniform logits have the cross-entropy ln V.
        let loss = cross_entropy(&(all * 0.0), &tokens, None).unwrap().double_value(&[]);
        assert!((loss - 5f64.ln()).abs() < 1e-12);
    }
}
