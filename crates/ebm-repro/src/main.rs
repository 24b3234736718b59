//! The binary that `cargo xtask reproduce` turns itself into.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use ebm_repro::{Registry, cli, stop_on_interrupt};

fn main() -> ExitCode {
    ebm_core::torch::keep_freed_memory();
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .with_target(false)
        .init();
    let stop = stop_on_interrupt().unwrap_or_default();
    let code = cli::main(std::env::args_os(), &Registry::built_in(), &stop, &mut stdout(), &mut stderr());
    ExitCode::from(code)
}
