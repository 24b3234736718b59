//! `cargo xtask bench core`: the generic kernels against loops written by hand for the same work.
//!
//! Each case runs ours and the hand-written loop in turn and reports the medians. On the host both use the same
//! random streams and, where the arithmetic is the same, must end at the same numbers.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

// Each bench program uses a part of it.
#[allow(dead_code)]
mod harness;

use ebm_core::analytic::{DoubleWell, Gaussian};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Block, Host, HostEnergy, HostPoint};
use ebm_samplers::{Hmc, Kernel, Ula, sample_host};
use rayon::prelude::*;

use harness::{Bench, Figure, Rival, seconds};

const STEP: f32 = 0.01;
const BARRIER: f32 = 2.0;

/// Time `ours` and the hand-written loop in turn; both do `work` units. Reports units per second.
fn rate(bench: &mut Bench, case: &str, unit: &'static str, work: f64, ours: impl Fn(), rival: impl Fn()) {
    bench.compare(
        &[Figure::higher(case, unit, "")],
        |_| vec![work / seconds(&ours)],
        vec![Rival::by_hand(|_| vec![work / seconds(&rival)])],
    );
}

/// Run a kernel over host points, keeping nothing.
fn run<X: HostPoint + Clone, E: Sync, K: Kernel<X, E> + Sync>(
    kernel: &K,
    energy: &E,
    starts: &[X],
    n: u64,
) -> Vec<X> {
    sample_host(kernel, energy, starts.to_vec(), n, 1, |_| ()).unwrap().into_iter().map(|(x, ())| x).collect()
}

fn rows(n: usize, dim: usize) -> Vec<f32> {
    let mut v = vec![0.0; n * dim];
    Stream::new(0, Purpose::Start, 0).fill_normal(&mut v);
    v
}

/// Langevin on the double well by hand, one task per chunk of `chunk` numbers (a chain or a block).
fn ula_by_hand(start: &[f32], chunk: usize, n_steps: u64) -> Vec<f32> {
    let mut all = start.to_vec();
    let sigma = (2.0 * f64::from(STEP)).sqrt() as f32;
    all.par_chunks_mut(chunk).enumerate().for_each(|(i, x)| {
        let mut rng = Stream::new(1, Purpose::Chain, i as u64);
        let mut g = vec![0f32; x.len()];
        for _ in 0..n_steps {
            for (g, x) in g.iter_mut().zip(x.iter()) {
                *g = 4.0 * BARRIER * x * (x * x - 1.0);
            }
            for (x, g) in x.iter_mut().zip(&g) {
                *x += -STEP * g;
            }
            rng.add_normal(sigma, x);
        }
    });
    all
}

fn langevin(bench: &mut Bench) {
    let well = DoubleWell::new(f64::from(BARRIER)).unwrap();
    let kernel = Ula::new(f64::from(STEP));
    for (n, dim, steps) in [(10_000, 2, 400), (1_000, 32, 400)] {
        let steps = if bench.smoke { 3 } else { steps };
        let start = rows(n, dim);
        let work = (n * dim) as f64 * steps as f64;
        let vectors: Vec<Vec<f32>> = start.chunks(dim).map(<[f32]>::to_vec).collect();
        let blocks = Block::from_rows(dim, &start).unwrap();
        let by_hand = ula_by_hand(&start, dim, steps);
        assert_close(&run(&kernel, &well, &vectors, steps).concat(), &by_hand);
        let label = format!("ULA double well {n} x {dim}, f32");
        rate(
            bench,
            &format!("{label}, vectors"),
            "coordinate updates/s",
            work,
            || drop(run(&kernel, &well, &vectors, steps)),
            || drop(ula_by_hand(&start, dim, steps)),
        );
        rate(
            bench,
            &format!("{label}, blocks"),
            "coordinate updates/s",
            work,
            || drop(run(&kernel, &well, &blocks, steps)),
            || drop(ula_by_hand(&start, dim * 64, steps)),
        );
        if dim == 2 {
            let closure = Host::value_grad(2, |x: &[f32], g: &mut [f32]| {
                let mut e = 0.0;
                for (g, x) in g.iter_mut().zip(x) {
                    let w = x * x - 1.0;
                    *g = 4.0 * BARRIER * x * w;
                    e += BARRIER * w * w;
                }
                f64::from(e)
            });
            rate(
                bench,
                &format!("{label}, blocks, per-chain closure"),
                "coordinate updates/s",
                work,
                || drop(run(&kernel, &closure, &blocks, steps)),
                || drop(ula_by_hand(&start, dim * 64, steps)),
            );
        }
    }
}

