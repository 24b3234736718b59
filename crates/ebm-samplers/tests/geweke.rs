//! Geweke's joint test of the discrete kernels: does a kernel of the posterior, alternating with fresh data, give the
//! same joint law of parameters and data as drawing parameters from the prior and data given them?
//!
//! Source: Geweke 2004 (DOI 10.1198/016214504000001132). The model: a coupling out of three, a Potts chain of four
//! sites with that coupling, and a noisy reading of each site. The prior of the sites given the coupling has a
//! normaliser that depends on it, `Z = 3 (2 + exp(J))^3`: leaving it out is the classic mistake, and the test sees it.

#![allow(clippy::unwrap_used)]

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Colouring, DiscreteEnergy, RelaxedEnergy};
use ebm_metrics::samples::two_sided;
use ebm_samplers::{BlockGibbs, DiscreteKernel, Dmala, Gibbs, GibbsWithGradients, Scan};

const COUPLINGS: [f64; 3] = [0.0, 0.8, 2.0];
const SITES: usize = 4;
const K: usize = 3;

/// The probability of reading a site as what it is; the two other readings share the rest.
const RIGHT: f64 = 0.7;

/// `-ln p(x, y)` of `x = (coupling's number, sites)` given the readings `y`.
struct Posterior {
    y: [u8; SITES],
    /// Whether the prior's normaliser is in.
    normalised: bool,
}

impl DiscreteEnergy for Posterior {
    fn n_variables(&self) -> usize {
        1 + SITES
    }

    fn n_states(&self) -> usize {
        K
    }

    fn energy(&self, x: &[u8]) -> f64 {
        let (coupling, sites) = (COUPLINGS[usize::from(x[0])], &x[1..]);
        let equal = sites.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
        let log_z = 3f64.ln() + 3.0 * (2.0 + coupling.exp()).ln();
        let log_read = |(x, y): (&u8, &u8)| if x == y { RIGHT.ln() } else { (0.5 * (1.0 - RIGHT)).ln() };
        let log_likelihood: f64 = sites.iter().zip(&self.y).map(log_read).sum();
        f64::from(u8::from(self.normalised)) * log_z - coupling * equal - log_likelihood
    }

    fn interactions(&self) -> Option<Vec<(usize, usize)>> {
        let chain = (1..SITES).map(|i| (i, i + 1));
        Some((1..=SITES).map(|i| (0, i)).chain(chain).collect())
    }
}

/// The extension that is linear in each variable, by trying every change.
impl RelaxedEnergy for Posterior {
    fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]) {
        let mut x = x.to_vec();
        for i in 0..x.len() {
            self.local_energies(&mut x, i, &mut out[i * K..(i + 1) * K]);
        }
    }
}

/// Parameters from the prior.
fn prior(rng: &mut Stream) -> [u8; 1 + SITES] {
    let mut x = [rng.below(3) as u8; 1 + SITES];
    let coupling = COUPLINGS[usize::from(x[0])];
    x[1] = rng.below(K) as u8;
    for i in 2..=SITES {
        // Equal to the last one with odds exp(J) against 2.
        let equal = rng.uniform() < coupling.exp() / (2.0 + coupling.exp());
        x[i] = if equal { x[i - 1] } else { (x[i - 1] + 1 + rng.below(2) as u8) % 3 };
    }
    x
}

/// Readings given the sites.
fn data(x: &[u8], rng: &mut Stream) -> [u8; SITES] {
    std::array::from_fn(|i| {
        let right = rng.uniform() < RIGHT;
        if right { x[i + 1] } else { (x[i + 1] + 1 + rng.below(2) as u8) % 3 }
    })
}

