//! Plots of chains as SVG texts (feature `plots`), and the canvas that every plot of the workspace is drawn on.
//!
//! [`ChainPlots`] draws traces, rank histograms, energies and pairs of coordinates, and saves them all in one call.
//! Matrices in, SVG texts out; nothing here knows a model. Numbers that are not finite are left out and counted; a
//! plot of many chains or coordinates shows those that look worst and says so.

mod base64;
pub mod canvas;
mod chains;
mod density;
mod energy;
mod figure;
mod log_axis;
mod number;
mod pair;
pub mod ranges;
mod rank;
mod trace;

pub use base64::base64;
pub use chains::ChainPlots;
pub use number::number;

#[cfg(test)]
mod tests;
