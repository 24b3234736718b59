//! Tests of parallel tempering.

use super::*;
use crate::{Flat, Hmc, SampleConfig, sample};
use ebm_core::analytic::GaussianMixture;
use ebm_metrics::chains::mcse_mean;
use ndarray::Array2;

/// Two modes 10 standard deviations apart.
fn target() -> GaussianMixture {
    let means = vec![vec![-5.0, 0.0], vec![5.0, 0.0]];
    GaussianMixture::new(vec![0.3, 0.7], means, vec![1.0; 2]).unwrap()
}

fn left(draws: &Array3<f64>) -> Array2<f64> {
    draws.index_axis(ndarray::Axis(2), 0).mapv(|x| f64::from(u8::from(x < 0.0)))
}

#[test]
fn the_modes_have_their_weights_where_one_chain_fails() {
    let (law, kernel, starts) = (target(), Hmc::new(0.5, 5), vec![vec![5.0, 0.0]; 8]);
    let tempering = Tempering { n_draws: 4000, seed: 1, ..Tempering::geometric(0.05, 6) };
    let run = tempering.run(&kernel, &Flat, &law, starts.clone()).unwrap();
    let share = left(&run.draws);
    let (mean, se) = (share.mean().unwrap(), mcse_mean(share.view()).unwrap());
    assert!((mean - 0.3).abs() < 4.0 * se && se < 0.03, "{mean} +- {se}");
    for (verdict, trips) in run.verdicts.iter().zip(&run.round_trips) {
        assert!(matches!(verdict, Verdict::Healthy { .. }) && *trips > 20, "{verdict}");
    }
    let text = format!("{mean} +- {se}, {:?} {} {:?}", run.betas, run.barrier, run.round_trips);
    assert!(run.barrier > 0.3 && run.barrier < 5.0, "{text}");
    let alone = sample(&kernel, &law, starts, &SampleConfig { n_draws: 4000, ..Default::default() }).unwrap();
    // A chain alone hardly ever crosses: its share of the other mode is far from 0.3.
    let share = left(&alone.draws.into_array()).mean().unwrap();
    assert!(share < 0.05, "{share}");
}

/// Two states with slopes 0.3 and 1.7 on two rungs: the flow of a swap equals the flow back.
#[test]
fn a_swap_satisfies_detailed_balance() {
    let (betas, slopes) = ([0.2, 0.9], [0.3, 1.7]);
    let weight = |i: usize, j: usize| f64::exp(-betas[0] * slopes[i] - betas[1] * slopes[j]);
    let flow = |i: usize, j: usize| weight(i, j) * swap_probability(betas[0], betas[1], slopes[i], slopes[j]);
    assert!((flow(0, 1) - flow(1, 0)).abs() < 1e-15);
    assert_eq!(swap_probability(0.2, 0.9, f64::NAN, 1.0), 0.0);
}

#[test]
fn threads_do_not_matter() {
    let law = target();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let tempering = Tempering { n_draws: 20, warm_up_rounds: 2, ..Tempering::geometric(0.1, 4) };
        let run = pool.install(|| tempering.run(&Hmc::new(0.5, 4), &Flat, &law, vec![vec![1.0, 0.0]; 5]));
        run.map(|r| (r.draws, r.betas)).unwrap()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn bad_settings_are_errors() {
    let law = target();
    let text = |tempering: Tempering, x: Vec<f64>| {
        tempering.run(&Hmc::new(0.5, 4), &Flat, &law, vec![x]).unwrap_err().to_string()
    };
    let good = || Tempering::geometric(0.1, 3);
    let x = || vec![0.0; 2];
    assert!(text(Tempering::geometric(0.1, 1), x()).starts_with("number of betas = 1"));
    assert!(text(Tempering { betas: vec![0.5, 0.4, 1.0], ..good() }, x()).starts_with("betas[1] = 0.4"));
    assert!(text(Tempering { betas: vec![0.5, 0.9], ..good() }, x()).starts_with("the last beta = 0.9"));
    assert!(text(Tempering { betas: vec![0.0, 1.0], ..good() }, x()).starts_with("betas[0] = 0"));
    assert!(text(Tempering { steps: RungSteps::Given(vec![]), ..good() }, x()).starts_with("warm_up_rounds"));
    assert!(text(Tempering { explore: 0, ..good() }, x()).starts_with("explore = 0"));
    assert!(text(good(), vec![]).starts_with("coordinates of a start point = 0"));
}

/// In 20 coordinates two rungs from 0.001 to 1 never swap; the verdict says so.
#[test]
fn a_ladder_with_a_gap_is_called_out() {
    let law = ebm_core::analytic::Gaussian::standard(20).unwrap();
    let tempering = Tempering { n_draws: 300, ..Tempering::geometric(0.001, 2) };
    let run = tempering.run(&Hmc::new(0.5, 4), &Flat, &law, vec![vec![0.0; 20]]).unwrap();
    assert!(matches!(run.verdicts[0], Verdict::TooFewRungs { pair: 0, .. }), "{}", run.verdicts[0]);
    assert_eq!(run.round_trips, [0]);
}
