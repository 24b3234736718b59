//! The experiments, one file each behind its cargo feature.

use crate::experiment::Experiment;

/// Every experiment compiled in: one line each.
pub static ALL: &[&dyn Experiment] = &[];
