//! The model zoo: building blocks in [`nn`], then one folder per paper.
//!
//! * [`ebt_policy`]: actions by descending an energy, with its controls (arXiv 2510.27545).
//! * [`diffusion`]: denoising diffusion (DDPM, DDIM): schedules, losses, reverse chains.
//! * [`joint`]: a classifier's logits read as energies.
//! * [`ngram`]: a trigram, the control of text models.
//! * [`ebt`]: energy-based transformers (arXiv 2507.02092).
//! * [`ebwm`]: next states by descending an energy (arXiv 2406.08862).
//! * [`jem`]: joint energy models (arXiv 1912.03263).

pub mod diffusion;
pub mod ebt;
pub mod ebt_policy;
pub mod ebwm;
pub mod jem;
pub mod joint;
pub mod ngram;
pub mod nn;
