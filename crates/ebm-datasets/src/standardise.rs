//! Standardisation: every feature to mean 0 and standard deviation 1, fitted on the training part.

use ebm_core::{Error, Result};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

/// Mean and standard deviation of each feature; it is saved with a model that was trained behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardiser {
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Standard deviation of each feature (divisor n); 1 for a constant feature, which then becomes 0.
    pub sd: Vec<f64>,
}

impl Standardiser {
    /// Fit on `x`, `[items, features]`: the training part only.
    ///
    /// # Errors
    /// When there is no item, or a value is not finite.
    pub fn fit(x: &Array2<f32>) -> Result<Self> {
        let n = x.nrows() as f64;
        if x.nrows() == 0 {
            return Err(Error::bad_value("items to standardise", 0, "at least 1", ""));
        }
        let columns = || x.axis_iter(Axis(1));
        let mean: Vec<f64> = columns().map(|c| c.iter().map(|&v| f64::from(v)).sum::<f64>() / n).collect();
        let sd = columns()
            .zip(&mean)
            .map(|(c, m)| (c.iter().map(|&v| (f64::from(v) - m).powi(2)).sum::<f64>() / n).sqrt())
            // Rounding leaves a constant feature with a tiny spread: that is 0 too.
            .zip(&mean)
            .map(|(sd, m)| if sd <= 1e-12 * m.abs() { 1.0 } else { sd })
            .collect();
        let fitted = Self { mean, sd };
        fitted.check(x.ncols())?;
        Ok(fitted)
    }

    /// `(x - mean) / sd`, feature by feature.
    ///
    /// # Errors
    /// When the number of features is not the one fitted, or the numbers of this standardiser are impossible.
    pub fn transform(&self, x: &Array2<f32>) -> Result<Array2<f32>> {
        self.apply(x, |v, mean, sd| (v - mean) / sd)
    }

    /// `mean + sd * x`, feature by feature: undoes [`Standardiser::transform`] up to rounding.
    ///
    /// # Errors
    /// As for [`Standardiser::transform`].
    pub fn inverse(&self, x: &Array2<f32>) -> Result<Array2<f32>> {
        self.apply(x, |v, mean, sd| mean + sd * v)
    }

    fn apply(&self, x: &Array2<f32>, f: impl Fn(f64, f64, f64) -> f64) -> Result<Array2<f32>> {
        self.check(x.ncols())?;
        let mut out = x.clone();
        for (j, mut column) in out.axis_iter_mut(Axis(1)).enumerate() {
            column.mapv_inplace(|v| f(f64::from(v), self.mean[j], self.sd[j]) as f32);
        }
        Ok(out)
    }

    /// The fields are public and come from files: check them before use.
    fn check(&self, n_features: usize) -> Result<()> {
        if [self.mean.len(), self.sd.len()] != [n_features; 2] {
            return Err(Error::shape("features to standardise", self.mean.len(), n_features));
        }
        for (j, (mean, sd)) in self.mean.iter().zip(&self.sd).enumerate() {
            if !(mean.is_finite() && sd.is_finite() && *sd > 0.0) {
                let name = format!("mean, sd of feature {j}");
                return Err(Error::bad_value(name, format!("{mean}, {sd}"), "finite, sd above 0", ""));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn fits_by_hand_and_inverts() {
        let x = array![[1.0, 7.1, 0.0], [3.0, 7.1, 0.0], [5.0, 7.1, 0.0], [7.0, 7.1, 0.0]];
        let fitted = Standardiser::fit(&x).unwrap();
        assert_eq!((fitted.mean[0], fitted.sd[0]), (4.0, 5f64.sqrt()));
        assert_eq!(fitted.sd[1..], [1.0, 1.0]);
        let z = fitted.transform(&x).unwrap();
        assert_eq!(z.column(0).to_vec(), [-3.0, -1.0, 1.0, 3.0].map(|v: f64| (v / 5f64.sqrt()) as f32));
        assert!(z.column(1).iter().all(|v| v.abs() < 1e-6));
        let back = fitted.inverse(&z).unwrap();
        assert!(back.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn misuse_is_an_error() {
        let fitted = Standardiser::fit(&array![[1.0, 2.0], [2.0, 3.0]]).unwrap();
        assert!(fitted.transform(&array![[1.0]]).is_err());
        assert!(Standardiser::fit(&Array2::zeros((0, 2))).is_err());
        assert!(Standardiser::fit(&array![[f32::NAN]]).is_err());
        let broken = Standardiser { mean: vec![0.0], sd: vec![0.0] };
        assert!(broken.inverse(&array![[1.0]]).is_err());
    }
}
