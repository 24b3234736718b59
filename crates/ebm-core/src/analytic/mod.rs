//! Energies whose normaliser, moments and exact draws are known, and two well-known posteriors: for tests, benches and
//! first steps.
//!
//! Each is an energy of host chains and blocks in f32 and f64 and, with the feature `torch`, of tensors
//! `[chains, dim]` of any float kind on any device. What is known of it is the trait [`Exact`] (not for the
//! posteriors).
//!
//! | energy | what it tries |
//! |---|---|
//! | [`Gaussian`] | correlated and badly scaled directions |
//! | [`GaussianMixture`] | modes of known weights |
//! | [`DoubleWell`] | `2^dim` equal modes behind barriers of known height |
//! | [`Rosenbrock`] | thin curved ridges |
//! | [`Funnel`] | a scale that changes by orders of magnitude |
//! | [`LogisticRegression`] | a posterior with a Fisher metric |
//! | [`EightSchools`] | a hierarchy, as a funnel or without it |

#[cfg(feature = "torch")]
mod constants;
mod double_well;
mod eight_schools;
mod funnel;
mod gaussian;
mod gaussian_mixture;
mod logistic;
mod logistic_regression;
mod quadratic;
mod rosenbrock;
#[cfg(test)]
mod testing;

pub use double_well::DoubleWell;
pub use eight_schools::EightSchools;
pub use funnel::Funnel;
pub use gaussian::Gaussian;
pub use gaussian_mixture::GaussianMixture;
pub use logistic_regression::LogisticRegression;
pub use rosenbrock::Rosenbrock;

use crate::random::Stream;
use crate::{Error, HostEnergy, Result, check_dim};

/// What is known exactly of the law `p(x) = exp(-E(x)) / Z`.
///
/// ```
/// use ebm_core::analytic::{DoubleWell, Exact};
/// use ebm_core::random::{Purpose, Stream};
/// /// The mean of `n` exact draws: what a sampler's draws are compared with.
/// fn mean_of_draws(law: &dyn Exact, n: usize) -> Vec<f64> {
///     let mut stream = Stream::new(0, Purpose::User, 0);
///     let mut mean = vec![0.0; law.mean().len()];
///     for _ in 0..n {
///         mean.iter_mut().zip(law.sample(&mut stream)).for_each(|(m, x)| *m += x / n as f64);
///     }
///     mean
/// }
/// let law = DoubleWell::new(1.0)?.with_dim(2)?;
/// let standard_error = (law.covariance()[0] / 1000.0).sqrt();
/// assert!(mean_of_draws(&law, 1000)[0].abs() < 5.0 * standard_error);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub trait Exact: HostEnergy<f64> {
    /// `ln Z`, `Z` the integral of `exp(-E)`.
    fn log_partition(&self) -> f64;

    /// `E[x]`; its length is the number of coordinates.
    fn mean(&self) -> Vec<f64>;

    /// `Cov[x]`, row by row, `[dim * dim]`.
    fn covariance(&self) -> Vec<f64>;

    /// One draw from exactly this law (f64 normals and uniforms of the stream).
    fn sample(&self, stream: &mut Stream) -> Vec<f64>;

    /// `ln p(x) = -E(x) - ln Z`.
    ///
    /// # Errors
    /// When `x` has another number of coordinates.
    fn log_density(&self, x: &[f64]) -> Result<f64> {
        check_dim(self.dim(), x.len())?;
        Ok(-self.value(x) - self.log_partition())
    }
}

/// `ln(2 pi)`.
const LN_2_PI: f64 = 1.837_877_066_409_345_3;

/// Fails unless there is at least one coordinate.
fn check_count(dim: usize) -> Result<()> {
    if dim == 0 { Err(Error::bad_value("dim", 0, "at least 1", "")) } else { Ok(()) }
}

/// Fails unless the setting is finite.
pub(crate) fn check_finite(name: impl Into<String>, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::bad_value(name, value, "finite", "")) }
}

/// Fails unless the setting is finite and above 0.
fn check_positive(name: impl Into<String>, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(Error::bad_value(name, value, "finite and above 0", ""))
    }
}

/// A diagonal matrix, row by row.
fn diagonal_matrix(diagonal: &[f64]) -> Vec<f64> {
    let dim = diagonal.len();
    let mut matrix = vec![0.0; dim * dim];
    for (i, d) in diagonal.iter().enumerate() {
        matrix[i * dim + i] = *d;
    }
    matrix
}

/// Fails unless `x` is `[chains, dim]` (`None`: any number of coordinates).
#[cfg(feature = "torch")]
fn check_rows(dim: impl Into<Option<usize>>, x: &tch::Tensor) -> Result<()> {
    let dim = dim.into();
    match x.size().as_slice() {
        [_, found] if dim.is_none_or(|dim| *found == dim as i64) => Ok(()),
        found => {
            let dim = dim.map_or("_".to_owned(), |dim| dim.to_string());
            Err(Error::shape("points [chains, dim]", format_args!("[_, {dim}]"), found))
        }
    }
}
