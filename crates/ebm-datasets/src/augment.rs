//! Random changes of training items, made anew in every epoch: crop, flip, dequantisation, noise.
//!
//! Each item has its own stream, numbered by (epoch, item): what happens to an item depends neither on the batch
//! it is in nor on where a run was resumed.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::Dataset;
use crate::transform::{check_levels, check_sd, dequantise};

/// What to do to every item, in this order; the default does nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Random crop: reflect the image by so many pixels beyond each edge, then cut out a window of the old size.
    pub pad: usize,
    /// Mirror left and right with probability one half.
    pub flip: bool,
    /// Uniform dequantisation of pixels with so many levels (see [`dequantise`]).
    pub dequantise_levels: Option<u32>,
    /// Standard deviation of normal noise.
    pub noise_sd: f32,
}

impl Augment {
    /// Check against the data.
    ///
    /// # Errors
    /// When a value is impossible, items that are not images shall be cropped or flipped, or pixels outside
    /// `[0, 1]` be dequantised.
    pub fn check(&self, data: &Dataset) -> Result<()> {
        check_sd(self.noise_sd)?;
        if self.pad > 0 || self.flip {
            let &[_, height, width] = data.shape() else {
                return Err(Error::shape("items to crop or flip", "[channels, height, width]", data.shape()));
            };
            let smallest = height.min(width);
            if self.pad >= smallest {
                let limit = format!("below {smallest}, the images' smaller side");
                return Err(Error::bad_value("pad", self.pad, limit, "4 is usual for 32 x 32"));
            }
        }
        if let Some(levels) = self.dequantise_levels {
            check_levels(levels)?;
            if let Some(v) = data.values().iter().find(|v| !(0.0..=1.0).contains(*v)) {
                return Err(Error::bad_value("pixel to dequantise", v, "in [0, 1]", "do not rescale before"));
            }
        }
        Ok(())
    }

    /// Change one item in place; `shape` is the item's, and both were checked.
    pub(crate) fn apply(&self, item: &mut [f32], shape: &[usize], stream: &mut Stream) -> Result<()> {
        if let &[_, height, width] = shape
            && (self.pad > 0 || self.flip)
        {
            let (down, right) = (stream.below(2 * self.pad + 1), stream.below(2 * self.pad + 1));
            let mirrored = self.flip && stream.below(2) == 1;
            for plane in item.chunks_exact_mut(height * width) {
                let old = plane.to_vec();
                for i in 0..height {
                    let from_row = reflect(i + down, self.pad, height) * width;
                    for j in 0..width {
                        let column = if mirrored { width - 1 - j } else { j };
                        plane[i * width + j] = old[from_row + reflect(column + right, self.pad, width)];
                    }
                }
            }
        }
        if let Some(levels) = self.dequantise_levels {
            dequantise(item, levels, stream)?;
        }
        if self.noise_sd > 0.0 {
            stream.add_normal(self.noise_sd, item);
        }
        Ok(())
    }
}

/// The stream of `item` (of `n_items`) in `epoch`.
pub(crate) fn item_stream(seed: u64, epoch: u64, item: usize, n_items: usize) -> Stream {
    let index = epoch.wrapping_mul(n_items as u64).wrapping_add(item as u64);
    Stream::new(seed, Purpose::Augment, index & ((1 << 52) - 1))
}

/// Where padded position `at` lies in the image: the edge pixel itself is not repeated.
fn reflect(at: usize, pad: usize, size: usize) -> usize {
    if at < pad {
        pad - at
    } else if at - pad < size {
        at - pad
    } else {
        2 * (size - 1) - (at - pad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use std::collections::HashSet;

    fn image() -> Vec<f32> {
        (0..12).map(|v| v as f32).collect()
    }

    #[test]
    fn reflection_does_not_repeat_the_edge() {
        let row: Vec<usize> = (0..8).map(|at| reflect(at, 2, 4)).collect();
        assert_eq!(row, [2, 1, 0, 1, 2, 3, 2, 1]);
    }

    #[test]
    fn every_crop_and_flip_occurs_and_nothing_else() {
        let augment = Augment { pad: 1, flip: true, ..Augment::default() };
        let mut expected = HashSet::new();
        for (down, right, mirrored) in (0..18).map(|c| (c / 6, c / 2 % 3, c % 2 == 1)) {
            let mut out = Vec::new();
            for i in 0..3 {
                let mut row: Vec<u32> =
                    (0..4).map(|j| (reflect(i + down, 1, 3) * 4 + reflect(j + right, 1, 4)) as u32).collect();
                if mirrored {
                    row.reverse();
                }
                out.extend(row);
            }
            expected.insert(out);
        }
        let mut seen = HashSet::new();
        for i in 0..500 {
            let mut item = image();
            augment.apply(&mut item, &[1, 3, 4], &mut item_stream(0, 0, i, 500)).unwrap();
            seen.insert(item.iter().map(|&v| v as u32).collect::<Vec<_>>());
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_default_changes_nothing_and_misuse_is_an_error() {
        let mut item = image();
        let mut stream = item_stream(0, 0, 0, 1);
        Augment::default().apply(&mut item, &[1, 3, 4], &mut stream).unwrap();
        assert_eq!(item, image());

        let flat = Dataset::new("flat", Array2::from_elem((1, 4), 2.0), &[4]).unwrap();
        let images = flat.with_x(flat.x().clone(), &[1, 2, 2]).unwrap();
        assert!(Augment { flip: true, ..Augment::default() }.check(&flat).is_err());
        assert!(Augment { flip: true, pad: 1, ..Augment::default() }.check(&images).is_ok());
        assert!(Augment { pad: 2, ..Augment::default() }.check(&images).is_err());
        assert!(Augment { noise_sd: f32::NAN, ..Augment::default() }.check(&images).is_err());
        assert!(Augment { dequantise_levels: Some(256), ..Augment::default() }.check(&images).is_err());
        assert!(Augment { dequantise_levels: Some(0), ..Augment::default() }.check(&images).is_err());
    }
}
