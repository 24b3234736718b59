//! A mixture of round normal laws: `E(x) = -ln sum_k w_k N(x; m_k, s_k^2 I)`, normalised, so that `ln Z = 0`.
//!
//! The logarithm of the sum is taken relative to its largest term and holds arbitrarily far out. The gradient is
//! `sum_k r_k (x - m_k) / s_k^2` with the responsibilities `r_k = w_k N(x; m_k, s_k^2 I) exp(E)`.

use super::{Exact, LN_2_PI, check_count, check_finite, check_positive};
use crate::random::Stream;
use crate::{Error, HostEnergy, Real, Result};

/// `E(x) = -ln sum_k w_k N(x; m_k, s_k^2 I)`; computed in f64 whatever the point's type.
///
/// ```
/// use ebm_core::Energy;
/// use ebm_core::analytic::{Exact, GaussianMixture};
/// let law = GaussianMixture::new(vec![3.0, 1.0], vec![vec![-4.0], vec![4.0]], vec![1.0, 0.5])?;
/// assert_eq!(law.weights(), [0.75, 0.25]);
/// assert_eq!((law.log_partition(), law.mean()), (0.0, vec![-2.0]));
/// assert!((law.density(&[-4.0])? - 0.75 / std::f64::consts::TAU.sqrt()).abs() < 1e-12);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GaussianMixture {
    dim: usize,
    weights: Vec<f64>,
    /// `[components * dim]`.
    means: Vec<f64>,
    standard_deviations: Vec<f64>,
    /// `ln w_k - dim (ln s_k + ln(2 pi) / 2)`.
    log_heights: Vec<f64>,
    #[cfg(feature = "torch")]
    constants: super::constants::Constants,
}

impl GaussianMixture {
    /// One component per entry; the weights are scaled so that they sum to 1.
    ///
    /// # Errors
    /// When there is no component, the lengths do not fit, a mean is not finite, or a weight or a standard deviation
    /// is not finite and above 0.
    pub fn new(weights: Vec<f64>, means: Vec<Vec<f64>>, standard_deviations: Vec<f64>) -> Result<Self> {
        let n = weights.len();
        if n == 0 {
            return Err(Error::bad_value("components", 0, "at least 1", ""));
        }
        for (what, found) in [("means", means.len()), ("standard deviations", standard_deviations.len())] {
            if found != n {
                return Err(Error::shape(format!("{what} of a mixture"), n, found));
            }
        }
        let dim = means[0].len();
        check_count(dim)?;
        for k in 0..n {
            check_positive(format!("weights[{k}]"), weights[k])?;
            check_positive(format!("standard_deviations[{k}]"), standard_deviations[k])?;
            if means[k].len() != dim {
                return Err(Error::shape(format!("means[{k}]"), dim, means[k].len()));
            }
            for (i, m) in means[k].iter().enumerate() {
                check_finite(format!("means[{k}][{i}]"), *m)?;
            }
        }
        let total: f64 = weights.iter().sum();
        check_finite("sum of weights", total)?;
        let weights: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let height = |(w, s): (&f64, &f64)| w.ln() - dim as f64 * (s.ln() + 0.5 * LN_2_PI);
        Ok(Self {
            dim,
            log_heights: weights.iter().zip(&standard_deviations).map(height).collect(),
            weights,
            means: means.concat(),
            standard_deviations,
            #[cfg(feature = "torch")]
            constants: Default::default(),
        })
    }

    /// The components' weights; they sum to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The normalised density at `x`.
    ///
    /// # Errors
    /// When `x` has another number of coordinates.
    pub fn density(&self, x: &[f64]) -> Result<f64> {
        Ok(self.log_density(x)?.exp())
    }

    /// `ln(w_k N(x; m_k, s_k^2 I))`.
    fn log_term<T: Real>(&self, k: usize, x: &[T]) -> f64 {
        let square: f64 = x.iter().zip(self.component(k)).map(|(x, m)| (x.to_f64() - m).powi(2)).sum();
        self.log_heights[k] - 0.5 * square / self.standard_deviations[k].powi(2)
    }

    fn component(&self, k: usize) -> &[f64] {
        &self.means[k * self.dim..][..self.dim]
    }
}

impl<T: Real> HostEnergy<T> for GaussianMixture {
    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }

    fn value(&self, x: &[T]) -> f64 {
        // The sum of exp(term - largest) so far; it starts as one term.
        let (mut largest, mut sum) = (self.log_term(0, x), 1.0);
        for k in 1..self.weights.len() {
            let term = self.log_term(k, x);
            if term > largest {
                sum = sum * (largest - term).exp() + 1.0;
                largest = term;
            } else {
                sum += (term - largest).exp();
            }
        }
        -largest - sum.ln()
    }

    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        let energy = self.value(x);
        grad.fill(T::of(0.0));
        for k in 0..self.weights.len() {
            let responsibility = (self.log_term(k, x) + energy).exp();
            let pull = responsibility / self.standard_deviations[k].powi(2);
            for ((g, x), m) in grad.iter_mut().zip(x).zip(self.component(k)) {
                *g += T::of(pull * (x.to_f64() - m));
            }
        }
        energy
    }
}

crate::host_energy!(GaussianMixture);

