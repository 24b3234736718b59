//! Histogram reweighting without bins (WHAM in its binless form, MBAR): samples of several biased ensembles as one sample
//! of any other.
//!
//! Ensemble `k` has the law `exp(-u_k(s)) / Z_k` and `N_k` samples. Its free energy `f_k = -ln Z_k` solves
//! `f_k = -ln sum_n exp(-u_k(s_n)) / D_n`, `D_n = sum_j N_j exp(f_j - u_j(s_n))`, over all samples; every other law
//! `exp(-u)` has the weights `exp(-u(s_n)) / D_n` there. The equations are the minimum of a convex function, found by
//! Newton's method. Sources: Ferrenberg and Swendsen 1989 (DOI 10.1103/PhysRevLett.63.1195), with histograms; without:
//! Shirts and Chodera 2008 (arXiv 0801.1426).
//!
//! Standard errors: every result is linear in small changes of the samples' sums, `sum_n phi_n`; ensembles are
//! independent, and within each the error of the mean of `phi` is that of correlated draws
//! (`ebm_metrics::chains::mcse_mean`), so that autocorrelated chains need no thinning.

use ebm_core::{Cholesky, Error, Result, log_sum_exp};
use ebm_metrics::chains::mcse_mean;
use ndarray::Array2;

/// Largest relative deviation of an ensemble's summed membership from its number of samples.
const TOLERANCE: f64 = 1e-10;

/// Samples of several ensembles, and what they say together. `S` is what is known of a sample: the user's scalar (an
/// energy, a distance), or several numbers.
///
/// Use it to weigh runs under several biases or temperatures together. Not where they do not overlap (an error says
/// so), nor for a law outside all of them.
///
/// ```
/// use ebm_core::random::{Purpose, Stream};
/// use ebm_samplers::Wham;
/// use ndarray::Array2;
/// // A standard normal s, pulled by springs 2 (s - c)^2: each biased law is normal, with mean 4 c / 5, variance 1 / 5.
/// let centres = [-2.0, -1.0, 0.0, 1.0, 2.0];
/// let mut stream = Stream::new(0, Purpose::User, 0);
/// let mut draw = |c: &f64| Array2::from_shape_fn((2, 500), |_| 0.8 * c + 0.2f64.sqrt() * stream.normal());
/// let samples = centres.iter().map(&mut draw).collect();
/// let wham = Wham::new(samples, |k, s| 0.5 * s * s + 2.0 * (s - centres[k]).powi(2))?;
/// // Without the springs: the variance of s, and how likely s is to be beyond 2.
/// let unbiased = |s: &f64| 0.5 * s * s;
/// let (variance, std_error) = wham.expectation(unbiased, |s| s * s)?;
/// assert!((variance - 1.0).abs() < 4.0 * std_error);
/// let bins = wham.histogram(unbiased, |s| *s, &[2.0, 3.0])?;
/// assert!((bins[0].probability - 0.0214).abs() < 4.0 * bins[0].std_error);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Wham<S> {
    /// Of all ensembles, one after the other.
    samples: Vec<S>,
    /// Chains and draws of each ensemble.
    shapes: Vec<(usize, usize)>,
    free_energies: Vec<f64>,
    /// `ln D_n`.
    log_denominators: Vec<f64>,
    /// `p_k(n) = N_k exp(f_k - u_k(s_n)) / D_n`: how likely sample `n` is to be of ensemble `k`; `[sample * ensemble]`.
    memberships: Vec<f64>,
    /// Of `sum_n (diag p - p p^T)` without its first row and column (`f_0` is 0).
    hessian: Cholesky,
}

/// One bin of a reweighted histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReweightedBin {
    /// The bin is `[low, high)`.
    pub low: f64,
    /// Its upper edge.
    pub high: f64,
    /// The probability that the scalar lies in it.
    pub probability: f64,
    /// Standard error of the probability.
    pub std_error: f64,
}

