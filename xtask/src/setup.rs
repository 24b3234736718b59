//! `cargo xtask setup`: finds or installs LibTorch and writes the choice into `.cargo/libtorch.toml`.
//!
//! A LibTorch of the user's own (`LIBTORCH`, `LIBTORCH_USE_PYTORCH`) wins; otherwise one is assembled in the
//! cache folder. The choice holds for every later command of this checkout until setup is called again.

use anyhow::Result;
use std::env;
use std::path::{Path, PathBuf};

use crate::fail::bad;
use crate::install::install;
use crate::libtorch::{self, LibTorch};
use crate::libtorch_toml;
use crate::paths::Project;
use crate::wheels::{Flavor, TORCH_VERSION};

/// Find or install LibTorch, and write the choice into .cargo/libtorch.toml
///
/// A LibTorch named by LIBTORCH, or that of Python's torch with LIBTORCH_USE_PYTORCH=1, is checked and used.
/// Otherwise LibTorch is assembled from wheels that pip downloads (about 540 MB for the CPU), checked by hash,
/// in $EBM_CACHE (default $XDG_CACHE_HOME/ebm, else ~/.cache/ebm), once for all checkouts.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask setup          # the CPU LibTorch\n  cargo xtask setup --cuda   # the one with CUDA; `cargo xtask setup --cpu` goes back"
)]
pub struct Args {
    /// The CPU LibTorch (the default)
    #[arg(long, conflicts_with = "cuda")]
    cpu: bool,
    /// The LibTorch with CUDA and NVIDIA's libraries
    #[arg(long)]
    cuda: bool,
}

impl Args {
    fn flavor(&self) -> Flavor {
        if self.cuda { Flavor::Cuda } else { Flavor::Cpu }
    }
}

/// Where the LibTorch in use was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable LIBTORCH.
    Variable,
    /// The variable LIBTORCH_USE_PYTORCH.
    Python,
    /// An earlier setup.
    Setup,
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    let libtorch = choose(project, args.flavor())?;
    eprintln!("Ready: {}", libtorch.describe());
    Ok(())
}

/// Finds or installs the LibTorch of this flavor and writes the choice down.
pub fn choose(project: &Project, flavor: Flavor) -> Result<LibTorch> {
    let libtorch = match users_own(project)? {
        Some((libtorch, origin)) => {
            if flavor == Flavor::Cuda && !libtorch.cuda {
                return Err(bad(format!(
                    "{} has no libtorch_cuda; {} to have one installed",
                    libtorch.describe(),
                    way_out(origin, project)
                )));
            }
            let way_out = way_out(origin, project);
            eprintln!(
                "Using {}, {}; {way_out} to have one installed.",
                libtorch.root.display(),
                named_by(origin)
            );
            libtorch
        }
        None => install(&project.cache, flavor)?,
    };
    if libtorch_toml::write(&project.libtorch_toml(), &libtorch)? {
        eprintln!("Wrote {}", project.libtorch_toml().display());
    }
    Ok(libtorch)
}

/// The LibTorch of this checkout; the CPU one is installed when none was chosen yet.
pub fn ensure(project: &Project) -> Result<LibTorch> {
    if users_own(project)?.is_some() {
        return choose(project, Flavor::Cpu);
    }
    let Some(root) = libtorch_toml::read(&project.libtorch_toml())? else {
        return choose(project, Flavor::Cpu);
    };
    match libtorch::check_chosen(&root) {
        Ok(libtorch) => Ok(libtorch),
        Err(problem) => match libtorch::assembled_flavor(&root) {
            Some(flavor) => {
                eprintln!("{}: {problem}", root.display());
                choose(project, flavor)
            }
            None => Err(bad(format!(
                "{} names {}, which cannot be used: {problem:#}; delete that file and run `cargo xtask setup`",
                project.libtorch_toml().display(),
                root.display()
            ))),
        },
    }
}

/// The LibTorch in use and who named it, without changing anything; for `doctor`.
pub fn current(project: &Project) -> Result<Option<(LibTorch, Origin)>> {
    if let Some(own) = users_own(project)? {
        return Ok(Some(own));
    }
    match libtorch_toml::read(&project.libtorch_toml())? {
        Some(root) => Ok(Some((libtorch::check_chosen(&root)?, Origin::Setup))),
        None => Ok(None),
    }
}

