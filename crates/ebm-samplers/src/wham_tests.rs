//! Tests of histogram reweighting.

use super::*;
use crate::discrete::testing::config;
use crate::{Gibbs, Scan, sample_discrete};
use ebm_core::DiscreteEnergy;
use ebm_core::exact::{Boundary, Enumeration, IsingLattice, TransferMatrix};
use ebm_core::random::{Purpose, Stream};

fn assert_close((found, error): (f64, f64), exact: f64, what: &str) {
    assert!((found - exact).abs() < 4.5 * error, "{what}: {found} +- {error}, exact {exact}");
}

/// Samples in exactly their proportions give exactly the answers, whatever the sizes of the ensembles.
#[test]
fn two_states_are_exact() {
    // exp(-u_k(1)) is 1, 3 and 1/4; a fifth, say, of ensemble 2 is in state 1.
    let odds = [1.0f64, 3.0, 0.25];
    let parts = [(50, 50), (100, 300), (160, 40)];
    let samples: Vec<Array2<u8>> = parts
        .iter()
        .map(|(zeros, ones)| {
            Array2::from_shape_fn((2, (zeros + ones) / 2), |(c, t)| u8::from(2 * t + c >= *zeros))
        })
        .collect();
    let wham = Wham::new(samples, |k, s| -f64::from(*s) * odds[k].ln()).unwrap();
    for (k, odds) in odds.iter().enumerate() {
        let exact = -((1.0 + odds) / 2.0).ln();
        assert!((wham.free_energy(k).unwrap().0 - exact).abs() < 1e-9);
        let of = wham.free_energy_of(|s| -f64::from(*s) * odds.ln()).unwrap();
        let again = wham.free_energy(k).unwrap();
        assert!((of.0 - exact).abs() < 1e-9 && (of.1 - again.1).abs() < 1e-9, "{of:?} {again:?}");
        let mean = wham.expectation(|s| -f64::from(*s) * odds.ln(), |s| f64::from(*s)).unwrap();
        assert!((mean.0 - odds / (1.0 + odds)).abs() < 1e-9);
    }
    assert_eq!(wham.free_energy(0).unwrap(), (0.0, 0.0));
    assert!(wham.free_energy(3).unwrap_err().to_string().starts_with("ensemble = 3: must be below 3"));
}

const STIFFNESS: f64 = 4.0;
const CENTRES: [f64; 9] = [-5.0, -3.75, -2.5, -1.25, 0.0, 1.25, 2.5, 3.75, 5.0];

/// A standard normal under springs `2 (s - c)^2`: biased draws are normal with mean `4 c / 5` and variance 1/5; as an
/// autoregression of correlation `rho`.
fn umbrellas(seed: u64, n: usize, rho: f64) -> Wham<f64> {
    let variance = 1.0 / (1.0 + STIFFNESS);
    let draw = |(k, c): (usize, &f64)| {
        let mut stream = Stream::new(seed, Purpose::User, k as u64);
        let mut z = [stream.normal(), stream.normal()];
        let mut samples = Array2::zeros((2, n));
        for t in 0..n {
            for chain in 0..2 {
                z[chain] = rho * z[chain] + (1.0 - rho * rho).sqrt() * stream.normal();
                samples[[chain, t]] = STIFFNESS * c * variance + variance.sqrt() * z[chain];
            }
        }
        samples
    };
    let samples = CENTRES.iter().enumerate().map(draw).collect();
    Wham::new(samples, |k, s| 0.5 * s * s + 0.5 * STIFFNESS * (s - CENTRES[k]).powi(2)).unwrap()
}

fn unbiased(s: &f64) -> f64 {
    0.5 * s * s
}

