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
    /// Parameters that are treated in another way.
    pub groups: Vec<ParamGroup>,
}

/// Parameters with a learning rate or a weight decay of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamGroup {
    /// The parameters' names, in full.
    pub names: Vec<String>,
    /// Their learning rate is this times everybody's, at least 0.
    pub lr_factor: f64,
    /// Their weight decay, at least 0.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, groups: Vec::new() }
    }
}

/// Adam with decoupled weight decay.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    params: Vec<Tensor>,
    /// Learning-rate factor and weight decay of each parameter.
    rates: Vec<(f64, f64)>,
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
        let rates = rates(&config, params)?;
        let (mean, square) = (zeros_for(params, "mean")?, zeros_for(params, "square")?);
        Ok(Self { config, params: params.tensors(), rates, mean, square, n_steps: 0 })
    }
}

fn rates(config: &AdamWConfig, params: &Params) -> Result<Vec<(f64, f64)>> {
    let mut rates = vec![(1.0, config.weight_decay); params.named().len()];
    for group in &config.groups {
        let (factor, decay) = (group.lr_factor, group.weight_decay);
        if !(factor >= 0.0 && factor.is_finite() && decay >= 0.0 && decay.is_finite()) {
            let found = format!("{factor} and {decay}");
            return Err(Error::bad_value("groups: lr_factor and weight_decay", found, "at least 0", ""));
        }
        for name in &group.names {
            let Some(at) = params.named().iter().position(|(n, _)| n == name) else {
                let limit = "the name of one of the model's parameters";
                return Err(Error::bad_value("groups: names", format!("'{name}'"), limit, ""));
            };
            rates[at] = (factor, decay);
        }
    }
    Ok(rates)
}

impl Optimizer for AdamW {
    fn step(&mut self, grads: &[Tensor], lr: f64) -> Result<()> {
        let AdamWConfig { beta1, beta2, eps, .. } = self.config;
        self.n_steps += 1;
        let correction = |beta: f64| 1.0 - beta.powf(self.n_steps as f64);
        let root = correction(beta2).sqrt();
        tch::no_grad(|| {
            let states = self.mean.iter_mut().zip(&mut self.square).zip(&self.rates);
            for ((p, g), (((_, m), (_, v)), (lr_factor, weight_decay))) in
                self.params.iter_mut().zip(grads).zip(states)
            {
                let (lr, weight_decay) = (lr * lr_factor, *weight_decay);
                let step = lr / correction(beta1);
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

    /// A group's parameters step as they would alone, with their own rate and decay.
    #[test]
    fn a_group_has_its_own_rate_and_decay() {
        let run = |config: AdamWConfig, lr: f64| {
            let mut params = Params::new(0, tch::Device::Cpu).with_kind(tch::Kind::Double);
            for name in ["a", "alpha"] {
                let _ = params.root().parameter(name, &[1], ebm_core::torch::Init::Constant(1.0)).unwrap();
            }
            let mut optimizer = AdamW::new(config, &params).unwrap();
            for _ in 0..5 {
                let grads: Vec<Tensor> = params.tensors().iter().map(|p| p.detach() - 3.0).collect();
                optimizer.step(&grads, lr).unwrap();
            }
            params.tensors().iter().map(|p| scalars(p)[0]).collect::<Vec<_>>()
        };
        let plain = |weight_decay| AdamWConfig { weight_decay, ..AdamWConfig::default() };
        let group =
            |name: &str, lr_factor| ParamGroup { names: vec![name.into()], lr_factor, weight_decay: 0.0 };
        let grouped = AdamWConfig { groups: vec![group("alpha", 7.0)], ..plain(0.1) };
        let found = run(grouped, 0.01);
        assert_eq!(found, [run(plain(0.1), 0.01)[0], run(plain(0.0), 0.07)[1]]);
        let params = Params::new(0, tch::Device::Cpu);
        for wrong in [group("beta", 1.0), group("alpha", f64::NAN)] {
            assert!(AdamW::new(AdamWConfig { groups: vec![wrong], ..plain(0.0) }, &params).is_err());
        }
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
