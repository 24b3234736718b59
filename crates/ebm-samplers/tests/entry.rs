//! The entry `sample`: sinks, progress, and every bad input as one clear error.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ebm_core::analytic::Gaussian;
use ebm_core::{Block, Energy, GradEnergy, Host, Schedule};
use ebm_samplers::{Baoab, Hmc, Mala, MetricChoice, Nuts, Progress, SampleConfig, Ula, sample, sample_into};

fn config() -> SampleConfig {
    SampleConfig { n_draws: 10, burn_in: 5, thin: 3, ..Default::default() }
}

#[test]
fn a_sink_gets_the_draws_that_memory_would() {
    let law = Gaussian::standard(2).unwrap();
    let blocks = || Block::from_rows(2, &[0.5f64; 2 * 70]).unwrap();
    let kept = sample(&Ula::new(0.1), &law, blocks(), &config()).unwrap().draws.into_array();
    let rows: Mutex<Vec<(usize, Vec<f64>)>> = Mutex::default();
    let rows_ref = &rows;
    let run = sample_into(&Ula::new(0.1), &law, blocks(), &config(), |point| {
        move |draw: &[f64]| {
            rows_ref.lock().unwrap().push((point, draw.to_vec()));
            Ok(())
        }
    })
    .unwrap();
    assert_eq!(run.draws.array().dim(), (0, 0, 0));
    let mut seen = [0; 2];
    for (point, draw) in rows.into_inner().unwrap() {
        for (i, x) in draw.chunks(2).enumerate() {
            assert_eq!(kept.slice(ndarray::s![64 * point + i, seen[point], ..]).as_slice().unwrap(), x);
        }
        seen[point] += 1;
    }
    assert_eq!(seen, [10, 10]);
    let failing = sample_into(&Ula::new(0.1), &law, blocks(), &config(), |_| {
        |_: &[f64]| Err(ebm_core::Error::user("disk full"))
    });
    let text = failing.unwrap_err().to_string();
    assert!(text.starts_with("chains 0 to 63 (seed 0)") && text.ends_with("disk full"), "{text}");
}

#[test]
fn progress_is_told_and_can_stop() {
    let law = Gaussian::standard(1).unwrap();
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let progress = Progress::new(move |done, total| {
        seen.fetch_max(done, Ordering::Relaxed);
        assert_eq!(total, 4 * 1500);
        true
    });
    let config = SampleConfig { progress: Some(progress), ..Default::default() };
    sample(&Ula::new(0.1), &law, vec![vec![0.0f64]; 4], &config).unwrap();
    assert_eq!(most.load(Ordering::Relaxed), 6000);
    let config = SampleConfig { progress: Some(Progress::new(|_, _| false)), ..Default::default() };
    let stopped = sample(&Ula::new(0.1), &law, vec![vec![0.0f64]; 4], &config);
    assert!(stopped.unwrap_err().is_stopped());
}

