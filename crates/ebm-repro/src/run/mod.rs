//! What an experiment is handed: its preset, its seed, its folder, its loggers, and the report to fill.

pub mod device;
pub mod folder;
pub mod machine;
mod progress;

pub use progress::Progress;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ebm_train::logs::{JsonlWriter, Loggers, TensorBoardWriter};
use serde::de::DeserializeOwned;
use tch::Device;

use crate::preset::Preset;
use crate::report::Report;
use crate::usage::{Usage, usage};

/// One run of one experiment with one seed.
pub struct Run {
    /// What the experiment found.
    pub report: Report,
    pub(crate) preset: Preset,
    pub(crate) seed: u64,
    pub(crate) device: Device,
    pub(crate) smoke: bool,
    pub(crate) resume: bool,
    pub(crate) force: bool,
    pub(crate) weights: Option<PathBuf>,
    pub(crate) out: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Run {
    /// The preset, with overrides (and the smoke sizes) applied.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// One table of the preset as a type; short for [`Preset::section`].
    ///
    /// # Errors
    /// A missing or unknown key, or a wrong type.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Usage> {
        self.preset.section(name)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The device that was asked for; it exists.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether this is `--smoke`: tiny data from the repository, sizes already shrunk by the preset's `[smoke]`,
    /// gates handed in as usual but not judged.
    pub fn is_smoke(&self) -> bool {
        self.smoke
    }

    /// Whether to go on from the newest checkpoint. There may be none yet: then start from the beginning.
    pub fn resume(&self) -> bool {
        self.resume
    }

    /// `--force`: resume even where what decides the bits (threads, CPU, LibTorch) differs.
    pub fn force(&self) -> bool {
        self.force
    }

    /// `--weights FILE`: skip training and evaluate these.
    pub fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }

    /// The run folder.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Where checkpoints go: `checkpoints/step-<n>.safetensors` and `.json`.
    pub fn checkpoints_dir(&self) -> PathBuf {
        self.out.join("checkpoints")
    }

    /// Where the final weights go.
    pub fn weights_path(&self) -> PathBuf {
        self.out.join("weights.safetensors")
    }

    /// The folder of fetched data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of one fetched data set, `<data>/<name>`.
    ///
    /// # Errors
    /// It is not there; the text holds the command that fetches it.
    pub fn data_set(&self, name: &str) -> anyhow::Result<PathBuf> {
        data_set(&self.data_dir, name)
    }

    /// The flag that Ctrl-C sets, for the trainer: save a checkpoint, stop, return
    /// [`crate::Status::Interrupted`].
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether Ctrl-C was pressed. Long evaluations should ask now and then.
    pub fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Opens `metrics.jsonl` and the TensorBoard events. A resumed run names the step that it goes on from:
    /// what was logged after it is forgotten.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn open_loggers(&self, resumed_step: Option<u64>) -> ebm_core::Result<Loggers> {
        let path = self.out.join("metrics.jsonl");
        let jsonl = match resumed_step {
            Some(step) => JsonlWriter::resume(&path, step)?,
            None => JsonlWriter::create(&path)?,
        };
        let events = TensorBoardWriter::create(&self.out.join("tensorboard"), resumed_step)?;
        Ok(Loggers(vec![Box::new(jsonl), Box::new(events)]))
    }

    /// A progress display for `n_steps` steps; a resumed part starts at `first_step`.
    pub fn progress(&self, label: &str, n_steps: u64, first_step: u64) -> Progress {
        Progress::new(label, n_steps, first_step)
    }
}

/// The folder of a fetched data set.
pub(crate) fn data_set(data_dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = data_dir.join(name);
    if path.is_dir() {
        return Ok(path);
    }
    Err(usage(format!(
        "the data set {name} is not in {}; type: cargo xtask data fetch {name}",
        data_dir.display()
    )))
}
