//! The same kernels on tensors: exact moments, adaptation per chain, draws copied out in order.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

use std::f64::consts::PI;

use ebm_core::analytic::{Exact, Gaussian};
use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Energy, GradEnergy, TensorScalar, Torch};
use ebm_metrics::chains::mcse_mean;
use ebm_samplers::{
    Baoab, DrawFolder, Hmc, Info, Mala, Mclmc, MclmcAdjusted, Nuts, Observer, SampleConfig, State, Ula,
    sample, sample_batch, sample_into,
};
use ndarray::{Array2, ArrayView3, s};
use tch::{Device, Kind, Tensor, nn};

fn start(n: i64, d: i64) -> Tensor {
    // These tensors are small: a second thread would only be waited for, and long when other programs run.
    tch::set_num_threads(1);
    TensorRng::new(0, Purpose::Start).normal(&[n, d], 1.0, Kind::Float, Device::Cpu).unwrap()
}

fn assert_variance(draws: ArrayView3<f64>, i: usize, mean: f64, expected: f64) {
    let (chains, n, _) = draws.dim();
    let values = Array2::from_shape_fn((chains, n), |(c, d)| (draws[[c, d, i]] - mean).powi(2));
    let (found, se) = (values.mean().unwrap(), mcse_mean(values.view()).unwrap());
    assert!((found - expected).abs() < 4.0 * se, "variance {i}: {found} against {expected}, se {se}");
    assert!(se < 0.1 * expected);
}

#[test]
fn kernels_are_exact_or_biased_as_known() {
    let law = Gaussian::new(vec![1.0, -2.0], vec![2.0, 0.6, 0.6, 0.5]).unwrap();
    let config = SampleConfig { n_draws: 400, burn_in: 150, seed: 2, ..Default::default() };
    let (mean, covariance) = (law.mean(), law.covariance());
    let adapted = SampleConfig { target_accept: Some(0.8), ..config.clone() };
    let hmc = sample(&Hmc::new(0.2, 5), &law, start(256, 2), &adapted).unwrap();
    let mala = sample(&Mala::new(0.6), &law, start(512, 2), &config).unwrap();
    let mclmc = sample(&MclmcAdjusted::new(0.8, 3), &law, start(256, 2), &adapted).unwrap();
    let nuts = sample(&Nuts::new(0.2), &law, start(256, 2), &adapted).unwrap();
    for run in [&hmc, &mala, &mclmc, &nuts] {
        assert_variance(run.draws.array(), 0, mean[0], covariance[0]);
        assert_variance(run.draws.array(), 1, mean[1], covariance[3]);
        assert_eq!(run.summary.n_diverged.iter().sum::<u64>(), 0);
    }
    assert!(
        hmc.summary.step_size.iter().any(|h| (h - hmc.summary.step_size[0]).abs() > 1e-3),
        "one step size per chain"
    );
    let standard = Gaussian::standard(1).unwrap();
    let ula = sample(&Ula::new(0.5), &standard, start(512, 1), &config).unwrap();
    assert_variance(ula.draws.array(), 0, 0.0, 2.0 / 1.5);
    // Small steps: a bias of about h^2 / 100 is far below the standard error.
    let unadjusted = sample(&Mclmc::new(0.25, 1.6), &law, start(512, 2), &config).unwrap();
    assert_variance(unadjusted.draws.array(), 0, mean[0], covariance[0]);
    assert_variance(unadjusted.draws.array(), 1, mean[1], covariance[3]);
    let baoab = sample(&Baoab::new(1.0, 1.0), &standard, start(512, 1), &config).unwrap();
    assert_variance(baoab.draws.array(), 0, 0.0, 1.0);
}

