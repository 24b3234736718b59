//! 500 Fashion-MNIST test images pooled to 8 x 8 pixels, shipped in the crate as outliers for the digits.
//!
//! Source and licence (MIT): `data/README.md`; made by `examples/make_fashion_8x8.rs`.

use std::path::Path;

use ebm_core::Result;

use crate::Dataset;
use crate::idx::Idx;
use crate::mnist::from_idx;

const IMAGES: &str = "fashion-8x8-images-idx3-ubyte";
const LABELS: &str = "fashion-8x8-labels-idx1-ubyte";

/// 500 Fashion-MNIST test images of shape `[1, 8, 8]`, pixels `k / 255`, with their ten classes.
///
/// # Errors
/// None, unless the crate was built from damaged files.
pub fn fashion_8x8() -> Result<Dataset> {
    let (images, labels) = (Path::new(IMAGES), Path::new(LABELS));
    let pixels = Idx::parse(include_bytes!("../data/fashion-8x8-images-idx3-ubyte"), images)?;
    let classes = Idx::parse(include_bytes!("../data/fashion-8x8-labels-idx1-ubyte"), labels)?;
    from_idx("fashion 8x8", images, &pixels, Some((labels, classes, 10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_images_are_there() {
        let set = fashion_8x8().unwrap();
        assert_eq!((set.len(), set.shape()), (500, &[1, 8, 8][..]));
        assert_eq!(set.class_counts().iter().sum::<usize>(), 500);
        assert!(set.class_counts().iter().all(|&n| n > 30));
        assert!(set.values().iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