/// What is compared: the coupling, agreement of neighbours and of readings, and their products.
fn statistics(x: &[u8], y: &[u8]) -> Vec<f64> {
    let equal = |a: u8, b: u8| f64::from(u8::from(a == b));
    let coupling = f64::from(x[0]);
    let neighbours: f64 = (1..SITES).map(|i| equal(x[i], x[i + 1])).sum();
    let readings: f64 = (0..SITES).map(|i| equal(x[i + 1], y[i])).sum();
    let reading_pairs: f64 = (1..SITES).map(|i| equal(y[i - 1], y[i])).sum();
    let mut all = vec![
        coupling,
        equal(x[0], 1),
        neighbours,
        neighbours * neighbours,
        readings,
        reading_pairs,
        coupling * neighbours,
        coupling * reading_pairs,
    ];
    all.extend((1..=SITES).map(|i| equal(x[i], 2)));
    all.extend((0..SITES).map(|i| equal(y[i], 0)));
    all
}

/// Sums and sums of squares, statistic by statistic.
struct Moments {
    n: f64,
    sums: Vec<[f64; 2]>,
}

impl Moments {
    fn of(draws: impl Iterator<Item = Vec<f64>>) -> Self {
        let mut moments = Self { n: 0.0, sums: vec![] };
        for draw in draws {
            moments.sums.resize(draw.len(), [0.0; 2]);
            moments.n += 1.0;
            for (sum, value) in moments.sums.iter_mut().zip(draw) {
                *sum = [sum[0] + value, sum[1] + value * value];
            }
        }
        moments
    }

    /// Mean and squared standard error.
    fn mean(&self, i: usize) -> (f64, f64) {
        let mean = self.sums[i][0] / self.n;
        (mean, (self.sums[i][1] / self.n - mean * mean) / self.n)
    }
}

/// The chance, at most, of the worst disagreement between 200,000 forward draws and 3,000 chains of 40 rounds, each
/// round a step of the kernel and fresh data; a chain's averages count once.
fn p<K: DiscreteKernel<Posterior>>(kernel: &K, normalised: bool) -> f64 {
    let mut rng = Stream::new(0, Purpose::Evaluation, 0);
    let forward = Moments::of((0..200_000).map(|_| {
        let x = prior(&mut rng);
        statistics(&x, &data(&x, &mut rng))
    }));
    let chain = |i: u64| {
        let mut rng = Stream::new(1, Purpose::Chain, i);
        let mut x = prior(&mut rng);
        let mut sums = vec![];
        for _ in 0..40 {
            let posterior = Posterior { y: data(&x, &mut rng), normalised };
            let mut work = kernel.init(&posterior, &x);
            assert!(!kernel.step(&posterior, &mut x, &mut work, &mut rng).diverged);
            let values = statistics(&x, &posterior.y);
            sums.resize(values.len(), 0.0);
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / 40.0);
        }
        sums
    };
    kernel.check(&Posterior { y: [0; SITES], normalised }).unwrap();
    let chains = Moments::of((0..3_000).map(chain));
    let worst = (0..forward.sums.len())
        .map(|i| {
            let ((a, a_error), (b, b_error)) = (forward.mean(i), chains.mean(i));
            ((a - b) / (a_error + b_error).sqrt()).abs()
        })
        .fold(0.0, f64::max);
    forward.sums.len() as f64 * two_sided(worst)
}

/// Five kernels, each at 1e-5 over all its statistics.
#[test]
fn forward_and_successive_draws_agree() {
    let colouring = Colouring::of(&Posterior { y: [0; SITES], normalised: true }).unwrap();
    assert_eq!(colouring.classes().len(), 3);
    assert!(p(&Gibbs(Scan::Systematic), true) > 1e-5);
    assert!(p(&Gibbs(Scan::Random), true) > 1e-5);
    assert!(p(&BlockGibbs::new(colouring), true) > 1e-5);
    assert!(p(&GibbsWithGradients, true) > 1e-5);
    assert!(p(&Dmala::new(1.0), true) > 1e-5);
}

/// The same kernels fail on a posterior that is not the model's.
#[test]
fn a_wrong_posterior_is_seen() {
    assert!(p(&Gibbs(Scan::Systematic), false) < 1e-20);
    assert!(p(&GibbsWithGradients, false) < 1e-20);
}
