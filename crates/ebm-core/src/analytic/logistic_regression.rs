//! Bayesian logistic regression: `E(w) = sum_n ln(1 + exp(-s_n w x_n)) + a |w|^2 / 2`, labels `s_n = +-1`.
//!
//! The posterior of the weights under a normal prior of precision `a`, up to its constant. The Fisher information plus
//! the prior's precision is `G(w) = X^T diag(v) X + a I`, `v_n = p_n (1 - p_n)` with `p_n = 1 / (1 + exp(-w x_n))`: here it
//! is the Hessian itself. Source: Girolami and Calderhead 2011 (DOI 10.1111/j.1467-9868.2010.00765.x), section 7.

use super::logistic::{sigmoid_of_minus, softplus_and_sigmoid};
use super::{check_count, check_finite, check_positive};
use crate::random::{Purpose, Stream};
use crate::simd::{Dispatched, dispatch};
use crate::{Error, HostEnergy, Real, Result, RiemannianMetric};

/// The weights' posterior; put a 1 into every row for an intercept. Computed in f64 whatever the point's type.
///
/// ```
/// use ebm_core::GradEnergy;
/// use ebm_core::analytic::LogisticRegression;
/// let law = LogisticRegression::new(2, vec![1.0, 0.5, 1.0, -0.5], &[true, false], 1.0)?;
/// let mut grad = vec![0.0f64; 2];
/// let energy = law.energy_grad(&vec![0.0, 0.0], &mut grad)?;
/// assert!((energy - 2.0 * 2f64.ln()).abs() < 1e-12);
/// assert!(grad[0].abs() < 1e-12 && (grad[1] + 0.5).abs() < 1e-12);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    dim: usize,
    /// `s_n x_n`, `[rows * dim]`.
    signed: Vec<f64>,
    precision: f64,
    #[cfg(feature = "torch")]
    constants: super::constants::Constants,
}

impl LogisticRegression {
    /// From the rows `x_n`, `[rows * dim]`, and one label a row; `precision` is that of the normal prior.
    ///
    /// # Errors
    /// When there is no row or no column, the lengths do not fit, a number is not finite, or the precision is not above 0.
    pub fn new(dim: usize, rows: Vec<f64>, labels: &[bool], precision: f64) -> Result<Self> {
        check_count(dim)?;
        if labels.is_empty() {
            return Err(Error::bad_value("rows", 0, "at least 1", ""));
        }
        if rows.len() != dim * labels.len() {
            let expected = format!("{} rows of {dim} = {} numbers", labels.len(), dim * labels.len());
            return Err(Error::shape("rows", format_args!("{expected}"), rows.len()));
        }
        check_positive("precision", precision)?;
        let mut signed = rows;
        for (n, (row, label)) in signed.chunks_exact_mut(dim).zip(labels).enumerate() {
            for (i, x) in row.iter_mut().enumerate() {
                check_finite(format!("rows[{n}, {i}]"), *x)?;
                *x *= if *label { 1.0 } else { -1.0 };
            }
        }
        Ok(Self {
            dim,
            signed,
            precision,
            #[cfg(feature = "torch")]
            constants: Default::default(),
        })
    }

    /// Made-up data of this size: an intercept and standard normal columns, labels by weights drawn from the prior.
    ///
    /// # Errors
    /// As [`LogisticRegression::new`].
    pub fn synthetic(dim: usize, n_rows: usize, precision: f64, seed: u64) -> Result<Self> {
        check_positive("precision", precision)?;
        let mut stream = Stream::new(seed, Purpose::Synthetic, 0);
        let mut weights = vec![0.0; dim];
        stream.add_normal(1.0 / precision.sqrt(), &mut weights);
        let mut rows = vec![0.0; n_rows * dim];
        stream.fill_normal(&mut rows);
        let mut labels = vec![];
        for row in rows.chunks_exact_mut(dim.max(1)) {
            row[0] = 1.0;
            let logit: f64 = row.iter().zip(&weights).map(|(x, w)| x * w).sum();
            labels.push(stream.uniform() < sigmoid_of_minus(-logit));
        }
        Self::new(dim, rows, &labels, precision)
    }

