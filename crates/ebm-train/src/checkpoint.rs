//! Checkpoints: `step-<n>.safetensors` with every tensor and `step-<n>.json` with the rest.
//!
//! The JSON manifest is written last and holds the tensor file's sha256: a checkpoint either reads back whole or
//! counts as absent. A resumed run gives the same bits as one that was never stopped (CPU).

use std::fs;
use std::path::{Path, PathBuf};

use ebm_core::simd::{Level, level};
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::optim::Named;
use crate::tensors;
use crate::watch::Event;

/// What decides the bits of a run beside its configuration and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of this crate.
    pub ebm: String,
    /// LibTorch's version.
    pub libtorch: String,
    /// LibTorch's threads: its sums depend on them.
    pub threads: usize,
    /// The CPU's vector level: LibTorch chooses its kernels by it.
    pub vector_level: String,
    /// Where the tensors live.
    pub device: String,
}

impl Environment {
    /// The environment of this process, for tensors on `device`.
    pub fn current(device: tch::Device) -> Self {
        Self {
            ebm: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: ebm_core::torch::LIBTORCH_VERSION.to_owned(),
            threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
            vector_level: vector_level(),
            device: format!("{device:?}"),
        }
    }
}

/// LibTorch chooses by the machine; our own code may be held to a lower level.
fn vector_level() -> String {
    let (machine, ours) = (Level::of_machine(), level());
    let name = if machine == Level::Portable { std::env::consts::ARCH } else { machine.name() };
    if ours == machine { name.to_owned() } else { format!("{name}, host code at {ours}") }
}

/// The part of a checkpoint that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub schema: u32,
    /// Training steps taken.
    pub step: u64,
    /// The run's seed.
    pub seed: u64,
    /// sha256 of the run's configuration.
    pub config_sha256: String,
    /// What else decides the bits.
    pub environment: Environment,
    /// The optimiser's own count of steps.
    pub optimizer_steps: u64,
    /// What roll-backs have left of the learning rate.
    pub lr_factor: f64,
    /// Roll-backs so far.
    pub rollbacks: u32,
    /// The objective's state.
    pub objective: Value,
    /// What happened so far.
    pub events: Vec<Event>,
    /// sha256 of the tensor file.
    pub tensors_sha256: String,
}

/// Version of the manifest's format.
pub const SCHEMA: u32 = 1;

impl Manifest {
    /// Read a manifest's text; `path` is for messages.
    ///
    /// # Errors
    /// Text that is not JSON, a missing or unknown field, another schema.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(text)
            .map_err(|e| Error::data(path, None, format!("not a checkpoint manifest: {e}")))?;
        if manifest.schema != SCHEMA {
            let found = format!("schema {}, this version reads {SCHEMA}", manifest.schema);
            return Err(Error::data(path, None, found));
        }
        Ok(manifest)
    }

    /// Whether this checkpoint belongs to the run (`config_sha256`, `seed`, `environment`).
    ///
    /// # Errors
    /// Names the first thing that differs.
    pub fn check_belongs(&self, config_sha256: &str, seed: u64, environment: &Environment) -> Result<()> {
        let fix = "start anew in another folder, set back what differs, or (for the environment alone) --resume --force";
        if self.config_sha256 != config_sha256 {
            return Err(Error::bad_value("configuration", "changed", "the one that was begun with", fix));
        }
        if self.seed != seed {
            return Err(Error::bad_value("seed", seed, format!("{}, as begun", self.seed), fix));
        }
        if self.environment != *environment {
            let found = format!("{environment:?}");
            return Err(Error::bad_value(
                "environment",
                found,
                format!("{:?}, as begun", self.environment),
                fix,
            ));
        }
        Ok(())
    }
}

/// Everything a run needs to go on.
#[derive(Debug)]
pub struct Snapshot {
    /// All tensors, by name.
    pub tensors: Named,
    /// The rest.
    pub manifest: Manifest,
}

/// A folder of checkpoints, of which the newest few are kept.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    keep_last: usize,
}

