//! EBT-Policy: actions by descending an energy, and the two policies that it is compared with.
//!
//! arXiv 2510.27545, known to us through the authors' simulation code (`ZhiChengAIR/benchmarks`, October 2025). The
//! energy of a chunk of actions given a few observations is the mean over the chunk of what a transformer says of it;
//! a prediction starts from noise and takes a few steps of the one engine, [`ebm_samplers::descent`].
//!
//! What differs from that code: observations are numbers, not images; no dropout in attention; the root mean square
//! that a candidate is divided by is each sample's own unless the preset says `rms_batch`; query and key norms stand
//! in the energy network too; the weights that act are all averaged, or none.
//!
//! The controls are the same network: [`DiffusionPolicyObjective`] (Diffusion Policy, arXiv 2303.04137) with a time added to
//! its tokens, and [`CloningObjective`] (mean squared error, one pass).

mod attention;
mod config;
mod net;
mod objectives;
mod policies;

pub use config::{PolicyNetConfig, policy_descent, policy_prediction};
pub use net::{ChunkLandscape, Condition, PolicyNet};
pub use objectives::{CloningObjective, DiffusionPolicyObjective, EnergyObjective, split_window};
pub use policies::{CloningPolicy, DiffusionPolicy, EnergyPolicy};
