//! Tests of Riemannian manifold Hamiltonian Monte Carlo.

use super::*;
use crate::{SampleConfig, sample};
use ebm_core::Host;
use ebm_core::analytic::{Exact, Funnel, Gaussian, LogisticRegression};
use ebm_core::random::{Purpose, Stream};
use ebm_metrics::chains::mcse_mean;
use ndarray::{Array2, Axis};

/// The same matrix everywhere.
struct Constant(Vec<f64>);

impl RiemannianMetric for Constant {
    fn metric(&self, _x: &[f64], g: &mut [f64]) {
        g.copy_from_slice(&self.0);
    }
    fn metric_derivatives(&self, _x: &[f64], dg: &mut [f64]) {
        dg.fill(0.0);
    }
}

/// With a constant metric the steps are plain leapfrogs in the coordinates that it makes.
#[test]
fn a_constant_metric_is_plain_hmc() {
    let covariance = vec![2.0, 0.6, 0.6, 0.5];
    let law = Gaussian::new(vec![1.0, -1.0], covariance.clone()).unwrap();
    let mass = Cholesky::new("covariance", 2, &covariance).unwrap().inverse();
    let kernel = Rmhmc::new(Constant(mass.clone()), 0.6, 3);
    let mut state = kernel.init(&law, vec![0.3, 0.4]).unwrap();
    let work = &mut state.work;
    work.momentum = vec![0.5, -0.7];
    let fine =
        kernel.leapfrogs(&law, &mut work.place, &mut work.momentum, 0.6, 4, &mut work.scratch).unwrap();
    // By hand: p -= h/2 grad, x += h C p.
    let (mut x, mut p, mut g) = (vec![0.3, 0.4], [0.5, -0.7], vec![0.0; 2]);
    for _ in 0..4 {
        law.energy_grad(&x, &mut g).unwrap();
        (0..2).for_each(|i| p[i] -= 0.3 * g[i]);
        (0..2).for_each(|i| x[i] += 0.6 * (covariance[2 * i] * p[0] + covariance[2 * i + 1] * p[1]));
        law.energy_grad(&x, &mut g).unwrap();
        (0..2).for_each(|i| p[i] -= 0.3 * g[i]);
    }
    assert!(fine);
    for i in 0..2 {
        assert!((work.place.x[i] - x[i]).abs() < 1e-12 && (work.momentum[i] - p[i]).abs() < 1e-12);
    }
    let config = SampleConfig { n_draws: 1000, burn_in: 20, seed: 1, ..Default::default() };
    let run = sample(&kernel, &law, vec![vec![1.0, -1.0]; 8], &config).unwrap();
    let draws = run.draws.array();
    let check = |exact: f64, f: &dyn Fn(f64, f64) -> f64| {
        let values =
            Array2::from_shape_fn((8, 1000), |(c, t)| f(draws[[c, t, 0]] - 1.0, draws[[c, t, 1]] + 1.0));
        let (mean, error) = (values.mean().unwrap(), mcse_mean(values.view()).unwrap());
        assert!((mean - exact).abs() < 4.5 * error && error < 0.1, "{mean} +- {error}, exact {exact}");
    };
    check(0.0, &|x, _| x);
    check(2.0, &|x, _| x * x);
    check(0.6, &|x, y| x * y);
    check(0.5, &|_, y| y * y);
}

