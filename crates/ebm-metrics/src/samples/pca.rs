//! Principal component analysis: fit on one matrix (the training set), project others.
//!
//! Eigen-decomposition of the covariance (Jolliffe and Cadima 2016, doi:10.1098/rsta.2015.0202). The sign of a
//! component is fixed: its largest entry is positive. No whitening: distances in the projected space are
//! distances in the data's own units.

use ebm_core::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, s};

use crate::check;
use crate::linalg::{moments, symmetric_eigen};

/// A fitted projection onto the directions of largest variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Array1<f64>,
    components: Array2<f64>,
    variances: Array1<f64>,
    total_variance: f64,
}

impl Pca {
    /// Fit `n_components` directions to the rows of `[item, feature]`.
    ///
    /// # Errors
    /// Fewer than two items, a number that is not finite, or `n_components` outside 1 to the number of features.
    pub fn fit(items: ArrayView2<f64>, n_components: usize) -> Result<Self> {
        let fitted = moments(items)?;
        let d = items.ncols();
        if n_components == 0 || n_components > d {
            return Err(Error::bad_value(
                "n_components",
                n_components,
                format!("from 1 to {d}, the number of features"),
                "",
            ));
        }
        let eigen = symmetric_eigen(fitted.covariance.view())?;
        Ok(Self {
            mean: fitted.mean,
            components: eigen.vectors.slice(s![..n_components, ..]).to_owned(),
            // A zero variance may come out as a tiny negative one.
            variances: eigen.values.slice(s![..n_components]).mapv(|v| v.max(0.0)),
            total_variance: fitted.covariance.diag().sum(),
        })
    }

    /// Project the rows of `[item, feature]` to `[item, component]`.
    ///
    /// # Errors
    /// No items, another number of features than fitted, or a number that is not finite.
    pub fn transform(&self, items: ArrayView2<f64>) -> Result<Array2<f64>> {
        check::matrix("items", items, 1)?;
        check::same_len("features of items (as fitted)", self.mean.len(), items.ncols())?;
        Ok((&items - &self.mean).dot(&self.components.t()))
    }

    /// Back from `[item, component]` to `[item, feature]`: the nearest points of the fitted plane.
    ///
    /// # Errors
    /// No items, another number of components than fitted, or a number that is not finite.
    pub fn inverse_transform(&self, projected: ArrayView2<f64>) -> Result<Array2<f64>> {
        check::matrix("projected", projected, 1)?;
        check::same_len("components of projected (as fitted)", self.components.nrows(), projected.ncols())?;
        Ok(projected.dot(&self.components) + &self.mean)
    }

    /// The mean that is taken off, `[feature]`.
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// The unit directions `[component, feature]`, by descending variance.
    pub fn components(&self) -> &Array2<f64> {
        &self.components
    }

    /// The fitted items' variance along each component (unbiased).
    pub fn variances(&self) -> &Array1<f64> {
        &self.variances
    }

    /// The share of the total variance that the components hold, in `[0, 1]` (1 when there is no variance).
    pub fn explained(&self) -> f64 {
        if self.total_variance > 0.0 { (self.variances.sum() / self.total_variance).min(1.0) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    #[test]
    fn a_tilted_cross_has_known_axes() {
        // Arms of length 5 along (3, 4) / 5 and 1 along (4, -3) / 5, around (10, 20).
        let items = array![[13.0, 24.0], [7.0, 16.0], [10.8, 19.4], [9.2, 20.6]];
        let pca = Pca::fit(items.view(), 2).unwrap();
        assert_abs_diff_eq!(pca.mean(), &array![10.0, 20.0], epsilon = 1e-13);
        assert_abs_diff_eq!(pca.components(), &array![[0.6, 0.8], [0.8, -0.6]], epsilon = 1e-13);
        assert_abs_diff_eq!(pca.variances(), &array![50.0 / 3.0, 2.0 / 3.0], epsilon = 1e-12);
        let projected = pca.transform(items.view()).unwrap();
        assert_abs_diff_eq!(
            projected,
            array![[5.0, 0.0], [-5.0, 0.0], [0.0, 1.0], [0.0, -1.0]],
            epsilon = 1e-12
        );
        assert_abs_diff_eq!(pca.inverse_transform(projected.view()).unwrap(), items, epsilon = 1e-12);
        let first = Pca::fit(items.view(), 1).unwrap();
        assert_abs_diff_eq!(first.explained(), 25.0 / 26.0, epsilon = 1e-13);
        assert_eq!(first.transform(array![[10.0, 20.0]].view()).unwrap().dim(), (1, 1));
    }

    /// ```python
    /// import numpy as np; from sklearn.decomposition import PCA
    /// i, j = np.arange(30)[:, None], np.arange(5)
    /// x = np.sin(1.3 * i + 0.7 * j * j + 0.1 * i * j) * (1 + j)
    /// p = PCA(2, svd_solver="full").fit(x); print(p.explained_variance_.tolist(), np.abs(p.transform(x)[3]).tolist())
    /// ```
    #[test]
    fn agrees_with_scikit_learn() {
        let x = Array2::from_shape_fn((30, 5), |(i, j)| {
            let (i, j) = (i as f64, j as f64);
            (1.3 * i + 0.7 * j * j + 0.1 * i * j).sin() * (1.0 + j)
        });
        let pca = Pca::fit(x.view(), 2).unwrap();
        assert_abs_diff_eq!(
            pca.variances(),
            &array![17.813_379_177_864_82, 6.052_049_378_854_198],
            epsilon = 1e-11
        );
        let row = pca.transform(x.slice(s![3..4, ..])).unwrap();
        assert_abs_diff_eq!(
            row.mapv(f64::abs),
            array![[4.524_227_381_466_184, 2.306_153_230_062_139_7]],
            epsilon = 1e-11
        );
    }

    #[test]
    fn bad_input_is_named() {
        let x = array![[0.0, 1.0], [1.0, 0.0]];
        assert!(
            Pca::fit(x.view(), 3)
                .unwrap_err()
                .to_string()
                .starts_with("n_components = 3: must be from 1 to 2")
        );
        assert!(Pca::fit(x.view(), 0).is_err());
        let pca = Pca::fit(x.view(), 1).unwrap();
        assert!(pca.transform(array![[0.0]].view()).is_err());
        assert!(pca.inverse_transform(x.view()).is_err());
    }
}
