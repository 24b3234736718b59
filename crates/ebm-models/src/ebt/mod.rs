//! Energy-based transformers (arXiv 2507.02092): predict by descending an energy over candidates.
//!
//! Text ([`EbtText`]) and images ([`ImageEbt`]), both checked against the released code, alexiglad/EBT at 0ad3628. What
//! differs on text: the observed stream is computed apart from the candidates, once for all inner steps where the
//! variant allows it; the energy form of attention keeps the self score in a column of its own; the step of the
//! vocabulary's size is a product of the width-sized gradient. Each gives the same numbers (tests).

mod baseline;
mod config;
mod fused;
mod generate;
mod image;
mod image_objective;
mod image_regressor;
#[cfg(test)]
mod image_testing;
mod next;
mod objective;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
mod text;
pub mod weights;

pub use baseline::{Baseline, BaselineConfig, NextToken};
pub use config::{EbtTextConfig, SIZES, Variant};
pub use fused::{FusedLandscape, FusedText};
pub use generate::{GenerateConfig, Generator, Token};
pub use image::{ALPHA, ImageEbt, ImageEbtConfig};
pub use image_objective::{Corruption, Denoising, PixelLoss};
pub use image_regressor::{ImageRegressor, ImageRegressorConfig};
pub use objective::{Compute, EbtObjective, Gradients, ReplayShare, s1, s2};
pub use text::{EbtText, TextLandscape, check_tokens, cross_entropies, cross_entropy};
