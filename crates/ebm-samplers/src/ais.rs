//! Annealed importance sampling: `ln Z` of an energy, from below and from above.
//!
//! Along `E_beta = (1 - beta) E_0 + beta E_1` a chain starts at an exact draw of the first rung and gains
//! `-(beta_k - beta_{k-1}) (E_1 - E_0)(x)` at each change of rung; the mean of the exponentials is `Z_1 / Z_0`. Walked
//! back from an exact draw of the end, the mean of `exp(-gain)` is `Z_0 / Z_1`. By Jensen's inequality the mean gain
//! is a lower bound forward and an upper bound in reverse. Sources: Neal 2001, "Annealed importance sampling" (arXiv
//! physics/9803008); the bracket: Grosse, Ghahramani and Adams 2015 (arXiv 1511.02543).

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Energy, Error, Real, Result, log_sum_exp};
use rayon::prelude::*;

use crate::bridge::{Bridge, check_betas, check_draws};
use crate::kernel::Kernel;

/// Settings of annealed importance sampling.
///
/// Use it for `log Z` with a bound from either side. Not for draws as such, nor where start and end are so far apart
/// that few weights count: more rungs, or `Smc`.
///
/// The kernel has to leave each rung's law invariant (`Hmc`, `Mala`, `Nuts`); an inexact one biases the weights. A
/// scheduled step size counts the steps from the start to the end of the path, in both directions.
///
/// ```
/// use ebm_core::analytic::{Exact, Gaussian};
/// use ebm_core::random::{Purpose, Stream};
/// use ebm_samplers::{Ais, Bracket, Hmc};
/// let (start, end) = (Gaussian::standard(2)?, Gaussian::diagonal(vec![1.0; 2], vec![0.5; 2])?);
/// let mut stream = Stream::new(0, Purpose::Start, 0);
/// let draws = |law: &Gaussian, stream: &mut Stream| (0..100).map(|_| law.sample(stream)).collect::<Vec<_>>();
/// let (from_start, from_end) = (draws(&start, &mut stream), draws(&end, &mut stream));
/// let (ais, kernel) = (Ais::linear(20), Hmc::new(0.4, 4));
/// let below = ais.forward(&kernel, &start, &end, from_start, start.log_partition())?;
/// let above = ais.reverse(&kernel, &start, &end, from_end, start.log_partition())?;
/// assert!((below.log_z - end.log_partition()).abs() < 6.0 * below.std_error);
/// println!("ln Z {} +- {}, {}", below.log_z, below.std_error, Bracket::new(&below, &above));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ais {
    /// The ladder: increasing from 0 to 1.
    pub betas: Vec<f64>,
    /// Transitions on each rung between the ends; at least 1.
    pub steps_per_beta: usize,
    /// The run is a function of this seed, whatever the number of threads. Give the reverse run another one.
    pub seed: u64,
}

/// What came out of one direction.
#[derive(Clone, Debug)]
pub struct AisRun<X> {
    /// Per chain, an estimate of `ln Z` of the end; minus infinity (reverse: infinity) where an energy was NaN.
    pub log_weights: Vec<f64>,
    /// `ln Z` by the mean of the weights (reverse: by the mean of their inverses).
    pub log_z: f64,
    /// Its standard error by the delta method; too small to believe when [`AisRun::effective_size`] is a handful.
    pub std_error: f64,
    /// The mean of the log-weights: below `ln Z` forward, above it in reverse, but for its standard error.
    pub bound: f64,
    /// Standard error of the bound.
    pub bound_std_error: f64,
    /// `(sum w)^2 / sum w^2`, at most the number of chains.
    pub effective_size: f64,
    /// Where the chains ended. Forward, weighted by `exp(log_weights)`, they are draws of the end.
    pub points: Vec<X>,
}

/// `ln Z` between the two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    /// Forward bound, and its standard error.
    pub lower: (f64, f64),
    /// Reverse bound, and its standard error.
    pub upper: (f64, f64),
}

