//! Contrastive divergence (CD-k): negatives are `k` kernel steps from the data.
//!
//! `L = mean E(x+) - mean E(x-)`, `x-` detached. Source: Hinton 2002 (DOI 10.1162/089976602760128018).

use ebm_core::{Error, Result, TrainableEnergy};
use ebm_samplers::Kernel;
use tch::Tensor;

use super::{Batch, Loss, Objective, contrast, negative_rng, run_chains};

/// CD-k with any kernel.
#[derive(Clone, Debug)]
pub struct ContrastiveDivergence<K> {
    kernel: K,
    n_steps: u64,
    energy_l2: f64,
    seed: u64,
}

impl<K> ContrastiveDivergence<K> {
    /// `n_steps` of `kernel` from each batch; `energy_l2` weighs the penalty on squared energies.
    ///
    /// # Errors
    /// No steps, or a negative weight.
    pub fn new(kernel: K, n_steps: u64, energy_l2: f64, seed: u64) -> Result<Self> {
        if n_steps == 0 {
            return Err(Error::bad_value("n_steps", 0, "at least 1", ""));
        }
        if !(energy_l2 >= 0.0 && energy_l2.is_finite()) {
            return Err(Error::bad_value("energy_l2", energy_l2, "at least 0 and finite", ""));
        }
        Ok(Self { kernel, n_steps, energy_l2, seed })
    }
}

impl<M: TrainableEnergy + ?Sized, K: Kernel<Tensor, M>> Objective<M> for ContrastiveDivergence<K> {
    fn loss(&mut self, model: &M, batch: &Batch, step: u64) -> Result<Loss> {
        let rng = negative_rng(self.seed, step, self.n_steps);
        let negative = run_chains(&self.kernel, model, &batch.x, self.n_steps, rng)?;
        contrast(&model.energy_graph(&batch.x)?, &model.energy_graph(&negative)?, self.energy_l2)
    }
}
