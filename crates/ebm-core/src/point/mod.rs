//! What a sampler moves: one host chain, a block of host chains, or a tensor whose leading axis is the chain.
//!
//! A kernel is written once against [`Point`] and [`Scalar`] and runs on all three. The names are unusual on
//! purpose: `x.dot()` or `v.exp()` would pick the inherent methods of `tch::Tensor` and `f64`.

mod block;
#[cfg(feature = "torch")]
mod tensor;
mod vector;

pub use block::{BLOCK_CHAINS, Block, BlockMask, BlockScalar};
#[cfg(feature = "torch")]
pub use tensor::{TensorMask, TensorScalar};
pub(crate) use vector::{give, take};

use crate::Result;
use crate::random::{Stream, StreamState};

/// One number per chain: `f64` for a host chain, [`BlockScalar`] for a block, `TensorScalar` for a tensor.
///
/// The last two are either the same number for all chains (no storage, no device work) or one for each.
pub trait Scalar: Clone + Send + Sized + 'static {
    /// One truth value per chain.
    type Mask: ChainMask;

    /// The same number for every chain.
    fn same(value: f64) -> Self;
    /// `sum of c * s` over the terms; stays "the same for every chain" while all terms are.
    fn linear<const N: usize>(terms: [(f64, &Self); N]) -> Result<Self>;
    /// `self * other`.
    fn times(&self, other: &Self) -> Result<Self>;
    /// `self / other`.
    fn over(&self, other: &Self) -> Result<Self>;
    /// `e^s`.
    fn exp_each(&self) -> Result<Self>;
    /// Natural logarithm.
    fn ln_each(&self) -> Result<Self>;
    /// Square root.
    fn sqrt_each(&self) -> Result<Self>;
    /// `min(s, limit)`; NaN stays NaN.
    fn at_most(&self, limit: f64) -> Result<Self>;
    /// `self < other`; false where either is NaN.
    fn less_than(&self, other: &Self) -> Result<Self::Mask>;
    /// `yes` where the mask holds, `no` elsewhere (selected, never multiplied: a NaN on the other side is harmless).
    fn select(mask: &Self::Mask, yes: &Self, no: &Self) -> Result<Self>;
    /// The number, where all chains share it without storage (a host chain's always is).
    fn shared(&self) -> Option<f64>;
    /// One f64 per chain into `out`, `[n_chains]`. Waits for the device; for draws and ends of runs, not for a step.
    fn write_each(&self, out: &mut [f64]) -> Result<()>;
    /// [`Scalar::write_each`] into a new vector.
    fn to_host(&self, n_chains: usize) -> Result<Vec<f64>> {
        let mut out = vec![0.0; n_chains];
        self.write_each(&mut out)?;
        Ok(out)
    }
    /// 1 where the mask holds, 0 elsewhere.
    fn of_mask(mask: &Self::Mask) -> Result<Self> {
        Self::select(mask, &Self::same(1.0), &Self::same(0.0))
    }
}

/// One truth value per chain.
pub trait ChainMask: Clone + Send + Sized {
    /// The opposite.
    fn negate(&self) -> Result<Self>;
    /// True where either is.
    fn either(&self, other: &Self) -> Result<Self>;
}

/// The mask of a point's chains.
pub type Mask<X> = <<X as Point>::Scalar as Scalar>::Mask;

/// A source of random numbers for the steps of a kernel.
pub trait StepRng: Send {
    /// Called before each step. Host streams ignore it; a tensor's stream positions itself by it.
    fn begin_step(&mut self, step: u64);
    /// One uniform number on `[0, 1)` that all chains share (for instance a jittered path length).
    fn shared_uniform(&mut self) -> f64;
    /// How far the stream is, to be given to [`StepRng::go_to`]; zeros where [`StepRng::begin_step`] says it all.
    fn position(&self) -> [u64; 3];
    /// Go on from there.
    fn go_to(&mut self, position: [u64; 3]);
}

impl StepRng for Stream {
    fn begin_step(&mut self, _step: u64) {}

    fn shared_uniform(&mut self) -> f64 {
        self.uniform()
    }

    fn position(&self) -> [u64; 3] {
        let state = self.state();
        [state.normals_f32, state.normals_f64, state.uniforms]
    }

    fn go_to(&mut self, [normals_f32, normals_f64, uniforms]: [u64; 3]) {
        *self = Self::from_state(StreamState { normals_f32, normals_f64, uniforms, ..self.state() });
    }
}

/// What kernels need from a space. Host points are written in place; tensors are replaced, never written to.
pub trait Point: Sized + Send {
    /// One number per chain.
    type Scalar: Scalar;
    /// Where its random numbers come from.
    type Rng: StepRng;
    /// A matrix `[dim, dim]` in the point's own numbers, on its device; it acts on each chain alike.
    type Matrix: Send;

