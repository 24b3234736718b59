//! Each kernel against what is known exactly: MALA and HMC within 4 Monte-Carlo standard errors, ULA and BAOAB at
//! their known bias, on every kind of point.

#![allow(clippy::unwrap_used)]

use ebm_core::analytic::{Exact, Gaussian, Rosenbrock};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Block, Point};
use ebm_metrics::chains::mcse_mean;
use ebm_samplers::{
    Baoab, BaoabWork, Hmc, Kernel, Mala, Observer, Run, SampleConfig, Sghmc, State, Ula, sample, sample_host,
};
use ndarray::{Array2, ArrayView3};

fn config(n_draws: usize) -> SampleConfig {
    SampleConfig { n_draws, burn_in: 500, seed: 1, ..Default::default() }
}

/// |mean of f - expected| within 4 standard errors of the chains' own estimate.
fn assert_mean(draws: ArrayView3<f64>, f: impl Fn(&[f64]) -> f64, expected: f64, what: &str) {
    let (chains, n, _) = draws.dim();
    let values = Array2::from_shape_fn((chains, n), |(c, d)| {
        f(draws.slice(ndarray::s![c, d, ..]).as_slice().unwrap())
    });
    let (mean, se) = (values.mean().unwrap(), mcse_mean(values.view()).unwrap());
    assert!((mean - expected).abs() < 4.0 * se, "{what}: {mean} against {expected}, standard error {se}");
    assert!(se < 0.1 * expected.abs().max(1.0), "{what}: the test is too weak, standard error {se}");
}

fn assert_moments(run: &Run, law: &dyn Exact) {
    let (mean, covariance) = (law.mean(), law.covariance());
    let d = mean.len();
    for i in 0..d {
        assert_mean(run.draws.array(), |x| x[i], mean[i], &format!("mean {i}"));
        for j in 0..=i {
            let product = |x: &[f64]| (x[i] - mean[i]) * (x[j] - mean[j]);
            assert_mean(run.draws.array(), product, covariance[i * d + j], &format!("covariance {i} {j}"));
        }
    }
}

/// Three coordinates, correlated, with scales from 0.5 to 2.
fn target() -> Gaussian {
    Gaussian::new(vec![1.0, -2.0, 0.0], vec![4.0, 0.9, 0.3, 0.9, 1.0, -0.2, 0.3, -0.2, 0.25]).unwrap()
}

fn rows(n: usize) -> Vec<f64> {
    let mut x = vec![0.0; 3 * n];
    Stream::new(0, Purpose::Start, 0).fill_normal(&mut x);
    x
}

#[test]
fn hmc_and_mala_are_exact_on_vectors_and_blocks() {
    let (law, x) = (target(), rows(64));
    let vectors = || x.chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let floats =
        || vectors().iter().map(|v| v.iter().map(|x| *x as f32).collect()).collect::<Vec<Vec<f32>>>();
    let blocks = || Block::from_rows(3, &x).unwrap();
    let hmc = Hmc::new(0.4, 6);
    let mala = Mala::new(0.55);
    assert_moments(&sample(&hmc, &law, vectors(), &config(1000)).unwrap(), &law);
    assert_moments(&sample(&hmc, &law, floats(), &config(1000)).unwrap(), &law);
    assert_moments(&sample(&hmc, &law, blocks(), &config(1000)).unwrap(), &law);
    assert_moments(&sample(&mala, &law, vectors(), &config(6000)).unwrap(), &law);
    assert_moments(&sample(&mala, &law, blocks(), &config(6000)).unwrap(), &law);
}

/// A fixed path of half a period returns to the mirrored start; the jittered one does not care.
#[test]
fn a_resonant_path_length_does_no_harm_when_jittered() {
    let law = Gaussian::diagonal(vec![0.0, 0.0], vec![1.0, 0.25]).unwrap();
    let starts = vec![vec![0.1, 0.2]; 16];
    let h = std::f64::consts::PI / 8.0;
    let run = sample(&Hmc::new(h, 8), &law, starts, &config(2000)).unwrap();
    assert_moments(&run, &law);
}

