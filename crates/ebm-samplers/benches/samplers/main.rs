//! `cargo xtask bench samplers`: our kernels and, with `--rivals`, other libraries on the same work.
//!
//! Same target, dimension, chains, steps, threads and precision, ours and theirs in turn. What is not the same stands
//! in each case's note. The rivals' programs are in `benches/rivals/`. Words after `--` choose parts: `langevin`, `hmc`,
//! `network`, `nuts`, `nuts_batch`, `lattice`.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

// Each bench program uses a part of it.
#[allow(dead_code)]
#[path = "../harness/mod.rs"]
mod harness;
mod hmc;
mod langevin;
mod lattice;
mod network;
mod nuts;
#[cfg(feature = "torch")]
mod nuts_batch;

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Block, HostPoint};
use ebm_samplers::{Kernel, sample_host};
use harness::Bench;

const PARTS: &[(&str, fn(&mut Bench))] = &[
    ("langevin", langevin::run),
    ("hmc", hmc::run),
    ("network", network::run),
    ("nuts", nuts::run),
    #[cfg(feature = "torch")]
    ("nuts_batch", nuts_batch::run),
    ("lattice", lattice::run),
];

fn main() {
    let Some(mut bench) = Bench::from_environment("samplers") else { return };
    // As the docs advise for tensors on the processor.
    #[cfg(feature = "torch")]
    {
        ebm_core::torch::keep_freed_memory();
        tch::set_num_threads(bench.threads as i32);
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, run) in PARTS {
        if words.is_empty() || words.iter().any(|word| word == *name) {
            run(&mut bench);
        }
    }
    bench.finish();
}

/// Standard normal start points of `n` chains, in blocks.
fn blocks(n: usize, dim: usize) -> Vec<Block<f32>> {
    let mut rows = vec![0.0; n * dim];
    Stream::new(0, Purpose::Start, 0).fill_normal(&mut rows);
    Block::from_rows(dim, &rows).unwrap()
}

/// Run a kernel from these starts, keeping the last points alone.
fn run<X: HostPoint + Clone, E: Sync, K: Kernel<X, E> + Sync>(
    kernel: &K,
    energy: &E,
    starts: &[X],
    n_steps: u64,
    seed: u64,
) -> Vec<X> {
    let ends = sample_host(kernel, energy, starts.to_vec(), n_steps, seed, |_| ()).unwrap();
    ends.into_iter().map(|(x, ())| x).collect()
}
