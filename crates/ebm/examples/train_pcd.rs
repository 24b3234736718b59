//! A `tch` network trained as an energy by persistent contrastive divergence, then sampled.

#![allow(clippy::print_stdout)]

use std::sync::{Arc, atomic::AtomicBool};

use ebm::datasets::{
    BatchConfig,
    toys::{EightGaussians, Toy},
};
use ebm::prelude::*;
use ebm::train::optim::{AdamWConfig, OptimizerConfig};
use ebm::train::{DatasetSource, objectives::PersistentContrastiveDivergence};
use tch::{Device, Tensor, nn};

struct Progress;

impl TrainObserver for Progress {
    fn log(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let text: Vec<_> = values.iter().map(|(name, v)| format!("{name} {v:.3}")).collect();
        println!("step {step}: {}", text.join(", "));
        Ok(())
    }
}

fn main() -> Result<()> {
    let data = EightGaussians::default().dataset(
        "eight Gaussians",
        4096,
        &mut Stream::new(0, Purpose::Synthetic, 0),
    )?;

    // Your network: any tch module `[n, 2] -> [n, 1]`, with parameters that start from the seed.
    let mut params = Params::new(0, Device::Cpu);
    let widths = [2, 64, 64, 1];
    let mut layers = Vec::new();
    for (i, pair) in widths.windows(2).enumerate() {
        layers.push(ebm::models::nn::LinearSpec::new(pair[0], pair[1]).build(params.root().sub(i))?);
    }
    let net = nn::func(move |x| {
        let h = layers[0].forward(x).and_then(|h| layers[1].forward(&h.silu()));
        h.and_then(|h| layers[2].forward(&h.silu())).unwrap_or_else(|e| panic!("{e}"))
    });
    let energy = Torch::module(net).with_parameters(params.tensors());

    let kernel = Ula::new(0.01).clip(ebm::samplers::Clip::Norm(10.0)).clamp(-5.0, 5.0);
    let buffer = ReplayConfig { capacity: 2048, reinit: 0.05, low: -4.0, high: 4.0 };
    let buffer = ReplayBuffer::new(buffer, &[2], 0, Device::Cpu)?;
    let mut objective = PersistentContrastiveDivergence::new(kernel.clone(), 20, 0.01, buffer, 0)?;
    let config = TrainerConfig {
        n_steps: 300,
        learning_rate: Schedule::cosine(2e-3, 1e-4, 300),
        optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
        clip_norm: Some(1.0),
        accumulate: 1,
        ema_decay: None,
        log_every: 100,
        checkpoint_every: 100,
        limits: Limits::default(),
    };
    let batches = BatchConfig { batch_size: 128, ..Default::default() };
    let mut source = DatasetSource::new(Arc::new(data), batches, Device::Cpu);
    let mut trainer = Trainer::new(config, "example", 0, &energy, &params, &mut objective)?;
    let outcome = trainer.run(&mut source, &mut Progress, &AtomicBool::new(false))?;

    let starts = Tensor::zeros([500, 2], (tch::Kind::Float, Device::Cpu));
    let run =
        sample(&kernel, &energy, starts, &SampleConfig { n_draws: 1, burn_in: 500, ..Default::default() })?;
    let radius = run.draws.array().rows().into_iter().map(|x| x[0].hypot(x[1])).sum::<f64>() / 500.0;
    println!(
        "{outcome:?}; mean radius of samples {radius:.2} (data: {:.2})",
        EightGaussians::default().radius
    );
    Ok(())
}
