//! The experiments, one file each behind its cargo feature.

#[cfg(feature = "jem")]
mod jem;

use crate::experiment::Experiment;

/// Every experiment compiled in: one line each.
pub static ALL: &[&dyn Experiment] = &[
    #[cfg(feature = "jem")]
    &jem::DIGITS,
    #[cfg(feature = "jem")]
    &jem::FASHION,
];