/// On a metric that changes: back to the start with the momentum reversed, and an energy error of second order.
#[test]
fn leapfrogs_are_reversible_and_of_second_order() {
    let law = Funnel::new(3).unwrap();
    let run = |h: f64, n: u32| {
        let kernel = Rmhmc::new(&law, h, n).tolerance(1e-13);
        let mut state = kernel.init(&law, vec![0.5, 1.0, -0.7]).unwrap();
        let work = &mut state.work;
        work.momentum = vec![0.8, -0.6, 0.3];
        let start = work.place.hamiltonian(&work.momentum, &mut work.scratch.v);
        let (place, momentum) = (&mut work.place, &mut work.momentum);
        assert!(kernel.leapfrogs(&law, place, momentum, h, n, &mut work.scratch).unwrap());
        let error = place.hamiltonian(momentum, &mut work.scratch.v) - start;
        momentum.iter_mut().for_each(|p| *p = -*p);
        assert!(kernel.leapfrogs(&law, place, momentum, h, n, &mut work.scratch).unwrap());
        for (found, exact) in place.x.iter().zip([0.5, 1.0, -0.7]) {
            assert!((found - exact).abs() < 1e-9);
        }
        for (found, exact) in momentum.iter().zip([-0.8, 0.6, -0.3]) {
            assert!((found - exact).abs() < 1e-9);
        }
        error.abs()
    };
    let order = (run(0.02, 60) / run(0.01, 120)).log2();
    assert!((order - 2.0).abs() < 0.05, "{order}");
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

/// From exact draws in 4000 independent chains, after steps so long that some are rejected: `v / 3` and
/// `x e^(-v / 2)` are still standard normal. Chi-square on 16 cells of equal probability.
#[test]
fn the_funnel_is_left_invariant() {
    let (law, n) = (Funnel::new(3).unwrap(), 4000);
    let kernel = Rmhmc::new(&law, 0.9, 3);
    let (mut counts, mut accepted, mut diverged) = ([[0.0f64; 16]; 2], 0, 0);
    for chain in 0..n {
        let mut rng = Stream::new(6, Purpose::Chain, chain);
        let mut state = kernel.init(&law, law.sample(&mut rng)).unwrap();
        for _ in 0..4 {
            let info = kernel.advance(&law, &mut state, &mut rng).unwrap();
            accepted += u32::from(info.accepted);
            diverged += u32::from(info.diverged);
        }
        let x = &state.x;
        for (counts, z) in counts.iter_mut().zip([x[0] / 3.0, x[2] * (-0.5 * x[0]).exp()]) {
            counts[((normal_cdf(z) * 16.0) as usize).min(15)] += 1.0;
        }
    }
    let share = f64::from(accepted) / (4 * n) as f64;
    assert!((0.3..0.97).contains(&share), "the test is too weak: acceptance {share}, diverged {diverged}");
    for counts in counts {
        let expected = n as f64 / 16.0;
        let chi2: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
        assert!(chi2 < 49.1, "{chi2}: {counts:?}"); // 15 degrees of freedom, level 1.7e-5
    }
}

/// The posterior of logistic regression: the same means as plain HMC, within both errors.
#[test]
fn logistic_regression_has_the_means_of_plain_hmc() {
    let law = LogisticRegression::synthetic(3, 40, 0.5, 1).unwrap();
    let config = SampleConfig { n_draws: 600, burn_in: 50, seed: 2, ..Default::default() };
    let starts = || vec![vec![0.0; 3]; 8];
    let curved = sample(&Rmhmc::new(&law, 0.4, 4), &law, starts(), &config).unwrap();
    let plain = sample(&crate::Hmc::new(0.25, 6), &law, starts(), &config).unwrap();
    let (acceptance, diverged) = (&curved.summary.acceptance, &curved.summary.n_diverged);
    let few = diverged.iter().sum::<u64>() < 8 * 600 / 20;
    assert!(few && acceptance.iter().all(|a| *a > 0.5), "the test is too weak: {acceptance:?}, {diverged:?}");
    for i in 0..3 {
        let mean = |run: &crate::Run| {
            let draws = run.draws.array();
            let values = draws.index_axis(Axis(2), i);
            (values.mean().unwrap(), mcse_mean(values).unwrap())
        };
        let ((a, a_error), (b, b_error)) = (mean(&curved), mean(&plain));
        assert!((a - b).abs() < 4.5 * a_error.hypot(b_error), "{i}: {a} +- {a_error}, {b} +- {b_error}");
    }
}

#[test]
fn trouble_is_an_error_at_the_start_and_a_rejection_on_the_way() {
    /// Positive definite for `x_0 < 1` alone.
    struct Half;
    impl RiemannianMetric for Half {
        fn metric(&self, x: &[f64], g: &mut [f64]) {
            g.copy_from_slice(&[1.0 - x[0], 0.0, 0.0, 1.0]);
        }
        fn metric_derivatives(&self, _x: &[f64], dg: &mut [f64]) {
            dg.fill(0.0);
            dg[0] = -1.0;
        }
    }
    let law = Gaussian::standard(2).unwrap();
    let kernel = Rmhmc::new(Half, 0.5, 3);
    let error = kernel.init(&law, vec![2.0, 0.0]).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("metric at the start[0, 0] = -1: must be above 0"), "{error}");
    let mut rng = Stream::new(0, Purpose::Chain, 0);
    let mut state = kernel.init(&law, vec![0.5, 0.0]).unwrap();
    let mut diverged = 0;
    for _ in 0..500 {
        let (before, info) = (state.x.clone(), kernel.advance(&law, &mut state, &mut rng).unwrap());
        diverged += u32::from(info.diverged);
        assert!(
            state.x[0] < 1.0 && (info.accepted || state.x == before) && !(info.accepted && info.diverged)
        );
        assert_eq!((&state.x, state.energy), (&state.work.place.x, state.work.place.energy));
    }
    assert!((10..490).contains(&diverged), "{diverged}");

    // One iteration solves nothing on a metric that changes; steps far too long do not converge either.
    let funnel = Funnel::new(3).unwrap();
    for kernel in [Rmhmc::new(&funnel, 0.5, 1).max_iterations(1), Rmhmc::new(&funnel, 50.0, 1)] {
        let mut state = kernel.init(&funnel, vec![0.5, 1.0, -0.7]).unwrap();
        let flagged =
            (0..50).filter(|_| kernel.advance(&funnel, &mut state, &mut rng).unwrap().diverged).count();
        assert!(flagged > 45, "{flagged}");
    }
    let nan = Host::value_grad(2, |x: &[f64], g: &mut [f64]| {
        g.copy_from_slice(x);
        if x[0].abs() > 1.0 { f64::NAN } else { 0.5 * (x[0] * x[0] + x[1] * x[1]) }
    });
    let kernel = Rmhmc::new(Constant(vec![1.0, 0.0, 0.0, 1.0]), 0.5, 3);
    let mut state = kernel.init(&nan, vec![0.0; 2]).unwrap();
    let flagged = (0..200).filter(|_| kernel.advance(&nan, &mut state, &mut rng).unwrap().diverged).count();
    assert!(flagged > 20 && state.x[0].abs() <= 1.0 && state.energy.is_finite(), "{flagged}");
}

#[test]
fn bad_settings_are_errors() {
    let check =
        |kernel: Rmhmc<Constant>| Kernel::<Vec<f64>, Gaussian>::check(&kernel).unwrap_err().to_string();
    let new = |h: f64, n| Rmhmc::new(Constant(vec![1.0]), h, n);
    let good = || new(0.1, 3);
    assert!(check(new(0.0, 3)).starts_with("step_size = 0"));
    assert!(check(new(0.1, 0)).starts_with("n_leapfrogs = 0"));
    assert!(check(good().tolerance(0.0)).starts_with("tolerance = 0"));
    assert!(check(good().tolerance(f64::NAN)).starts_with("tolerance = NaN"));
    assert!(check(good().max_iterations(0)).starts_with("max_iterations = 0"));
    assert!(good().check_reversibility(false).tolerance == 1e-10);
}
