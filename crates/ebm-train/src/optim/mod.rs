//! Optimisers whose whole state can be saved: AdamW and SGD, gradient clipping, averaging of weights.
//!
//! LibTorch's own optimisers cannot give their state back through `tch`, so a run could not be resumed exactly.

mod adamw;
mod clip;
mod ema;
mod sgd;

pub use adamw::{AdamW, AdamWConfig, ParamGroup};
pub use clip::{clip_by_norm, global_norm};
pub use ema::Ema;
pub use sgd::{Sgd, SgdConfig};

use ebm_core::torch::Params;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Named tensors, as they stand in a checkpoint.
pub type Named = Vec<(String, Tensor)>;

/// Which optimiser, with its settings; the learning rate comes from the trainer's schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// See [`AdamW`].
    #[serde(rename = "adamw")]
    AdamW(AdamWConfig),
    /// See [`Sgd`].
    Sgd(SgdConfig),
}

impl OptimizerConfig {
    /// An optimiser with zeroed state for these parameters.
    ///
    /// # Errors
    /// Impossible settings.
    pub fn build(&self, params: &Params) -> Result<Box<dyn Optimizer>> {
        Ok(match self {
            Self::AdamW(config) => Box::new(AdamW::new(config.clone(), params)?),
            Self::Sgd(config) => Box::new(Sgd::new(config.clone(), params)?),
        })
    }
}

/// Changes parameters by their gradients.
pub trait Optimizer {
    /// One step at learning rate `lr`; `grads[i]` belongs to parameter number `i`.
    ///
    /// # Errors
    /// When LibTorch fails.
    fn step(&mut self, grads: &[Tensor], lr: f64) -> Result<()>;

    /// Every tensor of the state, named after its parameter: shared handles.
    fn state(&self) -> Named;

    /// Steps taken (enters Adam's bias correction).
    fn n_steps(&self) -> u64;

    /// Go on from a saved state.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    fn restore(&mut self, saved: &Named, n_steps: u64) -> Result<()>;
}

/// Copy `saved` over `state`, by name.
pub(crate) fn copy_state(state: &Named, saved: &Named) -> Result<()> {
    for (name, tensor) in state {
        let Some((_, value)) = saved.iter().find(|(n, _)| n == name) else {
            return Err(Error::user(format!("'{name}' is missing from the saved state")));
        };
        if value.size() != tensor.size() {
            return Err(Error::shape(format!("saved '{name}'"), tensor.size(), value.size()));
        }
        tch::no_grad(|| tensor.shallow_clone().f_copy_(value))?;
    }
    Ok(())
}

/// One zero tensor per parameter, named `<prefix>.<parameter>`.
pub(crate) fn zeros_for(params: &Params, prefix: &str) -> Result<Named> {
    let zeros =
        |(name, p): &(String, Tensor)| Ok((format!("{prefix}.{name}"), p.f_detach()?.f_zeros_like()?));
    params.named().iter().map(zeros).collect()
}

pub(crate) fn handles(named: &Named) -> Named {
    named.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use ebm_core::torch::Init;
    use tch::{Device, Kind};

    /// `n` steps on `L = (p - 3)^2 / 2` from `p = 1`, with a save and restore in the middle.
    pub fn quadratic_run(make: impl Fn(&Params) -> Box<dyn Optimizer>, lr: f64, n: i32) -> Tensor {
        let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
        let p = params.root().parameter("p", &[2], Init::Constant(1.0)).unwrap();
        let mut optimizer = make(&params);
        for t in 0..n {
            if t == n / 2 {
                let mut again = make(&params);
                again.restore(&optimizer.state(), optimizer.n_steps()).unwrap();
                optimizer = again;
            }
            optimizer.step(&[p.detach() - 3.0], lr).unwrap();
        }
        p
    }

    pub fn scalars(t: &Tensor) -> Vec<f64> {
        Vec::try_from(&t.detach()).unwrap()
    }
}
