//! Persistent contrastive divergence (PCD): negatives are chains that live on in a replay buffer.
//!
//! `L = mean E(x+) - mean E(x-)`, `x-` detached and written back. Sources: Tieleman 2008
//! (DOI 10.1145/1390156.1390290); with a buffer and restarts, Du and Mordatch 2019 (arXiv 1903.08689).

use ebm_core::torch::TensorRng;
use ebm_core::{Error, GradEnergy, Result, TrainableEnergy};
use ebm_samplers::{Kernel, ReplayBuffer};
use serde_json::Value;
use tch::Tensor;

use super::{Batch, Loss, Objective, contrast, negative_rng, run_chains};
use crate::optim::Named;

/// PCD with any kernel.
#[derive(Debug)]
pub struct PersistentContrastiveDivergence<K> {
    kernel: K,
    n_steps: u64,
    energy_l2: f64,
    seed: u64,
    buffer: ReplayBuffer,
}

impl<K> PersistentContrastiveDivergence<K> {
    /// `n_steps` of `kernel` from the buffer's chains; `energy_l2` weighs the penalty on squared energies.
    ///
    /// # Errors
    /// No steps, or a negative weight.
    pub fn new(kernel: K, n_steps: u64, energy_l2: f64, buffer: ReplayBuffer, seed: u64) -> Result<Self> {
        if n_steps == 0 {
            return Err(Error::bad_value("n_steps", 0, "at least 1", ""));
        }
        if !(energy_l2 >= 0.0 && energy_l2.is_finite()) {
            return Err(Error::bad_value("energy_l2", energy_l2, "at least 0 and finite", ""));
        }
        Ok(Self { kernel, n_steps, energy_l2, seed, buffer })
    }

    /// The persistent chains.
    pub fn buffer(&self) -> &ReplayBuffer {
        &self.buffer
    }

    /// The penalty's weight.
    pub fn energy_l2(&self) -> f64 {
        self.energy_l2
    }

    /// The stream of training step `step`.
    pub fn rng(&self, step: u64) -> TensorRng {
        negative_rng(self.seed, step, self.n_steps)
    }

    /// `n` negatives: drawn, moved with `rng` ([`Self::rng`] in training), written back, detached.
    ///
    /// # Errors
    /// What the energy or the kernel returns.
    pub fn negatives<E: GradEnergy<Tensor> + ?Sized>(
        &mut self,
        energy: &E,
        n: usize,
        rng: TensorRng,
    ) -> Result<Tensor>
    where
        K: Kernel<Tensor, E>,
    {
        let replay = self.buffer.draw(n)?;
        let ends = run_chains(&self.kernel, energy, &replay.x, self.n_steps, rng)?;
        self.buffer.write_back(&replay, &ends)?;
        Ok(ends)
    }

    /// The buffer, for a checkpoint.
    ///
    /// # Errors
    /// When the state cannot be written as JSON.
    pub fn buffer_state(&self) -> Result<(Named, Value)> {
        let value = serde_json::to_value(self.buffer.state()).map_err(Error::user)?;
        Ok((vec![("replay".to_owned(), self.buffer.points().shallow_clone())], value))
    }

    /// Go on from [`PersistentContrastiveDivergence::buffer_state`].
    ///
    /// # Errors
    /// A state of another objective or shape.
    pub fn restore_buffer(&mut self, tensors: &Named, state: &Value) -> Result<()> {
        let Some((_, points)) = tensors.iter().find(|(n, _)| n == "replay") else {
            return Err(Error::user("the checkpoint holds no replay buffer"));
        };
        let state = serde_json::from_value(state.clone()).map_err(Error::user)?;
        self.buffer.restore(points, &state)
    }
}

impl<M: TrainableEnergy + ?Sized, K: Kernel<Tensor, M>> Objective<M> for PersistentContrastiveDivergence<K> {
    fn loss(&mut self, model: &M, batch: &Batch, step: u64) -> Result<Loss> {
        let n = batch.x.size().first().copied().unwrap_or(0) as usize;
        let rng = self.rng(step);
        let negative = self.negatives(model, n, rng)?;
        contrast(&model.energy_graph(&batch.x)?, &model.energy_graph(&negative)?, self.energy_l2)
    }

    fn state(&self) -> Result<(Named, Value)> {
        self.buffer_state()
    }

    fn restore(&mut self, tensors: &Named, state: &Value) -> Result<()> {
        self.restore_buffer(tensors, state)
    }
}
