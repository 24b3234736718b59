//! The metric: how far a unit of momentum carries in each direction.
//!
//! With `M^-1 = S S^T` a momentum `p ~ N(0, I)` moves `x += h S p` and is kicked by `p -= h S^T grad E`. That is
//! Hamiltonian dynamics with mass `M`, its momenta whitened: kinetic energies, acceptance and turns are dot products
//! whatever the metric. Best is `M^-1` near the target's covariance. Source: Neal, arXiv 1206.1901, section 5.4.

use ebm_core::{Error, Point, Result, cholesky};

use crate::archive::Archive;

/// What preconditions a state's moves; [`State::metric`](crate::State::metric).
#[derive(Debug)]
pub enum Metric<X: Point> {
    /// `S = I`.
    Unit,
    /// `S` diagonal, as a point whose chains all hold its entries.
    Diagonal(X),
    /// `S` lower triangular.
    Dense(X::Matrix),
}

impl<X: Point> Metric<X> {
    /// `M^-1` diagonal with these entries, `[dim]`; `x` gives the shape.
    ///
    /// # Errors
    /// When the length is not that of a chain or an entry is not above 0 and finite.
    pub fn diagonal(x: &X, variances: &[f64]) -> Result<Self> {
        for (i, v) in variances.iter().enumerate() {
            if !(*v > 0.0 && v.is_finite()) {
                let fix = "give the target's variances, or a guess of them";
                return Err(Error::bad_value(format!("metric[{i}]"), v, "above 0 and finite", fix));
            }
        }
        let scales: Vec<f64> = variances.iter().map(|v| v.sqrt()).collect();
        Ok(Self::Diagonal(x.filled(&scales)?))
    }

    /// `M^-1` dense with these entries, `[dim * dim]` row by row; `x` gives the shape.
    ///
    /// # Errors
    /// When the length is not the square of a chain's, or the matrix is not symmetric and positive definite.
    pub fn dense(x: &X, dim: usize, covariance: &[f64]) -> Result<Self> {
        if covariance.len() != dim * dim {
            return Err(Error::shape("entries of the metric", dim * dim, covariance.len()));
        }
        Ok(Self::Dense(x.matrix(&cholesky("metric", dim, covariance)?)?))
    }

    pub(crate) fn save(&self, name: &str, archive: &mut Archive) -> Result<()> {
        match self {
            Self::Unit => {}
            Self::Diagonal(scale) => archive.put(format!("{name}.diagonal"), scale.to_rows()?),
            Self::Dense(lower) => archive.put(format!("{name}.dense"), X::matrix_entries(lower)?),
        }
        Ok(())
    }

    pub(crate) fn restore(&mut self, name: &str, x: &X, archive: &mut Archive) -> Result<()> {
        *self = match (archive.take(&format!("{name}.diagonal")), archive.take(&format!("{name}.dense"))) {
            (Ok(scale), _) => Self::Diagonal(x.with_rows(&scale)?),
            (_, Ok(lower)) => Self::Dense(x.matrix(&lower)?),
            _ => Self::Unit,
        };
        Ok(())
    }

    /// `x += a S p`.
    ///
    /// # Errors
    /// When LibTorch fails.
    #[inline(always)]
    pub fn drift(&self, x: &mut X, a: &X::Scalar, momentum: &X) -> Result<()> {
        match self {
            Self::Unit => x.add_scaled(a, momentum),
            Self::Diagonal(scale) => x.add_scaled_each(a, scale, momentum),
            Self::Dense(lower) => x.add_lower(a, lower, momentum),
        }
    }

    /// `p += a S^T grad`.
    ///
    /// # Errors
    /// When LibTorch fails.
    #[inline(always)]
    pub fn kick(&self, momentum: &mut X, a: &X::Scalar, grad: &X) -> Result<()> {
        match self {
            Self::Unit => momentum.add_scaled(a, grad),
            Self::Diagonal(scale) => momentum.add_scaled_each(a, scale, grad),
            Self::Dense(lower) => momentum.add_lower_transposed(a, lower, grad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::Block;

    /// `S S^T` is the matrix given, whatever the kind of metric and of point.
    #[test]
    fn a_kick_and_a_drift_make_the_inverse_mass() {
        let covariance = [2.0, 0.6, -0.3, 0.6, 1.0, 0.1, -0.3, 0.1, 0.5];
        let variances = [4.0, 0.25, 9.0];
        fn product<X: Point>(metric: &Metric<X>, grad: &X) -> Vec<f64> {
            let (mut p, mut x) = (grad.zeros_like().unwrap(), grad.zeros_like().unwrap());
            let one = ebm_core::Scalar::same(1.0);
            metric.kick(&mut p, &one, grad).unwrap();
            metric.drift(&mut x, &one, &p).unwrap();
            x.to_rows().unwrap()
        }
        let rows = [1.0, -2.0, 0.5, 0.3, 0.0, 4.0];
        let block = Block::new(3, rows.to_vec()).unwrap();
        let dense = product(&Metric::dense(&block, 3, &covariance).unwrap(), &block);
        let diagonal = product(&Metric::diagonal(&block, &variances).unwrap(), &block);
        for (c, row) in rows.chunks(3).enumerate() {
            let chain = row.to_vec();
            let one = product(&Metric::dense(&chain, 3, &covariance).unwrap(), &chain);
            for i in 0..3 {
                let exact: f64 = (0..3).map(|j| covariance[3 * i + j] * row[j]).sum();
                assert!((one[i] - exact).abs() < 1e-14 && (dense[3 * c + i] - exact).abs() < 1e-14);
                assert!((diagonal[3 * c + i] - variances[i] * row[i]).abs() < 1e-14);
            }
            assert_eq!(product(&Metric::Unit, &chain), row);
        }
    }

    #[test]
    fn a_metric_that_is_none_is_an_error() {
        let x = vec![0.0f64; 2];
        let text = |m: Result<Metric<Vec<f64>>>| m.map(|_| ()).unwrap_err().to_string();
        assert!(text(Metric::dense(&x, 2, &[1.0, 2.0, 2.0, 1.0])).contains("not positive definite"));
        assert!(text(Metric::diagonal(&x, &[1.0, 0.0])).starts_with("metric[1] = 0: must be above 0"));
        assert!(text(Metric::diagonal(&x, &[1.0])).contains("expected 2, found 1"));
        assert!(text(Metric::dense(&x, 2, &[1.0])).contains("expected 4, found 1"));
    }
}