/// The profile out to 4.5 standard deviations, the ensembles' and the target's free energies: all exact in closed form.
#[test]
fn umbrellas_give_back_the_profile() {
    let wham = umbrellas(1, 1500, 0.5);
    let edges: Vec<f64> = (0..=18).map(|i| -4.5 + 0.5 * f64::from(i)).collect();
    let bins = wham.histogram(unbiased, |s| *s, &edges).unwrap();
    for bin in &bins {
        // Simpson's rule over the bin.
        let density = |s: f64| (-0.5 * s * s).exp() / std::f64::consts::TAU.sqrt();
        let h = (bin.high - bin.low) / 100.0;
        let weight = |i: u32| if i == 0 || i == 100 { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
        let exact = (0..=100).map(|i| weight(i) * density(bin.low + h * f64::from(i))).sum::<f64>() * h / 3.0;
        assert_close((bin.probability, bin.std_error), exact, &format!("bin at {}", bin.low));
        let (profile, error) = bin.free_energy();
        assert_close((profile, error), -(exact / 0.5).ln(), &format!("profile at {}", bin.low));
        assert!(error < 0.2, "the test is too weak at {}: {error}", bin.low);
    }
    // Z_k = sqrt(2 pi / (1 + a)) exp(-a c^2 / (2 (1 + a))), a the stiffness.
    let log_z = |c: f64| -0.5 * STIFFNESS * c * c / (1.0 + STIFFNESS) - 0.5 * (1.0 + STIFFNESS).ln();
    for k in 1..CENTRES.len() {
        let exact = log_z(CENTRES[0]) - log_z(CENTRES[k]);
        assert_close(wham.free_energy(k).unwrap(), exact, &format!("free energy {k}"));
    }
    assert_close(wham.free_energy_of(unbiased).unwrap(), log_z(CENTRES[0]), "free energy of the target");
    assert_close(wham.expectation(unbiased, |s| s * s).unwrap(), 1.0, "variance");
}

/// Over 40 repeats of correlated samples the standard errors are those that the estimates show.
#[test]
fn standard_errors_are_honest() {
    let repeats: Vec<[(f64, f64); 3]> = (0..40)
        .map(|seed| {
            let wham = umbrellas(100 + seed, 250, 0.6);
            let square = wham.expectation(unbiased, |s| s * s).unwrap();
            [wham.free_energy(8).unwrap(), wham.free_energy_of(unbiased).unwrap(), square]
        })
        .collect();
    for what in 0..3 {
        let mean = repeats.iter().map(|r| r[what].0).sum::<f64>() / 40.0;
        let variance = repeats.iter().map(|r| (r[what].0 - mean).powi(2)).sum::<f64>() / 39.0;
        let reported = repeats.iter().map(|r| r[what].1.powi(2)).sum::<f64>() / 40.0;
        // 39 degrees of freedom: 0.27 to 2.4 holds but for 1e-5 on each side.
        assert!((0.27..2.4).contains(&(variance / reported)), "{what}: {}", variance / reported);
    }
}

/// Energies at three couplings give the mean energy between them, `ln Z`, and the density of states.
#[test]
fn ising_energies_between_the_couplings() {
    let lattice = |k: f64| IsingLattice::new(4, 4, Boundary::Torus, k, 0.0).unwrap();
    let (couplings, one) = ([0.2, 0.35, 0.5], lattice(1.0));
    let run = |(seed, k): (usize, &f64)| {
        let starts = vec![vec![0; 16]; 8];
        let run = sample_discrete(
            &Gibbs(Scan::Systematic),
            &lattice(*k),
            &starts,
            &config(1500, 50, 1, seed as u64),
        )
        .unwrap();
        Array2::from_shape_fn((8, 1500), |(c, t)| {
            DiscreteEnergy::energy(&one, &run.draws.slice(ndarray::s![c, t, ..]).to_vec())
        })
    };
    let samples = couplings.iter().enumerate().map(run).collect();
    let wham = Wham::new(samples, |k, energy: &f64| couplings[k] * energy).unwrap();
    for k in [0.25, 0.3, 0.42] {
        let exact = TransferMatrix::new(lattice(k)).unwrap();
        let mean = wham.expectation(|e| k * e, |e| k * e).unwrap();
        assert_close(mean, exact.mean_energy(), &format!("mean energy at {k}"));
        let first = TransferMatrix::new(lattice(0.2)).unwrap();
        let free_energy = wham.free_energy_of(|e| k * e).unwrap();
        assert_close(free_energy, first.log_z() - exact.log_z(), &format!("free energy at {k}"));
        assert!(mean.1 < 0.1 && free_energy.1 < 0.02, "the test is too weak: {} {}", mean.1, free_energy.1);
    }
    // States of energy -24 over states of energy -16, counted.
    let mut counts = [0.0; 2];
    Enumeration::new(16, 2, |x| {
        let energy = DiscreteEnergy::energy(&one, x);
        counts[0] += f64::from(u8::from((energy + 24.0).abs() < 1e-9));
        counts[1] += f64::from(u8::from((energy + 16.0).abs() < 1e-9));
        0.0
    })
    .unwrap();
    let bins = wham.histogram(|_| 0.0, |e| *e, &[-24.5, -23.5, -16.5, -15.5]).unwrap();
    let ratio = bins[0].probability / bins[2].probability;
    let relative = (bins[0].std_error / bins[0].probability).hypot(bins[2].std_error / bins[2].probability);
    assert_close((ratio, ratio * relative), counts[0] / counts[1], "density of states");
}

#[test]
fn bad_input_is_an_error() {
    let row = |values: &[f64]| Array2::from_shape_vec((1, values.len()), values.to_vec()).unwrap();
    let text = |samples: Vec<Array2<f64>>| {
        Wham::new(samples, |k, s| 50.0 * (s - 10.0 * k as f64).powi(2)).map(|_| ()).unwrap_err().to_string()
    };
    assert!(text(vec![]).starts_with("ensembles = 0: must be at least 1"));
    assert!(text(vec![row(&[0.0]), row(&[])]).starts_with("samples of ensemble 1 = 0"));
    let nan = text(vec![row(&[0.0, f64::NAN])]);
    assert_eq!(nan, "energy in ensemble 0 of a sample of ensemble 0 = NaN: must be finite");
    let apart = text(vec![row(&[-0.1, 0.0, 0.1, 0.05]), row(&[9.9, 10.0, 10.1, 10.0])]);
    assert!(apart.starts_with("free energies = not determined") && apart.contains("overlap"), "{apart}");
    let wham = Wham::new(vec![row(&[0.0, 1.0, 2.0, 3.0])], |_, _| 0.0).unwrap();
    assert!(wham.histogram(|_| 0.0, |s| *s, &[1.0]).unwrap_err().to_string().starts_with("edges = [1.0]"));
    assert!(
        wham.expectation(|_| f64::NAN, |s| *s).is_err() && wham.expectation(|_| 0.0, |_| f64::NAN).is_err()
    );
    assert!(wham.free_energy_of(|_| f64::INFINITY).is_err());
}
