//! Building blocks that several models share. Layers return `Result`; a layer's spec knows its parameters and
//! multiply-accumulates without allocating anything.

mod activation;
mod adaln;
pub mod attention;
mod conv;
pub mod fused;
mod layer_norm;
mod linear;
mod mlp;
mod patch_transformer;
mod patches;
mod rms_norm;
mod rope;
mod sin_cos;
mod swiglu;
mod time_embedding;
mod transformer;

pub use activation::Activation;
pub use adaln::{Modulation, modulated_norm};
pub use conv::{Conv2d, ConvSpec};
pub use layer_norm::layer_norm;
pub use linear::{Linear, LinearInit, LinearSpec};
pub use mlp::{Mlp, MlpConfig};
pub use patch_transformer::{PatchTransformer, PatchTransformerConfig};
pub use patches::Patches;
pub use rms_norm::RmsNorm;
pub use rope::Rope;
pub use sin_cos::{sin_cos_grid, sin_cos_time};
pub use swiglu::SwiGlu;
pub use time_embedding::TimeEmbedding;
pub use transformer::{Block, CausalTransformer, EnergyTransformer, Observed, TransformerConfig};
