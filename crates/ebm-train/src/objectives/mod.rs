//! Training objectives, one file each: a batch in, a scalar loss and named metrics out.

mod contrastive_divergence;
mod denoising_score_matching;
mod negatives;
mod persistent;

pub use contrastive_divergence::ContrastiveDivergence;
pub use denoising_score_matching::DenoisingScoreMatching;
pub use negatives::{contrast, negative_rng, run_chains};
pub use persistent::PersistentContrastiveDivergence;

use ebm_core::Result;
use serde_json::Value;
use tch::Tensor;

use crate::optim::Named;

/// A batch on the model's device.
#[derive(Debug)]
pub struct Batch {
    /// `[n, ..]`.
    pub x: Tensor,
    /// Class labels `[n]`, i64, where the data has them.
    pub labels: Option<Tensor>,
}

/// What an objective makes of a batch.
#[derive(Debug)]
pub struct Loss {
    /// The scalar to minimise, with graph (detached where `gradients` are given).
    pub loss: Tensor,
    /// The parameters' gradients in the order of [`ebm_core::torch::Params`], where the objective computed them itself.
    pub gradients: Option<Vec<Tensor>>,
    /// Named 0-d tensors, detached, on the device: read only when they are logged. `energy_gap` is watched.
    pub metrics: Vec<(&'static str, Tensor)>,
}

impl Loss {
    /// A loss with graph, whose gradients the trainer takes.
    pub fn new(loss: Tensor, metrics: Vec<(&'static str, Tensor)>) -> Self {
        Self { loss, gradients: None, metrics }
    }
}

/// A loss for training a model `M`.
pub trait Objective<M: ?Sized> {
    /// The loss of one batch. `step` positions the random streams; parameters get no gradient here.
    ///
    /// # Errors
    /// What the model or LibTorch returns.
    fn loss(&mut self, model: &M, batch: &Batch, step: u64) -> Result<Loss>;

    /// Further 0-d tensors for the log, computed only when a row is due.
    ///
    /// # Errors
    /// What the model or LibTorch returns.
    fn diagnostics(&self, _model: &M) -> Result<Vec<(&'static str, Tensor)>> {
        Ok(Vec::new())
    }

    /// Named images `[n, c, h, w]` worth looking at, asked for with each checkpoint.
    ///
    /// # Errors
    /// When LibTorch fails.
    fn images(&self) -> Result<Vec<(&'static str, Tensor)>> {
        Ok(Vec::new())
    }

    /// Everything that a resumed run needs beside the parameters: tensors, and a JSON value.
    ///
    /// # Errors
    /// When the state cannot be written as JSON.
    fn state(&self) -> Result<(Named, Value)> {
        Ok((Vec::new(), Value::Null))
    }

    /// Go on from a saved state.
    ///
    /// # Errors
    /// A state of another objective or shape.
    fn restore(&mut self, _tensors: &Named, _state: &Value) -> Result<()> {
        Ok(())
    }
}

impl<M: ?Sized, O: Objective<M> + ?Sized> Objective<M> for Box<O> {
    fn loss(&mut self, model: &M, batch: &Batch, step: u64) -> Result<Loss> {
        (**self).loss(model, batch, step)
    }
    fn diagnostics(&self, model: &M) -> Result<Vec<(&'static str, Tensor)>> {
        (**self).diagnostics(model)
    }
    fn images(&self) -> Result<Vec<(&'static str, Tensor)>> {
        (**self).images()
    }
    fn state(&self) -> Result<(Named, Value)> {
        (**self).state()
    }
    fn restore(&mut self, tensors: &Named, state: &Value) -> Result<()> {
        (**self).restore(tensors, state)
    }
}
