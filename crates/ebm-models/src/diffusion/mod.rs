//! Denoising diffusion: noise schedules, the training loss, and the reverse chain from noise to data.
//!
//! DDPM (arXiv 2006.11239), DDIM (arXiv 2010.02502), the learned variance of improved DDPM (arXiv 2102.09672). Works
//! on tensors of any shape `[n, ..]`: images, chunks of actions. The network is any [`NoisePredictor`]; [`Dit`] (arXiv
//! 2212.09748) is the one for images.

mod dit;
mod loss;
mod predictor;
mod reverse;
mod schedule;
mod variance;

pub use dit::{Dit, DitConfig};
pub use loss::{DiffusionLoss, DiffusionObjective, VarianceLoss};
pub use predictor::{NoisePrediction, NoisePredictor};
pub use reverse::{ReverseChain, ReverseRule, ReverseVariance};
pub use schedule::{NoiseSchedule, NoiseScheduleConfig, evenly_spaced, leading};
