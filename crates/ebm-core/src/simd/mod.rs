//! Vector instructions chosen at run time: the level ([`level`]), functions compiled for it ([`dispatch`]), and the
//! random numbers and matrix products written by hand for it.
//!
//! All `unsafe` code of the host path lies here. Random numbers and dispatched loops give the same bits at every
//! level: no fused multiply-adds, the same operations in the same order. The one exception is the matrix product of
//! [`crate::HostMlp`] on blocks, which is fused where the processor can.

mod affine;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod exp;
mod generator;
mod level;
#[cfg(target_arch = "x86_64")]
mod random;

pub(crate) use affine::{Panels, affine_block, affine_one};
pub(crate) use dispatch::dispatch_at;
pub use dispatch::{Dispatched, dispatch};
pub use exp::{exp_f32, exp_f64};
pub(crate) use generator::{Generator, Position};
pub use level::{Level, level};
