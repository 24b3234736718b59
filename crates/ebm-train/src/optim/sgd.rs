//! Stochastic gradient descent with momentum, Nesterov's form and weight decay.
//!
//! `g <- g + wd p`, `b <- momentum b + g` (the first `b` is `g`), `p <- p - lr d` with `d = b`, or
//! `d = g + momentum b` in Nesterov's form, or `d = g` without momentum: PyTorch's conventions.

use ebm_core::torch::Params;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Named, Optimizer, copy_state, handles, zeros_for};

/// Settings of [`Sgd`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// In `[0, 1)`; 0 is plain gradient descent.
    pub momentum: f64,
    /// Nesterov's form; needs momentum.
    pub nesterov: bool,
    /// L2 penalty added to the gradient, at least 0.
    pub weight_decay: f64,
}

/// Stochastic gradient descent.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    params: Vec<Tensor>,
    velocity: Named,
    n_steps: u64,
}

impl Sgd {
    /// Zeroed state for these parameters.
    ///
    /// # Errors
    /// A setting outside its limits.
    pub fn new(config: SgdConfig, params: &Params) -> Result<Self> {
        if !(0.0..1.0).contains(&config.momentum) {
            return Err(Error::bad_value("momentum", config.momentum, "in [0, 1)", ""));
        }
        if config.nesterov && config.momentum == 0.0 {
            return Err(Error::bad_value("nesterov", true, "false without momentum", ""));
        }
        if !(config.weight_decay >= 0.0) {
            return Err(Error::bad_value("weight_decay", config.weight_decay, "at least 0", ""));
        }
        let velocity = if config.momentum > 0.0 { zeros_for(params, "velocity")? } else { Vec::new() };
        Ok(Self { config, params: params.tensors(), velocity, n_steps: 0 })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, grads: &[Tensor], lr: f64) -> Result<()> {
        let SgdConfig { momentum, nesterov, weight_decay } = self.config;
        self.n_steps += 1;
        tch::no_grad(|| {
            for (i, (p, g)) in self.params.iter_mut().zip(grads).enumerate() {
                let mut d = g.shallow_clone();
                if weight_decay > 0.0 {
                    d = d.f_add(&p.f_mul_scalar(weight_decay)?)?;
                }
                if let Some((_, b)) = self.velocity.get_mut(i) {
                    let _ = b.f_mul_scalar_(momentum)?.f_add_(&d)?;
                    d = if nesterov { d.f_add(&b.f_mul_scalar(momentum)?)? } else { b.shallow_clone() };
                }
                let _ = p.f_sub_(&d.f_mul_scalar(lr)?)?;
            }
            Ok(())
        })
    }

    fn state(&self) -> Named {
        handles(&self.velocity)
    }

    fn n_steps(&self) -> u64 {
        self.n_steps
    }

    fn restore(&mut self, saved: &Named, n_steps: u64) -> Result<()> {
        copy_state(&self.velocity, saved)?;
        self.n_steps = n_steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::{quadratic_run, scalars};

    #[test]
    fn steps_are_the_formulas() {
        for (momentum, nesterov, weight_decay) in [(0.0, false, 0.0), (0.9, false, 0.1), (0.9, true, 0.01)] {
            let config = SgdConfig { momentum, nesterov, weight_decay };
            let found = quadratic_run(|params| Box::new(Sgd::new(config.clone(), params).unwrap()), 0.05, 20);
            let (mut p, mut b) = (1.0, 0.0);
            for _ in 0..20 {
                let g = p - 3.0 + weight_decay * p;
                b = momentum * b + g;
                p -= 0.05 * if nesterov { g + momentum * b } else { b };
            }
            assert!((scalars(&found)[0] - p).abs() < 1e-12);
        }
        assert!(
            Sgd::new(SgdConfig { nesterov: true, ..Default::default() }, &Params::new(0, tch::Device::Cpu))
                .is_err()
        );
    }
}
