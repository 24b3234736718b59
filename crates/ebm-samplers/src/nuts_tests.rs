//! NUTS on host chains against closed forms and the plain definition of a turn.

use super::*;
use ebm_core::analytic::{Exact, Funnel, Gaussian};
use ebm_core::random::Purpose;
use ebm_core::{Energy, Host};

/// The walk's checks against the plain definition: every aligned subtree of 2^k leaves that ends at the leaf,
/// its momenta summed anew.
#[test]
fn the_marks_find_the_subtrees_that_turn() {
    let mut rng = Stream::new(0, Purpose::User, 0);
    let (mut found, mut checked) = (0, 0);
    for _ in 0..2000 {
        let mut work = NutsWork::new(&vec![0.0f64; 2], 6).unwrap();
        let mut momenta: Vec<Vec<f64>> = Vec::new();
        for leaf in 0..32u32 {
            // A drift, so that short subtrees mostly go straight.
            let mut r = vec![1.5, 0.0];
            r.add_normal(&1.0, &mut rng).unwrap();
            work.walker.momentum.clone_from(&r);
            momenta.push(r.clone());
            let norm2 = r.inner_each(&r).unwrap();
            if leaf == 0 {
                work.new_sum.set_from(&r).unwrap();
            } else {
                work.new_sum.add_scaled(&1.0, &r).unwrap();
            }
            if leaf % 2 == 0 {
                work.mark(leaf, norm2).unwrap();
                continue;
            }
            let expected = (1..=leaf.trailing_ones()).any(|k| {
                let stretch = &momenta[(leaf + 1 - (1 << k)) as usize..];
                let (first, last) = (&stretch[0], &stretch[stretch.len() - 1]);
                let mean: Vec<f64> = (0..2)
                    .map(|i| stretch.iter().map(|r| r[i]).sum::<f64>() - 0.5 * (first[i] + last[i]))
                    .collect();
                mean.inner_each(first).unwrap() <= 0.0 || mean.inner_each(last).unwrap() <= 0.0
            });
            assert_eq!(work.turns_at(leaf, norm2).unwrap(), expected, "leaf {leaf}");
            checked += 1;
            found += u32::from(expected);
        }
    }
    assert!(found > checked / 10 && found < checked, "{found} of {checked}");
}

fn run(
    energy: &impl GradEnergy<Vec<f64>>,
    kernel: &Nuts,
    start: &[f64],
    n: usize,
    seed: u64,
) -> Vec<Vec<f64>> {
    let mut rng = Stream::new(seed, Purpose::Chain, 0);
    let mut state = kernel.init(energy, start.to_vec()).unwrap();
    (0..n)
        .map(|_| {
            kernel.advance(energy, &mut state, &mut rng).unwrap();
            state.x.clone()
        })
        .collect()
}

