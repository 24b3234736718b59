//! The model zoo: building blocks in [`nn`], then one folder per paper.
//!
//! * [`joint`]: a classifier's logits read as energies.
//! * [`jem`]: joint energy models (arXiv 1912.03263).

pub mod jem;
pub mod joint;
pub mod nn;
