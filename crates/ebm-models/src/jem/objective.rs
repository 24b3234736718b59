//! The objective of JEM: cross-entropy on labelled data plus persistent contrastive divergence on data.
//!
//! `L = w_yx CE(x_l, y_l) + w_x (mean E(x_d) - mean E(x_q)) + l2 (mean E(x_d)^2 + mean E(x_q)^2)
//!    [+ w_xy (mean E(x_l, y_l) - mean E(x_q, y_q))]`, `x_q` from the replay buffer by SGLD, detached.
//! The class-joint term, off by default, pairs `x_q` with its own most likely label.
//! Source: JEM (arXiv 1912.03263); defaults as in its released code.

use std::sync::Arc;

use ebm_core::{Error, Result};
use ebm_datasets::{BatchConfig, Dataset};
use ebm_samplers::Ula;
use ebm_train::objectives::{PersistentContrastiveDivergence, contrast};
use ebm_train::optim::Named;
use ebm_train::{Batch, BatchSource, DatasetSource, Loss, Objective};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::net::JemNet;
use crate::joint::{JointEnergy, cross_entropy, joint_energy, marginal_energy};

/// The weights of the three terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JemWeights {
    /// Of the cross-entropy.
    pub classify: f64,
    /// Of the marginal likelihood; 0 trains a plain classifier and samples nothing.
    pub marginal: f64,
    /// Of the joint likelihood.
    pub joint: f64,
}

impl Default for JemWeights {
    fn default() -> Self {
        Self { classify: 1.0, marginal: 1.0, joint: 0.0 }
    }
}

/// Two independent orders of the same data, as in the released code: a batch is `[x_d; x_l]`, of which the last
/// half is labelled.
pub struct PairedSource {
    data: DatasetSource,
    labelled: DatasetSource,
}

impl PairedSource {
    /// Batches of `config.batch_size` from each of two orders; the second one's seed is the complement's.
    pub fn new(data: &Arc<Dataset>, config: &BatchConfig, device: Device) -> Self {
        let other = BatchConfig { seed: !config.seed, ..config.clone() };
        Self {
            data: DatasetSource::new(Arc::clone(data), config.clone(), device),
            labelled: DatasetSource::new(Arc::clone(data), other, device),
        }
    }
}

impl BatchSource for PairedSource {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let (data, labelled) = (self.data.batch(step)?, self.labelled.batch(step)?);
        Ok(Batch { x: Tensor::f_cat(&[&data.x, &labelled.x], 0)?, labels: labelled.labels })
    }
}

/// JEM's objective with its replay buffer.
#[derive(Debug)]
pub struct JemObjective {
    weights: JemWeights,
    chains: PersistentContrastiveDivergence<Ula>,
    validation: Option<Tensor>,
}

impl JemObjective {
    /// `chains` holds the sampler, the buffer and the weight of the energy penalty.
    ///
    /// # Errors
    /// A weight that is negative or not finite.
    pub fn new(weights: JemWeights, chains: PersistentContrastiveDivergence<Ula>) -> Result<Self> {
        for (name, value) in
            [("classify", weights.classify), ("marginal", weights.marginal), ("joint", weights.joint)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::bad_value(name, value, "at least 0 and finite", ""));
            }
        }
        Ok(Self { weights, chains, validation: None })
    }

    /// Log `energy_validation`, `energy_buffer` and their gap `validation_gap`, on these held-out images.
    pub fn with_validation(mut self, x: Tensor) -> Self {
        self.validation = Some(x);
        self
    }

    /// The persistent chains, `[capacity, ..]`.
    pub fn buffer(&self) -> &Tensor {
        self.chains.buffer().points()
    }
}

impl Objective<JemNet> for JemObjective {
    fn loss(&mut self, model: &JemNet, batch: &Batch, step: u64) -> Result<Loss> {
        let Some(labels) = &batch.labels else {
            return Err(Error::user("JEM needs labels: give a data set that has them"));
        };
        let (n, n_labelled) = (batch.x.size()[0], labels.size()[0]);
        let n_data = n - n_labelled;
        if self.weights.marginal == 0.0 && self.weights.joint == 0.0 {
            let loss = cross_entropy(&model.logits(&batch.x.f_narrow(0, n_data, n_labelled)?)?, labels)?;
            let loss = loss.f_mul_scalar(self.weights.classify)?;
            let metrics = vec![("cross_entropy", loss.f_detach()?)];
            return Ok(Loss::new(loss, metrics));
        }
        let negative = self.chains.negatives(model, n_data as usize, self.chains.rng(step))?;
        let logits = model.logits(&Tensor::f_cat(&[&batch.x, &negative], 0)?)?;
        let part = |from: i64, len: i64| logits.f_narrow(0, from, len);
        let (data, labelled, negative) = (part(0, n_data)?, part(n_data, n_labelled)?, part(n, n_data)?);

        let energies = (marginal_energy(&data)?, marginal_energy(&negative)?);
        let Loss { loss, mut metrics, .. } = contrast(&energies.0, &energies.1, self.chains.energy_l2())?;
        let classify = cross_entropy(&labelled, labels)?;
        let mut loss = loss
            .f_mul_scalar(self.weights.marginal)?
            .f_add(&classify.f_mul_scalar(self.weights.classify)?)?;
        if self.weights.joint > 0.0 {
            let guess = negative.f_argmax(1, false)?;
            let up = joint_energy(&labelled, labels)?.f_mean(None::<tch::Kind>)?;
            let down = joint_energy(&negative, &guess)?.f_mean(None::<tch::Kind>)?;
            loss = loss.f_add(&up.f_sub(&down)?.f_mul_scalar(self.weights.joint)?)?;
        }
        metrics.push(("cross_entropy", classify.f_detach()?));
        Ok(Loss::new(loss, metrics))
    }

    fn diagnostics(&self, model: &JemNet) -> Result<Vec<(&'static str, Tensor)>> {
        let Some(validation) = &self.validation else { return Ok(Vec::new()) };
        tch::no_grad(|| {
            let mean =
                |x: &Tensor| Ok::<_, Error>(marginal_energy(&model.logits(x)?)?.f_mean(None::<tch::Kind>)?);
            let (held_out, buffer) = (mean(validation)?, mean(self.buffer())?);
            let gap = held_out.f_sub(&buffer)?;
            Ok(vec![("energy_validation", held_out), ("energy_buffer", buffer), ("validation_gap", gap)])
        })
    }

    /// The first chains of the buffer.
    fn images(&self) -> Result<Vec<(&'static str, Tensor)>> {
        if self.weights.marginal == 0.0 && self.weights.joint == 0.0 {
            return Ok(Vec::new());
        }
        let n = self.buffer().size()[0].min(64);
        Ok(vec![("buffer", self.buffer().f_narrow(0, 0, n)?)])
    }

    fn state(&self) -> Result<(Named, serde_json::Value)> {
        self.chains.buffer_state()
    }

    fn restore(&mut self, tensors: &Named, state: &serde_json::Value) -> Result<()> {
        self.chains.restore_buffer(tensors, state)
    }
}
