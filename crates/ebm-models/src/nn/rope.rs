//! Rotary positions on adjacent pairs: pair `(2 i, 2 i + 1)` at position `m` turns by `m theta^(-2 i / d)`.
//! Source: RoFormer (arXiv 2104.09864), in the complex form of Llama.

use ebm_core::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Tables of the rotations of `n_positions` positions.
#[derive(Debug)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// For heads of `head_dim` numbers (even) and base `theta` (10,000 as a rule).
    ///
    /// # Errors
    /// An odd or empty head.
    pub fn new(head_dim: usize, n_positions: usize, theta: f64, kind: Kind, device: Device) -> Result<Self> {
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(Error::bad_value("width / n_heads", head_dim, "even, for pairs to rotate", ""));
        }
        let pairs = head_dim / 2;
        let angle = |m: usize, i: usize| m as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
        let angles: Vec<f64> = (0..n_positions).flat_map(|m| (0..pairs).map(move |i| angle(m, i))).collect();
        let angles = Tensor::f_from_slice(&angles)?.f_view([n_positions as i64, pairs as i64])?;
        let table = |t: Tensor| t.f_to_kind(kind)?.f_to_device(device);
        Ok(Self { cos: table(angles.f_cos()?)?, sin: table(angles.f_sin()?)? })
    }

    /// The same tables in `kind`.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self { cos: self.cos.f_to_kind(kind)?, sin: self.sin.f_to_kind(kind)? })
    }

    /// Positions in the tables.
    pub fn n_positions(&self) -> usize {
        self.cos.size()[0] as usize
    }

    /// Cosines and sines of the positions from `first`, `[n, d / 2]` each.
    ///
    /// # Errors
    /// Positions beyond the tables.
    pub fn tables(&self, first: usize, n: usize) -> Result<(Tensor, Tensor)> {
        if first + n > self.n_positions() {
            let limit = format!("at most {}", self.n_positions());
            return Err(Error::bad_value(
                "positions",
                first + n,
                limit,
                "shorten the text or raise model.context",
            ));
        }
        let rows = |t: &Tensor| t.f_narrow(0, first as i64, n as i64);
        Ok((rows(&self.cos)?, rows(&self.sin)?))
    }

    /// `x` `[n, h, s, d]`, whose positions are `first, first + 1, ..`.
    ///
    /// # Errors
    /// Positions beyond the tables.
    pub fn rotate(&self, x: &Tensor, first: usize) -> Result<Tensor> {
        let (n, h, s, d) = x.size4()?;
        let (cos, sin) = self.tables(first, s as usize)?;
        let pairs = x.f_reshape([n, h, s, d / 2, 2])?;
        let (a, b) = (pairs.f_select(-1, 0)?, pairs.f_select(-1, 1)?);
        let turned_a = a.f_mul(&cos)?.f_sub(&b.f_mul(&sin)?)?;
        let turned_b = a.f_mul(&sin)?.f_add(&b.f_mul(&cos)?)?;
        Ok(Tensor::f_stack(&[turned_a, turned_b], -1)?.f_view([n, h, s, d])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_turn_by_their_angle_and_products_know_only_distances() {
        let rope = Rope::new(4, 10, 100.0, Kind::Double, Device::Cpu).unwrap();
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]).view([1, 1, 1, 4]);
        let turned = rope.rotate(&x, 3).unwrap();
        // Pair 0 turns by 3, pair 1 by 3 * 100^(-1/2).
        let expected = |a: f64, b: f64, t: f64| [a * t.cos() - b * t.sin(), a * t.sin() + b * t.cos()];
        let all: Vec<f64> = [expected(1.0, 2.0, 3.0), expected(3.0, 4.0, 0.3)].concat();
        let found: Vec<f64> = Vec::try_from(&turned.view(-1)).unwrap();
        found.iter().zip(all).for_each(|(f, e)| assert!((f - e).abs() < 1e-14));
        let y = Tensor::from_slice(&[0.5, -1.0, 2.0, 1.5]).view([1, 1, 1, 4]);
        let product = |m: usize, n: usize| {
            (rope.rotate(&x, m).unwrap() * rope.rotate(&y, n).unwrap()).sum(Kind::Double).double_value(&[])
        };
        assert!((product(2, 5) - product(6, 9)).abs() < 1e-13);
        assert!(rope.rotate(&x, 10).unwrap_err().to_string().contains("at most 10"));
        assert!(Rope::new(3, 10, 100.0, Kind::Double, Device::Cpu).is_err());
    }
}
