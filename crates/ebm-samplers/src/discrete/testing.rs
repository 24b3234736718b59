//! What the tests of several kernels share: stationarity and moments against enumeration.

use ebm_core::exact::Enumeration;
use ebm_core::random::{Purpose, Stream};
use ebm_core::{DiscreteEnergy, Rbm, RelaxedEnergy};
use ebm_metrics::samples::{chi_square, moment_z};

use super::{DiscreteKernel, sample_discrete};
use crate::SampleConfig;

/// So many draws, without diagnostics.
pub fn config(n_draws: usize, burn_in: usize, thin: usize, seed: u64) -> SampleConfig {
    SampleConfig { n_draws, burn_in, thin, seed, diagnostics: false, ..Default::default() }
}

/// Counts against probabilities: chi-square at level 1e-6.
pub fn assert_counts(counts: &[u64], probabilities: &[f64]) {
    let counts: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
    let p = chi_square(&counts, probabilities).unwrap();
    assert!(p > 1e-6, "p {p}: {counts:?}");
}

/// The place of a state in the order of [`Enumeration`], the last variable fastest.
pub fn index(x: &[u8], n_states: usize) -> usize {
    x.iter().fold(0, |sum, value| n_states * sum + usize::from(*value))
}

/// `p(x)` of every state.
pub fn probabilities(law: &Enumeration) -> Vec<f64> {
    let mut p = vec![0.0; law.n_values().pow(law.n_variables() as u32)];
    law.for_each_given(&vec![None; law.n_variables()], |x, value| p[index(x, law.n_values())] = value)
        .unwrap();
    p
}

/// From independent exact draws `n_steps` steps lead to draws of the same law: a chi-square over all states.
pub fn assert_stationary<K, E>(kernel: &K, energy: &E, law: &Enumeration, n_steps: usize)
where
    E: DiscreteEnergy,
    K: DiscreteKernel<E>,
{
    kernel.check(energy).unwrap();
    let p = probabilities(law);
    let mut counts = vec![0; p.len()];
    let mut exact = Stream::new(11, Purpose::Start, 0);
    let mut rng = Stream::new(11, Purpose::Chain, 0);
    for _ in 0..40_000 {
        let mut x = law.sample(&mut exact);
        let mut work = kernel.init(energy, &x);
        for _ in 0..n_steps {
            assert!(!kernel.step(energy, &mut x, &mut work, &mut rng).diverged);
        }
        counts[index(&x, law.n_values())] += 1;
    }
    assert_counts(&counts, &p);
}

/// Long runs from one corner: `P(x_i = k)` and `P(x_i = x_j)` for all within 4.5 standard errors, estimated from 64
/// independent chains.
pub fn assert_moments<K, E>(kernel: &K, energy: &E, law: &Enumeration, thin: usize)
where
    E: DiscreteEnergy,
    K: DiscreteKernel<E> + Sync,
{
    let (n, k, n_draws) = (energy.n_variables(), energy.n_states() as u8, 400);
    let starts = vec![vec![0; n]; 64];
    let run = sample_discrete(kernel, energy, &starts, &config(n_draws, 40 * thin, thin, 3)).unwrap();
    assert!(run.summary.n_diverged.iter().all(|n| *n == 0));
    let check = |f: &dyn Fn(&[u8]) -> f64, what: String| {
        let chain = |c: ndarray::ArrayView2<u8>| {
            let values = c.rows().into_iter().map(|x| f(x.as_slice().unwrap()));
            values.sum::<f64>() / n_draws as f64
        };
        let means: Vec<f64> = run.draws.outer_iter().map(chain).collect();
        assert_mean(&means, law.expectation(f), &what);
    };
    for i in 0..n {
        for state in 0..k {
            check(&|x| f64::from(u8::from(x[i] == state)), format!("P(x_{i} = {state})"));
        }
        for j in 0..i {
            check(&|x| f64::from(u8::from(x[i] == x[j])), format!("P(x_{i} = x_{j})"));
        }
    }
}

/// The mean of independent values is `exact` within 4.5 standard errors.
pub fn assert_mean(values: &[f64], exact: f64, what: &str) {
    let z = moment_z(values, exact).unwrap();
    assert!(z.abs() < 4.5, "{what}: z {z}, exact {exact}");
}

/// Five visible units, four hidden, every number its own.
pub fn small_rbm() -> Rbm {
    let mut stream = Stream::new(1, Purpose::User, 0);
    let mut uniforms = |n: usize| (0..n).map(|_| 2.0 * stream.uniform() - 1.0).collect::<Vec<_>>();
    Rbm::new(uniforms(20), uniforms(5), uniforms(4)).unwrap()
}

