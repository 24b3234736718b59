//! Affine layer `x W^T + b`, or `x W^T` without a bias. It starts as PyTorch does (uniform within
//! `1 / sqrt(inputs)`, weight and bias) or by one of the other named rules.

use ebm_core::Result;
use ebm_core::torch::{Init, Path};
use tch::{Kind, Tensor};

/// How a weight starts; all biases but the first's start at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LinearInit {
    /// Uniform within `1 / sqrt(inputs)`, the bias too.
    #[default]
    FanIn,
    /// Normal with variance `2 / (inputs + outputs)`.
    XavierNormal,
    /// Uniform within `sqrt(6 / (inputs + outputs))`.
    XavierUniform,
    /// Normal with this standard deviation.
    Normal {
        /// It.
        std: f64,
    },
    /// All 0.
    Zero,
}

/// An affine layer's shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSpec {
    /// Numbers in.
    pub inputs: usize,
    /// Numbers out.
    pub outputs: usize,
    /// Whether it adds a bias.
    pub bias: bool,
    /// How it starts.
    pub init: LinearInit,
}

impl LinearSpec {
    /// With bias, started as PyTorch does.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, bias: true, init: LinearInit::FanIn }
    }

    /// Without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Started by another rule.
    #[must_use]
    pub fn init(self, init: LinearInit) -> Self {
        Self { init, ..self }
    }

    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        (self.inputs * self.outputs + if self.bias { self.outputs } else { 0 }) as u64
    }

    /// Multiply-accumulates for one row.
    pub fn macs(&self) -> u64 {
        (self.inputs * self.outputs) as u64
    }

    /// The layer, with parameters `weight` `[outputs, inputs]` and, where it has one, `bias` `[outputs]`.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn build(&self, mut path: Path<'_>) -> Result<Linear> {
        let fan_in = 1.0 / (self.inputs as f64).sqrt();
        let both = (self.inputs + self.outputs) as f64;
        let (weight, bias) = match self.init {
            LinearInit::FanIn => (Init::Uniform(fan_in), Init::Uniform(fan_in)),
            LinearInit::XavierNormal => (Init::Normal((2.0 / both).sqrt()), Init::Constant(0.0)),
            LinearInit::XavierUniform => (Init::Uniform((6.0 / both).sqrt()), Init::Constant(0.0)),
            LinearInit::Normal { std } => (Init::Normal(std), Init::Constant(0.0)),
            LinearInit::Zero => (Init::Constant(0.0), Init::Constant(0.0)),
        };
        let [i, o] = [self.inputs, self.outputs].map(|n| n as i64);
        let weight = path.parameter("weight", &[o, i], weight)?;
        let bias = self.bias.then(|| path.parameter("bias", &[o], bias)).transpose()?;
        Ok(Linear { weight, bias })
    }
}

/// An affine layer; see [`LinearSpec::build`].
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// `[.., inputs] -> [.., outputs]`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, self.bias.as_ref())?)
    }

    /// The same layer computed in `kind`: weight and bias are cast in the graph, so their gradients arrive in the
    /// type that they are kept in.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        let bias = self.bias.as_ref().map(|b| b.f_to_kind(kind)).transpose()?;
        Ok(Self { weight: self.weight.f_to_kind(kind)?, bias })
    }

    /// The weight, `[outputs, inputs]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}
