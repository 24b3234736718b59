//! The run folder: one writer at a time, and what is in it is never overwritten unasked.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::experiment::Status;
use ebm_train::tensors::write_atomically;

use crate::report::ReportFile;
use crate::usage::{Usage, usage};

/// What a run is: two runs with equal identities are the same run. Written as `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The experiment's name.
    pub experiment: String,
    /// cpu, long or paper.
    pub preset: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Whether it is a smoke run.
    pub smoke: bool,
    /// cpu or cuda:N.
    pub device: String,
    /// The digest of the weights handed in with `--weights`, or empty.
    pub weights_sha256: String,
    /// The preset with its overrides, gates included.
    pub config: Value,
}

/// What to do with a run that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Leave it alone.
    Refuse,
    /// Go on with it.
    Resume,
    /// Replace it.
    Overwrite,
}

/// How to start.
pub enum Start {
    /// Nothing is there.
    Fresh,
    /// The same run, unfinished.
    Resume,
    /// The same run, finished.
    Finished(Box<ReportFile>),
}

/// An open run folder; the lock goes with it, and with the process however that ends.
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// Everything that a run writes; nothing else is ever deleted.
const FILES: [&str; 5] =
    ["report.json", "report.html", "metrics.jsonl", "weights.safetensors", "config.json"];
const FOLDERS: [&str; 3] = ["plots", "checkpoints", "tensorboard"];

impl RunFolder {
    /// Opens `path` for this run, or says why not.
    ///
    /// # Errors
    /// The folder cannot be written, another process writes there, or another or an unfinished run is there and
    /// `policy` does not say what to do with it.
    pub fn open(path: &Path, identity: &Identity, policy: Policy) -> anyhow::Result<(Self, Start)> {
        let shown = path.display();
        let refused = |e: std::io::Error| usage(format!("--out {shown}: cannot be written: {e}"));
        fs::create_dir_all(path).map_err(refused)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(".lock"));
        let lock = lock.map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(usage(format!("--out {shown}: another process is running there")));
            }
            Err(TryLockError::Error(e)) => return Err(refused(e)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        let start = folder.start(identity, policy)?;
        if matches!(start, Start::Fresh) {
            let text = serde_json::to_string_pretty(identity)? + "\n";
            write_atomically(&path.join("config.json"), text.as_bytes())
                .map_err(|e| usage(format!("--out: {e:#}")))?;
        }
        Ok((folder, start))
    }

    fn start(&self, identity: &Identity, policy: Policy) -> anyhow::Result<Start> {
        let shown = self.path.display();
        let config = self.path.join("config.json");
        let Ok(text) = fs::read_to_string(&config) else {
            return match self.leftovers().first() {
                None => Ok(Start::Fresh),
                Some(name) => Err(usage(format!(
                    "--out {shown}: holds {name} but no config.json, so it is no run of ours; choose another folder"
                ))),
            };
        };
        let there: Identity = serde_json::from_str(&text).map_err(|e| {
            Usage(format!("{}: not the config of a run ({e}); choose another --out", config.display()))
        })?;
        if policy == Policy::Overwrite {
            self.wipe()?;
            return Ok(Start::Fresh);
        }
        let differences = differences(&there, identity);
        if !differences.is_empty() {
            // A smoke run holds nothing that anybody could miss.
            if there.smoke && policy == Policy::Refuse {
                self.wipe()?;
                return Ok(Start::Fresh);
            }
            let way_out = if policy == Policy::Resume {
                "resume with the same settings, choose another --out, or --overwrite"
            } else {
                "choose another --out, or --overwrite"
            };
            let first: Vec<&str> = differences.iter().take(5).map(String::as_str).collect();
            let text = format!("--out {shown}: another run is there ({}); {way_out}", first.join("; "));
            return Err(usage(text));
        }
        match (self.finished_report(), policy) {
            (Some(report), _) => Ok(Start::Finished(Box::new(report))),
            (None, Policy::Resume) => Ok(Start::Resume),
            (None, _) => Err(usage(format!(
                "--out {shown}: an unfinished run of these settings is there; --resume goes on with it, --overwrite \
                 starts anew"
            ))),
        }
    }

    fn finished_report(&self) -> Option<ReportFile> {
        let text = fs::read_to_string(self.path.join("report.json")).ok()?;
        let report: ReportFile = serde_json::from_str(&text).ok()?;
        (report.status != Status::Interrupted).then_some(report)
    }

    /// What a run wrote here, by name.
    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| is_ours(name)).collect()
    }

    /// Removes what a run wrote, and only that; `config.json` last, so that a kill leaves a known run.
    fn wipe(&self) -> anyhow::Result<()> {
        let mut names = self.leftovers();
        names.sort_by_key(|name| name == "config.json");
        for name in names {
            let path = self.path.join(&name);
            let is_folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| usage(format!("--overwrite: cannot remove {}: {e}", path.display())))?;
        }
        Ok(())
    }

    /// Takes back a fresh run that a user's mistake ended before its first checkpoint.
    pub fn discard(self) {
        let has_checkpoint =
            fs::read_dir(self.path.join("checkpoints")).is_ok_and(|mut d| d.next().is_some());
        if !has_checkpoint && self.wipe().is_ok() {
            let _ = fs::remove_file(self.path.join(".lock"));
            // Fails when something else is there, and that is right.
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Seconds that earlier parts of this run took, as far as its files say.
    pub fn earlier_seconds(&self) -> f64 {
        let report = fs::read_to_string(self.path.join("report.json")).ok();
        let reported = report.and_then(|t| serde_json::from_str::<Value>(&t).ok()?["wall_s"].as_f64());
        let rows = fs::read_to_string(self.path.join("metrics.jsonl")).unwrap_or_default();
        let logged =
            rows.lines().rev().find_map(|l| serde_json::from_str::<Value>(l).ok()?["wall_s"].as_f64());
        reported.unwrap_or(0.0).max(logged.unwrap_or(0.0))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn is_ours(name: &str) -> bool {
    let seed =
        name.strip_prefix("seed-").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    seed || FILES.contains(&name) || FOLDERS.contains(&name)
}

/// Where two identities differ: `config.sampler.step_size: 0.1 there, 0.2 asked`.
fn differences(there: &Identity, asked: &Identity) -> Vec<String> {
    let leaves = |identity: &Identity| {
        let mut leaves = Vec::new();
        flatten(&serde_json::to_value(identity).unwrap_or_default(), String::new(), &mut leaves);
        leaves
    };
    let (there, asked) = (leaves(there), leaves(asked));
    let find = |list: &[(String, String)], key: &str| {
        list.iter().find(|(k, _)| k == key).map_or_else(|| "nothing".to_owned(), |(_, v)| v.clone())
    };
    let mut keys: Vec<&String> = there.iter().chain(&asked).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| (key, find(&there, key), find(&asked, key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| format!("{}: {old} there, {new} asked", key.trim_start_matches("config.")))
        .collect()
}

fn flatten(value: &Value, path: String, leaves: &mut Vec<(String, String)>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| flatten(inner, join(key), leaves)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(i, inner)| flatten(inner, join(&i.to_string()), leaves));
        }
        leaf => leaves.push((path, leaf.to_string())),
    }
}

/// Reads a file's digest: the identity of `--weights`.
pub fn file_sha256(path: &Path) -> anyhow::Result<String> {
    use sha2::{Digest, Sha256};
    let mut file = File::open(path).map_err(|e| usage(format!("--weights {}: {e}", path.display())))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
