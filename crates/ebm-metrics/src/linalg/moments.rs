//! Mean and covariance of the rows of a matrix.

use ebm_core::Result;
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::check;

/// Mean `[feature]` and covariance `[feature, feature]` of a set of items.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean of each feature.
    pub mean: Array1<f64>,
    /// Unbiased covariance (divided by the number of items less one).
    pub covariance: Array2<f64>,
}

/// The [`Moments`] of the rows of `[item, feature]`.
///
/// # Errors
/// Fewer than two items, no features, or a number that is not finite.
pub fn moments(items: ArrayView2<f64>) -> Result<Moments> {
    check::matrix("items", items, 2)?;
    let mean = column_means(items);
    let centred = &items - &mean;
    let covariance = centred.t().dot(&centred) / (items.nrows() - 1) as f64;
    Ok(Moments { mean, covariance })
}

/// Column means in two passes, so that a large common offset costs no digits.
pub(crate) fn column_means(items: ArrayView2<f64>) -> Array1<f64> {
    let n = items.nrows() as f64;
    let rough = items.sum_axis(Axis(0)) / n;
    let rest = (&items - &rough).sum_axis(Axis(0)) / n;
    rough + rest
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    #[test]
    fn moments_by_hand() {
        let m = moments(array![[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]].view()).unwrap();
        assert_eq!(m.mean, array![3.0, 4.0]);
        assert_abs_diff_eq!(m.covariance[[0, 0]], 4.0, epsilon = 1e-15);
        assert_abs_diff_eq!(m.covariance[[0, 1]], 6.0, epsilon = 1e-15);
        assert_abs_diff_eq!(m.covariance[[1, 1]], 12.0, epsilon = 1e-15);
        assert_eq!(m.covariance[[1, 0]], m.covariance[[0, 1]]);
        assert!(moments(array![[1.0]].view()).unwrap_err().to_string().contains("at least 2, found 1"));
    }
}
