//! Two circles around the origin, one inside the other (the shapes of scikit-learn's `make_circles`).

use ebm_core::random::Stream;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Toy, angle, check_length, with_noise};

/// The outer circle has radius 1, the inner one `factor`; each has half of the mass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Circles {
    /// Radius of the inner circle, between 0 and 1.
    pub factor: f64,
    /// Standard deviation of the normal noise on both coordinates.
    pub noise: f64,
}

impl Default for Circles {
    fn default() -> Self {
        Self { factor: 0.5, noise: 0.05 }
    }
}

impl Toy for Circles {
    fn check(&self) -> Result<()> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(Error::bad_value("circles.factor", self.factor, "between 0 and 1", "0.5 is usual"));
        }
        check_length("circles.noise", self.noise, true)
    }

    fn n_parts(&self) -> usize {
        2
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        let circle = stream.below(2);
        let radius = [1.0, self.factor][circle];
        let (sin, cos) = angle(stream).sin_cos();
        (with_noise([radius * cos, radius * sin], self.noise, stream), circle)
    }
}
