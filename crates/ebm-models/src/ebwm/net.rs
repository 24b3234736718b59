//! The network of EBWM: energies of candidates for each next frame of a film, and prediction by descending them.

use ebm_core::torch::{Init, Params, TensorRng};
use ebm_core::{Error, Result};
use ebm_samplers::descent::{At, Descended, Descent, Landscape};
use tch::{Kind, Tensor};

use super::config::{EbwmConfig, Start};
use crate::nn::{EnergyTransformer, Observed};

/// See [`EbwmConfig`]. Parameters are named as in the released code: `transformer.*` and `alpha`.
#[derive(Debug)]
pub struct Ebwm {
    transformer: EnergyTransformer,
    step_size: Tensor,
    start: Start,
}

impl Ebwm {
    /// A fresh network whose parameters join `params`.
    ///
    /// # Errors
    /// Impossible settings, or no memory.
    pub fn new(config: &EbwmConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let mut root = params.root();
        Ok(Self {
            transformer: EnergyTransformer::new(&config.transformer, root.sub("transformer"))?,
            step_size: root.parameter("alpha", &[], Init::Constant(config.step_size))?,
            start: config.start,
        })
    }

    /// The landscape of the frames that follow `frames`, `[n, s, width]`.
    ///
    /// # Errors
    /// More frames than the context, or another width.
    pub fn after(&self, frames: &Tensor) -> Result<NextFrames<'_>> {
        Ok(NextFrames { net: self, observed: self.transformer.observe(frames, None)? })
    }

    /// Where a descent after `frames` starts, of the same shape.
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn start(&self, frames: &Tensor, rng: &mut TensorRng) -> Result<Tensor> {
        match self.start {
            Start::Noise => rng.normal(&frames.size(), 1.0, frames.kind(), frames.device()),
            Start::Zeros => Ok(frames.f_zeros_like()?),
            Start::LastFrame => Ok(frames.f_detach()?),
        }
    }

    /// The learned step size, 0-d.
    pub fn step_size(&self) -> &Tensor {
        &self.step_size
    }

    /// Predict the frame after each of `frames` `[n, s, width]`, in training (the descent's graph reaches the
    /// parameters) or by [`Descent::prediction`].
    ///
    /// # Errors
    /// As [`Ebwm::after`], and settings of the descent that do not make sense.
    pub fn predict(&self, frames: &Tensor, descent: &Descent, rng: &mut TensorRng) -> Result<Descended> {
        let start = self.start(frames, rng)?;
        descent.run(&self.after(frames)?, &start, &self.step_size, rng)
    }
}

/// Energies of candidates after frames that were observed once.
#[derive(Debug)]
pub struct NextFrames<'a> {
    net: &'a Ebwm,
    observed: Observed,
}

impl NextFrames<'_> {
    /// Energies `[n, s]` of candidates `[n, s, width]`, with graph: candidate `i` stands for the frame after frame `i`.
    ///
    /// # Errors
    /// Candidates of another shape than the frames.
    pub fn energies(&self, candidates: &Tensor) -> Result<Tensor> {
        if candidates.dim() != 3 {
            return Err(Error::shape("candidates", ["n", "s", "width"], candidates.size()));
        }
        self.net.transformer.energies(candidates, &self.observed)
    }
}

impl Landscape for NextFrames<'_> {
    fn energy(&self, y: &Tensor, _at: &mut At<'_>) -> Result<Tensor> {
        self.energies(y)
    }
}

/// The mean over the last axis of Smooth-L1 with width `beta`: `d^2 / (2 beta)` where `|d| < beta`, else `|d| - beta / 2`.
pub(super) fn smooth_l1(prediction: &Tensor, target: &Tensor, beta: f64) -> Result<Tensor> {
    let errors = prediction.f_smooth_l1_loss(target, tch::Reduction::None, beta)?;
    Ok(errors.f_mean_dim([-1i64].as_slice(), false, None::<Kind>)?)
}
