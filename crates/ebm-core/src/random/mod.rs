//! Random numbers: one counter-based stream per (seed, purpose, index).
//!
//! The n-th normal or uniform of a stream is a pure function of (seed, purpose, index, n): chains need no lock
//! and no order between them, a stream's whole state is three counters, and results do not depend on the number
//! of threads or on the CPU. [`Purpose`] keeps, say, initialisation and chains apart under one seed.

pub(crate) mod coefficients;
mod normal;
pub mod philox;
mod purpose;
mod stream;

pub use purpose::Purpose;
pub use stream::{Stream, StreamState};

pub(crate) use normal::{CHUNK_F32, CHUNK_F64, ln_f32, normals_f32, normals_f64};
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) use normal::{polar_f32, polar_f64};
pub(crate) use stream::CHUNK_WORDS;
#[cfg(feature = "torch")]
pub(crate) use stream::{Domain, counter_words, key_words};
