//! Python environments, made on demand in the cache folder: the rivals' for `bench --rivals`, ArviZ's for `test`.
//!
//! Each is a virtual environment `rivals/<name>-<version>/`, with every package pinned by version and hash in
//! `rivals/<name>.txt` beside this file. The system's Python is only asked to make it. What one killed try leaves
//! is thrown away by the next.

use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::output_of;
use crate::disk;
use crate::fail::bad;
use crate::install::lock;
use crate::pip;

/// One environment.
#[derive(Debug)]
pub struct Environment {
    /// As the suites ask for it, and in the folder's name.
    pub name: &'static str,
    pub version: &'static str,
    /// pip's requirements: all packages, with their hashes.
    requirements: &'static str,
    /// Bytes on disk when it is finished.
    bytes: u64,
    /// What Python must be able to run in it.
    proof: &'static str,
    /// Libraries that are named by others, but of which no function is called.
    absent_libraries: &'static [&'static str],
}

/// Every environment that a suite or a test may name.
const ENVIRONMENTS: &[Environment] = &[
    Environment {
        name: "torchebm",
        version: "0.8.9",
        requirements: include_str!("rivals/torchebm.txt"),
        bytes: 1_500_000_000,
        // Unresolved functions of CUDA's libraries are no error until they are called.
        proof: "import os, sys; sys.setdlopenflags(os.RTLD_LAZY); import torchebm",
        absent_libraries: &[
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcudnn.so.9",
            "libcufft.so.12",
            "libcufile.so.0",
            "libcurand.so.10",
            "libcusolver.so.12",
            "libcusparse.so.12",
            "libcusparseLt.so.0",
            "libnccl.so.2",
            "libnvrtc.so.13",
            "libnvshmem_host.so.3",
        ],
    },
    Environment {
        name: "jax",
        version: "0.10.2",
        requirements: include_str!("rivals/jax.txt"),
        bytes: 700_000_000,
        proof: "import blackjax, thrml",
        absent_libraries: &[],
    },
    Environment {
        name: "nutpie",
        version: "0.16.8",
        requirements: include_str!("rivals/nutpie.txt"),
        bytes: 1_000_000_000,
        proof: "import nutpie, numba",
        absent_libraries: &[],
    },
    Environment {
        name: "arviz",
        version: "0.23.4",
        requirements: include_str!("rivals/arviz.txt"),
        bytes: 500_000_000,
        proof: "import arviz",
        absent_libraries: &[],
    },
];

/// The Python and the machine that the hashes are for, as [`WHICH`] prints them.
const PINNED_FOR: &str = "CPython 3.11 Linux x86_64";
const WHICH: &str = "import platform as p; print(p.python_implementation(), '.'.join(p.python_version_tuple()[:2]), p.system(), p.machine())";
const PYTHONS: [&str; 3] = ["python3.11", "python3", "python"];

/// Written last: holds the requirements that the folder was made from.
const FINISHED: &str = "installed.txt";

/// Packages are unpacked beside a temporary copy of themselves.
const SPACE_OVER_SIZE: u64 = 2;

