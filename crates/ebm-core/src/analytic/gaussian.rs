//! The normal law with any covariance: `E(x) = (x - m)^T P (x - m) / 2`, `P` the inverse of the covariance.
//!
//! `ln Z = (dim ln(2 pi) + ln det C) / 2`; draws are `m + L z` with `C = L L^T` (Cholesky) and `z` standard normal.

use super::quadratic::Quadratic;
use super::{Exact, LN_2_PI, check_count, check_finite, check_positive, diagonal_matrix};
use crate::random::Stream;
use crate::{Cholesky, Error, HostEnergy, Real, Result};

/// `E(x) = (x - mean)^T covariance^-1 (x - mean) / 2`.
///
/// The inverse is computed once, in f64, and kept in f32 too: f32 chains multiply f32 numbers. A diagonal
/// covariance ([`Gaussian::standard`], [`Gaussian::diagonal`]) costs `dim` multiplications per gradient, a full
/// one `dim^2`.
///
/// ```
/// use ebm_core::GradEnergy;
/// use ebm_core::analytic::{Exact, Gaussian};
/// let law = Gaussian::new(vec![1.0, 0.0], vec![2.0, 1.0, 1.0, 1.0])?;
/// let mut grad = vec![0.0f64; 2];
/// let energy = law.energy_grad(&vec![2.0, 0.0], &mut grad)?;
/// assert!((energy - 0.5).abs() < 1e-12 && (grad[0] - 1.0).abs() < 1e-12 && (grad[1] + 1.0).abs() < 1e-12);
/// assert!((law.log_partition() - std::f64::consts::TAU.ln()).abs() < 1e-12); // the determinant is 1
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gaussian {
    mean: Vec<f64>,
    spread: Spread,
    log_partition: f64,
    // The widest run of f32 and f64 numbers that the baseline's registers hold with an operand to spare.
    narrow: Quadratic<f32, 32>,
    wide: Quadratic<f64, 16>,
    #[cfg(feature = "torch")]
    constants: super::constants::Constants,
}

#[derive(Clone, Debug)]
enum Spread {
    Diagonal { variances: Vec<f64> },
    Full { covariance: Vec<f64>, factor: Cholesky },
}

impl Gaussian {
    /// Any covariance, `[dim * dim]` row by row (symmetric, so by column too); `dim` is the mean's length.
    ///
    /// # Errors
    /// When the lengths do not fit, a number is not finite, or the covariance is not symmetric (to 9 digits) or not
    /// positive definite; the text names the entry.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self> {
        let factor = Cholesky::new("covariance", mean.len(), &covariance)?;
        let (precision, log_det) = (factor.inverse(), factor.log_det());
        Self::build(mean, Spread::Full { covariance, factor }, log_det, precision)
    }

    /// Independent coordinates with these variances.
    ///
    /// # Errors
    /// When the lengths differ, a number is not finite, or a variance is not above 0.
    pub fn diagonal(mean: Vec<f64>, variances: Vec<f64>) -> Result<Self> {
        if variances.len() != mean.len() {
            return Err(Error::shape("variances", mean.len(), variances.len()));
        }
        for (i, v) in variances.iter().enumerate() {
            check_positive(format!("variances[{i}]"), *v)?;
        }
        let precision = variances.iter().map(|v| 1.0 / v).collect();
        let log_det = variances.iter().map(|v| v.ln()).sum();
        Self::build(mean, Spread::Diagonal { variances }, log_det, precision)
    }

    /// Mean 0, variance 1 in `dim` coordinates.
    ///
    /// # Errors
    /// When `dim` is 0.
    pub fn standard(dim: usize) -> Result<Self> {
        Self::diagonal(vec![0.0; dim], vec![1.0; dim])
    }

    fn build(mean: Vec<f64>, spread: Spread, log_det: f64, precision: Vec<f64>) -> Result<Self> {
        check_count(mean.len())?;
        for (i, m) in mean.iter().enumerate() {
            check_finite(format!("mean[{i}]"), *m)?;
        }
        Ok(Self {
            log_partition: 0.5 * (mean.len() as f64 * LN_2_PI + log_det),
            narrow: Quadratic::new(&mean, &precision),
            wide: Quadratic::new(&mean, &precision),
            mean,
            spread,
            #[cfg(feature = "torch")]
            constants: Default::default(),
        })
    }
}

