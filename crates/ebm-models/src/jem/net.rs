//! The network of JEM: images to logits, whose negative log-sum-exp is the energy.

use ebm_core::torch::{Params, Path};
use ebm_core::{GraphEnergy, Result, TrainableEnergy, tensor_energy};
use tch::Tensor;

use super::config::{Architecture, BlockSpec, JemConfig};
use crate::joint::{JointEnergy, marginal_energy};
use crate::nn::{Activation, Conv2d, Linear};

/// See [`JemConfig`]. As an energy it is `E(x) = -ln sum_y exp f(x)[y]`, `[n, channels, side, side] -> [n]`.
#[derive(Debug)]
pub struct JemNet {
    stem: Vec<Conv2d>,
    blocks: Vec<Block>,
    head: Linear,
    activation: Activation,
    is_plain: bool,
    parameters: Vec<Tensor>,
}

#[derive(Debug)]
struct Block {
    first: Conv2d,
    second: Conv2d,
    shortcut: Option<Conv2d>,
}

impl Block {
    fn build(spec: &BlockSpec, mut path: Path<'_>) -> Result<Self> {
        Ok(Self {
            first: spec.first.build(path.sub("conv1"))?,
            second: spec.second.build(path.sub("conv2"))?,
            shortcut: spec.shortcut.map(|s| s.build(path.sub("shortcut"))).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let out = self.first.forward(&activation.forward(x)?)?;
        let out = self.second.forward(&activation.forward(&out)?)?;
        let around = match &self.shortcut {
            Some(conv) => conv.forward(x)?,
            None => x.shallow_clone(),
        };
        Ok(out.f_add(&around)?)
    }
}

impl JemNet {
    /// A fresh network whose parameters join `params`.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &JemConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let mut root = params.root();
        let mut stem = Vec::new();
        for (i, conv) in config.stem().iter().enumerate() {
            stem.push(conv.build(root.sub(format!("conv{}", i + 1)))?);
        }
        let mut blocks = Vec::new();
        for (i, block) in config.blocks().iter().enumerate() {
            blocks.push(Block::build(block, root.sub(format!("block{}", i + 1)))?);
        }
        let head = config.head().build(root.sub("class_output"))?;
        let is_plain = matches!(config.architecture, Architecture::Plain { .. });
        Ok(Self { stem, blocks, head, activation: config.activation, is_plain, parameters: params.tensors() })
    }
}

impl JointEnergy for JemNet {
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let mut h = x.shallow_clone();
        for conv in &self.stem {
            h = conv.forward(&h)?;
            if self.is_plain {
                h = self.activation.forward(&h)?;
            }
        }
        for block in &self.blocks {
            h = block.forward(&h, self.activation)?;
        }
        if !self.is_plain {
            h = self.activation.forward(&h)?.f_avg_pool2d(
                [8, 8],
                [8, 8],
                [0, 0],
                false,
                true,
                None::<i64>,
            )?;
        }
        self.head.forward(&h.f_flatten(1, -1)?)
    }
}

impl GraphEnergy for JemNet {
    fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
        marginal_energy(&self.logits(x)?)
    }
}

tensor_energy!(JemNet);

impl TrainableEnergy for JemNet {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters.iter().map(Tensor::shallow_clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn both_trunks_have_the_size_that_the_config_says() {
        let plain = Architecture::Plain { channels: vec![4, 6], strides: vec![1, 2] };
        let residual = Architecture::WideResnet { depth: 10, widen: 1 };
        for (architecture, side) in [(plain, 8), (residual, 32)] {
            let config = JemConfig { side, architecture, ..JemConfig::paper() };
            let mut params = Params::new(0, Device::Cpu);
            let net = JemNet::new(&config, &mut params).unwrap();
            assert_eq!(params.count() as u64, config.n_parameters());
            let x = Tensor::zeros([2, 3, side as i64, side as i64], (Kind::Float, Device::Cpu));
            assert_eq!(net.logits(&x).unwrap().size(), [2, 10]);
            assert!(net.logits(&x.narrow(1, 0, 1)).is_err());
        }
    }
}
