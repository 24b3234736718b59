//! Tests of slice sampling.

use super::*;
use crate::{Metric, MetricChoice, SampleConfig, sample};
use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
use ebm_core::random::Purpose;
use ebm_core::{Host, HostEnergy};

/// A function of the position and its exact mean.
pub(crate) type Fact<'a> = (&'a dyn Fn(&[f64]) -> f64, f64);

/// The largest |z| of the facts' means over 20,000 chains that start at exact draws and take five steps: a kernel that
/// does not leave the law as it is shows at once.
pub(crate) fn worst_z<E, K>(
    kernel: &K,
    energy: &E,
    start: impl Fn(&mut Stream) -> Vec<f64>,
    metric: impl Fn(&Vec<f64>) -> Metric<Vec<f64>>,
    facts: &[Fact],
) -> f64
where
    E: Energy<Vec<f64>>,
    K: Kernel<Vec<f64>, E, Info = SliceInfo>,
{
    const N: u64 = 20_000;
    let mut sums = vec![[0.0; 2]; facts.len()];
    for chain in 0..N {
        let x = start(&mut Stream::new(1, Purpose::Start, chain));
        let mut rng = Stream::new(2, Purpose::Chain, chain);
        let mut state = kernel.init(energy, x).unwrap();
        state.metric = metric(&state.x);
        for _ in 0..5 {
            let info = kernel.advance(energy, &mut state, &mut rng).unwrap();
            assert!(!info.diverged && info.accept_prob > 0.0 && info.n_energies > 0);
        }
        assert_eq!(state.energy, energy.energy(&state.x).unwrap());
        for (sum, (f, _)) in sums.iter_mut().zip(facts) {
            let value = f(&state.x);
            *sum = [sum[0] + value, sum[1] + value * value];
        }
    }
    let n = N as f64;
    let z = |([sum, squares], (_, exact)): (&[f64; 2], &Fact)| {
        let mean = sum / n;
        (mean - exact).abs() / ((squares / n - mean * mean) / n).sqrt()
    };
    sums.iter().zip(facts).map(z).fold(0.0, f64::max)
}

/// An uneven pair of modes: slices in two pieces, which the interval covers or not by its bound.
#[test]
fn the_law_stays_at_any_width_and_bound() {
    let law = GaussianMixture::new(vec![0.3, 0.7], vec![vec![-1.0], vec![1.0]], vec![0.2, 0.5]).unwrap();
    let square = law.covariance()[0] + law.mean()[0].powi(2);
    let left = 0.3 + 0.7 * ebm_metrics::samples::two_sided(2.0) / 2.0;
    let facts: [Fact; 3] = [
        (&|x| x[0], law.mean()[0]),
        (&|x| x[0] * x[0], square),
        (&|x| f64::from(u8::from(x[0] < 0.0)), left),
    ];
    // The left component reaches beyond 0 with probability 3e-7.
    for (width, max_widths) in [(0.4, 1), (0.4, 2), (0.4, 5), (1.5, 1), (1.5, 3), (20.0, 2)] {
        let kernel = Slice::new(width).max_widths(max_widths);
        let z = worst_z(&kernel, &law, |rng| law.sample(rng), |_| Metric::Unit, &facts);
        assert!(z < 4.5, "width {width}, at most {max_widths}: {z}");
    }
}

#[test]
fn the_law_stays_along_coordinates_random_directions_and_those_of_a_metric() {
    let law = Gaussian::new(vec![1.0, -2.0], vec![2.0, 0.9, 0.9, 0.5]).unwrap();
    let facts: [Fact; 5] = [
        (&|x| x[0], 1.0),
        (&|x| x[1], -2.0),
        (&|x| (x[0] - 1.0).powi(2), 2.0),
        (&|x| (x[0] - 1.0) * (x[1] + 2.0), 0.9),
        (&|x| (x[1] + 2.0).powi(2), 0.5),
    ];
    for directions in [Directions::Coordinates, Directions::Random] {
        let kernel = Slice::new(1.0).directions(directions).max_widths(4);
        let metrics: [&dyn Fn(&Vec<f64>) -> Metric<Vec<f64>>; 3] =
            [&|_| Metric::Unit, &|x| Metric::diagonal(x, &[4.0, 0.1]).unwrap(), &|x| {
                Metric::dense(x, 2, &[2.0, 0.9, 0.9, 0.5]).unwrap()
            }];
        for metric in metrics {
            let z = worst_z(&kernel, &law, |rng| law.sample(rng), metric, &facts);
            assert!(z < 4.5, "{directions:?}: {z}");
        }
    }
}

/// A half-normal law behind a wall: chains stay on their side, and nothing is flagged.
#[test]
fn walls_are_outside_the_slice() {
    let half = 2.0 / std::f64::consts::TAU.sqrt();
    let facts: [Fact; 2] = [(&|x| x[0], half), (&|x| x[0] * x[0], 1.0)];
    for beyond in [f64::INFINITY, f64::NAN, f64::NEG_INFINITY] {
        let wall = Host::value(1, move |x: &[f64]| if x[0] < 0.0 { beyond } else { 0.5 * x[0] * x[0] });
        let start = |rng: &mut Stream| vec![rng.normal().abs()];
        let z = worst_z(&Slice::new(2.0), &wall, start, |_| Metric::Unit, &facts);
        assert!(z < 4.5, "{beyond}: {z}");
    }
}

