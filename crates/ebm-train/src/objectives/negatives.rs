//! What contrastive objectives share: chains from the model, and the contrast of two energies.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{GradEnergy, Result};
use ebm_samplers::Kernel;
use tch::{Kind, Tensor};

use super::Loss;

/// Run `n_steps` of `kernel` from `start`. The result is detached; no parameter gets a gradient.
///
/// # Errors
/// What the energy or the kernel returns.
pub fn run_chains<E: GradEnergy<Tensor> + ?Sized, K: Kernel<Tensor, E>>(
    kernel: &K,
    energy: &E,
    start: &Tensor,
    n_steps: u64,
    mut rng: TensorRng,
) -> Result<Tensor> {
    let mut state = kernel.init(energy, start.f_detach()?)?;
    for _ in 0..n_steps {
        kernel.advance(energy, &mut state, &mut rng)?;
    }
    Ok(state.x)
}

/// The random numbers of the `n_steps` chain steps inside training step `step`: its own, never seen twice.
pub fn negative_rng(seed: u64, step: u64, n_steps: u64) -> TensorRng {
    TensorRng::new(seed, Purpose::Negative).from_step(step * n_steps)
}

/// `mean E(x+) - mean E(x-) + l2 (mean E(x+)^2 + mean E(x-)^2)` with its metrics.
///
/// `energy_gap` is `mean E(x+) - mean E(x-)`. The penalty keeps energies near zero (IGEBM, arXiv 1903.08689).
///
/// # Errors
/// When LibTorch fails.
pub fn contrast(positive: &Tensor, negative: &Tensor, l2: f64) -> Result<Loss> {
    let (up, down) = (positive.f_mean(Kind::Float)?, negative.f_mean(Kind::Float)?);
    let gap = up.f_sub(&down)?;
    let mut loss = gap.shallow_clone();
    if l2 > 0.0 {
        let square = |e: &Tensor| e.f_square()?.f_mean(Kind::Float);
        loss = loss.f_add(&square(positive)?.f_add(&square(negative)?)?.f_mul_scalar(l2)?)?;
    }
    let metrics = vec![
        ("energy_gap", gap.f_detach()?),
        ("energy_data", up.f_detach()?),
        ("energy_negative", down.f_detach()?),
    ];
    Ok(Loss::new(loss, metrics))
}