impl ReweightedBin {
    /// `-ln(probability / width)`, the free energy along the scalar, and its standard error; infinite where no sample is.
    pub fn free_energy(&self) -> (f64, f64) {
        (-(self.probability / (self.high - self.low)).ln(), self.std_error / self.probability)
    }
}

impl<S> Wham<S> {
    /// `samples[k]`, `[chain, draw]`, are draws of the law `exp(-reduced_energy(k, s))`: energy over temperature, with the
    /// ensemble's bias. An infinite energy in another ensemble says that the sample cannot occur there.
    ///
    /// # Errors
    /// No ensemble, one without samples, an energy that is NaN, minus infinity, or infinite in the sample's own ensemble;
    /// ensembles that do not overlap.
    pub fn new(samples: Vec<Array2<S>>, reduced_energy: impl Fn(usize, &S) -> f64) -> Result<Self> {
        let n_ensembles = samples.len();
        if n_ensembles == 0 {
            return Err(Error::bad_value("ensembles", 0, "at least 1", ""));
        }
        let shapes: Vec<_> = samples.iter().map(Array2::dim).collect();
        let mut energies = vec![];
        let mut pooled = vec![];
        for (k, samples) in samples.into_iter().enumerate() {
            if samples.is_empty() {
                return Err(Error::bad_value(format!("samples of ensemble {k}"), 0, "at least 1", ""));
            }
            for s in samples {
                for j in 0..n_ensembles {
                    let energy = reduced_energy(j, &s);
                    if energy.is_nan() || energy == f64::NEG_INFINITY || (j == k && energy.is_infinite()) {
                        let name = format!("energy in ensemble {j} of a sample of ensemble {k}");
                        return Err(Error::bad_value(name, energy, "finite", ""));
                    }
                    energies.push(energy);
                }
                pooled.push(s);
            }
        }
        let mut wham = Self {
            log_denominators: vec![0.0; pooled.len()],
            memberships: vec![0.0; energies.len()],
            samples: pooled,
            shapes,
            free_energies: vec![0.0; n_ensembles],
            hessian: Cholesky::identity(n_ensembles - 1),
        };
        wham.solve(&energies)?;
        Ok(wham)
    }

    /// `f_k - f_0 = -ln Z_k / Z_0` of an ensemble, and its standard error.
    ///
    /// # Errors
    /// When there is no ensemble `k`.
    pub fn free_energy(&self, k: usize) -> Result<(f64, f64)> {
        let n = self.shapes.len();
        if k >= n {
            return Err(Error::bad_value("ensemble", k, format!("below {n}"), ""));
        }
        let mut slope = vec![0.0; n];
        slope[k] = 1.0;
        Ok((self.free_energies[k], self.std_error(vec![0.0; self.samples.len()], slope)))
    }

    /// `-ln Z / Z_0` of the law `exp(-reduced_energy(s))`, and its standard error.
    ///
    /// # Errors
    /// When the law's energy is NaN or minus infinity at a sample, or infinite at all of them.
    pub fn free_energy_of(&self, reduced_energy: impl Fn(&S) -> f64) -> Result<(f64, f64)> {
        let (log_sum, weights) = self.weights(reduced_energy)?;
        let slope = self.over_memberships(&weights);
        Ok((-log_sum, self.std_error(weights.iter().map(|w| -w).collect(), slope)))
    }

    /// The mean of `value` under the law `exp(-reduced_energy(s))`, and its standard error.
    ///
    /// # Errors
    /// As [`Wham::free_energy_of`], and when a value is not finite.
    pub fn expectation(
        &self,
        reduced_energy: impl Fn(&S) -> f64,
        value: impl Fn(&S) -> f64,
    ) -> Result<(f64, f64)> {
        let (_, weights) = self.weights(reduced_energy)?;
        self.mean(&weights, value)
    }

