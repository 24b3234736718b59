//! One host chain as a plain `Vec<f32>` or `Vec<f64>`.

use super::{ChainMask, HostPoint, Point, Scalar};
use crate::random::Stream;
use crate::{Error, Real, Result};

impl ChainMask for bool {
    fn negate(&self) -> Result<Self> {
        Ok(!self)
    }
    fn either(&self, other: &Self) -> Result<Self> {
        Ok(*self || *other)
    }
}

impl Scalar for f64 {
    type Mask = bool;

    #[inline(always)]
    fn same(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn linear<const N: usize>(terms: [(f64, &Self); N]) -> Result<Self> {
        Ok(terms.iter().map(|(c, s)| c * **s).sum())
    }
    #[inline(always)]
    fn times(&self, other: &Self) -> Result<Self> {
        Ok(self * other)
    }
    #[inline(always)]
    fn over(&self, other: &Self) -> Result<Self> {
        Ok(self / other)
    }
    fn exp_each(&self) -> Result<Self> {
        Ok(f64::exp(*self))
    }
    fn ln_each(&self) -> Result<Self> {
        Ok(f64::ln(*self))
    }
    fn sqrt_each(&self) -> Result<Self> {
        Ok(f64::sqrt(*self))
    }
    fn at_most(&self, limit: f64) -> Result<Self> {
        Ok(if *self > limit { limit } else { *self })
    }
    fn less_than(&self, other: &Self) -> Result<bool> {
        Ok(self < other)
    }
    fn select(mask: &bool, yes: &Self, no: &Self) -> Result<Self> {
        Ok(if *mask { *yes } else { *no })
    }
    fn shared(&self) -> Option<f64> {
        Some(*self)
    }
    fn write_each(&self, out: &mut [f64]) -> Result<()> {
        out.fill(*self);
        Ok(())
    }
}

/// `sum of a * b` in eight lanes, so that it vectorises and is the same on every machine.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = [T::default(); 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut rest = 0.0;
    for (x, y) in a8.remainder().iter().zip(b8.remainder()) {
        rest += (*x * *y).to_f64();
    }
    for (x, y) in a8.zip(b8) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().map(|x| x.to_f64()).sum::<f64>() + rest
}

/// `y += a x`.
#[inline(always)]
pub(super) fn axpy<T: Real>(y: &mut [T], a: T, x: &[T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * *x;
    }
}

#[inline(always)]
pub(super) fn clamp_all<T: Real>(x: &mut [T], low: f64, high: f64) {
    let (low, high) = (T::of(low), T::of(high));
    for x in x {
        if *x < low {
            *x = low;
        } else if *x > high {
            *x = high;
        }
    }
}

/// Scale one chain down to the norm `max` where it is longer.
#[inline(always)]
pub(super) fn clip_norm<T: Real>(x: &mut [T], max: f64) {
    let norm = dot(x, x).sqrt();
    if norm > max {
        let factor = T::of(max / norm);
        for x in x {
            *x *= factor;
        }
    }
}

/// `y += a (scale * x)`.
#[inline(always)]
pub(super) fn axpy_each<T: Real>(y: &mut [T], a: T, scale: &[T], x: &[T]) {
    for ((y, s), x) in y.iter_mut().zip(scale).zip(x) {
        *y += a * (*s * *x);
    }
}

/// `y += a L x`, `lower` holding L row by row.
#[inline(always)]
pub(super) fn lower_axpy<T: Real>(y: &mut [T], a: T, lower: &[T], x: &[T]) {
    for (i, (y, row)) in y.iter_mut().zip(lower.chunks_exact(x.len())).enumerate() {
        *y += a * T::of(dot(&row[..=i], &x[..=i]));
    }
}

/// `y += a L^T x`.
#[inline(always)]
pub(super) fn lower_transposed_axpy<T: Real>(y: &mut [T], a: T, lower: &[T], x: &[T]) {
    for (i, (x, row)) in x.iter().zip(lower.chunks_exact(x.len())).enumerate() {
        axpy(&mut y[..=i], a * *x, &row[..=i]);
    }
}

