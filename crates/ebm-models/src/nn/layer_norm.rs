//! Layer normalisation without an affine map: `(x - mean) / sqrt(var + eps)` over the last axis. Source: arXiv
//! 1607.06450; without the affine map it is what adaptive layer norm modulates.

use ebm_core::{Error, Result};
use tch::Tensor;

/// `[.., width] -> [.., width]`, each row of mean 0 and variance 1.
///
/// # Errors
/// A tensor without axes.
pub fn layer_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let Some(width) = x.size().last().copied() else {
        return Err(Error::shape("input of layer norm", "at least one axis", x.size()));
    };
    Ok(x.f_layer_norm([width], None::<&Tensor>, None::<&Tensor>, eps, false)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn rows_are_the_formula() {
        let x = Tensor::from_slice(&[1.0, 2.0, 6.0, -1.0, 0.0, 4.0]).view([2, 3]);
        let found = layer_norm(&x, 0.5).unwrap();
        // Row 1: mean 3, variance (4 + 1 + 9) / 3; row 2: mean 1, variance (4 + 1 + 9) / 3.
        let root = (14.0f64 / 3.0 + 0.5).sqrt();
        let expected = Tensor::from_slice(&[-2.0, -1.0, 3.0, -2.0, -1.0, 3.0]).view([2, 3]) / root;
        assert!((found - expected).abs().max().double_value(&[]) < 1e-14);
        assert!(layer_norm(&Tensor::from(1.0).to_kind(Kind::Double), 1e-6).is_err());
    }
}
