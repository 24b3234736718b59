//! Readers of Fashion-MNIST and MNIST: 60,000 training and 10,000 test images of 28 x 28 grey pixels, ten classes.
//!
//! Fashion-MNIST: Xiao, Rasul and Vollgraf, arXiv 1708.07747. MNIST: LeCun, Cortes and Burges.

use std::path::{Path, PathBuf};

use ebm_core::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::Dataset;
use crate::idx::Idx;

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The training items.
    Train,
    /// The test items.
    Test,
}

/// Fashion-MNIST from `data_dir/fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz`.
///
/// Items of shape `[1, 28, 28]`, pixels `k / 255`. `data_dir` is what [`crate::data_dir`] gives; files without
/// `.gz` will do too.
///
/// # Errors
/// When the files are not there (the text holds the command that fetches them), or are damaged.
pub fn fashion_mnist(data_dir: &Path, part: Part) -> Result<Dataset> {
    read(data_dir, "fashion-mnist", part)
}

/// MNIST from `data_dir/mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte`, as [`fashion_mnist`].
///
/// # Errors
/// As for [`fashion_mnist`].
pub fn mnist(data_dir: &Path, part: Part) -> Result<Dataset> {
    read(data_dir, "mnist", part)
}

fn read(data_dir: &Path, set: &str, part: Part) -> Result<Dataset> {
    let (prefix, name) = match part {
        Part::Train => ("train", "train"),
        Part::Test => ("t10k", "test"),
    };
    let images = find(data_dir, set, &format!("{prefix}-images-idx3-ubyte"))?;
    let labels = find(data_dir, set, &format!("{prefix}-labels-idx1-ubyte"))?;
    Ok(images_from_idx(&images, Some((&labels, 10)))?.named(format!("{set} {name}")))
}

/// The file, gzipped or not.
fn find(data_dir: &Path, set: &str, file: &str) -> Result<PathBuf> {
    let plain = data_dir.join(set).join(file);
    let packed = data_dir.join(set).join(format!("{file}.gz"));
    match [packed, plain.clone()].into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(Error::data(
            plain,
            None,
            format!(
                "not there, nor with .gz: get it with `cargo xtask data fetch {set}`, or set EBM_DATA to the folder that holds `{set}/`"
            ),
        )),
    }
}

/// Any IDX file of grey images, with the file of their labels and the number of classes if there is one.
///
/// Items have shape `[1, height, width]` and pixels `k / 255`; the name is the images' file name.
///
/// # Errors
/// When a file cannot be read or is damaged, holds something else than images or labels, the counts differ, or
/// a label is not below the number of classes.
pub fn images_from_idx(images: &Path, labels: Option<(&Path, usize)>) -> Result<Dataset> {
    let name = images.file_name().map_or_else(|| "images".to_owned(), |n| n.to_string_lossy().into_owned());
    let pixels = Idx::read(images)?;
    let labels = match labels {
        Some((path, n_classes)) => Some((path, Idx::read(path)?, n_classes)),
        None => None,
    };
    from_idx(&name, images, &pixels, labels)
}

/// Images and labels as a data set; the paths are for the errors.
pub(crate) fn from_idx(
    name: &str,
    images_path: &Path,
    images: &Idx,
    labels: Option<(&Path, Idx, usize)>,
) -> Result<Dataset> {
    let &[n, height, width] = images.dims.as_slice() else {
        let found = images.dims.len();
        return Err(Error::data(images_path, Some(3), format!("{found} dimensions, expected 3 (images)")));
    };
    if height == 0 || width == 0 {
        return Err(Error::data(images_path, Some(8), format!("images of {height} x {width} pixels")));
    }
    let Some(n_pixels) = height.checked_mul(width) else {
        return Err(Error::data(images_path, Some(8), format!("images of {height} x {width} pixels")));
    };
    let pixels = images.data.iter().map(|&k| f32::from(k) / 255.0).collect();
    let x = Array2::from_shape_vec((n, n_pixels), pixels)
        .map_err(|e| Error::data(images_path, None, e.to_string()))?;
    let set = Dataset::new(name, x, &[1, height, width])?;
    let Some((path, labels, n_classes)) = labels else { return Ok(set) };
    if labels.dims.len() != 1 {
        let problem = format!("{} dimensions, expected 1 (labels)", labels.dims.len());
        return Err(Error::data(path, Some(3), problem));
    }
    if labels.data.len() != n {
        let problem = format!("{} labels for the {n} images of {}", labels.data.len(), images_path.display());
        return Err(Error::data(path, Some(4), problem));
    }
    if let Some((i, label)) = labels.data.iter().enumerate().find(|(_, l)| usize::from(**l) >= n_classes) {
        let problem = format!("label {label}, expected one in 0..{n_classes}");
        return Err(Error::data(path, Some(8 + i as u64), problem));
    }
    set.with_labels(labels.data.iter().map(|&l| i64::from(l)).collect(), n_classes)
}
