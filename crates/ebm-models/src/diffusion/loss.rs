//! The training loss: how well the network sees the noise, and perhaps how well it knows the variance of a step back.
//!
//! `L = mean |eps_net(x_t, t) - eps|^2 + w mean L_t`, `t` uniform on `0 .. limit - 1`. Per number and in bits,
//! `L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))` for `t > 0`, and `L_0 = -log2 p(x_0 | x_1)` of pixels that stand
//! on a grid. `L_t` trains the variance alone: the mean enters detached. Sources: DDPM (arXiv 2006.11239), improved
//! DDPM (arXiv 2102.09672), whose weight 0.001 on the sum of 1000 terms is `w = 1`.

use std::f64::consts::LN_2;

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use ebm_train::objectives::{Batch, Loss, Objective};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::predictor::NoisePredictor;
use super::schedule::{NoiseSchedule, per_point};
use super::variance::StepBack;

/// The part of the loss that trains the variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VarianceLoss {
    /// `w`.
    pub weight: f64,
    /// Distance between the values that a clean number can take, on [-1, 1]: 2 / 255 for 8-bit pixels.
    pub bin_width: f64,
}

impl Default for VarianceLoss {
    fn default() -> Self {
        Self { weight: 1.0, bin_width: 2.0 / 255.0 }
    }
}

/// The loss; see the file's first lines.
#[derive(Clone, Debug)]
pub struct DiffusionLoss {
    schedule: NoiseSchedule,
    limit: usize,
    variance: Option<VarianceLoss>,
}

impl DiffusionLoss {
    /// Noise prediction at every step of `schedule`.
    pub fn new(schedule: NoiseSchedule) -> Self {
        Self { limit: schedule.n_steps(), schedule, variance: None }
    }

    /// Only the first `limit` steps, the cleanest ones.
    ///
    /// # Errors
    /// 0, or more than the schedule has.
    pub fn below(mut self, limit: usize) -> Result<Self> {
        if limit == 0 || limit > self.schedule.n_steps() {
            let most = format!("between 1 and {}", self.schedule.n_steps());
            return Err(Error::bad_value("limit of the steps", limit, most, ""));
        }
        self.limit = limit;
        Ok(self)
    }

    /// Train the variance too; the network must give one.
    ///
    /// # Errors
    /// A weight that is negative, or a bin of no width.
    pub fn with_variance(mut self, variance: VarianceLoss) -> Result<Self> {
        let VarianceLoss { weight, bin_width } = variance;
        if !(weight >= 0.0 && weight.is_finite() && bin_width > 0.0 && bin_width < 1.0) {
            let found = format!("{weight} and {bin_width}");
            let limit = "a weight of at least 0, and a bin between 0 and 1";
            return Err(Error::bad_value("weight and bin_width", found, limit, ""));
        }
        self.variance = Some(variance);
        Ok(self)
    }

    /// The loss of clean points `x` `[n, ..]`, with steps and noise from `rng`.
    ///
    /// # Errors
    /// What the network or LibTorch returns.
    pub fn loss(
        &self,
        net: &(impl NoisePredictor + ?Sized),
        x: &Tensor,
        rng: &mut TensorRng,
    ) -> Result<Loss> {
        let n = x.size().first().copied().unwrap_or(0);
        let t = rng.uniform(&[n], 0.0, self.limit as f64, Kind::Double, x.device())?;
        let t = t.f_floor()?.f_clamp_max(self.limit as f64 - 1.0)?.f_to_kind(Kind::Int64)?;
        let noise = rng.normal(&x.size(), 1.0, x.kind(), x.device())?;
        self.loss_at(net, x, &t, &noise)
    }

