//! `cargo xtask test`: every test of the workspace, LibTorch included, from a bare clone.

use anyhow::Result;

use crate::cargo::{Cargo, on_path, run as run_cargo};
use crate::features;
use crate::metadata::Metadata;
use crate::paths::Project;
use crate::rivals::Environment;
use crate::setup;

/// Run every test of the workspace, then the doctests; sets LibTorch up first if needed
///
/// Uses cargo-nextest when it is on the PATH, else `cargo test`. Words after `--` go to that runner
/// (a test's name, `-p CRATE`); the doctests are then left out.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask test\n  cargo xtask test -- -p ebm-core philox")]
pub struct Args {
    /// Words for the test runner
    #[arg(last = true)]
    runner: Vec<String>,
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    let libtorch = setup::ensure(project)?;
    let cargo = Cargo::new(project, &libtorch);
    let metadata = Metadata::of_workspace(project)?;
    let packages = packages(&args.runner);
    let features = features::of_packages(&metadata, |name| packages.is_empty() || packages.contains(&name));
    let mut command = cargo.command(&runner_arguments(on_path("cargo-nextest"), &features, &args.runner));
    command.envs(arviz(project).map(|python| (ARVIZ, python)));
    run_cargo(&mut command)?;
    if args.runner.is_empty() {
        cargo.run(&["test", "--doc", "--workspace", "--features", &features])?;
    }
    Ok(())
}

/// What tells the tests where a Python with ArviZ is.
const ARVIZ: &str = "EBM_ARVIZ_PYTHON";

/// A Python with ArviZ, unless the user has named one. Where it cannot be installed, one test is skipped.
fn arviz(project: &Project) -> Option<std::path::PathBuf> {
    if std::env::var_os(ARVIZ).is_some() {
        return None;
    }
    let found = Environment::find("arviz").and_then(|arviz| arviz.ensure(&project.cache));
    found.map_err(|e| eprintln!("Draws are not compared with ArviZ: {e:#}")).ok()
}

/// Every test and doctest; for `ci`.
pub fn all(project: &Project) -> Result<()> {
    run(project, &Args { runner: Vec::new() })
}

/// The packages that the runner's words choose.
fn packages(words: &[String]) -> Vec<&str> {
    let mut packages = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "-p" || word == "--package" {
            packages.extend(words.next());
        } else if let Some(name) = word.strip_prefix("--package=").or_else(|| word.strip_prefix("-p")) {
            packages.push(name);
        }
    }
    packages
}

fn runner_arguments<'a>(nextest: bool, features: &'a str, words: &'a [String]) -> Vec<&'a str> {
    let mut arguments = if nextest { vec!["nextest", "run", "--no-tests=pass"] } else { vec!["test"] };
    // One failure does not hide the others.
    arguments.push("--no-fail-fast");
    // `cargo test` on all targets leaves the doctests out, as nextest does: they have their own run.
    if !nextest {
        arguments.extend(["--lib", "--bins", "--tests", "--examples"]);
    }
    if packages(words).is_empty() {
        arguments.push("--workspace");
    }
    arguments.extend(["--features", features]);
    arguments.extend(words.iter().map(String::as_str));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            runner_arguments(true, "a/b", &[]),
            ["nextest", "run", "--no-tests=pass", "--no-fail-fast", "--workspace", "--features", "a/b"]
        );
        let named = words(&["-p", "ebm-core", "philox"]);
        let expected =
            "test --no-fail-fast --lib --bins --tests --examples --features a/b -p ebm-core philox";
        assert_eq!(runner_arguments(false, "a/b", &named).join(" "), expected);
        assert_eq!(packages(&named), ["ebm-core"]);
        assert_eq!(packages(&words(&["--package=a", "-pb", "x"])), ["a", "b"]);
    }
}
