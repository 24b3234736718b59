//! Simulation-based calibration of HMC and NUTS on two models: parameters from the prior, data from the parameters,
//! draws from the posterior; then the rank of the true parameter among independent draws is uniform.
//!
//! Source: Talts, Betancourt, Simpson, Vehtari and Gelman 2018 (arXiv 1804.06788).

#![allow(clippy::unwrap_used)]

use ebm_core::random::{Purpose, Stream};
use ebm_core::{GradEnergy, Host};
use ebm_metrics::samples::chi_square;
use ebm_samplers::{Hmc, Kernel, Nuts, SampleConfig, sample};

/// Ranks take `N_RANKS` values, put together in `N_CELLS` cells.
const N_RANKS: usize = 64;
const N_CELLS: usize = 16;
const N_RUNS: u64 = 800;

/// A model: its number of parameters, a draw from the prior, and the posterior's energy for data drawn with it.
trait Model {
    type Posterior: GradEnergy<Vec<f64>> + Sync;
    fn dim(&self) -> usize;
    fn prior(&self, rng: &mut Stream) -> Vec<f64>;
    fn posterior(&self, truth: &[f64], rng: &mut Stream) -> Self::Posterior;
}

/// Five observations `y ~ N(mu, e^s)`, `mu ~ N(0, 1)`, `s ~ N(0, 0.5^2)`.
struct LocationScale;

/// Twenty coins `P(1) = logistic(a + b t)`, `a, b ~ N(0, 1)`.
struct Logistic;

type Boxed = Box<dyn GradEnergy<Vec<f64>> + Sync>;

impl Model for LocationScale {
    type Posterior = Boxed;
    fn dim(&self) -> usize {
        2
    }
    fn prior(&self, rng: &mut Stream) -> Vec<f64> {
        vec![rng.normal(), 0.5 * rng.normal()]
    }
    fn posterior(&self, truth: &[f64], rng: &mut Stream) -> Boxed {
        let y: Vec<f64> = (0..5).map(|_| truth[0] + truth[1].exp() * rng.normal()).collect();
        Box::new(Host::value_grad(2, move |x: &[f64], g: &mut [f64]| {
            let (mu, s) = (x[0], x[1]);
            let precision = (-2.0 * s).exp();
            let (sum, squares) = y.iter().fold((0.0, 0.0), |(a, b), y| (a + y - mu, b + (y - mu).powi(2)));
            g[0] = mu - precision * sum;
            g[1] = 4.0 * s + 5.0 - precision * squares;
            0.5 * mu * mu + 2.0 * s * s + 5.0 * s + 0.5 * precision * squares
        }))
    }
}

impl Model for Logistic {
    type Posterior = Boxed;
    fn dim(&self) -> usize {
        2
    }
    fn prior(&self, rng: &mut Stream) -> Vec<f64> {
        vec![rng.normal(), rng.normal()]
    }
    fn posterior(&self, truth: &[f64], rng: &mut Stream) -> Boxed {
        let t: Vec<f64> = (0..20).map(|i| f64::from(i) / 5.0 - 2.0).collect();
        let logistic = |v: f64| 1.0 / (1.0 + (-v).exp());
        let y: Vec<f64> = t
            .iter()
            .map(|t| f64::from(u8::from(rng.uniform() < logistic(truth[0] + truth[1] * t))))
            .collect();
        Box::new(Host::value_grad(2, move |x: &[f64], g: &mut [f64]| {
            g.copy_from_slice(x);
            let mut energy = 0.5 * (x[0] * x[0] + x[1] * x[1]);
            for (t, y) in t.iter().zip(&y) {
                let v = x[0] + x[1] * t;
                energy += v.max(0.0) + (-v.abs()).exp().ln_1p() - y * v;
                let d = logistic(v) - y;
                g[0] += d;
                g[1] += d * t;
            }
            energy
        }))
    }
}

/// The least p-value over the parameters' ranks.
fn least_p<M: Model, K>(model: &M, kernel: &K, thin: usize) -> f64
where
    K: Kernel<Vec<f64>, M::Posterior> + Sync,
{
    let mut counts = vec![[0.0; N_CELLS]; model.dim()];
    for run in 0..N_RUNS {
        let mut rng = Stream::new(17, Purpose::Synthetic, run);
        let truth = model.prior(&mut rng);
        let posterior = model.posterior(&truth, &mut rng);
        let config = SampleConfig {
            n_draws: N_RANKS - 1,
            burn_in: 60,
            thin,
            seed: run,
            diagnostics: false,
            ..Default::default()
        };
        let start = model.prior(&mut rng);
        let draws = sample(kernel, &posterior, vec![start], &config).unwrap().draws.into_array();
        for (i, counts) in counts.iter_mut().enumerate() {
            let rank = draws.slice(ndarray::s![0, .., i]).iter().filter(|x| **x < truth[i]).count();
            counts[rank * N_CELLS / N_RANKS] += 1.0;
        }
    }
    counts.iter().map(|c| chi_square(c, &[1.0 / N_CELLS as f64; N_CELLS]).unwrap()).fold(1.0, f64::min)
}

#[test]
fn hmc_and_nuts_are_calibrated() {
    // Two parameters, two models, two kernels: eight p-values at 1e-5 in all.
    let limit = 1e-5 / 8.0;
    for (name, p) in [
        ("HMC, location and scale", least_p(&LocationScale, &Hmc::new(0.2, 8), 6)),
        ("NUTS, location and scale", least_p(&LocationScale, &Nuts::new(0.25), 4)),
        ("HMC, logistic", least_p(&Logistic, &Hmc::new(0.3, 5), 4)),
        ("NUTS, logistic", least_p(&Logistic, &Nuts::new(0.35), 3)),
    ] {
        assert!(p > limit, "{name}: {p}");
    }
}

/// The test sees a wrong posterior: draws from the energy times 0.6.
#[test]
fn a_wrong_posterior_is_seen() {
    struct Tempered;
    impl Model for Tempered {
        type Posterior = ebm_core::Tempered<Boxed>;
        fn dim(&self) -> usize {
            2
        }
        fn prior(&self, rng: &mut Stream) -> Vec<f64> {
            Logistic.prior(rng)
        }
        fn posterior(&self, truth: &[f64], rng: &mut Stream) -> Self::Posterior {
            ebm_core::EnergyExt::tempered(Logistic.posterior(truth, rng), 0.6)
        }
    }
    assert!(least_p(&Tempered, &Nuts::new(0.35), 3) < 1e-5);
}
