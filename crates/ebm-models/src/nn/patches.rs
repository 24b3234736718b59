//! Square images as sequences of square patches, and back. Source: ViT (arXiv 2010.11929).

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How an image is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patches {
    /// Channels of the images.
    pub channels: usize,
    /// Side of the square images.
    pub side: usize,
    /// Side of the square patches; divides the images' side.
    pub patch: usize,
}

impl Patches {
    /// Whether the patches fill the image.
    ///
    /// # Errors
    /// Names the size that does not fit.
    pub fn check(&self) -> Result<()> {
        let sizes =
            [("model.channels", self.channels), ("model.side", self.side), ("model.patch", self.patch)];
        for (name, value) in sizes {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if !self.side.is_multiple_of(self.patch) {
            let limit = format!("a divisor of the images' side, {}", self.side);
            return Err(Error::bad_value("model.patch", self.patch, limit, ""));
        }
        Ok(())
    }

    /// Patches along a side.
    pub fn grid(&self) -> usize {
        self.side / self.patch
    }

    /// Patches of an image.
    pub fn count(&self) -> usize {
        self.grid() * self.grid()
    }

    /// Numbers in a patch.
    pub fn len(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Never: every patch has a pixel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[n, channels, side, side] -> [n, count, len]`: patches row by row, in each the channels one after the other.
    ///
    /// # Errors
    /// Images of another size.
    pub fn cut(&self, x: &Tensor) -> Result<Tensor> {
        let n = x.size().first().copied().unwrap_or(0);
        let [c, side, p, g] = [self.channels, self.side, self.patch, self.grid()].map(|n| n as i64);
        if x.size() != [n, c, side, side] {
            return Err(Error::shape("images", [n, c, side, side], x.size()));
        }
        let x = x.f_reshape([n, c, g, p, g, p])?.f_permute([0, 2, 4, 1, 3, 5])?;
        Ok(x.f_reshape([n, g * g, c * p * p])?)
    }

    /// The images that [`Self::cut`] gave these patches for.
    ///
    /// # Errors
    /// Patches of another number or size.
    pub fn join(&self, patches: &Tensor) -> Result<Tensor> {
        let n = patches.size().first().copied().unwrap_or(0);
        let [c, side, p, g] = [self.channels, self.side, self.patch, self.grid()].map(|n| n as i64);
        if patches.size() != [n, g * g, c * p * p] {
            return Err(Error::shape("patches", [n, g * g, c * p * p], patches.size()));
        }
        let x = patches.f_reshape([n, g, g, c, p, p])?.f_permute([0, 3, 1, 4, 2, 5])?;
        Ok(x.f_reshape([n, c, side, side])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn patches_are_the_naive_loop_and_come_back() {
        let patches = Patches { channels: 2, side: 6, patch: 3 };
        let x = Tensor::arange(3 * 2 * 36, (Kind::Double, Device::Cpu)).view([3, 2, 6, 6]);
        let cut = patches.cut(&x).unwrap();
        assert_eq!(cut.size(), [3, patches.count() as i64, patches.len() as i64]);
        for n in 0..3 {
            for c in 0..2 {
                for i in 0..6 {
                    for j in 0..6 {
                        let (at, inside) = (i / 3 * 2 + j / 3, c * 9 + i % 3 * 3 + j % 3);
                        assert_eq!(cut.double_value(&[n, at, inside]), x.double_value(&[n, c, i, j]));
                    }
                }
            }
        }
        assert_eq!(patches.join(&cut).unwrap(), x);
        assert!(patches.cut(&x.narrow(2, 0, 5)).is_err() && patches.join(&cut.narrow(1, 0, 3)).is_err());
        assert!(Patches { patch: 4, ..patches }.check().unwrap_err().to_string().contains("divisor"));
        assert!(Patches { channels: 0, ..patches }.check().is_err());
    }
}