/// A long adaptation ends at its target, up to Monte-Carlo error and to what the scheme itself leaves.
///
/// On N(0, 1) a leapfrog of length `h` is accepted with probability `a(h) = 1 - 2 / pi arctan(h^3 / 8)`: twice the
/// probability that its energy error, a quadratic form of two normals, is negative. Write `t` for the target, `m`
/// for the steps of adaptation, `s^2` for the variance of one acceptance and `a'`, `a''` for derivatives by `ln h`.
///
/// - While it adapts, `ln h` moves by `g (acceptance - t)`, `g = 20 / sqrt(m)`, so the mean acceptance of those
///   steps is `t` and the variance of `ln h` is `v = g s^2 / (2 |a'|)`. What is kept is the average of `ln h`, and
///   `a` is concave there: acceptance ends above `t`, by `-a'' v / 2`. Here `a'' = 3 cos(pi (1 - t)) a'`, and an
///   acceptance in [0, 1] with mean `t` has `s^2 <= t (1 - t)`.
/// - It ends below `t` by Monte-Carlo error, and because the steps are pulled towards 10 times the first one; the
///   pull is `0.05 |ln(10 h_0 / h)| / (2 sqrt(m))`, below 2e-4.
/// - The average takes in a step with weight `w = m^-0.75`, so the chains' `ln h` differ with variance
///   `s^2 w / (2 a'^2)`. The steps themselves differ ten times as much.
#[test]
fn adapted_acceptance_is_on_target() {
    let (n_chains, m) = (512, 4000);
    let law = Gaussian::standard(1).unwrap();
    let config = |target| SampleConfig {
        n_draws: 500,
        burn_in: m,
        seed: 3,
        target_accept: Some(target),
        ..Default::default()
    };
    let hmc = sample(&Hmc::new(0.2, 1), &law, start(n_chains, 1), &config(0.8)).unwrap();
    let mala = sample(&Mala::new(0.2), &law, start(n_chains, 1), &config(0.57)).unwrap();
    for (run, target) in [(hmc, 0.8), (mala, 0.57)] {
        // Chains are independent, each with its own step: the spread between them holds all Monte-Carlo error.
        let mean_and_error = |values: &[f64]| {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            (mean, (variance / n).sqrt())
        };
        let (found, se) = mean_and_error(&run.summary.acceptance);
        let angle = PI * (1.0 - target);
        let (m, variance) = (m as f64, target * (1.0 - target));
        let excess = 0.75 * angle.cos() * variance * 20.0 / m.sqrt();
        assert!(se < 1e-3, "the test is too weak, standard error {se}");
        assert!(found > target - 4.0 * se - 2e-4, "{found} is below {target}, standard error {se}");
        assert!(found < target + 4.0 * se + excess, "{found} is above {target}, standard error {se}");

        // What is reported of each chain fits together, with nothing left over.
        let exact = |h: &f64| 1.0 - 2.0 / PI * (h.powi(3) / 8.0).atan();
        let difference: Vec<f64> =
            run.summary.acceptance.iter().zip(&run.summary.step_size).map(|(a, h)| a - exact(h)).collect();
        let (difference, se) = mean_and_error(&difference);
        assert!(difference.abs() < 4.0 * se, "{difference} beside the step sizes, standard error {se}");

        let logs: Vec<f64> = run.summary.step_size.iter().map(|h| h.ln()).collect();
        let spread = mean_and_error(&logs).1 * (n_chains as f64).sqrt();
        // a' at the step where a(h) is the target.
        let slope = 3.0 / PI * angle.sin();
        let limit = (variance * m.powf(-0.75) / 2.0).sqrt() / slope;
        assert!(spread < limit, "ln h differs by {spread}, the average by {limit} at most");
    }
}

#[test]
fn a_run_is_a_function_of_the_seed_and_sinks_see_every_draw() {
    let law = Gaussian::standard(3).unwrap();
    let config = |seed| SampleConfig { n_draws: 150, burn_in: 3, thin: 2, seed, ..Default::default() };
    let run = |seed| sample(&Ula::new(0.1), &law, start(5, 3), &config(seed)).unwrap().draws;
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let mut rows = Vec::new();
    let sink = std::sync::Mutex::new(&mut rows);
    let sink = &sink;
    sample_into(&Ula::new(0.1), &law, start(5, 3), &config(1), |_| {
        move |draw: &[f64]| {
            sink.lock().unwrap().push(draw.to_vec());
            Ok(())
        }
    })
    .unwrap();
    let kept = run(1).into_array();
    assert_eq!(rows.len(), 150);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(kept.slice(s![.., i, ..]).iter().copied().collect::<Vec<_>>(), *row);
    }
}

