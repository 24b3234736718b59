//! Root-mean-square normalisation: `w x / sqrt(mean x^2 + eps)` over the last axis. Source: arXiv 1910.07467.

use ebm_core::Result;
use ebm_core::torch::{Init, Path};
use tch::Tensor;

/// A normalisation with one learned weight per number.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// With the parameter `weight` `[width]`, started at 1.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn new(width: usize, eps: f64, mut path: Path<'_>) -> Result<Self> {
        Ok(Self { weight: path.parameter("weight", &[width as i64], Init::Constant(1.0))?, eps })
    }

    /// `[.., width] -> [.., width]`, in the type of `x`; computed in the weight's (f32 where the rest runs in bf16).
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.kind();
        let x = x.f_to_kind(self.weight.kind())?;
        let mean_square = x.f_square()?.f_mean_dim([-1i64].as_slice(), true, x.kind())?;
        let normed = x.f_mul(&mean_square.f_add_scalar(self.eps)?.f_rsqrt()?)?.f_mul(&self.weight)?;
        Ok(normed.f_to_kind(kind)?)
    }

    /// The same normalisation on the same weight.
    pub fn shallow_clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), eps: self.eps }
    }

    /// The weight, `[width]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}