    /// How many chains this point carries.
    fn n_chains(&self) -> usize;
    /// Shape, type and device in words: two points that can be added up have the same.
    fn form(&self) -> String;
    /// Zeros of the same shape.
    fn zeros_like(&self) -> Result<Self>;
    /// `self = src`. Host: a copy. Tensor: the handle is shared, so nobody may write in place afterwards.
    fn set_from(&mut self, src: &Self) -> Result<()>;
    /// Put `old` back for the chains where `keep` is false.
    fn restore_unless(&mut self, keep: &Mask<Self>, old: &Self) -> Result<()>;
    /// `self += a x`, `a` shared or per chain.
    fn add_scaled(&mut self, a: &Self::Scalar, x: &Self) -> Result<()>;
    /// `self *= a`.
    fn scale_by(&mut self, a: &Self::Scalar) -> Result<()>;
    /// Dot product per chain.
    fn inner_each(&self, other: &Self) -> Result<Self::Scalar>;
    /// `self = z` with z standard normal.
    fn set_normal(&mut self, rng: &mut Self::Rng) -> Result<()>;
    /// `self += sigma z` with z standard normal.
    fn add_normal(&mut self, sigma: &Self::Scalar, rng: &mut Self::Rng) -> Result<()>;
    /// A uniform number on `[0, 1)` for each chain.
    fn uniform_each(&self, rng: &mut Self::Rng) -> Result<Self::Scalar>;
    /// Clamp every coordinate to `[low, high]`; NaN stays NaN.
    fn limit(&mut self, low: f64, high: f64) -> Result<()>;
    /// Scale each chain down to the Euclidean norm `max` where it is longer.
    fn limit_norm(&mut self, max: f64) -> Result<()>;
    /// `self += a (scale * x)`, coordinate by coordinate.
    fn add_scaled_each(&mut self, a: &Self::Scalar, scale: &Self, x: &Self) -> Result<()>;
    /// `self += a L x` for each chain, `L` lower triangular (what stands above its diagonal is not read).
    fn add_lower(&mut self, a: &Self::Scalar, lower: &Self::Matrix, x: &Self) -> Result<()>;
    /// `self += a L^T x` for each chain, `L` as in [`Point::add_lower`].
    fn add_lower_transposed(&mut self, a: &Self::Scalar, lower: &Self::Matrix, x: &Self) -> Result<()>;

    /// A point of the same shape whose chains all stand at `row`, `[dim]`.
    ///
    /// # Errors
    /// When the length is not that of a chain.
    fn filled(&self, row: &[f64]) -> Result<Self>;
    /// Coordinates per chain.
    fn dim_of_chain(&self) -> usize;
    /// The chains' coordinates into `out`, `[n_chains * dim]`, chain after chain. Waits for the device; for draws,
    /// not for a step.
    fn write_rows(&self, out: &mut [f64]) -> Result<()>;
    /// [`Point::write_rows`] into a new vector.
    fn to_rows(&self) -> Result<Vec<f64>> {
        let mut rows = vec![0.0; self.n_chains() * self.dim_of_chain()];
        self.write_rows(&mut rows)?;
        Ok(rows)
    }
    /// A point of the same shape, kind and device with these coordinates, `[n_chains * dim]`.
    ///
    /// # Errors
    /// When the length is another.
    fn with_rows(&self, rows: &[f64]) -> Result<Self>;
    /// One number per chain as kernels on this point compute with it, from `[n_chains]` values.
    ///
    /// # Errors
    /// When the length is another.
    fn scalar(&self, each: &[f64]) -> Result<Self::Scalar>;
    /// A matrix from its entries, `[dim * dim]` row by row.
    ///
    /// # Errors
    /// When the length is not the square of a chain's.
    fn matrix(&self, entries: &[f64]) -> Result<Self::Matrix>;
    /// The entries of a matrix. Waits for the device.
    fn matrix_entries(matrix: &Self::Matrix) -> Result<Vec<f64>>;
    /// `sum += x x^T`, summed over the chains `x` of this point.
    fn add_outer_to(&self, sum: &mut Self::Matrix) -> Result<()>;

    /// How many numbers of it lie in host memory for a step to work through; 0 for a tensor.
    #[inline(always)]
    fn host_len(&self) -> usize {
        0
    }

    /// A point of the same shape for temporary use, contents undefined. Host points come from a pool of the
    /// thread, so that composed energies allocate nothing per step; hand it back with [`Point::give_back`].
    fn take_scratch(&self) -> Result<Self> {
        self.zeros_like()
    }
    /// Return what [`Point::take_scratch`] gave.
    fn give_back(self) {}
}

/// A point in host memory: rows of numbers, one row per chain.
pub trait HostPoint: Point<Rng = Stream> {
    /// Coordinates per chain: [`Point::dim_of_chain`] by a short name, which on a tensor would be another's.
    fn dim(&self) -> usize {
        self.dim_of_chain()
    }
    /// Whether every coordinate is finite.
    fn all_finite(&self) -> bool;
}