macro_rules! host {
    ($number:ty, $quadratic:ident) => {
        impl HostEnergy<$number> for Gaussian {
            fn dim(&self) -> Option<usize> {
                Some(self.mean.len())
            }
            fn value(&self, x: &[$number]) -> f64 {
                // The product is needed whole; its place comes from the thread's pool.
                let mut product = <$number>::with_pool(Vec::pop).unwrap_or_default();
                product.resize(x.len(), 0.0);
                let energy = self.$quadratic.value_grad(x, &mut product);
                <$number>::with_pool(|pool| pool.push(product));
                energy
            }
            #[inline(always)]
            fn value_grad(&self, x: &[$number], grad: &mut [$number]) -> f64 {
                self.$quadratic.value_grad(x, grad)
            }
            #[inline(always)]
            fn gradient(&self, x: &[$number], grad: &mut [$number]) {
                self.$quadratic.gradient(x, grad);
            }
        }
    };
}

host!(f32, narrow);
host!(f64, wide);
crate::host_energy!(Gaussian);

impl Exact for Gaussian {
    fn log_partition(&self) -> f64 {
        self.log_partition
    }
    fn mean(&self) -> Vec<f64> {
        self.mean.clone()
    }
    fn covariance(&self) -> Vec<f64> {
        match &self.spread {
            Spread::Diagonal { variances } => diagonal_matrix(variances),
            Spread::Full { covariance, .. } => covariance.clone(),
        }
    }
    fn sample(&self, stream: &mut Stream) -> Vec<f64> {
        let mut z = vec![0.0; self.mean.len()];
        stream.fill_normal(&mut z);
        let mut x = z.clone();
        match &self.spread {
            Spread::Diagonal { variances } => x.iter_mut().zip(variances).for_each(|(x, v)| *x *= v.sqrt()),
            Spread::Full { factor, .. } => factor.times(&z, &mut x),
        }
        x.iter_mut().zip(&self.mean).for_each(|(x, m)| *x += m);
        x
    }
}

#[cfg(feature = "torch")]
mod torch {
    use super::Gaussian;
    use crate::analytic::{check_rows, constants::tensor};
    use crate::{Energy, GradEnergy, GraphEnergy, Result, TensorScalar, value_of};
    use tch::{Kind, Tensor, no_grad};

    impl Gaussian {
        /// `x - m` and `P (x - m)`, both `[chains, dim]`.
        fn offset_and_slope(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
            let dim = self.mean.len();
            check_rows(dim, x)?;
            let full = !self.wide.is_diagonal();
            let [mean, precision] = self.constants.like(x, || {
                let dim = dim as i64;
                let shape = [dim, dim];
                let shape = if full { &shape[..] } else { &shape[..1] };
                Ok([tensor(&self.mean, &[dim])?, tensor(self.wide.precision(), shape)?])
            })?;
            let offset = x.f_sub(&mean)?;
            let slope = if full { offset.f_matmul(&precision)? } else { offset.f_mul(&precision)? };
            Ok((offset, slope))
        }
    }

    fn half_inner(a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let sum = a.f_mul(b)?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        Ok(sum.f_mul_scalar(0.5)?)
    }

