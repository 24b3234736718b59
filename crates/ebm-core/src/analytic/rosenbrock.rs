//! Rosenbrock's banana as independent pairs `(u, v)`: `E = sum over pairs of a (u - mu)^2 + b (v - u^2)^2`.
//!
//! Each pair is `u ~ N(mu, 1 / (2a))`, then `v ~ N(u^2, 1 / (2b))`: the normaliser `pi / sqrt(a b)` per pair, the
//! moments and a sampler are known. The full form, in which every coordinate is the `u` of the next, has no known
//! normaliser. Source: Pagani, Wiegand and Nadarajah, "An n-dimensional Rosenbrock distribution for Markov chain
//! Monte Carlo testing" (Scandinavian Journal of Statistics 2022, arXiv 1903.09556): their hybrid Rosenbrock with
//! one block of one, and independent copies of it instead of blocks that share their first coordinate.

use super::{Exact, check_finite, check_positive};
use crate::random::Stream;
use crate::{Error, HostEnergy, Real, Result};

/// `E(x) = sum_i a (x_2i - mu)^2 + b (x_2i+1 - x_2i^2)^2`; computed in f64 whatever the point's type.
///
/// ```
/// use ebm_core::Energy;
/// use ebm_core::analytic::{Exact, Rosenbrock};
/// let law = Rosenbrock::standard(2)?;
/// assert_eq!(law.energy(&vec![1.0, 1.0])?, 0.0);
/// assert_eq!(law.energy(&vec![0.0, 1.0])?, (1.0 + 100.0) / 20.0);
/// assert_eq!(law.mean(), [1.0, 11.0]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rosenbrock {
    dim: usize,
    mu: f64,
    a: f64,
    b: f64,
}

impl Rosenbrock {
    /// `dim / 2` pairs. Large `b` makes the ridge thin, small `a` long.
    ///
    /// # Errors
    /// When `dim` is 0 or odd, `mu` is not finite, or `a` or `b` is not finite and above 0.
    pub fn new(dim: usize, mu: f64, a: f64, b: f64) -> Result<Self> {
        if dim == 0 || dim % 2 == 1 {
            return Err(Error::bad_value("dim", dim, "even and at least 2", ""));
        }
        check_finite("mu", mu)?;
        check_positive("a", a)?;
        check_positive("b", b)?;
        Ok(Self { dim, mu, a, b })
    }

    /// The usual one, `((1 - u)^2 + 100 (v - u^2)^2) / 20`: `mu = 1`, `a = 1/20`, `b = 5`.
    ///
    /// # Errors
    /// When `dim` is 0 or odd.
    pub fn standard(dim: usize) -> Result<Self> {
        Self::new(dim, 1.0, 0.05, 5.0)
    }
}

impl<T: Real> HostEnergy<T> for Rosenbrock {
    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }

    fn value(&self, x: &[T]) -> f64 {
        let pair = |x: &[T]| {
            let (u, v) = (x[0].to_f64(), x[1].to_f64());
            self.a * (u - self.mu).powi(2) + self.b * (v - u * u).powi(2)
        };
        x.chunks_exact(2).map(pair).sum()
    }

    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        for (x, grad) in x.chunks_exact(2).zip(grad.chunks_exact_mut(2)) {
            let (u, v) = (x[0].to_f64(), x[1].to_f64());
            let off = v - u * u;
            grad[0] = T::of(2.0 * self.a * (u - self.mu) - 4.0 * self.b * u * off);
            grad[1] = T::of(2.0 * self.b * off);
        }
        self.value(x)
    }
}

crate::host_energy!(Rosenbrock);

impl Exact for Rosenbrock {
    fn log_partition(&self) -> f64 {
        // ln(sqrt(a b)) as a sum: the product may overflow.
        let pair = std::f64::consts::PI.ln() - 0.5 * (self.a.ln() + self.b.ln());
        (self.dim / 2) as f64 * pair
    }

