//! `cargo xtask reproduce`: builds the experiments that were asked for and becomes their process.
//!
//! Names, `--list`, `--fetch` and missing data are dealt with here, before anything is built and without
//! LibTorch. Every other flag is only declared here, for `--help` and for typing errors, and handed on as typed.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{Cargo, output_of, run as run_cargo};
use crate::data;
use crate::fail::bad;
use crate::features;
use crate::metadata::Metadata;
use crate::paths::Project;
use crate::presets::{self, Preset, QUICKSTART};
use crate::setup;

/// Train, sample and evaluate an experiment, and write a report with its gates
///
/// Without a name it runs the quickstart, `jem-digits`. Sets LibTorch up first if needed.
/// Exit codes: 0 every judged gate held; 3 one did not; 2 wrong use or bad input; 130 interrupted; 1 or 101 a crash.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask reproduce                                  # the quickstart: some minutes, from a bare clone
  cargo xtask reproduce --list
  cargo xtask reproduce jem-fashion --fetch --seeds 3
  cargo xtask reproduce jem-digits --set sampler.step_size=0.5 --out runs/try
  cargo xtask reproduce jem-digits --resume")]
pub struct Args {
    /// Experiments, by name
    names: Vec<String>,
    /// Every experiment that has the preset
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Show what there is, and stop
    #[arg(long)]
    list: bool,
    /// Which size: cpu (minutes on two cores), long, or paper (the paper's own)
    #[arg(long, value_parser = presets::KINDS, default_value = "cpu")]
    preset: String,
    /// The (first) seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Run seeds N to N+K-1 and report over all of them
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Change a key of the preset, as in sampler.step_size=0.5 (any but the gates; may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// cpu, or cuda:0
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Where the run goes [default: runs/NAME-PRESET-SEED]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the folder
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// With --resume: go on even where threads, CPU, LibTorch or version differ
    #[arg(long, requires = "resume")]
    force: bool,
    /// Start again, whatever the folder holds
    #[arg(long)]
    overwrite: bool,
    /// Take these weights and skip the training
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Fetch the data first, where it is missing
    #[arg(long)]
    fetch: bool,
    /// Only say how large it is: parameters, MACs, memory, steps, expected minutes
    #[arg(long)]
    dry_run: bool,
    /// Seconds, on tiny data from the repository; gates are not judged
    #[arg(long)]
    smoke: bool,
    /// Print report.json on stdout, and everything else on stderr
    #[arg(long)]
    json: bool,
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    let presets = presets::read(project)?;
    if args.list {
        print!("{}", list(&presets));
        return Ok(());
    }
    let chosen = chosen(&presets, args)?;
    fetch_or_complain(project, &chosen, args)?;
    let program = build(project, &chosen, args.smoke)?;
    let typed: Vec<OsString> = env::args_os().skip(2).collect();
    let mut command = experiment(project, program, handed_on(args, &chosen, &typed));
    // From here on there is one process: the experiment's.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// `reproduce --all --smoke`, as a child; for `ci`.
pub fn smoke_all(project: &Project) -> Result<()> {
    let presets = presets::read(project)?;
    let chosen: Vec<&Preset> = presets.iter().filter(|preset| preset.kind == "cpu").collect();
    let program = build(project, &chosen, true)?;
    let out = Metadata::of_workspace(project)?.target_directory.join("ci-smoke");
    let mut arguments: Vec<OsString> = chosen.iter().map(|preset| OsString::from(&preset.name)).collect();
    arguments.extend(["--smoke", "--overwrite", "--out"].map(OsString::from));
    arguments.push(out.into_os_string());
    run_cargo(experiment(project, program, arguments).current_dir(&project.root))
}

/// The presets to run, in the order typed.
fn chosen<'a>(presets: &'a [Preset], args: &Args) -> Result<Vec<&'a Preset>> {
    if args.all {
        let all: Vec<&Preset> = presets.iter().filter(|preset| preset.kind == args.preset).collect();
        if all.is_empty() {
            return Err(bad(format!("no experiment has a preset `{}`", args.preset)));
        }
        return Ok(all);
    }
    if args.names.is_empty() {
        return Ok(vec![presets::one(presets, QUICKSTART, &args.preset)?]);
    }
    args.names.iter().map(|name| presets::one(presets, name, &args.preset)).collect()
}

/// Makes sure, before minutes of building, that the data is there.
fn fetch_or_complain(project: &Project, chosen: &[&Preset], args: &Args) -> Result<()> {
    let own_data = args.sets.iter().any(|set| set.starts_with("data.path="));
    if args.smoke || args.dry_run || own_data {
        return Ok(());
    }
    for preset in chosen {
        let names = &preset.experiment.data;
        if args.fetch {
            data::fetch(project, names)?;
            continue;
        }
        if let Some(missing) = data::first_missing(project, names)? {
            return Err(bad(format!(
                "`{}` needs the data set `{missing}`, which is not in {}; fetch it with `cargo xtask data fetch {missing}`, or add --fetch",
                preset.name,
                project.data.display()
            )));
        }
    }
    Ok(())
}

