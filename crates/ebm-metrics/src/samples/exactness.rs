//! Whether draws come from a known law, up to chance.
//!
//! Given one draw from each of many independent chains: every first and second moment as a z against its exact value,
//! and every marginal as a p-value (Kolmogorov-Smirnov against exact draws, or chi-square against exact
//! probabilities). All of them together make one p by Bonferroni: the chance, at most, that exact draws look as bad.
//! Sources: Kolmogorov-Smirnov's asymptotic law with Stephens' correction for finite samples (Numerical Recipes,
//! section 14.3); Bonferroni.

use ebm_core::Result;
use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::check;
use crate::special::gamma_tail;

/// What a comparison with a known law came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exactness {
    /// The largest `|z|` over all moments; NaN if a draw is not finite.
    pub worst_z: f64,
    /// How many moments.
    pub n_moments: usize,
    /// The smallest p-value over all marginals.
    pub least_p: f64,
    /// How many marginals.
    pub n_marginals: usize,
}

impl Exactness {
    /// The chance, at most, that exact draws look this bad: each of the two findings times how often it was looked
    /// for, and the smaller of them; at most 1, and 0 where something is not a number.
    pub fn p(&self) -> f64 {
        let by_moments = self.n_moments as f64 * two_sided(self.worst_z);
        let by_marginals = self.n_marginals as f64 * self.least_p;
        if by_moments.is_nan() || by_marginals.is_nan() { 0.0 } else { by_moments.min(by_marginals).min(1.0) }
    }

    /// Both findings together, as if they were of one law.
    pub fn and(&self, other: &Self) -> Self {
        let worse = |a: f64, b: f64, choose: fn(f64, f64) -> f64| if a.is_nan() { a } else { choose(b, a) };
        Self {
            worst_z: if other.worst_z.is_nan() {
                f64::NAN
            } else {
                worse(self.worst_z, other.worst_z, f64::max)
            },
            n_moments: self.n_moments + other.n_moments,
            least_p: worse(self.least_p, other.least_p, f64::min),
            n_marginals: self.n_marginals + other.n_marginals,
        }
    }
}

/// `P(|Z| >= |z|)` of a standard normal.
pub fn two_sided(z: f64) -> f64 {
    if z.is_nan() { f64::NAN } else { gamma_tail(0.5, 0.5 * z * z) }
}

/// How many standard errors the mean of independent `values` is from `exact`; NaN if one is not finite, 0 if all
/// are `exact`.
///
/// # Errors
/// Fewer than two values.
pub fn moment_z(values: &[f64], exact: f64) -> Result<f64> {
    check::at_least("values", values.len(), 2)?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let distance = mean - exact;
    Ok(if distance == 0.0 { 0.0 } else { distance / (variance / n).sqrt() })
}

/// The p-value of the two-sample Kolmogorov-Smirnov test; NaN if a value is not finite.
///
/// # Errors
/// An empty sample.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> Result<f64> {
    check::at_least("values", a.len(), 1)?;
    check::at_least("values", b.len(), 1)?;
    if !a.iter().chain(b).all(|x| x.is_finite()) {
        return Ok(f64::NAN);
    }
    let sorted = |x: &[f64]| {
        let mut x = x.to_vec();
        x.sort_by(f64::total_cmp);
        x
    };
    let (a, b) = (sorted(a), sorted(b));
    let (mut i, mut j, mut largest) = (0, 0, 0f64);
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        i += a[i..].iter().take_while(|v| **v <= x).count();
        j += b[j..].iter().take_while(|v| **v <= x).count();
        largest = largest.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    let n = (a.len() as f64 * b.len() as f64 / (a.len() + b.len()) as f64).sqrt();
    Ok(kolmogorov_tail((n + 0.12 + 0.11 / n) * largest))
}