    /// For each row, `s_n x_n` and `s_n w x_n`.
    fn margins<'a, T: Real>(&'a self, w: &'a [T]) -> impl Iterator<Item = (&'a [f64], f64)> {
        self.signed.chunks_exact(self.dim).map(move |x| (x, margin(x, w)))
    }

    fn prior<T: Real>(&self, w: &[T]) -> f64 {
        0.5 * self.precision * w.iter().map(|w| w.to_f64().powi(2)).sum::<f64>()
    }
}

/// `w x` in eight lanes, so that it vectorises and is the same on every machine.
#[inline(always)]
fn margin<T: Real>(x: &[f64], w: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x8, w8) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
    let rest = x8.remainder().iter().zip(w8.remainder()).map(|(x, w)| x * w.to_f64()).sum::<f64>();
    for (x, w) in x8.zip(w8) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * w[lane].to_f64();
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Rows that are worked on side by side.
const LANES: usize = 8;

/// `sum_n ln(1 + exp(-s_n w x_n))`; adds its gradient to `grad`, which may be empty.
struct Loss<'a, T> {
    law: &'a LogisticRegression,
    w: &'a [T],
    grad: &'a mut [T],
}

impl<T: Real> Dispatched for Loss<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let dim = self.law.dim;
        let mut losses = [0.0; LANES];
        for rows in self.law.signed.chunks(LANES * dim) {
            // Lanes without a row have no loss, and their pull is not asked for.
            let (mut margins, mut pulls) = ([f64::INFINITY; LANES], [0.0; LANES]);
            for (t, x) in margins.iter_mut().zip(rows.chunks_exact(dim)) {
                *t = margin(x, self.w);
            }
            for lane in 0..LANES {
                let (softplus, sigmoid) = softplus_and_sigmoid(-margins[lane]);
                losses[lane] += softplus;
                pulls[lane] = -sigmoid;
            }
            for (pull, x) in pulls.iter().zip(rows.chunks_exact(dim)) {
                for (g, x) in self.grad.iter_mut().zip(x) {
                    *g += T::of(pull * x);
                }
            }
        }
        losses.iter().sum()
    }
}

impl<T: Real> HostEnergy<T> for LogisticRegression {
    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }

    fn value(&self, w: &[T]) -> f64 {
        self.prior(w) + dispatch(Loss { law: self, w, grad: &mut [] })
    }

    fn value_grad(&self, w: &[T], grad: &mut [T]) -> f64 {
        for (g, w) in grad.iter_mut().zip(w) {
            *g = T::of(self.precision) * *w;
        }
        let loss = dispatch(Loss { law: self, w, grad });
        self.prior(w) + loss
    }
}

crate::host_energy!(LogisticRegression);

impl RiemannianMetric for LogisticRegression {
    fn metric(&self, w: &[f64], g: &mut [f64]) {
        g.fill(0.0);
        for (x, margin) in self.margins(w) {
            let p = sigmoid_of_minus(margin);
            let variance = p * (1.0 - p);
            for (row, xi) in g.chunks_exact_mut(self.dim).zip(x) {
                row.iter_mut().zip(x).for_each(|(g, xj)| *g += variance * xi * xj);
            }
        }
        (0..self.dim).for_each(|i| g[i * (self.dim + 1)] += self.precision);
    }

    fn metric_derivatives(&self, w: &[f64], dg: &mut [f64]) {
        let dim = self.dim;
        dg.fill(0.0);
        for (x, margin) in self.margins(w) {
            // d/dm of v(m), p falling with the margin m.
            let p = sigmoid_of_minus(margin);
            let slope = -p * (1.0 - p) * (1.0 - 2.0 * p);
            for (dg, xk) in dg.chunks_exact_mut(dim * dim).zip(x) {
                for (row, xi) in dg.chunks_exact_mut(dim).zip(x) {
                    let factor = slope * xk * xi;
                    row.iter_mut().zip(x).for_each(|(g, xj)| *g += factor * xj);
                }
            }
        }
    }
}

#[cfg(feature = "torch")]
mod torch {
    use super::LogisticRegression;
    use crate::analytic::{check_rows, constants::tensor};
    use crate::{GraphEnergy, Result};
    use tch::{Kind, Tensor};

