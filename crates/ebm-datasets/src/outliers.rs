//! Derived outliers: sets that a model of the data should find unlikely, for out-of-distribution tests.

use ebm_core::random::Stream;
use ebm_core::{Error, Result};
use ndarray::Array2;

/// Row `i` is the mean of item `i` and another item drawn uniformly (the two may be of one class).
///
/// `x` is `[items, features]`, and so is the result.
///
/// # Errors
/// With fewer than two items.
pub fn blends(x: &Array2<f32>, stream: &mut Stream) -> Result<Array2<f32>> {
    let n = x.nrows();
    if n < 2 {
        return Err(Error::bad_value("items to blend", n, "at least 2", ""));
    }
    let mut out = x.clone();
    for (i, mut row) in out.rows_mut().into_iter().enumerate() {
        let other = (i + 1 + stream.below(n - 1)) % n;
        row.zip_mut_with(&x.row(other), |a, &b| *a = 0.5 * (*a + b));
    }
    Ok(out)
}

/// Every item with its features in a random order, a new one for each item: the same histogram, no structure.
pub fn permuted_pixels(x: &Array2<f32>, stream: &mut Stream) -> Array2<f32> {
    let mut out = x.as_standard_layout().into_owned();
    for mut row in out.rows_mut() {
        if let Some(row) = row.as_slice_mut() {
            stream.shuffle(row);
        }
    }
    out
}

/// `[n, d]` independent numbers, uniform on `[0, 1)`.
pub fn uniform_noise(n: usize, d: usize, stream: &mut Stream) -> Array2<f32> {
    Array2::from_shape_simple_fn((n, d), || crate::transform::uniform_f32(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;
    use ndarray::array;

    fn stream() -> Stream {
        Stream::new(0, Purpose::Evaluation, 0)
    }

    #[test]
    fn blends_are_means_of_two_different_items() {
        // Powers of two: a mean names its pair.
        let x = Array2::from_shape_fn((8, 3), |(i, _)| (1 << i) as f32);
        for (i, row) in blends(&x, &mut stream()).unwrap().rows().into_iter().enumerate() {
            let sum = (2.0 * row[0]) as u32;
            assert!(sum.count_ones() == 2 && sum & (1 << i) != 0, "{i}: {sum}");
            assert!(row.iter().all(|&v| v == row[0]));
        }
        let two = array![[0.0, 1.0], [1.0, 0.0]];
        assert_eq!(blends(&two, &mut stream()).unwrap(), array![[0.5, 0.5], [0.5, 0.5]]);
        assert!(blends(&array![[1.0]], &mut stream()).is_err());
    }

    #[test]
    fn permutations_keep_the_values_and_differ_between_items() {
        let x = Array2::from_shape_fn((4, 64), |(_, j)| j as f32);
        let out = permuted_pixels(&x, &mut stream());
        assert_ne!(out.row(0), out.row(1));
        for row in out.rows() {
            let mut values = row.to_vec();
            values.sort_by(f32::total_cmp);
            assert_eq!(values, x.row(0).to_vec());
        }
    }

    #[test]
    fn noise_is_uniform() {
        let noise = uniform_noise(1000, 100, &mut stream());
        assert!(noise.iter().all(|v| (0.0..1.0).contains(v)));
        // Mean 1/2 and mean square 1/3, within five standard errors (0.2887 and 0.2981 over sqrt(n)).
        let (n, sum, squares) = noise.iter().fold((0.0, 0.0, 0.0), |(n, s, q), &v| {
            let v = f64::from(v);
            (n + 1.0, s + v, q + v * v)
        });
        assert!((sum / n - 0.5f64).abs() < 5.0 * 0.2887 / f64::sqrt(n));
        assert!((squares / n - 1.0 / 3.0f64).abs() < 5.0 * 0.2981 / f64::sqrt(n));
    }
}
