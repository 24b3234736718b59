//! `cargo metadata`: the target folder, the packages with their dependencies, licences and targets.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cargo::{bare, host};
use crate::paths::Project;

/// What we read of cargo's answer.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// `None` for the packages of this workspace.
    pub source: Option<String>,
    pub license: Option<String>,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
    pub features: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` for a normal dependency, else "dev" or "build".
    pub kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Target {
    pub name: String,
    pub kind: Vec<String>,
}

impl Metadata {
    /// The packages of the workspace alone: quick, and works without the dependencies' sources.
    pub fn of_workspace(project: &Project) -> Result<Metadata> {
        ask(project, &["--no-deps"])
    }

    /// All packages that this machine's build can use.
    pub fn with_dependencies(project: &Project) -> Result<Metadata> {
        let host = host().context("rustc does not tell its host")?;
        ask(project, &["--all-features", "--filter-platform", &host])
    }

    /// A package of the workspace.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.source.is_none() && package.name == name)
    }
}

impl Package {
    /// The names of the targets of a kind ("example", "bench", "bin").
    pub fn targets_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.targets
            .iter()
            .filter(move |target| target.kind.iter().any(|have| have == kind))
            .map(|target| target.name.as_str())
    }
}

fn ask(project: &Project, arguments: &[&str]) -> Result<Metadata> {
    let output = bare(project)
        .args(["metadata", "--format-version", "1", "--quiet"])
        .args(arguments)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cannot read the answer of cargo metadata")
}