    /// The loss at these steps `[n]`, i64, with this noise. Metrics: `noise_mse` and, with a learned variance,
    /// `bound_bits` (the mean of `L_t`).
    ///
    /// # Errors
    /// What the network or LibTorch returns; no variance where it is to be trained.
    pub fn loss_at(
        &self,
        net: &(impl NoisePredictor + ?Sized),
        x: &Tensor,
        t: &Tensor,
        noise: &Tensor,
    ) -> Result<Loss> {
        let noisy = self.schedule.add_noise(x, t, noise)?;
        let found = net.predict(&noisy, t)?;
        let simple = found.noise.f_sub(noise)?.f_square()?.f_mean(None::<Kind>)?;
        let mut metrics = vec![("noise_mse", simple.f_detach()?)];
        let Some(VarianceLoss { weight, bin_width }) = self.variance else {
            return Ok(Loss::new(simple, metrics));
        };
        let Some(v) = &found.variance else {
            return Err(Error::user("the network gives no variance: build it with one, or train without"));
        };
        let bound = self.bound_bits(x, &noisy, t, &found.noise.f_detach()?, v, bin_width)?;
        let bound = bound.f_mean(None::<Kind>)?;
        metrics.push(("bound_bits", bound.f_detach()?));
        Ok(Loss::new(simple.f_add(&bound.f_mul_scalar(weight)?)?, metrics))
    }

    /// `L_t` of every number, shape of `x`.
    fn bound_bits(
        &self,
        x: &Tensor,
        noisy: &Tensor,
        t: &Tensor,
        noise: &Tensor,
        v: &Tensor,
        bin_width: f64,
    ) -> Result<Tensor> {
        let of = |value: &dyn Fn(StepBack) -> f64| {
            per_point((0..self.schedule.n_steps()).map(|t| value(self.step_back(t))), t, x)
        };
        let signal_std = self.schedule.signal_std_of(t, x)?;
        let clean = noisy.f_sub(&noise.f_mul(&self.schedule.noise_std_of(t, x)?)?)?.f_div(&signal_std)?;
        let (of_clean, of_noisy) = (of(&|s| s.of_clean())?, of(&|s| s.of_noisy())?);
        let mean = |x: &Tensor| x.f_mul(&of_clean)?.f_add(&noisy.f_mul(&of_noisy)?);
        let (target, mean) = (mean(x)?, mean(&clean)?);
        // The lower bound is 0 at step 0, where its logarithm is replaced by that of step 1.
        let second = self.step_back(1).lower();
        let lower = of(&|s| s.lower().max(if s.next == 1.0 { second } else { 0.0 }).ln())?;
        let log_variance = between(&lower, &of(&|s| s.upper().ln())?, v)?;
        let divergence = gaussian_kl(&target, &lower, &mean, &log_variance)?;
        let likelihood = grid_log_likelihood(x, &mean, &log_variance, bin_width)?;
        let is_first = t.f_eq(0)?.f_view_as(&of_clean)?;
        Ok(likelihood.f_neg()?.f_where_self(&is_first, &divergence)?.f_div_scalar(LN_2)?)
    }

    fn step_back(&self, t: usize) -> StepBack {
        let next = if t == 0 { 1.0 } else { self.schedule.alpha_bar(t - 1) };
        StepBack { alpha_bar: self.schedule.alpha_bar(t), next }
    }
}

/// `lower + (v + 1) / 2 (upper - lower)`.
pub(super) fn between(lower: &Tensor, upper: &Tensor, v: &Tensor) -> Result<Tensor> {
    let share = v.f_add_scalar(1.0)?.f_mul_scalar(0.5)?;
    Ok(lower.f_add(&share.f_mul(&upper.f_sub(lower)?)?)?)
}

/// `KL(N(m1, e^l1) || N(m2, e^l2))` per number, in nats.
fn gaussian_kl(m1: &Tensor, l1: &Tensor, m2: &Tensor, l2: &Tensor) -> Result<Tensor> {
    let ratio = l1.f_sub(l2)?;
    let distance = m1.f_sub(m2)?.f_square()?.f_mul(&l2.f_neg()?.f_exp()?)?;
    Ok(ratio.f_exp()?.f_sub(&ratio)?.f_add(&distance)?.f_sub_scalar(1.0)?.f_mul_scalar(0.5)?)
}

