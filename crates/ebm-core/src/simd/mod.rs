//! Vector instructions chosen at run time: the level ([`level`]), functions compiled for it ([`dispatch`]), and the
//! random numbers written by hand for it.
//!
//! All `unsafe` code of the host path lies here. Random numbers and dispatched loops give the same bits at every
//! level: no fused multiply-adds, the same operations in the same order.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod generator;
mod level;
#[cfg(target_arch = "x86_64")]
mod random;

pub use dispatch::{Dispatched, dispatch};
pub(crate) use generator::{Generator, Position};
pub use level::{Level, level};
