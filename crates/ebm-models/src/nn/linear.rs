//! Affine layer `x W^T + b`, started as PyTorch does: uniform within `1 / sqrt(inputs)`.

use ebm_core::Result;
use ebm_core::torch::{Init, Path};
use tch::Tensor;

/// An affine layer's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearSpec {
    /// Numbers in.
    pub inputs: usize,
    /// Numbers out.
    pub outputs: usize,
}

impl LinearSpec {
    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        (self.inputs * self.outputs + self.outputs) as u64
    }

    /// Multiply-accumulates for one row.
    pub fn macs(&self) -> u64 {
        (self.inputs * self.outputs) as u64
    }

    /// The layer, with parameters `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn build(&self, mut path: Path<'_>) -> Result<Linear> {
        let bound = 1.0 / (self.inputs as f64).sqrt();
        let [i, o] = [self.inputs, self.outputs].map(|n| n as i64);
        let weight = path.parameter("weight", &[o, i], Init::Uniform(bound))?;
        let bias = path.parameter("bias", &[o], Init::Uniform(bound))?;
        Ok(Linear { weight, bias })
    }
}

/// An affine layer; see [`LinearSpec::build`].
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// `[n, inputs] -> [n, outputs]`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}
