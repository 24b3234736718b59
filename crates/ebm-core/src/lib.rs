//! The spine of `ebm`: what an energy is, what a sampler moves, and the random numbers it moves them with.
//!
//! * [`Energy`], [`GradEnergy`]: `E(x)`, one number per chain, and its gradient. A closure becomes one by
//!   [`Host`], a struct by [`HostEnergy`] and [`host_energy!`], a LibTorch module by `Torch` (feature `torch`).
//! * [`Point`]: one host chain (`Vec<f32>`, `Vec<f64>`), a [`Block`] of 64 host chains, a `tch::Tensor` whose
//!   leading axis is the chain (feature `torch`).
//! * [`EnergyExt`], [`Mixture`], [`Product`], [`Ensemble`]: energies compose.
//! * [`HostMlp`]: a small neural network as an energy of host chains, without LibTorch.
//! * [`analytic`]: energies whose answers are known exactly, for tests, benches and first steps.
//! * [`DiscreteEnergy`], [`RelaxedEnergy`]: energies of discrete variables; Ising and Potts lattices
//!   and [`Rbm`] are ones; [`Colouring`] for block updates.
//! * [`exact`]: exact answers for spin lattices and other discrete laws, by transfer matrix or enumeration.
//! * [`random`]: counter-based streams; [`simd`]: vector instructions chosen at run time.
//! * [`Schedule`]: numbers that depend on the step; [`Error`].
//! * [`Cholesky`], [`log_sum_exp`]: small numerics that several crates need.

pub mod analytic;
mod cholesky;
mod discrete;
mod energy;
mod error;
pub mod exact;
mod files;
mod point;
pub mod random;
mod real;
mod schedule;
pub mod simd;
mod sums;
#[cfg(feature = "torch")]
pub mod torch;

pub use cholesky::{Cholesky, cholesky};
pub use discrete::{Colouring, DiscreteEnergy, Pairwise, PottsLattice, Rbm, RelaxedEnergy, check_state};
pub use energy::*;
pub use error::{Error, ErrorKind, Result};
pub use files::{write_atomically, write_atomically_with};
pub use point::*;
pub use real::Real;
pub use schedule::{Ramp, Schedule, Shape};
pub use sums::log_sum_exp;
