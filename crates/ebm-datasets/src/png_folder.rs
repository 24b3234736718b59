//! A folder of PNG images of any size as one data set: the square in the middle of each, pooled down to one side.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use ebm_core::{Error, Result};
use ndarray::{Array2, s};

use crate::Dataset;

/// Every file of `folder` that ends in `.png`, by name: items `[channels, side, side]` on `[0, 1]`, without labels.
///
/// `channels` is 1 (colours are averaged) or 3 (grey is repeated); transparency is dropped. All images are held in
/// memory, `4 channels side^2` bytes each.
///
/// # Errors
/// A folder without PNG files, a file that is no PNG image, or one smaller than `side`.
pub fn images_from_png_folder(folder: &Path, side: usize, channels: usize) -> Result<Dataset> {
    if side == 0 || !(channels == 1 || channels == 3) {
        let found = format!("{side} and {channels}");
        return Err(Error::bad_value("side and channels", found, "a side above 0, and 1 or 3 channels", ""));
    }
    let files = png_files(folder)?;
    let n_pixels = channels * side * side;
    let mut x = Array2::zeros((files.len(), n_pixels));
    for (i, path) in files.iter().enumerate() {
        let pooled = square(path, channels)?.average_pool(side, side).map_err(|_| {
            Error::data(path, None, format!("smaller than the {side} x {side} pixels that are asked for"))
        })?;
        x.slice_mut(s![i, ..]).assign(&pooled.x().row(0));
    }
    let name = folder.file_name().map_or_else(|| "images".to_owned(), |n| n.to_string_lossy().into_owned());
    Dataset::new(name, x, &[channels, side, side])
}

fn png_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::data(folder, None, "no file in this folder ends in .png"));
    }
    files.sort();
    Ok(files)
}

/// The largest square in the middle, as a data set of one item `[channels, side, side]`.
fn square(path: &Path, channels: usize) -> Result<Dataset> {
    let problem = |e: png::DecodingError| Error::data(path, None, format!("not a readable PNG image: {e}"));
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(problem)?;
    let Some(size) = reader.output_buffer_size() else {
        return Err(Error::data(path, None, "an image too large for this machine"));
    };
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(problem)?;
    let samples = info.color_type.samples();
    let colours = if samples >= 3 { 3 } else { 1 };
    let (width, height) = (info.width as usize, info.height as usize);
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let pixel = |channel: usize, row: usize, column: usize| {
        let at = ((top + row) * width + left + column) * samples;
        let of = |c: usize| f32::from(bytes[at + c]) / 255.0;
        match (channels, colours) {
            (1, 3) => (of(0) + of(1) + of(2)) / 3.0,
            (_, 1) => of(0),
            _ => of(channel),
        }
    };
    let x = Array2::from_shape_fn((1, channels * side * side), |(_, at)| {
        pixel(at / (side * side), at / side % side, at % side)
    });
    Dataset::new(path.display().to_string(), x, &[channels, side, side])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, width: u32, height: u32, color: png::ColorType, bytes: &[u8]) {
        let mut encoder = png::Encoder::new(File::create(path).unwrap(), width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    }

    #[test]
    fn images_are_cut_to_a_square_and_pooled() {
        let folder = tempfile::tempdir().unwrap();
        // 4 x 2 grey: the middle 2 x 2 is 10 20 / 30 40, mean 25. 2 x 2 colour: one value a channel.
        write(&folder.path().join("b.png"), 4, 2, png::ColorType::Grayscale, &[0, 10, 20, 0, 0, 30, 40, 0]);
        write(&folder.path().join("a.PNG"), 2, 2, png::ColorType::Rgb, &[30, 60, 90].repeat(4));
        fs::write(folder.path().join("notes.txt"), "no image").unwrap();
        let colour = images_from_png_folder(folder.path(), 1, 3).unwrap();
        assert_eq!((colour.len(), colour.shape()), (2, &[3, 1, 1][..]));
        let close = |found: &[f32], levels: &[f32]| {
            found.iter().zip(levels).for_each(|(f, l)| assert!((f - l / 255.0).abs() < 1e-6));
        };
        close(colour.values(), &[30.0, 60.0, 90.0, 25.0, 25.0, 25.0]);
        close(images_from_png_folder(folder.path(), 1, 1).unwrap().values(), &[60.0, 25.0]);
        close(
            images_from_png_folder(folder.path(), 2, 1).unwrap().item(1).unwrap(),
            &[10.0, 20.0, 30.0, 40.0],
        );
    }

    #[test]
    fn mistakes_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            |side, channels| images_from_png_folder(folder.path(), side, channels).unwrap_err().to_string();
        assert!(text(2, 1).contains("ends in .png"));
        assert!(text(0, 1).contains("side and channels"));
        let path = folder.path().join("small.png");
        write(&path, 1, 1, png::ColorType::Grayscale, &[7]);
        assert!(text(2, 1).contains("small.png: smaller than the 2 x 2"));
        fs::write(&path, b"not a picture").unwrap();
        assert!(text(1, 1).contains("small.png: not a readable PNG"));
        assert!(images_from_png_folder(&folder.path().join("nowhere"), 1, 1).is_err());
    }
}
