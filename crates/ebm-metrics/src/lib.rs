//! Chain diagnostics, classification metrics and sample quality: matrices in, numbers out.
//!
//! Nothing here knows a model or LibTorch. Input is `ndarray` views of `f64` (draws as `[chain, draw, dim]`,
//! items as `[item, class]` or `[item, feature]`) or slices; every fallible function says what is wrong with its
//! input and where. A random choice (resampling, permutation) takes a seed and does not depend on the threads.

mod bootstrap;
pub mod chains;
mod check;
pub mod classification;
pub mod images;
mod interval;
pub mod linalg;
#[cfg(feature = "plots")]
pub mod plots;
pub mod samples;
mod spearman;
mod special;
mod student;
mod wilson;

pub use bootstrap::{Bootstrap, bootstrap, bootstrap_mean, bootstrap_stratified, paired_difference};
pub use interval::{Estimate, Interval, percentile_interval};
pub use spearman::{spearman, spearman_interval, spearman_interval_of_groups};
pub use student::{t_interval, t_quantile};
pub use wilson::wilson_interval;
