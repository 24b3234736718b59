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

    /// Write `P (x - m)` into `grad`.
    #[inline(always)]
    pub(super) fn gradient(&self, x: &[T], grad: &mut [T]) {
        if self.is_diagonal() {
            for (((g, x), m), p) in grad.iter_mut().zip(x).zip(&self.mean).zip(&self.precision) {
                *g = *p * (*x - *m);
            }
            return;
        }
        let mut at = 0;
        while at + TILE <= x.len() {
            grad[at..at + TILE].copy_from_slice(&self.tile::<TILE>(x, at));
            at += TILE;
        }
        while at + 4 <= x.len() {
            grad[at..at + 4].copy_from_slice(&self.tile::<4>(x, at));
            at += 4;
        }
        while at < x.len() {
            grad[at] = self.tile::<1>(x, at)[0];
            at += 1;
        }
    }

    /// `(x - m)^T P (x - m) / 2`, with `P (x - m)` written into `grad`. The gradient first and the sum in a loop of
    /// its own: together they do not fit the registers.
    #[inline(always)]
    pub(super) fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        self.gradient(x, grad);
        let mut lanes = [T::default(); 8];
        let ends = x.len() / 8 * 8;
        for at in (0..ends).step_by(8) {
            let (x, m, g) = (&x[at..at + 8], &self.mean[at..at + 8], &grad[at..at + 8]);
            for k in 0..8 {
                lanes[k] += (x[k] - m[k]) * g[k];
            }
        }
        let mut sum = lanes.iter().map(|x| x.to_f64()).sum::<f64>();
        for i in ends..x.len() {
            sum += ((x[i] - self.mean[i]) * grad[i]).to_f64();
        }
        0.5 * sum
    }

    /// `W` coordinates of `P (x - m)`, summed in registers over the rows of `P`.
    #[inline(always)]
    fn tile<const W: usize>(&self, x: &[T], at: usize) -> [T; W] {
        let mut product = [T::default(); W];
        for ((row, x), m) in self.precision.chunks_exact(self.mean.len()).zip(x).zip(&self.mean) {
            let (row, d) = (&row[at..at + W], *x - *m);
            for k in 0..W {
                product[k] += row[k] * d;
            }
        }
        product
    }
}
