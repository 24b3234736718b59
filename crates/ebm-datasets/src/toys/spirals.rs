//! Archimedean spirals around the origin.

use std::f64::consts::TAU;

use ebm_core::random::Stream;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Toy, check_length, with_noise};

/// `arms` spirals, turned evenly: the point at the share `t` of an arm has distance `radius * t` from the origin
/// and angle `2 pi * (turns * t + arm / arms)`; `t` is the root of a uniform number, so that the outside is not thin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spirals {
    /// The number of arms.
    pub arms: usize,
    /// How often an arm goes around.
    pub turns: f64,
    /// Where the arms end.
    pub radius: f64,
    /// Standard deviation of the normal noise on both coordinates.
    pub noise: f64,
}

impl Default for Spirals {
    fn default() -> Self {
        Self { arms: 2, turns: 1.5, radius: 3.0, noise: 0.1 }
    }
}

impl Toy for Spirals {
    fn check(&self) -> Result<()> {
        if !(1..=1000).contains(&self.arms) {
            return Err(Error::bad_value("spirals.arms", self.arms, "in 1..=1000", "2 is usual"));
        }
        check_length("spirals.turns", self.turns, true)?;
        check_length("spirals.radius", self.radius, false)?;
        check_length("spirals.noise", self.noise, true)
    }

    fn n_parts(&self) -> usize {
        self.arms
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        let arm = stream.below(self.arms);
        let t = stream.uniform().sqrt();
        let (sin, cos) = (TAU * (self.turns * t + arm as f64 / self.arms as f64)).sin_cos();
        let r = self.radius * t;
        (with_noise([r * cos, r * sin], self.noise, stream), arm)
    }
}
