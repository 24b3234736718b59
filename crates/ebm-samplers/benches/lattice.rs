//! `cargo xtask bench lattice`: discrete kernels on spin lattices and an RBM.
//!
//! Two tables. How many spins a second a heat bath draws, on one lattice and one thread and on many lattices; and the
//! gradient-guided kernels beside Gibbs by the protocol of DISCS (Goshvadi et al. 2023, NeurIPS): chains from random
//! starts, the effective sample size of the energy, per call of the model and per second, at equal calls. A call is an
//! energy with or without its gradient, or one conditional of a bit.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

// Each bench program uses a part of it.
#[allow(dead_code)]
mod harness;

use ebm_core::exact::{Boundary, IsingLattice};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Colouring, DiscreteEnergy, PottsLattice, Rbm, RelaxedEnergy};
use ebm_metrics::chains::ess_mean;
use ebm_samplers::{
    BlockGibbs, Checkerboard, DiscreteKernel, Dmala, Gibbs, GibbsWithGradients, PackedIsing, PackedRbm,
    RbmGibbs, SampleConfig, Scan, SwendsenWang, Wolff, sample_discrete,
};
use harness::{Bench, Figure, seconds};
use ndarray::Array2;
use rayon::prelude::*;

/// Near the critical point of the infinite lattice.
const CRITICAL: f64 = 0.4407;

/// `work` units per second of `run`.
fn rate(bench: &mut Bench, case: &str, unit: &'static str, work: f64, note: &str, mut run: impl FnMut()) {
    bench.compare(&[Figure::higher(case, unit, note)], |_| vec![work / seconds(&mut run)], vec![]);
}

fn torus(side: usize, coupling: f64) -> IsingLattice {
    IsingLattice::new(side, side, Boundary::Torus, coupling, 0.0).unwrap()
}

fn random_states(chains: usize, n: usize, k: usize) -> Vec<Vec<u8>> {
    let mut stream = Stream::new(1, Purpose::Start, 0);
    (0..chains).map(|_| (0..n).map(|_| stream.below(k) as u8).collect()).collect()
}

/// One packed lattice on one thread.
fn one_lattice(bench: &mut Bench, name: &str, lattice: &IsingLattice) {
    let n = lattice.n_sites();
    let sweeps = if bench.smoke { 1 } else { 200_000_000 / n };
    let mut packed = PackedIsing::new(lattice).unwrap();
    packed.set_bits(&random_states(1, n, 2)[0]).unwrap();
    let mut rng = Stream::new(0, Purpose::Chain, 0);
    let note = format!("{} of 64 bits in use, one thread", packed.lanes());
    let run = || (0..sweeps).for_each(|_| packed.sweep(&mut rng));
    rate(bench, &format!("heat bath, {name}"), "spin updates/s", (n * sweeps) as f64, &note, run);
}

