//! Assembling LibTorch in the cache folder: lock, download wheel by wheel, unpack beside, rename.
//!
//! Whatever stops it, the next try goes on: finished wheels are kept, the folder appears in one step at the end.

use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::digest::sha256;
use crate::disk::{self, megabytes};
use crate::fail::bad;
use crate::libtorch::{CONTENTS, LibTorch, contents_of};
use crate::linker_script;
use crate::pip::{Pip, Request};
use crate::unpack::unpack;
use crate::wheels::{Flavor, Known, Recipe, TORCH_VERSION, Wheel};

/// The LibTorch of this flavor in the cache folder, assembled first where it is missing or broken.
pub fn install(cache: &Path, flavor: Flavor) -> Result<LibTorch> {
    let recipe = Recipe::find(flavor)?;
    let target = cache.join(flavor.folder());
    if let Ok(found) = LibTorch::check_assembled(&target, recipe) {
        return Ok(found);
    }
    let _lock = lock(cache, "setup.lock")?;
    // Another setup may have finished while we waited.
    match LibTorch::check_assembled(&target, recipe) {
        Ok(found) => return Ok(found),
        Err(problem) if target.exists() => {
            eprintln!(
                "The LibTorch in {} is not complete: {problem}. Assembling it again.",
                target.display()
            );
        }
        Err(_) => {}
    }
    eprintln!(
        "Assembling LibTorch {TORCH_VERSION} ({flavor}) for {} in {}",
        recipe.platform,
        target.display()
    );
    assemble(cache, recipe, &target)?;
    LibTorch::check_assembled(&target, recipe)
        .with_context(|| format!("{} was assembled but does not hold what it should", target.display()))
}

/// One setup at a time for a cache folder and a lock's name; the system drops the lock with the process.
pub fn lock(cache: &Path, name: &str) -> Result<File> {
    let path = cache.join(name);
    let file = fs::create_dir_all(cache)
        .and_then(|()| File::create(&path))
        .map_err(|error| unwritable(cache, &error))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!("Another setup is at work in {}; waiting for it to finish.", cache.display());
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache folder"),
    }
    file.lock().context("cannot lock the cache folder")?;
    Ok(file)
}

fn unwritable(cache: &Path, error: &std::io::Error) -> anyhow::Error {
    bad(format!(
        "the cache folder {} cannot be written ({error}); set EBM_CACHE to a folder that can, or LIBTORCH to a LibTorch {TORCH_VERSION} of your own",
        cache.display()
    ))
}

/// The wheels' own folder in the cache. The caller holds the lock.
fn assemble(cache: &Path, recipe: &Recipe, target: &Path) -> Result<()> {
    linker_script::require_compiler(recipe.flavor)?;
    remove_leftovers(cache)?;
    let wheels = cache.join("wheels");
    fs::create_dir_all(&wheels).map_err(|error| unwritable(cache, &error))?;
    let missing = missing_wheels(recipe, &wheels);
    let purpose = format!("assembling LibTorch ({})", recipe.flavor);
    disk::require(cache, space_needed(recipe, &missing), &purpose)?;

    if !missing.is_empty() {
        let pip = Pip::require(&format!("set LIBTORCH to a LibTorch {TORCH_VERSION} of your own"))?;
        if recipe.download_bytes() > 0 {
            let kept = recipe.wheels.len() - missing.len();
            let total = missing.iter().filter_map(|wheel| wheel.known).map(|known| known.bytes).sum();
            let already = if kept > 0 { format!(" ({kept} already there)") } else { String::new() };
            eprintln!("Downloading {} wheels, {}{already}", missing.len(), megabytes(total));
        }
        for wheel in &missing {
            download(&pip, recipe, wheel, &wheels)?;
        }
    }

    let partial = cache.join(format!("{}.partial-{}", recipe.flavor.folder(), std::process::id()));
    eprintln!("Unpacking into {}", target.display());
    let mut used = Vec::new();
    for wheel in recipe.wheels {
        let file =
            finished(wheel, &wheels).with_context(|| format!("the wheel of {} is gone", wheel.package))?;
        unpack(&file, wheel.take, &partial).map_err(disk_full)?;
        used.push(file);
    }
    finish(recipe, &partial).map_err(disk_full)?;
    replace(&partial, target)?;
    for file in used {
        let _ = fs::remove_file(file);
    }
    // Only an empty folder goes: a download for the other flavor may wait in it.
    let _ = fs::remove_dir(wheels);
    Ok(())
}

