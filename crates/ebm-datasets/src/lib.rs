//! Data for `ebm`: 2-D toys, the 8x8 digits, readers of Fashion-MNIST and MNIST, text, and batches made in the background.
//!
//! Everything here is numbers in memory or on disk: no LibTorch, no network, no printing. What is not in the
//! crate is fetched by a command (`cargo xtask data fetch NAME`), and a reader that misses its files says which.
//!
//! - [`Dataset`] is the one container: a matrix with one item a row, labels, and the shape of an item.
//! - [`digits()`] and [`fashion_8x8()`] are shipped in the crate; [`fashion_mnist`] and [`mnist`] read IDX files.
//! - [`text`] turns documents into tokens, and tokens into the windows that models see; corpora may be larger than memory.
//! - [`toys`] draws from two-dimensional laws, with the exact density where there is one.
//! - [`push`] is a small control task with its physics, a scripted expert and a renderer.
//! - [`moving_digits`] makes films of digits on a torus, and vectors of their frames.
//! - [`Batches`] is the endless, resumable sequence of training batches.
//! - [`outliers`] makes the sets that a density model should find unlikely.
//!
//! Every random choice comes from an [`ebm_core::random::Stream`], so it is a function of the seed alone.

mod augment;
mod batches;
mod data_dir;
mod dataset;
mod digits;
mod fashion_8x8;
pub mod idx;
mod mnist;
pub mod moving_digits;
pub mod outliers;
#[cfg(feature = "pictures")]
mod png_folder;
mod pool;
pub mod push;
mod split;
mod standardise;
pub mod text;
pub mod toys;
mod transform;

pub use augment::Augment;
pub use batches::{Batch, BatchConfig, Batches, epoch_order};
pub use data_dir::data_dir;
pub use dataset::Dataset;
pub use digits::{DIGITS_SPLIT_SEED, digits, digits_split};
pub use fashion_8x8::fashion_8x8;
pub use mnist::{Part, fashion_mnist, images_from_idx, mnist};
#[cfg(feature = "pictures")]
pub use png_folder::images_from_png_folder;
pub use standardise::Standardiser;
pub use transform::dequantise;