    /// How the scalar is distributed under the law `exp(-reduced_energy(s))`, one bin between each two edges. With the
    /// law 1 (`|_| 0.0`) and energies as the scalar these are densities of states, up to their sum.
    ///
    /// # Errors
    /// As [`Wham::expectation`], and when there are not two edges or they do not increase.
    pub fn histogram(
        &self,
        reduced_energy: impl Fn(&S) -> f64,
        scalar: impl Fn(&S) -> f64,
        edges: &[f64],
    ) -> Result<Vec<ReweightedBin>> {
        if edges.len() < 2 || !edges.windows(2).all(|w| w[0] < w[1]) {
            return Err(Error::bad_value("edges", format!("{edges:?}"), "at least 2, increasing", ""));
        }
        let (_, weights) = self.weights(reduced_energy)?;
        let scalars: Vec<f64> = self.samples.iter().map(scalar).collect();
        let bin = |edge: &[f64]| {
            let (low, high) = (edge[0], edge[1]);
            let inside: Vec<f64> =
                scalars.iter().map(|s| f64::from(u8::from(*s >= low && *s < high))).collect();
            let (probability, std_error) = self.mean_of(&weights, &inside);
            ReweightedBin { low, high, probability, std_error }
        };
        Ok(edges.windows(2).map(bin).collect())
    }

    /// `ln sum_n exp(-u(s_n)) / D_n`, and each sample's share of it.
    fn weights(&self, reduced_energy: impl Fn(&S) -> f64) -> Result<(f64, Vec<f64>)> {
        let log_weight = |(s, log_d): (&S, &f64)| -reduced_energy(s) - log_d;
        let log_weights: Vec<f64> = self.samples.iter().zip(&self.log_denominators).map(log_weight).collect();
        let log_sum = log_sum_exp(log_weights.iter().copied());
        if !log_sum.is_finite() {
            let fix = "the law must be possible at one sample at least";
            return Err(Error::bad_value("ln of the summed weights", log_sum, "finite", fix));
        }
        Ok((log_sum, log_weights.iter().map(|w| (w - log_sum).exp()).collect()))
    }

