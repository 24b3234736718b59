//! What an experiment is, and the list of them.

use serde::{Deserialize, Serialize};

use crate::preset::{EMBEDDED, Preset, PresetSource};
use crate::run::Run;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It ran to its end.
    Complete,
    /// Stopped on request; it can be resumed.
    Interrupted,
    /// Given up after its roll-backs; every gate failed.
    Diverged,
    /// A short run on tiny data; gates are not judged.
    Smoke,
}

impl Status {
    /// As it stands in `report.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Interrupted => "interrupted",
            Self::Diverged => "diverged",
            Self::Smoke => "smoke",
        }
    }
}

/// What a run would take, computed from its preset alone: `--dry-run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// Trained numbers.
    pub parameters: u64,
    /// Multiply-accumulates of the whole training.
    pub macs: u64,
    /// Expected peak memory.
    pub memory_bytes: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Expected minutes per seed on two cores.
    pub minutes: f64,
}

/// One experiment: one file in `experiments/`, its presets, and a line in the list.
pub trait Experiment: Sync {
    /// The name that people type, and the first part of its presets' file names.
    fn name(&self) -> &'static str;

    /// Reads and checks every table of the preset, without allocating the model, and says what a run would
    /// take. Called before anything is written, so a wrong setting leaves no trace.
    ///
    /// # Errors
    /// Anything wrong with the preset; it ends with exit code 2.
    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan>;

    /// Trains, samples, evaluates, and fills `run.report`.
    ///
    /// # Errors
    /// A user's mistake ([`crate::Usage`], or an `ebm_core` error that names a bad value or a bad file) ends with
    /// exit code 2, `ErrorKind::Stopped` counts as interrupted, everything else is a crash. Divergence is no error:
    /// return [`Status::Diverged`].
    fn run(&self, run: &mut Run) -> anyhow::Result<Status>;
}

/// The experiments and presets that the commands know.
pub struct Registry {
    /// The experiments compiled in.
    pub experiments: Vec<&'static dyn Experiment>,
    /// All presets, whether their experiment is compiled in or not.
    pub presets: Vec<PresetSource>,
    /// What `reproduce` without a name runs.
    pub quickstart: &'static str,
}

impl Registry {
    /// What this build holds.
    pub fn built_in() -> Self {
        Self {
            experiments: crate::experiments::ALL.to_vec(),
            presets: EMBEDDED.to_vec(),
            quickstart: "jem-digits",
        }
    }

    /// The experiment of that name, when it is compiled in.
    pub fn experiment(&self, name: &str) -> Option<&'static dyn Experiment> {
        self.experiments.iter().copied().find(|e| e.name() == name)
    }
}
