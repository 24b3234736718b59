//! Neal's funnel: `v ~ N(0, 9)`, then every other coordinate `~ N(0, e^v)` (variances).
//!
//! `E = v^2 / 18 + e^-v sum_i x_i^2 / 2 + n v / 2` with `n = dim - 1`; `ln Z = ln 3 + dim ln(2 pi) / 2`. The mouth
//! (large `v`) is wide, the neck so thin that no step size suits both. Source: Neal, "Slice sampling", Annals of
//! Statistics 2003, section 8 (there `dim = 10`).

use super::{Exact, LN_2_PI, diagonal_matrix};
use crate::random::Stream;
use crate::{Error, HostEnergy, Real, Result, RiemannianMetric};

/// Variance of `v`.
const VARIANCE: f64 = 9.0;

/// Neal's funnel; coordinate 0 is `v`, the logarithm of the others' variance. Computed in f64 whatever the
/// point's type.
///
/// The others' variance is `e^4.5 = 90` and their fourth moment `3 e^18`: an average of their squares needs
/// millions of draws. Judge a sampler by `v`, or by `x_i e^(-v/2)`, which is standard normal.
///
/// ```
/// use ebm_core::GradEnergy;
/// use ebm_core::analytic::{Exact, Funnel};
/// let law = Funnel::new(3)?;
/// let mut grad = vec![0.0; 3];
/// assert_eq!(law.energy_grad(&vec![0.0, 2.0, 0.0], &mut grad)?, 2.0);
/// assert_eq!(grad, [-1.0, 2.0, 0.0]);
/// assert_eq!(law.covariance()[0], 9.0);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Funnel {
    dim: usize,
}

impl Funnel {
    /// `v` and `dim - 1` others.
    ///
    /// # Errors
    /// When `dim` is below 2.
    pub fn new(dim: usize) -> Result<Self> {
        if dim < 2 {
            return Err(Error::bad_value("dim", dim, "at least 2", ""));
        }
        Ok(Self { dim })
    }
}

impl<T: Real> HostEnergy<T> for Funnel {
    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }

    fn value(&self, x: &[T]) -> f64 {
        let Some((v, others)) = x.split_first() else { return f64::NAN };
        let v = v.to_f64();
        let squares: f64 = others.iter().map(|x| x.to_f64().powi(2)).sum();
        0.5 * (v * v / VARIANCE + (-v).exp() * squares + others.len() as f64 * v)
    }

    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        let (Some((v, others)), Some((dv, grads))) = (x.split_first(), grad.split_first_mut()) else {
            return f64::NAN;
        };
        let v = v.to_f64();
        let precision = (-v).exp();
        let mut squares = 0.0;
        for (g, x) in grads.iter_mut().zip(others) {
            let x = x.to_f64();
            *g = T::of(precision * x);
            squares += x * x;
        }
        let n = others.len() as f64;
        *dv = T::of(v / VARIANCE + 0.5 * (n - precision * squares));
        0.5 * (v * v / VARIANCE + precision * squares + n * v)
    }
}

crate::host_energy!(Funnel);

/// The Fisher information of the others' scale plus the precision of `v`, `diag(1 / 9 + n / 2, e^-v, ..)`: the mean Hessian
/// over the others given `v`.
///
/// ```
/// use ebm_core::RiemannianMetric;
/// use ebm_core::analytic::Funnel;
/// let law = Funnel::new(2)?;
/// let mut g = [0.0; 4];
/// law.metric(&[0.0, 3.0], &mut g);
/// assert_eq!(g, [1.0 / 9.0 + 0.5, 0.0, 0.0, 1.0]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
impl RiemannianMetric for Funnel {
    fn metric(&self, x: &[f64], g: &mut [f64]) {
        let dim = self.dim;
        g.fill(0.0);
        g[0] = 1.0 / VARIANCE + 0.5 * (dim as f64 - 1.0);
        (1..dim).for_each(|i| g[i * (dim + 1)] = (-x[0]).exp());
    }

