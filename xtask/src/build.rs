//! `cargo xtask build`: the workspace, with LibTorch set up first.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

use crate::cargo::Cargo;
use crate::features;
use crate::metadata::Metadata;
use crate::paths::Project;
use crate::setup;
use crate::wheels::Flavor;

/// Build the workspace (libraries, programs, examples); sets LibTorch up first if needed
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask build --release\n  cargo xtask build --cuda    # also switches this checkout to the CUDA LibTorch"
)]
pub struct Args {
    /// Use the CUDA LibTorch (`setup --cuda`), and fail if the result does not link it
    #[arg(long)]
    cuda: bool,
    /// With optimisation
    #[arg(long)]
    release: bool,
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    let libtorch = if args.cuda { setup::choose(project, Flavor::Cuda)? } else { setup::ensure(project)? };
    // The features of `test`: what one of them built the other does not build again.
    let metadata = Metadata::of_workspace(project)?;
    let features = features::usual(&metadata);
    let mut arguments =
        vec!["build", "--workspace", "--features", &features, "--lib", "--bins", "--examples"];
    if args.release {
        arguments.push("--release");
    }
    Cargo::new(project, &libtorch).run(&arguments)?;
    if args.cuda {
        let profile = if args.release { "release" } else { "debug" };
        let program = metadata.target_directory.join(profile).join("ebm-repro");
        check_cuda(&program)?;
        eprintln!("{} links the CUDA LibTorch.", program.display());
    }
    Ok(())
}

/// An error unless the loader finds the CUDA LibTorch for this program, and every library it needs.
fn check_cuda(program: &Path) -> Result<()> {
    let output = Command::new("ldd")
        .arg(program)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .context("cannot run ldd (on Debian: apt-get install libc-bin)")?;
    if !output.status.success() {
        bail!("ldd {} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    judge(&program.display().to_string(), &String::from_utf8_lossy(&output.stdout))
}

fn judge(program: &str, ldd: &str) -> Result<()> {
    if !ldd.lines().any(|line| line.trim_start().starts_with("libtorch_cuda.so")) {
        bail!("{program} does not link libtorch_cuda.so");
    }
    // The driver's own library comes with the driver; nothing else may be missing.
    let missing: Vec<&str> = ldd
        .lines()
        .filter(|line| line.contains("not found"))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "libcuda.so.1")
        .collect();
    if !missing.is_empty() {
        bail!("{program} needs libraries that are not found: {}", missing.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ldd() {
        let good = "\tlibtorch_cuda.so => /c/lib/libtorch_cuda.so (0x1)\n\tlibcuda.so.1 => not found\n";
        assert!(judge("p", good).is_ok());
        let cpu = "\tlibtorch_cpu.so => /c/lib/libtorch_cpu.so (0x1)\n";
        assert!(judge("p", cpu).unwrap_err().to_string().contains("does not link"));
        let broken = "\tlibtorch_cuda.so => /c/lib/libtorch_cuda.so (0x1)\n\tlibcudnn.so.9 => not found\n";
        assert!(judge("p", broken).unwrap_err().to_string().contains("libcudnn.so.9"));
    }
}
