//! Clipping gradients by their common norm, without waiting for the device.

use ebm_core::Result;
use tch::{Kind, Tensor};

/// The Euclidean norm of all gradients together, 0-d, on their device.
///
/// # Errors
/// When LibTorch fails.
pub fn global_norm(grads: &[Tensor]) -> Result<Tensor> {
    let squares: Vec<Tensor> =
        grads.iter().map(|g| g.f_square()?.f_sum(Kind::Float)).collect::<Result<_, tch::TchError>>()?;
    Ok(Tensor::f_stack(&squares, 0)?.f_sum(Kind::Float)?.f_sqrt()?)
}

/// Scale the gradients down to the norm `max` where `norm` (from [`global_norm`]) is larger.
///
/// # Errors
/// When LibTorch fails.
pub fn clip_by_norm(grads: &mut [Tensor], norm: &Tensor, max: f64) -> Result<()> {
    let factor = norm.f_add_scalar(1e-6)?.f_reciprocal()?.f_mul_scalar(max)?.f_clamp_max(1.0)?;
    for g in grads {
        *g = g.f_mul(&factor.f_to_kind(g.kind())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_gradients_are_shortened() {
        let grads = || vec![Tensor::from_slice(&[3f32, 0.0]), Tensor::from_slice(&[4f32])];
        let norm = global_norm(&grads()).unwrap();
        assert!((norm.double_value(&[]) - 5.0).abs() < 1e-6);
        let (mut long, mut short) = (grads(), grads());
        clip_by_norm(&mut long, &norm, 1.0).unwrap();
        clip_by_norm(&mut short, &norm, 10.0).unwrap();
        assert!((long[0].double_value(&[0]) - 0.6).abs() < 1e-6 && short[1].double_value(&[0]) == 4.0);
    }
}
