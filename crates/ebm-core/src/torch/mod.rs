//! What tensors need beside energies: random numbers from our streams, named parameters, and an allocator that keeps
//! memory.

mod allocator;
mod params;
mod random;

pub use allocator::keep_freed_memory;
pub use params::{Init, Params, Path};
pub use random::TensorRng;
pub use tch::Tensor;

/// The LibTorch release that the workspace's `tch` is made for. It stands in manifests and reports.
pub const LIBTORCH_VERSION: &str = "2.13.0";
