//! A LibTorch folder: is it complete, is it the right version, does it have CUDA.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail::bad;
use crate::wheels::{Flavor, Recipe, TORCH_VERSION};

/// The list of files and sizes that setup leaves in a folder it assembled.
pub const CONTENTS: &str = "contents.tsv";

/// Skips the version check, as it does in `torch-sys`.
const BYPASS: &str = "LIBTORCH_BYPASS_VERSION_CHECK";

/// A folder that holds `include/` and `lib/` of a usable LibTorch.
#[derive(Clone, Debug)]
pub struct LibTorch {
    pub root: PathBuf,
    /// `None` where the folder does not say it.
    pub version: Option<String>,
    pub cuda: bool,
}

impl LibTorch {
    /// Checks any LibTorch folder; the error says what is wrong with it, without a "what to do".
    pub fn check(root: &Path) -> Result<LibTorch> {
        if !root.is_dir() {
            bail!("{} is not a folder", root.display());
        }
        let lib = root.join("lib");
        let extension = if cfg!(target_os = "macos") { "dylib" } else { "so" };
        let mut needed: Vec<PathBuf> =
            ["c10", "torch_cpu", "torch"].map(|name| lib.join(format!("lib{name}.{extension}"))).into();
        needed.push(root.join("include/torch/csrc/api/include/torch/torch.h"));
        needed.push(root.join("include/ATen/ATen.h"));
        for path in &needed {
            if !fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
                bail!("{} is missing or empty", path.display());
            }
        }
        let version = version_of(root);
        if let Some(found) = &version {
            let plain = found.split('+').next().unwrap_or(found);
            if plain != TORCH_VERSION && std::env::var_os(BYPASS).is_none() {
                bail!("it is LibTorch {found}, and tch needs {TORCH_VERSION}");
            }
        }
        if root.to_string_lossy().contains([',', '\n']) {
            bail!("its path holds a comma or a line break, which a linker option cannot");
        }
        let cuda = lib.join(format!("libtorch_cuda.{extension}")).exists();
        Ok(LibTorch { root: root.to_path_buf(), version, cuda })
    }

    /// Checks a folder that setup assembled, down to the size of every file.
    pub fn check_assembled(root: &Path, recipe: &Recipe) -> Result<LibTorch> {
        let found = LibTorch::check(root)?;
        if found.version.is_none() {
            bail!("it has no build-version");
        }
        for (name, bytes) in recipe.libraries {
            check_size(&root.join("lib").join(name), *bytes)?;
        }
        let contents = root.join(CONTENTS);
        match fs::read_to_string(&contents) {
            Ok(text) => {
                for (bytes, path) in parse_contents(&text)? {
                    check_size(&root.join(path), bytes)?;
                }
            }
            // A CPU folder put together by hand has no list; its libraries were checked above.
            Err(_) if recipe.flavor == Flavor::Cpu => {}
            Err(_) => bail!("{} is missing: the folder was not finished", contents.display()),
        }
        Ok(found)
    }

    /// The folder of the shared libraries.
    pub fn lib(&self) -> PathBuf {
        self.root.join("lib")
    }

    /// "LibTorch 2.13.0 (cpu) in /folder".
    pub fn describe(&self) -> String {
        let version = self.version.as_deref().unwrap_or("of an unknown version");
        let flavor = if self.cuda { "cuda" } else { "cpu" };
        format!("LibTorch {version} ({flavor}) in {}", self.root.display())
    }
}

/// What is checked of a folder that has a setup-given name, and of any other.
pub fn check_chosen(root: &Path) -> Result<LibTorch> {
    match assembled_flavor(root) {
        Some(flavor) => LibTorch::check_assembled(root, Recipe::find(flavor)?),
        None => LibTorch::check(root),
    }
}

/// The flavor, when the folder's name is one that setup gives.
pub fn assembled_flavor(root: &Path) -> Option<Flavor> {
    Flavor::of_folder(root.file_name()?.to_str()?)
}

/// The torch folder of the Python that `torch-sys` would ask with `LIBTORCH_USE_PYTORCH`.
pub fn of_python() -> Result<LibTorch> {
    let python = if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let question = "import os, torch; print(os.path.dirname(torch.__file__)); print(torch.__version__); print(torch._C._GLIBCXX_USE_CXX11_ABI)";
    let output = Command::new(python)
        .args(["-c", question])
        .output()
        .map_err(|error| bad(format!("LIBTORCH_USE_PYTORCH is set, but {python} cannot be run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let (Some(root), Some(version)) = (lines.next(), lines.next()) else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = stderr.lines().last().unwrap_or("it printed nothing");
        return Err(bad(format!(
            "LIBTORCH_USE_PYTORCH is set, but {python} has no usable torch ({reason}); install torch {TORCH_VERSION} there, or unset the variable"
        )));
    };
    if lines.next() == Some("False") {
        return Err(bad(format!(
            "the torch of {python} is built with the old C++ ABI; unset LIBTORCH_USE_PYTORCH"
        )));
    }
    let mut found = LibTorch::check(Path::new(root)).map_err(|error| {
        bad(format!(
            "LIBTORCH_USE_PYTORCH is set, but the torch of {python} in {root} cannot be used: {error:#}"
        ))
    })?;
    found.version = Some(version.to_owned());
    Ok(found)
}

/// The version from `build-version`, else from the header, else unknown.
fn version_of(root: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    ["include/torch/headeronly/version.h", "include/torch/version.h"]
        .iter()
        .find_map(|header| version_in_header(&fs::read_to_string(root.join(header)).ok()?))
}

fn version_in_header(header: &str) -> Option<String> {
    let part = |name: &str| {
        let line = header.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("#define") && words.next() == Some(name)
        })?;
        line.split_whitespace().nth(2)?.parse::<u32>().ok()
    };
    Some(format!(
        "{}.{}.{}",
        part("TORCH_VERSION_MAJOR")?,
        part("TORCH_VERSION_MINOR")?,
        part("TORCH_VERSION_PATCH")?
    ))
}

