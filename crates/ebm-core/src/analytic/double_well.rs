//! The double well `E(x) = barrier * sum_i (x_i^2 - 1)^2`: minima at every corner of `{-1, 1}^dim`.
//!
//! Between two neighbouring minima stands a barrier of height `barrier`. Coordinates are independent, so `ln Z`
//! and the moments are one-dimensional integrals; the trapezoidal rule gives them to rounding error (it converges
//! exponentially for analytic integrands that vanish at both ends: Trefethen and Weideman, SIAM Review 2014).
//! The energy of TorchEBM's `DoubleWellEnergy`, whose default is `barrier = 2`.

use super::{Exact, check_count, check_positive, diagonal_matrix};
use crate::random::Stream;
use crate::{HostEnergy, Real, Result, check_dim};

/// `E(x) = barrier * sum_i (x_i^2 - 1)^2`, in any number of coordinates.
///
/// Coordinates are alike and independent: the facts of [`Exact`] are those of one coordinate, or of the number
/// given to [`DoubleWell::with_dim`], which then refuses points of another length.
///
/// ```
/// use ebm_core::GradEnergy;
/// use ebm_core::analytic::{DoubleWell, Exact};
/// let well = DoubleWell::new(2.0)?;
/// let mut grad = vec![0.0; 2];
/// assert_eq!(well.energy_grad(&vec![0.0, 2.0], &mut grad)?, 2.0 + 18.0);
/// assert_eq!(grad, [0.0, 48.0]);
/// assert_eq!(well.clone().with_dim(5)?.log_partition(), 5.0 * well.log_partition());
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DoubleWell {
    dim: Option<usize>,
    barrier: f64,
    /// `ln Z` and moments of one coordinate.
    log_partition: f64,
    second_moment: f64,
    fourth_moment: f64,
}

impl DoubleWell {
    /// Barriers of height `barrier` between neighbouring minima.
    ///
    /// # Errors
    /// When `barrier` is not finite and above 0.
    pub fn new(barrier: f64) -> Result<Self> {
        check_positive("barrier", barrier)?;
        let [z, second, fourth] = integrals(barrier);
        Ok(Self {
            dim: None,
            barrier,
            log_partition: z.ln(),
            second_moment: second / z,
            fourth_moment: fourth / z,
        })
    }

    /// The same in exactly `dim` coordinates.
    ///
    /// # Errors
    /// When `dim` is 0.
    pub fn with_dim(self, dim: usize) -> Result<Self> {
        check_count(dim)?;
        Ok(Self { dim: Some(dim), ..self })
    }

    fn facts_dim(&self) -> usize {
        self.dim.unwrap_or(1)
    }

    /// The height of the barrier between two minima.
    pub fn barrier(&self) -> f64 {
        self.barrier
    }

    /// `E[x_i^2]`, which is also the variance.
    pub fn second_moment(&self) -> f64 {
        self.second_moment
    }

    /// `E[x_i^4]`.
    pub fn fourth_moment(&self) -> f64 {
        self.fourth_moment
    }
}

/// The integrals over the line of `exp(-barrier (x^2 - 1)^2)` times 1, `x^2` and `x^4`.
fn integrals(barrier: f64) -> [f64; 3] {
    // Beyond [low, high] (and its mirror image) the integrand is below e^-750.
    const INTERVALS: usize = 2000;
    let reach = (750.0 / barrier).sqrt();
    let (low, high) = ((1.0 - reach).max(0.0).sqrt(), (1.0 + reach).sqrt());
    let h = (high - low) / INTERVALS as f64;
    let mut sums = [0.0; 3];
    for i in 0..=INTERVALS {
        let square = (low + h * i as f64).powi(2);
        let weight = if i == 0 || i == INTERVALS { h } else { 2.0 * h };
        let mut term = weight * (-barrier * (square - 1.0).powi(2)).exp();
        for sum in &mut sums {
            *sum += term;
            term *= square;
        }
    }
    sums
}

impl<T: Real> HostEnergy<T> for DoubleWell {
    fn dim(&self) -> Option<usize> {
        self.dim
    }

