//! Our NUTS against nuts-rs, an implementation that shares nothing with ours: the same moments, and as much
//! effective sample size per gradient. Needs the feature `nuts-rs`:
//! `cargo test -p ebm-samplers --features nuts-rs --test nuts_rs`.

#![allow(clippy::unwrap_used)]

use ebm_core::analytic::{EightSchools, Gaussian};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{GradEnergy, Host};
use ebm_metrics::chains::ess_bulk;
use ebm_samplers::{Draws, Nuts, NutsRs, SampleConfig, sample};
use ndarray::{Axis, s};

const CHAINS: usize = 32;
const DRAWS: usize = 400;

fn starts(dim: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Stream::new(seed, Purpose::Start, 0);
    (0..CHAINS).map(|_| (0..dim).map(|_| 4.0 * rng.uniform() - 2.0).collect()).collect()
}

/// Mean and standard error over the chains, each a single number.
fn over_chains(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// A difference in standard errors. Chains are independent, so their spread gives the error, whatever the mixing.
fn z(ours: &[f64], theirs: &[f64]) -> f64 {
    let ((a, sa), (b, sb)) = (over_chains(ours), over_chains(theirs));
    (a - b) / sa.hypot(sb)
}

/// Of each chain, the mean of `f` of coordinate `k`.
fn chain_means(draws: &Draws, k: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    draws.array().axis_iter(Axis(0)).map(|chain| chain.column(k).mapv(&f).mean().unwrap()).collect()
}

/// Of each chain, the bulk ESS of coordinate `k` per gradient.
fn chain_efficiencies(draws: &Draws, k: usize) -> Vec<f64> {
    let gradients = draws.statistic("n_steps").unwrap().sum_axis(Axis(1));
    (0..CHAINS).map(|c| ess_bulk(draws.array().slice(s![c..=c, .., k])).unwrap() / gradients[c]).collect()
}

/// Largest |z| over first and second moments of all coordinates, and the ratio of our ESS per gradient to theirs,
/// of the worst coordinate of theirs, with its standard error.
fn compare<E: GradEnergy<Vec<f64>> + Sync>(energy: &E, dim: usize) -> (f64, f64, f64) {
    let config = SampleConfig { n_draws: DRAWS, seed: 1, diagnostics: false, ..SampleConfig::adaptive() };
    let ours = sample(&Nuts::new(0.1), energy, starts(dim, 1), &config).unwrap().draws;
    let theirs = NutsRs::new(DRAWS).seed(2).sample(energy, starts(dim, 2)).unwrap().draws;
    let mut worst: f64 = 0.0;
    for k in 0..dim {
        for power in [1, 2] {
            let moment = |x: f64| x.powi(power);
            worst = worst.max(z(&chain_means(&ours, k, moment), &chain_means(&theirs, k, moment)).abs());
        }
    }
    let mean = |draws: &Draws, k| over_chains(&chain_efficiencies(draws, k)).0;
    let hardest = (0..dim).min_by(|a, b| mean(&theirs, *a).total_cmp(&mean(&theirs, *b))).unwrap();
    let (a, sa) = over_chains(&chain_efficiencies(&ours, hardest));
    let (b, sb) = over_chains(&chain_efficiencies(&theirs, hardest));
    (worst, a / b, a / b * (sa / a).hypot(sb / b))
}

#[test]
fn the_same_law_on_a_correlated_gaussian() {
    let dim: usize = 20;
    let covariance = (0..dim * dim).map(|k| 0.9f64.powi((k / dim).abs_diff(k % dim) as i32)).collect();
    let (worst, ratio, error) = compare(&Gaussian::new(vec![0.0; dim], covariance).unwrap(), dim);
    eprintln!(
        "largest |z| of 40 moments {worst:.2}, ESS per gradient ours / theirs {ratio:.3} +- {error:.3}"
    );
    // Two-sided at 1e-5 over 40 moments, by Student's t with 31 degrees of freedom, the least that there can be.
    assert!(worst < 6.57, "{worst}");
    assert!(ratio > 0.9, "{ratio} +- {error}");
}

#[test]
fn the_same_law_on_eight_schools() {
    let (worst, ratio, error) = compare(&EightSchools::non_centred(), 10);
    eprintln!(
        "largest |z| of 20 moments {worst:.2}, ESS per gradient ours / theirs {ratio:.3} +- {error:.3}"
    );
    assert!(worst < 6.32, "{worst}");
    assert!(ratio > 0.9, "{ratio} +- {error}");
}

#[test]
fn trouble_is_an_error_that_names_it() {
    let standard = Gaussian::standard(2).unwrap();
    let run = |starts| NutsRs::new(10).sample(&standard, starts);
    assert!(run(vec![]).unwrap_err().to_string().contains("start"));
    assert!(run(vec![vec![0.0; 2], vec![0.0; 3]]).unwrap_err().to_string().contains("start point 1"));
    assert!(NutsRs::new(0).sample(&standard, starts(2, 0)).unwrap_err().to_string().contains("n_draws"));
    let settings = NutsRs { target_accept: 1.0, ..NutsRs::new(10) };
    assert!(settings.sample(&standard, starts(2, 0)).unwrap_err().to_string().contains("target_accept"));
    let nowhere = Host::value_grad(2, |_: &[f64], grad: &mut [f64]| {
        grad.fill(f64::NAN);
        f64::NAN
    });
    let error = NutsRs::new(10).sample(&nowhere, starts(2, 0)).unwrap_err().to_string();
    assert!(error.contains("chain") && error.contains("not finite"), "{error}");
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let standard = Gaussian::standard(3).unwrap();
    let run = |seed| NutsRs::new(50).burn_in(50).seed(seed).sample(&standard, starts(3, 0)).unwrap().draws;
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
