//! One ring with an exact density: `(R cos a, R sin a)`, `R` normal around the radius, `a` uniform.
//!
//! With `r = |(x, y)|` and `phi` the density of N(0, sd^2), the density is
//! `(phi(r - radius) + phi(r + radius)) / (2 pi r)`: the second term is the `R` below 0, which turn up opposite.

use std::f64::consts::TAU;

use ebm_core::Result;
use ebm_core::random::Stream;
use serde::{Deserialize, Serialize};

use super::{Toy, angle, check_length};

/// A ring around the origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ring {
    /// Its radius.
    pub radius: f64,
    /// Standard deviation of the distance from the origin.
    pub sd: f64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { radius: 1.0, sd: 0.1 }
    }
}

impl Ring {
    /// The logarithm of the density at a point (infinite at the origin).
    pub fn log_density(&self, x: f64, y: f64) -> f64 {
        let r = x.hypot(y);
        let near = (r - self.radius) / self.sd;
        let opposite = 1.0 + (-2.0 * r * self.radius / (self.sd * self.sd)).exp();
        -0.5 * near * near + opposite.ln() - (TAU.sqrt() * self.sd * TAU * r).ln()
    }
}

impl Toy for Ring {
    fn check(&self) -> Result<()> {
        check_length("ring.radius", self.radius, false)?;
        check_length("ring.sd", self.sd, false)
    }

    fn n_parts(&self) -> usize {
        1
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        let radius = self.radius + self.sd * stream.normal();
        let (sin, cos) = angle(stream).sin_cos();
        ([radius * cos, radius * sin], 0)
    }

    fn exact_log_density(&self, x: f64, y: f64) -> Option<f64> {
        Some(self.log_density(x, y))
    }
}
