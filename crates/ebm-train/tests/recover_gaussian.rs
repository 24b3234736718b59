//! Each objective recovers the parameters of a Gaussian, whose optimum is known in closed form.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::AtomicBool;

use common::{GaussianData, GaussianModel};
use ebm_core::Schedule;
use ebm_core::torch::Params;
use ebm_samplers::{Mala, ReplayBuffer, ReplayConfig};
use ebm_train::objectives::{
    ContrastiveDivergence, DenoisingScoreMatching, Objective, PersistentContrastiveDivergence,
};
use ebm_train::optim::{AdamWConfig, OptimizerConfig};
use ebm_train::{Limits, Outcome, Trainer, TrainerConfig};
use tch::Device;

const MEAN: [f32; 2] = [1.0, -0.5];
const VARIANCE: [f32; 2] = [0.5, 1.5];

/// Train and return the averaged mean and variance.
fn train(mut objective: impl Objective<GaussianModel>) -> (Vec<f64>, Vec<f64>) {
    let mut params = Params::new(0, Device::Cpu);
    let model = GaussianModel::new(&mut params, 2);
    let config = TrainerConfig {
        n_steps: 1500,
        learning_rate: Schedule::cosine(0.03, 0.0, 1500),
        optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
        clip_norm: None,
        accumulate: 1,
        ema_decay: None,
        log_every: 100,
        checkpoint_every: 500,
        limits: Limits::default(),
    };
    let mut data = GaussianData { mean: MEAN, variance: VARIANCE, n: 256 };
    let mut trainer = Trainer::new(config, "", 0, &model, &params, &mut objective).unwrap();
    assert_eq!(trainer.run(&mut data, &mut (), &AtomicBool::new(false)).unwrap(), Outcome::Complete);
    model.found()
}

/// The last few hundred steps average about 300 x 256 draws: the mean's standard error is sqrt(v / 76,800) = 0.004,
/// the variance's v sqrt(2 / 76,800) = 0.008; for contrastive objectives the negatives add as much again, and
/// their correlation a factor. Six of the larger: 0.05 relative.
fn assert_found((mean, variance): (Vec<f64>, Vec<f64>), extra_variance: f64) {
    for i in 0..2 {
        let expected = f64::from(VARIANCE[i]) + extra_variance;
        assert!((mean[i] - f64::from(MEAN[i])).abs() < 0.05, "mean {mean:?}");
        assert!((variance[i] / expected - 1.0).abs() < 0.06, "variance {variance:?}, expected {expected}");
    }
}

/// With an exact kernel the only fixed point of CD-k is the data's own law.
#[test]
fn contrastive_divergence() {
    assert_found(train(ContrastiveDivergence::new(Mala::new(0.8), 5, 0.0, 0).unwrap()), 0.0);
}

#[test]
fn persistent_contrastive_divergence() {
    let config = ReplayConfig { capacity: 1024, reinit: 0.0, low: -2.0, high: 2.0 };
    let buffer = ReplayBuffer::new(config, &[2], 0, Device::Cpu).unwrap();
    assert_found(
        train(PersistentContrastiveDivergence::new(Mala::new(0.8), 5, 0.0, buffer, 0).unwrap()),
        0.0,
    );
}

/// The optimum is the data convolved with the noise: variance v + sigma^2.
#[test]
fn denoising_score_matching() {
    assert_found(train(DenoisingScoreMatching::new(0.7, 0).unwrap()), 0.49);
}

#[test]
fn impossible_settings_are_errors() {
    assert!(ContrastiveDivergence::new((), 0, 0.0, 0).is_err());
    assert!(ContrastiveDivergence::new((), 1, -1.0, 0).is_err());
    assert!(DenoisingScoreMatching::new(0.0, 0).is_err());
}