/// `ln` of the mass that `N(mean, e^log_variance)` puts on the bin around `x`, the outermost bins on [-1, 1] being
/// open; per number, at least `ln 1e-12`.
fn grid_log_likelihood(x: &Tensor, mean: &Tensor, log_variance: &Tensor, bin_width: f64) -> Result<Tensor> {
    let inverse_std = log_variance.f_mul_scalar(-0.5)?.f_exp()?;
    let centred = x.f_sub(mean)?;
    let edge = |shift: f64| centred.f_add_scalar(shift)?.f_mul(&inverse_std);
    let (above, below) = (edge(0.5 * bin_width)?, edge(-0.5 * bin_width)?);
    let inside = above.f_special_ndtr()?.f_sub(&below.f_special_ndtr()?)?.f_clamp_min(1e-12)?.f_log()?;
    let tail = |z: &Tensor| z.f_special_ndtr()?.f_clamp_min(1e-12)?.f_log();
    let outermost = 1.0 - 0.25 * bin_width;
    let inside = tail(&above)?.f_where_self(&x.f_lt(-outermost)?, &inside)?;
    Ok(tail(&below.f_neg()?)?.f_where_self(&x.f_gt(outermost)?, &inside)?)
}

/// [`DiffusionLoss`] as an objective on batches of clean points; random numbers are those of the training step.
#[derive(Clone, Debug)]
pub struct DiffusionObjective {
    loss: DiffusionLoss,
    seed: u64,
}

impl DiffusionObjective {
    /// The loss, with steps and noise under `seed`.
    pub fn new(loss: DiffusionLoss, seed: u64) -> Self {
        Self { loss, seed }
    }
}

