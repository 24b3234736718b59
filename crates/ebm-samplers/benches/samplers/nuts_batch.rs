//! NUTS on 1,024 chains in lock step, on tensors in f32: blackjax under `vmap`.
//!
//! Timed after warm-up and compiling; the least bulk ESS over the coordinates, per second of the whole batch.

use ebm_core::GradEnergy;
use ebm_core::random::{Purpose, Stream};
use ebm_samplers::{Nuts, SampleConfig, Sampler};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, seconds};
use crate::hmc::correlated;
use crate::nuts::{DrawsFile, FEATURES, TARGET_ACCEPT, least_ess, logistic_regression};

pub fn run(bench: &mut Bench) {
    let mut blackjax = Program::start(bench, "blackjax, vmap", "1.7.1", "JAX", "with_blackjax.py");
    let files = DrawsFile::new("batch");
    let logistic = logistic_regression(&files.data);
    let target = json!({"target": "correlated_normal", "correlation": 0.9});
    compare(
        bench,
        &mut blackjax,
        &files,
        "100-d normal, correlations 0.9^|i-j|",
        target,
        100,
        &correlated(100),
    );
    let target = json!({"target": "logistic", "data_file": files.data, "prior_scale": 1.0});
    let name = "logistic regression, 1,000 x 24";
    compare(bench, &mut blackjax, &files, name, target, FEATURES, &logistic);
}

fn compare(
    bench: &mut Bench,
    blackjax: &mut Option<Program>,
    files: &DrawsFile,
    name: &str,
    mut settings: Value,
    dim: usize,
    energy: &dyn GradEnergy<Tensor>,
) {
    let (chains, warm_up, draws) = if bench.smoke { (8, 50, 20) } else { (1024, 200, 100) };
    let more = json!({
        "case": "nuts_vmap", "precision": "f32", "dim": dim, "target_accept": TARGET_ACCEPT, "chains": chains,
        "warm_up": warm_up, "draws": draws, "draws_file": files.draws,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let theirs = |answer: &Value| {
        let seconds = answer["seconds"].as_f64().unwrap_or(f64::NAN);
        vec![least_ess(files.read((chains, draws, dim)).view()) / seconds]
    };
    let note = "its step size and metric are means over 8 chains that warmed up; ours warms all up; gradients by autograd";
    let rivals = blackjax.as_mut().map(|program| program.rival(settings, note, theirs));
    let config = SampleConfig {
        n_draws: draws,
        burn_in: warm_up,
        target_accept: Some(TARGET_ACCEPT),
        diagnostics: false,
        ..SampleConfig::adaptive()
    };
    // One run of blackjax takes minutes.
    bench.compare_long(
        3,
        &[Figure::higher(format!("tensor NUTS, {name}, {chains} chains, f32"), "ESS/s", "after warm-up")],
        |seed| {
            let mut rng = Stream::new(seed, Purpose::Start, 0);
            let start: Vec<f32> = (0..chains * dim).map(|_| (4.0 * rng.uniform() - 2.0) as f32).collect();
            let start = Tensor::from_slice(&start).view([chains as i64, dim as i64]).to_kind(Kind::Float);
            let (kernel, config) = (Nuts::new(0.1), SampleConfig { seed, ..config.clone() });
            let mut sampler = Sampler::new(&kernel, energy, start, &config).unwrap();
            sampler.run_to(warm_up as u64);
            let seconds = seconds(|| sampler.run());
            vec![least_ess(sampler.finish().unwrap().draws.array()) / seconds]
        },
        rivals.into_iter().collect(),
    );
}
