//! JEM: a classifier that is also an energy-based model of its input (arXiv 1912.03263).
//!
//! Checked against the released code, wgrathwohl/JEM at 3d01161. What differs: the energy penalty
//! (`energy_l2`, off in the paper's preset) that its author recommends against divergence; the scalar head of the
//! unconditional mode is left out. One forward pass serves data, labelled data and negatives.

mod config;
mod net;
mod objective;

pub use config::{Architecture, JemConfig};
pub use net::JemNet;
pub use objective::{JemObjective, JemWeights, PairedSource};
