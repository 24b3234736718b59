//! Two interleaving half circles: the upper `(cos a, sin a)`, the lower `(1 - cos a, 1/2 - sin a)`, `a` in `[0, pi)`.
//!
//! The shapes and sizes are those of scikit-learn's `make_moons`.

use std::f64::consts::PI;

use ebm_core::Result;
use ebm_core::random::Stream;
use serde::{Deserialize, Serialize};

use super::{Toy, check_length, with_noise};

/// Two moons, each with half of the mass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Moons {
    /// Standard deviation of the normal noise on both coordinates.
    pub noise: f64,
}

impl Default for Moons {
    fn default() -> Self {
        Self { noise: 0.05 }
    }
}

impl Toy for Moons {
    fn check(&self) -> Result<()> {
        check_length("moons.noise", self.noise, true)
    }

    fn n_parts(&self) -> usize {
        2
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        let moon = stream.below(2);
        let (sin, cos) = (PI * stream.uniform()).sin_cos();
        let point = if moon == 0 { [cos, sin] } else { [1.0 - cos, 0.5 - sin] };
        (with_noise(point, self.noise, stream), moon)
    }
}