impl Exact for GaussianMixture {
    /// 0: the components and the weights are normalised.
    fn log_partition(&self) -> f64 {
        0.0
    }
    fn mean(&self) -> Vec<f64> {
        let of = |i| self.weights.iter().enumerate().map(|(k, w)| w * self.component(k)[i]).sum();
        (0..self.dim).map(of).collect()
    }
    /// Within the components and between them.
    fn covariance(&self) -> Vec<f64> {
        let (dim, mean) = (self.dim, self.mean());
        let mut covariance = vec![0.0; dim * dim];
        for (k, w) in self.weights.iter().enumerate() {
            let off = |i: usize| self.component(k)[i] - mean[i];
            for i in 0..dim {
                covariance[i * dim + i] += w * self.standard_deviations[k].powi(2);
                for j in 0..dim {
                    covariance[i * dim + j] += w * (off(i) * off(j));
                }
            }
        }
        covariance
    }
    fn sample(&self, stream: &mut Stream) -> Vec<f64> {
        let mut left = stream.uniform();
        let mut k = 0;
        while k + 1 < self.weights.len() && left >= self.weights[k] {
            left -= self.weights[k];
            k += 1;
        }
        let mut x = self.component(k).to_vec();
        stream.add_normal(self.standard_deviations[k], &mut x);
        x
    }
}

#[cfg(feature = "torch")]
mod torch {
    use super::GaussianMixture;
    use crate::analytic::{check_rows, constants::tensor};
    use crate::{GraphEnergy, Result};
    use tch::{Kind, Tensor};

    impl GraphEnergy for GaussianMixture {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            check_rows(self.dim, x)?;
            let [means, factors, heights] = self.constants.like(x, || {
                let n = self.weights.len() as i64;
                let factors: Vec<_> = self.standard_deviations.iter().map(|s| -0.5 / (s * s)).collect();
                let means = tensor(&self.means, &[n, self.dim as i64])?;
                Ok([means, tensor(&factors, &[n])?, tensor(&self.log_heights, &[n])?])
            })?;
            // [chains, 1, dim] - [components, dim] -> squares [chains, components].
            let squares = x.f_unsqueeze(1)?.f_sub(&means)?.f_square()?;
            let squares = squares.f_sum_dim_intlist([2i64].as_slice(), false, None::<Kind>)?;
            let terms = heights.f_addcmul(&squares, &factors)?;
            Ok(terms.f_logsumexp([1i64].as_slice(), false)?.f_neg()?)
        }
    }

    crate::tensor_energy!(GaussianMixture);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;

    fn three() -> GaussianMixture {
        let means = vec![vec![0.0, 1.0], vec![-2.0, 0.5], vec![1.5, -1.0]];
        GaussianMixture::new(vec![1.0, 2.0, 5.0], means, vec![0.5, 1.0, 0.7]).unwrap()
    }

    #[test]
    fn gradient_blocks_tensors_and_draws() {
        testing::check_all(&three(), 20_000);
        let one = GaussianMixture::new(vec![2.0], vec![vec![1.0, 2.0, 3.0]], vec![0.3]).unwrap();
        testing::check_all(&one, 20_000);
    }

    #[test]
    fn the_density_integrates_to_one() {
        let z = testing::log_partition_2d(&three(), (-12.0, 10.0), (-10.0, 10.0), 800);
        assert!(z.abs() < 1e-10, "{z}");
    }

    #[test]
    fn far_out_the_nearest_component_is_left() {
        let law = GaussianMixture::new(vec![1.0, 1.0], vec![vec![0.0], vec![1.0]], vec![1.0, 1.0]).unwrap();
        let mut grad = [0.0f64];
        let energy = law.value_grad(&[1001.0], &mut grad);
        assert!((energy - (500_000.0 + 0.5 * LN_2_PI + 2f64.ln())).abs() < 1e-6);
        assert!((grad[0] - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn bad_settings_are_errors() {
        let new = |w: &[f64], m: &[&[f64]], s: &[f64]| {
            let means = m.iter().map(|m| m.to_vec()).collect();
            GaussianMixture::new(w.to_vec(), means, s.to_vec()).unwrap_err().to_string()
        };
        assert_eq!(new(&[], &[], &[]), "components = 0: must be at least 1");
        assert_eq!(new(&[1.0], &[&[]], &[1.0]), "dim = 0: must be at least 1");
        assert_eq!(new(&[1.0; 2], &[&[0.0]], &[1.0; 2]), "means of a mixture: expected 2, found 1");
        assert_eq!(
            new(&[1.0], &[&[0.0]], &[1.0; 2]),
            "standard deviations of a mixture: expected 1, found 2"
        );
        assert_eq!(new(&[1.0; 2], &[&[0.0], &[0.0; 2]], &[1.0; 2]), "means[1]: expected 1, found 2");
        assert_eq!(new(&[-1.0], &[&[0.0]], &[1.0]), "weights[0] = -1: must be finite and above 0");
        assert_eq!(new(&[1.0], &[&[f64::NAN]], &[1.0]), "means[0][0] = NaN: must be finite");
        assert!(new(&[1.0], &[&[0.0]], &[0.0]).starts_with("standard_deviations[0] = 0"));
    }
}