/// `sum += x x^T`.
pub(super) fn outer_sum<T: Real>(sum: &mut [T], x: &[T]) {
    for (row, xi) in sum.chunks_exact_mut(x.len()).zip(x) {
        axpy(row, *xi, x);
    }
}

/// `values` as the point's numbers, if there are `expected` of them.
pub(super) fn converted<T: Real>(what: &str, expected: usize, values: &[f64]) -> Result<Vec<T>> {
    if values.len() != expected {
        return Err(Error::shape(what, expected, values.len()));
    }
    Ok(values.iter().map(|v| T::of(*v)).collect())
}

/// Copy as f64.
#[inline(always)]
pub(super) fn widened<T: Real>(x: &[T], out: &mut [f64]) {
    out.iter_mut().zip(x).for_each(|(o, x)| *o = x.to_f64());
}

/// A vector for temporary use from the thread's pool.
pub(crate) fn take<T: Real>(len: usize) -> Vec<T> {
    let mut v = T::with_pool(Vec::pop).unwrap_or_default();
    v.resize(len, T::default());
    v
}

/// Return a vector to the thread's pool.
pub(crate) fn give<T: Real>(v: Vec<T>) {
    T::with_pool(|pool| pool.push(v));
}

impl<T: Real> Point for Vec<T> {
    type Scalar = f64;
    type Rng = Stream;
    type Matrix = Self;

    fn n_chains(&self) -> usize {
        1
    }
    fn form(&self) -> String {
        format!("{} numbers", self.len())
    }
    fn zeros_like(&self) -> Result<Self> {
        Ok(vec![T::default(); self.len()])
    }
    #[inline(always)]
    fn set_from(&mut self, src: &Self) -> Result<()> {
        self.copy_from_slice(src);
        Ok(())
    }
    #[inline(always)]
    fn restore_unless(&mut self, keep: &bool, old: &Self) -> Result<()> {
        if !keep {
            self.copy_from_slice(old);
        }
        Ok(())
    }
    #[inline(always)]
    fn add_scaled(&mut self, a: &f64, x: &Self) -> Result<()> {
        axpy(self, T::of(*a), x);
        Ok(())
    }
    #[inline(always)]
    fn scale_by(&mut self, a: &f64) -> Result<()> {
        let a = T::of(*a);
        self.iter_mut().for_each(|x| *x *= a);
        Ok(())
    }
    #[inline(always)]
    fn inner_each(&self, other: &Self) -> Result<f64> {
        Ok(dot(self, other))
    }
    #[inline(always)]
    fn set_normal(&mut self, rng: &mut Stream) -> Result<()> {
        rng.fill_normal(self);
        Ok(())
    }
    #[inline(always)]
    fn add_normal(&mut self, sigma: &f64, rng: &mut Stream) -> Result<()> {
        rng.add_normal(T::of(*sigma), self);
        Ok(())
    }
    #[inline(always)]
    fn uniform_each(&self, rng: &mut Stream) -> Result<f64> {
        Ok(rng.uniform())
    }
    fn limit(&mut self, low: f64, high: f64) -> Result<()> {
        clamp_all(self, low, high);
        Ok(())
    }
    fn limit_norm(&mut self, max: f64) -> Result<()> {
        clip_norm(self, max);
        Ok(())
    }
    #[inline(always)]
    fn add_scaled_each(&mut self, a: &f64, scale: &Self, x: &Self) -> Result<()> {
        axpy_each(self, T::of(*a), scale, x);
        Ok(())
    }
    #[inline(always)]
    fn add_lower(&mut self, a: &f64, lower: &Self, x: &Self) -> Result<()> {
        lower_axpy(self, T::of(*a), lower, x);
        Ok(())
    }
    #[inline(always)]
    fn add_lower_transposed(&mut self, a: &f64, lower: &Self, x: &Self) -> Result<()> {
        lower_transposed_axpy(self, T::of(*a), lower, x);
        Ok(())
    }
    fn filled(&self, row: &[f64]) -> Result<Self> {
        converted("coordinates of a chain", self.len(), row)
    }
    fn dim_of_chain(&self) -> usize {
        self.len()
    }
    fn write_rows(&self, out: &mut [f64]) -> Result<()> {
        widened(self, out);
        Ok(())
    }
    fn with_rows(&self, rows: &[f64]) -> Result<Self> {
        converted("coordinates of a point", self.len(), rows)
    }
    fn scalar(&self, each: &[f64]) -> Result<f64> {
        match each {
            [value] => Ok(*value),
            _ => Err(Error::shape("numbers, one per chain", 1, each.len())),
        }
    }
    fn matrix(&self, entries: &[f64]) -> Result<Self> {
        converted("entries of a matrix", self.len() * self.len(), entries)
    }
    fn matrix_entries(matrix: &Self) -> Result<Vec<f64>> {
        Ok(matrix.iter().map(|x| x.to_f64()).collect())
    }
    fn add_outer_to(&self, sum: &mut Self) -> Result<()> {
        outer_sum(sum, self);
        Ok(())
    }
    #[inline(always)]
    fn host_len(&self) -> usize {
        self.len()
    }
    fn take_scratch(&self) -> Result<Self> {
        Ok(take(self.len()))
    }
    fn give_back(self) {
        give(self);
    }
}

