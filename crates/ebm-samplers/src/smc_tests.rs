//! Tests of sequential Monte Carlo.

use super::*;
use crate::{Hmc, Mala, SampleConfig, sample};
use ebm_core::Host;
use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};

fn draws(law: &dyn Exact, n: usize, index: u64) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(4, Purpose::Start, index);
    (0..n).map(|_| law.sample(&mut stream)).collect()
}

fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// Two modes 10 standard deviations apart, from a wide normal law.
fn separated() -> (Gaussian, GaussianMixture) {
    let means = vec![vec![-5.0, 0.0], vec![5.0, 0.0]];
    let end = GaussianMixture::new(vec![0.3, 0.7], means, vec![1.0; 2]).unwrap();
    (Gaussian::diagonal(vec![0.0; 2], vec![36.0; 2]).unwrap(), end)
}

/// `ln Z`, the weights of the modes and both standard errors over 24 seeds, where a chain alone stays where it is.
#[test]
fn separated_modes_have_their_weights_and_log_z() {
    let (start, end) = separated();
    let kernel = Hmc::new(0.7, 4);
    let runs: Vec<_> = (0..24)
        .map(|seed| {
            let smc = Smc { seed, ..Smc::default() };
            smc.run(&kernel, &start, &end, draws(&start, 500, seed), start.log_partition()).unwrap()
        })
        .collect();
    let left = |run: &SmcRun<Vec<f64>>| run.expectation(|x| f64::from(u8::from(x[0] < 0.0)));
    let check = |what: &str, exact: f64, found: Vec<(f64, f64)>| {
        let (mean, sd) = mean_and_sd(&found.iter().map(|f| f.0).collect::<Vec<_>>());
        assert!(
            (mean - exact).abs() < 4.0 * sd / 24f64.sqrt(),
            "{what}: {mean} +- {sd} a run, exact {exact}"
        );
        for (value, error) in &found {
            assert!((value - exact).abs() < 4.5 * error, "{what}: {value} +- {error}, exact {exact}");
        }
        // The errors that the runs report are those that the runs make: 23 degrees of freedom, level 1e-5 each side.
        let reported = (found.iter().map(|f| f.1 * f.1).sum::<f64>() / 24.0).sqrt();
        assert!((0.43..1.68).contains(&(sd / reported)), "{what}: sd {sd}, reported {reported}");
    };
    check("ln Z", 0.0, runs.iter().map(|r| (r.log_z, r.std_error)).collect());
    check("weight of the left mode", 0.3, runs.iter().map(left).collect());
    assert!(runs.iter().all(|r| r.n_lineages() > 50 && r.n_resampled > 0 && r.std_error < 0.2));
    let config = SampleConfig { n_draws: 500, ..Default::default() };
    let alone = sample(&kernel, &end, vec![vec![5.0, 0.0]; 4], &config).unwrap();
    assert!(alone.draws.array().index_axis(ndarray::Axis(2), 0).iter().filter(|x| **x < 0.0).count() < 40);
}

