//! `cargo xtask bench core`: the generic kernels against loops written by hand for the same work.
//!
//! Each case runs ours and the hand-written loop in turn and reports the medians. On the host both use the same
//! random streams and, where the arithmetic is the same, must end at the same numbers. Then the limits around them:
//! the generator alone, the loop without one, the peak of fused multiply-adds, and how cost grows.
//! `EBM_CPU_LEVEL` forces a vector level.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

// Each bench program uses a part of it.
#[allow(dead_code)]
mod harness;

use ebm_core::analytic::{DoubleWell, Gaussian};
use ebm_core::random::{Purpose, Stream};
use ebm_core::simd::{Dispatched, Level, dispatch, level};
use ebm_core::{Block, Host, HostActivation, HostEnergy, HostLayer, HostMlp, HostPoint};
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

/// The shortest of several runs, in seconds: what the code takes when nothing else runs.
fn shortest(bench: &Bench, mut f: impl FnMut()) -> f64 {
    let runs = if bench.smoke { 1 } else { 15 };
    (0..runs).map(|_| seconds(&mut f)).fold(f64::INFINITY, f64::min)
}

/// A figure that was measured already.
fn record(bench: &mut Bench, figure: Figure, value: f64) {
    bench.compare(&[figure], |_| vec![value], Vec::new());
}

/// Everything of `ula_by_hand` on blocks but the generator: the same 256 normals are added again and again.
struct WithoutGenerator<'a> {
    x: &'a mut [f32],
    normals: &'a [f32; 256],
    n_steps: u64,
}

impl Dispatched for WithoutGenerator<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let sigma = (2.0 * f64::from(STEP)).sqrt() as f32;
        let mut g = vec![0f32; self.x.len()];
        for _ in 0..self.n_steps {
            for (g, x) in g.iter_mut().zip(self.x.iter()) {
                *g = 4.0 * BARRIER * x * (x * x - 1.0);
            }
            for (x, g) in self.x.iter_mut().zip(&g) {
                *x += -STEP * g;
            }
            for x in self.x.chunks_mut(256) {
                for (x, z) in x.iter_mut().zip(self.normals) {
                    *x += sigma * z;
                }
            }
        }
    }
}

/// The bound, one block alone, and how the cost grows.
fn limits(bench: &mut Bench) {
    let well = DoubleWell::new(f64::from(BARRIER)).unwrap();
    let kernel = Ula::new(f64::from(STEP));
    let unit = "coordinate updates/s";
    let steps = if bench.smoke { 3 } else { 400 };
    let mut normals = [0f32; 256];
    Stream::new(0, Purpose::User, 0).fill_normal(&mut normals);
    for (n, dim) in [(10_000, 2), (1_000, 32)] {
        let mut x = rows(n, dim);
        let time = shortest(bench, || {
            x.par_chunks_mut(dim * 64)
                .for_each(|x| dispatch(WithoutGenerator { x, normals: &normals, n_steps: steps }));
        });
        let case = format!("ULA double well {n} x {dim}, f32, blocks, no generator: bound");
        let work = (n * dim) as f64 * steps as f64;
        record(bench, Figure::higher(case, unit, "the same normals every step; shortest run"), work / time);
    }

    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    let steps = if bench.smoke { 3 } else { 2000 };
    let block = Block::from_rows(2, &rows(64, 2)).unwrap();
    let time = one.install(|| shortest(bench, || drop(run(&kernel, &well, &block, steps))));
    let case = "ULA double well 64 x 2, f32, one block, one thread";
    record(bench, Figure::higher(case, unit, "2000 steps; shortest run"), 128.0 * steps as f64 / time);

    let steps = if bench.smoke { 3 } else { 100 };
    let seconds_of = |pool: &rayon::ThreadPool, n: usize, dim: usize| {
        let blocks = Block::from_rows(dim, &rows(n, dim)).unwrap();
        pool.install(|| shortest(bench, || drop(run(&kernel, &well, &blocks, steps))))
    };
    let (chains, dims) = ([1_024, 4_096, 16_384, 65_536], [2, 8, 32, 128]);
    let by_chains = chains.map(|n| seconds_of(&two, n, 2));
    let by_dim = dims.map(|dim| seconds_of(&two, 1_024, dim));
    let ratios = [(10_000, 2), (1_000, 32)].map(|(n, dim)| {
        let ratio = seconds_of(&one, n, dim) / seconds_of(&two, n, dim);
        (format!("ULA double well {n} x {dim}, f32, blocks: two threads against one"), ratio)
    });
    let note = "slope of ln(seconds) in ln(size), two threads, shortest runs; 1 is linear";
    let case = "ULA double well n x 2, f32, blocks: cost in chains, 1,024 to 65,536";
    record(bench, Figure::lower(case, "exponent", note), exponent(&chains, &by_chains));
    let case = "ULA double well 1,024 x dim, f32, blocks: cost in dimension, 2 to 128";
    record(bench, Figure::lower(case, "exponent", note), exponent(&dims, &by_dim));
    for (case, ratio) in ratios {
        record(bench, Figure::higher(case, "times", "shortest runs"), ratio);
    }
}

