//! `cargo xtask ci`: every check, cheap ones first, with a heading, a time and the command to type for each.

use anyhow::{Result, bail};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{Cargo, bare, on_path, run as run_cargo};
use crate::fail;
use crate::metadata::Metadata;
use crate::paths::Project;
use crate::{bench, features, reproduce, setup, test, tidy};

/// The crates that build and pass their tests without LibTorch.
pub const HOST_CRATES: [&str; 4] = ["ebm-core", "ebm-samplers", "ebm-metrics", "ebm-datasets"];

/// A folder that no LibTorch is in: a crate that asks for it fails.
const NOWHERE: &str = "/there/is/no/libtorch/here";

/// Run every check of the project, in the order of their cost; stops at the first that fails
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask ci\n  cargo xtask ci --no-test --keep-going")]
pub struct Args {
    /// Leave out what `cargo xtask test` runs
    #[arg(long)]
    no_test: bool,
    /// Go on after a step that failed
    #[arg(long)]
    keep_going: bool,
}

/// What became of a step.
enum Outcome {
    Passed,
    Skipped(&'static str),
    Failed(anyhow::Error),
}

/// One check.
struct Step<'a> {
    name: &'static str,
    /// What to type to run this step alone.
    command: &'static str,
    run: Box<dyn Fn() -> Result<Outcome> + 'a>,
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    let libtorch = setup::ensure(project)?;
    let cargo = Cargo::new(project, &libtorch);
    let mut results: Vec<(&Step, Duration, Outcome)> = Vec::new();
    let features = features::usual(&Metadata::of_workspace(project)?);
    let steps = steps(project, &cargo, &features, args);
    for step in &steps {
        eprintln!("\n=== {} ===", step.name);
        let start = Instant::now();
        let outcome = (step.run)().unwrap_or_else(Outcome::Failed);
        match &outcome {
            Outcome::Failed(error) => {
                eprintln!("--- {} failed: {error:#}\n    type: {}", step.name, step.command)
            }
            Outcome::Skipped(why) => eprintln!("--- {} left out: {why}", step.name),
            Outcome::Passed => {}
        }
        let stop = matches!(outcome, Outcome::Failed(_)) && !args.keep_going;
        results.push((step, start.elapsed(), outcome));
        if stop {
            break;
        }
    }
    eprint!("\n{}", summary(&results, steps.len()));
    match results.into_iter().find_map(|(step, _, outcome)| match outcome {
        Outcome::Failed(error) => {
            Some(error.context(format!("{} failed; type: {}", step.name, step.command)))
        }
        _ => None,
    }) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn steps<'a>(project: &'a Project, cargo: &'a Cargo, features: &'a str, args: &Args) -> Vec<Step<'a>> {
    let step = |name, command, run: Box<dyn Fn() -> Result<Outcome> + 'a>| Step { name, command, run };
    let mut steps = vec![
        step(
            "format",
            "cargo fmt --all --check",
            Box::new(|| passed(run_cargo(bare(project).args(["fmt", "--all", "--check"])))),
        ),
        step("tidy", "cargo xtask tidy", Box::new(|| passed(tidy::check(project)))),
        step(
            "without LibTorch",
            "cargo test -p ebm-core -p ebm-samplers -p ebm-metrics -p ebm-datasets -p xtask --no-default-features",
            Box::new(|| passed(without_libtorch(cargo))),
        ),
        step(
            "clippy",
            "cargo clippy --workspace --all-targets --all-features -- -D warnings",
            Box::new(|| {
                passed(cargo.run(&[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--features",
                    features,
                    "--",
                    "-D",
                    "warnings",
                ]))
            }),
        ),
    ];
    if !args.no_test {
        steps.push(step("test", "cargo xtask test", Box::new(|| passed(test::all(project)))));
    }
    steps.extend([
        step(
            "docs",
            "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features",
            Box::new(|| {
                let arguments = ["doc", "--workspace", "--no-deps", "--features", features];
                passed(run_cargo(&mut cargo.doc_command(&arguments, &["-Dwarnings"])))
            }),
        ),
        step(
            "nuts-rs",
            "cargo test -p ebm-samplers --features nuts-rs --test nuts_rs",
            Box::new(|| {
                let arguments = ["test", "-p", "ebm-samplers", "--features", "nuts-rs", "--test", "nuts_rs"];
                passed(cargo.run(&arguments))
            }),
        ),
        step(
            "examples",
            "cargo build --workspace --all-features --examples, then each in target/debug/examples",
            Box::new(|| examples(project, cargo)),
        ),
        step(
            "crates outside the workspace",
            "cargo run --manifest-path examples/<name>/Cargo.toml (from outside the checkout)",
            Box::new(|| outside(project)),
        ),
        step(
            "reproduce --all --smoke",
            "cargo xtask reproduce --all --smoke",
            Box::new(|| passed(reproduce::smoke_all(project))),
        ),
        step("bench --smoke", "cargo xtask bench --smoke", Box::new(|| passed(bench::smoke_all(project)))),
        step("cargo-deny", "cargo deny check licenses bans sources", Box::new(|| deny(cargo))),
        step("book", "mdbook build docs", Box::new(|| book(project))),
    ]);
    steps
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

