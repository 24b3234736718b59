//! Cholesky's factorisation `A = L L^T` of a small symmetric positive definite matrix, and what follows from it:
//! solutions, the determinant, the inverse.

use crate::{Error, Result};

/// The lower factor `L` of `A = L L^T` alone, `[dim * dim]` row by row.
///
/// # Errors
/// As [`Cholesky::new`].
pub fn cholesky(name: &str, dim: usize, a: &[f64]) -> Result<Vec<f64>> {
    Ok(Cholesky::new(name, dim, a)?.l)
}

/// The lower factor `L` of `A = L L^T`. Matrices are slices `[dim * dim]`, row by row.
///
/// ```
/// use ebm_core::Cholesky;
/// let factor = Cholesky::new("matrix", 2, &[4.0, 2.0, 2.0, 2.0])?;
/// assert_eq!(factor.factor(), [2.0, 0.0, 1.0, 1.0]);
/// assert_eq!(factor.log_det(), 4f64.ln());
/// let mut b = [8.0, 6.0];
/// factor.solve(&mut b); // b is now A^-1 b
/// assert_eq!(b, [1.0, 2.0]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cholesky {
    dim: usize,
    l: Vec<f64>,
}

impl Cholesky {
    /// Factorise `a`; `name` is what errors call it.
    ///
    /// # Errors
    /// When the length does not fit, an entry is not finite, two mirrored ones differ (in the ninth digit), or the
    /// matrix is not positive definite. The text names the entry.
    pub fn new(name: &str, dim: usize, a: &[f64]) -> Result<Self> {
        if a.len() != dim * dim {
            let expected = format!("{dim} x {dim} = {} numbers", dim * dim);
            return Err(Error::shape(name, format_args!("{expected}"), a.len()));
        }
        check_symmetric(name, dim, a)?;
        let mut new = Self::identity(dim);
        match new.try_factorise(a) {
            Ok(()) => Ok(new),
            Err((i, known)) => Err(Error::bad_value(
                format!("{name}[{i}, {i}]"),
                a[i * dim + i],
                format!("above {known}, or the matrix is not positive definite"),
                "add a small number to the diagonal",
            )),
        }
    }

    /// The factor of the identity: a place for [`Cholesky::factorise`].
    pub fn identity(dim: usize) -> Self {
        let mut l = vec![0.0; dim * dim];
        (0..dim).for_each(|i| l[i * dim + i] = 1.0);
        Self { dim, l }
    }

    /// Put the factor of `a`, of the same size, in the place of this one, without allocation or error texts. False
    /// when `a` is not positive definite or not finite; the factor is then undefined.
    pub fn factorise(&mut self, a: &[f64]) -> bool {
        self.try_factorise(a).is_ok()
    }

    /// Put the factor of another matrix of the same size in the place of this one, without allocation.
    pub fn set_from(&mut self, other: &Self) {
        self.l.copy_from_slice(&other.l);
    }

    /// Fails with the row whose pivot is not above 0, and what its diagonal entry would have to exceed.
    fn try_factorise(&mut self, a: &[f64]) -> Result<(), (usize, f64)> {
        let Self { dim, l } = self;
        let dim = *dim;
        for i in 0..dim {
            for j in 0..=i {
                let known = (0..j).fold(0.0, |sum, k| sum + l[i * dim + k] * l[j * dim + k]);
                // Rounding left two slightly different halves: take their average.
                let entry = 0.5 * (a[i * dim + j] + a[j * dim + i]);
                if i != j {
                    l[i * dim + j] = (entry - known) / l[j * dim + j];
                    continue;
                }
                // What is left of a singular matrix's diagonal is rounding error. A NaN compares false.
                let pivot = entry - known;
                if !(pivot > 1e-15 * dim as f64 * entry.abs() && entry > 0.0 && pivot.is_finite()) {
                    return Err((i, known));
                }
                l[i * dim + i] = pivot.sqrt();
            }
        }
        Ok(())
    }

    /// Rows of the matrix.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// `L`, zero above its diagonal.
    pub fn factor(&self) -> &[f64] {
        &self.l
    }

    /// `ln det A`.
    pub fn log_det(&self) -> f64 {
        (0..self.dim).map(|i| 2.0 * self.l[i * self.dim + i].ln()).sum()
    }

    /// `L z` into `out`: with `z` standard normal, a draw of covariance `A`.
    pub fn times(&self, z: &[f64], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (0..=i).map(|j| self.l[i * self.dim + j] * z[j]).sum();
        }
    }

    /// `A^-1 b` in the place of `b`.
    pub fn solve(&self, b: &mut [f64]) {
        let (dim, l) = (self.dim, &self.l);
        for i in 0..dim {
            let known: f64 = (0..i).map(|k| l[i * dim + k] * b[k]).sum();
            b[i] = (b[i] - known) / l[i * dim + i];
        }
        for i in (0..dim).rev() {
            let known: f64 = (i + 1..dim).map(|k| l[k * dim + i] * b[k]).sum();
            b[i] = (b[i] - known) / l[i * dim + i];
        }
    }

    /// `A^-1`, symmetric to the last bit.
    pub fn inverse(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.dim * self.dim];
        self.inverse_into(&mut out);
        out
    }

    /// [`Cholesky::inverse`] into `out`, without allocation.
    pub fn inverse_into(&self, out: &mut [f64]) {
        let (dim, l) = (self.dim, &self.l);
        // L^-1 by forward substitution, column by column, stored in the upper half: row c holds column c.
        for c in 0..dim {
            for i in c..dim {
                let unit = if i == c { 1.0 } else { 0.0 };
                let known: f64 = (c..i).map(|k| l[i * dim + k] * out[c * dim + k]).sum();
                out[c * dim + i] = (unit - known) / l[i * dim + i];
            }
        }
        // A^-1 = L^-T L^-1. Entry (i, j), j <= i, needs rows i and j from column i on: go through the columns j of
        // a row in order, so that what is overwritten above the diagonal is not needed again.
        for j in 0..dim {
            for i in j..dim {
                let sum = (i..dim).map(|k| out[i * dim + k] * out[j * dim + k]).sum();
                out[i * dim + j] = sum;
                out[j * dim + i] = sum;
            }
        }
    }
}

