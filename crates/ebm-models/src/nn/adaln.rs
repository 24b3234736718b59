//! Adaptive layer norm: shift, scale and gate come from a condition, `norm(x) (1 + scale) + shift`. Their layer starts
//! at 0, so that a block starts as the identity (adaLN-zero). Source: DiT (arXiv 2212.09748).

use ebm_core::torch::Path;
use ebm_core::{Error, Result};
use tch::Tensor;

use super::{Linear, LinearInit, LinearSpec, layer_norm};

/// Added to the variance.
pub(super) const NORM_EPS: f64 = 1e-6;

/// `N` vectors of `width` from a condition: a SiLU and an affine layer that starts at 0.
#[derive(Debug)]
pub struct Modulation<const N: usize> {
    layer: Linear,
}

impl<const N: usize> Modulation<N> {
    /// The layer.
    pub fn spec(width: usize) -> LinearSpec {
        LinearSpec::new(width, N * width).init(LinearInit::Zero)
    }

    /// A fresh one, with parameters `weight` and `bias`.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn new(width: usize, path: Path<'_>) -> Result<Self> {
        Ok(Self { layer: Self::spec(width).build(path)? })
    }

    /// `[n, width]`, or `[1, width]` for all alike, to vectors shaped to stand over `[n, tokens, width]`.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, condition: &Tensor) -> Result<[Tensor; N]> {
        let all = self.layer.forward(&condition.f_silu()?)?.f_unsqueeze(1)?;
        let parts = all.f_chunk(N as i64, -1)?;
        let n = parts.len();
        parts.try_into().map_err(|_| Error::shape("vectors of a modulation", N, n))
    }
}

/// `layer_norm(x) (1 + scale) + shift`.
///
/// # Errors
/// Shapes that do not fit.
pub fn modulated_norm(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    Ok(layer_norm(x, NORM_EPS)?.f_mul(&scale.f_add_scalar(1.0)?)?.f_add(shift)?)
}
