//! The network of a diffusion model: the noise in a noisy point, and perhaps the variance of the step back.

use ebm_core::Result;
use tch::Tensor;

/// What a network says of noisy points.
#[derive(Debug)]
pub struct NoisePrediction {
    /// The standard normal noise in `x`, of the shape of `x`.
    pub noise: Tensor,
    /// Where the log-variance of the step back lies between its two bounds, per number, of the shape of `x`: -1 is
    /// the lower bound, 1 the upper (see [`super::VarianceLoss`]). `None` where the variance is not learned.
    pub variance: Option<Tensor>,
}

/// A network that sees noise. A closure `|x, t| -> Result<Tensor>` is one; a condition is what it captures.
///
/// ```
/// use ebm_models::diffusion::{NoiseScheduleConfig, ReverseChain};
/// use ebm_core::{random::Purpose, torch::TensorRng};
/// use tch::{Device, Kind, Tensor};
///
/// let schedule = NoiseScheduleConfig::ddpm().build()?;
/// // The best guess for data that are N(0, 1): the noisy points are N(0, 1) at every level.
/// let net = |x: &Tensor, t: &Tensor| Ok(x.f_mul(&schedule.noise_std_of(t, x)?)?);
/// let start = Tensor::ones([4, 3], (Kind::Double, Device::Cpu));
/// let x = ReverseChain::ddim(&schedule, 50, 0.0)?.run(&net, &start, TensorRng::new(0, Purpose::User))?;
/// assert!((x - 1.0).abs().max().double_value(&[]) < 0.1);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub trait NoisePredictor {
    /// The noise in `x`, `[n, ..]`, of which point `i` is at step `t[i]` of the schedule; `t` is `[n]`, i64.
    ///
    /// # Errors
    /// A shape that does not fit.
    fn predict(&self, x: &Tensor, t: &Tensor) -> Result<NoisePrediction>;
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor>> NoisePredictor for F {
    fn predict(&self, x: &Tensor, t: &Tensor) -> Result<NoisePrediction> {
        Ok(NoisePrediction { noise: self(x, t)?, variance: None })
    }
}