/// A curved target, with adapted step sizes: one per chain, acceptance near the target.
#[test]
fn adapted_hmc_is_exact_on_a_banana() {
    let law = Rosenbrock::new(2, 1.0, 0.5, 1.0).unwrap();
    let starts = vec![vec![0.0, 0.0]; 32];
    let config = SampleConfig { target_accept: Some(0.9), ..config(3000) };
    let run = sample(&Hmc::new(0.1, 12), &law, starts, &config).unwrap();
    assert_moments(&run, &law);
    for (a, h) in run.summary.acceptance.iter().zip(&run.summary.step_size) {
        assert!((a - 0.9).abs() < 0.07 && *h > 0.01, "acceptance {a}, step {h}");
    }
}

/// ULA on N(0, 1): stationary variance 2 / (2 - h).
#[test]
fn ula_has_its_known_bias() {
    let law = Gaussian::standard(1).unwrap();
    for h in [0.1, 0.5, 1.0] {
        let run = sample(&Ula::new(h), &law, vec![vec![0.0f64]; 64], &config(4000)).unwrap();
        assert_mean(run.draws.array(), |x| x[0] * x[0], 2.0 / (2.0 - h), "ULA's variance");
        // Half the noise: a quarter of the variance.
        let run = sample(&Ula::new(h).noise_scale(0.5), &law, vec![vec![0.0f64]; 64], &config(4000)).unwrap();
        assert_mean(run.draws.array(), |x| 4.0 * x[0] * x[0], 2.0 / (2.0 - h), "ULA's variance, half noise");
        // An absolute noise s: variance s^2 / (1 - (1 - h)^2).
        let run = sample(&Ula::new(h).noise_std(0.3), &law, vec![vec![0.0f64]; 64], &config(4000)).unwrap();
        assert_mean(
            run.draws.array(),
            |x| x[0] * x[0] / 0.09,
            1.0 / (h * (2.0 - h)),
            "ULA's variance, noise_std",
        );
    }
}

/// Sums the squared momentum after burn-in.
struct Momentum {
    sums: Vec<f64>,
}

impl<X: Point<Scalar = f64>> Observer<X, BaoabWork<X>, ()> for Momentum {
    fn after_step(&mut self, state: &mut State<X, BaoabWork<X>>, _info: &()) -> ebm_core::Result<()> {
        if state.step > 500 {
            self.sums.push(state.work.momentum.inner_each(&state.work.momentum)?);
        }
        Ok(())
    }
}

/// BAOAB on N(0, 1): positions exact, momentum's variance 1 - h^2 / 4.
#[test]
fn baoab_has_its_known_bias() {
    let law = Gaussian::standard(1).unwrap();
    for (h, friction) in [(0.5, 1.0), (1.0, 0.5), (1.5, 2.0)] {
        let kernel = Baoab::new(h, friction);
        let run = sample(&kernel, &law, vec![vec![0.0f64]; 64], &config(4000)).unwrap();
        assert_mean(run.draws.array(), |x| x[0] * x[0], 1.0, "BAOAB's position");
        let starts = vec![vec![0.0f64]; 64];
        let out = sample_host(&kernel, &law, starts, 4500, 1, |_| Momentum { sums: Vec::new() }).unwrap();
        let values = Array2::from_shape_fn((64, 4000), |(c, d)| out[c].1.sums[d]);
        assert_mean(
            values.insert_axis(ndarray::Axis(2)).view(),
            |p| p[0],
            1.0 - h * h / 4.0,
            "BAOAB's momentum",
        );
    }
}

