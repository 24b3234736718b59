//! `cargo xtask tidy`: what a search through the files can check. One small check per file in `tidy/`.
//!
//! Checked are the files that git tracks or would track. A line may be excused by a comment where a check says so.

mod arrows;
mod files;
mod licences;
mod links;
mod size;
mod source;
mod text;

use anyhow::{Result, bail};
use std::fmt;

use crate::metadata::Metadata;
use crate::paths::Project;

/// Check sources, links, licences, sizes and the order of the crates
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cargo xtask tidy

A read of a device's value is excused by a comment at the end of its line or on the line before:
  let energy = total.double_value(&[]); // host read: the guard runs every `check_every` steps")]
pub struct Args {}

/// Something that is not tidy.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// From 1; 0 when it is about the whole file.
    pub line: usize,
    pub message: String,
    /// Shown, but no failure.
    pub warning: bool,
}

impl Finding {
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into(), warning: false }
    }

    pub fn warning(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { warning: true, ..Finding::new(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.warning { "warning: " } else { "" };
        match self.line {
            0 => write!(f, "{}: {word}{}", self.path, self.message),
            line => write!(f, "{}:{line}: {word}{}", self.path, self.message),
        }
    }
}

/// The command.
pub fn run(project: &Project, _: &Args) -> Result<()> {
    check(project)
}

/// All checks; an error when there is a finding that is more than a warning.
pub fn check(project: &Project) -> Result<()> {
    let files = files::tracked(&project.root)?;
    let metadata = Metadata::with_dependencies(project)?;
    let tests_only = source::test_modules(&files);
    let mut findings = Vec::new();
    for file in &files {
        let Some(text) = file.text() else { continue };
        if file.path.ends_with(".rs") && !tests_only.contains(&file.path) {
            findings.extend(source::check(&file.path, text));
            findings.extend(size::lines(&file.path, text));
        }
        findings.extend(text::check(&file.path, text));
    }
    findings.extend(links::check(&project.root, &files));
    findings.extend(size::bytes(&files));
    findings.extend(licences::check(&metadata));
    findings.extend(arrows::check(&metadata));

    for finding in &findings {
        eprintln!("{finding}");
    }
    let failures = findings.iter().filter(|finding| !finding.warning).count();
    if failures > 0 {
        bail!("tidy found {failures} things to put right");
    }
    let warnings = findings.len();
    eprintln!("tidy: {} files, {} packages, {warnings} warnings", files.len(), metadata.packages.len());
    Ok(())
}