fn heat_baths(bench: &mut Bench) {
    one_lattice(bench, "Ising torus 64 x 64", &torus(64, CRITICAL));
    one_lattice(bench, "Ising torus 512 x 512", &torus(512, CRITICAL));
    one_lattice(bench, "Ising torus 30 x 30", &torus(30, CRITICAL));
    let open = IsingLattice::new(512, 512, Boundary::Open, CRITICAL, 0.1).unwrap();
    one_lattice(bench, "open Ising 512 x 512 with a field", &open);

    let (chains, sweeps) = if bench.smoke { (2, 1) } else { (64, 2000) };
    let mut lattices = vec![PackedIsing::new(&torus(64, CRITICAL)).unwrap(); chains];
    let threads = format!("{} threads", bench.threads);
    let run = || {
        lattices.par_iter_mut().enumerate().for_each(|(i, lattice)| {
            let mut rng = Stream::new(0, Purpose::Chain, i as u64);
            (0..sweeps).for_each(|_| lattice.sweep(&mut rng));
        });
    };
    let work = (chains * sweeps * 4096) as f64;
    rate(bench, &format!("heat bath, {chains} Ising tori 64 x 64"), "spin updates/s", work, &threads, run);

    let lattice = torus(64, CRITICAL);
    let sweeps = if bench.smoke { 1 } else { 200 };
    let start = random_states(1, 4096, 2);
    let work = (4096 * sweeps) as f64;
    let kernel = BlockGibbs::new(Colouring::checkerboard(&lattice).unwrap());
    rate(bench, "block Gibbs, Ising torus 64 x 64", "spin updates/s", work, "any energy, one thread", || {
        drop(sample_discrete(&kernel, &lattice, &start, &config(1, 0, sweeps, 0)).unwrap());
    });
    let potts = PottsLattice::new(64, 64, Boundary::Torus, 3, 1.005).unwrap();
    let start = random_states(1, 4096, 3);
    rate(
        bench,
        "heat bath, Potts torus 64 x 64, 3 states",
        "spin updates/s",
        work,
        "bytes, one thread",
        || {
            drop(sample_discrete(&Checkerboard::new(sweeps), &potts, &start, &config(1, 0, 1, 0)).unwrap());
        },
    );
    let start = vec![vec![0; 4096]];
    rate(bench, "Swendsen-Wang, Ising torus 64 x 64", "spin updates/s", work, "one thread", || {
        drop(sample_discrete(&SwendsenWang, &lattice, &start, &config(1, 0, sweeps, 0)).unwrap());
    });
    let rbm = machine(784, 500);
    let (start, steps) = (random_states(1, 784, 2), if bench.smoke { 1 } else { 200 });
    let work = (1284 * steps) as f64;
    rate(bench, "block Gibbs, RBM 784 x 500", "bit updates/s", work, "f64, one thread", || {
        drop(sample_discrete(&RbmGibbs, &rbm, &start, &config(1, 0, steps, 0)).unwrap());
    });
    let (mut packed, mut rng) = (PackedRbm::new(&rbm), Stream::new(0, Purpose::Chain, 0));
    packed.set_visible(&random_states(64, 784, 2).concat()).unwrap();
    let work = (64 * 1284 * steps) as f64;
    rate(bench, "packed block Gibbs, RBM 784 x 500", "bit updates/s", work, "64 chains, one thread", || {
        (0..steps).for_each(|_| packed.step(&mut rng));
    });
    let (rbm, steps) = (machine(100, 25), 20 * steps);
    let (start, work) = (random_states(1, 100, 2), (125 * steps) as f64);
    rate(bench, "block Gibbs, RBM 100 x 25", "bit updates/s", work, "f64, one thread", || {
        drop(sample_discrete(&RbmGibbs, &rbm, &start, &config(1, 0, steps, 0)).unwrap());
    });
    let mut packed = PackedRbm::new(&rbm);
    let work = (64 * 125 * steps) as f64;
    rate(bench, "packed block Gibbs, RBM 100 x 25", "bit updates/s", work, "64 chains, one thread", || {
        (0..steps).for_each(|_| packed.step(&mut rng));
    });
}

/// Normal weights whose sum over half of the visible units has standard deviation 2.
fn machine(n_visible: usize, n_hidden: usize) -> Rbm {
    let mut stream = Stream::new(2, Purpose::Init, 0);
    let scale = 2.0 / (0.5 * n_visible as f64).sqrt();
    let mut normals = |n: usize, scale: f64| (0..n).map(|_| scale * stream.normal()).collect::<Vec<_>>();
    Rbm::new(normals(n_visible * n_hidden, scale), normals(n_visible, 0.2), normals(n_hidden, 0.2)).unwrap()
}