/// All chains of a tensor through one sink, as 32-bit floats and with statistics.
#[test]
fn a_folder_takes_the_chains_of_a_tensor() {
    let law = Gaussian::standard(3).unwrap();
    let config = SampleConfig { n_draws: 100, burn_in: 3, ..Default::default() };
    let run = sample(&Hmc::new(0.3, 3), &law, start(5, 3), &config).unwrap();
    let root = tempfile::tempdir().unwrap();
    let folder = DrawFolder::create(root.path(), 3).unwrap();
    sample_into(&Hmc::new(0.3, 3), &law, start(5, 3), &config, |_| folder.sink(0)).unwrap();
    for c in 0..5 {
        let read = |name: &str| -> Vec<f64> {
            let bytes = std::fs::read(root.path().join(format!("chain-{c}.{name}.npy"))).unwrap();
            bytes[128..].as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect()
        };
        assert_eq!(read("x"), run.draws.array().slice(s![c, .., ..]).iter().copied().collect::<Vec<_>>());
        assert_eq!(read("lp"), run.draws.statistic("lp").unwrap().row(c).to_vec());
    }
}

/// Keeps what each step reports.
struct Diverged(Vec<Vec<bool>>);

impl<W> Observer<Tensor, W, Info<Tensor>> for Diverged {
    fn after_step(&mut self, _: &mut State<Tensor, W>, info: &Info<Tensor>) -> ebm_core::Result<()> {
        self.0.push(Vec::try_from(&info.diverged.0)?);
        Ok(())
    }
}

/// An energy that is no number beyond a wall: each chain's divergences after burn-in are counted.
#[test]
fn divergences_are_counted_per_chain() {
    let wall = Torch::module(nn::func(|x: &Tensor| {
        let energy = x.square().view(-1) * 0.5;
        energy.where_self(&x.abs().view(-1).le(1.0), &energy.full_like(f64::NAN))
    }));
    let (kernel, x) = (Hmc::new(0.5, 4), start(16, 1).clamp(-1.0, 1.0));
    let config = SampleConfig { n_draws: 100, burn_in: 20, ..Default::default() };
    let mut seen = Diverged(Vec::new());
    let _ = sample_batch(&kernel, &wall, x.shallow_clone(), 120, config.seed, &mut seen).unwrap();
    let counts: Vec<u64> =
        (0..16).map(|chain| seen.0[20..].iter().filter(|step| step[chain]).count() as u64).collect();
    let run = sample(&kernel, &wall, x, &config).unwrap();
    assert_eq!(run.summary.n_diverged, counts);
    assert!(counts.iter().all(|n| (1..100).contains(n)), "{counts:?}");
    assert!(run.draws.array().iter().all(|x| x.abs() <= 1.0));
}

#[test]
fn bad_starts_are_errors() {
    let law = Gaussian::standard(2).unwrap();
    let config = SampleConfig { n_draws: 2, burn_in: 0, ..Default::default() };
    let say = |x: Tensor| sample(&Ula::new(0.1), &law, x, &config).unwrap_err().to_string();
    assert!(say(Tensor::zeros([0, 2], (Kind::Float, Device::Cpu))).contains("chains = 0"));
    assert!(say(Tensor::from_slice(&[1f32, f32::NAN]).view([1, 2])).contains("NaN"));
    assert!(say(Tensor::from_slice(&[1i64, 2]).view([1, 2])).contains("float kind"));
    assert!(say(start(4, 3)).contains('3'));
}

/// A gradient of another type, or that fits only by being repeated.
#[test]
fn a_gradient_of_another_type_or_shape_is_an_error() {
    struct Wrong(fn(&Tensor) -> Tensor);
    impl Energy<Tensor> for Wrong {
        fn energy(&self, x: &Tensor) -> ebm_core::Result<TensorScalar> {
            Ok(TensorScalar::Each(x.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)))
        }
    }
    impl GradEnergy<Tensor> for Wrong {
        fn energy_grad(&self, x: &Tensor, grad: &mut Tensor) -> ebm_core::Result<TensorScalar> {
            *grad = (self.0)(x);
            self.energy(x)
        }
    }
    let wrong: [(fn(&Tensor) -> Tensor, &str); 2] = [
        (|x| x.to_kind(Kind::Double), "[3, 2] of Double on Cpu"),
        (|x| x.narrow(1, 0, 1), "[3, 1] of Float on Cpu"),
    ];
    for (gradient, found) in wrong {
        let config = SampleConfig { n_draws: 5, burn_in: 0, ..Default::default() };
        let texts = [
            sample(&Ula::new(0.1), &Wrong(gradient), start(3, 2), &config).unwrap_err().to_string(),
            sample(&Hmc::new(0.1, 3), &Wrong(gradient), start(3, 2), &config).unwrap_err().to_string(),
        ];
        for text in texts {
            let expected = format!("gradient of the energy: expected [3, 2] of Float on Cpu, found {found}");
            assert!(text.contains(&expected), "{text}");
        }
    }
}