impl<T: Real> HostPoint for Vec<T> {
    fn all_finite(&self) -> bool {
        self.iter().all(|x| x.to_f64().is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_sums_every_coordinate() {
        let a: Vec<f64> = (0..21).map(f64::from).collect();
        assert_eq!(dot(&a, &a), (0..21).map(|i| f64::from(i * i)).sum::<f64>());
    }

    #[test]
    fn nan_is_never_less_and_is_not_clamped_away() {
        assert!(!f64::NAN.less_than(&1.0).unwrap() && !1.0.less_than(&f64::NAN).unwrap());
        assert!(f64::NAN.at_most(0.0).unwrap().is_nan());
        let mut x = vec![f32::NAN, 5.0, -5.0];
        x.limit(-1.0, 1.0).unwrap();
        assert!(x[0].is_nan() && x[1..] == [1.0, -1.0]);
    }

    #[test]
    fn norm_is_limited_only_when_longer() {
        let mut x = vec![3.0f64, 4.0];
        x.limit_norm(10.0).unwrap();
        assert_eq!(x, [3.0, 4.0]);
        x.limit_norm(1.0).unwrap();
        assert!((x[0] - 0.6).abs() < 1e-15 && (x[1] - 0.8).abs() < 1e-15);
    }

    #[test]
    fn scratch_comes_back_from_the_pool() {
        let x = vec![0.0f64; 5];
        let scratch = x.take_scratch().unwrap();
        let address = scratch.as_ptr();
        scratch.give_back();
        let again = x.take_scratch().unwrap();
        assert_eq!(again.as_ptr(), address);
    }

    #[test]
    fn products_with_a_triangle_are_those_of_its_lower_half() {
        let l = [2.0, 9.0, 9.0, -1.0, 3.0, 9.0, 0.5, 4.0, 1.0];
        let (x, one) = (vec![1.0f64, -2.0, 3.0], [1.0, 1.0, 1.0]);
        let mut y = one.to_vec();
        y.add_lower(&2.0, &l.to_vec(), &x).unwrap();
        assert_eq!(y, [1.0 + 4.0, 1.0 - 14.0, 1.0 - 9.0]);
        let mut y = one.to_vec();
        y.add_lower_transposed(&2.0, &l.to_vec(), &x).unwrap();
        assert_eq!(y, [1.0 + 11.0, 1.0 + 12.0, 1.0 + 6.0]);
        let mut y = one.to_vec();
        y.add_scaled_each(&2.0, &vec![1.0, 0.0, -1.0], &x).unwrap();
        assert_eq!(y, [3.0, 1.0, -5.0]);
        let mut sum = vec![0.0; 9];
        x.add_outer_to(&mut sum).unwrap();
        assert_eq!(sum, [1.0, -2.0, 3.0, -2.0, 4.0, -6.0, 3.0, -6.0, 9.0]);
        assert!(x.filled(&[1.0]).is_err() && x.matrix(&[1.0; 3]).is_err());
    }
}