/// The host crates must not even have LibTorch's bindings in their tree.
fn without_libtorch(cargo: &Cargo) -> Result<()> {
    let mut packages: Vec<&str> = Vec::new();
    for name in HOST_CRATES.iter().chain(&["xtask"]) {
        packages.extend(["-p", name]);
    }
    let tree = [
        &["tree", "--no-default-features", "--edges", "normal,build,dev", "--prefix", "none"],
        &packages[..],
    ];
    let output = cargo.command(&tree.concat()).output()?;
    fail::check("cargo tree", output.status)?;
    let tree = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = tree.lines().find(|line| line.starts_with("torch-sys ") || line.starts_with("tch ")) {
        bail!(
            "the host crates reach {line}; `cargo tree --no-default-features -i torch-sys -p <crate>` shows how"
        );
    }
    let runner: &[&str] =
        if on_path("cargo-nextest") { &["nextest", "run", "--no-tests=pass"] } else { &["test"] };
    let arguments = [runner, &["--no-default-features"], &packages[..]].concat();
    run_cargo(cargo.command(&arguments).env("LIBTORCH", NOWHERE).env_remove("LIBTORCH_USE_PYTORCH"))
}

/// Builds every example and runs those of the facade.
fn examples(project: &Project, cargo: &Cargo) -> Result<Outcome> {
    let metadata = Metadata::of_workspace(project)?;
    cargo.run(&["build", "--workspace", "--features", &features::usual(&metadata), "--examples"])?;
    let names: Vec<&str> =
        metadata.package("ebm").map(|ebm| ebm.targets_of("example").collect()).unwrap_or_default();
    if names.is_empty() {
        return Ok(Outcome::Skipped("the crate `ebm` has no examples"));
    }
    // The programs themselves, not `cargo run -p ebm`: that would build them again with other features.
    let folder = metadata.target_directory.join("debug/examples");
    for name in names {
        run_cargo(Command::new(folder.join(name)).current_dir(&project.root))?;
    }
    Ok(Outcome::Passed)
}

/// A user's crate, built and run as a user would: outside the workspace, with no LibTorch anywhere.
fn outside(project: &Project) -> Result<Outcome> {
    let Ok(entries) = fs::read_dir(project.root.join("examples")) else {
        return Ok(Outcome::Skipped("there is no folder examples/"));
    };
    let target = Metadata::of_workspace(project)?.target_directory.join("outside");
    let mut manifests: Vec<_> = entries.flatten().map(|entry| entry.path().join("Cargo.toml")).collect();
    manifests.retain(|manifest| manifest.exists());
    manifests.sort();
    for manifest in manifests {
        // From another folder, so that cargo does not see the checkout's config with its LibTorch.
        let mut command = bare(project);
        command.args(["run", "--quiet", "--manifest-path"]).arg(&manifest).arg("--target-dir").arg(&target);
        command.current_dir(std::env::temp_dir());
        command.env("LIBTORCH", NOWHERE).env_remove("LIBTORCH_USE_PYTORCH");
        run_cargo(&mut command)?;
    }
    Ok(Outcome::Passed)
}

fn deny(cargo: &Cargo) -> Result<Outcome> {
    if !on_path("cargo-deny") {
        return Ok(Outcome::Skipped("cargo-deny is not on the PATH (tidy checks the licences)"));
    }
    // Not `advisories`: that needs a database from the network.
    passed(cargo.run(&["deny", "check", "licenses", "bans", "sources"]))
}

fn book(project: &Project) -> Result<Outcome> {
    if !project.root.join("docs/book.toml").exists() {
        return Ok(Outcome::Skipped("there is no docs/book.toml"));
    }
    if !on_path("mdbook") {
        return Ok(Outcome::Skipped("mdbook is not on the PATH (tidy checks the links)"));
    }
    passed(run_cargo(Command::new("mdbook").args(["build", "docs"]).current_dir(&project.root)))
}

fn summary(results: &[(&Step, Duration, Outcome)], total: usize) -> String {
    let mut text = String::from("| step | seconds | |\n|---|---:|---|\n");
    for (step, time, outcome) in results {
        let word = match outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Skipped(why) => format!("left out: {why}"),
            Outcome::Failed(_) => format!("FAILED; type: {}", step.command),
        };
        text += &format!("| {} | {:.1} | {word} |\n", step.name, time.as_secs_f64());
    }
    if results.len() < total {
        text += &format!("({} steps not run)\n", total - results.len());
    }
    let all: Duration = results.iter().map(|(_, time, _)| *time).sum();
    text + &format!("Together {:.0} s.\n", all.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_the_command_of_a_failed_step() {
        let step = |name| Step { name, command: "cargo do it", run: Box::new(|| Ok(Outcome::Passed)) };
        let (a, b, c) = (step("a"), step("b"), step("c"));
        let results = [
            (&a, Duration::from_millis(1500), Outcome::Passed),
            (&b, Duration::ZERO, Outcome::Skipped("no tool")),
            (&c, Duration::from_secs(2), Outcome::Failed(anyhow::anyhow!("x"))),
        ];
        let text = summary(&results, 5);
        assert!(text.contains("| a | 1.5 | ok |"), "{text}");
        assert!(text.contains("| b | 0.0 | left out: no tool |"), "{text}");
        assert!(text.contains("| c | 2.0 | FAILED; type: cargo do it |"), "{text}");
        assert!(text.contains("(2 steps not run)"), "{text}");
    }
}