#[test]
fn gaussian_to_gaussian_with_steps_that_adapt() {
    let start = Gaussian::standard(5).unwrap();
    let end = Gaussian::diagonal(vec![1.0, 0.0, -1.0, 0.5, 0.0], vec![0.01, 0.5, 0.02, 2.0, 0.1]).unwrap();
    let found: Vec<_> = (0..12)
        .map(|seed| {
            // Far too long a step for the end: it has to shrink on the way.
            let smc = Smc { seed, n_steps: 2, ..Smc::default() };
            let run =
                smc.run(&Hmc::new(1.0, 4), &start, &end, draws(&start, 300, seed), start.log_partition());
            let run = run.unwrap();
            let last = run.step_sizes.len() - 1;
            assert!(run.step_sizes[last] < 0.4 && run.acceptance[last] > 0.5, "{:?}", run.step_sizes);
            assert!(run.betas.windows(2).all(|w| w[0] < w[1]) && run.betas[run.betas.len() - 1] == 1.0);
            assert!((run.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let (mean, error) = run.expectation(|x| x[0]);
            assert!((mean - 1.0).abs() < 4.5 * error, "{mean} +- {error}");
            (run.log_z - end.log_partition(), run.std_error)
        })
        .collect();
    let (mean, sd) = mean_and_sd(&found.iter().map(|f| f.0).collect::<Vec<_>>());
    assert!(mean.abs() < 4.0 * sd / 12f64.sqrt(), "{mean} +- {sd} a run");
}

/// Each parent gets its expected number of children, rounded down or up, and none where the weight is 0.
#[test]
fn systematic_resampling_is_unbiased_and_even() {
    let weights = [0.0, 0.31, 0.02, 0.0, 0.4, 0.27, 0.0];
    let mut totals = [0.0; 7];
    for k in 0..1000 {
        let parents = systematic(&weights, (f64::from(k) + 0.5) / 1000.0);
        for (i, w) in weights.iter().enumerate() {
            let children = parents.iter().filter(|p| **p == i).count() as f64;
            assert!((children - 7.0 * w).abs() < 1.0, "{i} {children}");
            totals[i] += children / 1000.0;
        }
    }
    for (total, w) in totals.iter().zip(weights) {
        assert!((total - 7.0 * w).abs() < 2e-3, "{total} {w}");
    }
    assert_eq!(systematic(&[1.0, 0.0], 0.999_999_999), [0, 0]);
}

#[test]
fn the_next_beta_keeps_its_share() {
    let (slopes, weights) = ([3.0, -200.0, 500.0, 40.0, f64::NAN], [0.2; 5]);
    let smc = Smc { ess_share: 0.6, ..Smc::default() };
    let next = smc.next_beta(0.1, &weights, &slopes).unwrap();
    let factors: Vec<f64> = slopes[..4].iter().map(|s| (-(next - 0.1) * (s + 200.0)).exp()).collect();
    let (sum, squares) = (factors.iter().sum::<f64>(), factors.iter().map(|f| f * f).sum::<f64>());
    assert!((sum * sum / squares / 4.0 - 0.6).abs() < 1e-9);
    assert_eq!(smc.next_beta(0.1, &weights, &[1.0; 5]).unwrap(), 1.0);
    let text = smc.next_beta(0.0, &weights, &[f64::NAN; 5]).unwrap_err().to_string();
    assert!(
        text.starts_with("difference of the energies at beta = 0 = NaN or infinite: must be finite"),
        "{text}"
    );
}

/// A hard wall at 0: half of the particles die at once, and `Z` is halved.
#[test]
fn infinite_energies_are_weight_zero() {
    let start = Gaussian::standard(1).unwrap();
    for beyond in [f64::INFINITY, f64::NAN] {
        let wall = Host::value_grad(1, move |x: &[f64], g: &mut [f64]| {
            g[0] = x[0];
            if x[0] < 0.0 { beyond } else { 0.5 * x[0] * x[0] }
        });
        let smc = Smc { target_accept: None, ..Smc::default() };
        let run =
            smc.run(&Mala::new(0.5), &start, &wall, draws(&start, 1000, 0), start.log_partition()).unwrap();
        let exact = start.log_partition() - std::f64::consts::LN_2;
        assert!((run.log_z - exact).abs() < 4.0 * run.std_error, "{} +- {}", run.log_z, run.std_error);
        assert!(run.points.iter().zip(&run.weights).all(|(x, w)| *w == 0.0 || x[0] >= 0.0));
    }
}

#[test]
fn threads_do_not_matter() {
    let (start, end) = separated();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let x = draws(&start, 50, 0);
        let run = pool.install(|| Smc::default().run(&Hmc::new(0.7, 4), &start, &end, x, 0.0)).unwrap();
        (run.points, run.weights, run.betas)
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn bad_settings_are_errors() {
    let (start, end) = separated();
    let text = |smc: Smc, x: Vec<Vec<f64>>| {
        smc.run(&Hmc::new(0.5, 4), &start, &end, x, 0.0).unwrap_err().to_string()
    };
    let (good, x) = (Smc::default, || vec![vec![0.0; 2]; 2]);
    assert_eq!(text(good(), vec![]), "particles = 0: must be at least 2; take 1000");
    assert!(text(good(), vec![vec![]; 2]).starts_with("coordinates of a start point = 0"));
    assert!(text(Smc { ess_share: 1.0, ..good() }, x()).starts_with("ess_share = 1"));
    assert!(text(Smc { resample_below: f64::NAN, ..good() }, x()).starts_with("resample_below = NaN"));
    assert!(text(Smc { n_steps: 0, ..good() }, x()).starts_with("n_steps = 0"));
    assert!(text(Smc { target_accept: Some(1.5), ..good() }, x()).starts_with("target_accept = 1.5"));
    let few = Smc { max_stages: 2, ..good() };
    assert!(text(few, draws(&start, 100, 0)).starts_with("beta after max_stages changes"));
    let nan = Host::value_grad(2, |_: &[f64], _: &mut [f64]| f64::NAN);
    let all_nan = good().run(&Hmc::new(0.5, 4), &start, &nan, x(), 0.0).unwrap_err().to_string();
    assert!(all_nan.starts_with("difference of the energies at beta = 0"), "{all_nan}");
}