/// The files that no wheel holds, written last: without them the folder is not complete.
fn finish(recipe: &Recipe, folder: &Path) -> Result<()> {
    if recipe.linker_script {
        linker_script::write(&folder.join("lib"), recipe.flavor)?;
    }
    fs::write(folder.join("build-version"), format!("{TORCH_VERSION}\n"))
        .context("cannot write build-version")?;
    let contents = contents_of(folder)?;
    fs::write(folder.join(CONTENTS), contents).with_context(|| format!("cannot write {CONTENTS}"))
}

/// Puts the new folder in place of the old one, if there is one.
fn replace(new: &Path, target: &Path) -> Result<()> {
    if target.exists() {
        let old = target.with_extension(format!("partial-old-{}", std::process::id()));
        fs::rename(target, &old).with_context(|| format!("cannot move {} away", target.display()))?;
        let _ = fs::remove_dir_all(&old);
    }
    fs::rename(new, target).with_context(|| format!("cannot rename {}", new.display()))
}

/// Half-unpacked folders of a setup that was killed. We hold the lock, so none is in use.
fn remove_leftovers(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache).with_context(|| format!("cannot read {}", cache.display()))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("libtorch-") && name.contains(".partial-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let _ = fs::remove_dir_all(cache.join("wheels").join("partial"));
    Ok(())
}

fn missing_wheels<'a>(recipe: &'a Recipe, wheels: &Path) -> Vec<&'a Wheel> {
    recipe.wheels.iter().filter(|wheel| finished(wheel, wheels).is_none()).collect()
}

/// The finished file of a wheel, if it is there. A file gets its name only after its hash was checked.
fn finished(wheel: &Wheel, wheels: &Path) -> Option<PathBuf> {
    match wheel.known {
        Some(known) => {
            let path = wheels.join(known.file);
            let meta = fs::metadata(&path).ok()?;
            (meta.len() == known.bytes).then_some(path)
        }
        None => {
            let start = format!("{}-{}-", wheel.package.replace('-', "_"), wheel.version);
            fs::read_dir(wheels).ok()?.flatten().map(|entry| entry.path()).find(|path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&start))
            })
        }
    }
}

/// While pip works there are two copies of the wheel at hand; afterwards the unpacked folder beside the wheels.
fn space_needed(recipe: &Recipe, missing: &[&Wheel]) -> u64 {
    // A wheel of unknown size is taken for as large as the folder it fills.
    let size = |wheel: &&Wheel| wheel.known.map_or(recipe.unpacked_bytes, |known| known.bytes);
    let download: u64 = missing.iter().map(size).sum();
    let largest = missing.iter().map(size).max().unwrap_or(0);
    let exact = download + largest.max(recipe.unpacked_bytes);
    exact + exact / 20
}

fn download(pip: &Pip, recipe: &Recipe, wheel: &Wheel, wheels: &Path) -> Result<()> {
    let partial = wheels.join("partial");
    let request = Request {
        package: wheel.package,
        version: wheel.version,
        tags: recipe.tags,
        bytes: wheel.known.map(|known| known.bytes),
    };
    let file = pip.download(&request, &partial)?;
    let name = file.file_name().and_then(|name| name.to_str()).context("pip left a file without a name")?;
    let hash = sha256(&file)?;
    match wheel.known {
        Some(known) => {
            if let Err(error) = check_hash(&known, name, &hash) {
                let _ = fs::remove_dir_all(&partial);
                return Err(error);
            }
        }
        None => eprintln!("  took {name}, sha256 {hash} (no hash is known for this platform: not checked)"),
    }
    let done = wheels.join(wheel.known.map_or(name, |known| known.file));
    fs::rename(&file, &done).with_context(|| format!("cannot move the wheel to {}", done.display()))?;
    let _ = fs::remove_dir_all(&partial);
    eprintln!("  {} {}: done", wheel.package, wheel.version);
    Ok(())
}

