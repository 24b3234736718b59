//! The experiments behind `cargo xtask reproduce`, and the frame that runs them.
//!
//! An experiment is one file in `experiments/` with its presets beside it. The frame reads the preset, opens the
//! run folder, hands the experiment a [`Run`], judges the gates and writes the report; the contract of the
//! command (flags, exit codes, `report.json`) lives in this crate and nowhere else.

pub mod cli;
mod experiment;
pub mod experiments;
mod gate;
mod interrupt;
pub mod plots;
pub mod preset;
pub mod report;
pub mod run;
mod usage;

pub use experiment::{Experiment, Plan, Registry, Status};
pub use gate::{GateSpec, Op, Scope};
pub use interrupt::stop_on_interrupt;
pub use preset::Preset;
pub use report::Report;
pub use run::Run;
pub use usage::{Usage, is_stopped, is_usage, usage};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/extending.md")]
struct Extending;
