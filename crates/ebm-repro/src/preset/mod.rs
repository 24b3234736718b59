//! Presets: the TOML that fixes an experiment, with typed access and overrides.

mod access;
mod embedded;
mod nearest;
mod nesting;
mod overrides;

pub use embedded::{EMBEDDED, PresetSource};

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::gate::GateSpec;
use crate::usage::Usage;

/// The scale of a preset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Minutes on two cores, per seed.
    #[default]
    Cpu,
    /// At most 100 minutes on two cores, resumable.
    Long,
    /// The paper's own scale.
    Paper,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Long => "long",
            Self::Paper => "paper",
        })
    }
}

/// The `[experiment]` table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentInfo {
    /// One line for people.
    pub title: String,
    /// The paper, with its arXiv id.
    pub paper: String,
    /// The cargo feature that holds the experiment.
    pub feature: String,
    /// Names of `cargo xtask data list` that it needs.
    #[serde(default)]
    pub data: Vec<String>,
    /// Expected minutes per seed on two cores.
    pub minutes: f64,
    /// Values that are only recalled, not checked against the paper.
    #[serde(default)]
    pub unverified: Vec<String>,
}

/// The tables that a preset may hold.
const TABLES: [&str; 11] = [
    "experiment",
    "data",
    "model",
    "objective",
    "sampler",
    "optimizer",
    "trainer",
    "eval",
    "controls",
    "gates",
    "smoke",
];

/// One preset, with whatever `--set` and `--smoke` changed.
#[derive(Clone, Debug)]
pub struct Preset {
    name: String,
    kind: Kind,
    sha256: String,
    table: Table,
    info: ExperimentInfo,
    gates: Vec<GateSpec>,
    overrides: BTreeMap<String, String>,
}

impl Preset {
    /// Reads a preset's text and checks what can be checked without its experiment.
    ///
    /// # Errors
    /// Not TOML, nested too deep, an unknown table, or a wrong `[experiment]`, `[[controls]]`, `[[gates]]` or
    /// `[smoke]`.
    pub fn parse(name: &str, kind: Kind, text: &str) -> Result<Self, Usage> {
        let file = format!("{name}.{kind}.toml");
        let fault = |problem: String| Usage(format!("preset {file}: {problem}"));
        if let Some(line) = nesting::too_deep_at(text) {
            return Err(Usage(format!("preset {file}, line {line}: {}", nesting::problem())));
        }
        let table: Table = text.parse().map_err(|e| Usage(format!("preset {file}{}", place(&e, text))))?;
        for (key, value) in &table {
            if !TABLES.contains(&key.as_str()) {
                return Err(fault(format!("unknown table [{key}]; known are {}", TABLES.join(", "))));
            }
            let is_list = matches!(key.as_str(), "controls" | "gates");
            if is_list != value.is_array() || !(is_list || value.is_table()) {
                let form = if is_list { format!("[[{key}]]") } else { format!("[{key}]") };
                return Err(fault(format!("`{key}` must be written as {form}")));
            }
        }
        let mut preset = Self {
            name: name.to_owned(),
            kind,
            sha256: Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect(),
            info: access::deserialize(&file, "experiment", table.get("experiment"))?,
            gates: access::deserialize_list(&file, "gates", table.get("gates"))?,
            table,
            overrides: BTreeMap::new(),
        };
        preset.check_gates().and_then(|()| preset.check_shape()).map_err(fault)?;
        // A [smoke] that does not fit is found here and not first by whoever types --smoke.
        preset.clone().apply_smoke()?;
        Ok(preset)
    }

    fn check_gates(&mut self) -> Result<(), String> {
        for (i, gate) in self.gates.iter().enumerate() {
            if let Some(problem) = gate.problem() {
                return Err(format!("gate `{}`: {problem}", gate.name));
            }
            if self.gates[..i].iter().any(|other| other.name == gate.name) {
                return Err(format!("two gates are called `{}`", gate.name));
            }
        }
        Ok(())
    }

    /// What must hold after every change as well.
    fn check_shape(&self) -> Result<(), String> {
        for control in self.table.get("controls").and_then(Value::as_array).into_iter().flatten() {
            if control.get("name").and_then(Value::as_str).is_none() {
                return Err("every [[controls]] needs a `name`".into());
            }
        }
        nesting::check_table(&self.table)
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The scale.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The file's name, for messages.
    pub fn file(&self) -> String {
        format!("{}.{}.toml", self.name, self.kind)
    }

    /// The digest of the file's text, before any override.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The `[experiment]` table.
    pub fn info(&self) -> &ExperimentInfo {
        &self.info
    }

    /// The gates, in the file's order.
    pub fn gates(&self) -> &[GateSpec] {
        &self.gates
    }

    /// What `--set` changed, as it was typed.
    pub fn overrides(&self) -> &BTreeMap<String, String> {
        &self.overrides
    }

    /// Whether `--set` changed anything.
    pub fn is_modified(&self) -> bool {
        !self.overrides.is_empty()
    }

    /// The user's own file that replaces the experiment's data (`--set data.path=…`).
    pub fn data_path(&self) -> Option<&std::path::Path> {
        self.table.get("data")?.get("path")?.as_str().filter(|p| !p.is_empty()).map(std::path::Path::new)
    }
}

/// A TOML error as one line, with the line it is in.
fn place(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map(|s| text.get(..s.start).unwrap_or(text).matches('\n').count() + 1);
    let message = error.message().replace('\n', " ");
    line.map_or_else(|| format!(": {message}"), |line| format!(", line {line}: {message}"))
}

#[cfg(test)]
mod tests;
