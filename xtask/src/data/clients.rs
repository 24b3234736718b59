//! The package clients: how a package is downloaded and unpacked with each of them.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{on_path, shown};
use crate::fail::bad;
use crate::pip::{Pip, Request};

/// A client that can bring a package without root.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    Apt,
    Npm,
    Pip,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Client::Apt => "apt-get",
            Client::Npm => "npm",
            Client::Pip => "pip",
        })
    }
}

impl Client {
    /// Downloads the package below `work` and unpacks it; gives the folder that holds its files.
    pub fn fetch(self, package: &str, version: &str, work: &Path) -> Result<PathBuf> {
        let (archive, unpacked) = (work.join("archive"), work.join("unpacked"));
        for folder in [&archive, &unpacked] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        match self {
            Client::Apt => {
                need("apt-get", "this data set is a Debian package; use Debian or Ubuntu")?;
                need("dpkg-deb", "install the package `dpkg`")?;
                run(Command::new("apt-get").args(["download", package]).current_dir(&archive))?;
                run(Command::new("dpkg-deb").arg("-x").arg(only_file(&archive)?).arg(&unpacked))?;
            }
            Client::Npm => {
                need("npm", "on Debian: apt-get install npm")?;
                need("tar", "on Debian: apt-get install tar")?;
                let wanted = format!("{package}@{version}");
                run(Command::new("npm").args(["pack", &wanted]).current_dir(&archive))?;
                let mut tar = Command::new("tar");
                tar.args(["--no-same-owner", "-xzf"]).arg(only_file(&archive)?).arg("-C").arg(&unpacked);
                run(&mut tar)?;
            }
            Client::Pip => {
                let pip = Pip::require("get the files by other means")?;
                let request = Request { package, version, tags: &[], bytes: None };
                let wheel = pip.download(&request, &archive)?;
                zip::ZipArchive::new(File::open(&wheel)?)
                    .and_then(|mut wheel| wheel.extract(&unpacked))
                    .with_context(|| format!("cannot unpack {}", wheel.display()))?;
            }
        }
        Ok(unpacked)
    }
}

fn need(program: &str, what_to_do: &str) -> Result<()> {
    if on_path(program) {
        return Ok(());
    }
    Err(bad(format!("{program} is not on the PATH; {what_to_do}")))
}

/// Runs a client quietly; on failure its last words are the message.
fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{shown}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stderr, output.stdout].concat();
    bail!("`{shown}` failed: {}", explain(&String::from_utf8_lossy(&words)))
}

fn explain(words: &str) -> String {
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let error = lines
        .iter()
        .find(|line| line.starts_with("E:") || line.contains("ERR!") || line.contains("npm error"));
    let first = error.or(lines.last()).copied().unwrap_or("it printed nothing");
    let hint =
        if words.contains("Unable to locate package") || words.contains("has no installation candidate") {
            " (no package lists? `apt-get update`, once, as root)"
        } else if [
            "ENOTFOUND",
            "EAI_AGAIN",
            "ECONNREFUSED",
            "Could not resolve",
            "Temporary failure",
            "Failed to fetch",
        ]
        .iter()
        .any(|needle| words.contains(needle))
        {
            " (no network?)"
        } else {
            ""
        };
    format!("{first}{hint}")
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_file())
        .with_context(|| format!("the client left no file in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_lists_and_networks_are_explained() {
        let text = explain("Reading package lists...\nE: Unable to locate package dataset-fashion-mnist\n");
        assert!(text.starts_with("E: Unable") && text.contains("apt-get update"), "{text}");
        let text = explain("npm ERR! code ENOTFOUND\nnpm ERR! network\n");
        assert!(text.contains("no network"), "{text}");
        assert_eq!(explain("first\nlast\n\n"), "last");
        assert_eq!(explain(""), "it printed nothing");
    }

    #[test]
    fn a_client_that_is_not_there() {
        let error = need("no-such-program-here", "install it").unwrap_err();
        assert_eq!(error.to_string(), "no-such-program-here is not on the PATH; install it");
        assert_eq!(crate::fail::code(&error), 2);
    }
}
