//! Elementwise changes of a data set: maps, binarising, noise, dequantisation.

use ebm_core::random::Stream;
use ebm_core::{Error, Result};

use crate::Dataset;

impl Dataset {
    /// Every number through `f`, for instance `|v| 2.0 * v - 1.0` to bring pixels to `[-1, 1]`.
    ///
    /// # Errors
    /// When a result is not finite.
    pub fn map(&self, f: impl FnMut(f32) -> f32) -> Result<Self> {
        let x = self.x().mapv(f);
        self.with_x(x, self.shape())
    }

    /// 1 where a number is above `threshold`, else 0.
    ///
    /// # Errors
    /// When `threshold` is not finite.
    pub fn binarise(&self, threshold: f32) -> Result<Self> {
        if !threshold.is_finite() {
            return Err(Error::bad_value(
                "threshold",
                threshold,
                "finite",
                "0.5 is usual for pixels in [0, 1]",
            ));
        }
        self.map(|v| f32::from(u8::from(v > threshold)))
    }

    /// Normal noise of standard deviation `sd` added to every number.
    ///
    /// # Errors
    /// When `sd` is negative or not finite.
    pub fn with_noise(&self, sd: f32, stream: &mut Stream) -> Result<Self> {
        check_sd(sd)?;
        let mut x = self.x().clone();
        if let Some(values) = x.as_slice_mut() {
            stream.add_normal(sd, values);
        }
        self.with_x(x, self.shape())
    }

    /// Quantised pixels made continuous: see [`dequantise`].
    ///
    /// # Errors
    /// As for [`dequantise`].
    pub fn dequantise(&self, levels: u32, stream: &mut Stream) -> Result<Self> {
        let mut x = self.x().clone();
        if let Some(values) = x.as_slice_mut() {
            dequantise(values, levels, stream)?;
        }
        self.with_x(x, self.shape())
    }
}

/// Uniform dequantisation, in place: a pixel `k / (levels - 1)` becomes uniform on `[k, k + 1) / levels`.
///
/// A density of the result bounds the log-probability of the whole numbers `k` (Theis, van den Oord and Bethge,
/// arXiv 1511.01844). `levels` is 256 for bytes and 17 for the digits; `(v * levels).floor()` gives `k` back.
///
/// # Errors
/// When `levels` is not in `2..=65536`, or a pixel is outside `[0, 1]`.
pub fn dequantise(pixels: &mut [f32], levels: u32, stream: &mut Stream) -> Result<()> {
    check_levels(levels)?;
    if let Some(v) = pixels.iter().find(|v| !(0.0..=1.0).contains(*v)) {
        return Err(Error::bad_value("pixel to dequantise", v, "in [0, 1]", "dequantise before rescaling"));
    }
    let n = f64::from(levels);
    for v in pixels {
        let k = (f64::from(*v) * (n - 1.0)).round();
        let (low, high) = ((k / n) as f32, ((k + 1.0) / n) as f32);
        let u = stream.uniform();
        // Rounding to f32 must not leave the cell.
        *v = (((k + u) / n) as f32).min(inside(high, n, k)).max(inside(low, n, k));
    }
    Ok(())
}

/// The number nearest to `edge` that belongs to cell `k`.
fn inside(edge: f32, n: f64, k: f64) -> f32 {
    let mut v = edge;
    while (f64::from(v) * n).floor() > k {
        v = v.next_down();
    }
    while (f64::from(v) * n).floor() < k {
        v = v.next_up();
    }
    v
}

/// Uniform on `[0, 1)` with the 24 bits that an f32 holds, so that it never rounds up to 1.
pub(crate) fn uniform_f32(stream: &mut Stream) -> f32 {
    (stream.next_u64() >> 40) as f32 * 2f32.powi(-24)
}

pub(crate) fn check_levels(levels: u32) -> Result<()> {
    if (2..=65536).contains(&levels) {
        return Ok(());
    }
    Err(Error::bad_value("levels", levels, "in 2..=65536", "256 for pixels that were bytes"))
}

pub(crate) fn check_sd(sd: f32) -> Result<()> {
    if sd.is_finite() && sd >= 0.0 {
        return Ok(());
    }
    Err(Error::bad_value("noise sd", sd, "finite and not negative", "0 for none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;
    use ndarray::{Array2, array};

    fn stream() -> Stream {
        Stream::new(3, Purpose::DataNoise, 0)
    }

    #[test]
    fn dequantised_pixels_stay_in_their_cell_and_fill_it() {
        for levels in [2, 3, 17, 255, 256, 65536] {
            let top = levels - 1;
            let ks: Vec<u32> = (0..20_000).map(|i| if i % 2 == 0 { top } else { i % levels }).collect();
            let mut pixels: Vec<f32> = ks.iter().map(|&k| (f64::from(k) / f64::from(top)) as f32).collect();
            dequantise(&mut pixels, levels, &mut stream()).unwrap();
            let mut sum = 0.0;
            for (&v, &k) in pixels.iter().zip(&ks) {
                assert!((0.0..1.0).contains(&v));
                assert_eq!((f64::from(v) * f64::from(levels)).floor(), f64::from(k), "{levels} {v}");
                sum += f64::from(v) * f64::from(levels) - f64::from(k);
            }
            // Uniform in the cell: mean 1/2 within five standard errors; f32 near 1 has 256 steps a cell at 65536.
            assert!(
                (sum / 20_000.0 - 0.5).abs() < 5.0 * 0.2887 / 141.4 + 0.004,
                "{levels}: {}",
                sum / 20_000.0
            );
        }
    }

    #[test]
    fn maps_and_thresholds() {
        let set = Dataset::new("a", array![[0.0, 0.5, 0.75, 1.0]], &[4]).unwrap();
        assert_eq!(set.map(|v| 2.0 * v - 1.0).unwrap().values(), [-1.0, 0.0, 0.5, 1.0]);
        assert_eq!(set.binarise(0.5).unwrap().values(), [0.0, 0.0, 1.0, 1.0]);
        assert!(set.map(|v| 1.0 / v).is_err());
        assert!(set.binarise(f32::NAN).is_err());
        assert!(set.with_noise(-1.0, &mut stream()).is_err());
        assert_eq!(set.with_noise(0.0, &mut stream()).unwrap(), set);
        assert!(set.dequantise(1, &mut stream()).is_err());
        assert!(set.map(|v| -v).unwrap().dequantise(256, &mut stream()).is_err());
    }

    #[test]
    fn noise_has_its_standard_deviation() {
        let set = Dataset::new("zeros", Array2::zeros((100, 100)), &[100]).unwrap();
        let noisy = set.with_noise(0.3, &mut stream()).unwrap();
        let variance = noisy.values().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 1e4;
        assert!((variance / 0.09 - 1.0).abs() < 5.0 * (2.0 / 1e4f64).sqrt());
    }
}