fn check_symmetric(name: &str, dim: usize, a: &[f64]) -> Result<()> {
    for (k, entry) in a.iter().enumerate() {
        if !entry.is_finite() {
            return Err(Error::bad_value(format!("{name}[{}, {}]", k / dim, k % dim), entry, "finite", ""));
        }
    }
    for i in 0..dim {
        for j in 0..i {
            let (below, above) = (a[i * dim + j], a[j * dim + i]);
            if (below - above).abs() > 1e-9 * below.abs().max(above.abs()) {
                let limit = format!("{above} as {name}[{j}, {i}]: the matrix is symmetric");
                return Err(Error::bad_value(format!("{name}[{i}, {j}]"), below, limit, ""));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_the_inverse_and_solutions_multiply_back() {
        // The Hilbert matrix, condition number 5e5.
        let dim = 5;
        let a: Vec<f64> = (0..dim * dim).map(|k| 1.0 / (1 + k / dim + k % dim) as f64).collect();
        let factor = Cholesky::new("a", dim, &a).unwrap();
        let (l, inv) = (factor.factor(), factor.inverse());
        for i in 0..dim {
            for j in 0..dim {
                let product: f64 = (0..dim).map(|k| l[i * dim + k] * l[j * dim + k]).sum();
                assert!((product - a[i * dim + j]).abs() < 1e-15);
                let unit: f64 = (0..dim).map(|k| a[i * dim + k] * inv[k * dim + j]).sum();
                assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-9);
                assert_eq!(inv[i * dim + j], inv[j * dim + i]);
            }
            let mut column = vec![0.0; dim];
            column[i] = 1.0;
            factor.solve(&mut column);
            for (x, y) in column.iter().zip(&inv[i * dim..]) {
                assert!((x - y).abs() < 1e-6 * y.abs(), "{x} {y}");
            }
        }
        // Its inverse has whole numbers; the first is dim^2. The determinant is 1 / 266716800000.
        assert!((inv[0] - 25.0).abs() < 1e-8);
        assert!((factor.log_det() + 266_716_800_000f64.ln()).abs() < 1e-9);
        let mut unit = [0.0; 5];
        factor.times(&[1.0, 0.0, 0.0, 0.0, 0.0], &mut unit);
        assert_eq!(unit, [1.0, 0.5, 1.0 / 3.0, 0.25, 0.2]);
    }

    #[test]
    fn a_factor_is_replaced_in_place() {
        let mut factor = Cholesky::identity(2);
        assert_eq!((factor.log_det(), factor.dim()), (0.0, 2));
        assert!(factor.factorise(&[4.0, 2.0, 2.0, 2.0]));
        assert_eq!(factor.factor(), [2.0, 0.0, 1.0, 1.0]);
        let mut copy = Cholesky::identity(2);
        copy.set_from(&factor);
        assert_eq!(copy.factor(), factor.factor());
        for bad in [[1.0, 2.0, 2.0, 1.0], [f64::NAN, 0.0, 0.0, 1.0], [1.0, f64::NAN, f64::NAN, 1.0]] {
            assert!(!factor.factorise(&bad));
        }
        assert!(!factor.factorise(&[f64::INFINITY, 0.0, 0.0, 1.0]));
    }

    #[test]
    fn a_bad_matrix_is_named_by_its_entry() {
        let text = |a: &[f64]| Cholesky::new("covariance", 2, a).unwrap_err().to_string();
        assert_eq!(text(&[1.0; 3]), "covariance: expected 2 x 2 = 4 numbers, found 3");
        assert_eq!(text(&[1.0, f64::NAN, 0.0, 1.0]), "covariance[0, 1] = NaN: must be finite");
        assert_eq!(
            text(&[1.0, 0.5, 0.25, 1.0]),
            "covariance[1, 0] = 0.25: must be 0.5 as covariance[0, 1]: the matrix is symmetric"
        );
        assert_eq!(
            text(&[1.0, 2.0, 2.0, 3.0]),
            "covariance[1, 1] = 3: must be above 4, or the matrix is not positive definite; \
             add a small number to the diagonal"
        );
        assert!(text(&[0.1, 0.3, 0.3, 0.9]).contains("not positive definite")); // singular
        assert!(text(&[-1.0, 0.0, 0.0, 1.0]).starts_with("covariance[0, 0] = -1: must be above 0"));
    }
}
