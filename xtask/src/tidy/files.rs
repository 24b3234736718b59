//! The files to check: those that git tracks, or would track if they were added.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A file with its text, where it is text.
pub struct File {
    /// Relative to the checkout, with `/`.
    pub path: String,
    pub bytes: u64,
    text: Option<String>,
}

impl File {
    #[cfg(test)]
    pub fn of(path: &str, text: &str) -> File {
        File { path: path.to_owned(), bytes: text.len() as u64, text: Some(text.to_owned()) }
    }

    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

/// Folders that are never looked into when there is no git to ask.
const SKIPPED: [&str; 4] = ["target", "runs", ".git", "book"];

/// Larger files are data, whatever they hold.
const MAX_TEXT_BYTES: u64 = 4_000_000;

/// All files to check, in the order of their paths.
pub fn tracked(root: &Path) -> Result<Vec<File>> {
    let mut paths = match listed_by_git(root) {
        Some(paths) => paths,
        None => walked(root)?,
    };
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let full = root.join(&path);
        // A tracked file may be deleted and not yet committed; a link is checked where it points.
        let Ok(meta) = fs::symlink_metadata(&full) else { continue };
        if !meta.is_file() {
            continue;
        }
        let text = if meta.len() <= MAX_TEXT_BYTES {
            let bytes = fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
            String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
        } else {
            None
        };
        files.push(File { path, bytes: meta.len(), text });
    }
    Ok(files)
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walked(root: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !path.is_symlink() {
                if !SKIPPED.contains(&name) {
                    folders.push(path);
                }
            } else if name != "libtorch.toml" {
                paths.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_the_folders_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [("a/b.md", "x"), ("target/c.rs", "x"), ("d.bin", "\0")] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let paths = walked(dir.path()).unwrap();
        assert_eq!(paths.len(), 2, "{paths:?}");
        let files = tracked(dir.path()).unwrap();
        let binary = files.iter().find(|file| file.path == "d.bin").unwrap();
        assert!(binary.text().is_none());
        assert_eq!(binary.bytes, 1);
    }
}
