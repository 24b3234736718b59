//! A step in time as a vector: its sine-cosine code of 256 numbers through two layers with a SiLU between. Source:
//! DiT (arXiv 2212.09748), whose weights start normal with standard deviation 0.02.

use ebm_core::Result;
use ebm_core::torch::Path;
use tch::Tensor;

use super::{Linear, LinearInit, LinearSpec, sin_cos_time};

/// Numbers in the code.
const CODE: usize = 256;

/// See the file's first lines.
#[derive(Debug)]
pub struct TimeEmbedding {
    first: Linear,
    second: Linear,
}

impl TimeEmbedding {
    fn layers(width: usize) -> [LinearSpec; 2] {
        [(CODE, width), (width, width)]
            .map(|(i, o)| LinearSpec::new(i, o).init(LinearInit::Normal { std: 0.02 }))
    }

    /// A fresh one for vectors of `width`, with parameters `0.*` and `2.*`.
    ///
    /// # Errors
    /// A name that is taken, or no memory.
    pub fn new(width: usize, mut path: Path<'_>) -> Result<Self> {
        let [first, second] = Self::layers(width);
        Ok(Self { first: first.build(path.sub(0))?, second: second.build(path.sub(2))? })
    }

    /// Trainable numbers.
    pub fn parameters(width: usize) -> u64 {
        Self::layers(width).iter().map(LinearSpec::parameters).sum()
    }

    /// Multiply-accumulates for one step in time.
    pub fn macs(width: usize) -> u64 {
        Self::layers(width).iter().map(LinearSpec::macs).sum()
    }

    /// `[n] -> [n, width]`.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn forward(&self, t: &Tensor) -> Result<Tensor> {
        let code = sin_cos_time(t, CODE, self.first.weight().kind())?;
        self.second.forward(&self.first.forward(&code)?.f_silu()?)
    }
}