    fn mean(&self, weights: &[f64], value: impl Fn(&S) -> f64) -> Result<(f64, f64)> {
        let values: Vec<f64> = self.samples.iter().map(value).collect();
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::bad_value("value of a sample", bad, "finite", ""));
        }
        Ok(self.mean_of(weights, &values))
    }

    fn mean_of(&self, weights: &[f64], values: &[f64]) -> (f64, f64) {
        let mean = weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>();
        let direct: Vec<f64> = weights.iter().zip(values).map(|(w, v)| w * (v - mean)).collect();
        let slope = self.over_memberships(&direct).iter().map(|d| -d).collect();
        (mean, self.std_error(direct, slope))
    }

    /// `sum_n a_n p_k(n)` for each ensemble.
    fn over_memberships(&self, a: &[f64]) -> Vec<f64> {
        let n = self.shapes.len();
        let mut sums = vec![0.0; n];
        for (a, p) in a.iter().zip(self.memberships.chunks_exact(n)) {
            sums.iter_mut().zip(p).for_each(|(sum, p)| *sum += a * p);
        }
        sums
    }

    /// The standard error of a result that changes by `direct[n]` with the weight of sample `n` and by `slope` with the free
    /// energies, which in turn change by `-H^-1 p(n)`.
    fn std_error(&self, direct: Vec<f64>, slope: Vec<f64>) -> f64 {
        let n = self.shapes.len();
        let mut pull = slope[1..].to_vec();
        self.hessian.solve(&mut pull);
        let through = |p: &[f64]| pull.iter().zip(&p[1..]).map(|(pull, p)| pull * p).sum::<f64>();
        let phi: Vec<f64> =
            direct.iter().zip(self.memberships.chunks_exact(n)).map(|(d, p)| d - through(p)).collect();
        let mut from = 0;
        let mut variance = 0.0;
        for shape in &self.shapes {
            let size = shape.0 * shape.1;
            let part = ndarray::ArrayView2::from_shape(*shape, &phi[from..from + size]);
            let error = part.map_or(f64::NAN, |part| mcse_mean(part).unwrap_or(f64::NAN));
            variance += (size as f64 * error).powi(2);
            from += size;
        }
        variance.sqrt()
    }

    /// Denominators and memberships at the present free energies; returns the convex function
    /// `sum_n ln D_n - sum_k N_k f_k`.
    fn update(&mut self, energies: &[f64], sizes: &[f64]) -> f64 {
        let n = sizes.len();
        let f = &self.free_energies;
        let mut total = -f.iter().zip(sizes).map(|(f, size)| f * size).sum::<f64>();
        let rows = energies.chunks_exact(n).zip(self.memberships.chunks_exact_mut(n));
        for ((u, p), log_d) in rows.zip(&mut self.log_denominators) {
            for k in 0..n {
                p[k] = sizes[k].ln() + f[k] - u[k];
            }
            *log_d = log_sum_exp(p.iter().copied());
            p.iter_mut().for_each(|p| *p = (*p - *log_d).exp());
            total += *log_d;
        }
        total
    }

    /// `sum_n (diag p - p p^T)` without its first row and column; false where it is singular.
    fn factorise(&mut self) -> bool {
        let n = self.shapes.len();
        let mut h = vec![0.0; (n - 1) * (n - 1)];
        for p in self.memberships.chunks_exact(n) {
            for i in 1..n {
                // The diagonal as p_i times the sum of the others: 1 - p_i would be rounding where p_i is nearly 1.
                let others: f64 = (0..n).filter(|j| *j != i).map(|j| p[j]).sum();
                h[(i - 1) * n] += p[i] * others;
                for j in 1..i {
                    h[(i - 1) * (n - 1) + j - 1] -= p[i] * p[j];
                    h[(j - 1) * (n - 1) + i - 1] -= p[i] * p[j];
                }
            }
        }
        self.hessian.factorise(&h)
    }

    /// Newton's method with halved steps; where the Hessian is singular, one round of the fixed-point equation.
    fn solve(&mut self, energies: &[f64]) -> Result<()> {
        let sizes: Vec<f64> = self.shapes.iter().map(|(chains, draws)| (chains * draws) as f64).collect();
        let n = sizes.len();
        let mut value = self.update(energies, &sizes);
        for _ in 0..1000 {
            let sums = self.over_memberships(&vec![1.0; self.samples.len()]);
            let worst =
                sums.iter().zip(&sizes).map(|(sum, size)| (sum / size - 1.0).abs()).fold(0.0, f64::max);
            let regular = self.factorise();
            if worst < TOLERANCE {
                if regular {
                    return Ok(());
                }
                break;
            }
            let start = self.free_energies.clone();
            let mut step: Vec<f64> = (1..n).map(|k| sizes[k] - sums[k]).collect();
            let mut fell = false;
            if regular {
                self.hessian.solve(&mut step);
                let mut share = 1.0;
                while !fell && share > 1e-3 {
                    (1..n).for_each(|k| self.free_energies[k] = start[k] + share * step[k - 1]);
                    let next = self.update(energies, &sizes);
                    // Near the minimum the fall is lost in rounding.
                    fell = next <= value + 1e-14 * value.abs();
                    share *= 0.5;
                    if fell {
                        value = next;
                    }
                }
            }
            if !fell {
                let change = |k: usize| -(sums[k] / sizes[k]).ln().clamp(-50.0, 50.0);
                let first = change(0);
                (0..n).for_each(|k| self.free_energies[k] = start[k] + change(k) - first);
                value = self.update(energies, &sizes);
            }
        }
        let sums = self.over_memberships(&vec![1.0; self.samples.len()]);
        let worst = (0..n).max_by(|i, j| {
            let off = |k: &usize| (sums[*k] / sizes[*k] - 1.0).abs();
            off(i).total_cmp(&off(j))
        });
        let fix = "take ensembles that overlap: more of them, or weaker biases";
        let found = format!("not determined (ensemble {} is apart)", worst.unwrap_or(0));
        Err(Error::bad_value("free energies", found, "determined by the samples", fix))
    }
}

#[cfg(test)]
#[path = "wham_tests.rs"]
mod tests;
