//! The command line: what is typed, and the exit code that comes back.

mod execute;
mod list;
mod select;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::experiment::Registry;
use crate::preset::Kind;
use crate::usage::is_usage;

/// Runs the experiments of the model zoo and writes their reports.
#[derive(Parser, Debug)]
#[command(name = "ebm-repro", version, bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Train, sample and evaluate an experiment, and write its report.
    Reproduce(Reproduce),
}

/// The arguments of `reproduce`.
#[derive(Args, Clone, Debug)]
pub struct Reproduce {
    /// Experiments; none means the quickstart.
    pub names: Vec<String>,
    /// Every experiment that has the preset.
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Say what there is, and do nothing.
    #[arg(long)]
    pub list: bool,
    /// The scale.
    #[arg(long, value_enum, default_value_t = Kind::Cpu)]
    pub preset: Kind,
    /// The (first) seed.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Run this many seeds, N, N+1, …, and one report over all of them.
    #[arg(long, default_value_t = 1, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Change a key of the preset (repeatable); gates cannot be changed.
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
    /// cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// The run folder [default: runs/NAME-PRESET-SEED]; with several names, the folder of their folders.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with an unfinished run.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// With --resume: go on even where threads, CPU, LibTorch or version differ; the run is then not reproducible.
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// Replace what is in the run folder.
    #[arg(long)]
    pub overwrite: bool,
    /// Skip training and evaluate these weights.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Get the data first (done by cargo xtask before this program starts).
    #[arg(long)]
    pub fetch: bool,
    /// Say what a run would take, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds instead of minutes: tiny data from the repository, gates not judged.
    #[arg(long)]
    pub smoke: bool,
    /// report.json on stdout, everything else on stderr.
    #[arg(long)]
    pub json: bool,
}

/// Runs the program with these arguments (the first is its name) and returns the exit code: 0 every judged gate
/// held, 3 one did not, 2 wrong use or bad input, 130 interrupted, 1 a crash.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    registry: &Registry,
    stop: &Arc<AtomicBool>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let _ = write!(out, "{e}");
            return 0;
        }
        Err(e) => {
            let _ = writeln!(err, "{}", one_line(&e.to_string()));
            return 2;
        }
    };
    let Command::Reproduce(args) = cli.command;
    match reproduce(&args, registry, stop, out, err) {
        Ok(code) => code,
        Err(e) => say(&e, err),
    }
}

fn reproduce(
    args: &Reproduce,
    registry: &Registry,
    stop: &Arc<AtomicBool>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    if args.list {
        return list::list(args, registry, out);
    }
    // Everything that can be wrong is looked for in all of them before the first one starts.
    let jobs = select::select(args, registry)?;
    if args.dry_run {
        return list::dry_run(args, &jobs, out);
    }
    execute::run_all(args, &jobs, stop, out, err)
}

/// Says what went wrong in one line, and returns the exit code for it.
fn say(error: &anyhow::Error, err: &mut dyn Write) -> u8 {
    let text = format!("{error:#}").replace('\n', " ");
    let _ = writeln!(err, "error: {text}");
    if is_usage(error) { 2 } else { 1 }
}

/// clap's message without its usage block.
fn one_line(text: &str) -> String {
    let head: Vec<&str> =
        text.lines().take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more")).collect();
    head.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}
