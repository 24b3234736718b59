//! The network of JEM as a config: a small plain convolution stack, or the paper's wide residual network.

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::nn::{Activation, ConvSpec, LinearSpec};

/// Which trunk. None has a normalisation layer: batch statistics would tie the chains of a batch together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Architecture {
    /// 3x3 convolutions, then a linear head on all of the last map.
    Plain {
        /// Channels of each convolution.
        channels: Vec<usize>,
        /// Stride of each convolution.
        strides: Vec<usize>,
    },
    /// Wide residual network without normalisation: depth `6 k + 4`, three stages of widths 16, 32, 64 times
    /// `widen`, average pool over 8x8, linear head.
    WideResnet {
        /// Layers; 28 in the paper.
        depth: usize,
        /// Widening factor; 10 in the paper.
        widen: usize,
    },
}

/// The whole network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JemConfig {
    /// Channels of the images.
    pub channels: usize,
    /// Side of the square images.
    pub side: usize,
    /// Classes.
    pub n_classes: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// The trunk.
    pub architecture: Architecture,
}

/// One residual block: two 3x3 convolutions, the second with the stride, and a 1x1 on the way around where the
/// shape changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockSpec {
    pub first: ConvSpec,
    pub second: ConvSpec,
    pub shortcut: Option<ConvSpec>,
}

impl JemConfig {
    /// The paper's network for CIFAR-10: WRN-28-10, LeakyReLU(0.2).
    pub fn paper() -> Self {
        Self {
            channels: 3,
            side: 32,
            n_classes: 10,
            activation: Activation::LeakyRelu(0.2),
            architecture: Architecture::WideResnet { depth: 28, widen: 10 },
        }
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        let sizes = [("model.channels", self.channels), ("model.side", self.side)];
        for (name, value) in sizes {
            if value == 0 {
                return Err(Error::bad_value(name, value, "at least 1", ""));
            }
        }
        if self.n_classes < 2 {
            return Err(Error::bad_value("model.n_classes", self.n_classes, "at least 2", ""));
        }
        match &self.architecture {
            Architecture::Plain { channels, strides } => {
                if channels.is_empty() || channels.len() != strides.len() {
                    let found = format!("{} and {}", channels.len(), strides.len());
                    let limit = "as many channels as strides, at least one";
                    return Err(Error::bad_value("model.architecture", found, limit, ""));
                }
                if channels.iter().chain(strides).any(|n| *n == 0) {
                    return Err(Error::bad_value(
                        "model.architecture",
                        0,
                        "channels and strides above 0",
                        "",
                    ));
                }
            }
            Architecture::WideResnet { depth, widen } => {
                if *depth < 10 || !(depth - 4).is_multiple_of(6) || *widen == 0 {
                    let found = format!("depth {depth}, widen {widen}");
                    let limit = "depth 6 k + 4 with k at least 1, widen at least 1";
                    return Err(Error::bad_value("model.architecture", found, limit, ""));
                }
                if !self.side.is_multiple_of(32) {
                    let limit = "a multiple of 32 (the last map is pooled over 8x8)";
                    return Err(Error::bad_value("model.side", self.side, limit, ""));
                }
            }
        }
        Ok(())
    }

    /// The plain trunk's convolutions, or the first convolution of the residual one.
    pub(super) fn stem(&self) -> Vec<ConvSpec> {
        match &self.architecture {
            Architecture::Plain { channels, strides } => {
                let inputs = std::iter::once(&self.channels).chain(channels);
                let sizes = inputs.zip(channels).zip(strides);
                sizes.map(|((i, o), s)| ConvSpec::same(*i, *o, 3, *s)).collect()
            }
            Architecture::WideResnet { .. } => vec![ConvSpec::same(self.channels, 16, 3, 1)],
        }
    }

