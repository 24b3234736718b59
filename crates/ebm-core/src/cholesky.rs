//! Cholesky's factorisation `A = L L^T` of a small symmetric matrix, and the inverse by it.

use crate::{Error, Result};

/// The lower factor `L`, `[dim * dim]` row by row, of the symmetric positive definite matrix `a`.
///
/// # Errors
/// When an entry is not finite, two mirrored ones differ, or the matrix is not positive definite.
pub fn cholesky(name: &str, dim: usize, a: &[f64]) -> Result<Vec<f64>> {
    check_symmetric(name, dim, a)?;
    let mut l = vec![0.0; dim * dim];
    for i in 0..dim {
        for j in 0..=i {
            let known = (0..j).fold(0.0, |sum, k| sum + l[i * dim + k] * l[j * dim + k]);
            // Rounding left two slightly different halves: take their average.
            let entry = 0.5 * (a[i * dim + j] + a[j * dim + i]);
            if i != j {
                l[i * dim + j] = (entry - known) / l[j * dim + j];
                continue;
            }
            // What is left of a singular matrix's diagonal is rounding error.
            let pivot = entry - known;
            if pivot <= 1e-15 * dim as f64 * entry.abs() || entry <= 0.0 {
                return Err(Error::bad_value(
                    format!("{name}[{i}, {i}]"),
                    entry,
                    format!("above {known}, or the matrix is not positive definite"),
                    "add a small number to the diagonal",
                ));
            }
            l[i * dim + i] = pivot.sqrt();
        }
    }
    Ok(l)
}

fn check_symmetric(name: &str, dim: usize, a: &[f64]) -> Result<()> {
    for i in 0..dim {
        for j in 0..dim {
            crate::analytic::check_finite(format!("{name}[{i}, {j}]"), a[i * dim + j])?;
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

/// `A^-1` from `L`, symmetric to the last bit.
pub(crate) fn inverse(dim: usize, l: &[f64]) -> Vec<f64> {
    // Column c of L^-1 by forward substitution; then A^-1 = L^-T L^-1.
    let mut inv = vec![0.0; dim * dim];
    for c in 0..dim {
        for i in c..dim {
            let unit = if i == c { 1.0 } else { 0.0 };
            let known: f64 = (c..i).map(|k| l[i * dim + k] * inv[k * dim + c]).sum();
            inv[i * dim + c] = (unit - known) / l[i * dim + i];
        }
    }
    let mut out = vec![0.0; dim * dim];
    for i in 0..dim {
        for j in 0..=i {
            let sum = (i..dim).map(|k| inv[k * dim + i] * inv[k * dim + j]).sum();
            out[i * dim + j] = sum;
            out[j * dim + i] = sum;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_and_the_inverse_multiply_back() {
        // The Hilbert matrix, condition number 5e5.
        let dim = 5;
        let a: Vec<f64> = (0..dim * dim).map(|k| 1.0 / (1 + k / dim + k % dim) as f64).collect();
        let l = cholesky("a", dim, &a).unwrap();
        let inv = inverse(dim, &l);
        for i in 0..dim {
            for j in 0..dim {
                let product: f64 = (0..dim).map(|k| l[i * dim + k] * l[j * dim + k]).sum();
                assert!((product - a[i * dim + j]).abs() < 1e-15);
                let unit: f64 = (0..dim).map(|k| a[i * dim + k] * inv[k * dim + j]).sum();
                assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-9);
            }
        }
        // Its inverse has whole numbers; the first is dim^2.
        assert!((inv[0] - 25.0).abs() < 1e-8);
    }

    #[test]
    fn a_bad_matrix_is_named_by_its_entry() {
        let text = |a: &[f64]| cholesky("covariance", 2, a).unwrap_err().to_string();
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