/// Mean and covariance of a correlated Gaussian, within 4 standard errors by batch means.
#[test]
fn the_moments_of_a_gaussian_are_exact() {
    let target = Gaussian::new(vec![1.0, -2.0], vec![2.0, 0.9, 0.9, 0.5]).unwrap();
    let draws = run(&target, &Nuts::new(0.3), &[0.0, 0.0], 40_000, 1);
    let moment = |f: &dyn Fn(&[f64]) -> f64, exact: f64| {
        let means: Vec<f64> = draws[800..]
            .chunks_exact(980)
            .map(|batch| batch.iter().map(|x| f(x)).sum::<f64>() / batch.len() as f64)
            .collect();
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let error = (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert!((mean - exact).abs() < 4.0 * error, "{mean} +- {error}, exact {exact}");
        assert!(error < 0.05);
    };
    moment(&|x| x[0], 1.0);
    moment(&|x| x[1], -2.0);
    moment(&|x| (x[0] - 1.0).powi(2), 2.0);
    moment(&|x| (x[1] + 2.0).powi(2), 0.5);
    moment(&|x| (x[0] - 1.0) * (x[1] + 2.0), 0.9);
}

/// A metric is a change of coordinates: the chain on `E(x)` with metric `L L^T` is, draw for draw, the chain on
/// `E(L z)` without one.
#[test]
fn a_metric_is_a_change_of_coordinates() {
    let covariance = [2.0, 0.9, 0.9, 0.5];
    let target = Gaussian::new(vec![1.0, -2.0], vec![1.0, -0.4, -0.4, 0.7]).unwrap();
    let l = ebm_core::cholesky("covariance", 2, &covariance).unwrap();
    let map = |z: &[f64]| vec![l[0] * z[0], l[2] * z[0] + l[3] * z[1]];
    let whitened = Host::value_grad(2, |z: &[f64], g: &mut [f64]| {
        let mut at_x = vec![0.0; 2];
        let value = target.energy_grad(&map(z), &mut at_x).unwrap();
        g.copy_from_slice(&[l[0] * at_x[0] + l[2] * at_x[1], l[3] * at_x[1]]);
        value
    });
    let kernel = Nuts::new(0.4);
    let mut state = kernel.init(&target, map(&[0.3, -0.2])).unwrap();
    state.metric = Metric::dense(&state.x, 2, &covariance).unwrap();
    let mut rng = Stream::new(3, Purpose::Chain, 0);
    for z in run(&whitened, &kernel, &[0.3, -0.2], 30, 3) {
        kernel.advance(&target, &mut state, &mut rng).unwrap();
        let x = map(&z);
        assert!((state.x[0] - x[0]).abs() < 1e-9 && (state.x[1] - x[1]).abs() < 1e-9);
    }
}

/// The path length adapts: one start per chain drawn from the target must stay distributed as the target.
/// Chi-square on 16 cells of equal probability of the funnel's neck, 8,000 chains of 5 steps.
#[test]
fn the_funnel_is_left_invariant() {
    let target = Funnel::new(3).unwrap();
    let kernel = Nuts::new(0.4).max_depth(6);
    let mut counts = [0.0f64; 16];
    let n = 8000;
    for chain in 0..n {
        let mut rng = Stream::new(7, Purpose::Chain, chain);
        let start: Vec<f64> = target.sample(&mut rng);
        let mut state = kernel.init(&target, start).unwrap();
        for _ in 0..5 {
            kernel.advance(&target, &mut state, &mut rng).unwrap();
        }
        let cell = normal_cdf(state.x[0] / 3.0) * 16.0;
        counts[(cell as usize).min(15)] += 1.0;
    }
    let expected = n as f64 / 16.0;
    let chi2: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    assert!(chi2 < 49.1, "{chi2}: {counts:?}"); // 15 degrees of freedom, level 1.7e-5
}

/// Abramowitz and Stegun 7.1.26: good to 1.5e-7.
fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / 2f64.sqrt();
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let erf = 1.0 - poly * (-x * x).exp();
    if z < 0.0 { 0.5 * (1.0 - erf) } else { 0.5 * (1.0 + erf) }
}

#[test]
fn trouble_is_reported() {
    let walled = Host::value_grad(1, |x: &[f64], g: &mut [f64]| {
        g[0] = x[0];
        if x[0].abs() > 1.0 { f64::NAN } else { 0.5 * x[0] * x[0] }
    });
    let kernel = Nuts::new(0.5);
    let mut rng = Stream::new(0, Purpose::Chain, 0);
    let mut state = kernel.init(&walled, vec![0.0]).unwrap();
    let mut diverged = 0;
    for _ in 0..200 {
        let info = kernel.advance(&walled, &mut state, &mut rng).unwrap();
        diverged += u32::from(info.diverged);
        assert!(state.x[0].abs() <= 1.0 && state.energy == walled.energy(&state.x).unwrap());
    }
    assert!(diverged > 20);
    let flat = Nuts::new(1e-6).max_depth(3);
    let mut state = flat.init(&walled, vec![0.0]).unwrap();
    let info = flat.advance(&walled, &mut state, &mut rng).unwrap();
    assert!(info.saturated && info.depth == 3.0 && info.n_leapfrogs == 7.0);
    let wrong = Kernel::<Vec<f64>, Gaussian>::check(&Nuts::new(0.1).max_depth(0)).unwrap_err();
    assert!(wrong.to_string().contains("max_depth"), "{wrong}");
}