    impl GraphEnergy for Gaussian {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            let (offset, slope) = self.offset_and_slope(x)?;
            half_inner(&offset, &slope)
        }
    }

    impl Energy<Tensor> for Gaussian {
        fn energy(&self, x: &Tensor) -> Result<TensorScalar> {
            value_of(self, x)
        }
    }

    /// In closed form, without autograd.
    impl GradEnergy<Tensor> for Gaussian {
        fn energy_grad(&self, x: &Tensor, grad: &mut Tensor) -> Result<TensorScalar> {
            let (offset, slope) = no_grad(|| self.offset_and_slope(x))?;
            *grad = slope;
            Ok(TensorScalar::Each(half_inner(&offset, grad)?))
        }

        fn grad(&self, x: &Tensor, grad: &mut Tensor) -> Result<()> {
            *grad = no_grad(|| self.offset_and_slope(x))?.1;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;

    /// A covariance with correlations of both signs: `A A^T + I` with whole numbers in `A`.
    fn covariance(dim: usize) -> Vec<f64> {
        let a = |i: usize, j: usize| ((i * 7 + j * 3) % 5) as f64 - 2.0;
        let entry = |i, j| (0..dim).map(|k| a(i, k) * a(j, k)).sum::<f64>() / dim as f64;
        (0..dim * dim).map(|k| entry(k / dim, k % dim) + f64::from(u8::from(k / dim == k % dim))).collect()
    }

    #[test]
    fn gradient_blocks_tensors_and_draws() {
        for dim in [1, 2, 7, 53] {
            let mean = (0..dim).map(|i| 0.1 * i as f64 - 1.0).collect();
            let n = if dim > 10 { 2000 } else { 20_000 };
            testing::check_all(&Gaussian::new(mean, covariance(dim)).unwrap(), n);
        }
        testing::check_all(&Gaussian::standard(3).unwrap(), 20_000);
        testing::check_all(&Gaussian::diagonal(vec![1.0, -2.0], vec![0.01, 9.0]).unwrap(), 20_000);
    }

    #[test]
    fn a_full_matrix_that_is_diagonal_is_the_diagonal_law() {
        let variances = [0.5, 2.0, 3.0, 0.1, 7.0];
        let mean = vec![1.0, 0.0, -1.0, 2.0, 0.3];
        let full = Gaussian::new(mean.clone(), diagonal_matrix(&variances)).unwrap();
        let diagonal = Gaussian::diagonal(mean, variances.to_vec()).unwrap();
        assert!((full.log_partition() - diagonal.log_partition()).abs() < 1e-14);
        assert_eq!(full.covariance(), diagonal.covariance());
        let x = [0.3, 0.1, 0.4, 0.1, 0.5];
        assert!((full.value(&x) - diagonal.value(&x)).abs() < 1e-13);
    }

    #[test]
    fn the_normaliser_is_the_integral() {
        let law = Gaussian::new(vec![0.5, -0.5], vec![1.0, 0.6, 0.6, 0.8]).unwrap();
        let z = testing::log_partition_2d(&law, (-10.0, 11.0), (-10.0, 10.0), 600);
        assert!((law.log_partition() - z).abs() < 1e-10);
    }

    #[test]
    fn bad_settings_are_errors() {
        let new = |mean: &[f64], c: &[f64]| Gaussian::new(mean.to_vec(), c.to_vec()).unwrap_err().to_string();
        assert_eq!(new(&[0.0; 2], &[1.0; 3]), "covariance: expected 2 x 2 = 4 numbers, found 3");
        assert_eq!(new(&[0.0, f64::NAN], &[1.0, 0.0, 0.0, 1.0]), "mean[1] = NaN: must be finite");
        assert!(new(&[0.0; 2], &[1.0, 2.0, 2.0, 1.0]).contains("not positive definite"));
        assert_eq!(new(&[], &[]), "dim = 0: must be at least 1");
        assert_eq!(Gaussian::standard(0).unwrap_err().to_string(), "dim = 0: must be at least 1");
        let diagonal = |v: &[f64]| Gaussian::diagonal(vec![0.0; 2], v.to_vec()).unwrap_err().to_string();
        assert_eq!(diagonal(&[1.0]), "variances: expected 2, found 1");
        assert_eq!(diagonal(&[1.0, 0.0]), "variances[1] = 0: must be finite and above 0");
    }
}
