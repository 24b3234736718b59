//! Square 2-d convolution with bias, started as PyTorch does: uniform within `1 / sqrt(fan_in)`.

use ebm_core::Result;
use ebm_core::torch::{Init, Path};
use tch::Tensor;

/// A convolution's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
}

impl ConvSpec {
    /// A kernel of odd side whose padding keeps the size (at stride 1).
    pub fn same(inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Self {
        Self { inputs, outputs, kernel, stride, padding: kernel / 2 }
    }

    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        (self.inputs * self.outputs * self.kernel * self.kernel + self.outputs) as u64
    }

    /// Side of the output for an input of side `side`.
    pub fn side(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Multiply-accumulates of one forward pass for one image of side `side`.
    pub fn macs(&self, side: usize) -> u64 {
        let out = self.side(side);
        (out * out * self.outputs * self.inputs * self.kernel * self.kernel) as u64
    }

    /// The layer, with parameters `weight` `[outputs, inputs, kernel, kernel]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn build(&self, mut path: Path<'_>) -> Result<Conv2d> {
        let bound = 1.0 / ((self.inputs * self.kernel * self.kernel) as f64).sqrt();
        let [i, o, k] = [self.inputs, self.outputs, self.kernel].map(|n| n as i64);
        let weight = path.parameter("weight", &[o, i, k, k], Init::Uniform(bound))?;
        let bias = path.parameter("bias", &[o], Init::Uniform(bound))?;
        Ok(Conv2d { weight, bias, stride: self.stride as i64, padding: self.padding as i64 })
    }
}

/// A convolution; see [`ConvSpec::build`].
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// `[n, inputs, h, w] -> [n, outputs, h', w']`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (s, p) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight, Some(&self.bias), s, p, [1, 1], 1)?)
    }
}
