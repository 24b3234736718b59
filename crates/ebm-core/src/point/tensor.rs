//! A batch of chains as one tensor whose leading axis is the chain, `[chains, ..]`.
//!
//! Values are never written in place: [`Point::set_from`] shares a handle, so an in-place operation in an energy
//! or an observer would corrupt a saved point. In return, observers keep draws without copying.

use tch::{Device, Kind, Tensor};

use super::{ChainMask, Point, Scalar};
use crate::torch::TensorRng;
use crate::{Error, Result};

/// One number per chain of a tensor.
#[derive(Debug)]
pub enum TensorScalar {
    /// The same for all chains: no storage, no device work.
    Same(f64),
    /// One for each: a tensor `[chains]`.
    Each(Tensor),
}

use TensorScalar::{Each, Same};

impl Clone for TensorScalar {
    fn clone(&self) -> Self {
        match self {
            Same(v) => Same(*v),
            Each(v) => Each(v.shallow_clone()),
        }
    }
}

/// A bool tensor `[chains]`, or a 0-d one that speaks for all chains. A newtype, because `Tensor` is not `Clone`.
#[derive(Debug)]
pub struct TensorMask(pub Tensor);

impl Clone for TensorMask {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl ChainMask for TensorMask {
    fn negate(&self) -> Result<Self> {
        Ok(Self(self.0.f_logical_not()?))
    }
    fn either(&self, other: &Self) -> Result<Self> {
        Ok(Self(self.0.f_logical_or(&other.0)?))
    }
}

impl TensorScalar {
    fn map(
        &self,
        same: impl Fn(f64) -> f64,
        each: impl Fn(&Tensor) -> Result<Tensor, tch::TchError>,
    ) -> Result<Self> {
        Ok(match self {
            Same(v) => Same(same(*v)),
            Each(v) => Each(each(v)?),
        })
    }

    /// As a tensor that broadcasts over `[chains]`; a shared number becomes 0-d.
    fn as_tensor(&self, kind: Kind, device: Device) -> Result<Tensor> {
        Ok(match self {
            Same(v) => Tensor::f_full([] as [i64; 0], *v, (kind, device))?,
            Each(v) => v.shallow_clone(),
        })
    }
}

/// `[chains]` as `[chains, 1, ..]`, to broadcast over a point with `dim` axes; 0-d stays as it is.
fn over_point(each: &Tensor, dim: usize) -> Result<Tensor> {
    if each.dim() == 0 || dim <= 1 {
        return Ok(each.shallow_clone());
    }
    let mut shape = vec![1; dim];
    shape[0] = -1;
    Ok(each.f_view(shape.as_slice())?)
}

/// The values of a tensor as f64, in order.
fn read(x: &Tensor, out: &mut [f64]) -> Result<()> {
    let x = x.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    if x.numel() != out.len() {
        return Err(Error::shape("numbers of a tensor", out.len(), x.numel()));
    }
    Ok(x.f_copy_data(out, x.numel())?) // host read: asked for, never within a step
}

/// `[chains, ..]` as `[chains, dim]`.
fn flat(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_reshape([x.n_chains() as i64, -1])?)
}

impl Scalar for TensorScalar {
    type Mask = TensorMask;

    fn same(value: f64) -> Self {
        Same(value)
    }

    fn linear<const N: usize>(terms: [(f64, &Self); N]) -> Result<Self> {
        let mut shared = 0.0;
        let mut sum: Option<Tensor> = None;
        for (c, s) in terms {
            match s {
                Same(v) => shared += c * v,
                Each(v) => {
                    sum = Some(match sum {
                        None if c == 1.0 => v.shallow_clone(),
                        None => v.f_mul_scalar(c)?,
                        Some(sum) if c == 1.0 => sum.f_add(v)?,
                        Some(sum) if c == -1.0 => sum.f_sub(v)?,
                        Some(sum) => sum.f_add(&v.f_mul_scalar(c)?)?,
                    });
                }
            }
        }
        Ok(match sum {
            None => Same(shared),
            Some(sum) if shared == 0.0 => Each(sum),
            Some(sum) => Each(sum.f_add_scalar(shared)?),
        })
    }

