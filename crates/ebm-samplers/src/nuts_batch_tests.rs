//! NUTS on tensors: its book-keeping against the plain definition, exactness, and the host chain's law.

use ebm_core::analytic::{DoubleWell, Exact, Funnel, Gaussian};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Energy, GraphEnergy, Torch};
use tch::nn;

use super::*;

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn rng(seed: u64) -> TensorRng {
    // These tensors are small: a second thread would only be waited for.
    tch::set_num_threads(1);
    TensorRng::new(seed, Purpose::Chain)
}

fn values(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_kind(Kind::Double).flatten(0, -1).contiguous()).unwrap()
}

fn of(scalar: &TensorScalar) -> Vec<f64> {
    let TensorScalar::Each(t) = scalar else { panic!("one each") };
    values(t)
}

/// Exact draws, `[n, dim]`.
fn starts(law: &impl Exact, n: usize) -> Tensor {
    let mut stream = Stream::new(11, Purpose::Start, 0);
    let rows: Vec<f64> = (0..n).flat_map(|_| law.sample(&mut stream)).collect();
    Tensor::from_slice(&rows).view([n as i64, -1])
}

/// `steps` steps of `kernel` from `x`.
fn run<E: GradEnergy<Tensor>>(energy: &E, kernel: &Nuts, x: &Tensor, steps: u64) -> State<Tensor, ()> {
    let mut state = kernel.init(energy, x.shallow_clone()).unwrap();
    let mut rng = rng(5);
    for _ in 0..steps {
        kernel.advance(energy, &mut state, &mut rng).unwrap();
    }
    state
}

/// Every aligned subtree of 2^k leaves that ends at an odd leaf, its momenta summed anew, in both directions and
/// under each kind of metric.
#[test]
fn the_subtrees_that_turn_are_found() {
    let (n, dim, h) = (100, 3, 0.08);
    let law = DoubleWell::new(2.0).unwrap();
    let x = rng(1).normal(&[n, dim], 1.0, Kind::Double, Device::Cpu).unwrap();
    let metrics = [
        Metric::Unit,
        Metric::diagonal(&x, &[0.5, 2.0, 1.0]).unwrap(),
        Metric::dense(&x, 3, &[1.0, 0.4, 0.0, 0.4, 1.0, -0.3, 0.0, -0.3, 0.8]).unwrap(),
    ];
    for metric in metrics {
        let whitening = Whitening::new(&metric).unwrap();
        let start = evaluate(&law, &x, &[n, dim]).unwrap();
        let h = Tensor::full([n], h, DOUBLE);
        let paths = Paths::new(start, h, &whitening, &mut rng(2)).unwrap();
        let forward = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(2).to_kind(Kind::Bool);
        let rows = Tensor::arange(n, (Kind::Int64, Device::Cpu));
        let mut half = paths.half(rows, &forward, &whitening).unwrap();
        let mut momenta: Vec<Vec<f64>> = Vec::new();
        let (mut found, mut checked) = (0, 0);
        for leaf in 0..32u32 {
            half.alive = half.alive.ones_like();
            half.leap(&law, &[n, dim], &whitening, &Tensor::zeros([n], DOUBLE)).unwrap();
            assert!(bool::try_from(half.alive.all()).unwrap(), "a leaf is illegal");
            momenta.push(values(&half.momentum));
            half.look_back(leaf).unwrap();
            let alive: Vec<bool> = Vec::try_from(&half.alive).unwrap();
            for (chain, alive) in alive.iter().enumerate() {
                let at = |leaf: u32| &momenta[leaf as usize][3 * chain..3 * chain + 3];
                let turned = (1..=leaf.trailing_ones()).any(|k| {
                    let (first, last) = (at(leaf + 1 - (1 << k)), at(leaf));
                    let sum: Vec<f64> = (0..3)
                        .map(|i| {
                            let all: f64 = (leaf + 1 - (1 << k)..=leaf).map(|l| at(l)[i]).sum();
                            all - 0.5 * (first[i] + last[i])
                        })
                        .collect();
                    let dot = |a: &[f64]| sum.iter().zip(a).map(|(s, a)| s * a).sum::<f64>();
                    dot(first) <= 0.0 || dot(last) <= 0.0
                });
                assert_eq!(*alive, !turned, "chain {chain}, leaf {leaf}");
                checked += leaf % 2;
                found += u32::from(turned);
            }
        }
        assert!(found > checked / 10 && found < checked, "{found} of {checked}");
    }
}

