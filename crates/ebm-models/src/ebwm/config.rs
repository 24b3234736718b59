//! The sizes of EBWM and what they cost.

use ebm_core::{Error, Result};
use ebm_samplers::descent::MIN_STEP_SIZE;
use serde::{Deserialize, Serialize};

use crate::nn::TransformerConfig;

/// Where a descent starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Standard normal numbers.
    #[default]
    Noise,
    /// Zeros.
    Zeros,
    /// The newest frame that was observed.
    LastFrame,
}

/// The network and its step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EbwmConfig {
    /// The blocks. A frame's vector is as wide as they are; `context` is the number of predictions in a film, one
    /// fewer than its frames.
    pub transformer: TransformerConfig,
    /// The step size alpha at the start of training; it is learned. Held above 1e-4.
    pub step_size: f64,
    /// Where a descent starts.
    #[serde(default)]
    pub start: Start,
}

impl EbwmConfig {
    /// Blocks and step size for films of DINOv2-base vectors, 16 frames: the published EBT video settings, which are
    /// the nearest that are known (EBWM's own tables are not).
    pub fn paper() -> Self {
        Self {
            transformer: TransformerConfig::new(12, 768, 12, 15),
            step_size: 30_000.0,
            start: Start::Noise,
        }
    }

    /// Whether the settings make a model.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        self.transformer.check()?;
        if !(self.step_size >= MIN_STEP_SIZE && self.step_size.is_finite()) {
            let limit = format!("at least {MIN_STEP_SIZE} and finite");
            return Err(Error::bad_value("model.step_size", self.step_size, limit, "try 10"));
        }
        Ok(())
    }

    /// Trainable numbers: blocks, the head's weights, and alpha.
    pub fn n_parameters(&self) -> u64 {
        self.transformer.n_parameters() + self.transformer.width as u64 + 1
    }

    /// Multiply-accumulates of the observed stream of one film.
    pub fn observed_macs(&self) -> u64 {
        self.transformer.context as u64 * self.transformer.causal_macs()
    }

    /// Multiply-accumulates of the energies of one film's candidates.
    pub fn energy_macs(&self) -> u64 {
        let t = &self.transformer;
        t.context as u64 * (t.causal_macs() + t.width as u64)
    }

    /// Multiply-accumulates of one film's predictions by `n_steps` steps: each is a pass forward and one back to
    /// the candidates.
    pub fn prediction_macs(&self, n_steps: usize) -> u64 {
        self.observed_macs() + 2 * n_steps as u64 * self.energy_macs()
    }

    /// Multiply-accumulates of one film in training with `n_steps` steps, a graph through each.
    ///
    /// The observed stream costs three passes (forward, back to inputs, back to weights). A step costs six: forward,
    /// back to the candidates, and, of each of these two, back to its inputs and to the weights.
    pub fn training_macs(&self, n_steps: usize) -> u64 {
        3 * self.observed_macs() + 6 * n_steps as u64 * self.energy_macs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: a block of width 768 has 7 x 768^2 = 4,128,768 weights and two norms of 768; twelve of them, the last
    /// norm 768, the head 768, alpha 1.
    #[test]
    fn the_papers_network_has_the_derived_size() {
        let config = EbwmConfig::paper();
        config.check().unwrap();
        assert_eq!(config.n_parameters(), 12 * (4_128_768 + 2 * 768) + 768 + 768 + 1);
        assert_eq!(config.n_parameters(), 49_565_185);
    }

    /// One layer of width 2, hidden 3, two places. Weights of a block: 4 x 4 + 3 x 6 = 34 per place.
    #[test]
    fn multiplications_are_counted_by_hand() {
        let transformer = TransformerConfig { hidden: 3, ..TransformerConfig::new(1, 2, 1, 2) };
        let config = EbwmConfig { transformer, step_size: 1.0, start: Start::Noise };
        // And scores and values over one key of width 2, half the context.
        assert_eq!(config.observed_macs(), 2 * 38);
        // The head's 2 on top.
        assert_eq!(config.energy_macs(), 2 * 40);
        assert_eq!(config.prediction_macs(2), 76 + 4 * 80);
        assert_eq!(config.training_macs(2), 3 * 76 + 12 * 80);
    }

    #[test]
    fn impossible_settings_are_named() {
        for step_size in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = EbwmConfig { step_size, ..EbwmConfig::paper() }.check().unwrap_err().to_string();
            assert!(error.starts_with("model.step_size"), "{error}");
        }
        let mut unknown = serde_json::to_value(EbwmConfig::paper()).unwrap();
        unknown["alpha"] = 2.into();
        assert!(serde_json::from_value::<EbwmConfig>(unknown).is_err());
    }
}
