//! Adam with decoupled weight decay.
//!
//! `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`,
//! `p <- p - lr wd p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.
//! Sources: Kingma and Ba 2015 (arXiv 1412.6980); Loshchilov and Hutter 2019 (arXiv 1711.05101).

use ebm_core::torch::Params;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Named, Optimizer, copy_state, handles, zeros_for};

/// Settings of [`AdamW`]; without weight decay it is Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the mean gradient, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean square, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root mean square, above 0.
    pub eps: f64,
    /// Decoupled weight decay, at least 0.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam with decoupled weight decay.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    params: Vec<Tensor>,
    mean: Named,
    square: Named,
    n_steps: u64,
}

impl AdamW {
    /// Zeroed state for these parameters.
    ///
    /// # Errors
    /// A setting outside its limits.
    pub fn new(config: AdamWConfig, params: &Params) -> Result<Self> {
        for (name, beta) in [("beta1", config.beta1), ("beta2", config.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::bad_value(name, beta, "in [0, 1)", ""));
            }
        }
        if !(config.eps > 0.0 && config.weight_decay >= 0.0) {
            let found = format!("{} and {}", config.eps, config.weight_decay);
            return Err(Error::bad_value("eps and weight_decay", found, "above 0, and at least 0", ""));
        }
        let (mean, square) = (zeros_for(params, "mean")?, zeros_for(params, "square")?);
        Ok(Self { config, params: params.tensors(), mean, square, n_steps: 0 })
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, grads: &[Tensor], lr: f64) -> Result<()> {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        self.n_steps += 1;
        let correction = |beta: f64| 1.0 - beta.powf(self.n_steps as f64);
        let (step, root) = (lr / correction(beta1), correction(beta2).sqrt());
        tch::no_grad(|| {
            let states = self.mean.iter_mut().zip(&mut self.square);
            for ((p, g), ((_, m), (_, v))) in self.params.iter_mut().zip(grads).zip(states) {
                if weight_decay > 0.0 {
                    let _ = p.f_mul_scalar_(1.0 - lr * weight_decay)?;
                }
                let _ = m.f_lerp_(g, 1.0 - beta1)?;
                let _ = v.f_mul_scalar_(beta2)?.f_addcmul_(g, &g.f_mul_scalar(1.0 - beta2)?)?;
                let denominator = v.f_sqrt()?.f_div_scalar(root)?.f_add_scalar(eps)?;
                let _ = p.f_addcdiv_(&m.f_mul_scalar(-step)?, &denominator)?;
            }
            Ok(())
        })
    }

    fn state(&self) -> Named {
        let mut all = handles(&self.mean);
        all.extend(handles(&self.square));
        all
    }

    fn n_steps(&self) -> u64 {
        self.n_steps
    }

    fn restore(&mut self, saved: &Named, n_steps: u64) -> Result<()> {
        copy_state(&self.state(), saved)?;
        self.n_steps = n_steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::{quadratic_run, scalars};

    /// The formulas in plain f64 arithmetic, beside the tensors, on `L = (p - 3)^2 / 2`.
    #[test]
    fn steps_are_the_formulas() {
        let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
        let (lr, n) = (0.05, 20);
        let found = quadratic_run(|params| Box::new(AdamW::new(config.clone(), params).unwrap()), lr, n);
        let (mut p, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
        for t in 1..=n {
            let g = p - 3.0;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            p *= 1.0 - lr * 0.1;
            let (mh, vh) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
            p -= lr * mh / (vh.sqrt() + 1e-8);
        }
        assert!((scalars(&found)[0] - p).abs() < 1e-12, "{} {p}", scalars(&found)[0]);
    }

    #[test]
    fn impossible_settings_are_errors() {
        let params = Params::new(0, tch::Device::Cpu);
        for config in [
            AdamWConfig { beta1: 1.0, ..AdamWConfig::default() },
            AdamWConfig { eps: 0.0, ..AdamWConfig::default() },
            AdamWConfig { weight_decay: f64::NAN, ..AdamWConfig::default() },
        ] {
            assert!(AdamW::new(config, &params).is_err());
        }
    }
}
