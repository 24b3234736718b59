//! Draws that outlive the process: growing `.npy` files, and what they are packed into.
//!
//! * [`DrawFolder`], [`NpySink`]: one growing `.npy` file per chain and quantity, written while the sampler runs, in
//!   memory that does not grow with the number of draws; an interrupted run goes on where it stood.
//! * [`DrawArrays`]: draws and statistics in memory.
//! * `pack_npz` (feature `npz`): either of them as `draws.npz` with `draws.json`, which NumPy and ArviZ open.
//! * `pack_arrow` (feature `arrow`): either of them as an Arrow IPC file.

mod arrays;
mod folder;
mod npy;
mod sink;
#[cfg(any(feature = "npz", feature = "arrow"))]
mod source;

#[cfg(feature = "arrow")]
mod arrow;
#[cfg(any(feature = "npz", feature = "arrow"))]
mod info;
#[cfg(feature = "npz")]
mod npz;
#[cfg(feature = "plots")]
mod plots;

pub use arrays::DrawArrays;
#[cfg(feature = "arrow")]
pub use arrow::pack_arrow;
pub use folder::DrawFolder;
#[cfg(any(feature = "npz", feature = "arrow"))]
pub use info::{DrawInfo, Packing};
#[cfg(feature = "npz")]
pub use npz::pack_npz;
pub use sink::NpySink;
