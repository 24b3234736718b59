//! The plain control of EBT on images: the same trunk, and a linear head that says at once what to add to the image.
//!
//! `y_1 = y_0 + f(y_0)`, trained by the same loss on the same noisy images. One pass, no descent; applied to its own
//! output it can take several steps too. The paper (arXiv 2507.02092) has no such control.

use ebm_core::Result;
use ebm_core::torch::{Init, Params};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::nn::{Linear, LinearInit, LinearSpec, PatchTransformer, PatchTransformerConfig};

/// The whole network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRegressorConfig {
    /// The trunk.
    pub trunk: PatchTransformerConfig,
}

impl ImageRegressorConfig {
    fn head(&self) -> LinearSpec {
        LinearSpec::new(self.trunk.width, self.trunk.patches().len()).init(LinearInit::Zero)
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        self.trunk.check()
    }

    /// Trainable numbers, without allocating them.
    pub fn n_parameters(&self) -> u64 {
        self.trunk.n_parameters() + self.trunk.width as u64 + self.head().parameters()
    }

    /// Multiply-accumulates of one forward pass for one image.
    pub fn macs(&self) -> u64 {
        self.trunk.macs() + self.trunk.patches().count() as u64 * self.head().macs()
    }
}

/// See [`ImageRegressorConfig`].
#[derive(Debug)]
pub struct ImageRegressor {
    trunk: PatchTransformer,
    condition: Tensor,
    head: Linear,
}

impl ImageRegressor {
    /// A fresh network whose parameters join `params`; it starts as the identity.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &ImageRegressorConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let mut root = params.root();
        let trunk = PatchTransformer::new(&config.trunk, &mut root)?;
        let condition = root.parameter("condition", &[1, config.trunk.width as i64], Init::Normal(1.0))?;
        let head = config.head().build(root.sub("final_layer.linear"))?;
        Ok(Self { trunk, condition, head })
    }

    /// `[n, channels, side, side]` to the same.
    ///
    /// # Errors
    /// Images of another size.
    pub fn forward(&self, y: &Tensor) -> Result<Tensor> {
        let tokens = self.trunk.forward(y, &self.condition)?;
        Ok(y.f_add(&self.trunk.patches().join(&self.head.forward(&tokens)?)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::image_testing::{double, random, stir, tiny};
    use super::*;

    #[test]
    fn it_starts_as_the_identity_and_has_the_size_that_the_config_says() {
        let config = ImageRegressorConfig { trunk: tiny().trunk };
        let mut params = double();
        let net = ImageRegressor::new(&config, &mut params).unwrap();
        assert_eq!(params.count() as u64, config.n_parameters());
        let y = random(&[2, 1, 4, 4], 1.0, 0);
        assert_eq!(net.forward(&y).unwrap(), y);
        stir(&params);
        assert!((net.forward(&y).unwrap() - y).abs().max().double_value(&[]) > 1e-2);
    }
}
