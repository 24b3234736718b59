//! Langevin through a perceptron 2-128-128-1 by autograd, on tensors: TorchEBM.

use ebm_core::Torch;
use ebm_samplers::{Ula, sample_batch};
use serde_json::json;
use tch::{Device, Kind, Tensor, nn};

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, seconds};

const STEP: f64 = 0.01;

fn perceptron(vs: &nn::VarStore) -> nn::Sequential {
    let root = vs.root();
    nn::seq()
        .add(nn::linear(&root / 0, 2, 128, Default::default()))
        .add_fn(Tensor::silu)
        .add(nn::linear(&root / 1, 128, 128, Default::default()))
        .add_fn(Tensor::silu)
        .add(nn::linear(&root / 2, 128, 1, Default::default()))
}

pub fn run(bench: &mut Bench) {
    let mut torchebm = Program::start(bench, "torchebm", "0.8.9", "TORCHEBM", "with_torchebm.py");
    for (n, steps) in [(64, 400), (1024, 100), (8192, 15)] {
        let steps = if bench.smoke { 1 } else { steps };
        let vs = nn::VarStore::new(Device::Cpu);
        let energy = Torch::module(perceptron(&vs));
        let kernel = Ula::new(STEP);
        let start = Tensor::randn([n, 2], (Kind::Float, Device::Cpu));
        let settings = json!({
            "case": "langevin_network", "chains": n, "dim": 2, "steps": steps, "step_size": STEP,
        });
        let per_step = |answer: &serde_json::Value| {
            vec![answer["seconds"].as_f64().unwrap_or(f64::NAN) / steps as f64 * 1e6]
        };
        let note = "both by LibTorch 2.13.0, without gradients of the parameters";
        let rivals = torchebm.as_mut().map(|program| program.rival(settings, note, per_step));
        bench.compare(
            &[Figure::lower(format!("tensor ULA, MLP 2-128-128-1, {n} chains, f32"), "us/step", "")],
            |seed| {
                let work = || sample_batch(&kernel, &energy, start.shallow_clone(), steps, seed, &mut ());
                vec![seconds(|| work().unwrap()) / steps as f64 * 1e6]
            },
            rivals.into_iter().collect(),
        );
    }
}