    fn metric_derivatives(&self, x: &[f64], dg: &mut [f64]) {
        let dim = self.dim;
        dg.fill(0.0);
        // Of the derivatives only those along `v` are not 0.
        (1..dim).for_each(|i| dg[i * (dim + 1)] = -(-x[0]).exp());
    }
}

impl Exact for Funnel {
    fn log_partition(&self) -> f64 {
        0.5 * (VARIANCE.ln() + self.dim as f64 * LN_2_PI)
    }
    fn mean(&self) -> Vec<f64> {
        vec![0.0; self.dim]
    }
    /// Uncorrelated (not independent); the others' variance is `E[e^v] = e^4.5`.
    fn covariance(&self) -> Vec<f64> {
        let mut variances = vec![(0.5 * VARIANCE).exp(); self.dim];
        variances[0] = VARIANCE;
        diagonal_matrix(&variances)
    }
    fn sample(&self, stream: &mut Stream) -> Vec<f64> {
        let mut x = vec![0.0; self.dim];
        stream.fill_normal(&mut x);
        x[0] *= VARIANCE.sqrt();
        let scale = (0.5 * x[0]).exp();
        x[1..].iter_mut().for_each(|x| *x *= scale);
        x
    }
}

#[cfg(feature = "torch")]
mod torch {
    use super::{Funnel, VARIANCE};
    use crate::analytic::check_rows;
    use crate::{GraphEnergy, Result};
    use tch::{Kind, Tensor};

    impl GraphEnergy for Funnel {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            check_rows(self.dim, x)?;
            let n = self.dim as i64 - 1;
            let (v, others) = (x.f_select(1, 0)?, x.f_narrow(1, 1, n)?);
            let squares = others.f_square()?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            let scaled = v.f_neg()?.f_exp()?.f_mul(&squares)?;
            let own = v.f_square()?.f_mul_scalar(1.0 / VARIANCE)?.f_add(&v.f_mul_scalar(n as f64)?)?;
            Ok(own.f_add(&scaled)?.f_mul_scalar(0.5)?)
        }
    }

    crate::tensor_energy!(Funnel);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;
    use crate::random::Purpose;

    #[test]
    fn gradient_blocks_tensors_and_draws() {
        for dim in [2, 10] {
            testing::check_all(&Funnel::new(dim).unwrap(), 20_000);
        }
    }

    /// `x e^(-v/2)` is standard normal and independent of `v`: second and fourth moments, five standard errors.
    #[test]
    fn scaled_draws_are_standard_normal() {
        let (law, n) = (Funnel::new(3).unwrap(), 100_000);
        let mut stream = Stream::new(1, Purpose::User, 0);
        let (mut second, mut fourth, mut with_v) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = law.sample(&mut stream);
            let z = (x[2] * (-0.5 * x[0]).exp()).powi(2);
            second += z / f64::from(n);
            fourth += z * z / f64::from(n);
            with_v += (z - 1.0) * x[0] / f64::from(n);
        }
        let error = |variance: f64| 5.0 * (variance / f64::from(n)).sqrt();
        assert!((second - 1.0).abs() < error(2.0) && (fourth - 3.0).abs() < error(96.0));
        assert!(with_v.abs() < error(18.0));
    }

    /// Over `x` at fixed `v` in units of its scale, then over `v`.
    #[test]
    fn the_normaliser_and_the_variance_are_the_integrals() {
        let law = Funnel::new(2).unwrap();
        let at = |v: f64, power: i32| {
            let scale = (0.5 * v).exp();
            testing::simpson(
                |t| scale * (t * scale).powi(power) * (-law.value(&[v, t * scale])).exp(),
                -12.0,
                12.0,
                400,
            )
        };
        let z = testing::simpson(|v| at(v, 0), -40.0, 40.0, 800);
        assert!((law.log_partition() - z.ln()).abs() < 1e-10);
        let variance = testing::simpson(|v| at(v, 2), -40.0, 55.0, 950) / z;
        assert!((variance / law.covariance()[3] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn bad_settings_are_errors() {
        assert_eq!(Funnel::new(1).unwrap_err().to_string(), "dim = 1: must be at least 2");
    }
}
