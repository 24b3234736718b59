//! Denoising as a training objective, for the energy and for the regressor: a pixel loss between the clean image and
//! what is made of its noisy version.
//!
//! `y_0 = sqrt(a) x + sqrt(1 - a) eps` at one step of a diffusion schedule; `L = mean loss(y_1 - x)`. Source: EBT (arXiv
//! 2507.02092), which says squared error; the released code takes Smooth-L1 with beta 1.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Result, StepRng};
use ebm_samplers::descent::{Descent, MIN_STEP_SIZE, largest_curvature};
use ebm_train::objectives::{Batch, Loss, Objective};
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use super::image::ImageEbt;
use super::image_regressor::ImageRegressor;
use crate::diffusion::{NoiseSchedule, NoiseScheduleConfig};

/// How far a predicted image is from the clean one, the mean over pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelLoss {
    /// Half the square where the error is below 1, else the error less a half: the released code.
    #[default]
    SmoothL1,
    /// The square: the paper.
    Mse,
}

impl PixelLoss {
    /// 0-d.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn of(self, found: &Tensor, clean: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::SmoothL1 => found.f_smooth_l1_loss(clean, Reduction::Mean, 1.0)?,
            Self::Mse => found.f_mse_loss(clean, Reduction::Mean)?,
        })
    }
}

/// The noise on the images: one step of a schedule.
#[derive(Clone, Debug)]
pub struct Corruption {
    schedule: NoiseSchedule,
    step: usize,
}

impl Corruption {
    /// The noise after this fraction of the schedule: 0.1 of 1000 linear steps leaves 0.897 of the variance and adds
    /// noise of standard deviation 0.321.
    ///
    /// # Errors
    /// An impossible schedule, or a fraction outside (0, 1].
    pub fn new(schedule: &NoiseScheduleConfig, fraction: f64) -> Result<Self> {
        let schedule = schedule.build()?;
        Ok(Self { step: schedule.step_at(fraction)?, schedule })
    }

    /// The step, from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Noisy versions of clean images `[n, ..]`.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn apply(&self, x: &Tensor, rng: &mut TensorRng) -> Result<Tensor> {
        let noise = rng.normal(&x.size(), self.schedule.noise_std(self.step), x.kind(), x.device())?;
        Ok(x.f_mul_scalar(self.schedule.alpha_bar(self.step).sqrt())?.f_add(&noise)?)
    }
}

/// See the file's first lines.
#[derive(Debug)]
pub struct Denoising {
    corruption: Corruption,
    loss: PixelLoss,
    descent: Descent,
    seed: u64,
    validation: Option<(Tensor, Tensor)>,
}

impl Denoising {
    /// Train with this noise and loss; the noise of each training step comes from `seed`, so that two models trained
    /// under one seed see the same images. The energy takes one step of the descent.
    pub fn new(corruption: Corruption, loss: PixelLoss, seed: u64) -> Self {
        Self { corruption, loss, descent: Descent::default(), seed, validation: None }
    }

    /// Log the loss on these held-out clean images, under noise of their own, and for an energy the step size times
    /// the largest curvature at the first of them (a step is stable below 2).
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn with_validation(mut self, clean: Tensor) -> Result<Self> {
        let mut rng = TensorRng::new(self.seed, Purpose::Evaluation);
        let noisy = self.corruption.apply(&clean, &mut rng)?;
        self.validation = Some((noisy, clean));
        Ok(self)
    }

    fn rng(&self, step: u64) -> TensorRng {
        let mut rng = TensorRng::new(self.seed, Purpose::Objective);
        rng.begin_step(step);
        rng
    }
}

/// Images at which the curvature is looked at, and iterations that find it.
const CURVATURE_IMAGES: i64 = 8;
const CURVATURE_ITERATIONS: usize = 8;

impl Objective<ImageEbt> for Denoising {
    fn loss(&mut self, model: &ImageEbt, batch: &Batch, step: u64) -> Result<Loss> {
        let mut rng = self.rng(step);
        let noisy = self.corruption.apply(&batch.x, &mut rng)?;
        let run = self.descent.run(model, &noisy, model.alpha(), &mut rng)?;
        let loss = run.loss(|y| self.loss.of(y, &batch.x))?;
        let mut metrics = run.metrics()?;
        metrics.push(("alpha", model.alpha().f_detach()?.copy()));
        Ok(Loss::new(loss, metrics))
    }

    fn diagnostics(&self, model: &ImageEbt) -> Result<Vec<(&'static str, Tensor)>> {
        let Some((noisy, clean)) = &self.validation else { return Ok(Vec::new()) };
        let found = model.denoise(noisy, 1)?;
        let some = noisy.f_narrow(0, 0, noisy.size()[0].min(CURVATURE_IMAGES))?;
        let mut rng = TensorRng::new(self.seed, Purpose::Evaluation).from_step(1);
        let curvature = largest_curvature(model, &some, 0, CURVATURE_ITERATIONS, &mut rng)?.f_max()?;
        let stability = curvature.f_mul(&model.alpha().f_detach()?.f_clamp_min(MIN_STEP_SIZE)?)?;
        Ok(vec![("loss_validation", self.loss.of(&found, clean)?), ("alpha_curvature", stability)])
    }
}

impl Objective<ImageRegressor> for Denoising {
    fn loss(&mut self, model: &ImageRegressor, batch: &Batch, step: u64) -> Result<Loss> {
        let noisy = self.corruption.apply(&batch.x, &mut self.rng(step))?;
        Ok(Loss::new(self.loss.of(&model.forward(&noisy)?, &batch.x)?, Vec::new()))
    }

