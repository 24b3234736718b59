//! Sizes of the text models: the published table, parameter counts and multiply-accumulates, without allocating.

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::nn::TransformerConfig;

/// How a landscape knows which inner step it is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// It does not: one landscape for all steps, and one pass over the observed stream serves them all.
    #[default]
    Default,
    /// A learned token per step stands before the observed ones: `n` landscapes, each with its own pass over the
    /// observed stream. Steps beyond the last stay on the last landscape.
    TimeEmbedding(usize),
}

/// An EBT over tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EbtTextConfig {
    /// Tokens.
    pub vocabulary: usize,
    /// Which landscapes.
    #[serde(default)]
    pub variant: Variant,
    /// Where alpha starts.
    pub step_size: f64,
    /// The blocks.
    pub transformer: TransformerConfig,
}

/// The published sizes: name, layers, width, heads, learning rate on text. The first two are in the code alone.
pub const SIZES: [(&str, usize, usize, usize, f64); 8] = [
    ("4xs", 2, 128, 2, 2.4e-3),
    ("3xs", 4, 256, 4, 1.8e-3),
    ("xxs", 6, 384, 6, 1.2e-3),
    ("xs", 12, 384, 6, 9e-4),
    ("small", 12, 768, 12, 6e-4),
    ("medium", 24, 1024, 16, 3e-4),
    ("large", 24, 1536, 16, 2.5e-4),
    ("xl", 24, 2048, 32, 2e-4),
];

impl TransformerConfig {
    /// One of EBT's published [`SIZES`].
    ///
    /// # Errors
    /// An unknown name.
    pub fn ebt_size(name: &str, context: usize) -> Result<Self> {
        let Some((_, n_layers, width, n_heads, _)) = SIZES.iter().find(|size| size.0 == name) else {
            let names = SIZES.map(|size| size.0).join(", ");
            return Err(Error::bad_value("size", name, format!("one of {names}"), ""));
        };
        Ok(Self::new(*n_layers, *width, *n_heads, context))
    }

    /// Multiply-accumulates of one position in a causal pass over `context` positions, without embeddings or heads:
    /// products with weights, and scores and values over the keys that a row may look at, on average.
    pub fn causal_macs(&self) -> u64 {
        self.weight_macs() + self.attention_macs(self.context.div_ceil(2))
    }
}

impl EbtTextConfig {
    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        self.transformer.check()?;
        if self.vocabulary < 2 {
            return Err(Error::bad_value("model.vocabulary", self.vocabulary, "at least 2", ""));
        }
        if self.variant == Variant::TimeEmbedding(0) {
            return Err(Error::bad_value("model.variant", "time_embedding = 0", "at least 1 landscape", ""));
        }
        if !(self.step_size > 0.0 && self.step_size.is_finite()) {
            let fix = "it is re-tuned for each vocabulary: try 5 to 500";
            return Err(Error::bad_value("model.step_size", self.step_size, "above 0 and finite", fix));
        }
        Ok(())
    }

    /// Landscapes: passes over the observed stream.
    pub fn n_landscapes(&self) -> usize {
        match self.variant {
            Variant::Default => 1,
            Variant::TimeEmbedding(n) => n,
        }
    }

    /// Trainable numbers: both embeddings, the blocks, the head, the step tokens and alpha.
    pub fn n_parameters(&self) -> u64 {
        let TransformerConfig { width, .. } = self.transformer;
        let step_tokens = match self.variant {
            Variant::Default => 0,
            Variant::TimeEmbedding(n) => n * width,
        };
        self.transformer.n_parameters() + (2 * self.vocabulary * width + width + step_tokens + 1) as u64
    }

    /// Multiply-accumulates per token of a training step whose loss is differentiated through `with_graph` of the
    /// `n_steps` inner steps.
    ///
    /// A product costs one unit forward. The observed stream takes 3 (forward, to its input, to its weights), once per
    /// landscape. An inner step takes 2 (forward, to the candidate); with graph 4 more (the second derivative: forward
    /// and back along the direction, and twice to the weights). The vocabulary's products: in and out, and with graph
    /// three more (to the step's gradient and, for both, to the embedding).
    pub fn training_macs(&self, n_steps: u64, with_graph: u64) -> u64 {
        let TransformerConfig { width, .. } = self.transformer;
        let core = self.transformer.causal_macs();
        let step = core + width as u64;
        let vocabulary = (self.vocabulary * width) as u64;
        self.n_landscapes() as u64 * 3 * core
            + n_steps * (2 * step + 2 * vocabulary)
            + with_graph * (4 * step + 3 * vocabulary)
    }

    /// Multiply-accumulates per token of a prediction of `n_steps` steps and, where asked for, the energy of the result.
    pub fn prediction_macs(&self, n_steps: u64, with_energy: bool) -> u64 {
        let width = self.transformer.width as u64;
        let core = self.transformer.causal_macs();
        let vocabulary = self.vocabulary as u64 * width;
        let last = if with_energy { core + width + vocabulary } else { 0 };
        self.n_landscapes() as u64 * core + n_steps * 2 * (core + width + vocabulary) + last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published counts without embeddings are 6.18, 12.4, 48.8, 176, 396 and 708 millions. Ours, `7 D^2` a block
    /// and the norms, agree within 2 percent.
    #[test]
    fn published_sizes() {
        let published =
            [("xxs", 6.18e6), ("xs", 12.4e6), ("small", 48.8e6), ("medium", 176e6), ("large", 396e6)];
        for (name, count) in published.into_iter().chain([("xl", 708e6)]) {
            let found = TransformerConfig::ebt_size(name, 256).unwrap().n_parameters() as f64;
            assert!((found / count - 1.0).abs() < 0.02, "{name}: {found}");
        }
        assert!(TransformerConfig::ebt_size("huge", 256).unwrap_err().to_string().contains("xxs"));
    }

    #[test]
    fn impossible_sizes_are_named() {
        let good = EbtTextConfig {
            vocabulary: 256,
            variant: Variant::Default,
            step_size: 5.0,
            transformer: TransformerConfig::new(2, 16, 2, 8),
        };
        good.check().unwrap();
        let says = |config: EbtTextConfig, text: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(EbtTextConfig { step_size: 0.0, ..good.clone() }, "model.step_size = 0");
        says(EbtTextConfig { vocabulary: 1, ..good.clone() }, "model.vocabulary");
        says(EbtTextConfig { variant: Variant::TimeEmbedding(0), ..good.clone() }, "time_embedding");
        let transformer = TransformerConfig { n_heads: 3, ..good.transformer.clone() };
        says(EbtTextConfig { transformer, ..good }, "multiple of 2 n_heads");
    }

    /// By hand for one layer, width 2, context 1, vocabulary 3: blocks 7 * 4 = 28 products with weights, attention over
    /// one key 2 * 2 = 4, so 32; the head 2, the vocabulary 6. Two steps with graph: 3 * 32 + 2 * (6 * 34 + 5 * 6).
    #[test]
    fn multiply_accumulates_by_hand() {
        let config = EbtTextConfig {
            vocabulary: 3,
            variant: Variant::Default,
            step_size: 1.0,
            transformer: TransformerConfig::new(1, 2, 1, 1),
        };
        assert_eq!(config.training_macs(2, 2), 96 + 2 * (6 * 34 + 5 * 6));
        assert_eq!(config.prediction_macs(2, true), 32 + 4 * (34 + 6) + 40);
    }
}