impl Bracket {
    /// From a forward and a reverse run.
    ///
    /// ```
    /// # use ebm_samplers::{AisRun, Bracket};
    /// # fn demo(forward: &AisRun<Vec<f64>>, reverse: &AisRun<Vec<f64>>) {
    /// println!("{}", Bracket::new(forward, reverse));
    /// # }
    /// ```
    pub fn new<X>(forward: &AisRun<X>, reverse: &AisRun<X>) -> Self {
        Self {
            lower: (forward.bound, forward.bound_std_error),
            upper: (reverse.bound, reverse.bound_std_error),
        }
    }
}

impl std::fmt::Display for Bracket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ((low, low_se), (high, high_se)) = (self.lower, self.upper);
        write!(f, "ln Z between {low:.4} (+- {low_se:.4}) and {high:.4} (+- {high_se:.4})")
    }
}

impl Ais {
    /// `n` equal changes of `beta` from 0 to 1, one transition each, seed 0.
    pub fn linear(n: usize) -> Self {
        let betas = (0..=n).map(|k| k as f64 / n.max(1) as f64).collect();
        Self { betas, steps_per_beta: 1, seed: 0 }
    }

    /// From exact draws of the start, one chain each. `log_z_start` is `ln Z` of the start.
    ///
    /// # Errors
    /// Impossible settings, fewer than 2 draws, draws of different lengths; and whatever an energy returns.
    pub fn forward<'a, T, K, A, B>(
        &self,
        kernel: &K,
        start: &'a A,
        end: &'a B,
        draws: Vec<Vec<T>>,
        log_z_start: f64,
    ) -> Result<AisRun<Vec<T>>>
    where
        T: Real,
        A: Energy<Vec<T>> + Sync,
        B: Energy<Vec<T>> + Sync,
        K: Kernel<Vec<T>, Bridge<&'a A, &'a B>> + Sync,
    {
        self.run(kernel, (start, end), draws, log_z_start, 1.0)
    }

    /// From exact draws of the end, one chain each, back to the start.
    ///
    /// # Errors
    /// As [`Ais::forward`].
    pub fn reverse<'a, T, K, A, B>(
        &self,
        kernel: &K,
        start: &'a A,
        end: &'a B,
        draws: Vec<Vec<T>>,
        log_z_start: f64,
    ) -> Result<AisRun<Vec<T>>>
    where
        T: Real,
        A: Energy<Vec<T>> + Sync,
        B: Energy<Vec<T>> + Sync,
        K: Kernel<Vec<T>, Bridge<&'a A, &'a B>> + Sync,
    {
        self.run(kernel, (start, end), draws, log_z_start, -1.0)
    }

    /// Both directions; `sign` is 1 forward and -1 in reverse.
    fn run<'a, T, K, A, B>(
        &self,
        kernel: &K,
        (start, end): (&'a A, &'a B),
        draws: Vec<Vec<T>>,
        log_z_start: f64,
        sign: f64,
    ) -> Result<AisRun<Vec<T>>>
    where
        T: Real,
        A: Energy<Vec<T>> + Sync,
        B: Energy<Vec<T>> + Sync,
        K: Kernel<Vec<T>, Bridge<&'a A, &'a B>> + Sync,
    {
        kernel.check()?;
        self.check(&draws, log_z_start)?;
        let rungs: Vec<_> = self.betas.iter().map(|&beta| Bridge { start, end, beta }).collect();
        let one = |(i, x): (usize, Vec<T>)| self.walk(kernel, &rungs, i, x, sign);
        let walks: Vec<(f64, Vec<T>)> = draws.into_par_iter().enumerate().map(one).collect::<Result<_>>()?;
        let (gains, points): (Vec<f64>, _) = walks.into_iter().unzip();
        Ok(summary(gains.into_iter().map(|gain| log_z_start + gain).collect(), points, sign))
    }

    /// One chain: its gain and its last position.
    fn walk<T, K, A, B>(
        &self,
        kernel: &K,
        rungs: &[Bridge<A, B>],
        i: usize,
        x: Vec<T>,
        sign: f64,
    ) -> Result<(f64, Vec<T>)>
    where
        T: Real,
        A: Energy<Vec<T>>,
        B: Energy<Vec<T>>,
        K: Kernel<Vec<T>, Bridge<A, B>>,
    {
        let n = rungs.len() - 1;
        let mut rng = Stream::new(self.seed, Purpose::Chain, i as u64);
        let mut state = kernel.init(&rungs[if sign > 0.0 { 1 } else { n - 1 }], x)?;
        let mut gain = 0.0;
        for change in 1..=n {
            let k = if sign > 0.0 { change } else { n + 1 - change };
            gain -= (rungs[k].beta - rungs[k - 1].beta) * rungs[k].slope(&state.x)?;
            if change == n {
                break;
            }
            let rung = if sign > 0.0 { k } else { k - 1 };
            kernel.refresh(&rungs[rung], &mut state)?;
            state.step = ((rung - 1) * self.steps_per_beta) as u64;
            for _ in 0..self.steps_per_beta {
                kernel.advance(&rungs[rung], &mut state, &mut rng)?;
            }
        }
        let worst = if sign > 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
        Ok((if gain.is_nan() { worst } else { gain }, state.x))
    }

    fn check<T: Real>(&self, draws: &[Vec<T>], log_z_start: f64) -> Result<()> {
        check_betas(&self.betas)?;
        if self.betas[0] != 0.0 {
            return Err(Error::bad_value(
                "the first beta",
                self.betas[0],
                "0",
                "the walk begins at the start",
            ));
        }
        if self.steps_per_beta == 0 {
            return Err(Error::bad_value("steps_per_beta", 0, "at least 1", ""));
        }
        let fix = "a standard error needs several chains; take 100";
        check_draws("draws", draws, fix, log_z_start)
    }
}