fn check_hash(known: &Known, name: &str, hash: &str) -> Result<()> {
    if hash != known.sha256 {
        bail!(
            "the downloaded {name} has sha256 {hash}, where {} ({}) was to be; it was deleted. Run it again; if that does not help, look at pip's settings (`pip config list`): is another index set?",
            known.sha256,
            known.file
        );
    }
    Ok(())
}

/// Adds what to do when the disk filled up in spite of the check.
fn disk_full(error: anyhow::Error) -> anyhow::Error {
    let full = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::StorageFull);
    if full {
        error.context("the disk filled up; free some space and run it again (finished wheels are kept)")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheels::Take;

    const WHEEL: Wheel = Wheel {
        package: "torch",
        version: TORCH_VERSION,
        known: Some(Known { file: "torch-2.13.0-x.whl", bytes: 4, sha256: "aa" }),
        take: Take::TorchAll,
    };

    #[test]
    fn a_wheel_of_another_size_counts_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("torch-2.13.0-x.whl");
        assert!(finished(&WHEEL, dir.path()).is_none());
        fs::write(&path, "123").unwrap();
        assert!(finished(&WHEEL, dir.path()).is_none());
        fs::write(&path, "1234").unwrap();
        assert_eq!(finished(&WHEEL, dir.path()), Some(path));
    }

    #[test]
    fn a_wheel_without_a_known_name_is_found_by_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = Wheel { known: None, ..WHEEL };
        assert!(finished(&wheel, dir.path()).is_none());
        fs::write(dir.path().join("torch-2.13.0-cp311-none-macosx_14_0_arm64.whl"), "x").unwrap();
        assert!(finished(&wheel, dir.path()).is_some());
    }

    #[test]
    fn the_cpu_one_needs_about_1100_megabytes() {
        let recipe = Recipe::find(Flavor::Cpu);
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return;
        }
        let recipe = recipe.unwrap();
        let all: Vec<&Wheel> = recipe.wheels.iter().collect();
        let needed = space_needed(recipe, &all);
        assert!((1_050_000_000..1_150_000_000).contains(&needed), "{needed}");
        assert!(space_needed(recipe, &[]) < 600_000_000);
    }

    #[test]
    fn a_wrong_hash_is_named() {
        let known = WHEEL.known.unwrap();
        assert!(check_hash(&known, "torch-2.13.0-x.whl", "aa").is_ok());
        let error = check_hash(&known, "torch-2.13.0-x.whl", "bb").unwrap_err().to_string();
        assert!(error.contains("sha256 bb") && error.contains("deleted"), "{error}");
    }

    #[test]
    fn a_full_disk_is_explained() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = disk_full(anyhow::Error::from(full).context("cannot write x"));
        assert!(error.to_string().contains("disk filled up"), "{error}");
        let other = disk_full(anyhow::anyhow!("something else"));
        assert_eq!(other.to_string(), "something else");
    }

    #[test]
    fn an_unwritable_cache_is_bad_input() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = lock(&file.join("cache"), "setup.lock").unwrap_err();
        assert!(error.to_string().contains("EBM_CACHE"), "{error}");
        assert_eq!(crate::fail::code(&error), 2);
    }

    #[test]
    fn leftovers_go_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["libtorch-2.13.0-cpu.partial-17/lib", "libtorch-2.13.0-cuda", "wheels/partial/out", "data"]
        {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        remove_leftovers(dir.path()).unwrap();
        assert!(!dir.path().join("libtorch-2.13.0-cpu.partial-17").exists());
        assert!(!dir.path().join("wheels/partial").exists());
        assert!(dir.path().join("libtorch-2.13.0-cuda").exists());
        assert!(dir.path().join("wheels").exists() && dir.path().join("data").exists());
    }

    #[test]
    fn a_broken_folder_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (new, target) = (dir.path().join("new"), dir.path().join("libtorch-2.13.0-cpu"));
        fs::create_dir_all(&new).unwrap();
        fs::write(new.join("build-version"), "2.13.0").unwrap();
        fs::create_dir_all(target.join("lib")).unwrap();
        replace(&new, &target).unwrap();
        assert!(target.join("build-version").exists() && !target.join("lib").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
