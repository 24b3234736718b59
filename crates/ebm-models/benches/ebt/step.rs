//! One training step as the trainer takes it: loss, gradients, clipping, AdamW.

use ebm_core::torch::Params;
use ebm_models::ebt::{EbtObjective, EbtText, EbtTextConfig, Gradients, Variant};
use ebm_models::nn::TransformerConfig;
use ebm_samplers::descent::Descent;
use ebm_train::optim::{AdamWConfig, Optimizer, OptimizerConfig, ParamGroup, clip_by_norm, global_norm};
use ebm_train::{Batch, Objective};
use tch::{Device, Tensor};

/// Sizes of a case.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub n_layers: usize,
    pub width: usize,
    pub n_heads: usize,
    pub hidden: usize,
    pub vocabulary: usize,
    pub context: usize,
    pub batch: usize,
    pub variant: Variant,
}

impl Sizes {
    pub fn config(&self) -> EbtTextConfig {
        let Self { n_layers, width, n_heads, hidden, vocabulary, context, variant, .. } = *self;
        let transformer =
            TransformerConfig { hidden, ..TransformerConfig::new(n_layers, width, n_heads, context) };
        EbtTextConfig { vocabulary, variant, step_size: 100.0, transformer }
    }

    pub fn tokens_per_step(&self) -> f64 {
        (self.batch * self.context) as f64
    }
}

/// A network in training on one batch.
pub struct Training {
    pub net: EbtText,
    params: Params,
    objective: EbtObjective,
    optimizer: Box<dyn Optimizer>,
    batch: Batch,
    n_steps: u64,
}

impl Training {
    pub fn new(sizes: &Sizes, descent: Descent, gradients: Gradients) -> Self {
        let mut params = Params::new(0, Device::Cpu);
        let net = EbtText::new(&sizes.config(), &mut params).unwrap();
        let objective = EbtObjective::new(descent, true, 0).unwrap().with_gradients(gradients).unwrap();
        let groups = vec![ParamGroup { names: vec!["alpha".into()], lr_factor: 1.0, weight_decay: 0.0 }];
        let config = AdamWConfig { weight_decay: 0.01, groups, ..AdamWConfig::default() };
        let optimizer = OptimizerConfig::AdamW(config).build(&params).unwrap();
        let n = (sizes.batch * (sizes.context + 1)) as u64;
        let tokens: Vec<i64> = (0..n)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64 % sizes.vocabulary as i64)
            .collect();
        let x = Tensor::from_slice(&tokens).view([sizes.batch as i64, sizes.context as i64 + 1]);
        Self { net, params, objective, optimizer, batch: Batch { x, labels: None }, n_steps: 0 }
    }

    pub fn parameters(&self) -> Vec<Tensor> {
        self.params.tensors()
    }

    pub fn step(&mut self) {
        let mut loss = self.objective.loss(&self.net, &self.batch, self.n_steps).unwrap();
        let mut grads = match loss.gradients.take() {
            Some(grads) => grads,
            None => {
                let params = self.params.tensors();
                let grads = Tensor::run_backward(&[&loss.loss], &params, false, false);
                grads
                    .into_iter()
                    .zip(&params)
                    .map(|(g, p)| if g.defined() { g } else { p.zeros_like() })
                    .collect()
            }
        };
        let norm = global_norm(&grads).unwrap();
        clip_by_norm(&mut grads, &norm, 1.0).unwrap();
        self.optimizer.step(&grads, 1e-3).unwrap();
        self.n_steps += 1;
    }
}