/// A metric is a change of coordinates, as on the host; and a chain may have any shape.
#[test]
fn a_metric_is_a_change_of_coordinates() {
    let law = Gaussian::new(vec![1.0, -2.0], vec![1.0, -0.4, -0.4, 0.7]).unwrap();
    let z = rng(3).normal(&[50, 2], 1.0, Kind::Double, Device::Cpu).unwrap();
    for covariance in [[2.0, 0.9, 0.9, 0.5], [2.0, 0.0, 0.0, 0.5]] {
        let lower = ebm_core::cholesky("covariance", 2, &covariance).unwrap();
        let upper = Tensor::from_slice(&lower).view([2, 2]).transpose(0, 1).contiguous();
        let whitened = Whitened { law: law.clone(), upper: upper.shallow_clone() };
        let kernel = Nuts::new(0.4);
        let plain = run(&whitened, &kernel, &z.view([50, 1, 2]), 20).x.view([50, 2]).matmul(&upper);
        let mut state = kernel.init(&law, z.matmul(&upper)).unwrap();
        state.metric = match covariance[1] {
            0.0 => Metric::diagonal(&state.x, &[covariance[0], covariance[3]]).unwrap(),
            _ => Metric::dense(&state.x, 2, &covariance).unwrap(),
        };
        let mut rng = rng(5);
        for _ in 0..20 {
            kernel.advance(&law, &mut state, &mut rng).unwrap();
        }
        assert!((state.x - plain).abs().max().double_value(&[]) < 1e-9);
    }
}

/// `E(L z)` of chains of any shape.
struct Whitened {
    law: Gaussian,
    upper: Tensor,
}

impl GraphEnergy for Whitened {
    fn energy_graph(&self, z: &Tensor) -> Result<Tensor> {
        self.law.energy_graph(&z.f_flatten(1, -1)?.f_matmul(&self.upper)?)
    }
}

ebm_core::tensor_energy!(Whitened);

/// Mean and covariance of a correlated Gaussian in each of two kinds: the means over each chain's steps are
/// independent, and lie within 4.5 of their standard errors.
#[test]
fn the_moments_of_a_gaussian_are_exact() {
    let law = Gaussian::new(vec![1.0, -2.0], vec![2.0, 0.9, 0.9, 0.5]).unwrap();
    for kind in [Kind::Double, Kind::Float] {
        let (n, kernel, mut rng) = (1000, Nuts::new(1.0), rng(1));
        let x = Tensor::zeros([n, 2], (kind, Device::Cpu));
        let mut state = kernel.init(&law, x).unwrap();
        // One step size per chain.
        let h = Tensor::linspace(0.2, 0.5, n, (kind, Device::Cpu));
        state.step_size = TensorScalar::Each(h);
        let mut draws = Vec::new();
        for step in 0..60 {
            kernel.advance(&law, &mut state, &mut rng).unwrap();
            if step >= 20 {
                draws.push(state.x.to_kind(Kind::Double));
            }
        }
        let centred = Tensor::stack(&draws, 0) - Tensor::from_slice(&[1.0, -2.0]);
        let (a, b) = (centred.select(2, 0), centred.select(2, 1));
        for (moment, exact) in
            [(a.copy(), 0.0), (b.copy(), 0.0), (&a * &a, 2.0), (&b * &b, 0.5), (&a * &b, 0.9)]
        {
            let of_chain = moment.mean_dim([0i64].as_slice(), false, Kind::Double);
            let error = of_chain.std(true).double_value(&[]) / (n as f64).sqrt();
            let found = of_chain.mean(Kind::Double).double_value(&[]);
            assert!((found - exact).abs() < 4.5 * error, "{found} +- {error}, exact {exact}");
            assert!(error < 0.05);
        }
    }
}