impl Environment {
    /// The environment of this name.
    pub fn find(name: &str) -> Result<&'static Environment> {
        let found = ENVIRONMENTS.iter().find(|environment| environment.name == name);
        found.with_context(|| format!("no environment is called `{name}`"))
    }

    /// The variable that tells a bench program where this environment's Python is.
    pub fn variable(&self) -> String {
        format!("EBM_BENCH_PYTHON_{}", self.name.to_uppercase())
    }

    /// This environment's Python, after installing what is missing.
    pub fn ensure(&self, cache: &Path) -> Result<PathBuf> {
        let folder = cache.join("rivals").join(format!("{}-{}", self.name, self.version));
        let python = folder.join("bin/python");
        if self.is_finished(&folder) {
            return Ok(python);
        }
        let _lock = lock(cache, "rivals.lock")?;
        if self.is_finished(&folder) {
            return Ok(python);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let system = python_for_venv()?;
        disk::require(cache, self.bytes * SPACE_OVER_SIZE, &format!("installing {}", self.name))?;
        eprintln!(
            "Installing {} {} ({} on disk) in {}",
            self.name,
            self.version,
            disk::megabytes(self.bytes),
            folder.display()
        );
        self.install(&system, &folder)?;
        Ok(python)
    }

    fn is_finished(&self, folder: &Path) -> bool {
        fs::read_to_string(folder.join(FINISHED)).is_ok_and(|text| text == self.requirements)
    }

    fn install(&self, system: &str, folder: &Path) -> Result<()> {
        let made = Command::new(system).args(["-m", "venv"]).arg(folder).output()?;
        if !made.status.success() {
            let text =
                String::from_utf8_lossy(&made.stdout).into_owned() + &String::from_utf8_lossy(&made.stderr);
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            return Err(bad(format!(
                "`{system} -m venv` failed (on Debian and Ubuntu: apt-get install python3-venv): {last}"
            )));
        }
        let python = folder.join("bin/python");
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, self.requirements)?;
        pip::install(&python, &requirements, folder, &format!("{} {}", self.name, self.version))?;
        self.stand_in(folder)?;
        let proof = Command::new(&python).args(["-E", "-s", "-c", self.proof]).output()?;
        if !proof.status.success() {
            let text = String::from_utf8_lossy(&proof.stderr);
            bail!("{} is installed, but `{}` fails: {}", self.name, self.proof, text.trim());
        }
        fs::write(folder.join(FINISHED), self.requirements).context("cannot finish the environment")
    }

    /// The GPU build of torch is linked against several gigabytes of CUDA's libraries, whose functions nobody calls
    /// on a CPU. In their place stands a library of torch's own that holds no functions.
    fn stand_in(&self, folder: &Path) -> Result<()> {
        let libraries = folder.join("lib/python3.11/site-packages/torch/lib");
        for name in self.absent_libraries {
            symlink("libtorch_global_deps.so", libraries.join(name))
                .with_context(|| format!("cannot put a stand-in for {name} into {}", libraries.display()))?;
        }
        Ok(())
    }
}

/// A Python of the version that the hashes are for.
fn python_for_venv() -> Result<String> {
    let mut seen = Vec::new();
    for name in PYTHONS {
        match output_of(name, &["-E", "-c", WHICH]) {
            Some(which) if which == PINNED_FOR => return Ok(name.to_owned()),
            Some(which) => seen.push(format!("{name} is {which}")),
            None => {}
        }
    }
    let found = if seen.is_empty() { "no Python was found".to_owned() } else { seen.join(", ") };
    Err(bad(format!(
        "the Python packages are pinned for {PINNED_FOR}; {found}. Put a python3.11 on the PATH, or go without (bench: leave out --rivals)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_by_hash() {
        for environment in ENVIRONMENTS {
            let lines = environment.requirements.lines().filter(|line| !line.starts_with('#'));
            for line in lines {
                let (package, hash) = line.split_once(" --hash=sha256:").expect(line);
                assert!(package.contains("==") && hash.len() == 64, "{line}");
            }
        }
        let pinned = |name: &str, line: &str| {
            let environment = Environment::find(name).unwrap();
            assert!(environment.requirements.contains(line), "{name}: {line}");
        };
        pinned("torchebm", "\ntorchebm==0.8.9 ");
        pinned("torchebm", &format!("\ntorch=={} ", crate::wheels::TORCH_VERSION));
        pinned("jax", "\nblackjax==1.7.1 ");
        pinned("jax", "\nthrml==0.1.4 ");
        pinned("jax", "\njax==0.10.2 ");
        pinned("nutpie", "\nnutpie==0.16.8 ");
    }

    #[test]
    fn an_environment_of_other_requirements_is_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        let jax = Environment::find("jax").unwrap();
        assert!(!jax.is_finished(dir.path()));
        fs::write(dir.path().join(FINISHED), "jax==0.1\n").unwrap();
        assert!(!jax.is_finished(dir.path()));
        fs::write(dir.path().join(FINISHED), jax.requirements).unwrap();
        assert!(jax.is_finished(dir.path()));
        assert_eq!(jax.variable(), "EBM_BENCH_PYTHON_JAX");
        assert!(Environment::find("numpyro").is_err());
    }

    #[test]
    fn stand_ins() {
        let dir = tempfile::tempdir().unwrap();
        let libraries = dir.path().join("lib/python3.11/site-packages/torch/lib");
        fs::create_dir_all(&libraries).unwrap();
        fs::write(libraries.join("libtorch_global_deps.so"), "x").unwrap();
        Environment::find("torchebm").unwrap().stand_in(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(libraries.join("libcudnn.so.9")).unwrap(), "x");
    }
}
