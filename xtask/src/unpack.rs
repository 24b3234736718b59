//! Taking files out of a wheel (which is a zip file).

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::wheels::Take;

/// Unpacks what `take` names below `target`; an error when something named is not in the wheel.
pub fn unpack(wheel: &Path, take: Take, target: &Path) -> Result<()> {
    let file = File::open(wheel).with_context(|| format!("cannot open {}", wheel.display()))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file))
        .with_context(|| format!("{} is not a wheel", wheel.display()))?;
    let mut taken = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let Some(path) = destination(entry.name(), take) else { continue };
        let path = target.join(path);
        let folder = path.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        std::io::copy(&mut entry, &mut writer)
            .and_then(|_| writer.flush())
            .with_context(|| format!("cannot write {}", path.display()))?;
        taken.push(path);
    }
    let named: &[&str] = match take {
        Take::TorchFiles(names) | Take::Libraries(names) => names,
        Take::TorchHost | Take::TorchAll | Take::AllLibraries => &[],
    };
    for name in named {
        if !taken.iter().any(|path| path.file_name().is_some_and(|file| file == *name)) {
            bail!("{} holds no {name}", wheel.display());
        }
    }
    if taken.is_empty() {
        bail!("{} holds nothing that LibTorch needs", wheel.display());
    }
    Ok(())
}

/// Where an entry of the wheel goes, below the LibTorch folder; `None` when it is left out.
fn destination(entry: &str, take: Take) -> Option<PathBuf> {
    // Nothing outside the target, whatever the archive says.
    if entry.starts_with('/') || entry.split('/').any(|part| part == "..") {
        return None;
    }
    let (_, file) = entry.rsplit_once('/')?;
    let flat = || Some(Path::new("lib").join(file));
    match take {
        Take::TorchFiles(_) | Take::TorchHost | Take::TorchAll if entry.starts_with("torch/include/") => {
            Some(PathBuf::from(entry.strip_prefix("torch/")?))
        }
        Take::TorchFiles(names) => {
            let library = entry.strip_prefix("torch/lib/")?;
            names.contains(&library).then(|| Path::new("lib").join(library))
        }
        // Libraries that the wheel's builder copied in sit in a folder of their own; the loader looks beside.
        Take::TorchHost if entry.starts_with("torch.libs/") => flat(),
        Take::TorchHost => {
            let library = entry.strip_prefix("torch/lib/")?;
            let left_out =
                library.contains("python") || library.contains("cuda") || library.contains("nvshmem");
            (!left_out && is_library(file)).then(|| Path::new("lib").join(library))
        }
        Take::TorchAll => {
            let library = entry.strip_prefix("torch/lib/")?;
            (!library.contains("python")).then(|| Path::new("lib").join(library))
        }
        Take::Libraries(names) => names.contains(&file).then(flat)?,
        Take::AllLibraries => is_library(file).then(flat)?,
    }
}

fn is_library(file: &str) -> bool {
    file.ends_with(".so") || file.contains(".so.") || file.ends_with(".dylib")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::write::SimpleFileOptions;

    fn to(entry: &str, take: Take) -> Option<String> {
        destination(entry, take).map(|path| path.display().to_string())
    }

    #[test]
    fn destinations() {
        let cpu = Take::TorchFiles(&["libc10.so"]);
        assert_eq!(to("torch/include/ATen/ATen.h", cpu).as_deref(), Some("include/ATen/ATen.h"));
        assert_eq!(to("torch/lib/libc10.so", cpu).as_deref(), Some("lib/libc10.so"));
        assert_eq!(to("torch/lib/libtorch_cuda.so", cpu), None);
        assert_eq!(to("torch/nn/functional.py", cpu), None);
        assert_eq!(to("torch/lib/libtorch_cuda.so", Take::TorchAll).as_deref(), Some("lib/libtorch_cuda.so"));
        assert_eq!(to("torch/lib/libtorch_python.so", Take::TorchAll), None);
        assert_eq!(to("torch/lib/libtorch_cuda.so", Take::TorchHost), None);
        assert_eq!(to("torch/lib/libtorch_python.dylib", Take::TorchHost), None);
        assert_eq!(to("torch/lib/libc10.dylib", Take::TorchHost).as_deref(), Some("lib/libc10.dylib"));
        assert_eq!(
            to("torch.libs/libgfortran-1.so.5", Take::TorchHost).as_deref(),
            Some("lib/libgfortran-1.so.5")
        );
        let nvidia = "nvidia/cu13/lib/libcupti.so.13";
        assert_eq!(to(nvidia, Take::Libraries(&["libcupti.so.13"])).as_deref(), Some("lib/libcupti.so.13"));
        assert_eq!(to(nvidia, Take::AllLibraries).as_deref(), Some("lib/libcupti.so.13"));
        assert_eq!(to("nvidia/cu13/lib/libcudadevrt.a", Take::AllLibraries), None);
        assert_eq!(to("nvidia/cu13/include/cupti.h", Take::AllLibraries), None);
    }

    #[test]
    fn nothing_leaves_the_target() {
        assert_eq!(to("torch/include/../../../etc/passwd", Take::TorchAll), None);
        assert_eq!(to("/torch/include/x", Take::TorchAll), None);
    }

    fn small_wheel(path: &Path, names: &[&str]) {
        let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
        for name in names {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(name.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn unpacks_a_wheel() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = dir.path().join("w.whl");
        small_wheel(&wheel, &["torch/lib/libc10.so", "torch/include/a.h", "torch/version.py"]);
        let target = dir.path().join("target");
        unpack(&wheel, Take::TorchFiles(&["libc10.so"]), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("lib/libc10.so")).unwrap(), "torch/lib/libc10.so");
        assert!(target.join("include/a.h").exists());
        assert!(!target.join("version.py").exists());
    }

    #[test]
    fn says_what_is_not_in_the_wheel() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = dir.path().join("w.whl");
        small_wheel(&wheel, &["torch/include/a.h"]);
        let error = unpack(&wheel, Take::TorchFiles(&["libc10.so"]), dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("holds no libc10.so"), "{error}");
        fs::write(&wheel, "not a zip").unwrap();
        let error = unpack(&wheel, Take::TorchAll, dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("is not a wheel"), "{error}");
    }
}
