//! What tensors need beside energies: random numbers from our streams and named parameters.

mod params;
mod random;

pub use params::{Init, Params, Path};
pub use random::TensorRng;
pub use tch::Tensor;
