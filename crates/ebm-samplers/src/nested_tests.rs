//! Tests of nested sampling.

use super::*;
use ebm_core::Host;
use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};

const SEEDS: u64 = 24;

fn draws(law: &dyn Exact, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(seed, Purpose::Start, 0);
    (0..n).map(|_| law.sample(&mut stream)).collect()
}

/// A run for each seed.
fn runs<A, B>(start: &A, end: &B, n: usize) -> Vec<NestedRun<Vec<f64>>>
where
    A: Exact + Energy<Vec<f64>> + Sync,
    B: Energy<Vec<f64>> + Sync,
{
    let one = |seed| {
        let nested = Nested { seed, ..Nested::default() };
        nested.run(start, end, draws(start, n, seed), start.log_partition()).unwrap()
    };
    (0..SEEDS).map(one).collect()
}

fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// `ln Z` of each run and of all together, and the standard errors: those that the runs report are those they make.
fn assert_log_z(runs: &[NestedRun<Vec<f64>>], exact: f64) {
    let z: Vec<f64> = runs.iter().map(|run| (run.log_z - exact) / run.std_error).collect();
    let (mean, sd) = mean_and_sd(&z);
    assert!(z.iter().all(|z| z.abs() < 4.5), "{z:?}");
    assert!(mean.abs() < 4.5 / (SEEDS as f64).sqrt(), "mean z {mean}");
    // 23 degrees of freedom, level 1e-5 each side.
    assert!((0.43..1.68).contains(&sd), "sd of z {sd}");
    for run in runs {
        assert_eq!((run.n_stuck, run.points.len()), (0, run.weights.len()));
        assert!((run.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(run.effective_size > 50.0 && run.effective_size < run.points.len() as f64);
    }
}

/// The mean of `f` under the end, over the runs' own scatter.
fn assert_mean(runs: &[NestedRun<Vec<f64>>], f: impl Fn(&[f64]) -> f64, exact: f64) {
    let of = |run: &NestedRun<Vec<f64>>| run.points.iter().zip(&run.weights).map(|(x, w)| w * f(x)).sum();
    let (mean, sd) = mean_and_sd(&runs.iter().map(of).collect::<Vec<f64>>());
    // Student's law of 23 degrees of freedom: 1e-5 two-sided.
    assert!((mean - exact).abs() < 5.6 * sd / (SEEDS as f64).sqrt(), "{mean} +- {sd} a run, exact {exact}");
}

#[test]
fn gaussians_in_one_two_and_five_dimensions() {
    for dim in [1, 2, 5] {
        let start = Gaussian::diagonal(vec![0.0; dim], vec![9.0; dim]).unwrap();
        let mean: Vec<f64> = (0..dim).map(|i| 1.0 - 0.5 * i as f64).collect();
        let covariance: Vec<f64> =
            (0..dim * dim).map(|k| 0.5 * (-0.7f64).powi((k / dim).abs_diff(k % dim) as i32)).collect();
        let end = Gaussian::new(mean.clone(), covariance.clone()).unwrap();
        let runs = runs(&start, &end, 60);
        assert_log_z(&runs, end.log_partition());
        for i in 0..dim {
            assert_mean(&runs, |x| x[i], mean[i]);
            assert_mean(&runs, |x| (x[i] - mean[i]) * (x[0] - mean[0]), covariance[i]);
        }
        // Kullback and Leibler's divergence of the end from the start, in closed form.
        let trace = 0.5 * dim as f64 / 9.0;
        let square = mean.iter().map(|m| m * m).sum::<f64>() / 9.0;
        let log_dets = 2.0 * (start.log_partition() - end.log_partition());
        let exact = 0.5 * (trace + square - dim as f64 + log_dets);
        let (information, sd) = mean_and_sd(&runs.iter().map(|run| run.information).collect::<Vec<_>>());
        assert!((information - exact).abs() < 5.6 * sd / (SEEDS as f64).sqrt(), "{information} {exact}");
    }
}

/// Two modes 10 standard deviations apart.
#[test]
fn separated_modes_have_their_weights_and_log_z() {
    let start = Gaussian::diagonal(vec![0.0; 2], vec![36.0; 2]).unwrap();
    let means = vec![vec![-5.0, 0.0], vec![5.0, 0.0]];
    let end = GaussianMixture::new(vec![0.3, 0.7], means, vec![1.0; 2]).unwrap();
    let runs = runs(&start, &end, 100);
    assert_log_z(&runs, 0.0);
    assert_mean(&runs, |x| f64::from(u8::from(x[0] < 0.0)), 0.3);
}

/// Likelihoods of two values only: without labels a bound would shut out all of the points that equal it.
#[test]
fn equal_likelihoods_are_told_apart() {
    let start = Gaussian::standard(1).unwrap();
    let inner = 1.0 - ebm_metrics::samples::two_sided(1.0);
    for (outside, z) in [(0.1f64, inner + 0.1 * (1.0 - inner)), (0.0, inner)] {
        for trouble in [f64::INFINITY, f64::NAN] {
            let end = Host::value(1, |x: &[f64]| {
                let energy = 0.5 * x[0] * x[0];
                match (x[0].abs() < 1.0, outside > 0.0) {
                    (true, _) => energy,
                    (false, true) => energy - outside.ln(),
                    (false, false) => trouble,
                }
            });
            let runs = runs(&start, &end, 50);
            assert_log_z(&runs, start.log_partition() + z.ln());
        }
    }
}

/// A box with walls as the prior.
#[test]
fn a_uniform_prior_is_an_energy_with_walls() {
    let start = Host::value(2, |x: &[f64]| if x.iter().all(|x| x.abs() < 5.0) { 0.0 } else { f64::INFINITY });
    let end = Gaussian::new(vec![1.0, 0.0], vec![0.2, 0.15, 0.15, 0.2]).unwrap();
    let one = |seed| {
        let mut stream = Stream::new(seed, Purpose::Start, 0);
        let mut uniform = || 10.0 * stream.uniform() - 5.0;
        let draws = (0..100).map(|_| vec![uniform(), uniform()]).collect();
        Nested { seed, ..Nested::default() }.run(&start, &end, draws, 100f64.ln()).unwrap()
    };
    let runs: Vec<_> = (0..SEEDS).map(one).collect();
    // The end has next to no mass beyond the walls.
    assert_log_z(&runs, end.log_partition());
}

#[test]
fn threads_do_not_matter() {
    let (start, end) =
        (Gaussian::standard(2).unwrap(), Gaussian::diagonal(vec![0.5; 2], vec![0.1; 2]).unwrap());
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let run = pool.install(|| Nested::default().run(&start, &end, draws(&start, 40, 0), 0.0).unwrap());
        (run.points, run.weights, run.log_z)
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn bad_settings_are_errors() {
    let (start, end) = (Gaussian::standard(2).unwrap(), Gaussian::standard(2).unwrap());
    let text = |nested: Nested, x: Vec<Vec<f64>>| nested.run(&start, &end, x, 0.0).unwrap_err().to_string();
    let (good, x) = (Nested::default, || vec![vec![0.0; 2]; 20]);
    assert!(text(good(), vec![]).starts_with("live points = 0: must be at least 2"));
    assert!(text(good(), vec![vec![0.0; 2]; 2]).contains("above the 2 coordinates"));
    assert!(text(good(), vec![vec![]; 20]).starts_with("coordinates of a start point = 0"));
    assert!(text(Nested { n_sweeps: 0, ..good() }, x()).starts_with("n_sweeps = 0"));
    assert!(
        text(Nested { n_parallel: 11, ..good() }, x()).starts_with("n_parallel = 11: must be from 1 to 10")
    );
    assert!(text(Nested { remaining: 0.0, ..good() }, x()).starts_with("remaining = 0"));
    assert!(text(Nested { max_points: 0, ..good() }, x()).starts_with("max_points = 0"));
    let nan = Host::value(2, |_: &[f64]| f64::NAN);
    let error = good().run(&start, &nan, x(), 0.0).unwrap_err().to_string();
    assert!(error.starts_with("energy of the end at the draws = NaN or infinite"), "{error}");
    let error = good().run(&nan, &end, x(), 0.0).unwrap_err().to_string();
    assert!(error.starts_with("energy of the start at draw 0 = NaN"), "{error}");
    let narrow = Gaussian::diagonal(vec![0.0; 2], vec![1e-4; 2]).unwrap();
    let few = Nested { max_points: 20, ..good() };
    let error = few.run(&start, &narrow, draws(&start, 40, 0), 0.0).unwrap_err().to_string();
    assert!(error.starts_with("share of Z after max_points"), "{error}");
}