#[test]
fn bad_input_is_one_clear_error() {
    let law = Gaussian::standard(2).unwrap();
    let start = || vec![vec![0.0f64; 2]; 3];
    let none: Vec<Vec<f64>> = Vec::new();
    let say = |r: ebm_core::Result<ebm_samplers::Run>| r.unwrap_err().to_string();
    let c = config();
    assert!(say(sample(&Ula::new(0.1), &law, none, &c)).starts_with("chains = 0: must be at least 1"));
    assert_eq!(
        say(sample(&Ula::new(-0.1), &law, start(), &c)),
        "step_size = -0.1: must be above 0 and finite"
    );
    assert!(say(sample(&Mala::new(f64::NAN), &law, start(), &c)).contains("step_size = NaN"));
    assert!(say(sample(&Hmc::new(0.1, 0), &law, start(), &c)).contains("n_leapfrogs = 0"));
    assert!(say(sample(&Hmc::new(0.1, 3).jitter(1.0), &law, start(), &c)).contains("jitter = 1"));
    assert!(say(sample(&Baoab::new(0.1, 0.0), &law, start(), &c)).contains("friction = 0"));
    let both = Ula::new(0.1).noise_scale(1.0).noise_std(0.1);
    assert!(say(sample(&both, &law, start(), &c)).contains("only one of them"));
    assert!(say(sample(&Ula::new(0.1).clamp(1.0, 1.0), &law, start(), &c)).contains("low below high"));
    let mut nan = start();
    nan[1][0] = f64::NAN;
    assert!(say(sample(&Ula::new(0.1), &law, nan, &c)).starts_with("start point 1 = NaN"));
    let mut uneven = start();
    uneven[2].push(0.0);
    assert_eq!(say(sample(&Ula::new(0.1), &law, uneven, &c)), "start point 2: expected 2, found 3");
    let wrong = vec![vec![0.0f64; 3]];
    assert!(
        say(sample(&Ula::new(0.1), &law, wrong, &c)).contains("coordinates of a point: expected 2, found 3")
    );
    let zero = SampleConfig { thin: 0, ..config() };
    assert!(say(sample(&Ula::new(0.1), &law, start(), &zero)).contains("thin = 0"));
    let adapt = SampleConfig { target_accept: Some(0.8), ..config() };
    assert!(say(sample(&Ula::new(0.1), &law, start(), &adapt)).contains("target_accept"));
    let scheduled = Hmc::new(Schedule::linear(0.1, 0.2, 10), 3);
    assert!(say(sample(&scheduled, &law, start(), &adapt)).contains("scheduled step_size"));
    let no_burn_in = SampleConfig { burn_in: 0, ..adapt };
    assert!(say(sample(&Mala::new(0.1), &law, start(), &no_burn_in)).contains("burn_in = 0"));
    let with = |metric| SampleConfig { metric, burn_in: 100, ..config() };
    let diagonal = with(MetricChoice::Diagonal);
    assert!(say(sample(&Ula::new(0.1), &law, start(), &diagonal)).contains("metric = set: must be unset"));
    assert!(say(sample(&Hmc::new(0.1, 3), &law, start(), &diagonal)).contains("together with the step size"));
    let short = SampleConfig { burn_in: 19, target_accept: Some(0.8), ..diagonal };
    assert!(say(sample(&Hmc::new(0.1, 3), &law, start(), &short)).contains("at least 20"));
    let indefinite = with(MetricChoice::FixedDense(vec![1.0, 2.0, 2.0, 1.0]));
    assert!(say(sample(&Hmc::new(0.1, 3), &law, start(), &indefinite)).contains("not positive definite"));
    let long = with(MetricChoice::FixedDiagonal(vec![1.0; 3]));
    assert!(say(sample(&Hmc::new(0.1, 3), &law, start(), &long)).contains("expected 2, found 3"));
    let empty = vec![Vec::<f64>::new()];
    assert!(say(sample(&Ula::new(0.1), &law, empty, &c)).contains("coordinates of a start point = 0"));
}

/// A gradient that is longer than its point, or shorter: kernels that evaluate it at the start, and in a step.
#[test]
fn a_gradient_of_another_length_is_an_error() {
    struct Long(usize);
    impl Energy<Vec<f64>> for Long {
        fn energy(&self, _x: &Vec<f64>) -> ebm_core::Result<f64> {
            Ok(0.0)
        }
    }
    impl GradEnergy<Vec<f64>> for Long {
        fn energy_grad(&self, _x: &Vec<f64>, grad: &mut Vec<f64>) -> ebm_core::Result<f64> {
            *grad = vec![0.0; self.0];
            Ok(0.0)
        }
    }
    for n in [1, 3] {
        let energy = Long(n);
        let expected = format!("gradient of the energy: expected 2 numbers, found {n} numbers");
        let start = || vec![vec![0.0f64; 2]; 2];
        let texts = [
            sample(&Ula::new(0.1), &energy, start(), &config()).unwrap_err().to_string(),
            sample(&Hmc::new(0.1, 3), &energy, start(), &config()).unwrap_err().to_string(),
            sample(&Nuts::new(0.1), &energy, start(), &config()).unwrap_err().to_string(),
        ];
        for text in texts {
            assert!(text.contains(&expected), "{text}");
        }
    }
}

/// An energy that blows up beyond a wall: divergences are counted, draws stay finite.
#[test]
fn divergences_are_data() {
    let wall = Host::value_grad(1, |x: &[f64], g: &mut [f64]| {
        g[0] = x[0];
        if x[0].abs() > 1.0 { f64::NAN } else { 0.5 * x[0] * x[0] }
    });
    let run = sample(&Hmc::new(0.5, 4), &wall, vec![vec![0.0f64]; 4], &SampleConfig::default()).unwrap();
    assert!(run.summary.n_diverged.iter().all(|n| *n > 50));
    assert!(run.draws.array().iter().all(|x| x.abs() <= 1.0));
    assert!(run.summary.acceptance.iter().all(|a| a.is_finite()));
}
