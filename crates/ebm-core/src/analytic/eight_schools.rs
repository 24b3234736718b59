//! Eight schools: the effects `theta_j` of coaching in eight schools, measured as `y_j +- sigma_j`, and what they share.
//!
//! `y_j ~ N(theta_j, sigma_j^2)`, `theta_j ~ N(mu, tau^2)`, `mu ~ N(0, 5^2)`, `tau ~` half-Cauchy with scale 5. Coordinates:
//! `mu`, `ln tau` (the energy has its Jacobian, `-ln tau`), then eight of `theta_j` (centred) or of
//! `eta_j = (theta_j - mu) / tau` (non-centred). Centred it is a funnel; non-centred it is easy. All constants of the
//! densities are left out. Sources: the data: Rubin 1981 (DOI 10.3102/10769986006004377), as in Gelman et al.,
//! "Bayesian Data Analysis"; the two forms: Betancourt and Girolami (arXiv 1312.0906).

use crate::{HostEnergy, Real};

/// Estimated effects.
const EFFECTS: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
/// Their standard errors.
const ERRORS: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
/// Standard deviation of `mu`, and scale of `tau`.
const SCALE: f64 = 5.0;

/// The posterior in ten coordinates: `mu`, `ln tau`, then one for each school. Computed in f64 whatever the point's type.
///
/// ```
/// use ebm_core::Energy;
/// use ebm_core::analytic::EightSchools;
/// // The same place in both forms; their energies differ by the Jacobian, 8 ln tau.
/// let (mu, log_tau) = (4.0, 1.2f64);
/// let mut centred = vec![mu, log_tau];
/// let mut non_centred = centred.clone();
/// for j in 0..8 {
///     let eta = 0.1 * f64::from(j);
///     non_centred.push(eta);
///     centred.push(mu + log_tau.exp() * eta);
/// }
/// let difference = EightSchools::centred().energy(&centred)? - EightSchools::non_centred().energy(&non_centred)?;
/// assert!((difference - 8.0 * log_tau).abs() < 1e-12);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EightSchools {
    centred: bool,
    #[cfg(feature = "torch")]
    constants: super::constants::Constants,
}

impl EightSchools {
    /// In the schools' effects `theta_j`: a funnel, hard for samplers with one step size.
    pub fn centred() -> Self {
        Self::new(true)
    }

    /// In the standardised effects `eta_j`.
    pub fn non_centred() -> Self {
        Self::new(false)
    }

    fn new(centred: bool) -> Self {
        Self {
            centred,
            #[cfg(feature = "torch")]
            constants: Default::default(),
        }
    }

    /// The effect of school `j` at a point, whichever form it is in.
    pub fn effect(&self, x: &[f64], j: usize) -> f64 {
        if self.centred { x[2 + j] } else { x[0] + x[1].exp() * x[2 + j] }
    }
}

impl<T: Real> HostEnergy<T> for EightSchools {
    fn dim(&self) -> Option<usize> {
        Some(10)
    }

    fn value(&self, x: &[T]) -> f64 {
        let mut grad = [T::of(0.0); 10];
        self.value_grad(x, &mut grad)
    }

    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        let ([mu, log_tau, schools @ ..], [d_mu, d_log_tau, d_schools @ ..]) = (x, grad) else {
            return f64::NAN;
        };
        let (mu, log_tau) = (mu.to_f64(), log_tau.to_f64());
        let tau = log_tau.exp();
        // ln(1 + (tau / 5)^2), and the Jacobian.
        let ratio = (tau / SCALE).powi(2);
        let mut energy = 0.5 * (mu / SCALE).powi(2) + ratio.ln_1p() - log_tau;
        let mut by_mu = mu / (SCALE * SCALE);
        // 2 r / (1 + r), also where r overflows.
        let mut by_log_tau = 2.0 / (1.0 + 1.0 / ratio) - 1.0;
        for (j, (s, d)) in schools.iter().zip(d_schools).enumerate() {
            let s = s.to_f64();
            let theta = if self.centred { s } else { mu + tau * s };
            let misfit = (theta - EFFECTS[j]) / ERRORS[j];
            let by_theta = misfit / ERRORS[j];
            if self.centred {
                let off = (theta - mu) / tau;
                energy += 0.5 * (misfit * misfit + off * off) + log_tau;
                by_mu -= off / tau;
                by_log_tau += 1.0 - off * off;
                *d = T::of(by_theta + off / tau);
            } else {
                energy += 0.5 * (misfit * misfit + s * s);
                by_mu += by_theta;
                by_log_tau += by_theta * tau * s;
                *d = T::of(by_theta * tau + s);
            }
        }
        (*d_mu, *d_log_tau) = (T::of(by_mu), T::of(by_log_tau));
        energy
    }
}

