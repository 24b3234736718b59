//! `report.json`, field by field: the contract that scripts depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::experiment::Status;
use crate::gate::{Op, Scope};

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// One `report.json`. Numbers that are not finite are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The experiment's name.
    pub experiment: String,
    /// cpu, long or paper.
    pub preset: String,
    /// The digest of the preset file.
    pub preset_sha256: String,
    /// What `--set` changed, as typed.
    pub overrides: BTreeMap<String, String>,
    /// The seed, or the first of several.
    pub seed: u64,
    /// All seeds.
    pub seeds: Vec<u64>,
    /// How it ended.
    pub status: Status,
    /// The preset with its overrides, without gates.
    pub config: serde_json::Value,
    /// The gates, in the preset's order.
    pub gates: Vec<GateResult>,
    /// What the controls reached.
    pub controls: Vec<Control>,
    /// Everything measured.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// What happened on the way.
    pub events: Vec<Event>,
    /// Seconds, all parts of a resumed run together.
    pub wall_s: f64,
    /// The largest resident memory of the process.
    pub peak_rss_bytes: u64,
    /// cpu or cuda:N.
    pub device: String,
    /// LibTorch's threads.
    pub threads: u32,
    /// The processor's name.
    pub cpu: String,
    /// Versions of what ran.
    pub versions: Versions,
}

/// A gate and how it came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// Its name.
    pub name: String,
    /// The claim in words.
    pub claim: String,
    /// What was reached.
    pub value: Option<f64>,
    /// Its interval.
    pub ci: Option<[f64; 2]>,
    /// The interval's level.
    pub ci_level: f64,
    /// The direction.
    pub op: Op,
    /// The threshold as a number.
    pub threshold: Option<f64>,
    /// Per run or over seeds.
    pub scope: Scope,
    /// Held, not held, or not judged.
    pub pass: Option<bool>,
    /// The control it is compared with.
    pub control: Option<String>,
}

/// A control's metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Its name.
    pub name: String,
    /// What it reached.
    pub metrics: BTreeMap<String, Option<f64>>,
}

/// Something that happened at a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The step.
    pub step: u64,
    /// What kind: `rollback`, `resume`, …
    pub kind: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The seed, in a report over several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Versions of what ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This workspace.
    pub ebm: String,
    /// Its commit.
    pub git: String,
    /// LibTorch.
    pub libtorch: String,
    /// The compiler.
    pub rustc: String,
}

impl ReportFile {
    /// How many gates were judged.
    pub fn n_judged(&self) -> usize {
        self.gates.iter().filter(|g| g.pass.is_some()).count()
    }

    /// How many gates were judged and did not hold.
    pub fn n_failed(&self) -> usize {
        self.gates.iter().filter(|g| g.pass == Some(false)).count()
    }

    /// The exit code: 0 every judged gate held, or none was judged; 3 one did not; 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self.status {
            Status::Interrupted => 130,
            Status::Diverged => 3,
            Status::Smoke => 0,
            Status::Complete if self.n_failed() > 0 => 3,
            Status::Complete => 0,
        }
    }

    /// Whether `--set` changed the preset.
    pub fn is_modified(&self) -> bool {
        !self.overrides.is_empty()
    }

    /// One sentence on how it came out.
    pub fn verdict(&self) -> String {
        let (judged, failed) = (self.n_judged(), self.n_failed());
        match self.status {
            Status::Interrupted => "Interrupted; it can be resumed.".into(),
            Status::Diverged => "Diverged: given up after its roll-backs, every gate failed.".into(),
            Status::Smoke => "A smoke run: it works; gates are not judged.".into(),
            Status::Complete if self.gates.is_empty() => "Complete. The preset has no gates.".into(),
            Status::Complete if judged == 0 => "Complete. No gate was judged: they need more seeds.".into(),
            Status::Complete if failed == 0 => format!("Complete. All {judged} judged gates held."),
            Status::Complete => format!("Complete. {failed} of {judged} judged gates did not hold."),
        }
    }

    /// As it is written to the file.
    pub fn to_json(&self) -> String {
        // A struct of plain values with text keys always serialises.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// A number for the report: null when it is not finite.
pub fn finite(v: f64) -> Option<f64> {
    v.is_finite().then_some(v)
}
