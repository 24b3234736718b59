//! Langevin through a perceptron 2-128-128-1 with SiLU, on tensors by autograd and as a host energy: TorchEBM.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{HostActivation, HostLayer, HostMlp};
use ebm_samplers::Ula;
use serde_json::{Value, json};

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, seconds};
use crate::{blocks, run as run_kernel};

const STEP: f64 = 0.01;

pub fn run(bench: &mut Bench) {
    let mut torchebm = Program::start(bench, "torchebm", "0.8.9", "TORCHEBM", "with_torchebm.py");
    for (n, steps) in [(64, 2000), (1024, 400), (8192, 50)] {
        let steps = if bench.smoke { 1 } else { steps };
        host(bench, &mut torchebm, n, steps);
        #[cfg(feature = "torch")]
        tensors(bench, &mut torchebm, n, steps);
    }
}

/// Ours against TorchEBM: `steps` steps a round each, in microseconds a step.
fn compare(
    bench: &mut Bench,
    torchebm: &mut Option<Program>,
    (case, note): (&str, &str),
    (n, steps): (usize, u64),
    mut round: impl FnMut(u64),
) {
    let per_step = |seconds: f64| vec![seconds / steps as f64 * 1e6];
    let settings =
        json!({"case": "langevin_network", "chains": n, "dim": 2, "steps": steps, "step_size": STEP});
    let theirs = |answer: &Value| per_step(answer["seconds"].as_f64().unwrap_or(f64::NAN));
    let rivals = torchebm.as_mut().map(|program| program.rival(settings, note, theirs));
    bench.compare(
        &[Figure::lower(format!("{case}, MLP 2-128-128-1, {n} chains, f32"), "us/step", "")],
        |seed| per_step(seconds(|| round(seed))),
        rivals.into_iter().collect(),
    );
}

fn host(bench: &mut Bench, torchebm: &mut Option<Program>, n: usize, steps: u64) {
    let mut rng = Stream::new(0, Purpose::Init, 0);
    let mut layer = |inputs: usize, outputs: usize| {
        let mut weight = vec![0f32; inputs * outputs];
        rng.fill_normal(&mut weight);
        weight.iter_mut().for_each(|w| *w /= (inputs as f32).sqrt());
        HostLayer { weight, bias: vec![0.0; outputs] }
    };
    let layers = vec![layer(2, 128), layer(128, 128), layer(128, 1)];
    let energy = HostMlp::new(2, HostActivation::Silu, layers).unwrap();
    let (kernel, start) = (Ula::new(STEP), blocks(n, 2));
    let words = ("ULA on the host", "ours is fused by hand, without autograd");
    compare(bench, torchebm, words, (n, steps), |seed| {
        drop(run_kernel(&kernel, &energy, &start, steps, seed));
    });
}

#[cfg(feature = "torch")]
fn tensors(bench: &mut Bench, torchebm: &mut Option<Program>, n: usize, steps: u64) {
    use ebm_core::Torch;
    use tch::{Device, Kind, Tensor, nn};

    let vs = nn::VarStore::new(Device::Cpu);
    let root = vs.root();
    let net = nn::seq()
        .add(nn::linear(&root / 0, 2, 128, Default::default()))
        .add_fn(Tensor::silu)
        .add(nn::linear(&root / 1, 128, 128, Default::default()))
        .add_fn(Tensor::silu)
        .add(nn::linear(&root / 2, 128, 1, Default::default()));
    let energy = Torch::module(net);
    let kernel = Ula::new(STEP);
    let start = Tensor::randn([n as i64, 2], (Kind::Float, Device::Cpu));
    let words = (
        "ULA on tensors",
        "both by LibTorch 2.13.0, without gradients of the parameters; our process keeps freed memory (one call in `main`)",
    );
    compare(bench, torchebm, words, (n, steps), |seed| {
        let run = ebm_samplers::sample_batch(&kernel, &energy, start.shallow_clone(), steps, seed, &mut ());
        drop(run.unwrap());
    });
}
