//! The 1,797 handwritten digits of 8 x 8 pixels, shipped in the crate.
//!
//! Source: the Python package scikit-learn 1.9.1 (`digits.csv.gz`, the test part of the UCI set "Optical
//! Recognition of Handwritten Digits"), BSD-3-Clause; see `data/README.md`.

use std::io::Read;
use std::path::Path;

use ebm_core::{Error, Result};
use ndarray::Array2;

use crate::Dataset;

const FILE: &[u8] = include_bytes!("../data/digits.csv.gz");
const NAME: &str = "digits.csv.gz";
const N_ITEMS: usize = 1797;
const N_PIXELS: usize = 64;

/// The seed of [`digits_split`].
pub const DIGITS_SPLIT_SEED: u64 = 0;

/// The digits: 1,797 items of shape `[1, 8, 8]`, pixels `k / 16` for whole `k` in `0..=16`, ten classes.
///
/// # Errors
/// None, unless the crate was built from a damaged file.
pub fn digits() -> Result<Dataset> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(FILE)
        .read_to_string(&mut text)
        .map_err(|e| Error::data(NAME, None, e.to_string()))?;
    let (mut pixels, mut labels) = (Vec::with_capacity(N_ITEMS * N_PIXELS), Vec::with_capacity(N_ITEMS));
    for (line, row) in text.lines().enumerate() {
        let numbers = row.split(',').map(str::parse).collect::<Result<Vec<u8>, _>>();
        match numbers.as_deref() {
            Ok([row @ .., label]) if row.len() == N_PIXELS && row.iter().all(|&k| k <= 16) => {
                pixels.extend(row.iter().map(|&k| f32::from(k) / 16.0));
                labels.push(i64::from(*label));
            }
            _ => return Err(damaged(format!("line {} is not 64 numbers in 0..=16 and a label", line + 1))),
        }
    }
    let x = Array2::from_shape_vec((N_ITEMS, N_PIXELS), pixels).map_err(|e| damaged(e.to_string()))?;
    Dataset::new("digits", x, &[1, 8, 8])?.with_labels(labels, 10)
}

/// The fixed split of the digits: 1,000 for training, 300 for validation, 497 for testing.
///
/// It is `digits()?.split([1000, 300, 497], DIGITS_SPLIT_SEED)`: the same for every run, whatever its seed.
///
/// # Errors
/// As for [`digits`].
pub fn digits_split() -> Result<[Dataset; 3]> {
    let [train, validation, test] = digits()?.split([1000, 300, 497], DIGITS_SPLIT_SEED)?;
    Ok([train.named("digits train"), validation.named("digits validation"), test.named("digits test")])
}

fn damaged(problem: String) -> Error {
    Error::data(Path::new(NAME), None, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_source() {
        let set = digits().unwrap();
        assert_eq!(set.class_counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        #[rustfmt::skip]
        let first = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0, 0, 4, 12, 0, 0, 8, 8, 0,
            0, 5, 8, 0, 0, 9, 8, 0, 0, 4, 11, 0, 1, 12, 7, 0, 0, 2, 14, 5, 10, 12, 0, 0, 0, 0, 6, 13, 10, 0, 0, 0u8];
        assert_eq!(set.item(0).unwrap(), first.map(|k| f32::from(k) / 16.0));
        assert_eq!(set.labels().unwrap()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // The sum of all pixels of the source file, 561,718 sixteenths, is exact in f64.
        assert_eq!(set.values().iter().map(|&v| f64::from(v) * 16.0).sum::<f64>(), 561_718.0);
    }

    #[test]
    fn the_split_is_fixed() {
        const FIRST: [[i64; 8]; 3] =
            [[2, 2, 1, 8, 9, 0, 3, 1], [6, 9, 1, 7, 8, 0, 9, 2], [1, 9, 6, 9, 1, 6, 1, 3]];
        let parts = digits_split().unwrap();
        assert_eq!(parts.each_ref().map(Dataset::len), [1000, 300, 497]);
        assert_eq!(parts.each_ref().map(|p| p.labels().unwrap()[..8].to_vec()), FIRST);
    }
}