/// What the user's environment names.
fn users_own(project: &Project) -> Result<Option<(LibTorch, Origin)>> {
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        return Ok(Some((libtorch::of_python()?, Origin::Python)));
    }
    let written = libtorch_toml::read(&project.libtorch_toml()).unwrap_or(None);
    let Some(root) = users_variable(env::var_os("LIBTORCH").map(PathBuf::from), written.as_deref()) else {
        return Ok(None);
    };
    // A relative path means another folder for each program that cargo starts.
    match std::path::absolute(&root).map_err(Into::into).and_then(|root| LibTorch::check(&root)) {
        Ok(libtorch) => Ok(Some((libtorch, Origin::Variable))),
        Err(problem) => Err(bad(format!(
            "LIBTORCH is set, but cannot be used: {problem:#}; set it to a folder with include/ and lib/ of LibTorch {TORCH_VERSION}, or unset it to have one installed"
        ))),
    }
}

/// The value of LIBTORCH when it is the user's own.
///
/// `cargo xtask` is a `cargo run`, and cargo sets the variable from libtorch.toml for what it runs. A value that
/// equals the file's and names a folder that setup installed therefore counts as not set.
fn users_variable(value: Option<PathBuf>, written: Option<&Path>) -> Option<PathBuf> {
    let value = value.filter(|path| !path.as_os_str().is_empty())?;
    let from_file = written == Some(value.as_path()) && libtorch::assembled_flavor(&value).is_some();
    (!from_file).then_some(value)
}

/// "named by LIBTORCH".
pub fn named_by(origin: Origin) -> &'static str {
    match origin {
        Origin::Variable => "named by LIBTORCH",
        Origin::Python => "that of Python (LIBTORCH_USE_PYTORCH is set)",
        Origin::Setup => "chosen by `cargo xtask setup`",
    }
}

/// How to get rid of a LibTorch of one's own.
fn way_out(origin: Origin, project: &Project) -> String {
    match origin {
        Origin::Python => "unset LIBTORCH_USE_PYTORCH".to_owned(),
        // cargo repeats the file's value as LIBTORCH, so the file must go too.
        Origin::Variable | Origin::Setup => {
            format!("unset LIBTORCH and delete {}", project.libtorch_toml().display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_repeats_is_not_the_users_own() {
        let ours = Path::new("/cache/libtorch-2.13.0-cpu");
        let own = Path::new("/opt/libtorch");
        let set = |path: &Path| Some(path.to_path_buf());
        assert_eq!(users_variable(None, None), None);
        assert_eq!(users_variable(Some(PathBuf::new()), None), None);
        assert_eq!(users_variable(set(ours), Some(ours)), None);
        assert_eq!(users_variable(set(ours), None), set(ours));
        assert_eq!(users_variable(set(own), Some(own)), set(own));
        assert_eq!(users_variable(set(own), Some(ours)), set(own));
    }

    fn project(root: &Path) -> Project {
        std::fs::create_dir_all(root.join(".cargo")).unwrap();
        Project { root: root.to_path_buf(), cache: root.join("cache"), data: root.join("data") }
    }

    #[test]
    fn a_chosen_folder_that_broke_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        let root = dir.path().join("own");
        crate::libtorch::tests::small_libtorch(&root);
        let libtorch = LibTorch::check(&root).unwrap();
        libtorch_toml::write(&project.libtorch_toml(), &libtorch).unwrap();
        std::fs::remove_file(root.join("include/ATen/ATen.h")).unwrap();
        let chosen = libtorch_toml::read(&project.libtorch_toml()).unwrap().unwrap();
        assert!(libtorch::check_chosen(&chosen).unwrap_err().to_string().contains("ATen.h"));
    }

    #[test]
    fn the_way_out_names_the_file_that_repeats_the_variable() {
        let project = project(tempfile::tempdir().unwrap().path());
        assert!(way_out(Origin::Variable, &project).ends_with("libtorch.toml"));
        assert_eq!(way_out(Origin::Python, &project), "unset LIBTORCH_USE_PYTORCH");
    }
}