fn assert_close(ours: &[f32], by_hand: &[f32]) {
    for (a, b) in ours.iter().zip(by_hand) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

/// A correlated covariance, `0.9^|i - j|`.
fn covariance(dim: usize) -> Vec<f64> {
    (0..dim * dim).map(|k| 0.9f64.powi((k / dim).abs_diff(k % dim) as i32)).collect()
}

/// HMC by hand on `rows` chains of 32 coordinates per task, with the same gradient function as ours: what is
/// compared is everything around it.
fn hmc_by_hand(start: &[f32], target: &Gaussian, rows: usize, n_steps: u64, n_leapfrogs: u32) -> Vec<f32> {
    const D: usize = 32;
    let h = 0.1f32;
    let mut all = start.to_vec();
    all.par_chunks_mut(D * rows).enumerate().for_each(|(i, x)| {
        let mut rng = Stream::new(1, Purpose::Chain, i as u64);
        let n = x.len();
        let (mut g, mut p, mut old_x, mut old_g) =
            (vec![0f32; n], vec![0f32; n], vec![0f32; n], vec![0f32; n]);
        let (mut before, mut after) = (vec![0f64; n / D], vec![0f64; n / D]);
        let value_grad = |x: &[f32], g: &mut [f32], e: &mut [f64]| {
            for ((x, g), e) in x.chunks_exact(D).zip(g.chunks_exact_mut(D)).zip(e) {
                *e = target.value_grad(x, g);
            }
        };
        let mut energy = vec![0f64; n / D];
        value_grad(x, &mut g, &mut energy);
        for _ in 0..n_steps {
            old_x.copy_from_slice(x);
            old_g.copy_from_slice(&g);
            rng.fill_normal(&mut p);
            for (k, p) in before.iter_mut().zip(p.chunks_exact(D)) {
                *k = 0.5 * dot(p, p);
            }
            for (p, g) in p.iter_mut().zip(&g) {
                *p -= 0.5 * h * g;
            }
            for leap in 1..=n_leapfrogs {
                for (x, p) in x.iter_mut().zip(&p) {
                    *x += h * p;
                }
                if leap == n_leapfrogs {
                    value_grad(x, &mut g, &mut after);
                } else {
                    target.gradient_rows(D, x, &mut g);
                }
                let c = if leap == n_leapfrogs { 0.5 * h } else { h };
                for (p, g) in p.iter_mut().zip(&g) {
                    *p -= c * g;
                }
            }
            for r in 0..n / D {
                let part = r * D..(r + 1) * D;
                let kinetic = 0.5 * dot(&p[part.clone()], &p[part.clone()]);
                let ratio = energy[r] + before[r] - after[r] - kinetic;
                if rng.uniform() < ratio.min(0.0).exp() {
                    energy[r] = after[r];
                } else {
                    x[part.clone()].copy_from_slice(&old_x[part.clone()]);
                    g[part.clone()].copy_from_slice(&old_g[part]);
                }
            }
        }
    });
    all
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for l in 0..8 {
            lanes[l] += a[l] * b[l];
        }
    }
    lanes.iter().map(|x| f64::from(*x)).sum()
}

fn hamiltonian(bench: &mut Bench) {
    let (n, dim, leapfrogs) = (1_000, 32, 10);
    let steps = if bench.smoke { 2 } else { 60 };
    let target = Gaussian::new(vec![0.0; dim], covariance(dim)).unwrap();
    let kernel = Hmc::new(0.1, leapfrogs).jitter(0.0);
    let start = rows(n, dim);
    let vectors: Vec<Vec<f32>> = start.chunks(dim).map(<[f32]>::to_vec).collect();
    let blocks = Block::from_rows(dim, &start).unwrap();
    let work = n as f64 * steps as f64 * f64::from(leapfrogs);
    assert_close(
        &run(&kernel, &target, &vectors, 2).concat(),
        &hmc_by_hand(&start, &target, 1, 2, leapfrogs),
    );
    rate(
        bench,
        "HMC 32-d Gaussian, 1000 chains x 10, f32, vectors",
        "leapfrogs/s",
        work,
        || drop(run(&kernel, &target, &vectors, steps)),
        || drop(hmc_by_hand(&start, &target, 1, steps, leapfrogs)),
    );
    rate(
        bench,
        "HMC 32-d Gaussian, 1000 chains x 10, f32, blocks",
        "leapfrogs/s",
        work,
        || drop(run(&kernel, &target, &blocks, steps)),
        || drop(hmc_by_hand(&start, &target, 64, steps, leapfrogs)),
    );
}

fn normals(bench: &mut Bench) {
    let n = if bench.smoke { 1 << 12 } else { 1 << 22 };
    let mut out = vec![0f32; n];
    bench.compare(
        &[Figure::higher("normals, f32, one thread", "normals/s", "")],
        |_| vec![n as f64 / seconds(|| Stream::new(0, Purpose::User, 0).fill_normal(&mut out))],
        Vec::new(),
    );
}