    #[inline(always)]
    fn value(&self, x: &[T]) -> f64 {
        // Eight sums side by side, so that it vectorises and is the same on every machine.
        let one = T::of(1.0);
        let square = |x: T| (x * x - one) * (x * x - one);
        let eights = x.chunks_exact(8);
        let mut sum: f64 = eights.remainder().iter().map(|x| square(*x).to_f64()).sum();
        if x.len() >= 8 {
            let mut lanes = [T::default(); 8];
            for eight in eights {
                for lane in 0..8 {
                    lanes[lane] += square(eight[lane]);
                }
            }
            sum += lanes.iter().map(|x| x.to_f64()).sum::<f64>();
        }
        self.barrier * sum
    }

    #[inline(always)]
    fn value_grad(&self, x: &[T], grad: &mut [T]) -> f64 {
        self.gradient(x, grad);
        self.value(x)
    }

    #[inline(always)]
    fn gradient(&self, x: &[T], grad: &mut [T]) {
        let (slope, one) = (T::of(4.0 * self.barrier), T::of(1.0));
        for (g, x) in grad.iter_mut().zip(x) {
            *g = slope * *x * (*x * *x - one);
        }
    }

    /// Rows do not matter to a coordinate: one flat loop over the block.
    #[inline(always)]
    fn gradient_rows(&self, _dim: usize, x: &[T], grad: &mut [T]) {
        self.gradient(x, grad);
    }
}

crate::host_energy!(DoubleWell);

impl Exact for DoubleWell {
    fn log_partition(&self) -> f64 {
        self.facts_dim() as f64 * self.log_partition
    }
    fn mean(&self) -> Vec<f64> {
        vec![0.0; self.facts_dim()]
    }
    fn covariance(&self) -> Vec<f64> {
        diagonal_matrix(&vec![self.second_moment; self.facts_dim()])
    }
    /// In as many coordinates as `x` has, where their number was left open.
    fn log_density(&self, x: &[f64]) -> Result<f64> {
        check_dim(self.dim, x.len())?;
        Ok(-self.value(x) - x.len() as f64 * self.log_partition)
    }

    /// By rejection: `|x|` from a normal of mean 1 and variance `1 / (2 barrier)`, about half of which is kept
    /// where the barrier is high (fewer below 1: a share of about `barrier^(1/4)`).
    fn sample(&self, stream: &mut Stream) -> Vec<f64> {
        let sigma = (0.5 / self.barrier).sqrt();
        let mut one = || loop {
            let x = 1.0 + sigma * stream.normal();
            if x < 0.0 {
                continue;
            }
            let beyond = self.barrier * (x - 1.0).powi(2) * ((x + 1.0).powi(2) - 1.0);
            if stream.uniform() < (-beyond).exp() {
                return if stream.next_u64() >> 63 == 1 { -x } else { x };
            }
        };
        (0..self.facts_dim()).map(|_| one()).collect()
    }
}

#[cfg(feature = "torch")]
mod torch {
    use super::DoubleWell;
    use crate::analytic::check_rows;
    use crate::{Energy, GradEnergy, GraphEnergy, Result, TensorScalar, value_of};
    use tch::{Kind, Tensor, no_grad};

    impl DoubleWell {
        /// `x^2 - 1`.
        fn offset(x: &Tensor) -> Result<Tensor> {
            // The square is fresh: nobody else holds it, so writing in place is safe.
            Ok(x.f_mul(x)?.f_sub_scalar_(1.0)?)
        }

        fn of_offset(&self, offset: &Tensor) -> Result<Tensor> {
            let sum = offset.f_mul(offset)?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            Ok(sum.f_mul_scalar(self.barrier)?)
        }

        fn slope(&self, x: &Tensor, offset: &Tensor) -> Result<Tensor> {
            Ok(x.f_mul(offset)?.f_mul_scalar_(4.0 * self.barrier)?)
        }
    }

