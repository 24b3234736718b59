//! Where things are: the checkout, the shared cache folder, the data folder.

use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};

use crate::fail::bad;

/// The folders that every command needs.
pub struct Project {
    /// The checkout: the folder of the workspace's Cargo.toml.
    pub root: PathBuf,
    /// `$EBM_CACHE`, else `$XDG_CACHE_HOME/ebm`, else `~/.cache/ebm`: LibTorch and data, shared by all checkouts.
    pub cache: PathBuf,
    /// `$EBM_DATA`, else `<cache>/data`.
    pub data: PathBuf,
}

impl Project {
    /// Finds the folders; nothing is created.
    pub fn find() -> Result<Project> {
        // `cargo run` sets the variable; the compile-time value serves a binary that is started by hand.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.ends_with("xtask"))
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let root = manifest.parent().context("xtask's folder has no parent")?.to_path_buf();
        let cache = cache_folder(|name| env::var_os(name).map(PathBuf::from))?;
        let data =
            folder_variable(env::var_os("EBM_DATA").map(PathBuf::from)).unwrap_or_else(|| cache.join("data"));
        Ok(Project { root, cache: absolute(&cache)?, data: absolute(&data)? })
    }

    /// The ignored file that tells cargo where LibTorch is.
    pub fn libtorch_toml(&self) -> PathBuf {
        self.root.join(".cargo").join("libtorch.toml")
    }
}

fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(dir) = folder_variable(variable("EBM_CACHE")) {
        return Ok(dir);
    }
    if let Some(dir) = folder_variable(variable("XDG_CACHE_HOME")) {
        return Ok(dir.join("ebm"));
    }
    match folder_variable(variable("HOME")) {
        Some(home) => Ok(home.join(".cache").join("ebm")),
        None => Err(bad(
            "no cache folder: neither EBM_CACHE nor XDG_CACHE_HOME nor HOME is set; set EBM_CACHE to a folder with 2 GB free",
        )),
    }
}

/// An empty variable counts as not set.
fn folder_variable(value: Option<PathBuf>) -> Option<PathBuf> {
    value.filter(|path| !path.as_os_str().is_empty())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_folder_order() {
        let with = |set: &'static [(&'static str, &'static str)]| {
            cache_folder(move |name| set.iter().find(|(key, _)| *key == name).map(|(_, v)| PathBuf::from(v)))
        };
        assert_eq!(
            with(&[("EBM_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]).unwrap(),
            Path::new("/a")
        );
        assert_eq!(with(&[("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]).unwrap(), Path::new("/b/ebm"));
        assert_eq!(with(&[("EBM_CACHE", ""), ("HOME", "/c")]).unwrap(), Path::new("/c/.cache/ebm"));
        assert!(with(&[]).is_err());
    }
}
