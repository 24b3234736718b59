//! `.cargo/libtorch.toml`: the ignored file through which plain cargo finds LibTorch.
//!
//! The tracked `.cargo/config.toml` includes it when it is there. `[env] LIBTORCH` is for the build script of
//! `torch-sys`; the rpath in `[build]` is for everything that is linked, so that tests, doctests and binaries
//! started by hand find the libraries without an environment variable.

use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::fail::bad;
use crate::libtorch::LibTorch;

/// The LibTorch that the file names, or `None` without a file.
pub fn read(file: &Path) -> Result<Option<PathBuf>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let damaged = || bad(format!("{} is damaged; delete it and run `cargo xtask setup`", file.display()));
    let table: toml::Table = text.parse().map_err(|_| damaged())?;
    let libtorch = table.get("env").and_then(|env| env.get("LIBTORCH")).and_then(|value| value.as_str());
    Ok(Some(PathBuf::from(libtorch.ok_or_else(damaged)?)))
}

/// Writes the file, unless it already says the same; true when it was written.
pub fn write(file: &Path, libtorch: &LibTorch) -> Result<bool> {
    let wanted = text(libtorch);
    let new: toml::Table = wanted.parse().context("the text for libtorch.toml is not TOML")?;
    let old = fs::read_to_string(file).ok().and_then(|old| old.parse::<toml::Table>().ok());
    if old.as_ref() == Some(&new) {
        return Ok(false);
    }
    // Written beside and renamed: another cargo never reads half of it.
    let beside = file.with_extension(format!("toml.{}", std::process::id()));
    fs::write(&beside, wanted)
        .and_then(|()| fs::rename(&beside, file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}

/// The linker option that puts the libraries' folder into what is linked.
pub fn rpath_flag(libtorch: &LibTorch) -> String {
    format!("-Clink-arg=-Wl,-rpath,{}", libtorch.lib().display())
}

fn text(libtorch: &LibTorch) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let root = quoted(libtorch.root.display().to_string());
    let rpath = quoted(rpath_flag(libtorch));
    format!(
        "# Written by `cargo xtask setup`; holds until it is called again.\n[env]\nLIBTORCH = {root}\n[build]\nrustflags = [{rpath}]\nrustdocflags = [{rpath}]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libtorch(root: &str) -> LibTorch {
        LibTorch { root: PathBuf::from(root), version: None, cuda: false }
    }

    #[test]
    fn the_text_is_what_cargo_wants() {
        let text = text(&libtorch("/cache/libtorch-2.13.0-cpu"));
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["env"]["LIBTORCH"].as_str(), Some("/cache/libtorch-2.13.0-cpu"));
        let flag = "-Clink-arg=-Wl,-rpath,/cache/libtorch-2.13.0-cpu/lib";
        assert_eq!(table["build"]["rustflags"][0].as_str(), Some(flag));
        assert_eq!(table["build"]["rustdocflags"][0].as_str(), Some(flag));
    }

    #[test]
    fn round_trip_with_an_odd_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libtorch.toml");
        assert_eq!(read(&file).unwrap(), None);
        let odd = libtorch("/a \"quoted\" folder/with \\ in it");
        assert!(write(&file, &odd).unwrap());
        assert_eq!(read(&file).unwrap(), Some(odd.root.clone()));
        assert!(!write(&file, &odd).unwrap(), "the same content is not written twice");
        assert!(write(&file, &libtorch("/b")).unwrap());
    }

    #[test]
    fn the_same_values_in_another_layout_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libtorch.toml");
        let by_hand = "[env]\nLIBTORCH = \"/x\"\n[build]\nrustflags = [\"-Clink-arg=-Wl,-rpath,/x/lib\"]\nrustdocflags = [\"-Clink-arg=-Wl,-rpath,/x/lib\"]\n";
        fs::write(&file, by_hand).unwrap();
        assert!(!write(&file, &libtorch("/x")).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), by_hand);
    }

    #[test]
    fn damaged_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libtorch.toml");
        for text in ["[env", "[env]\nOTHER = 1\n"] {
            fs::write(&file, text).unwrap();
            let error = read(&file).unwrap_err();
            assert!(error.to_string().contains("cargo xtask setup"), "{error}");
        }
    }
}
