//! The spine of `ebm`: what an energy is, what a sampler moves, and the random numbers it moves them with.

mod error;
pub mod random;
mod real;

pub use error::{Error, ErrorKind, Result};
pub use real::Real;
