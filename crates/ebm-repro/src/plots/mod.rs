//! Plots as SVG texts, for `report.html` and `plots/*.svg`.
//!
//! Every function takes plain numbers and returns a whole SVG document. Points that are not finite are left out, a
//! plot without points says "no data", long curves are thinned; nothing panics.

mod curves;
mod heat;
mod histogram;
mod reliability;

pub use curves::{Series, lines, scatter, traces};
pub use ebm_metrics::plots::canvas::Axes;
pub use heat::{HeatMap, heat_map};
pub use histogram::histograms;
pub use reliability::reliability;

#[cfg(test)]
mod tests;
