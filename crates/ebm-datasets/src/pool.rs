//! Average pooling of images with exact area weights.
//!
//! An output cell covers `height / new_height` by `width / new_width` input pixels; a pixel counts by the share of
//! it that lies inside. 28 -> 14 are plain means of 2 x 2; 28 -> 8 has cells of 3.5 x 3.5 with half pixels.

use ebm_core::{Error, Result};
use ndarray::Array2;

use crate::Dataset;

impl Dataset {
    /// The images, `[channels, height, width]`, pooled to `[channels, new_height, new_width]`.
    ///
    /// # Errors
    /// When the items are not images, or a new size is 0 or larger than the old one.
    pub fn average_pool(&self, new_height: usize, new_width: usize) -> Result<Self> {
        let &[channels, height, width] = self.shape() else {
            return Err(Error::shape(
                format!("shape of {}", self.name()),
                "[channels, height, width]",
                self.shape(),
            ));
        };
        for (name, new, old) in [("new_height", new_height, height), ("new_width", new_width, width)] {
            if new == 0 || new > old {
                return Err(Error::bad_value(name, new, format!("in 1..={old}, the images' size"), ""));
            }
        }
        let (rows, columns) = (cells(height, new_height), cells(width, new_width));
        let area = (height * width) as f64;
        let n_out = channels * new_height * new_width;
        let mut pooled = Vec::with_capacity(self.len() * n_out);
        for plane in self.values().chunks_exact(height * width) {
            for row in &rows {
                for column in &columns {
                    // Whole weights and sums in f64: the mean is rounded once, at the end.
                    let mut sum = 0.0;
                    for &(i, row_weight) in row {
                        for &(j, column_weight) in column {
                            sum += (row_weight * column_weight) as f64 * f64::from(plane[i * width + j]);
                        }
                    }
                    pooled.push((sum / area) as f32);
                }
            }
        }
        let x = Array2::from_shape_vec((self.len(), n_out), pooled)
            .map_err(|e| Error::shape("pooled images", n_out, e.to_string()))?;
        self.with_x(x, &[channels, new_height, new_width])
    }
}

/// For each of `to` cells over `from` pixels: the pixels it touches and their overlap, in units of 1 / `to` pixel
/// (so that the weights of a cell add up to `from`).
fn cells(from: usize, to: usize) -> Vec<Vec<(usize, usize)>> {
    (0..to)
        .map(|cell| {
            let (start, end) = (cell * from, (cell + 1) * from);
            let overlap = |pixel: usize| ((pixel + 1) * to).min(end) - (pixel * to).max(start);
            (start / to..end.div_ceil(to)).map(|pixel| (pixel, overlap(pixel))).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(values: &[f32], shape: [usize; 3]) -> Dataset {
        Dataset::new("image", Array2::from_shape_vec((1, values.len()), values.to_vec()).unwrap(), &shape)
            .unwrap()
    }

    #[test]
    fn weights_are_exact_areas() {
        assert_eq!(cells(4, 2), [vec![(0, 2), (1, 2)], vec![(2, 2), (3, 2)]]);
        // Cells of 1.5 pixels, in halves.
        assert_eq!(cells(3, 2), [vec![(0, 2), (1, 1)], vec![(1, 1), (2, 2)]]);
        // 28 -> 8: 3.5 pixels each, in eighths.
        let eighths = cells(28, 8);
        assert_eq!(eighths[0], [(0, 8), (1, 8), (2, 8), (3, 4)]);
        assert_eq!(eighths[1], [(3, 4), (4, 8), (5, 8), (6, 8)]);
        for (from, to) in [(28, 8), (28, 14), (7, 3), (5, 5), (9, 1)] {
            assert!(cells(from, to).iter().all(|cell| cell.iter().map(|c| c.1).sum::<usize>() == from));
        }
    }

    #[test]
    fn pools_by_hand() {
        let set = image(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1, 2, 4]);
        assert_eq!(set.average_pool(1, 2).unwrap().values(), [3.5, 5.5]);
        assert_eq!(set.average_pool(2, 4).unwrap(), set);
        // Columns of 4/3 pixels: (1 + 2/3)/(4/3), (2/3 2 + 2/3 3)/(4/3), (1/3 3 + 4)/(4/3).
        let three = set.average_pool(2, 3).unwrap();
        assert_eq!(three.values(), [1.25, 2.5, 3.75, 5.25, 6.5, 7.75]);
        // 3 x 3 to 2 x 2: weights 4, 2, 2, 1 of 9 around each corner.
        let set = image(&[9.0, 0.0, 0.0, 0.0, 18.0, 0.0, 0.0, 0.0, 27.0], [1, 3, 3]);
        assert_eq!(set.average_pool(2, 2).unwrap().values(), [6.0, 2.0, 2.0, 14.0]);
        // Channels stay apart, means are kept.
        let set = image(&[1.0, 3.0, 10.0, 30.0], [2, 1, 2]);
        let pooled = set.average_pool(1, 1).unwrap();
        assert_eq!((pooled.values(), pooled.shape()), (&[2.0, 20.0][..], &[2, 1, 1][..]));
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let set = image(&[1.0, 2.0], [1, 1, 2]);
        for (height, width) in [(0, 1), (1, 0), (2, 1), (1, 3)] {
            assert!(set.average_pool(height, width).is_err());
        }
        let flat = Dataset::new("flat", Array2::zeros((1, 2)), &[2]).unwrap();
        assert!(flat.average_pool(1, 1).unwrap_err().to_string().contains("[channels, height, width]"));
    }
}
