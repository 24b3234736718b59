//! The objective of EBWM: the mean over the steps of Smooth-L1 between each step's candidate and the true next frame.
//!
//! `L = 1/K sum_k SmoothL1(y_k, x_next)`, `y_k = y_(k-1) - alpha dE/dy`, the candidate detached between steps. The energy
//! itself is never supervised. Source: arXiv 2406.08862.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result};
use ebm_samplers::descent::{Descent, Graph, largest_curvature};
use ebm_train::{Batch, Loss, Objective};
use tch::{Kind, Tensor};

use super::net::{Ebwm, smooth_l1};

/// Iterations of the power method in a row of the log.
const CURVATURE_ITERATIONS: usize = 8;

/// The frames that are seen, `[n, s, width]`, and those that follow each of them, of films `[n, s + 1, width]`.
///
/// # Errors
/// Films of fewer than two frames, or of another shape.
pub fn observed_and_next(films: &Tensor) -> Result<(Tensor, Tensor)> {
    match films.size()[..] {
        [_, frames, _] if frames > 1 => {
            Ok((films.f_narrow(1, 0, frames - 1)?, films.f_narrow(1, 1, frames - 1)?))
        }
        _ => Err(Error::shape("films", "[n, at least 2 frames, width]", films.size())),
    }
}

/// Smooth-L1 of each prediction `[n, s, width]`, the mean over the width: `[n, s]`.
///
/// # Errors
/// Shapes that differ.
pub fn frame_errors(predictions: &Tensor, next: &Tensor, beta: f64) -> Result<Tensor> {
    if predictions.size() != next.size() {
        return Err(Error::shape("predictions", next.size(), predictions.size()));
    }
    smooth_l1(predictions, next, beta)
}

/// See the module's head. The batch's `x` is films `[n, s + 1, width]`.
#[derive(Debug)]
pub struct EbwmObjective {
    descent: Descent,
    beta: f64,
    seed: u64,
    validation: Option<Tensor>,
}

impl EbwmObjective {
    /// `beta` is the width of Smooth-L1's parabola (1 in the paper's lineage); `seed` is the run's.
    ///
    /// # Errors
    /// A descent that does not train, settings of it that do not make sense, or `beta` not above 0.
    pub fn new(descent: Descent, beta: f64, seed: u64) -> Result<Self> {
        descent.check()?;
        if descent.graph == Graph::None {
            let fix = "take per_step, as EBWM does, last_step or full";
            return Err(Error::bad_value("graph", "none", "a graph to train through", fix));
        }
        check_beta(beta)?;
        Ok(Self { descent, beta, seed, validation: None })
    }

    /// Log `validation_loss`, of the last step's candidate, on these held-out films, and `curvature`, the largest of a step
    /// times alpha on the first few (a step is stable while it is below 2).
    pub fn with_validation(mut self, films: Tensor) -> Self {
        self.validation = Some(films);
        self
    }
}

pub(super) fn check_beta(beta: f64) -> Result<()> {
    if beta > 0.0 && beta.is_finite() {
        return Ok(());
    }
    Err(Error::bad_value("beta", beta, "above 0 and finite", "1 is usual"))
}

impl Objective<Ebwm> for EbwmObjective {
    fn loss(&mut self, model: &Ebwm, batch: &Batch, step: u64) -> Result<Loss> {
        let (frames, next) = observed_and_next(&batch.x)?;
        let mut rng = TensorRng::new(self.seed, Purpose::Objective).from_step(step);
        let descended = model.predict(&frames, &self.descent, &mut rng)?;
        let mean =
            |y: &Tensor| -> Result<Tensor> { Ok(smooth_l1(y, &next, self.beta)?.f_mean(None::<Kind>)?) };
        let loss = descended.loss(mean)?;
        let mut metrics = descended.metrics()?;
        if let (Some(first), Some(last)) = (descended.kept.first(), descended.kept.last()) {
            metrics.push(("loss_first", mean(&first.f_detach()?)?));
            metrics.push(("loss_last", mean(&last.f_detach()?)?));
        }
        metrics.push(("step_size", model.step_size().f_detach()?));
        Ok(Loss::new(loss, metrics))
    }

    fn diagnostics(&self, model: &Ebwm) -> Result<Vec<(&'static str, Tensor)>> {
        let Some(films) = &self.validation else { return Ok(Vec::new()) };
        let (frames, next) = observed_and_next(films)?;
        let mut rng = TensorRng::new(self.seed, Purpose::Evaluation);
        let n_steps = self.descent.n_steps.most();
        let descent = self.descent.prediction(n_steps, false);
        let last = tch::no_grad(|| model.predict(&frames, &descent, &mut rng))?.last;
        let loss = smooth_l1(&last, &next, self.beta)?.f_mean(None::<Kind>)?;
        let (few, last) =
            (frames.f_narrow(0, 0, frames.size()[0].min(8))?, last.f_narrow(0, 0, frames.size()[0].min(8))?);
        let landscape = tch::no_grad(|| model.after(&few))?;
        let curvature = largest_curvature(&landscape, &last, n_steps, CURVATURE_ITERATIONS, &mut rng)?;
        let curvature = curvature.f_abs()?.f_max()?.f_mul(&model.step_size().f_detach()?)?;
        Ok(vec![("validation_loss", loss), ("curvature", curvature)])
    }
}
