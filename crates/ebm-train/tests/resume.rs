//! A run that was stopped and resumed ends at the same bits; a diverging one rolls back and says so.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{GaussianData, GaussianModel};
use ebm_core::torch::Params;
use ebm_core::{Result, Schedule};
use ebm_samplers::{ReplayBuffer, ReplayConfig, Ula};
use ebm_train::objectives::{Objective, PersistentContrastiveDivergence};
use ebm_train::optim::{AdamWConfig, Named, OptimizerConfig};
use ebm_train::{Batch, Checkpoints, Limits, Loss, Outcome, TrainObserver, Trainer, TrainerConfig, tensors};
use tch::Device;

fn config(n_steps: u64) -> TrainerConfig {
    TrainerConfig {
        n_steps,
        learning_rate: Schedule::warm_up(10, 0.02),
        optimizer: OptimizerConfig::AdamW(AdamWConfig { weight_decay: 0.01, ..Default::default() }),
        clip_norm: Some(1.0),
        accumulate: 1,
        ema_decay: Some(0.9),
        log_every: 5,
        checkpoint_every: 10,
        limits: Limits { check_every: 5, ..Limits::default() },
    }
}

fn pcd() -> PersistentContrastiveDivergence<Ula> {
    let config = ReplayConfig { capacity: 200, reinit: 0.05, low: -2.0, high: 2.0 };
    let buffer = ReplayBuffer::new(config, &[2], 0, Device::Cpu).unwrap();
    PersistentContrastiveDivergence::new(Ula::new(0.1), 4, 0.01, buffer, 0).unwrap()
}

/// Raises the flag when a given step is logged.
struct StopAt<'a>(u64, &'a AtomicBool);

impl TrainObserver for StopAt<'_> {
    fn log(&mut self, step: u64, _values: &[(&str, f64)]) -> Result<()> {
        if step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Run until done or stopped; the bytes of the weights, and how it ended.
fn run(folder: &Path, stop_at: u64, seed: u64) -> Result<(Vec<u8>, Outcome, u64)> {
    let mut params = Params::new(seed, Device::Cpu);
    let model = GaussianModel::new(&mut params, 2);
    let mut objective = pcd();
    let mut data = GaussianData { mean: [1.0, -0.5], variance: [0.5, 1.5], n: 32 };
    let mut trainer = Trainer::new(config(60), "test", seed, &model, &params, &mut objective)?
        .with_checkpoints(Checkpoints::new(folder.join("checkpoints"), 3)?);
    let resumed_at = trainer.resume(false)?;
    let stop = AtomicBool::new(false);
    let outcome = trainer.run(&mut data, &mut StopAt(stop_at, &stop), &stop)?;
    Ok((tensors::to_bytes(&trainer.weights())?, outcome, resumed_at))
}

#[test]
fn stopped_and_killed_runs_resume_to_the_same_bits() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (whole, outcome, _) = run(folders[0].path(), u64::MAX, 1).unwrap();
    assert_eq!(outcome, Outcome::Complete);

    let there = folders[1].path();
    assert_eq!(run(there, 25, 1).unwrap().1, Outcome::Interrupted);
    // As after a kill: the newest checkpoint is cut in the middle, so the one before it is taken.
    let newest = there.join("checkpoints/step-25.safetensors");
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let (_, outcome, resumed_at) = run(there, 40, 1).unwrap();
    assert_eq!((outcome, resumed_at), (Outcome::Interrupted, 20));
    let (resumed, outcome, resumed_at) = run(there, u64::MAX, 1).unwrap();
    assert_eq!((outcome, resumed_at), (Outcome::Complete, 40));
    assert!(resumed == whole);

    assert!(run(there, u64::MAX, 2).unwrap_err().to_string().contains("seed"));
}

/// A loss that explodes at step 23, as often as `times` says.
struct Explodes {
    inner: PersistentContrastiveDivergence<Ula>,
    times: u32,
}

impl Objective<GaussianModel> for Explodes {
    fn loss(&mut self, model: &GaussianModel, batch: &Batch, step: u64) -> Result<Loss> {
        let mut loss = self.inner.loss(model, batch, step)?;
        if step == 23 && self.times > 0 {
            self.times -= 1;
            loss.loss = &loss.loss * f64::NAN;
        }
        Ok(loss)
    }

    // The chains have seen the exploded parameters: they must go back too.
    fn state(&self) -> Result<(Named, serde_json::Value)> {
        self.inner.buffer_state()
    }

    fn restore(&mut self, tensors: &Named, state: &serde_json::Value) -> Result<()> {
        self.inner.restore_buffer(tensors, state)
    }
}

#[test]
fn a_diverging_run_rolls_back_and_gives_up_in_the_end() {
    for (times, n_events, expected) in [(2, 2, Outcome::Complete), (9, 6, Outcome::Diverged)] {
        let mut params = Params::new(0, Device::Cpu);
        let model = GaussianModel::new(&mut params, 2);
        let mut objective = Explodes { inner: pcd(), times };
        let mut data = GaussianData { mean: [1.0, -0.5], variance: [0.5, 1.5], n: 32 };
        let mut trainer = Trainer::new(config(40), "", 0, &model, &params, &mut objective).unwrap();
        let outcome = trainer.run(&mut data, &mut (), &AtomicBool::new(false)).unwrap();
        assert_eq!(outcome, expected);
        let events = trainer.events();
        assert_eq!(events.len(), n_events);
        assert!(
            events[1].step == 25 && events[1].detail.contains("back to step 20, learning rate times 0.25")
        );
        assert!(model.found().0.iter().all(|m| m.is_finite()) || expected == Outcome::Diverged);
    }
}

#[test]
fn impossible_settings_are_errors() {
    let mut params = Params::new(0, Device::Cpu);
    let model = GaussianModel::new(&mut params, 2);
    let broken: [fn(&mut TrainerConfig); 4] = [
        |c| c.n_steps = 0,
        |c| c.clip_norm = Some(-1.0),
        |c| c.learning_rate = Schedule::Constant(f64::NAN),
        |c| c.limits.patience = 0,
    ];
    for change in broken {
        let mut config = config(10);
        change(&mut config);
        assert!(Trainer::new(config, "", 0, &model, &params, &mut pcd()).is_err());
    }
}
