//! Single-spin heat bath of the Ising model near its critical point: thrml, and a chessboard written in JAX.

use ebm_core::exact::{Boundary, IsingLattice};
use ebm_core::random::{Purpose, Stream};
use ebm_samplers::PackedIsing;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, seconds};

/// `ln(1 + sqrt 2) / 2`.
const CRITICAL: f64 = 0.440_686_793_509_772;

pub fn run(bench: &mut Bench) {
    let mut thrml = Program::start(bench, "thrml", "0.1.4", "JAX", "with_thrml.py");
    let mut jax = Program::start(bench, "JAX, fori_loop", "0.10.2", "JAX", "with_jax.py");
    let updates = |side: usize, chains: usize, sweeps: u64| (side * side * chains) as f64 * sweeps as f64;
    let settings = |side: usize, chains: usize, sweeps: u64| json!({"case": "ising_checkerboard", "side": side, "chains": chains, "sweeps": sweeps, "beta": CRITICAL});
    // Ours does many more sweeps than the rivals in one round, for a time that can be measured.
    let (few, many) = if bench.smoke { (2, 2) } else { (200, 20_000) };
    let rate = |n: f64| move |answer: &Value| vec![n / answer["seconds"].as_f64().unwrap_or(f64::NAN)];

    let (side, chains) = (64, 16);
    let note = "16 chains at once is its fastest";
    let rival = thrml
        .as_mut()
        .map(|program| program.rival(settings(side, chains, few), note, rate(updates(side, chains, few))));
    bench.compare(
        &[Figure::higher("Ising 64 x 64 torus, 16 chains", "spin updates/s", "")],
        |seed| vec![updates(side, chains, many) / seconds(|| heat_bath(side, chains, many, seed))],
        rival.into_iter().collect(),
    );

    let (side, chains) = (512, 1);
    let many = many.div_ceil(10);
    let note = "ours on one thread, XLA may use all";
    let rival = jax
        .as_mut()
        .map(|program| program.rival(settings(side, chains, few), note, rate(updates(side, chains, few))));
    bench.compare(
        &[Figure::higher("Ising 512 x 512 torus, one chain", "spin updates/s", "")],
        |seed| vec![updates(side, chains, many) / seconds(|| heat_bath(side, chains, many, seed))],
        rival.into_iter().collect(),
    );
}

/// Chains side by side, each from all spins down.
fn heat_bath(side: usize, chains: usize, sweeps: u64, seed: u64) -> Vec<PackedIsing> {
    let lattice = IsingLattice::new(side, side, Boundary::Torus, CRITICAL, 0.0).unwrap();
    let one = |chain: u64| {
        let mut spins = PackedIsing::new(&lattice).unwrap();
        let mut rng = Stream::new(seed, Purpose::Chain, chain);
        (0..sweeps).for_each(|_| spins.sweep(&mut rng));
        spins
    };
    (0..chains as u64).into_par_iter().map(one).collect()
}
