//! A folder of growing draws: who may write into it, and how its files are named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ebm_core::{Error, Result};

use super::sink::NpySink;

/// What packing leaves in the folder.
pub(super) const PACKED: [&str; 3] = ["draws.npz", "draws.json", "draws.arrow"];

/// A folder that takes the draws of one run: `chain-<c>.x.npy` `[draw, dim]` holds the positions of chain `c`, and
/// `chain-<c>.<statistic>.npy` `[draw]` each of its statistics.
///
/// Everything is f64, but for `diverging` (bool), `tree_depth` and `n_steps` (64-bit integers). Memory: 64 KiB per
/// chain, whatever the number of draws.
///
/// ```no_run
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{DrawFolder, Hmc, SampleConfig, sample_into};
///
/// # fn main() -> ebm_core::Result<()> {
/// let folder = DrawFolder::create("draws", 2)?;
/// let starts = vec![vec![0.0; 2], vec![1.0; 2]];
/// let config = SampleConfig { n_draws: 1_000_000, ..SampleConfig::default() };
/// // Chains that are vectors: chain i is point i.
/// sample_into(&Hmc::new(0.1, 10), &Gaussian::standard(2)?, starts, &config, |i| folder.sink(i))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DrawFolder {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dim: usize,
    pub(super) buffer_bytes: usize,
    pub(super) resumes: bool,
    /// Whether a sink was told where to go on.
    pub(super) restored: Arc<AtomicBool>,
}

impl DrawFolder {
    /// A folder for draws of `dim` coordinates, made if it is not there.
    ///
    /// # Errors
    /// It already holds draws (nothing is touched), or it cannot be made.
    pub fn create(path: impl Into<PathBuf>, dim: usize) -> Result<Self> {
        let folder = Self::new(path.into(), dim, false)?;
        if let Some(file) = draw_files(&folder.path)?.first() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let fix = "go on with DrawFolder::resume, replace them with DrawFolder::overwrite, or take another folder";
            return Err(Error::bad_value(
                "draw folder",
                folder.path.display(),
                format!("without draws (it holds {name})"),
                fix,
            ));
        }
        Ok(folder)
    }

    /// As [`DrawFolder::create`]; draws that are there are deleted first, and no other file.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn overwrite(path: impl Into<PathBuf>, dim: usize) -> Result<Self> {
        let folder = Self::new(path.into(), dim, false)?;
        for file in draw_files(&folder.path)? {
            fs::remove_file(&file).map_err(|e| Error::io(&file, e))?;
        }
        Ok(folder)
    }

    /// The folder of a run that was interrupted. A sampler that is restored goes on after the draws that stood when it
    /// was saved ([`DrawSink::resume_at`](crate::DrawSink::resume_at)). Without a restore the draws that are there are
    /// safe: the first new one is an error.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn resume(path: impl Into<PathBuf>, dim: usize) -> Result<Self> {
        Self::new(path.into(), dim, true)
    }

    fn new(path: PathBuf, dim: usize, resumes: bool) -> Result<Self> {
        if dim == 0 {
            return Err(Error::bad_value("coordinates of a draw", 0, "at least 1", ""));
        }
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self { path, name: "x".into(), dim, buffer_bytes: 1 << 16, resumes, restored: Arc::default() })
    }

    /// The name of the positions; `x` if not set.
    ///
    /// # Errors
    /// Not a name of letters, digits and `_`.
    pub fn name(mut self, name: &str) -> Result<Self> {
        check_name("name of the positions", name)?;
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// Bytes of draws that are kept back per chain before they are written together; 65,536 if not set.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// The sink of a point whose first chain has this number in the run. For chains that are vectors that is the
    /// point's number `i`, for blocks `64 * i`, for a tensor 0.
    ///
    /// Files appear with the first draw. What is in memory when the sink is dropped is written then; call
    /// [`flush`](crate::DrawSink::flush) to hear of errors.
    pub fn sink(&self, first_chain: usize) -> NpySink {
        NpySink::new(self.clone(), first_chain)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, chain: usize, name: &str) -> PathBuf {
        self.path.join(format!("chain-{chain}.{name}.npy"))
    }
}

/// Names that are files' names, Python's names and columns' names.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(letter) {
        return Err(Error::bad_value(what, format!("{name:?}"), "letters, digits and _", ""));
    }
    Ok(())
}

/// Chain and quantity of a growing file, from its name.
pub(super) fn parse_file_name(path: &Path) -> Option<(usize, &str)> {
    let name = path.file_name()?.to_str()?;
    let (chain, quantity) = name.strip_prefix("chain-")?.strip_suffix(".npy")?.split_once('.')?;
    check_name("", quantity).ok()?;
    Some((chain.parse().ok()?, quantity))
}

/// The growing and packed files of a folder, sorted.
fn draw_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_packed = |path: &Path| PACKED.iter().any(|name| path.file_name().is_some_and(|n| n == *name));
    let mut files = files_of(folder)?;
    files.retain(|path| is_packed(path) || parse_file_name(path).is_some());
    Ok(files)
}

/// All that is in a folder, sorted.
pub(super) fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |e| Error::io(folder, e);
    let entries = fs::read_dir(folder).map_err(io)?;
    let mut files =
        entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    files.sort();
    Ok(files)
}
