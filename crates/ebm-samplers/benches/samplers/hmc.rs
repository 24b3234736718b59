//! HMC with 10 leapfrogs on a correlated Gaussian in 32 dimensions, 1,000 chains: TorchEBM.

use ebm_core::analytic::Gaussian;
use ebm_samplers::Hmc;
use serde_json::json;

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, seconds};
use crate::{blocks, run as run_kernel};

const CORRELATION: f64 = 0.9;
const STEP: f64 = 0.1;
const LEAPFROGS: u32 = 10;

/// Covariance `0.9^|i - j|`.
pub fn correlated(dim: usize) -> Gaussian {
    let entry = |k: usize| CORRELATION.powi((k / dim).abs_diff(k % dim) as i32);
    Gaussian::new(vec![0.0; dim], (0..dim * dim).map(entry).collect()).unwrap()
}

pub fn run(bench: &mut Bench) {
    let mut torchebm = Program::start(bench, "torchebm", "0.8.9", "TORCHEBM", "with_torchebm.py");
    let (n, dim) = (1_000, 32);
    let (steps, repeats) = if bench.smoke { (2, 1) } else { (20, 10) };
    let target = correlated(dim);
    let kernel = Hmc::new(STEP, LEAPFROGS).jitter(0.0);
    let start = blocks(n, dim);
    let leapfrogs = n as f64 * steps as f64 * f64::from(LEAPFROGS);
    let settings = json!({
        "case": "hmc_gaussian", "chains": n, "dim": dim, "steps": steps,
        "step_size": STEP, "leapfrogs": LEAPFROGS, "correlation": CORRELATION,
    });
    let note = "its energy multiplies one matrix per chain, and its gradient is by autograd";
    let rate = |answer: &serde_json::Value| vec![leapfrogs / answer["seconds"].as_f64().unwrap_or(f64::NAN)];
    let rivals = torchebm.as_mut().map(|program| program.rival(settings, note, rate));
    bench.compare(
        &[Figure::higher(format!("HMC x {LEAPFROGS}, {dim}-d Gaussian, {n} chains, f32"), "leapfrogs/s", "")],
        |seed| {
            let seconds = seconds(|| {
                (0..repeats).for_each(|_| drop(run_kernel(&kernel, &target, &start, steps, seed)));
            });
            vec![leapfrogs * f64::from(repeats) / seconds]
        },
        rivals.into_iter().collect(),
    );
}