    pub(super) fn blocks(&self) -> Vec<BlockSpec> {
        let Architecture::WideResnet { depth, widen } = self.architecture else { return Vec::new() };
        let mut blocks = Vec::new();
        let mut inputs = 16;
        for (stage, width) in [16, 32, 64].into_iter().enumerate() {
            let outputs = width * widen;
            for i in 0..(depth - 4) / 6 {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let around = stride != 1 || inputs != outputs;
                blocks.push(BlockSpec {
                    first: ConvSpec::same(inputs, outputs, 3, 1),
                    second: ConvSpec::same(outputs, outputs, 3, stride),
                    shortcut: around.then(|| ConvSpec::same(inputs, outputs, 1, stride)),
                });
                inputs = outputs;
            }
        }
        blocks
    }

    pub(super) fn head(&self) -> LinearSpec {
        let inputs = match &self.architecture {
            Architecture::Plain { channels, .. } => {
                let side = self.stem().iter().fold(self.side, |side, conv| conv.side(side));
                channels.last().copied().unwrap_or(0) * side * side
            }
            // The last map has a quarter of the side; pooled over 8x8.
            Architecture::WideResnet { widen, .. } => 64 * widen * (self.side / 32) * (self.side / 32),
        };
        LinearSpec::new(inputs, self.n_classes)
    }

    /// Trainable numbers, without allocating them.
    pub fn n_parameters(&self) -> u64 {
        let block = |b: &BlockSpec| {
            b.first.parameters() + b.second.parameters() + b.shortcut.map_or(0, |s| s.parameters())
        };
        self.stem().iter().map(ConvSpec::parameters).sum::<u64>()
            + self.blocks().iter().map(block).sum::<u64>()
            + self.head().parameters()
    }

    /// Multiply-accumulates of one forward pass for one image.
    pub fn macs(&self) -> u64 {
        let mut side = self.side;
        let mut sum = self.head().macs();
        for conv in self.stem() {
            sum += conv.macs(side);
            side = conv.side(side);
        }
        for block in self.blocks() {
            sum +=
                block.first.macs(side) + block.second.macs(side) + block.shortcut.map_or(0, |s| s.macs(side));
            side = block.second.side(side);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Derived by hand, conv by conv, with biases and without normalisation: stem 448; stage 1
    /// (16 -> 160): 23,200 + 230,560 + 2,720 and 3 x 2 x 230,560; stage 2 (160 -> 320): 461,120 + 921,920 + 51,520
    /// and 6 x 921,920; stage 3 (320 -> 640): 1,843,840 + 3,687,040 + 205,440 and 6 x 3,687,040; head 6,410.
    #[test]
    fn the_papers_network_has_the_derived_size() {
        let stage_1 = 23_200 + 230_560 + 2_720 + 6 * 230_560;
        let stage_2 = 461_120 + 921_920 + 51_520 + 6 * 921_920;
        let stage_3 = 1_843_840 + 3_687_040 + 205_440 + 6 * 3_687_040;
        assert_eq!(JemConfig::paper().n_parameters(), 448 + stage_1 + stage_2 + stage_3 + 6_410);
        JemConfig::paper().check().unwrap();
    }

    #[test]
    fn impossible_sizes_are_named() {
        let plain = |channels: &[usize], strides: &[usize]| JemConfig {
            channels: 1,
            side: 8,
            n_classes: 10,
            activation: Activation::Silu,
            architecture: Architecture::Plain { channels: channels.into(), strides: strides.into() },
        };
        assert!(plain(&[8], &[1]).check().is_ok());
        assert!(plain(&[], &[]).check().is_err());
        assert!(plain(&[8, 8], &[1]).check().is_err());
        assert!(plain(&[8, 0], &[1, 1]).check().is_err());
        let mut c = JemConfig::paper();
        c.architecture = Architecture::WideResnet { depth: 27, widen: 10 };
        assert!(c.check().unwrap_err().to_string().contains("6 k + 4"));
        assert!(JemConfig { side: 28, ..JemConfig::paper() }.check().is_err());
    }
}
