//! Energies of one host chain: a struct that implements [`HostEnergy`], or a user's closure.

use std::marker::PhantomData;

use crate::{Error, Real, Result};

/// An energy of one chain in host memory. Implement this, then `host_energy!(MyEnergy);` makes it an
/// [`Energy`](crate::Energy) of single chains and of blocks.
pub trait HostEnergy<T: Real> {
    /// Coordinates of a point, or `None` when any number will do.
    fn dim(&self) -> Option<usize>;

    /// `E(x)`.
    fn value(&self, x: &[T]) -> f64;

    /// `E(x)`, with `dE/dx` written into `grad` (same length as `x`).
    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64;

    /// `dE/dx` alone; override where it is cheaper (Langevin kernels need no energy).
    #[inline(always)]
    fn gradient(&self, x: &[T], grad: &mut [T]) {
        self.value_grad(x, grad);
    }

    /// `dE/dx` of all rows of a block, `[n_chains * dim]`; override where the whole block vectorises better.
    #[inline(always)]
    fn gradient_rows(&self, dim: usize, x: &[T], grad: &mut [T]) {
        for (x, grad) in x.chunks_exact(dim).zip(grad.chunks_exact_mut(dim)) {
            self.gradient(x, grad);
        }
    }
}

/// Fails unless a point of `found` coordinates suits the energy.
#[doc(hidden)]
#[inline(always)]
pub fn check_dim(expected: Option<usize>, found: usize) -> Result<()> {
    match expected {
        Some(dim) if dim != found => Err(Error::shape("coordinates of a point", dim, found)),
        _ => Ok(()),
    }
}

/// Make types that implement [`HostEnergy`] energies of `Vec<T>` (one chain) and `Block<T>` (64 chains).
///
/// `host_energy!(MyEnergy);` or, with generics, `host_energy!([A, B] Pair<A, B>);`.
#[macro_export]
macro_rules! host_energy {
    ([$($generic:ident),*] $name:ty) => {
        impl<T: $crate::Real $(, $generic)*> $crate::Energy<Vec<T>> for $name
        where Self: $crate::HostEnergy<T>
        {
            #[inline(always)]
            fn energy(&self, x: &Vec<T>) -> $crate::Result<f64> {
                $crate::check_dim($crate::HostEnergy::<T>::dim(self), x.len())?;
                Ok($crate::HostEnergy::value(self, x.as_slice()))
            }
        }
        impl<T: $crate::Real $(, $generic)*> $crate::GradEnergy<Vec<T>> for $name
        where Self: $crate::HostEnergy<T>
        {
            #[inline(always)]
            fn energy_grad(&self, x: &Vec<T>, grad: &mut Vec<T>) -> $crate::Result<f64> {
                $crate::check_dim($crate::HostEnergy::<T>::dim(self), x.len())?;
                Ok($crate::HostEnergy::value_grad(self, x.as_slice(), grad.as_mut_slice()))
            }
            #[inline(always)]
            fn grad(&self, x: &Vec<T>, grad: &mut Vec<T>) -> $crate::Result<()> {
                $crate::check_dim($crate::HostEnergy::<T>::dim(self), x.len())?;
                $crate::HostEnergy::gradient(self, x.as_slice(), grad.as_mut_slice());
                Ok(())
            }
        }
        impl<T: $crate::Real $(, $generic)*> $crate::Energy<$crate::Block<T>> for $name
        where Self: $crate::HostEnergy<T>
        {
            #[inline(always)]
            fn energy(&self, x: &$crate::Block<T>) -> $crate::Result<$crate::BlockScalar> {
                $crate::check_dim($crate::HostEnergy::<T>::dim(self), $crate::HostPoint::dim(x))?;
                let mut values = [0.0; $crate::BLOCK_CHAINS];
                for (x, value) in x.rows().zip(&mut values) {
                    *value = $crate::HostEnergy::value(self, x);
                }
                Ok($crate::BlockScalar::Each(values))
            }
        }
        impl<T: $crate::Real $(, $generic)*> $crate::GradEnergy<$crate::Block<T>> for $name
        where Self: $crate::HostEnergy<T>
        {
            #[inline(always)]
            fn energy_grad(
                &self,
                x: &$crate::Block<T>,
                grad: &mut $crate::Block<T>,
            ) -> $crate::Result<$crate::BlockScalar> {
                $crate::check_dim($crate::HostEnergy::<T>::dim(self), $crate::HostPoint::dim(x))?;
                let mut values = [0.0; $crate::BLOCK_CHAINS];
                for ((x, grad), value) in x.rows().zip(grad.rows_mut()).zip(&mut values) {
                    *value = $crate::HostEnergy::value_grad(self, x, grad);
                }
                Ok($crate::BlockScalar::Each(values))
            }
            #[inline(always)]
            fn grad(&self, x: &$crate::Block<T>, grad: &mut $crate::Block<T>) -> $crate::Result<()> {
                let dim = $crate::HostPoint::dim(x);
                $crate::check_dim($crate::HostEnergy::<T>::dim(self), dim)?;
                self.gradient_rows(dim, x.as_slice(), grad.as_mut_slice());
                Ok(())
            }
        }
    };
    ($name:ty) => { $crate::host_energy!([] $name); };
}

