//! Gated feed-forward layer `w2 (silu(w1 x) * w3 x)`, without biases. Source: arXiv 2002.05202.

use ebm_core::Result;
use ebm_core::torch::Path;
use tch::{Kind, Tensor};

use super::{Linear, LinearInit, LinearSpec};

/// Its three products, with parameters `w1.weight`, `w2.weight`, `w3.weight`.
#[derive(Debug)]
pub struct SwiGlu {
    /// The gate, `[hidden, width]`.
    pub w1: Linear,
    /// Back to the width, `[width, hidden]`.
    pub w2: Linear,
    /// What is gated, `[hidden, width]`.
    pub w3: Linear,
}

impl SwiGlu {
    /// Xavier-normal weights.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn new(width: usize, hidden: usize, mut path: Path<'_>) -> Result<Self> {
        let [up, down] = [(width, hidden), (hidden, width)]
            .map(|(i, o)| LinearSpec::new(i, o).without_bias().init(LinearInit::XavierNormal));
        Ok(Self {
            w1: up.build(path.sub("w1"))?,
            w2: down.build(path.sub("w2"))?,
            w3: up.build(path.sub("w3"))?,
        })
    }

    /// The same layer computed in `kind`: see [`Linear::cast`].
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self { w1: self.w1.cast(kind)?, w2: self.w2.cast(kind)?, w3: self.w3.cast(kind)? })
    }

    /// `[.., width] -> [.., width]`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.w2.forward(&self.w1.forward(x)?.f_silu()?.f_mul(&self.w3.forward(x)?)?)
    }
}
