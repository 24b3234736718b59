//! Every kernel on host vectors, on blocks and on tensors, timed by criterion.
//!
//! Run it with `cargo bench -p ebm-samplers --bench kernels`, and with `--features torch` on tensors too. Words
//! after `--` choose: `-- HMC`, `-- HMC/blocks`. Criterion compares with the run before it. All cores work;
//! `RAYON_NUM_THREADS=1` holds the host chains to one, `OMP_NUM_THREADS=1` LibTorch.
//!
//! The energy is a cheap one, so the figures are mostly the kernels' own cost. They are coordinates moved per
//! second, counted once per gradient: a step of HMC with 10 leapfrogs counts 10 times. Whether that is as fast as
//! a loop written by hand is the question of `core.rs`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ebm_core::analytic::DoubleWell;
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Block, HostPoint};
use ebm_samplers::{Baoab, EllipticalSlice, Hmc, Kernel, Mala, Nuts, Sghmc, Slice, Ula, sample_host};

const CHAINS: usize = 256;
const DIM: usize = 8;
const STEPS: u64 = 50;

/// A kernel on all kinds of points: its name, its gradients (or energies) per step, its settings. `no_blocks` in
/// front for one that does not run on blocks, `vectors` for one that runs on host chains alone.
macro_rules! bench {
    (vectors $c:ident, $name:literal, $gradients:literal, $kernel:expr) => {{
        let kernel = $kernel;
        let mut group = $c.benchmark_group($name);
        group.throughput(Throughput::Elements((CHAINS * DIM) as u64 * STEPS * $gradients));
        let size = BatchSize::LargeInput;
        group.bench_function("vectors", |b| b.iter_batched(vectors, |x| host(&kernel, x), size));
        group.finish();
    }};
    (no_blocks $c:ident, $name:literal, $gradients:literal, $kernel:expr) => {{
        let kernel = $kernel;
        let mut group = $c.benchmark_group($name);
        group.throughput(Throughput::Elements((CHAINS * DIM) as u64 * STEPS * $gradients));
        let size = BatchSize::LargeInput;
        group.bench_function("vectors", |b| b.iter_batched(vectors, |x| host(&kernel, x), size));
        #[cfg(feature = "torch")]
        group.bench_function("tensors", |b| b.iter_batched(tensors, |x| batch(&kernel, x), size));
        group.finish();
    }};
    ($c:ident, $name:literal, $gradients:literal, $kernel:expr) => {{
        let kernel = $kernel;
        let mut group = $c.benchmark_group($name);
        group.throughput(Throughput::Elements((CHAINS * DIM) as u64 * STEPS * $gradients));
        let size = BatchSize::LargeInput;
        group.bench_function("vectors", |b| b.iter_batched(vectors, |x| host(&kernel, x), size));
        group.bench_function("blocks", |b| b.iter_batched(blocks, |x| host(&kernel, x), size));
        #[cfg(feature = "torch")]
        group.bench_function("tensors", |b| b.iter_batched(tensors, |x| batch(&kernel, x), size));
        group.finish();
    }};
}

/// A new kernel is one line here.
fn kernels(c: &mut Criterion) {
    bench!(c, "ULA", 1, Ula::new(0.01));
    bench!(c, "MALA", 1, Mala::new(0.1));
    bench!(c, "BAOAB", 1, Baoab::new(0.05, 1.0));
    bench!(c, "SGHMC", 1, Sghmc::new(0.01, 0.1));
    bench!(c, "HMC", 10, Hmc::new(0.05, 10).jitter(0.0));
    // Steps too short to turn within 3 doublings: always 7 leapfrogs.
    bench!(no_blocks c, "NUTS", 7, Nuts::new(0.005).max_depth(3));
    // How many energies a slice takes is up to the chain: a sweep, or an ellipse, counts once.
    bench!(vectors c, "slice", 1, Slice::new(1.5));
    bench!(vectors c, "elliptical slice", 1, EllipticalSlice::diagonal(vec![0.0; DIM], vec![1.0; DIM]).unwrap());
}

fn energy() -> DoubleWell {
    DoubleWell::new(2.0).unwrap()
}

fn rows() -> Vec<f32> {
    let mut rows = vec![0.0; CHAINS * DIM];
    Stream::new(0, Purpose::Start, 0).fill_normal(&mut rows);
    rows
}

fn vectors() -> Vec<Vec<f32>> {
    rows().chunks(DIM).map(<[f32]>::to_vec).collect()
}

fn blocks() -> Vec<Block<f32>> {
    Block::from_rows(DIM, &rows()).unwrap()
}

fn host<X: HostPoint, K: Kernel<X, DoubleWell> + Sync>(kernel: &K, starts: Vec<X>) -> Vec<(X, ())> {
    sample_host(kernel, &energy(), starts, STEPS, 0, |_| ()).unwrap()
}

#[cfg(feature = "torch")]
fn tensors() -> tch::Tensor {
    tch::Tensor::from_slice(&rows()).view([CHAINS as i64, DIM as i64])
}

#[cfg(feature = "torch")]
fn batch<K: Kernel<tch::Tensor, DoubleWell>>(kernel: &K, start: tch::Tensor) -> tch::Tensor {
    ebm_samplers::sample_batch(kernel, &energy(), start, STEPS, 0, &mut ()).unwrap()
}

/// Short times: the whole file in about a minute.
fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .without_plots()
}

criterion_group! { name = benches; config = quick(); targets = kernels }
criterion_main!(benches);