    fn mean(&self) -> Vec<f64> {
        [self.mu, self.mu * self.mu + 0.5 / self.a].repeat(self.dim / 2)
    }

    /// Per pair, with `s = 1 / (2a)`: `Var u = s`, `Cov(u, v) = 2 mu s`, `Var v = 1 / (2b) + 2 s^2 + 4 mu^2 s`.
    fn covariance(&self) -> Vec<f64> {
        let (dim, s) = (self.dim, 0.5 / self.a);
        let mut covariance = vec![0.0; dim * dim];
        for i in (0..dim).step_by(2) {
            covariance[i * dim + i] = s;
            covariance[i * dim + i + 1] = 2.0 * self.mu * s;
            covariance[(i + 1) * dim + i] = 2.0 * self.mu * s;
            covariance[(i + 1) * dim + i + 1] = 0.5 / self.b + 2.0 * s * s + 4.0 * self.mu * self.mu * s;
        }
        covariance
    }

    fn sample(&self, stream: &mut Stream) -> Vec<f64> {
        let mut x = vec![0.0; self.dim];
        stream.fill_normal(&mut x);
        for pair in x.chunks_exact_mut(2) {
            pair[0] = self.mu + (0.5 / self.a).sqrt() * pair[0];
            pair[1] = pair[0] * pair[0] + (0.5 / self.b).sqrt() * pair[1];
        }
        x
    }
}

#[cfg(feature = "torch")]
mod torch {
    use super::Rosenbrock;
    use crate::analytic::check_rows;
    use crate::{GraphEnergy, Result};
    use tch::{Kind, Tensor};

    impl GraphEnergy for Rosenbrock {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            check_rows(self.dim, x)?;
            let pairs = x.f_reshape([x.size()[0], self.dim as i64 / 2, 2])?;
            let (u, v) = (pairs.f_select(2, 0)?, pairs.f_select(2, 1)?);
            let along = u.f_sub_scalar(self.mu)?.f_square()?.f_mul_scalar(self.a)?;
            let across = v.f_sub(&u.f_square()?)?.f_square()?.f_mul_scalar(self.b)?;
            let sum = along.f_add(&across)?;
            Ok(sum.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
        }
    }

    crate::tensor_energy!(Rosenbrock);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;

    #[test]
    fn gradient_blocks_tensors_and_draws() {
        testing::check_all(&Rosenbrock::standard(2).unwrap(), 20_000);
        testing::check_all(&Rosenbrock::new(6, -0.5, 1.0, 3.0).unwrap(), 20_000);
    }

    #[test]
    fn the_normaliser_is_the_integral() {
        let law = Rosenbrock::new(2, 1.0, 1.0, 2.0).unwrap();
        let z = testing::log_partition_2d(&law, (-5.0, 7.0), (-6.0, 56.0), 2000);
        assert!((law.log_partition() - z).abs() < 1e-10, "{z}");
        let many = Rosenbrock::new(8, 1.0, 1.0, 2.0).unwrap();
        assert!((many.log_partition() - 4.0 * law.log_partition()).abs() < 1e-12);
    }

    #[test]
    fn bad_settings_are_errors() {
        let text = |dim, mu, a, b| Rosenbrock::new(dim, mu, a, b).unwrap_err().to_string();
        assert_eq!(text(3, 0.0, 1.0, 1.0), "dim = 3: must be even and at least 2");
        assert_eq!(text(0, 0.0, 1.0, 1.0), "dim = 0: must be even and at least 2");
        assert_eq!(text(2, f64::INFINITY, 1.0, 1.0), "mu = inf: must be finite");
        assert_eq!(text(2, 0.0, 0.0, 1.0), "a = 0: must be finite and above 0");
        assert_eq!(text(2, 0.0, 1.0, f64::NAN), "b = NaN: must be finite and above 0");
    }
}