/// sha256 as lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Checkpoints {
    /// Checkpoints in `folder`, which is made when needed.
    ///
    /// # Errors
    /// The folder cannot be made, or `keep_last` is 0.
    pub fn new(folder: impl Into<PathBuf>, keep_last: usize) -> Result<Self> {
        let folder = folder.into();
        if keep_last == 0 {
            return Err(Error::bad_value("keep_last", 0, "at least 1", ""));
        }
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        Ok(Self { folder, keep_last })
    }

    fn path(&self, step: u64, extension: &str) -> PathBuf {
        self.folder.join(format!("step-{step}.{extension}"))
    }

    /// The steps of which there is a file with this ending, newest first.
    fn steps(&self, extension: &str) -> Result<Vec<u64>> {
        let entries = fs::read_dir(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        let step_of =
            |name: &str| name.strip_prefix("step-")?.strip_suffix(extension)?.strip_suffix('.')?.parse().ok();
        let mut steps: Vec<u64> =
            entries.flatten().filter_map(|e| step_of(&e.file_name().to_string_lossy())).collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// Save, then delete what is older than the newest `keep_last`. Sets the manifest's `tensors_sha256`.
    ///
    /// # Errors
    /// The file system refuses; older checkpoints are then untouched.
    pub fn save(&self, snapshot: &mut Snapshot) -> Result<()> {
        let step = snapshot.manifest.step;
        let bytes = tensors::to_bytes(&snapshot.tensors)?;
        snapshot.manifest.tensors_sha256 = sha256_hex(&bytes);
        tensors::write_atomically(&self.path(step, "safetensors"), &bytes)?;
        let text = serde_json::to_vec_pretty(&snapshot.manifest).map_err(Error::user)?;
        tensors::write_atomically(&self.path(step, "json"), &text)?;
        // The manifest goes first: without it a checkpoint is absent. Then every tensor file without a manifest,
        // among them what a kill left behind.
        for old in self.steps("json")?.into_iter().skip(self.keep_last) {
            let path = self.path(old, "json");
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
        let kept = self.steps("json")?;
        for orphan in self.steps("safetensors")?.into_iter().filter(|step| !kept.contains(step)) {
            let path = self.path(orphan, "safetensors");
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
        Ok(())
    }

    fn load(&self, step: u64) -> Result<Snapshot> {
        let path = self.path(step, "json");
        let manifest = Manifest::parse(&path, &fs::read(&path).map_err(|e| Error::io(&path, e))?)?;
        let path = self.path(step, "safetensors");
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        if sha256_hex(&bytes) != manifest.tensors_sha256 {
            return Err(Error::data(path, None, "truncated or changed: its sha256 is not the manifest's"));
        }
        Ok(Snapshot { tensors: tensors::from_bytes(&path, &bytes)?, manifest })
    }

    /// The newest readable checkpoint; `None` when there is none at all.
    ///
    /// # Errors
    /// There are checkpoints and none can be read: names each with its reason.
    pub fn latest(&self) -> Result<Option<Snapshot>> {
        let mut problems = Vec::new();
        for step in self.steps("json")? {
            match self.load(step) {
                Ok(snapshot) => {
                    for problem in problems {
                        tracing::warn!("skipped an unreadable checkpoint: {problem}");
                    }
                    return Ok(Some(snapshot));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        if problems.is_empty() {
            return Ok(None);
        }
        let list = problems.join("; ");
        let problem = format!("no checkpoint can be read: {list}. Delete them or choose another folder");
        Err(Error::data(&self.folder, None, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tch::Tensor;

    fn manifest(step: u64) -> Manifest {
        Manifest {
            schema: SCHEMA,
            step,
            seed: 1,
            config_sha256: "abc".into(),
            environment: Environment::current(tch::Device::Cpu),
            optimizer_steps: step,
            lr_factor: 1.0,
            rollbacks: 0,
            objective: Value::Null,
            events: Vec::new(),
            tensors_sha256: String::new(),
        }
    }

    fn save(checkpoints: &Checkpoints, step: u64) {
        let tensors = vec![("p".to_owned(), Tensor::from_slice(&[step as f32]))];
        checkpoints.save(&mut Snapshot { tensors, manifest: manifest(step) }).unwrap();
    }

    #[test]
    fn the_newest_readable_one_is_found_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("c"), 2).unwrap();
        assert!(checkpoints.latest().unwrap().is_none());
        for step in [5, 10, 100] {
            save(&checkpoints, step);
        }
        assert_eq!(checkpoints.steps("json").unwrap(), [100, 10]);
        assert_eq!(checkpoints.steps("safetensors").unwrap(), [100, 10]);
        assert_eq!(checkpoints.latest().unwrap().unwrap().manifest.step, 100);
        // A truncated tensor file, then a manifest of rubbish: each time the one before is taken.
        let path = checkpoints.path(100, "safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().manifest.step, 10);
        fs::write(checkpoints.path(10, "json"), "{").unwrap();
        let error = checkpoints.latest().unwrap_err().to_string();
        assert!(error.contains("step-100") && error.contains("step-10.json"), "{error}");
    }

    #[test]
    fn another_run_is_refused_by_name() {
        let m = manifest(1);
        let here = Environment::current(tch::Device::Cpu);
        m.check_belongs("abc", 1, &here).unwrap();
        assert!(m.check_belongs("abd", 1, &here).unwrap_err().to_string().contains("configuration"));
        assert!(m.check_belongs("abc", 2, &here).unwrap_err().to_string().contains("seed = 2"));
        let other = Environment { threads: 77, ..here };
        assert!(m.check_belongs("abc", 1, &other).unwrap_err().to_string().contains("77"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_error_or_a_manifest(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::parse(Path::new("m.json"), &bytes);
        }

        /// A manifest with one byte changed never panics, and whatever is read is a valid manifest again.
        #[test]
        fn a_damaged_manifest_never_panics(at in 0usize..400, byte in any::<u8>()) {
            let mut text = serde_json::to_vec(&manifest(3)).unwrap();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(read) = Manifest::parse(Path::new("m.json"), &text) {
                prop_assert_eq!(read.schema, SCHEMA);
            }
        }
    }
}
