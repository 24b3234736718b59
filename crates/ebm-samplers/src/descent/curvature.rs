//! The largest curvature of a landscape at a candidate, by power iteration: `v <- H v / |H v|`, `lambda = v H v`.
//!
//! A descent with step size alpha is stable along a direction of curvature `lambda` while `alpha lambda < 2`.

use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result};
use tch::Tensor;

use super::landscape::{At, Landscape};
use super::{item_norms, over_items};

/// The eigenvalue of largest magnitude of `d2E / dy2`, with its sign, for each item of `y`: `[items]`, detached. It
/// costs two backward passes per iteration; 8 iterations are enough for a log. `step` is what the landscape is told.
///
/// # Errors
/// No iteration asked for, or what the landscape returns.
pub fn largest_curvature(
    landscape: &(impl Landscape + ?Sized),
    y: &Tensor,
    step: usize,
    n_iterations: usize,
    rng: &mut TensorRng,
) -> Result<Tensor> {
    if n_iterations == 0 {
        return Err(Error::bad_value("n_iterations", 0, "at least 1", ""));
    }
    let mut direction = rng.normal(&y.size(), 1.0, y.kind(), y.device())?;
    let y = super::leaf(y)?;
    let energy = tch::with_grad(|| landscape.energy(&y, &mut At { step, noise_std: 0.0, rng }))?;
    let gradient = super::gradient_of(&energy, &y, true)?;
    let n_axes = energy.dim();
    let mut curvature = energy.f_detach()?.f_zeros_like()?;
    for _ in 0..n_iterations {
        let norm = item_norms(&direction, n_axes)?.f_clamp_min(f64::MIN_POSITIVE)?;
        let unit = direction.f_div(&over_items(&norm, &y)?)?;
        direction = product(&gradient, &unit, &y)?;
        let along = direction.f_mul(&unit)?;
        let axes: Vec<i64> = (n_axes..y.dim()).map(|axis| axis as i64).collect();
        curvature = if axes.is_empty() { along } else { along.f_sum_dim_intlist(axes, false, y.kind())? };
    }
    Ok(curvature)
}

/// `H v` by differentiating `g . v`.
fn product(gradient: &Tensor, v: &Tensor, y: &Tensor) -> Result<Tensor> {
    if !gradient.requires_grad() {
        return Ok(y.f_detach()?.f_zeros_like()?);
    }
    let inner = tch::with_grad(|| gradient.f_mul(v)?.f_sum(y.kind()))?;
    let products = Tensor::f_run_backward(&[&inner], &[y], true, false)?;
    match products.into_iter().next() {
        Some(product) if product.defined() => Ok(product.f_detach()?),
        _ => Ok(y.f_detach()?.f_zeros_like()?),
    }
}