    impl GraphEnergy for DoubleWell {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            check_rows(self.dim, x)?;
            self.of_offset(&Self::offset(x)?)
        }
    }

    impl Energy<Tensor> for DoubleWell {
        fn energy(&self, x: &Tensor) -> Result<TensorScalar> {
            value_of(self, x)
        }
    }

    /// In closed form, without autograd.
    impl GradEnergy<Tensor> for DoubleWell {
        fn energy_grad(&self, x: &Tensor, grad: &mut Tensor) -> Result<TensorScalar> {
            check_rows(self.dim, x)?;
            no_grad(|| {
                let offset = Self::offset(x)?;
                *grad = self.slope(x, &offset)?;
                Ok(TensorScalar::Each(self.of_offset(&offset)?))
            })
        }

        fn grad(&self, x: &Tensor, grad: &mut Tensor) -> Result<()> {
            check_rows(self.dim, x)?;
            no_grad(|| {
                *grad = self.slope(x, &Self::offset(x)?)?;
                Ok(())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;

    #[test]
    fn gradient_blocks_tensors_and_draws() {
        for (dim, barrier) in [(1, 2.0), (2, 0.3), (11, 1.5)] {
            testing::check_all(&DoubleWell::new(barrier).unwrap().with_dim(dim).unwrap(), 20_000);
        }
        testing::check_draws(&DoubleWell::new(20.0).unwrap(), 20_000);
    }

    /// Against Simpson's rule, and against `E[x E'(x)] = 1`, that is `4 barrier (E[x^4] - E[x^2]) = 1`.
    #[test]
    fn the_integrals_are_accurate_for_low_and_high_barriers() {
        for barrier in [1e-6, 0.01, 0.5, 2.0, 30.0, 1e6] {
            let well = DoubleWell::new(barrier).unwrap();
            let from_parts = 4.0 * barrier * (well.fourth_moment() - well.second_moment());
            // The difference of two moments near 1 loses digits where the barrier is high.
            assert!((from_parts - 1.0).abs() < 1e-12 * barrier.max(10.0), "{barrier}: {from_parts}");
        }
        let z = testing::simpson(|x| (-2.0 * (x * x - 1.0f64).powi(2)).exp(), -4.0, 4.0, 4000);
        let well = DoubleWell::new(2.0).unwrap();
        assert!((well.log_partition() - z.ln()).abs() < 1e-12);
        // Any number of coordinates, each with its share of ln Z.
        let (open, three) = (well.log_density(&[0.3; 3]), well.clone().with_dim(3).unwrap());
        assert_eq!(open.unwrap(), three.log_density(&[0.3; 3]).unwrap());
        assert!((three.log_partition() - 3.0 * z.ln()).abs() < 1e-12);
        // A high barrier: two normals of variance 1 / (8 barrier).
        let high = DoubleWell::new(1e6).unwrap();
        let normals = (2.0 * (std::f64::consts::TAU / 8e6).sqrt()).ln();
        assert!((high.log_partition() - normals).abs() < 1e-6);
    }

    #[cfg(feature = "torch")]
    #[test]
    fn a_tensor_may_have_any_number_of_coordinates_but_two_axes() {
        use crate::{Energy, Scalar};
        use tch::{Device, Kind, Tensor};
        let well = DoubleWell::new(2.0).unwrap();
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        assert_eq!(well.energy(&zeros(&[2, 3])).unwrap().to_host(2).unwrap(), [6.0, 6.0]);
        let text = well.energy(&zeros(&[2, 3, 1])).unwrap_err().to_string();
        assert_eq!(text, "points [chains, dim]: expected [_, _], found [2, 3, 1]");
    }

    #[test]
    fn bad_settings_are_errors() {
        let text = |barrier| DoubleWell::new(barrier).unwrap_err().to_string();
        assert_eq!(text(-2.0), "barrier = -2: must be finite and above 0");
        assert_eq!(text(f64::NAN), "barrier = NaN: must be finite and above 0");
        let error = DoubleWell::new(1.0).unwrap().with_dim(0).unwrap_err();
        assert_eq!(error.to_string(), "dim = 0: must be at least 1");
    }
}
