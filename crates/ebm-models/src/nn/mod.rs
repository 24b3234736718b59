//! Building blocks that several models share. Layers return `Result`; a layer's spec knows its parameters and
//! multiply-accumulates without allocating anything.

mod activation;
pub mod attention;
mod conv;
mod linear;
mod mlp;
mod rms_norm;
mod rope;
mod swiglu;
mod transformer;

pub use activation::Activation;
pub use conv::{Conv2d, ConvSpec};
pub use linear::{Linear, LinearInit, LinearSpec};
pub use mlp::{Mlp, MlpConfig};
pub use rms_norm::RmsNorm;
pub use rope::Rope;
pub use swiglu::SwiGlu;
pub use transformer::{Block, CausalTransformer, EnergyTransformer, Observed, TransformerConfig};
