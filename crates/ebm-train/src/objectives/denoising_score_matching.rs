//! Denoising score matching: the gradient of the energy predicts the noise that was added to the data.
//!
//! `x' = x + sigma z`, `L = mean |sigma grad E(x') - z|^2 / 2`, summed over coordinates. Its optimum is the energy
//! of the data convolved with a Gaussian of width sigma. Source: Vincent 2011 (DOI 10.1162/NECO_a_00142).

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Result, Schedule, StepRng, TrainableEnergy};
use tch::Kind;

use super::{Batch, Loss, Objective};

/// Denoising score matching at one noise level (which may follow a schedule).
#[derive(Clone, Debug)]
pub struct DenoisingScoreMatching {
    sigma: Schedule,
    seed: u64,
}

impl DenoisingScoreMatching {
    /// Noise of standard deviation `sigma`, in the data's units.
    ///
    /// # Errors
    /// `sigma` not above 0.
    pub fn new(sigma: impl Into<Schedule>, seed: u64) -> Result<Self> {
        let sigma = sigma.into();
        sigma.check("sigma", "above 0 and finite", |s| s > 0.0)?;
        Ok(Self { sigma, seed })
    }
}

impl<M: TrainableEnergy + ?Sized> Objective<M> for DenoisingScoreMatching {
    fn loss(&mut self, model: &M, batch: &Batch, step: u64) -> Result<Loss> {
        let sigma = self.sigma.at(step);
        let mut rng = TensorRng::new(self.seed, Purpose::Objective);
        rng.begin_step(step);
        let x = &batch.x;
        let z = rng.normal(&x.size(), 1.0, x.kind(), x.device())?;
        let noisy = x.f_add(&z.f_mul_scalar(sigma)?)?;
        let (_, grad) = model.energy_grad_graph(&noisy)?;
        let error = grad.f_mul_scalar(sigma)?.f_sub(&z)?.f_square()?.f_flatten(1, -1)?;
        let loss = error.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?.f_mean(None::<Kind>)?;
        let loss = loss.f_mul_scalar(0.5)?;
        Ok(Loss::new(loss, Vec::new()))
    }
}