#[cfg(feature = "torch")]
mod tensors {
    use super::*;
    use ebm_core::Torch;
    use ebm_samplers::sample_batch;
    use tch::{Device, Kind, Tensor, nn, nn::Module};

    fn mlp(vs: &nn::VarStore) -> nn::Sequential {
        let p = vs.root();
        nn::seq()
            .add(nn::linear(&p / 0, 2, 128, Default::default()))
            .add_fn(Tensor::silu)
            .add(nn::linear(&p / 1, 128, 128, Default::default()))
            .add_fn(Tensor::silu)
            .add(nn::linear(&p / 2, 128, 1, Default::default()))
    }

    fn gradient(net: &nn::Sequential, x: &Tensor) -> (Tensor, Tensor) {
        let x = x.detach().set_requires_grad(true);
        let e = net.forward(&x).view(-1);
        let g = Tensor::run_backward(&[&e], &[&x], false, false).remove(0);
        (e.detach(), g)
    }

    fn ula_by_hand(net: &nn::Sequential, start: &Tensor, n_steps: u64) -> Tensor {
        let (h, s) = (f64::from(STEP), (2.0 * f64::from(STEP)).sqrt());
        let mut x = start.shallow_clone();
        for _ in 0..n_steps {
            let (_, g) = gradient(net, &x);
            x = &x - g * h + x.randn_like() * s;
        }
        x
    }

    fn hmc_by_hand(net: &nn::Sequential, start: &Tensor, n_steps: u64, n_leapfrogs: u32) -> Tensor {
        let h = 0.1;
        let kinetic = |p: &Tensor| (p * p).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>) * 0.5;
        let mut x = start.shallow_clone();
        let (mut e, mut g) = gradient(net, &x);
        for _ in 0..n_steps {
            let (old_x, old_g) = (x.shallow_clone(), g.shallow_clone());
            let mut p = x.randn_like();
            let before = kinetic(&p);
            p = &p - &g * (0.5 * h);
            let mut end = e.shallow_clone();
            for leap in 0..n_leapfrogs {
                x = &x + &p * h;
                (end, g) = gradient(net, &x);
                p = &p - &g * if leap + 1 == n_leapfrogs { 0.5 * h } else { h };
            }
            let accept = (&e + before - &end - kinetic(&p)).clamp_max(0.0).exp();
            let keep = accept.rand_like().lt_tensor(&accept);
            let wide = keep.view([-1, 1]);
            x = x.where_self(&wide, &old_x);
            g = g.where_self(&wide, &old_g);
            e = end.where_self(&keep, &e);
        }
        x
    }

    pub fn run(bench: &mut Bench) {
        for (n, steps) in [(64, 400), (1024, 100), (8192, 15)] {
            let steps = if bench.smoke { 1 } else { steps };
            let vs = nn::VarStore::new(Device::Cpu);
            let energy = Torch::module(mlp(&vs));
            let net = energy.module();
            let start = Tensor::randn([n, 2], (Kind::Float, Device::Cpu));
            let kernel = Ula::new(f64::from(STEP));
            let note = "the hand-written loop draws from LibTorch's generator";
            let compare = |bench: &mut Bench, name: &str, steps: u64, ours: &dyn Fn(), by_hand: &dyn Fn()| {
                let case = format!("tensor {name}, MLP 2-128-128-1, {n} chains");
                let per_step = |work: &dyn Fn()| vec![seconds(work) / steps as f64 * 1e6];
                bench.compare(
                    &[Figure::lower(case, "us/step", note)],
                    |_| per_step(ours),
                    vec![Rival::by_hand(|_| per_step(by_hand))],
                );
            };
            compare(
                bench,
                "ULA",
                steps,
                &|| drop(sample_batch(&kernel, &energy, start.shallow_clone(), steps, 1, &mut ()).unwrap()),
                &|| drop(ula_by_hand(net, &start, steps)),
            );
            let hmc = Hmc::new(0.1, 10).jitter(0.0);
            let steps = steps.div_ceil(10);
            compare(
                bench,
                "HMC x 10",
                steps,
                &|| drop(sample_batch(&hmc, &energy, start.shallow_clone(), steps, 1, &mut ()).unwrap()),
                &|| drop(hmc_by_hand(net, &start, steps, 10)),
            );
        }
    }
}

fn main() {
    let Some(mut bench) = Bench::from_environment("core") else { return };
    normals(&mut bench);
    langevin(&mut bench);
    hamiltonian(&mut bench);
    #[cfg(feature = "torch")]
    tensors::run(&mut bench);
    bench.finish();
}
