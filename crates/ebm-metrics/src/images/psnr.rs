//! Peak signal-to-noise ratio: `10 log10(255^2 / MSE)` in decibels, on pixels from 0 to 255.
//!
//! The convention of EBT's released code (arXiv 2507.02092): images on [-1, 1] are scaled and clamped to [0, 255], not
//! rounded, and the squared error is pooled over all images before the logarithm.

use ebm_core::{Error, Result};
use ndarray::ArrayView2;

use crate::bootstrap::{Bootstrap, bootstrap};
use crate::check;
use crate::interval::{Estimate, percentile_interval};

/// The mean squared error of each row of `found` against the same row of `clean`; both are `[image, pixel]` on
/// [-1, 1], the errors are on the scale from 0 to 255.
///
/// # Errors
/// Shapes that differ, no images, or a number that is not finite.
pub fn squared_errors_8bit(found: ArrayView2<f64>, clean: ArrayView2<f64>) -> Result<Vec<f64>> {
    check::matrix("found images", found, 1)?;
    check::matrix("clean images", clean, 1)?;
    if found.dim() != clean.dim() {
        return Err(Error::shape("found images (as the clean ones)", clean.dim(), found.dim()));
    }
    let level = |v: f64| (127.5 * (v + 1.0)).clamp(0.0, 255.0);
    let rows = found.rows().into_iter().zip(clean.rows());
    Ok(rows
        .map(|(a, b)| {
            let sum: f64 = a.iter().zip(b).map(|(a, b)| (level(*a) - level(*b)).powi(2)).sum();
            sum / a.len() as f64
        })
        .collect())
}

/// The ratio of images with these squared errors, pooled, in decibels; infinite for equal images.
pub fn psnr(squared_errors: &[f64]) -> f64 {
    let mean = squared_errors.iter().sum::<f64>() / squared_errors.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// [`psnr`] with its interval over the images.
///
/// # Errors
/// No images, or images that are all equal to the clean ones.
pub fn psnr_interval(squared_errors: &[f64], settings: &Bootstrap) -> Result<Estimate> {
    let n = squared_errors.len();
    let values = bootstrap(n, settings.n_resamples, settings.seed, |items| {
        psnr(&items.iter().map(|i| squared_errors[*i]).collect::<Vec<_>>())
    })?;
    let interval = percentile_interval(&values, settings.level)?;
    Ok(Estimate { value: psnr(squared_errors), interval })
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    #[test]
    fn the_ratio_is_the_formula() {
        // Off by 2 / 255 on [-1, 1] is one level; 3 is clamped to 255.
        let clean = array![[0.0, 0.5], [1.0, -1.0]];
        let found = array![[2.0 / 255.0, 0.5], [3.0, -1.0 + 8.0 / 255.0]];
        let errors = squared_errors_8bit(found.view(), clean.view()).unwrap();
        assert_abs_diff_eq!(errors[0], 0.5, epsilon = 1e-12);
        assert_abs_diff_eq!(errors[1], 8.0, epsilon = 1e-12);
        // Pooled: mean 4.25, not the mean of two logarithms.
        assert_abs_diff_eq!(psnr(&errors), 10.0 * (65025.0f64 / 4.25).log10(), epsilon = 1e-12);
        let estimate =
            psnr_interval(&errors, &Bootstrap { n_resamples: 200, ..Bootstrap::default() }).unwrap();
        assert_eq!(estimate.value, psnr(&errors));
        assert!(estimate.interval.low < estimate.value && estimate.value < estimate.interval.high);
    }

    #[test]
    fn bad_input_is_named() {
        let (a, b) = (array![[0.0, 1.0]], array![[0.0], [1.0]]);
        assert!(squared_errors_8bit(a.view(), b.view()).unwrap_err().to_string().contains("found images"));
        assert!(squared_errors_8bit(array![[f64::NAN]].view(), array![[0.0]].view()).is_err());
        assert!(psnr(&[0.0]).is_infinite());
    }
}