/// Mean and its standard error.
fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let square = values.map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, (square / (n * (n - 1.0))).sqrt())
}

fn summary<X>(log_weights: Vec<f64>, points: Vec<X>, sign: f64) -> AisRun<X> {
    let (bound, bound_std_error) = mean_and_error(log_weights.iter().copied());
    let log_sum = log_sum_exp(log_weights.iter().map(|w| sign * w));
    // Each weight as a share of their sum; its mean is 1 / n.
    let shares = log_weights.iter().map(|w| (sign * w - log_sum).exp());
    let (mean, error) = mean_and_error(shares.clone());
    AisRun {
        log_z: sign * (log_sum - (log_weights.len() as f64).ln()),
        std_error: error / mean,
        bound,
        bound_std_error,
        effective_size: 1.0 / shares.map(|share| share * share).sum::<f64>(),
        log_weights,
        points,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hmc;
    use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};

    fn draws(law: &dyn Exact, n: usize, index: u64) -> Vec<Vec<f64>> {
        let mut stream = Stream::new(3, Purpose::Start, index);
        (0..n).map(|_| law.sample(&mut stream)).collect()
    }

    fn pair() -> (Gaussian, Gaussian) {
        let end = Gaussian::new(vec![1.0, -1.5], vec![0.5, 0.3, 0.3, 0.8]).unwrap();
        (Gaussian::diagonal(vec![0.0; 2], vec![2.0, 3.0]).unwrap(), end)
    }

    #[test]
    fn gaussian_to_gaussian_is_exact_and_bracketed() {
        let ((start, end), kernel) = (pair(), Hmc::new(0.5, 4));
        let (ais, back) = (Ais::linear(60), Ais { seed: 1, ..Ais::linear(60) });
        let exact = end.log_partition();
        let below =
            ais.forward(&kernel, &start, &end, draws(&start, 1000, 0), start.log_partition()).unwrap();
        let above = back.reverse(&kernel, &start, &end, draws(&end, 1000, 1), start.log_partition()).unwrap();
        for run in [&below, &above] {
            assert!((run.log_z - exact).abs() < 4.0 * run.std_error, "{} against {exact}", run.log_z);
            assert!(run.std_error < 0.03 && run.effective_size > 500.0, "{}", run.effective_size);
        }
        let Bracket { lower, upper } = Bracket::new(&below, &above);
        assert!(lower.0 < exact && exact < upper.0, "{lower:?} {exact} {upper:?}");
        // The gaps of both bounds fall as one over the number of rungs: half of that of half as many.
        let width = |n: usize| {
            let (ais, back) = (Ais::linear(n), Ais { seed: 1, ..Ais::linear(n) });
            let from = (draws(&start, 1000, 0), draws(&end, 1000, 1));
            let below = ais.forward(&kernel, &start, &end, from.0, start.log_partition()).unwrap();
            let above = back.reverse(&kernel, &start, &end, from.1, start.log_partition()).unwrap();
            (above.bound - below.bound, above.bound_std_error.hypot(below.bound_std_error))
        };
        let ((wide, wide_error), (narrow, error)) = (width(30), width(60));
        assert!((narrow - 0.5 * wide).abs() < 4.0 * error.hypot(0.5 * wide_error), "{wide} {narrow}");
    }

    #[test]
    fn two_separated_modes_from_a_wide_gaussian() {
        let start = Gaussian::diagonal(vec![0.0; 2], vec![36.0; 2]).unwrap();
        let means = vec![vec![-5.0, 0.0], vec![5.0, 0.0]];
        let end = GaussianMixture::new(vec![0.3, 0.7], means, vec![1.0; 2]).unwrap();
        let run = Ais { steps_per_beta: 2, ..Ais::linear(100) }
            .forward(&Hmc::new(0.7, 4), &start, &end, draws(&start, 1000, 0), start.log_partition())
            .unwrap();
        assert!(
            run.log_z.abs() < 4.0 * run.std_error && run.std_error < 0.1,
            "{} {}",
            run.log_z,
            run.std_error
        );
        // The weighted points show both modes at their weights.
        let weight = |i: usize| (run.log_weights[i] - run.log_z).exp() / 1000.0;
        let left: f64 = (0..1000).filter(|&i| run.points[i][0] < 0.0).map(weight).sum();
        let error = (0.21 / run.effective_size).sqrt();
        assert!((left - 0.3).abs() < 4.0 * error, "{left} +- {error}");
    }

    #[test]
    fn threads_do_not_matter() {
        let (start, end) = pair();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let x = draws(&start, 20, 0);
            pool.install(|| {
                Ais::linear(5).forward(&Hmc::new(0.5, 4), &start, &end, x, 0.0).unwrap().log_weights
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn bad_settings_are_errors() {
        let (start, end) = pair();
        let text = |ais: Ais, x: Vec<Vec<f64>>| {
            ais.forward(&Hmc::new(0.5, 4), &start, &end, x, 0.0).unwrap_err().to_string()
        };
        let ok = vec![vec![0.0; 2]; 2];
        assert!(text(Ais::linear(0), ok.clone()).starts_with("number of betas = 1"));
        assert!(
            text(Ais { betas: vec![0.5, 1.0], ..Ais::linear(1) }, ok.clone()).starts_with("the first beta")
        );
        assert!(
            text(Ais { steps_per_beta: 0, ..Ais::linear(2) }, ok.clone()).starts_with("steps_per_beta = 0")
        );
        assert!(text(Ais::linear(2), vec![vec![]; 2]).starts_with("coordinates of a start point = 0"));
        assert!(text(Ais::linear(2), vec![vec![0.0; 2]]).starts_with("draws = 1: must be at least 2"));
    }
}