/// Builds the program with the features of these experiments.
fn build(project: &Project, chosen: &[&Preset], smoke: bool) -> Result<PathBuf> {
    let libtorch = setup::ensure(project)?;
    let cargo = Cargo::new(project, &libtorch);
    let features: BTreeSet<&str> = chosen.iter().map(|preset| preset.experiment.feature.as_str()).collect();
    let features = features.into_iter().collect::<Vec<_>>().join(",");
    if smoke {
        // The very crates that `test` built, LibTorch's bindings among them. `--examples` makes cargo choose
        // the dependencies' features as it does for tests.
        let features = features::usual(&Metadata::of_workspace(project)?);
        cargo.run(&["build", "--workspace", "--features", &features, "--bin", "ebm-repro", "--examples"])?;
    } else {
        cargo.run(&[
            "build",
            "--release",
            "-p",
            "ebm-repro",
            "--no-default-features",
            "--features",
            &features,
        ])?;
    }
    let profile = if smoke { "debug" } else { "release" };
    Ok(Metadata::of_workspace(project)?.target_directory.join(profile).join("ebm-repro"))
}

/// The experiment's command with what it is told through the environment.
fn experiment(project: &Project, program: PathBuf, arguments: Vec<OsString>) -> Command {
    let mut command = Command::new(program);
    command.arg("reproduce").args(arguments).env("EBM_DATA", &project.data);
    let root = project.root.to_string_lossy();
    if let Some(commit) = output_of("git", &["-C", &root, "rev-parse", "--short=12", "HEAD"]) {
        command.env("EBM_GIT", commit);
    }
    command
}

/// What was typed after `reproduce`, less what has been done here, with the names spelled out.
fn handed_on(args: &Args, chosen: &[&Preset], typed: &[OsString]) -> Vec<OsString> {
    let mut arguments = Vec::new();
    if args.names.is_empty() {
        arguments.extend(chosen.iter().map(|preset| OsString::from(&preset.name)));
    }
    arguments.extend(typed.iter().filter(|word| *word != "--fetch" && *word != "--all").cloned());
    arguments
}

fn list(presets: &[Preset]) -> String {
    let name = presets.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Preset { name: n, kind, experiment } in presets {
        let minutes = experiment.minutes.map_or("?".to_owned(), |minutes| format!("{minutes} min"));
        let data = if experiment.data.is_empty() {
            String::new()
        } else {
            format!(" [data: {}]", experiment.data.join(", "))
        };
        text += &format!("{n:name$}  {kind:5}  {minutes:>8}  {}{data}\n", experiment.title);
        if !experiment.paper.is_empty() {
            text += &format!("{:name$}    {}\n", "", experiment.paper);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Cli::parse_from(std::iter::once("reproduce").chain(words.iter().copied())).args
    }

    fn names(words: &[&str]) -> Result<Vec<String>> {
        let presets = presets::tests::some();
        Ok(chosen(&presets, &args(words))?.iter().map(|p| format!("{}.{}", p.name, p.kind)).collect())
    }

    #[test]
    fn which_experiments() {
        assert_eq!(names(&[]).unwrap(), ["jem-digits.cpu"]);
        assert_eq!(names(&["jem-fashion", "--preset", "paper"]).unwrap(), ["jem-fashion.paper"]);
        assert_eq!(names(&["--all"]).unwrap(), ["jem-digits.cpu", "jem-fashion.cpu"]);
        assert_eq!(crate::fail::code(&names(&["--all", "--preset", "long"]).unwrap_err()), 2);
        assert!(names(&["jem-digts"]).unwrap_err().to_string().contains("jem-digits"));
    }

    fn handed(words: &[&str]) -> Vec<String> {
        let presets = presets::tests::some();
        let typed: Vec<OsString> = words.iter().map(OsString::from).collect();
        let args = args(words);
        let chosen = chosen(&presets, &args).unwrap();
        handed_on(&args, &chosen, &typed).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn what_the_experiment_is_told() {
        assert_eq!(handed(&[]), ["jem-digits"]);
        assert_eq!(handed(&["--out", "jem-digits"]), ["jem-digits", "--out", "jem-digits"]);
        let typed = ["jem-fashion", "--fetch", "--seed", "3", "--set", "a.b=1"];
        assert_eq!(handed(&typed), ["jem-fashion", "--seed", "3", "--set", "a.b=1"]);
        assert_eq!(handed(&["--all", "--smoke"]), ["jem-digits", "jem-fashion", "--smoke"]);
    }

    #[test]
    fn the_list_names_everything() {
        let text = list(&presets::tests::some());
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.contains("jem-fashion  cpu    20.5 min  JEM on clothes [data: fashion-mnist]\n"),
            "{text}"
        );
        assert!(text.contains("    arXiv:1912.03263\n"), "{text}");
    }

    #[test]
    fn data_is_asked_for_before_the_build() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project {
            root: dir.path().to_path_buf(),
            cache: dir.path().to_path_buf(),
            data: dir.path().join("data"),
        };
        let presets = presets::tests::some();
        let check = |words: &[&str]| {
            let args = args(words);
            fetch_or_complain(&project, &chosen(&presets, &args).unwrap(), &args)
        };
        let error = check(&["jem-fashion"]).unwrap_err();
        assert!(error.to_string().contains("cargo xtask data fetch fashion-mnist"), "{error}");
        assert_eq!(crate::fail::code(&error), 2);
        assert!(check(&["jem-digits"]).is_ok());
        assert!(check(&["jem-fashion", "--smoke"]).is_ok());
        assert!(check(&["jem-fashion", "--set", "data.path=/my/data"]).is_ok());
    }
}