/// SGHMC on N(0, s): variance `s / (1 - h / (2 s (2 - a)))`, with an exact gradient and with a noisy one whose noise
/// it is told of.
#[test]
fn sghmc_has_its_known_bias() {
    for (s, h, friction) in [(1.0, 0.5, 0.5), (1.0, 1.0, 0.2), (0.25, 0.3, 1.0)] {
        let law = Gaussian::diagonal(vec![0.0], vec![s]).unwrap();
        let run = sample(&Sghmc::new(h, friction), &law, vec![vec![0.0f64]; 64], &config(4000)).unwrap();
        let expected = s / (1.0 - h / (2.0 * s * (2.0 - friction)));
        assert_mean(run.draws.array(), |x| x[0] * x[0], expected, "SGHMC's variance");
    }
}

/// The gradient's own noise, of variance `2 b / h`, takes the place of the injected one: the same law.
#[test]
fn sghmc_makes_room_for_the_noise_of_the_gradient() {
    let (h, friction, b) = (0.5, 0.5, 0.3);
    let kernel = Sghmc::new(h, friction).gradient_noise(b);
    let law = Gaussian::standard(1).unwrap();
    let mut noise = Stream::new(5, Purpose::User, 0);
    let mut rng = Stream::new(6, Purpose::Chain, 0);
    let mut state = kernel.init(&law, vec![0.0f64]).unwrap();
    let n = 400_000;
    let mut values = Vec::with_capacity(n);
    for _ in 0..n {
        let mut z = vec![0.0f64];
        z.add_normal(&(2.0 * b / h).sqrt(), &mut noise).unwrap();
        let noisy = ebm_core::Host::value_grad(1, move |x: &[f64], g: &mut [f64]| {
            g[0] = x[0] + z[0];
            0.5 * x[0] * x[0]
        });
        kernel.advance(&noisy, &mut state, &mut rng).unwrap();
        values.push(state.x[0] * state.x[0]);
    }
    let squares = Array2::from_shape_vec((16, n / 16), values).unwrap();
    let expected = 1.0 / (1.0 - h / (2.0 * (2.0 - friction)));
    assert_mean(squares.insert_axis(ndarray::Axis(2)).view(), |x| x[0], expected, "SGHMC, noisy gradient");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (law, x) = (target(), rows(130));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let vectors: Vec<Vec<f64>> = x.chunks(3).map(<[f64]>::to_vec).collect();
            let config = SampleConfig { n_draws: 20, burn_in: 10, thin: 2, ..Default::default() };
            let a = sample(&Hmc::new(0.3, 5), &law, vectors, &config).unwrap();
            let b = sample(&Ula::new(0.1), &law, Block::from_rows(3, &x).unwrap(), &config).unwrap();
            (a.draws, b.draws)
        })
    };
    assert_eq!(run(1), run(3));
}

/// Clamping keeps chains inside, clipping bounds the move, a scheduled step follows its schedule.
#[test]
fn options_do_what_they_say() {
    let law = Gaussian::diagonal(vec![0.0], vec![1e-4]).unwrap();
    let bounded = Ula::new(0.5).clip(ebm_samplers::Clip::Norm(0.1)).noise_std(0.0).clamp(-1.0, 2.0);
    let mut state = bounded.init(&law, vec![9.0f64]).unwrap();
    let mut rng = Stream::new(0, Purpose::Chain, 0);
    bounded.advance(&law, &mut state, &mut rng).unwrap();
    assert_eq!(state.x, [2.0]);
    bounded.advance(&law, &mut state, &mut rng).unwrap();
    assert!((state.x[0] - 1.95).abs() < 1e-12);
    let flat = ebm_core::Host::value_grad(1, |_: &[f64], g: &mut [f64]| {
        g[0] = 1.0;
        0.0
    });
    let scheduled = Ula::new(ebm_core::Schedule::linear(1.0, 3.0, 2)).noise_std(0.0);
    let mut state = scheduled.init(&flat, vec![0.0f64]).unwrap();
    for expected in [-1.0, -3.0, -6.0] {
        scheduled.advance(&flat, &mut state, &mut rng).unwrap();
        assert_eq!(state.x, [expected]);
    }
}
