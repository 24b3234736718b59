//! Unadjusted Langevin on the double well: TorchEBM, a loop in JAX, and the loop that one writes first in Rust.

use ebm_core::analytic::DoubleWell;
use ebm_samplers::Ula;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde_json::json;

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, Rival, seconds};
use crate::{blocks, run as run_kernel};

const STEP: f32 = 0.01;
const BARRIER: f32 = 2.0;

pub fn run(bench: &mut Bench) {
    let mut torchebm = Program::start(bench, "torchebm", "0.8.9", "TORCHEBM", "with_torchebm.py");
    let mut jax = Program::start(bench, "JAX, fori_loop", "0.10.2", "JAX", "with_jax.py");
    let well = DoubleWell::new(f64::from(BARRIER)).unwrap();
    let kernel = Ula::new(f64::from(STEP));
    // A run of ours is short: it is repeated within a round.
    for (n, dim, steps, repeats) in [(10_000, 2, 1_000, 5), (1_000, 32, 1_000, 5), (64, 2, 2_000, 100)] {
        let (steps, repeats) = if bench.smoke { (3, 1) } else { (steps, repeats) };
        let start = blocks(n, dim);
        let updates = (n * dim) as f64 * steps as f64;
        let settings = json!({
            "case": "langevin_double_well", "chains": n, "dim": dim, "steps": steps,
            "step_size": STEP, "barrier": BARRIER,
        });
        let rate =
            |answer: &serde_json::Value| vec![updates / answer["seconds"].as_f64().unwrap_or(f64::NAN)];
        let mut rivals = Vec::new();
        let gradient = "its gradient is by autograd, ours is written out";
        rivals.extend(torchebm.as_mut().map(|program| program.rival(settings.clone(), gradient, rate)));
        rivals.extend(jax.as_mut().map(|program| program.rival(settings.clone(), "", rate)));
        if bench.rivals {
            let name = "naive Rust";
            let loops = move |seed| {
                let seconds = seconds(|| (0..repeats).for_each(|_| drop(naive(n, dim, steps, seed))));
                vec![updates * repeats as f64 / seconds]
            };
            let note = "rayon over chains, rand_distr's ziggurat, xoshiro256++";
            rivals.push(Rival::in_process(name, "this commit", loops).note(note));
        }
        bench.compare(
            &[Figure::higher(format!("ULA double well, {n} x {dim}, f32"), "coordinate updates/s", "")],
            |seed| {
                let seconds = seconds(|| {
                    (0..repeats).for_each(|_| drop(run_kernel(&kernel, &well, &start, steps, seed)));
                });
                vec![updates * repeats as f64 / seconds]
            },
            rivals,
        );
    }
}

/// One chain after the other in each thread, as one writes it first.
fn naive(n: usize, dim: usize, n_steps: u64, seed: u64) -> Vec<f32> {
    let sigma = (2.0 * STEP).sqrt();
    let mut all = vec![0f32; n * dim];
    all.par_chunks_mut(dim).enumerate().for_each(|(chain, x)| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(n as u64) + chain as u64);
        let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
        x.iter_mut().for_each(|x| *x = normal());
        for _ in 0..n_steps {
            for x in x.iter_mut() {
                let gradient = 4.0 * BARRIER * *x * (*x * *x - 1.0);
                *x += -STEP * gradient + sigma * normal();
            }
        }
    });
    all
}
