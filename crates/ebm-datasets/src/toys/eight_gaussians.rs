//! Eight round Gaussians of equal weight on a circle.

use std::f64::consts::TAU;

use ebm_core::Result;
use ebm_core::random::Stream;
use serde::{Deserialize, Serialize};

use super::{Toy, check_length, with_noise};

/// Modes at the angles `0, 45, ..., 315` degrees; the default is that of FFJORD (arXiv 1810.01367) and many since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EightGaussians {
    /// Distance of the modes from the origin; `4 / sqrt 2` by default.
    pub radius: f64,
    /// Standard deviation of each mode, in both directions; `0.5 / sqrt 2` by default.
    pub sd: f64,
}

impl Default for EightGaussians {
    fn default() -> Self {
        Self { radius: 4.0 * std::f64::consts::FRAC_1_SQRT_2, sd: 0.5 * std::f64::consts::FRAC_1_SQRT_2 }
    }
}

impl EightGaussians {
    /// The centres.
    pub fn modes(&self) -> [[f64; 2]; 8] {
        std::array::from_fn(|k| {
            let (sin, cos) = (TAU * k as f64 / 8.0).sin_cos();
            [self.radius * cos, self.radius * sin]
        })
    }

    /// The logarithm of the density at a point.
    pub fn log_density(&self, x: f64, y: f64) -> f64 {
        let scale = -0.5 / (self.sd * self.sd);
        let logs = self.modes().map(|[a, b]| scale * ((x - a).powi(2) + (y - b).powi(2)));
        let largest = logs.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|l| (l - largest).exp()).sum();
        largest + sum.ln() - (8.0 * TAU * self.sd * self.sd).ln()
    }

    /// The law of a draw plus independent normal noise: what denoising score matching at level `sigma` learns.
    pub fn smoothed(&self, sigma: f64) -> Self {
        Self { radius: self.radius, sd: self.sd.hypot(sigma) }
    }
}

impl Toy for EightGaussians {
    fn check(&self) -> Result<()> {
        check_length("eight_gaussians.radius", self.radius, false)?;
        check_length("eight_gaussians.sd", self.sd, false)
    }

    fn n_parts(&self) -> usize {
        8
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        let mode = stream.below(8);
        (with_noise(self.modes()[mode], self.sd, stream), mode)
    }

    fn exact_log_density(&self, x: f64, y: f64) -> Option<f64> {
        Some(self.log_density(x, y))
    }
}
