//! Activations that a config can name.

use ebm_core::Result;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// An elementwise non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x sigmoid(x)`: smooth, the default for energies that are differentiated.
    Silu,
    /// `x Phi(x)` by the tanh formula: smooth; DiT's.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x` above 0, this slope times `x` below.
    LeakyRelu(f64),
}

impl Activation {
    /// Apply it.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Silu => x.f_silu()?,
            Self::GeluTanh => x.f_gelu("tanh")?,
            Self::Relu => x.f_relu()?,
            // max(x, slope x): the same for slopes in [0, 1].
            Self::LeakyRelu(slope) => x.f_maximum(&x.f_mul_scalar(slope)?)?,
        })
    }
}