/// Categorical variables, every state with a number of its own and every pair coupled; with a curvature, so that the
/// relaxed gradient does not give the differences exactly.
pub struct Rough {
    n: usize,
    k: usize,
    couplings: Vec<f64>,
    values: Vec<f64>,
    curvature: f64,
}

impl Rough {
    pub fn new(n: usize, k: usize) -> Self {
        let mut stream = Stream::new(7, Purpose::User, 0);
        let mut uniforms = |n: usize| (0..n).map(|_| 2.0 * stream.uniform() - 1.0).collect::<Vec<_>>();
        Self { n, k, couplings: uniforms(n * n), values: uniforms(n * k), curvature: 0.3 }
    }

    /// Linear in each variable: the gradient gives the differences exactly.
    pub fn linear(n: usize, k: usize) -> Self {
        Self { curvature: 0.0, ..Self::new(n, k) }
    }

    fn value(&self, x: &[u8], i: usize) -> f64 {
        self.values[i * self.k + usize::from(x[i])]
    }

    /// `sum_i v_i`, whose square the curvature goes with.
    fn total(&self, x: &[u8]) -> f64 {
        (0..self.n).map(|i| self.value(x, i)).sum()
    }

    /// What multiplies `v_i` in the couplings.
    fn pull(&self, x: &[u8], i: usize) -> f64 {
        let pair = |j: usize| self.couplings[i * self.n + j] + self.couplings[j * self.n + i];
        1.0 + (0..self.n).filter(|j| *j != i).map(|j| pair(j) * self.value(x, j)).sum::<f64>()
    }
}

impl DiscreteEnergy for Rough {
    fn n_variables(&self) -> usize {
        self.n
    }
    fn n_states(&self) -> usize {
        self.k
    }
    fn energy(&self, x: &[u8]) -> f64 {
        let pairs: f64 = (0..self.n).map(|i| 0.5 * self.value(x, i) * (1.0 + self.pull(x, i))).sum();
        pairs + self.curvature * self.total(x).powi(2)
    }
}

impl RelaxedEnergy for Rough {
    fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]) {
        for i in 0..self.n {
            let slope = self.pull(x, i) + 2.0 * self.curvature * self.total(x);
            for k in 0..self.k {
                out[i * self.k + k] = slope * self.values[i * self.k + k];
            }
        }
    }
}

/// Every state, in the order of [`index`].
pub fn states(n: usize, k: usize) -> Vec<Vec<u8>> {
    let digit = |s: usize, i: usize| (s / k.pow((n - 1 - i) as u32) % k) as u8;
    (0..k.pow(n as u32)).map(|s| (0..n).map(|i| digit(s, i)).collect()).collect()
}

/// The Metropolis-Hastings matrix of a proposal, `P(x, x') = q(x' | x) min(1, pi(x') q(x | x') / (pi(x) q(x' | x)))`:
/// rows add up to 1, detailed balance holds to 1e-12, and a step of the kernel from three states lands where the
/// matrix says.
pub fn assert_matrix_is_reversible<K, E>(kernel: &K, energy: &E, log_proposal: impl Fn(&[u8], &[u8]) -> f64)
where
    E: DiscreteEnergy,
    K: DiscreteKernel<E>,
{
    let (n, k) = (energy.n_variables(), energy.n_states());
    let states = states(n, k);
    let law = Enumeration::new(n, k, |x| energy.energy(x)).unwrap();
    let pi = probabilities(&law);
    let log_q: Vec<Vec<f64>> =
        states.iter().map(|from| states.iter().map(|to| log_proposal(from, to)).collect()).collect();
    let mut matrix = vec![vec![0.0; states.len()]; states.len()];
    for (a, row) in matrix.iter_mut().enumerate() {
        assert!((log_q[a].iter().map(|q| q.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
        for b in (0..states.len()).filter(|b| *b != a && log_q[a][*b] > f64::NEG_INFINITY) {
            let log_ratio = energy.energy(&states[a]) - energy.energy(&states[b]) + log_q[b][a] - log_q[a][b];
            row[b] = (log_q[a][b] + log_ratio.min(0.0)).exp();
        }
        row[a] = 1.0 - row.iter().sum::<f64>();
        assert!(row[a] > -1e-12);
    }
    for a in 0..states.len() {
        for b in 0..a {
            assert!((pi[a] * matrix[a][b] - pi[b] * matrix[b][a]).abs() < 1e-12);
        }
    }
    let mut rng = Stream::new(9, Purpose::Chain, 0);
    for a in [0, states.len() / 2, states.len() - 1] {
        let mut counts = vec![0; states.len()];
        for _ in 0..20_000 {
            let mut x = states[a].clone();
            let mut work = kernel.init(energy, &x);
            assert!(!kernel.step(energy, &mut x, &mut work, &mut rng).diverged);
            counts[index(&x, k)] += 1;
        }
        assert_counts(&counts, &matrix[a]);
    }
}