/// The least-squares slope of `ln seconds` in `ln size`.
fn exponent(sizes: &[usize], seconds: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let x: Vec<f64> = sizes.iter().map(|n| (*n as f64).ln()).collect();
    let y: Vec<f64> = seconds.iter().map(|s| s.ln()).collect();
    let (mx, my) = (mean(&x), mean(&y));
    let products: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
    products / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
}

/// Multiply-adds in registers: what no matrix product can exceed. Without the instruction, `mul_add` would be a
/// function call.
struct Peak<const FUSED: bool> {
    turns: u64,
}

/// Numbers summed side by side: enough registers to hide the latency at any width.
const SUMS: usize = 192;

impl<const FUSED: bool> Dispatched for Peak<FUSED> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let (a, b) = (std::hint::black_box(0.999f32), std::hint::black_box(1e-3f32));
        let mut sums = [0f32; SUMS];
        for _ in 0..self.turns {
            for sum in &mut sums {
                *sum = if FUSED { sum.mul_add(a, b) } else { *sum * a + b };
            }
        }
        sums.iter().sum()
    }
}

fn network(bench: &mut Bench) {
    let turns = if bench.smoke { 10 } else { 2_000_000 };
    let threads = rayon::current_num_threads();
    let time = shortest(bench, || {
        (0..threads).into_par_iter().for_each(|_| {
            std::hint::black_box(if level() > Level::Portable {
                dispatch(Peak::<true> { turns })
            } else {
                dispatch(Peak::<false> { turns })
            });
        });
    });
    let peak = (threads * SUMS) as f64 * turns as f64 / time;
    let case = "multiply-adds in registers, f32, all threads: peak";
    record(bench, Figure::higher(case, "MAC/s", "shortest run"), peak);

    let mut stream = Stream::new(0, Purpose::Init, 0);
    let mut layer = |inputs: usize, outputs: usize| {
        let (mut weight, mut bias) = (vec![0f32; inputs * outputs], vec![0f32; outputs]);
        stream.fill_normal(&mut weight);
        stream.fill_normal(&mut bias);
        weight.iter_mut().for_each(|w| *w /= (inputs as f32).sqrt());
        HostLayer { weight, bias }
    };
    let layers = vec![layer(2, 128), layer(128, 128), layer(128, 1)];
    let energy = HostMlp::new(2, HostActivation::Silu, layers).unwrap();
    let kernel = Ula::new(f64::from(STEP));
    for (n, steps) in [(64, 1000), (1_024, 100), (8_192, 20)] {
        let steps = if bench.smoke { 1 } else { steps };
        let blocks = Block::from_rows(2, &rows(n, 2)).unwrap();
        let time = shortest(bench, || drop(run(&kernel, &energy, &blocks, steps))) / steps as f64;
        let share = (n * energy.macs()) as f64 / time / peak;
        let case = format!("ULA, HostMlp 2-128-128-1, {n} chains");
        let note = format!("{:.0} % of the peak of all threads; shortest run", 100.0 * share);
        record(bench, Figure::lower(case, "us/step", &note), time * 1e6);
    }
}

fn normals(bench: &mut Bench) {
    let threads = rayon::current_num_threads();
    let repeats = if bench.smoke { 1 } else { 200 };
    let name = format!("normals, f32, {threads} threads, into 16 kB");
    let time = shortest(bench, || {
        (0..threads as u64).into_par_iter().for_each(|i| {
            let (mut stream, mut out) = (Stream::new(0, Purpose::User, i), vec![0f32; 1 << 12]);
            for _ in 0..repeats {
                stream.fill_normal(std::hint::black_box(&mut out));
            }
        });
    });
    let work = (threads * repeats) as f64 * f64::from(1 << 12);
    record(bench, Figure::higher(name, "normals/s", level().name()), work / time);
    let n = if bench.smoke { 1 << 12 } else { 1 << 22 };
    let mut out = vec![0f32; n];
    bench.compare(
        &[Figure::higher("normals, f32, one thread", "normals/s", "written to 16 MB of memory")],
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
    #[cfg(feature = "torch")]
    tch::set_num_threads(bench.threads as i32);
    normals(&mut bench);
    langevin(&mut bench);
    limits(&mut bench);
    hamiltonian(&mut bench);
    network(&mut bench);
    #[cfg(feature = "torch")]
    tensors::run(&mut bench);
    bench.finish();
}