    impl GraphEnergy for LogisticRegression {
        fn energy_graph(&self, w: &Tensor) -> Result<Tensor> {
            check_rows(self.dim, w)?;
            let shape = [(self.signed.len() / self.dim) as i64, self.dim as i64];
            let [signed] = self.constants.like(w, || Ok([tensor(&self.signed, &shape)?]))?;
            let margins = w.f_matmul(&signed.f_tr()?)?;
            // ln(1 + e^-t) = -ln sigmoid(t).
            let loss = margins.f_log_sigmoid()?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            let squares = w.f_square()?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            Ok(squares.f_mul_scalar(0.5 * self.precision)?.f_sub(&loss)?)
        }
    }

    crate::tensor_energy!(LogisticRegression);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::testing;

    fn law() -> LogisticRegression {
        LogisticRegression::synthetic(4, 30, 0.5, 2).unwrap()
    }

    fn points() -> Vec<f64> {
        let mut rows = vec![0.0; 4 * 9];
        Stream::new(0, Purpose::User, 0).fill_normal(&mut rows);
        rows[32..].copy_from_slice(&[30.0, -20.0, 5.0, 40.0]);
        rows
    }

    #[test]
    fn gradient_blocks_and_tensors() {
        testing::check_energy(&law(), 4, &points());
    }

    /// The metric is the Hessian, and its derivatives are those of the metric: central differences.
    #[test]
    fn the_metric_is_the_hessian_and_its_derivatives_are_right() {
        let (law, h) = (law(), 1e-5);
        for w in points().chunks(4).take(8) {
            let (mut g, mut dg) = (vec![0.0; 16], vec![0.0; 64]);
            law.metric(w, &mut g);
            law.metric_derivatives(w, &mut dg);
            for k in 0..4 {
                let at = |step: f64| {
                    let mut moved = w.to_vec();
                    moved[k] += step;
                    let (mut grad, mut metric) = (vec![0.0; 4], vec![0.0; 16]);
                    law.value_grad(&moved, &mut grad);
                    law.metric(&moved, &mut metric);
                    (grad, metric)
                };
                let (up, down) = (at(h), at(-h));
                for i in 0..4 {
                    assert!((g[4 * i + k] - (up.0[i] - down.0[i]) / (2.0 * h)).abs() < 1e-8);
                }
                for ij in 0..16 {
                    assert!((dg[16 * k + ij] - (up.1[ij] - down.1[ij]) / (2.0 * h)).abs() < 1e-8);
                }
            }
        }
    }

    #[test]
    fn every_vector_level_gives_the_same_bits() {
        use crate::simd::{Level, dispatch_at};
        let law = LogisticRegression::synthetic(11, 37, 1.0, 3).unwrap();
        let w: Vec<f64> = (0..11).map(|i| (i as f64).sin()).collect();
        let at = |level| {
            let mut grad = vec![0.0; 11];
            let loss = dispatch_at(level, Loss { law: &law, w: &w, grad: &mut grad });
            (loss, grad)
        };
        let portable = at(Level::Portable);
        for level in Level::available() {
            assert_eq!(at(level), portable, "{level}");
        }
    }

    #[test]
    fn bad_settings_are_errors() {
        let text = |dim, rows: &[f64], labels: &[bool], precision| {
            LogisticRegression::new(dim, rows.to_vec(), labels, precision).unwrap_err().to_string()
        };
        assert_eq!(text(0, &[], &[true], 1.0), "dim = 0: must be at least 1");
        assert_eq!(text(1, &[], &[], 1.0), "rows = 0: must be at least 1");
        assert_eq!(text(2, &[0.0; 3], &[true], 1.0), "rows: expected 1 rows of 2 = 2 numbers, found 3");
        assert_eq!(text(1, &[f64::NAN], &[true], 1.0), "rows[0, 0] = NaN: must be finite");
        assert!(text(1, &[0.0], &[true], 0.0).starts_with("precision = 0"));
        assert!(LogisticRegression::synthetic(0, 3, 1.0, 0).is_err());
    }
}
