//! What one must know about draws besides the numbers, and how they are packed.

use std::path::Path;

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where draws come from; stands in `draws.json` and in the Arrow file's schema. All of it may be left empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawInfo {
    /// The seed of the run, or the seeds of several.
    pub seeds: Vec<u64>,
    /// The kernel's name.
    pub kernel: String,
    /// Its settings, in whatever form says most.
    pub settings: String,
    /// A name for each coordinate; `0`, `1`, ... if left empty.
    pub coordinates: Vec<String>,
}

impl DrawInfo {
    /// With a name for each of `dim` coordinates.
    pub(super) fn complete(&self, dim: usize) -> Result<Self> {
        let mut info = self.clone();
        if info.coordinates.is_empty() {
            info.coordinates = (0..dim).map(|i| i.to_string()).collect();
        }
        if info.coordinates.len() != dim {
            return Err(Error::shape("names of the coordinates", dim, info.coordinates.len()));
        }
        Ok(info)
    }
}

/// How draws are packed.
#[derive(Clone, Debug)]
pub struct Packing {
    /// Compress the arrays of an npz. Draws hardly shrink and it is slow; flags and counts do.
    pub deflate: bool,
    /// Draws per record batch of an Arrow file.
    pub batch_draws: usize,
    /// Where chains have different numbers of draws (an interrupted run): take as many as the shortest has. It is an
    /// error otherwise.
    pub shortest: bool,
    /// Replace a packed file that is there. It is an error otherwise.
    pub overwrite: bool,
    /// Delete the growing files once the packed file stands. Such a run cannot be resumed.
    pub remove_growing: bool,
}

impl Default for Packing {
    fn default() -> Self {
        Self { deflate: false, batch_draws: 1024, shortest: false, overwrite: false, remove_growing: false }
    }
}

/// Nothing may stand where a packed file goes, unless it may be replaced.
pub(super) fn check_is_new(path: &Path, packing: &Packing) -> Result<()> {
    if path.exists() && !packing.overwrite {
        let fix = "take another folder, or set Packing::overwrite";
        return Err(Error::bad_value("packed draws", path.display(), "not there yet", fix));
    }
    Ok(())
}