/// `P(K >= x)` of Kolmogorov's law.
fn kolmogorov_tail(x: f64) -> f64 {
    if x < 0.3 {
        return 1.0; // 1 - 1e-5 and above
    }
    let term = |k: i32| {
        let k = f64::from(k);
        let sign = if k % 2.0 == 0.0 { -1.0 } else { 1.0 };
        sign * (-2.0 * k * k * x * x).exp()
    };
    (2.0 * (1..=20).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// The p-value of Pearson's chi-square test of `counts` against `probabilities`. Cells that expect fewer than 5 are
/// put together.
///
/// # Errors
/// Lists of different lengths, or no count at all.
pub fn chi_square(counts: &[f64], probabilities: &[f64]) -> Result<f64> {
    check::same_len("probabilities", counts.len(), probabilities.len())?;
    let n: f64 = counts.iter().sum();
    check::at_least("counts", n as usize, 1)?;
    let (mut statistic, mut cells, mut rest) = (0.0, 0, (0.0, 0.0));
    let mut add = |(count, expected): (f64, f64)| {
        statistic += (count - expected).powi(2) / expected;
        cells += 1;
    };
    for (count, p) in counts.iter().zip(probabilities) {
        if p * n < 5.0 {
            rest = (rest.0 + count, rest.1 + p * n);
        } else {
            add((*count, p * n));
        }
    }
    if rest.1 > 0.0 {
        add(rest);
    } else if rest.0 > 0.0 {
        return Ok(0.0); // what cannot happen did
    }
    Ok(if cells < 2 { 1.0 } else { gamma_tail(0.5 * f64::from(cells - 1), 0.5 * statistic) })
}

/// Compare `draws` `[chain, dim]`, independent of each other, with a law of known `mean` `[dim]` and `covariance`
/// `[dim * dim]`, and with exact draws `[n, dim]` of it: all means, variances and covariances, and each marginal.
///
/// # Errors
/// Shapes that do not fit, or fewer than two draws.
pub fn exactness(
    draws: ArrayView2<f64>,
    mean: &[f64],
    covariance: &[f64],
    exact: ArrayView2<f64>,
) -> Result<Exactness> {
    let dim = mean.len();
    check::same_len("coordinates of a draw", dim, draws.len_of(Axis(1)))?;
    check::same_len("coordinates of an exact draw", dim, exact.len_of(Axis(1)))?;
    check::same_len("entries of the covariance", dim * dim, covariance.len())?;
    let column = |x: &ArrayView2<f64>, i: usize| x.column(i).to_vec();
    let columns: Vec<Vec<f64>> = (0..dim).map(|i| column(&draws, i)).collect();
    let mut found =
        Exactness { worst_z: 0.0, n_moments: dim + dim * (dim + 1) / 2, least_p: 1.0, n_marginals: dim };
    let mut moment = |values: &[f64], value: f64| -> Result<()> {
        let z = moment_z(values, value)?.abs();
        found.worst_z = if z.is_nan() || found.worst_z.is_nan() { f64::NAN } else { found.worst_z.max(z) };
        Ok(())
    };
    for i in 0..dim {
        moment(&columns[i], mean[i])?;
        for j in 0..=i {
            let products: Vec<f64> =
                columns[i].iter().zip(&columns[j]).map(|(x, y)| (x - mean[i]) * (y - mean[j])).collect();
            moment(&products, covariance[dim * i + j])?;
        }
    }
    for (i, values) in columns.iter().enumerate() {
        let p = kolmogorov_smirnov(values, &column(&exact, i))?;
        found.least_p = if p.is_nan() || found.least_p.is_nan() { f64::NAN } else { found.least_p.min(p) };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::{Purpose, Stream};
    use ndarray::Array2;

    fn normals(n: usize, index: u64, shift: f64, scale: f64) -> Vec<f64> {
        let mut stream = Stream::new(2, Purpose::User, index);
        (0..n).map(|_| shift + scale * stream.normal()).collect()
    }

    /// Two samples of 8 of which half lies apart: the distance is 0.5. Then the law itself.
    #[test]
    fn kolmogorov_smirnov_has_its_law() {
        let a: Vec<f64> = (0..8).map(f64::from).collect();
        let b: Vec<f64> = (4..12).map(f64::from).collect();
        let n = 2f64; // sqrt(8 * 8 / 16)
        let expected = kolmogorov_tail((n + 0.12 + 0.055) * 0.5);
        assert!((kolmogorov_smirnov(&a, &b).unwrap() - expected).abs() < 1e-12);
        assert_eq!(kolmogorov_smirnov(&a, &a).unwrap(), 1.0);
        assert!(kolmogorov_smirnov(&a, &[f64::NAN]).unwrap().is_nan());
        // Table of Kolmogorov's law: K(1.3581) = 0.95, K(1.6276) = 0.99.
        assert!((kolmogorov_tail(1.3581) - 0.05).abs() < 1e-5);
        assert!((kolmogorov_tail(1.6276) - 0.01).abs() < 1e-5);
        // Under the law itself p is uniform: its mean over 400 pairs is a half, 0.29 / sqrt(400) its error.
        let mean = (0..400)
            .map(|i| {
                kolmogorov_smirnov(&normals(300, 2 * i, 0.0, 1.0), &normals(500, 2 * i + 1, 0.0, 1.0))
                    .unwrap()
            })
            .sum::<f64>()
            / 400.0;
        assert!((mean - 0.5).abs() < 4.0 * 0.29 / 20.0, "{mean}");
    }

    #[test]
    fn chi_square_has_its_law() {
        // Each cell expects 10: (9 + 1 + 1 + 9) / 10 = 2 on 3 degrees of freedom.
        let p = chi_square(&[13.0, 9.0, 11.0, 7.0], &[0.25; 4]).unwrap();
        assert!((p - gamma_tail(1.5, 1.0)).abs() < 1e-14);
        // P(chi2 >= 7.8147) = 0.05 on 3 degrees of freedom.
        assert!((gamma_tail(1.5, 7.814_727_903_251_178 / 2.0) - 0.05).abs() < 1e-10);
        assert_eq!(chi_square(&[1.0, 40.0], &[0.0, 1.0]).unwrap(), 0.0);
        assert!(chi_square(&[1.0], &[0.5, 0.5]).is_err());
    }

    #[test]
    fn exact_draws_pass_and_others_do_not() {
        let matrix = |shift: f64, scale: f64, first: u64| {
            let columns: Vec<Vec<f64>> = (0..2).map(|i| normals(4096, first + i, shift, scale)).collect();
            Array2::from_shape_fn((4096, 2), |(t, i)| columns[i][t])
        };
        let (mean, covariance) = ([0.0; 2], [1.0, 0.0, 0.0, 1.0]);
        let reference = matrix(0.0, 1.0, 100);
        let p =
            |draws: &Array2<f64>| exactness(draws.view(), &mean, &covariance, reference.view()).unwrap().p();
        assert!(p(&matrix(0.0, 1.0, 0)) > 1e-3);
        assert!(p(&matrix(0.12, 1.0, 0)) < 1e-5);
        assert!(p(&matrix(0.0, 1.1, 0)) < 1e-5);
        let mut broken = matrix(0.0, 1.0, 0);
        broken[[7, 1]] = f64::NAN;
        assert_eq!(p(&broken), 0.0);
        // A law of the same moments: +-1 instead of a normal.
        assert!(p(&matrix(0.0, 1.0, 0).mapv(f64::signum)) < 1e-5);
    }
}
