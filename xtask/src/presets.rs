//! The presets of the experiments, read from their TOML files: enough for lists, names and data, without LibTorch.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

use crate::fail::bad;
use crate::nearest::nearest;
use crate::paths::Project;

/// The experiment that runs when no name is given.
pub const QUICKSTART: &str = "jem-digits";

/// The preset names, in the order in which they are listed.
pub const KINDS: [&str; 3] = ["cpu", "long", "paper"];

/// One preset file: its name and its `[experiment]` table.
#[derive(Clone, Debug)]
pub struct Preset {
    pub name: String,
    pub kind: String,
    pub experiment: Experiment,
}

/// The `[experiment]` table. The rest of the file is the experiment's own business.
#[derive(Clone, Debug, Deserialize)]
pub struct Experiment {
    pub title: String,
    #[serde(default)]
    pub paper: String,
    /// The cargo feature of `ebm-repro` that holds the experiment.
    pub feature: String,
    /// Data sets, by their names in `cargo xtask data list`.
    #[serde(default)]
    pub data: Vec<String>,
    /// Expected minutes for one seed on two cores.
    #[serde(default)]
    pub minutes: Option<f64>,
}

#[derive(Deserialize)]
struct File {
    experiment: Experiment,
}

/// All presets, by name and in the order of `KINDS`.
pub fn read(project: &Project) -> Result<Vec<Preset>> {
    read_folder(&project.root.join("crates/ebm-repro/presets"))
}

fn read_folder(folder: &Path) -> Result<Vec<Preset>> {
    let mut presets = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(presets),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let path = entry?.path();
        let Some(stem) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"))
        else {
            continue;
        };
        let Some((name, kind)) = stem.rsplit_once('.').filter(|(_, kind)| KINDS.contains(kind)) else {
            return Err(bad(format!(
                "{}: a preset is called <name>.<{}>.toml",
                path.display(),
                KINDS.join("|")
            )));
        };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File =
            toml::from_str(&text).map_err(|error| bad(format!("{}: {}", path.display(), error.message())))?;
        presets.push(Preset { name: name.to_owned(), kind: kind.to_owned(), experiment: file.experiment });
    }
    let rank = |kind: &str| KINDS.iter().position(|have| *have == kind);
    presets.sort_by(|a, b| (&a.name, rank(&a.kind)).cmp(&(&b.name, rank(&b.kind))));
    Ok(presets)
}

/// The presets that an experiment's name stands for; an unknown name is bad input, with the nearest one named.
pub fn of_experiment<'a>(presets: &'a [Preset], name: &str) -> Result<Vec<&'a Preset>> {
    let found: Vec<&Preset> = presets.iter().filter(|preset| preset.name == name).collect();
    if found.is_empty() {
        let hint = match nearest(name, presets.iter().map(|preset| preset.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`cargo xtask reproduce --list` shows what there is".to_owned(),
        };
        return Err(bad(format!("no experiment is called `{name}`; {hint}")));
    }
    Ok(found)
}

/// One preset of an experiment.
pub fn one<'a>(presets: &'a [Preset], name: &str, kind: &str) -> Result<&'a Preset> {
    let found = of_experiment(presets, name)?;
    found.iter().find(|preset| preset.kind == kind).copied().ok_or_else(|| {
        let kinds: Vec<&str> = found.iter().map(|preset| preset.kind.as_str()).collect();
        bad(format!("`{name}` has no preset `{kind}`; it has: {}", kinds.join(", ")))
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Three presets of two experiments.
    pub fn some() -> Vec<Preset> {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        write(
            "jem-digits.cpu.toml",
            "[experiment]\ntitle = \"JEM\"\nfeature = \"jem\"\nminutes = 5\n[model]\nwidth = 3\n",
        );
        write("jem-fashion.paper.toml", "[experiment]\ntitle = \"JEM\"\nfeature = \"jem\"\n");
        write(
            "jem-fashion.cpu.toml",
            "[experiment]\ntitle = \"JEM on clothes\"\npaper = \"arXiv:1912.03263\"\nfeature = \"jem\"\ndata = [\"fashion-mnist\"]\nminutes = 20.5\n",
        );
        read_folder(dir.path()).unwrap()
    }

    #[test]
    fn files_are_read_in_order() {
        let presets = some();
        let names: Vec<_> = presets.iter().map(|p| (p.name.as_str(), p.kind.as_str())).collect();
        assert_eq!(names, [("jem-digits", "cpu"), ("jem-fashion", "cpu"), ("jem-fashion", "paper")]);
        assert_eq!(presets[1].experiment.data, ["fashion-mnist"]);
        assert_eq!(presets[0].experiment.minutes, Some(5.0));
    }

    #[test]
    fn no_folder_means_no_presets() {
        assert!(read_folder(Path::new("/no/such/folder")).unwrap().is_empty());
    }

    #[test]
    fn unknown_names_suggest_the_nearest() {
        let presets = some();
        let error = of_experiment(&presets, "jem-digit").unwrap_err();
        assert_eq!(error.to_string(), "no experiment is called `jem-digit`; did you mean `jem-digits`?");
        assert_eq!(crate::fail::code(&error), 2);
        let error = of_experiment(&presets, "something-else-entirely").unwrap_err();
        assert!(error.to_string().contains("--list"), "{error}");
        let error = one(&presets, "jem-digits", "long").unwrap_err();
        assert_eq!(error.to_string(), "`jem-digits` has no preset `long`; it has: cpu");
    }

    #[test]
    fn damaged_presets() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.cpu.toml"), "[experiment]\ntitle = 3\n").unwrap();
        assert!(read_folder(dir.path()).unwrap_err().to_string().contains("a.cpu.toml"));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.gpu.toml"), "").unwrap();
        assert!(read_folder(dir.path()).unwrap_err().to_string().contains("<name>.<cpu|long|paper>.toml"));
    }
}
