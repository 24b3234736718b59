//! Fixed sine and cosine codes of numbers: of a step in time, and of places on a square grid.
//!
//! A number `u` becomes `cos(u w_k)` and `sin(u w_k)` with frequencies that fall geometrically from 1 to nearly
//! 1 / 10,000 (arXiv 1706.03762). Order as in DiT's released code: for time all cosines, then all sines; for a place
//! the column's code in the first half, then the row's, each with its sines first.

use ebm_core::{Error, Result};
use tch::{Device, Kind, Tensor};

/// `w_k = 10000^(-k / n)`.
fn frequencies(n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |k| 10_000f64.powf(-(k as f64) / n as f64))
}

/// Codes of numbers `t` `[n]`: `[n, width]`, in the type `kind`; `width` even.
///
/// # Errors
/// An odd width.
pub fn sin_cos_time(t: &Tensor, width: usize, kind: Kind) -> Result<Tensor> {
    if width == 0 || !width.is_multiple_of(2) {
        return Err(Error::bad_value("width of the time code", width, "even and above 0", ""));
    }
    let frequencies = Tensor::f_from_slice(&frequencies(width / 2).collect::<Vec<f64>>())?;
    let t = t.f_to_kind(Kind::Double)?.f_unsqueeze(1)?;
    let angles = t.f_mul(&frequencies.f_to_device(t.device())?)?;
    Ok(Tensor::f_cat(&[angles.f_cos()?, angles.f_sin()?], 1)?.f_to_kind(kind)?)
}

/// Codes of the places of a `grid` x `grid` square, row by row: `[grid * grid, width]`; `width` a multiple of 4.
///
/// # Errors
/// Another width.
pub fn sin_cos_grid(grid: usize, width: usize, kind: Kind, device: Device) -> Result<Tensor> {
    if width == 0 || !width.is_multiple_of(4) {
        return Err(Error::bad_value("width of the place code", width, "a multiple of 4, above 0", ""));
    }
    let frequencies: Vec<f64> = frequencies(width / 4).collect();
    let mut codes = Vec::with_capacity(grid * grid * width);
    for row in 0..grid {
        for column in 0..grid {
            for place in [column, row] {
                codes.extend(frequencies.iter().map(|w| (place as f64 * w).sin()));
                codes.extend(frequencies.iter().map(|w| (place as f64 * w).cos()));
            }
        }
    }
    let codes = Tensor::f_from_slice(&codes)?.f_view([(grid * grid) as i64, width as i64])?;
    Ok(codes.f_to_kind(kind)?.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_formulas() {
        let t = sin_cos_time(&Tensor::from_slice(&[0i64, 7]), 4, Kind::Double).unwrap();
        let expected = [1.0, 1.0, 0.0, 0.0, 7f64.cos(), 0.07f64.cos(), 7f64.sin(), 0.07f64.sin()];
        for (i, e) in expected.iter().enumerate() {
            assert!((t.double_value(&[i as i64 / 4, i as i64 % 4]) - e).abs() < 1e-14);
        }
        let grid = sin_cos_grid(3, 8, Kind::Double, Device::Cpu).unwrap();
        let (row, column) = (2f64, 1f64);
        let one = |u: f64| [u.sin(), (0.01 * u).sin(), u.cos(), (0.01 * u).cos()];
        let expected = [one(column), one(row)].concat();
        for (i, e) in expected.iter().enumerate() {
            assert!((grid.double_value(&[2 * 3 + 1, i as i64]) - e).abs() < 1e-14);
        }
        assert!(sin_cos_time(&Tensor::from_slice(&[0i64]), 3, Kind::Double).is_err());
        assert!(sin_cos_grid(3, 6, Kind::Double, Device::Cpu).is_err());
    }
}