    fn times(&self, other: &Self) -> Result<Self> {
        Ok(match (self, other) {
            (Same(a), Same(b)) => Same(a * b),
            (Same(a), Each(b)) => Each(b.f_mul_scalar(*a)?),
            (Each(a), Same(b)) => Each(a.f_mul_scalar(*b)?),
            (Each(a), Each(b)) => Each(a.f_mul(b)?),
        })
    }
    fn over(&self, other: &Self) -> Result<Self> {
        Ok(match (self, other) {
            (Same(a), Same(b)) => Same(a / b),
            (Same(a), Each(b)) => Each(b.f_reciprocal()?.f_mul_scalar(*a)?),
            (Each(a), Same(b)) => Each(a.f_div_scalar(*b)?),
            (Each(a), Each(b)) => Each(a.f_div(b)?),
        })
    }
    fn exp_each(&self) -> Result<Self> {
        self.map(f64::exp, Tensor::f_exp)
    }
    fn ln_each(&self) -> Result<Self> {
        self.map(f64::ln, Tensor::f_log)
    }
    fn sqrt_each(&self) -> Result<Self> {
        self.map(f64::sqrt, Tensor::f_sqrt)
    }
    fn at_most(&self, limit: f64) -> Result<Self> {
        self.map(|v| if v > limit { limit } else { v }, |v| v.f_clamp_max(limit))
    }

    fn less_than(&self, other: &Self) -> Result<TensorMask> {
        Ok(TensorMask(match (self, other) {
            (Same(a), Same(b)) => Tensor::f_from_slice(&[a < b])?.f_view([] as [i64; 0])?,
            (Same(a), Each(b)) => b.f_gt(*a)?,
            (Each(a), Same(b)) => a.f_lt(*b)?,
            (Each(a), Each(b)) => a.f_lt_tensor(b)?,
        }))
    }

    fn select(mask: &TensorMask, yes: &Self, no: &Self) -> Result<Self> {
        let kind = match (yes, no) {
            (Each(t), _) | (_, Each(t)) => t.kind(),
            _ => Kind::Double,
        };
        let device = mask.0.device();
        Ok(Each(yes.as_tensor(kind, device)?.f_where_self(&mask.0, &no.as_tensor(kind, device)?)?))
    }

    fn shared(&self) -> Option<f64> {
        match self {
            Same(v) => Some(*v),
            Each(_) => None,
        }
    }

    fn write_each(&self, out: &mut [f64]) -> Result<()> {
        match self {
            Same(v) => out.fill(*v),
            Each(v) => read(&v.f_expand([out.len() as i64], false)?, out)?,
        }
        Ok(())
    }
}

impl Point for Tensor {
    type Scalar = TensorScalar;
    type Rng = TensorRng;
    type Matrix = Self;