/// Chi-square on 16 cells of equal probability of the funnel's neck, from exact starts.
#[test]
fn the_funnel_is_left_invariant() {
    let law = Funnel::new(3).unwrap();
    let n = 8000;
    let state = run(&law, &Nuts::new(0.4).max_depth(6), &starts(&law, n), 4);
    let cells = ((state.x.select(1, 0) / (3.0 * 2f64.sqrt())).erf() + 1.0) * 8.0;
    let mut counts = [0.0f64; 16];
    for cell in values(&cells) {
        counts[(cell as usize).min(15)] += 1.0;
    }
    let expected = n as f64 / 16.0;
    let chi2: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    assert!(chi2 < 49.1, "{chi2}: {counts:?}"); // 15 degrees of freedom, level 1.7e-5
}

/// What a step reports, and how far it goes, has the law of the host chain's step from the same starts.
#[test]
fn a_step_has_the_law_of_the_host_chain() {
    let law = Gaussian::new(vec![0.0; 3], vec![1.0, 0.9, 0.3, 0.9, 1.0, 0.4, 0.3, 0.4, 0.2]).unwrap();
    let (n, kernel) = (10_000, Nuts::new(0.35));
    let x = starts(&law, n);
    let mut state = kernel.init(&law, x.shallow_clone()).unwrap();
    let info = kernel.advance(&law, &mut state, &mut rng(8)).unwrap();
    let jump = values(&(&state.x - &x).square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double));
    let energy = of(&state.energy);
    let report = |i: usize| [of(&info.n_leapfrogs)[i], of(&info.depth)[i]];
    let batch: Vec<[f64; 2]> = (0..n).map(report).collect();

    let rows = values(&x);
    let mut host = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (chain, row) in rows.chunks_exact(3).enumerate() {
        let mut stream = Stream::new(9, Purpose::Chain, chain as u64);
        let mut state = kernel.init(&law, row.to_vec()).unwrap();
        let info = kernel.advance(&law, &mut state, &mut stream).unwrap();
        host.0.push([info.n_leapfrogs, info.depth]);
        host.1.push(info.accept_prob);
        host.2.push(state.x.iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum());
        host.3.push(state.energy);
    }
    // Numbers of leapfrogs and depths, together: chi-square of two samples of the same size.
    let mut counts = std::collections::BTreeMap::new();
    for ([leapfrogs, depth], side) in batch.iter().map(|r| (r, 0)).chain(host.0.iter().map(|r| (r, 1))) {
        counts.entry((*leapfrogs as u64, *depth as u64)).or_insert([0.0, 0.0])[side] += 1.0;
    }
    let (mut rare, mut chi2, mut cells) = ([0.0, 0.0], 0.0, 0.0);
    let term = |[a, b]: [f64; 2]| if a + b > 0.0 { (a - b) * (a - b) / (a + b) } else { 0.0 };
    for [a, b] in counts.into_values() {
        if a + b < 20.0 {
            rare = [rare[0] + a, rare[1] + b];
        } else {
            chi2 += term([a, b]);
            cells += 1.0;
        }
    }
    chi2 += term(rare);
    // Wilson and Hilferty's normal approximation: the cube root of chi2 / k.
    let z = ((chi2 / cells).cbrt() - (1.0 - 2.0 / (9.0 * cells))) / (2.0 / (9.0 * cells)).sqrt();
    assert!(cells > 4.0 && z < 4.5, "{chi2} in {cells} cells");

    for (a, b) in [(of(&info.accept_prob), host.1), (jump, host.2), (energy, host.3)] {
        let distance = kolmogorov_smirnov(a, b) * (n as f64 / 2.0).sqrt();
        assert!(distance < 2.5, "{distance}"); // level 2 exp(-2 * 2.5^2) = 7e-6
    }
}