/// On a flat energy the interval is exactly as long as its bound allows, and lies at random around the chain.
#[test]
fn the_bound_is_split_at_random() {
    let flat = Host::value(1, |_: &[f64]| 0.0);
    let kernel = Slice::new(0.5).max_widths(4);
    let n = 40_000;
    let (mut sum, mut squares) = (0.0, 0.0);
    for chain in 0..n {
        let mut state = kernel.init(&flat, vec![0.0]).unwrap();
        let mut rng = Stream::new(3, Purpose::Chain, chain);
        let info = kernel.advance(&flat, &mut state, &mut rng).unwrap();
        assert_eq!((info.accept_prob, info.n_energies), (1.0, 4));
        assert!(state.x[0].abs() < 2.0);
        sum += state.x[0];
        squares += state.x[0] * state.x[0];
    }
    // The difference of two uniform numbers on an interval of length 2: variance 2 / 3, fourth moment 16 / 15.
    let n = n as f64;
    assert!((sum / n).abs() < 4.5 * (2.0 / 3.0 / n).sqrt(), "{sum}");
    let error = ((16.0 / 15.0 - 4.0 / 9.0) / n).sqrt();
    assert!((squares / n - 2.0 / 3.0).abs() < 4.5 * error, "{squares}");
}

/// Where there is no energy, or not the same twice, a chain stays and says so; it comes back from outside the support.
#[test]
fn a_chain_without_a_slice_stays_and_is_flagged() {
    let mut rng = Stream::new(0, Purpose::Chain, 0);
    for nothing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let nowhere = Host::value(2, move |_: &[f64]| nothing);
        let mut state = Slice::new(1.0).init(&nowhere, vec![1.0, 2.0]).unwrap();
        let info = Slice::new(1.0).advance(&nowhere, &mut state, &mut rng).unwrap();
        assert!(info.diverged && info.accept_prob == 0.0 && state.x == [1.0, 2.0]);
    }
    let half = Host::value(1, |x: &[f64]| if x[0] < 0.0 { f64::NAN } else { 0.5 * x[0] * x[0] });
    let run = sample(&Slice::new(3.0), &half, vec![vec![-1.0]; 8], &SampleConfig::default()).unwrap();
    assert_eq!(run.summary.n_diverged, [0; 8]);
    assert!(run.draws.array().iter().all(|x| *x >= 0.0));
}

/// f32 chains, far from the origin where neighbouring numbers are 1e-3 apart.
#[test]
fn slices_as_narrow_as_the_numbers_end() {
    let law = Gaussian::diagonal(vec![1e4], vec![1e-6]).unwrap();
    let run = sample(&Slice::new(1.0), &law, vec![vec![1e4f32]; 2], &SampleConfig::default()).unwrap();
    assert_eq!(run.summary.n_diverged, [0; 2]);
    assert!(run.draws.array().iter().all(|x| (x - 1e4).abs() < 0.01));
}

/// The warm-up finds width and metric of a badly scaled law, without a gradient.
#[test]
fn width_and_metric_are_learnt() {
    let law = Gaussian::diagonal(vec![0.0, 0.0], vec![1e-4, 1e4]).unwrap();
    let energy = Host::value(2, |x: &[f64]| law.value(x));
    for metric in [MetricChoice::Diagonal, MetricChoice::Dense] {
        let config = SampleConfig { metric, target_accept: Some(0.5), seed: 4, ..SampleConfig::adaptive() };
        let run = sample(&Slice::new(1.0), &energy, vec![vec![0.1, 1.0]; 8], &config).unwrap();
        assert!(run.summary.acceptance.iter().all(|a| (0.4..0.6).contains(a)), "{}", run.summary);
        // Without the metric no width suits both scales, and one of the coordinates does not mix.
        assert!(run.summary.warnings.is_empty(), "{}", run.summary);
    }
}

#[test]
fn bad_settings_are_errors() {
    let law = Gaussian::standard(1).unwrap();
    let text = |kernel: Slice| {
        sample(&kernel, &law, vec![vec![0.0f64]], &SampleConfig::default()).unwrap_err().to_string()
    };
    assert!(text(Slice::new(0.0)).starts_with("width = 0: must be above 0"), "{}", text(Slice::new(0.0)));
    assert!(text(Slice::new(f64::NAN)).starts_with("width = NaN"));
    assert!(text(Slice::new(1.0).max_widths(0)).starts_with("max_widths = 0: must be at least 1"));
    let wrong = sample(&Slice::new(1.0), &law, vec![vec![0.0f64; 2]], &SampleConfig::default());
    assert!(wrong.unwrap_err().to_string().contains("expected 1, found 2"));
}