    fn n_chains(&self) -> usize {
        self.size().first().map_or(0, |n| *n as usize)
    }
    fn form(&self) -> String {
        format!("{:?} of {:?} on {:?}", self.size(), self.kind(), self.device())
    }
    fn zeros_like(&self) -> Result<Self> {
        Ok(self.f_zeros_like()?)
    }
    fn set_from(&mut self, src: &Self) -> Result<()> {
        *self = src.shallow_clone();
        Ok(())
    }
    fn restore_unless(&mut self, keep: &TensorMask, old: &Self) -> Result<()> {
        *self = self.f_where_self(&over_point(&keep.0, self.dim())?, old)?;
        Ok(())
    }
    fn add_scaled(&mut self, a: &TensorScalar, x: &Self) -> Result<()> {
        *self = match a {
            Same(1.0) => self.f_add(x)?,
            Same(-1.0) => self.f_sub(x)?,
            Same(a) => self.f_add(&x.f_mul_scalar(*a)?)?,
            Each(a) => self.f_addcmul(&over_point(a, x.dim())?, x)?,
        };
        Ok(())
    }
    fn scale_by(&mut self, a: &TensorScalar) -> Result<()> {
        *self = match a {
            Same(a) => self.f_mul_scalar(*a)?,
            Each(a) => self.f_mul(&over_point(a, self.dim())?)?,
        };
        Ok(())
    }
    fn inner_each(&self, other: &Self) -> Result<TensorScalar> {
        let product = self.f_mul(other)?;
        Ok(Each(if product.dim() > 1 {
            product.f_flatten(1, -1)?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?
        } else {
            product
        }))
    }
    fn set_normal(&mut self, rng: &mut TensorRng) -> Result<()> {
        *self = rng.normal(self.size().as_slice(), 1.0, self.kind(), self.device())?;
        Ok(())
    }
    fn add_normal(&mut self, sigma: &TensorScalar, rng: &mut TensorRng) -> Result<()> {
        let size = self.size();
        *self = match sigma {
            // The scale is applied while the numbers are made.
            Same(sigma) => self.f_add(&rng.normal(&size, *sigma, self.kind(), self.device())?)?,
            Each(sigma) => {
                let noise = rng.normal(&size, 1.0, self.kind(), self.device())?;
                self.f_addcmul(&over_point(sigma, self.dim())?, &noise)?
            }
        };
        Ok(())
    }
    fn uniform_each(&self, rng: &mut TensorRng) -> Result<TensorScalar> {
        let n = self.n_chains() as i64;
        Ok(Each(rng.uniform(&[n], 0.0, 1.0, self.kind(), self.device())?))
    }
    fn limit(&mut self, low: f64, high: f64) -> Result<()> {
        *self = self.f_clamp(low, high)?;
        Ok(())
    }
    fn limit_norm(&mut self, max: f64) -> Result<()> {
        let Each(square) = self.inner_each(self)? else { return Ok(()) };
        // max / norm, at most 1; a zero norm gives infinity, which becomes 1.
        let factor = square.f_rsqrt()?.f_mul_scalar(max)?.f_clamp_max(1.0)?;
        self.scale_by(&Each(factor))
    }
    fn add_scaled_each(&mut self, a: &TensorScalar, scale: &Self, x: &Self) -> Result<()> {
        *self = match a {
            Same(a) => self.f_add(&scale.f_mul(x)?.f_mul_scalar(*a)?)?,
            Each(a) => self.f_addcmul(&over_point(a, x.dim())?, &scale.f_mul(x)?)?,
        };
        Ok(())
    }
    fn add_lower(&mut self, a: &TensorScalar, lower: &Self, x: &Self) -> Result<()> {
        let product = flat(x)?.f_matmul(&lower.f_tril(0)?.f_transpose(0, 1)?)?;
        self.add_scaled(a, &product.f_view_as(x)?)
    }
    fn add_lower_transposed(&mut self, a: &TensorScalar, lower: &Self, x: &Self) -> Result<()> {
        let product = flat(x)?.f_matmul(&lower.f_tril(0)?)?;
        self.add_scaled(a, &product.f_view_as(x)?)
    }
    fn filled(&self, row: &[f64]) -> Result<Self> {
        let dim = self.dim_of_chain();
        if row.len() != dim {
            return Err(Error::shape("coordinates of a chain", dim, row.len()));
        }
        let mut shape = self.size();
        shape[0] = 1;
        let row = Tensor::f_from_slice(row)?.f_to_device(self.device())?.f_to_kind(self.kind())?;
        Ok(row.f_view(shape.as_slice())?.f_expand_as(self)?)
    }
    fn dim_of_chain(&self) -> usize {
        self.numel() / self.n_chains().max(1)
    }
    fn write_rows(&self, out: &mut [f64]) -> Result<()> {
        read(self, out)
    }
    fn with_rows(&self, rows: &[f64]) -> Result<Self> {
        if rows.len() != self.numel() {
            return Err(Error::shape("coordinates of a point", self.numel(), rows.len()));
        }
        let rows = Tensor::f_from_slice(rows)?.f_to_device(self.device())?.f_to_kind(self.kind())?;
        Ok(rows.f_view(self.size().as_slice())?)
    }
    fn scalar(&self, each: &[f64]) -> Result<TensorScalar> {
        if each.len() != self.n_chains() {
            return Err(Error::shape("numbers, one per chain", self.n_chains(), each.len()));
        }
        Ok(Each(Tensor::f_from_slice(each)?.f_to_device(self.device())?.f_to_kind(self.kind())?))
    }
    fn matrix(&self, entries: &[f64]) -> Result<Self> {
        let dim = self.dim_of_chain();
        if entries.len() != dim * dim {
            return Err(Error::shape("entries of a matrix", dim * dim, entries.len()));
        }
        let matrix = Tensor::f_from_slice(entries)?.f_to_device(self.device())?.f_to_kind(self.kind())?;
        Ok(matrix.f_view([dim as i64, dim as i64])?)
    }
    fn matrix_entries(matrix: &Self) -> Result<Vec<f64>> {
        let mut entries = vec![0.0; matrix.numel()];
        read(matrix, &mut entries)?;
        Ok(entries)
    }
    fn add_outer_to(&self, sum: &mut Self) -> Result<()> {
        let x = flat(self)?;
        *sum = sum.f_add(&x.f_transpose(0, 1)?.f_matmul(&x)?)?;
        Ok(())
    }
    fn take_scratch(&self) -> Result<Self> {
        // An energy replaces its gradient's handle: any tensor will do as a placeholder.
        Ok(self.shallow_clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};
    use crate::{Block, BlockScalar};

    fn values(t: &Tensor) -> Vec<f64> {
        Vec::try_from(&t.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    /// Every operation gives what a block of host chains gives.
    #[test]
    fn operations_match_the_host() {
        let (n, d) = (6, 3);
        let mut stream = Stream::new(1, Purpose::User, 0);
        let mut make = || {
            let mut v = vec![0f64; n * d];
            stream.fill_normal(&mut v);
            (Block::new(d, v.clone()).unwrap(), Tensor::from_slice(&v).view([n as i64, 1, d as i64]))
        };
        let ((a, ta), (b, tb)) = (make(), make());
        let same = |x: &Block<f64>, t: &Tensor| {
            for (x, t) in x.as_slice().iter().zip(values(t)) {
                assert!((x - t).abs() < 1e-14, "{x} {t}");
            }
        };
        let (c, tc) = (a.inner_each(&b).unwrap(), ta.inner_each(&tb).unwrap());
        let (c2, tc2) = (
            BlockScalar::linear([(2.0, &c), (1.0, &BlockScalar::Same(0.5))]).unwrap(),
            TensorScalar::linear([(2.0, &tc), (1.0, &Same(0.5))]).unwrap(),
        );
        let half = (BlockScalar::Same(0.5), Same(0.5));
        for (host, tensor) in [
            (c.times(&c2), tc.times(&tc2)),
            (c.over(&c2), tc.over(&tc2)),
            (half.0.times(&c), half.1.times(&tc)),
            (half.0.over(&c), half.1.over(&tc)),
            (c.times(&half.0), tc.times(&half.1)),
            (c.over(&half.0), tc.over(&half.1)),
            (half.0.over(&half.0), half.1.over(&half.1)),
        ] {
            let (host, tensor) = (host.unwrap(), tensor.unwrap().to_host(n).unwrap());
            for (i, t) in tensor.iter().enumerate() {
                assert!((host.of_chain(i) - t).abs() < 1e-13 * t.abs().max(1.0));
            }
        }
        let (mut y, mut ty) = (a.clone(), ta.shallow_clone());
        y.add_scaled(&c2, &b).unwrap();
        ty.add_scaled(&tc2, &tb).unwrap();
        same(&y, &ty);
        y.add_scaled(&BlockScalar::Same(-0.3), &b).unwrap();
        ty.add_scaled(&Same(-0.3), &tb).unwrap();
        y.scale_by(&c.exp_each().unwrap().at_most(1.5).unwrap()).unwrap();
        ty.scale_by(&tc.exp_each().unwrap().at_most(1.5).unwrap()).unwrap();
        same(&y, &ty);
        for (s, ts) in [(c.clone(), tc.clone()), (BlockScalar::Same(0.4), Same(0.4))] {
            y.add_scaled_each(&s, &a, &b).unwrap();
            ty.add_scaled_each(&ts, &ta, &tb).unwrap();
            let entries: Vec<f64> = (0..d * d).map(|i| (i as f64).sin()).collect();
            let (l, tl) = (y.matrix(&entries).unwrap(), ty.matrix(&entries).unwrap());
            y.add_lower(&s, &l, &b).unwrap();
            ty.add_lower(&ts, &tl, &tb).unwrap();
            y.add_lower_transposed(&s, &l, &a).unwrap();
            ty.add_lower_transposed(&ts, &tl, &ta).unwrap();
            same(&y, &ty);
        }
        let (mut sum, mut tsum) = (y.matrix(&[0.5; 9]).unwrap(), ty.matrix(&[0.5; 9]).unwrap());
        y.add_outer_to(&mut sum).unwrap();
        ty.add_outer_to(&mut tsum).unwrap();
        let entries = Tensor::matrix_entries(&tsum).unwrap();
        for (s, t) in Block::<f64>::matrix_entries(&sum).unwrap().iter().zip(entries) {
            assert!((s - t).abs() < 1e-12, "{s} {t}");
        }
        same(&y.filled(&[1.0, 2.0, 3.0]).unwrap(), &ty.filled(&[1.0, 2.0, 3.0]).unwrap());
        assert!(ty.filled(&[1.0]).is_err() && ty.matrix(&[1.0]).is_err());
        y.limit_norm(0.7).unwrap();
        ty.limit_norm(0.7).unwrap();
        y.limit(-0.5, 0.4).unwrap();
        ty.limit(-0.5, 0.4).unwrap();
        same(&y, &ty);
        let keep = c.less_than(&BlockScalar::Same(0.1)).unwrap();
        let tkeep = tc.less_than(&Same(0.1)).unwrap();
        y.restore_unless(&keep, &a).unwrap();
        ty.restore_unless(&tkeep, &ta).unwrap();
        same(&y, &ty);
        let chosen = BlockScalar::select(&keep, &c, &BlockScalar::Same(9.0)).unwrap();
        let tchosen = TensorScalar::select(&tkeep, &tc, &Same(9.0)).unwrap().to_host(n).unwrap();
        for (i, t) in tchosen.iter().enumerate() {
            assert!((chosen.of_chain(i) - t).abs() < 1e-14);
        }
        assert_eq!(Same(2.0).to_host(3).unwrap(), [2.0; 3]);
    }

    #[test]
    fn a_nan_is_rejected_and_does_not_leak() {
        let old = Tensor::from_slice(&[1f32, 2.0]).view([2, 1]);
        let mut x = Tensor::from_slice(&[f32::NAN, 5.0]).view([2, 1]);
        let keep = Each(x.view(-1)).less_than(&Same(10.0)).unwrap();
        x.restore_unless(&keep, &old).unwrap();
        assert_eq!(values(&x), [1.0, 5.0]);
        let zero = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let mut y = zero.shallow_clone();
        y.limit_norm(1.0).unwrap();
        assert_eq!(values(&y), [0.0; 6]);
    }
}