impl<M: NoisePredictor + ?Sized> Objective<M> for DiffusionObjective {
    fn loss(&mut self, model: &M, batch: &Batch, step: u64) -> Result<Loss> {
        let mut rng = TensorRng::new(self.seed, Purpose::Objective);
        rng.begin_step(step);
        self.loss.loss(model, &batch.x, &mut rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{NoisePrediction, NoiseScheduleConfig};
    use tch::Device;

    /// Says the same noise and variance of every number.
    struct Fixed {
        noise: f64,
        v: f64,
    }

    impl NoisePredictor for Fixed {
        fn predict(&self, x: &Tensor, _t: &Tensor) -> Result<NoisePrediction> {
            Ok(NoisePrediction { noise: x.full_like(self.noise), variance: Some(x.full_like(self.v)) })
        }
    }

    fn normal_cdf(z: f64) -> f64 {
        Tensor::from_slice(&[z]).special_ndtr().double_value(&[0])
    }

    #[test]
    fn the_bound_is_the_formula() {
        let schedule = NoiseScheduleConfig::ddpm().build().unwrap();
        let loss = DiffusionLoss::new(schedule.clone())
            .with_variance(VarianceLoss { weight: 0.5, ..Default::default() });
        let loss = loss.unwrap();
        let (x0, eps, net) = (0.2, 0.7, Fixed { noise: 0.4, v: 0.3 });
        for t in [0usize, 1, 500] {
            let a = schedule.alpha_bar(t);
            let before = if t == 0 { 1.0 } else { schedule.alpha_bar(t - 1) };
            let beta = schedule.beta(t);
            let xt = a.sqrt() * x0 + (1.0 - a).sqrt() * eps;
            let guess = (xt - (1.0 - a).sqrt() * net.noise) / a.sqrt();
            let mean = |x: f64| {
                before.sqrt() * beta / (1.0 - a) * x + (1.0 - beta).sqrt() * (1.0 - before) / (1.0 - a) * xt
            };
            let lower = |t: usize| {
                schedule.beta(t) * (1.0 - schedule.alpha_bar(t - 1)) / (1.0 - schedule.alpha_bar(t))
            };
            let lower = lower(t.max(1));
            let variance = (0.65 * beta.ln() + 0.35 * lower.ln()).exp();
            let bits = if t == 0 {
                let std = variance.sqrt();
                let at = |edge: f64| normal_cdf((x0 + edge / 255.0 - mean(guess)) / std);
                -(at(1.0) - at(-1.0)).log2()
            } else {
                let d = mean(x0) - mean(guess);
                0.5 * ((variance / lower).ln() + (lower + d * d) / variance - 1.0) / LN_2
            };
            let full = |v: f64| Tensor::full([1, 2], v, (Kind::Double, Device::Cpu));
            let found = loss.loss_at(&net, &full(x0), &Tensor::from_slice(&[t as i64]), &full(eps)).unwrap();
            let expected = 0.3f64.powi(2) + 0.5 * bits;
            assert!((found.loss.double_value(&[]) - expected).abs() < 1e-9 * expected, "{t}");
            assert!((found.metrics[1].1.double_value(&[]) - bits).abs() < 1e-9 * bits);
        }
    }

    #[test]
    fn the_masses_of_all_bins_are_one() {
        let levels: Vec<f64> = (0..256).map(|k| f64::from(k) / 127.5 - 1.0).collect();
        let x = Tensor::from_slice(&levels);
        for (mean, variance) in [(0.1f64, 0.01f64), (-1.5, 0.3), (0.99, 2.0)] {
            let like = |v: f64| x.full_like(v);
            let log = grid_log_likelihood(&x, &like(mean), &like(variance.ln()), 2.0 / 255.0).unwrap();
            assert!((log.exp().sum(Kind::Double).double_value(&[]) - 1.0).abs() < 1e-9);
        }
    }

    /// The variance gets the bound's gradient, the noise only that of the squares.
    #[test]
    fn the_bound_trains_the_variance_alone() {
        struct Leaves(Tensor, Tensor);
        impl NoisePredictor for Leaves {
            fn predict(&self, x: &Tensor, _t: &Tensor) -> Result<NoisePrediction> {
                Ok(NoisePrediction {
                    noise: x.zeros_like() + &self.0,
                    variance: Some(x.zeros_like() + &self.1),
                })
            }
        }
        let leaf = |v: f64| Tensor::from(v).set_requires_grad(true);
        let net = Leaves(leaf(0.1), leaf(-0.4));
        let schedule = NoiseScheduleConfig::ddpm().build().unwrap();
        let plain = DiffusionLoss::new(schedule);
        let both = plain.clone().with_variance(VarianceLoss::default()).unwrap();
        let x = Tensor::from_slice(&[0.5, -0.25]).view([1, 2]);
        let noise = Tensor::from_slice(&[1.0, -0.3]).view([1, 2]);
        let grads = |loss: &DiffusionLoss| {
            let loss = loss.loss_at(&net, &x, &Tensor::from_slice(&[70i64]), &noise).unwrap().loss;
            Tensor::run_backward(&[loss], &[&net.0, &net.1], false, false)
        };
        let (with, without) = (grads(&both), grads(&plain));
        assert_eq!(with[0].double_value(&[]), without[0].double_value(&[]));
        assert!(with[1].double_value(&[]).abs() > 1e-6 && !without[1].defined());
        let silent = |x: &Tensor, _t: &Tensor| Ok(x.zeros_like());
        let t = Tensor::from_slice(&[3i64]);
        assert!(both.loss_at(&silent, &x, &t, &noise).unwrap_err().to_string().contains("no variance"));
    }

    #[test]
    fn steps_stay_below_the_limit_and_mistakes_are_named() {
        let schedule = NoiseScheduleConfig::ddpm().build().unwrap();
        let loss = DiffusionLoss::new(schedule);
        assert!(loss.clone().below(0).is_err() && loss.clone().below(1001).is_err());
        assert!(loss.clone().with_variance(VarianceLoss { bin_width: 0.0, weight: 1.0 }).is_err());
        let seen = std::cell::RefCell::new(Vec::new());
        let net = |x: &Tensor, t: &Tensor| {
            seen.borrow_mut().extend(Vec::<i64>::try_from(t).unwrap());
            Ok(x.zeros_like())
        };
        let x = Tensor::zeros([2000, 1], (Kind::Float, Device::Cpu));
        let mut rng = TensorRng::new(0, Purpose::Objective);
        let loss = loss.below(10).unwrap().loss(&net, &x, &mut rng).unwrap();
        // A network that says nothing is wrong by the noise's variance; 5 standard errors of the mean square.
        assert!((loss.loss.double_value(&[]) - 1.0).abs() < 5.0 * (2.0f64 / 2000.0).sqrt());
        let seen = seen.into_inner();
        for t in 0..10 {
            let n = seen.iter().filter(|s| **s == t).count() as f64;
            assert!((n - 200.0).abs() < 5.0 * 180f64.sqrt(), "{t}: {n}");
        }
        assert_eq!(seen.len(), 2000);
        assert!(seen.iter().all(|t| (0..10).contains(t)));
    }
}
