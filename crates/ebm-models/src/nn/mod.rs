//! Building blocks that several models share. Layers return `Result`; a layer's spec knows its parameters and
//! multiply-accumulates without allocating anything.

mod activation;
mod conv;
mod linear;
mod mlp;

pub use activation::Activation;
pub use conv::{Conv2d, ConvSpec};
pub use linear::{Linear, LinearSpec};
pub use mlp::{Mlp, MlpConfig};