crate::host_energy!(EightSchools);

#[cfg(feature = "torch")]
mod torch {
    use super::{EFFECTS, ERRORS, EightSchools, SCALE};
    use crate::analytic::{check_rows, constants::tensor};
    use crate::{GraphEnergy, Result};
    use tch::{Kind, Tensor};

    fn half_squares(x: &Tensor) -> Result<Tensor> {
        let sum = x.f_square()?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        Ok(sum.f_mul_scalar(0.5)?)
    }

    impl GraphEnergy for EightSchools {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            check_rows(10, x)?;
            let [effects, errors] =
                self.constants.like(x, || Ok([tensor(&EFFECTS, &[8])?, tensor(&ERRORS, &[8])?]))?;
            let (mu, log_tau, schools) = (x.f_narrow(1, 0, 1)?, x.f_narrow(1, 1, 1)?, x.f_narrow(1, 2, 8)?);
            let tau = log_tau.f_exp()?;
            let (theta, off, jacobian) = if self.centred {
                (schools.shallow_clone(), schools.f_sub(&mu)?.f_div(&tau)?, 7.0)
            } else {
                (mu.f_add(&tau.f_mul(&schools)?)?, schools.shallow_clone(), -1.0)
            };
            let misfit = half_squares(&theta.f_sub(&effects)?.f_div(&errors)?)?;
            let priors = half_squares(&off)?.f_add(&half_squares(&mu.f_mul_scalar(1.0 / SCALE)?)?)?;
            let log_tau = log_tau.f_select(1, 0)?;
            let cauchy = tau.f_mul_scalar(1.0 / SCALE)?.f_square()?.f_log1p()?.f_select(1, 0)?;
            let scale = cauchy.f_add(&log_tau.f_mul_scalar(jacobian)?)?;
            Ok(misfit.f_add(&priors)?.f_add(&scale)?)
        }
    }

    crate::tensor_energy!(EightSchools);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;
    use crate::random::{Purpose, Stream};

    fn points(centred: bool) -> Vec<f64> {
        let mut stream = Stream::new(0, Purpose::User, 0);
        let mut rows = vec![];
        for _ in 0..9 {
            let (mu, log_tau) = (4.0 + 3.0 * stream.normal(), 1.0 + stream.normal());
            rows.extend([mu, log_tau]);
            for _ in 0..8 {
                let eta = stream.normal();
                rows.push(if centred { mu + log_tau.exp() * eta } else { eta });
            }
        }
        rows
    }

    #[test]
    fn gradient_blocks_and_tensors() {
        testing::check_energy(&EightSchools::centred(), 10, &points(true));
        testing::check_energy(&EightSchools::non_centred(), 10, &points(false));
    }

    /// The energy is minus the logarithm of the densities written out, up to one constant.
    #[test]
    fn the_energy_is_that_of_the_model() {
        let law = EightSchools::centred();
        let model = |x: &[f64]| {
            let normal = |x: f64, m: f64, s: f64| (-0.5 * ((x - m) / s).powi(2)).exp() / s;
            let tau = x[1].exp();
            let prior = normal(x[0], 0.0, 5.0) / (1.0 + (tau / 5.0).powi(2)) * tau;
            let school = |j: usize| normal(x[2 + j], x[0], tau) * normal(EFFECTS[j], x[2 + j], ERRORS[j]);
            -(prior * (0..8).map(school).product::<f64>()).ln()
        };
        let rows = points(true);
        let difference = |x: &[f64]| HostEnergy::<f64>::value(&law, x) - model(x);
        for x in rows.chunks(10) {
            assert!((difference(x) - difference(&rows[..10])).abs() < 1e-9);
            assert_eq!(law.effect(x, 3), x[5]);
        }
        assert!((EightSchools::non_centred().effect(&[1.0, 2f64.ln(), 3.0], 0) - 7.0).abs() < 1e-12);
    }
}