/// A user's closures as energies of host chains.
///
/// ```
/// use ebm_core::{Energy, GradEnergy, Host};
/// let ring = Host::value_grad(2, |x: &[f64], grad: &mut [f64]| {
///     let r = x[0].hypot(x[1]);
///     grad[0] = (r - 3.0) * x[0] / r;
///     grad[1] = (r - 3.0) * x[1] / r;
///     0.5 * (r - 3.0).powi(2)
/// });
/// let mut grad = vec![0.0; 2];
/// assert_eq!(ring.energy_grad(&vec![5.0, 0.0], &mut grad).unwrap(), 2.0);
/// assert_eq!(grad, [2.0, 0.0]);
/// ```
pub struct Host;

impl Host {
    /// `E(x)` and its gradient from one closure `|x, grad| energy`, both slices of length `dim`.
    pub fn value_grad<T: Real, F: Fn(&[T], &mut [T]) -> f64>(dim: usize, f: F) -> ValueGrad<T, F> {
        ValueGrad { dim, f, number: PhantomData }
    }

    /// `E(x)` alone. The gradient is taken by central differences, `2 dim` more calls: slow, and accurate to
    /// about 1e-7 of the energy's scale in f64 (use f64). Prefer [`Host::value_grad`].
    pub fn value<T: Real, F: Fn(&[T]) -> f64>(dim: usize, f: F) -> Value<T, F> {
        Value { dim, f, number: PhantomData }
    }
}

/// See [`Host::value_grad`].
pub struct ValueGrad<T, F> {
    dim: usize,
    f: F,
    number: PhantomData<fn(T)>,
}

impl<T: Real, F: Fn(&[T], &mut [T]) -> f64> HostEnergy<T> for ValueGrad<T, F> {
    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }
    fn value(&self, x: &[T]) -> f64 {
        (self.f)(x, &mut vec![T::default(); x.len()])
    }
    #[inline(always)]
    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        (self.f)(x, grad)
    }
}

/// See [`Host::value`].
pub struct Value<T, F> {
    dim: usize,
    f: F,
    number: PhantomData<fn(T)>,
}

impl<T: Real, F: Fn(&[T]) -> f64> HostEnergy<T> for Value<T, F> {
    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }
    fn value(&self, x: &[T]) -> f64 {
        (self.f)(x)
    }
    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        let mut moved = x.to_vec();
        for i in 0..x.len() {
            // The cube root of the rounding error balances rounding against truncation.
            let h = T::of(f64::EPSILON.cbrt() * x[i].to_f64().abs().max(1.0));
            let (up, down) = (x[i] + h, x[i] - h);
            moved[i] = up;
            let above = (self.f)(&moved);
            moved[i] = down;
            let below = (self.f)(&moved);
            moved[i] = x[i];
            grad[i] = T::of((above - below) / (up - down).to_f64());
        }
        (self.f)(x)
    }
}

crate::host_energy!([F] ValueGrad<T, F>);
crate::host_energy!([F] Value<T, F>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Energy, GradEnergy};

    #[test]
    fn central_differences_match_the_gradient_and_wrong_lengths_are_errors() {
        let quartic = Host::value(3, |x: &[f64]| x.iter().map(|x| x.powi(4)).sum());
        let x = vec![0.5, -1.0, 30.0];
        let mut grad = vec![0.0; 3];
        assert_eq!(quartic.energy_grad(&x, &mut grad).unwrap(), quartic.energy(&x).unwrap());
        for (g, x) in grad.iter().zip(&x) {
            assert!((g - 4.0 * x.powi(3)).abs() < 1e-6 * (4.0 * x.powi(3)).abs());
        }
        let error = quartic.energy(&vec![0.0; 2]).unwrap_err();
        assert_eq!(error.to_string(), "coordinates of a point: expected 3, found 2");
    }

    #[test]
    fn a_closure_works_on_a_block_row_by_row() {
        let energy = Host::value_grad(2, |x: &[f64], grad: &mut [f64]| {
            grad.copy_from_slice(&[x[0], 2.0 * x[1]]);
            0.5 * x[0] * x[0] + x[1] * x[1]
        });
        let block = Block::new(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let mut grad = block.clone();
        let values = energy.energy_grad(&block, &mut grad).unwrap();
        assert_eq!((values.of_chain(0), values.of_chain(1)), (4.5, 20.5));
        assert_eq!(grad.as_slice(), [1.0, 4.0, 3.0, 8.0]);
        energy.grad(&block, &mut grad).unwrap();
        assert_eq!(grad.as_slice(), [1.0, 4.0, 3.0, 8.0]);
    }
}
