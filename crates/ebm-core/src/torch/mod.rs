//! What tensors need beside energies: random numbers from our streams and named parameters.

mod params;
mod random;

pub use params::{Init, Params, Path};
pub use random::TensorRng;
pub use tch::Tensor;

/// The LibTorch release that the workspace's `tch` is made for. It stands in manifests and reports.
pub const LIBTORCH_VERSION: &str = "2.13.0";
