//! `cargo xtask`: every command of the project. This file only parses and dispatches; each command has a
//! file of its own, and what several of them need sits in a file named for the one thing it holds.
//!
//! Exit codes: 0 it worked; 2 wrong use or bad input; 1 it could not be done; the code of a program that we
//! ran (cargo, the tests, an experiment) is passed on as it is.

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(unix))]
compile_error!("ebm's xtask runs on Linux and macOS only (on Windows: use WSL)");

mod bench;
mod build;
mod cargo;
mod ci;
mod data;
mod digest;
mod disk;
mod doctor;
mod fail;
mod features;
mod install;
mod libtorch;
mod libtorch_toml;
mod linker_script;
mod metadata;
mod nearest;
mod paths;
mod pip;
mod presets;
mod reproduce;
mod rivals;
mod setup;
mod test;
mod tidy;
mod unpack;
mod wheels;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

use paths::Project;

/// The commands of ebm. Each has its own --help with an example.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    Build(build::Args),
    Reproduce(reproduce::Args),
    Test(test::Args),
    Bench(bench::Args),
    Data(data::Args),
    Doctor(doctor::Args),
    Tidy(tidy::Args),
    Ci(ci::Args),
}

fn main() -> ExitCode {
    // `cargo xtask … | head` ends quietly, as other programs do, and not with a panic.
    // SAFETY: nothing else runs yet, and the default action is always valid.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let cli = Cli::parse();
    let outcome = Project::find().and_then(|project| match cli.command {
        Command::Setup(args) => setup::run(&project, &args),
        Command::Build(args) => build::run(&project, &args),
        Command::Reproduce(args) => reproduce::run(&project, &args),
        Command::Test(args) => test::run(&project, &args),
        Command::Bench(args) => bench::run(&project, &args),
        Command::Data(args) => data::run(&project, &args),
        Command::Doctor(args) => doctor::run(&project, &args),
        Command::Tidy(args) => tidy::run(&project, &args),
        Command::Ci(args) => ci::run(&project, &args),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::report(&error),
    }
}