/// The largest difference of two empirical distribution functions of the same size.
fn kolmogorov_smirnov(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |all: &[f64], x: f64| all.partition_point(|y| *y <= x) as f64 / all.len() as f64;
    a.iter().chain(&b).map(|x| (below(&a, *x) - below(&b, *x)).abs()).fold(0.0, f64::max)
}

/// No number beyond a wall.
fn walled() -> impl GradEnergy<Tensor> {
    Torch::module(nn::func(|x: &Tensor| {
        let energy = x.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>) * 0.5;
        let inside = x.abs().amax([1i64].as_slice(), false).le(1.0);
        energy.where_self(&inside, &energy.full_like(f64::NAN))
    }))
}

#[test]
fn trouble_is_reported() {
    let (energy, mut rng, kernel) = (walled(), rng(0), Nuts::new(0.5));
    let x = Tensor::zeros([20, 1], (Kind::Float, Device::Cpu));
    let mut state = kernel.init(&energy, x.shallow_clone()).unwrap();
    let mut diverged = 0;
    for _ in 0..50 {
        let info = kernel.advance(&energy, &mut state, &mut rng).unwrap();
        diverged += info.diverged.0.sum(Kind::Int64).int64_value(&[]);
        assert!(values(&state.x).iter().all(|x| x.abs() <= 1.0));
        assert_eq!(of(&state.energy), of(&energy.energy(&state.x).unwrap()));
        assert!(of(&info.accept_prob).iter().all(|a| (0.0..=1.0).contains(a)));
    }
    assert!((100..1000).contains(&diverged), "{diverged}");

    let short = Nuts::new(1e-6).max_depth(3);
    let info = short.step(&energy, &mut short.init(&energy, x).unwrap(), &mut rng).unwrap();
    assert!(bool::try_from(info.saturated.0.all()).unwrap());
    assert_eq!((of(&info.depth), of(&info.n_leapfrogs)), (vec![3.0; 20], vec![7.0; 20]));

    let wrong = Kernel::<Tensor, Gaussian>::check(&Nuts::new(0.1).max_depth(0)).unwrap_err();
    assert!(wrong.to_string().contains("max_depth"), "{wrong}");
}

/// Two chains are started beside the wall, or elsewhere: the others' draws are the same, to rounding.
#[test]
fn a_chain_does_not_see_the_others() {
    let energy = walled();
    let x = rng(4).normal(&[12, 3], 0.2, Kind::Double, Device::Cpu).unwrap();
    let y = x.copy();
    let _ = y.narrow(0, 0, 2).fill_(0.999);
    let kernel = Nuts::new(0.05);
    let (a, b) = (run(&energy, &kernel, &x, 6).x, run(&energy, &kernel, &y, 6).x);
    let rest = |t: &Tensor| t.narrow(0, 2, 10);
    assert!((rest(&a) - rest(&b)).abs().max().double_value(&[]) < 1e-9);
    assert!((a - b).abs().max().double_value(&[]) > 1e-3);
}

/// Nothing but the public part of the state counts, and no tensor that a state once held is written to.
#[test]
fn a_run_can_be_cut_anywhere() {
    let law = Funnel::new(4).unwrap();
    let kernel = Nuts::new(0.5);
    let x = starts(&law, 30).to_kind(Kind::Float);
    let whole = run(&law, &kernel, &x, 8);
    let mut state = run(&law, &kernel, &x, 4);
    let mut rng = rng(5);
    let mut kept = Vec::new();
    for _ in 0..4 {
        state = State { work: (), metric: Metric::Unit, ..state };
        kept.push((state.x.shallow_clone(), state.x.copy(), state.grad.shallow_clone(), state.grad.copy()));
        kernel.advance(&law, &mut state, &mut rng).unwrap();
    }
    assert_eq!((state.x, state.grad, state.step), (whole.x, whole.grad, 8));
    for (x, x_then, grad, grad_then) in kept {
        assert!(x == x_then && grad == grad_then);
    }
}
