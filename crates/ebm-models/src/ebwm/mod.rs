//! EBWM: a world model that predicts the next state by searching for one of low energy (arXiv 2406.08862).
//!
//! `E(frames 0..=i, y)` scores a candidate `y` for frame `i + 1`. A prediction starts from noise and takes `K` steps down
//! the energy; training puts an ordinary loss on every step's candidate and differentiates through that step. All
//! positions of a film are predicted side by side: an observed and a predicted stream, of which the first is computed
//! once. There is no step token: every step sees the same landscape.
//!
//! Checked against the description of the authors' code as it lives on in `alexiglad/EBT` at 0ad3628 (`default`
//! variant). What differs: the constant 0.5 that the code adds to every energy is left out (no gradient sees it); the
//! observed stream is computed once instead of once per step (the same numbers); frames come as vectors, whatever made
//! them, where the code runs a frozen image backbone. Left out: the auxiliary energy regression and the penalty on
//! energies outside of `[0, 1]`, which are off there, and fresh noise at each step ("no chain").
//!
//! [`FrameTransformer`] is the control: the same blocks, predicting the next frame in one pass.

mod config;
mod net;
mod objective;
#[cfg(test)]
mod tests;
mod transformer;

pub use config::{EbwmConfig, Start};
pub use net::{Ebwm, NextFrames};
pub use objective::{EbwmObjective, frame_errors, observed_and_next};
pub use transformer::{FrameTransformer, FrameTransformerConfig, NextFrameObjective};
