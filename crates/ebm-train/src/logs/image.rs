//! Image grids as PNG files: many small pictures on one sheet, deterministic byte for byte.

use ebm_core::{Error, Result};

/// How a batch of images is laid out on one sheet.
#[derive(Clone, Debug)]
pub struct ImageGrid {
    /// Images in a row; 0 means as square as possible.
    pub columns: usize,
    /// Pixels between images and around the sheet, before enlarging.
    pub padding: usize,
    /// Each pixel becomes a square of this side.
    pub upscale: usize,
}

impl Default for ImageGrid {
    fn default() -> Self {
        Self { columns: 0, padding: 1, upscale: 1 }
    }
}

/// The level of grey between the images: visible beside black and beside white.
const BETWEEN: u8 = 208;

impl ImageGrid {
    /// A grid whose upscale makes one image of this side about `target` pixels wide.
    pub fn sized(image_side: usize, target: usize) -> Self {
        Self { upscale: (target / image_side.max(1)).max(1), ..Self::default() }
    }

    /// The sheet as the bytes of a PNG file.
    ///
    /// `images` holds `[n, c, h, w]` numbers in `[0, 1]`, row by row, with `c` 1 (grey) or 3 (RGB). Numbers outside
    /// are clamped; NaN is drawn black.
    ///
    /// # Errors
    /// A length that is not `n * c * h * w`, a size of zero, another number of channels, or a sheet above
    /// 16,384 pixels a side.
    pub fn png(&self, images: &[f32], [n, c, h, w]: [usize; 4]) -> Result<Vec<u8>> {
        if n == 0 || h == 0 || w == 0 || !(c == 1 || c == 3) {
            return Err(Error::shape("images", "[n, 1 or 3, h, w] with sizes above 0", [n, c, h, w]));
        }
        if n.checked_mul(c * h).and_then(|m| m.checked_mul(w)) != Some(images.len()) {
            return Err(Error::shape("images", [n, c, h, w], images.len()));
        }
        let columns = if self.columns == 0 { (n as f64).sqrt().ceil() as usize } else { self.columns }.min(n);
        let rows = n.div_ceil(columns);
        let (pad, up) = (self.padding, self.upscale.max(1));
        let width = (columns * (w + pad) + pad) * up;
        let height = (rows * (h + pad) + pad) * up;
        if width.max(height) > 16_384 {
            return Err(Error::bad_value(
                "image grid",
                format!("{width} x {height}"),
                "at most 16384 pixels a side",
                "draw fewer images or enlarge them less",
            ));
        }
        let mut sheet = vec![BETWEEN; width * height * c];
        for i in 0..n {
            let (top, left) = (pad + (i / columns) * (h + pad), pad + (i % columns) * (w + pad));
            for y in 0..h * up {
                for x in 0..w * up {
                    let at = ((top * up + y) * width + left * up + x) * c;
                    for channel in 0..c {
                        let v = images[((i * c + channel) * h + y / up) * w + x / up];
                        sheet[at + channel] = level(v);
                    }
                }
            }
        }
        encode_png(&sheet, width, height, c)
    }
}

/// A number in `[0, 1]` as a byte, rounded; NaN is 0.
fn level(v: f32) -> u8 {
    (v.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Interleaved 8-bit pixels, `height x width x channels`, as the bytes of a PNG file.
///
/// # Errors
/// A size of zero, a number of channels other than 1, 3 and 4, or a length that does not fit.
pub fn encode_png(pixels: &[u8], width: usize, height: usize, channels: usize) -> Result<Vec<u8>> {
    let color = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        4 => png::ColorType::Rgba,
        _ => return Err(Error::shape("channels", "1, 3 or 4", channels)),
    };
    if pixels.len() != width * height * channels || pixels.is_empty() {
        return Err(Error::shape("pixels", [height, width, channels], pixels.len()));
    }
    let side = |s: usize| u32::try_from(s).map_err(|_| Error::shape("side", "below 2^32", s));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(Error::user)?;
    writer.write_image_data(pixels).map_err(Error::user)?;
    writer.finish().map_err(Error::user)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width as usize, info.height as usize, pixels)
    }

    #[test]
    fn a_grid_places_and_enlarges_every_image() {
        // Three 1x2 grey images in two columns, enlarged twice.
        let grid = ImageGrid { columns: 2, padding: 1, upscale: 2 };
        let png = grid.png(&[0.0, 1.0, 0.5, f32::NAN, 2.0, -1.0], [3, 1, 1, 2]).unwrap();
        let (width, height, pixels) = decode(&png);
        assert_eq!((width, height), (14, 10));
        let at = |x: usize, y: usize| pixels[y * width + x];
        assert_eq!((at(0, 0), at(2, 2), at(3, 3), at(4, 2)), (BETWEEN, 0, 0, 255));
        assert_eq!((at(8, 2), at(10, 2)), (128, 0));
        assert_eq!((at(2, 6), at(4, 6), at(8, 6)), (255, 0, BETWEEN));
    }

    #[test]
    fn colour_is_interleaved() {
        let png = ImageGrid { padding: 0, ..Default::default() }.png(&[1.0, 0.0, 0.5], [1, 3, 1, 1]).unwrap();
        assert_eq!(decode(&png), (1, 1, vec![255, 0, 128]));
    }

    #[test]
    fn wrong_shapes_are_errors() {
        let grid = ImageGrid::default();
        assert!(grid.png(&[], [0, 1, 1, 1]).is_err());
        assert!(grid.png(&[0.0; 3], [1, 1, 2, 2]).is_err());
        assert!(grid.png(&[0.0; 2], [1, 2, 1, 1]).is_err());
        assert!(ImageGrid { upscale: 100_000, ..grid }.png(&[0.0], [1, 1, 1, 1]).is_err());
        assert!(encode_png(&[0; 3], 2, 2, 1).is_err());
    }
}
