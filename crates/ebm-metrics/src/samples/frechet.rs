//! Frechet distance between the Gaussians fitted to two sets of features.
//!
//! `FD = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^{1/2})` (Dowson and Landau 1982,
//! doi:10.1016/0047-259X(82)90077-X; as a measure of samples: Heusel et al. 2017, arXiv 1706.08500). It is the
//! square of a metric, as the literature prints it. Only with the features of the Inception network is it the FID:
//! otherwise name it FD and the space. The trace of the root is that of `(R S_2 R)^{1/2}` with `R = S_1^{1/2}`,
//! which is symmetric: no complex root as in the usual code.
//!
//! A finite sample overstates the distance, the more so the more features there are: compare sets of equal size,
//! and quote the distance between two halves of the data beside it.

use ebm_core::Result;
use ndarray::ArrayView2;

use crate::check;
use crate::linalg::{Moments, moments, symmetric_eigen};

/// The Frechet distance of two sets of features `[item, feature]`, at least two items each.
///
/// # Errors
/// Fewer than two items, different numbers of features, or a number that is not finite.
pub fn frechet_distance(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<f64> {
    check::two_matrices(("a", a), ("b", b), 2)?;
    frechet_distance_of_moments(&moments(a)?, &moments(b)?)
}

/// The Frechet distance of two Gaussians; never negative.
///
/// # Errors
/// Shapes that do not fit, a number that is not finite, or a covariance that is not symmetric.
pub fn frechet_distance_of_moments(a: &Moments, b: &Moments) -> Result<f64> {
    let d = a.mean.len();
    check::same_len("mean of b (as a)", d, b.mean.len())?;
    check::finite("mean of a", &a.mean.to_vec())?;
    check::finite("mean of b", &b.mean.to_vec())?;
    check::same_len("covariance of a (as its mean)", d, a.covariance.nrows())?;
    check::same_len("covariance of b (as its mean)", d, b.covariance.nrows())?;
    let root = symmetric_eigen(a.covariance.view())?.square_root();
    check::two_matrices(
        ("covariance of a", a.covariance.view()),
        ("covariance of b", b.covariance.view()),
        1,
    )?;
    let product = root.dot(&b.covariance).dot(&root);
    let inner = symmetric_eigen(((&product + &product.t()) / 2.0).view())?;
    let floor = inner.rounding_floor();
    let trace_of_root: f64 = inner.values.iter().filter(|&&v| v > floor).map(|v| v.sqrt()).sum();
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(x, y)| (x - y).powi(2)).sum();
    let traces = a.covariance.diag().sum() + b.covariance.diag().sum();
    Ok((means + traces - 2.0 * trace_of_root).max(0.0))
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use ndarray::{Array1, Array2, array};

    use super::*;

    /// `2 d` points whose mean is `mean` and whose covariance is exactly `diag(sd^2)`.
    fn cross(mean: &[f64], sd: &[f64]) -> Array2<f64> {
        let d = mean.len();
        // Each feature is +-h in two of the 2 d points: 2 h^2 / (2 d - 1) = sd^2.
        let scale = ((2 * d - 1) as f64 / 2.0).sqrt();
        Array2::from_shape_fn((2 * d, d), |(i, j)| {
            let arm = if i / 2 == j { scale * sd[j] } else { 0.0 };
            mean[j] + if i % 2 == 0 { arm } else { -arm }
        })
    }

    /// Commuting covariances: |mu_1 - mu_2|^2 + sum (sd_1 - sd_2)^2.
    #[test]
    fn closed_form_of_diagonal_gaussians() {
        let a = cross(&[0.0, 1.0, 2.0], &[1.0, 2.0, 0.5]);
        let b = cross(&[1.0, 1.0, 0.0], &[3.0, 2.0, 1.0]);
        let exact = 1.0 + 4.0 + 4.0 + 0.25;
        assert_relative_eq!(frechet_distance(a.view(), b.view()).unwrap(), exact, max_relative = 1e-13);
        assert_relative_eq!(frechet_distance(b.view(), a.view()).unwrap(), exact, max_relative = 1e-13);
        assert_abs_diff_eq!(frechet_distance(a.view(), a.view()).unwrap(), 0.0, epsilon = 1e-13);
    }

    #[test]
    fn a_rotation_of_both_changes_nothing() {
        let (sin, cos) = 0.7_f64.sin_cos();
        let turn = array![[cos, -sin], [sin, cos]];
        let a = cross(&[0.0, 0.0], &[1.0, 3.0]);
        let b = cross(&[0.5, -1.0], &[2.0, 0.1]);
        let exact = 1.25 + 1.0 + 2.9 * 2.9;
        let turned = frechet_distance(a.dot(&turn).view(), b.dot(&turn).view()).unwrap();
        assert_relative_eq!(turned, exact, max_relative = 1e-12);
        // In two dimensions tr (S_1 S_2)^{1/2} = sqrt(tr S_1 S_2 + 2 sqrt(det S_1 det S_2)), commuting or not.
        let (sa, sb) = (array![[2.0, 0.5], [0.5, 1.0]], array![[1.0, -0.3], [-0.3, 4.0]]);
        let trace: f64 = sa.dot(&sb).diag().sum();
        let dets: f64 = 1.75 * 3.91;
        let exact = 3.0 + 5.0 - 2.0 * (trace + 2.0 * dets.sqrt()).sqrt();
        let m = |s: &Array2<f64>| Moments { mean: Array1::zeros(2), covariance: s.clone() };
        let found = frechet_distance_of_moments(&m(&sa), &m(&sb)).unwrap();
        assert_relative_eq!(found, exact, max_relative = 1e-13);
    }

    /// ```python
    /// import numpy as np; from scipy.linalg import sqrtm
    /// i, j = np.arange(40)[:, None], np.arange(6)
    /// a = np.sin(1.3 * i + 0.7 * j * j + 0.1 * i * j); b = 0.5 + 0.8 * np.cos(0.9 * i + 1.1 * j + 0.05 * i * j)
    /// s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    /// print(repr(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)))
    /// ```
    #[test]
    fn agrees_with_scipy() {
        let a = Array2::from_shape_fn((40, 6), |(i, j)| {
            let (i, j) = (i as f64, j as f64);
            (1.3 * i + 0.7 * j * j + 0.1 * i * j).sin()
        });
        let b = Array2::from_shape_fn((40, 6), |(i, j)| {
            let (i, j) = (i as f64, j as f64);
            0.5 + 0.8 * (0.9 * i + 1.1 * j + 0.05 * i * j).cos()
        });
        assert_relative_eq!(
            frechet_distance(a.view(), b.view()).unwrap(),
            2.204_954_532_481_606,
            max_relative = 1e-10
        );
    }

    /// Fewer items than features, constant features: singular covariances.
    #[test]
    fn singular_covariances_give_a_small_self_distance() {
        let a = Array2::from_shape_fn((10, 30), |(i, j)| {
            if j % 3 == 0 { 1.0 } else { (1.7 * i as f64 + (j * j) as f64).sin() }
        });
        assert!(frechet_distance(a.view(), a.view()).unwrap() < 1e-6);
        let shifted = &a + 1.0;
        assert_abs_diff_eq!(frechet_distance(a.view(), shifted.view()).unwrap(), 30.0, epsilon = 1e-6);
        let constant = Array2::<f64>::zeros((5, 30));
        assert!(frechet_distance(constant.view(), constant.view()).unwrap() == 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        let (a, b) = (Array2::zeros((3, 2)), Array2::zeros((3, 1)));
        let e = frechet_distance(a.view(), b.view()).unwrap_err().to_string();
        assert_eq!(e, "columns of b (as in a): expected 2, found 1");
        assert!(frechet_distance(a.view(), array![[0.0, 0.0]].view()).is_err());
        assert!(frechet_distance(a.view(), array![[0.0, 0.0], [f64::NAN, 0.0]].view()).is_err());
    }
}
