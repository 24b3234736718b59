//! What is descended: energies of candidates, and their gradient.

use ebm_core::torch::TensorRng;
use ebm_core::{GraphEnergy, Result};
use tch::Tensor;

/// Where in a descent the landscape is asked.
pub struct At<'a> {
    /// Number of the step, from 0.
    pub step: usize,
    /// Standard deviation of the noise that the landscape adds itself (see [`super::NoisePlace::Inside`]).
    pub noise_std: f64,
    /// The stream of the descent's noise.
    pub rng: &'a mut TensorRng,
}

impl At<'_> {
    /// `x` with this step's noise, for landscapes that put it on a projection of the candidate.
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn perturb(&mut self, x: &Tensor) -> Result<Tensor> {
        if self.noise_std == 0.0 {
            return Ok(x.shallow_clone());
        }
        Ok(x.f_add(&self.rng.normal(&x.size(), self.noise_std, x.kind(), x.device())?)?)
    }
}

/// Energies at a point, and the gradient of their sum.
#[derive(Debug)]
pub struct Slope {
    /// One per item: the leading axes of the candidate.
    pub energy: Tensor,
    /// Shape of the candidate.
    pub gradient: Tensor,
}

/// A landscape over candidates `y`: one energy per item, where an item is one entry of `y`'s leading axes (a
/// position of a sequence, an image, an action chunk). An item's energy must not depend on the other candidates:
/// then the gradient of the sum holds every item's own gradient. Context, parameters and step tokens belong to the
/// landscape. Every energy with a graph is one.
pub trait Landscape {
    /// The energies of `y`, with graph to `y` and to the parameters.
    ///
    /// # Errors
    /// A shape that does not fit, or what LibTorch returns.
    fn energy(&self, y: &Tensor, at: &mut At<'_>) -> Result<Tensor>;

    /// Energies at `y` and their gradient; with `graph` both can be differentiated again. Without it both are
    /// detached. Override it where the gradient has a cheaper form than autograd down to `y`.
    ///
    /// # Errors
    /// As [`Landscape::energy`].
    fn slope(&self, y: &Tensor, at: &mut At<'_>, graph: bool) -> Result<Slope> {
        // A candidate of an earlier step may carry a graph (full unroll); otherwise a fresh leaf is differentiated.
        let y = if graph && y.requires_grad() { y.shallow_clone() } else { leaf(y)? };
        let energy = tch::with_grad(|| self.energy(&y, at))?;
        let gradient = gradient_of(&energy, &y, graph)?;
        let energy = if graph { energy } else { energy.f_detach()? };
        Ok(Slope { energy, gradient })
    }
}

/// `x` as a new leaf that gradients are taken to.
///
/// # Errors
/// When LibTorch fails.
pub fn leaf(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_detach()?.set_requires_grad(true))
}

/// `d sum(energy) / dx`, zeros where the energy does not depend on `x`; with `graph` it can be differentiated again.
///
/// # Errors
/// When LibTorch fails.
pub fn gradient_of(energy: &Tensor, x: &Tensor, graph: bool) -> Result<Tensor> {
    if !energy.requires_grad() {
        return Ok(x.f_zeros_like()?);
    }
    // Whoever predicts may have switched graphs off: the sum needs one, or LibTorch crashes.
    let sum = tch::with_grad(|| energy.f_sum(energy.kind()))?;
    let gradients = Tensor::f_run_backward(&[&sum], &[x], graph, graph)?;
    match gradients.into_iter().next() {
        Some(gradient) if gradient.defined() => Ok(gradient),
        _ => Ok(x.f_zeros_like()?),
    }
}

impl<E: GraphEnergy> Landscape for E {
    fn energy(&self, y: &Tensor, _at: &mut At<'_>) -> Result<Tensor> {
        self.energy_graph(y)
    }
}