    fn diagnostics(&self, model: &ImageRegressor) -> Result<Vec<(&'static str, Tensor)>> {
        let Some((noisy, clean)) = &self.validation else { return Ok(Vec::new()) };
        let found = tch::no_grad(|| model.forward(noisy))?;
        Ok(vec![("loss_validation", self.loss.of(&found, clean)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::image_regressor::ImageRegressorConfig;
    use super::super::image_testing::{double, random, stir, tiny};
    use super::*;
    use ebm_core::torch::Params;
    use ebm_samplers::descent::{Graph, LossOn, Steps};
    use tch::Kind;

    fn denoising(loss: PixelLoss) -> Denoising {
        Denoising::new(Corruption::new(&NoiseScheduleConfig::ddpm(), 0.1).unwrap(), loss, 4)
    }

    fn batch() -> Batch {
        Batch { x: random(&[3, 1, 4, 4], 0.5, 1), labels: None }
    }

    /// The slope of `loss` along a random direction of every parameter, by autograd and by differences.
    fn slopes(params: &Params, loss: &mut dyn FnMut() -> Tensor) {
        let tensors = params.tensors();
        let grads = Tensor::run_backward(&[loss()], &tensors, false, false);
        let h = 1e-5;
        for (i, ((name, p), grad)) in params.named().iter().zip(&grads).enumerate() {
            let direction = random(&p.size(), 1.0, 500 + i as u64);
            let mut at = |t: f64| {
                tch::no_grad(|| {
                    let _ = p.shallow_clone().f_add_(&(&direction * t)).unwrap();
                });
                loss().double_value(&[])
            };
            let quotient = (at(h) - at(-2.0 * h)) / (2.0 * h);
            let _ = at(h);
            let found = (grad * &direction).sum(Kind::Double).double_value(&[]);
            assert!((found - quotient).abs() < 1e-7 * (1.0 + quotient.abs()), "{name}: {found} {quotient}");
        }
    }

    #[test]
    fn the_gradient_through_the_step_is_the_difference_quotient() {
        for loss in [PixelLoss::SmoothL1, PixelLoss::Mse] {
            let mut params = double();
            let net = ImageEbt::new(&tiny(), &mut params).unwrap();
            stir(&params);
            let mut objective = denoising(loss);
            slopes(&params, &mut || objective.loss(&net, &batch(), 0).unwrap().loss);
        }
    }

    #[test]
    fn several_steps_unrolled_agree_with_differences_too() {
        let mut params = double();
        let net = ImageEbt::new(&tiny(), &mut params).unwrap();
        stir(&params);
        let descent = Descent {
            n_steps: Steps::Fixed(3),
            graph: Graph::Full,
            loss_on: LossOn::LastStep,
            ..Descent::default()
        };
        let mut objective = Denoising { descent, ..denoising(PixelLoss::Mse) };
        slopes(&params, &mut || objective.loss(&net, &batch(), 0).unwrap().loss);
    }

    #[test]
    fn both_models_see_the_same_noise_and_a_fresh_one_changes_nothing() {
        let (mut a, mut b) = (double(), double());
        let ebt = ImageEbt::new(&tiny(), &mut a).unwrap();
        let regressor = ImageRegressor::new(&ImageRegressorConfig { trunk: tiny().trunk }, &mut b).unwrap();
        let mut objective = denoising(PixelLoss::Mse).with_validation(random(&[2, 1, 4, 4], 0.5, 2)).unwrap();
        let value = |loss: Loss| loss.loss.double_value(&[]);
        let first = value(objective.loss(&ebt, &batch(), 7).unwrap());
        assert_eq!(first, value(objective.loss(&regressor, &batch(), 7).unwrap()));
        assert_ne!(first, value(objective.loss(&regressor, &batch(), 8).unwrap()));
        let logged = objective.diagnostics(&ebt).unwrap();
        let names: Vec<_> = logged.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["loss_validation", "alpha_curvature"]);
        // A flat energy has no curvature.
        assert_eq!(logged[1].1.double_value(&[]), 0.0);
        let other = objective.diagnostics(&regressor).unwrap();
        assert_eq!(other[0].1.double_value(&[]), logged[0].1.double_value(&[]));
    }

    #[test]
    fn the_noise_is_that_of_the_schedule() {
        let corruption = Corruption::new(&NoiseScheduleConfig::ddpm(), 0.1).unwrap();
        assert_eq!(corruption.step(), 99);
        let x = Tensor::full([40_000], 0.5, (Kind::Double, tch::Device::Cpu));
        let noisy = corruption.apply(&x, &mut TensorRng::new(0, Purpose::User)).unwrap();
        let (mean, std) = (noisy.mean(Kind::Double).double_value(&[]), noisy.std(true).double_value(&[]));
        assert!((mean - 0.5 * 0.89702f64.sqrt()).abs() < 5.0 * 0.321 / 200.0);
        assert!((std - 0.3209).abs() < 5.0 * 0.321 / 80_000f64.sqrt());
        assert!(Corruption::new(&NoiseScheduleConfig::ddpm(), 0.0).is_err());
    }

    #[test]
    fn losses_are_the_formulas() {
        let (a, b) = (Tensor::from_slice(&[0.5, 3.0]), Tensor::from_slice(&[0.0, 0.0]));
        let of = |loss: PixelLoss| loss.of(&a, &b).unwrap().double_value(&[]);
        assert_eq!((of(PixelLoss::SmoothL1), of(PixelLoss::Mse)), ((0.125 + 2.5) / 2.0, (0.25 + 9.0) / 2.0));
    }
}