/// A kernel with so many calls a step: the ESS of the energy per 1,000 calls and per second, over 16 chains.
fn efficiency<E, K>(bench: &mut Bench, energy: &E, name: &str, kernel: &K, calls_per_step: usize, note: &str)
where
    E: DiscreteEnergy,
    K: DiscreteKernel<E> + Sync,
{
    const CHAINS: usize = 16;
    // Calls of one chain that count, and draws kept of them: fewer draws where a step is many calls.
    let (calls, n_draws) = if bench.smoke { (8 * calls_per_step, 8) } else { (45_000, 900) };
    let thin = (calls / n_draws / calls_per_step).max(1);
    let n_draws = (calls / calls_per_step / thin).max(8);
    let starts = random_states(CHAINS, energy.n_variables(), energy.n_states());
    let measure = |seed| {
        // A quarter again as many calls to forget the start; not counted, as in the protocol.
        let (burn_in, mut run) = (n_draws * thin / 4, None);
        let all = seconds(|| {
            run = Some(
                sample_discrete(kernel, energy, &starts, &config(n_draws, burn_in, thin, seed)).unwrap(),
            );
        });
        let draws = run.unwrap().draws;
        let energies = Array2::from_shape_fn((CHAINS, n_draws), |(chain, draw)| {
            energy.energy(draws.slice(ndarray::s![chain, draw, ..]).as_slice().unwrap())
        });
        let ess = ess_mean(energies.view()).unwrap();
        vec![1000.0 * ess / (CHAINS * n_draws * thin * calls_per_step) as f64, ess / (0.8 * all)]
    };
    let figures = ["ESS/1000 calls", "ESS/s"].map(|unit| Figure::higher(name, unit, note));
    bench.compare_long(3, &figures, measure, vec![]);
}

/// So many draws, without diagnostics.
fn config(n_draws: usize, burn_in: usize, thin: usize, seed: u64) -> SampleConfig {
    SampleConfig { n_draws, burn_in, thin, seed, diagnostics: false, ..Default::default() }
}

/// The step size at which DMALA accepts 0.57 of its proposals, by halving an interval of `ln h`.
fn tuned<E: RelaxedEnergy>(energy: &E, smoke: bool) -> f64 {
    let (mut low, mut high) = (0.05f64.ln(), 5f64.ln());
    let starts = random_states(4, energy.n_variables(), energy.n_states());
    for _ in 0..if smoke { 1 } else { 12 } {
        let middle = 0.5 * (low + high);
        let (n, burn_in) = if smoke { (1, 1) } else { (300, 1000) };
        let run =
            sample_discrete(&Dmala::new(middle.exp()), energy, &starts, &config(n, burn_in, 1, 9)).unwrap();
        let accepted = run.summary.acceptance.iter().sum::<f64>() / 4.0;
        if accepted > 0.57 { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).exp()
}

fn at_equal_calls(bench: &mut Bench) {
    fn all<E: RelaxedEnergy>(bench: &mut Bench, name: &str, energy: &E) {
        let n = energy.n_variables();
        efficiency(bench, energy, &format!("{name}, Gibbs"), &Gibbs(Scan::Systematic), n, "");
        efficiency(bench, energy, &format!("{name}, Gibbs with gradients"), &GibbsWithGradients, 1, "");
        let h = tuned(energy, bench.smoke);
        let note = format!("step size {h:.3}, tuned to an acceptance of 0.57");
        efficiency(bench, energy, &format!("{name}, DMALA"), &Dmala::new(h), 1, &note);
    }
    for coupling in [0.2, 0.4] {
        let (name, lattice) = (format!("Ising 30 x 30, J = {coupling}"), torus(30, coupling));
        all(bench, &name, &lattice);
        // A sweep is 900 conditionals.
        efficiency(bench, &lattice, &format!("{name}, chessboard"), &Checkerboard::new(1), 900, "");
        efficiency(bench, &lattice, &format!("{name}, Wolff"), &Wolff, 900, "a cluster counted as 900 calls");
    }
    let rbm = machine(100, 25);
    all(bench, "RBM 100 x 25", &rbm);
    efficiency(bench, &rbm, "RBM 100 x 25, block Gibbs", &RbmGibbs, 1, "both sides counted as one call");
}

fn main() {
    let Some(mut bench) = Bench::from_environment("lattice") else { return };
    #[cfg(feature = "torch")]
    tch::set_num_threads(bench.threads as i32);
    heat_baths(&mut bench);
    at_equal_calls(&mut bench);
    bench.finish();
}
