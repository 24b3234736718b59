//! What stands in for `libtorch.so` in a LibTorch that we assemble: a linker script in place of the library.
//!
//! The real `libtorch.so` holds no code; it only pulls in the others. For the CPU the script names
//! `libtorch_cpu.so`. For CUDA it does more: rustc links with `--as-needed`, nothing in `tch` names a symbol of
//! `libtorch_cuda.so`, and so the linker would leave that library out and CUDA would silently not be there. The
//! script therefore adds an object file with one reference to a symbol of `libtorch_cuda.so`. Only what links
//! LibTorch gets it; a linker option in the cargo config would reach build scripts and macros as well.

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::output_of;
use crate::fail::bad;
use crate::wheels::Flavor;

/// The object file with the reference.
const OBJECT: &str = "link_cuda.o";

/// A C file with a pointer to a function that only `libtorch_cuda.so` has (`at::cuda::warp_size()`).
const SOURCE: &str = "extern char _ZN2at4cuda9warp_sizeEv;
__attribute__((used, retain, section(\".data.rel.ro.ebm\")))
static void *const keep_libtorch_cuda = &_ZN2at4cuda9warp_sizeEv;
";

/// Writes `libtorch.so`, and what it needs, into the folder of the libraries.
pub fn write(lib: &Path, flavor: Flavor) -> Result<()> {
    let script = lib.join("libtorch.so");
    let text = match flavor {
        Flavor::Cpu => "INPUT(libtorch_cpu.so)\n".to_owned(),
        Flavor::Cuda => {
            compile(lib)?;
            format!("INPUT({OBJECT} libtorch_cuda.so libtorch_cpu.so)\n")
        }
    };
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))
}

/// An error when the compiler is missing that the script needs; asked before a long download.
pub fn require_compiler(flavor: Flavor) -> Result<()> {
    let compiler = compiler();
    if flavor == Flavor::Cuda && output_of(&compiler, &["--version"]).is_none() {
        return Err(bad(format!(
            "the C++ compiler {compiler} cannot be run; on Debian: apt-get install g++"
        )));
    }
    Ok(())
}

fn compiler() -> String {
    env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

fn compile(lib: &Path) -> Result<()> {
    let compiler = compiler();
    let source = lib.join("link_cuda.c");
    fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
    let output = Command::new(&compiler)
        .args(["-x", "c", "-fPIC", "-c", "-o"])
        .arg(lib.join(OBJECT))
        .arg(&source)
        .output()
        .with_context(|| format!("cannot run the C++ compiler {compiler}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(bad(format!(
            "the C++ compiler {compiler} cannot compile {}: {}",
            source.display(),
            words.trim()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_name_what_they_pull_in() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), Flavor::Cpu).unwrap();
        let script = dir.path().join("libtorch.so");
        assert_eq!(fs::read_to_string(&script).unwrap(), "INPUT(libtorch_cpu.so)\n");
        if !cfg!(target_os = "linux") {
            return;
        }
        write(dir.path(), Flavor::Cuda).unwrap();
        assert!(fs::read_to_string(&script).unwrap().contains("libtorch_cuda.so"));
        let object = fs::read(dir.path().join(OBJECT)).unwrap();
        let name = b"_ZN2at4cuda9warp_sizeEv";
        assert!(object.windows(name.len()).any(|window| window == name));
    }
}