fn check_size(path: &Path, bytes: u64) -> Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() == bytes => Ok(()),
        Ok(meta) => bail!("{} has {} bytes where {bytes} belong", path.display(), meta.len()),
        Err(_) => bail!("{} is missing", path.display()),
    }
}

/// Lines of `bytes`, a tab, `path`.
fn parse_contents(text: &str) -> Result<Vec<(u64, &str)>> {
    text.lines()
        .map(|line| {
            let (bytes, path) = line.split_once('\t').with_context(|| format!("{CONTENTS} is damaged"))?;
            Ok((bytes.parse().with_context(|| format!("{CONTENTS} is damaged"))?, path))
        })
        .collect()
}

/// The list of all files below `root`, in a fixed order, in the format of `parse_contents`.
pub fn contents_of(root: &Path) -> Result<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let relative = path.strip_prefix(root)?;
                lines.push(format!("{}\t{}\n", meta.len(), relative.display()));
            }
        }
    }
    lines.sort_by(|a, b| a.split('\t').nth(1).cmp(&b.split('\t').nth(1)));
    Ok(lines.concat())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::wheels::{Known, Take, Wheel};

    /// A folder that passes `LibTorch::check`, with a few bytes in each file.
    pub fn small_libtorch(root: &Path) {
        for (path, text) in [
            ("include/torch/csrc/api/include/torch/torch.h", "// torch\n"),
            ("include/ATen/ATen.h", "// aten\n"),
            ("lib/libc10.so", "c10"),
            ("lib/libtorch_cpu.so", "cpu"),
            ("lib/libtorch.so", "INPUT(libtorch_cpu.so)\n"),
            ("lib/libc10.dylib", "c10"),
            ("lib/libtorch_cpu.dylib", "cpu"),
            ("lib/libtorch.dylib", "torch"),
            ("build-version", "2.13.0\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    const RECIPE: Recipe = Recipe {
        flavor: Flavor::Cpu,
        platform: "test",
        tags: &["any"],
        wheels: &[Wheel {
            package: "torch",
            version: TORCH_VERSION,
            known: Some(Known { file: "x", bytes: 1, sha256: "" }),
            take: Take::TorchAll,
        }],
        unpacked_bytes: 0,
        libraries: &[("libc10.so", 3)],
        linker_script: true,
    };

    #[test]
    fn a_complete_folder() {
        let dir = tempfile::tempdir().unwrap();
        small_libtorch(dir.path());
        let found = LibTorch::check_assembled(dir.path(), &RECIPE).unwrap();
        assert!(!found.cuda);
        assert_eq!(found.version.as_deref(), Some("2.13.0"));
        assert!(found.describe().starts_with("LibTorch 2.13.0 (cpu) in /"));
    }

    #[test]
    fn half_written_folders() {
        let problem = |damage: fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            small_libtorch(dir.path());
            let list = contents_of(dir.path()).unwrap();
            fs::write(dir.path().join(CONTENTS), list).unwrap();
            LibTorch::check_assembled(dir.path(), &RECIPE).unwrap();
            damage(dir.path());
            LibTorch::check_assembled(dir.path(), &RECIPE).unwrap_err().to_string()
        };
        let gone = problem(|root| fs::remove_file(root.join("include/ATen/ATen.h")).unwrap());
        assert!(gone.contains("ATen.h is missing"), "{gone}");
        let empty = problem(|root| fs::write(root.join("lib/libtorch_cpu.so"), "").unwrap());
        assert!(
            cfg!(target_os = "macos") || empty.contains("libtorch_cpu.so is missing or empty"),
            "{empty}"
        );
        let short = problem(|root| fs::write(root.join("lib/libc10.so"), "c1").unwrap());
        assert!(short.contains("has 2 bytes where 3 belong"), "{short}");
        let listed = problem(|root| {
            fs::write(root.join("include/torch/csrc/api/include/torch/torch.h"), "x").unwrap()
        });
        assert!(listed.contains("torch.h has 1 bytes where 9 belong"), "{listed}");
        let old = problem(|root| fs::write(root.join("build-version"), "2.12.0\n").unwrap());
        assert!(old.contains("2.12.0"), "{old}");
        let garbled = problem(|root| fs::write(root.join(CONTENTS), "nonsense").unwrap());
        assert!(garbled.contains("damaged"), "{garbled}");
    }

    #[test]
    fn a_cuda_folder_without_its_list_was_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        small_libtorch(dir.path());
        let recipe = Recipe { flavor: Flavor::Cuda, ..RECIPE };
        let error = LibTorch::check_assembled(dir.path(), &recipe).unwrap_err().to_string();
        assert!(error.contains("not finished"), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there() {
        let error = LibTorch::check(Path::new("/no/such/libtorch")).unwrap_err().to_string();
        assert_eq!(error, "/no/such/libtorch is not a folder");
    }

    #[test]
    fn version_from_the_header() {
        let header = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 13\n#define TORCH_VERSION_PATCH 0\n";
        assert_eq!(version_in_header(header).as_deref(), Some("2.13.0"));
        assert_eq!(version_in_header("#define TORCH_VERSION_MAJOR 2\n"), None);
    }
}
