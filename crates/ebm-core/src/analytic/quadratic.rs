//! The quadratic form `(x - m)^T P (x - m) / 2` and its gradient `P (x - m)` in one precision, without allocation.
//!
//! `P` is symmetric: its rows are its columns, so the product is a sum of rows, which vectorises without adding
//! across a register.

use crate::Real;

/// Mean and inverse covariance in one precision. `precision` has `dim` numbers (a diagonal) or `dim * dim`.
#[derive(Clone, Debug)]
pub(super) struct Quadratic<T, const TILE: usize> {
    mean: Vec<T>,
    precision: Vec<T>,
}

impl<T: Real, const TILE: usize> Quadratic<T, TILE> {
    pub(super) fn new(mean: &[f64], precision: &[f64]) -> Self {
        let round = |v: &[f64]| v.iter().map(|x| T::of(*x)).collect();
        Self { mean: round(mean), precision: round(precision) }
    }

    /// Whether `P` is kept as its diagonal.
    pub(super) fn is_diagonal(&self) -> bool {
        self.precision.len() == self.mean.len()
    }

    /// `P`, `[dim]` or `[dim * dim]`.
    #[cfg(feature = "torch")]
    pub(super) fn precision(&self) -> &[T] {
        &self.precision
    }

    /// Write `P (x - m)` through `put(coordinate, value)` and return `(x - m)^T P (x - m) / 2`.
    #[inline(always)]
    pub(super) fn apply(&self, x: &[T], mut put: impl FnMut(usize, T)) -> f64 {
        let (dim, mut sum) = (self.mean.len(), 0.0);
        if self.is_diagonal() {
            for (i, ((x, m), p)) in x.iter().zip(&self.mean).zip(&self.precision).enumerate() {
                let (d, g) = (*x - *m, *p * (*x - *m));
                put(i, g);
                sum += (d * g).to_f64();
            }
            return 0.5 * sum;
        }
        let mut at = 0;
        while at + TILE <= dim {
            sum += self.tile::<TILE>(x, at, &mut put);
            at += TILE;
        }
        while at + 4 <= dim {
            sum += self.tile::<4>(x, at, &mut put);
            at += 4;
        }
        while at < dim {
            sum += self.tile::<1>(x, at, &mut put);
            at += 1;
        }
        0.5 * sum
    }

    /// `W` coordinates of `P (x - m)`, summed in registers over the rows of `P`; returns their part of the sum.
    #[inline(always)]
    fn tile<const W: usize>(&self, x: &[T], at: usize, put: &mut impl FnMut(usize, T)) -> f64 {
        let dim = self.mean.len();
        let mut product = [T::default(); W];
        for ((row, x), m) in self.precision.chunks_exact(dim).zip(x).zip(&self.mean) {
            let (row, d) = (&row[at..at + W], *x - *m);
            for k in 0..W {
                product[k] += row[k] * d;
            }
        }
        let mut lanes = [T::default(); W];
        for (k, (x, m)) in x[at..at + W].iter().zip(&self.mean[at..at + W]).enumerate() {
            put(at + k, product[k]);
            lanes[k] = product[k] * (*x - *m);
        }
        // Halve the lanes until one is left: vector additions, and less rounding than one after the other.
        let mut width = W;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                lanes[k] += lanes[k + width];
            }
        }
        lanes[0].to_f64()
    }
}
