//! Any of the toys, chosen by name: what a preset holds.

use ebm_core::random::Stream;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Checkerboard, Circles, EightGaussians, Moons, Ring, Spirals, Toy};

/// One of the toys with its settings; in a file, `name = "moons"` and, if wanted, `noise = 0.1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum AnyToy {
    /// `moons`
    Moons(Moons),
    /// `circles`
    Circles(Circles),
    /// `ring`
    Ring(Ring),
    /// `checkerboard`
    Checkerboard(Checkerboard),
    /// `eight_gaussians`
    EightGaussians(EightGaussians),
    /// `spirals`
    Spirals(Spirals),
}

impl AnyToy {
    /// The names that [`AnyToy::by_name`] knows.
    pub const NAMES: [&str; 6] = ["moons", "circles", "ring", "checkerboard", "eight_gaussians", "spirals"];

    /// A toy with its default settings.
    ///
    /// # Errors
    /// With the names there are, when this is none of them.
    pub fn by_name(name: &str) -> Result<Self> {
        Ok(match name {
            "moons" => Self::Moons(Moons::default()),
            "circles" => Self::Circles(Circles::default()),
            "ring" => Self::Ring(Ring::default()),
            "checkerboard" => Self::Checkerboard(Checkerboard::default()),
            "eight_gaussians" => Self::EightGaussians(EightGaussians::default()),
            "spirals" => Self::Spirals(Spirals::default()),
            _ => {
                let limit = format!("one of {}", Self::NAMES.join(", "));
                return Err(Error::bad_value("toy", name, limit, ""));
            }
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Moons(_) => "moons",
            Self::Circles(_) => "circles",
            Self::Ring(_) => "ring",
            Self::Checkerboard(_) => "checkerboard",
            Self::EightGaussians(_) => "eight_gaussians",
            Self::Spirals(_) => "spirals",
        }
    }

    fn toy(&self) -> &dyn Toy {
        match self {
            Self::Moons(toy) => toy,
            Self::Circles(toy) => toy,
            Self::Ring(toy) => toy,
            Self::Checkerboard(toy) => toy,
            Self::EightGaussians(toy) => toy,
            Self::Spirals(toy) => toy,
        }
    }
}

impl Toy for AnyToy {
    fn check(&self) -> Result<()> {
        self.toy().check()
    }

    fn n_parts(&self) -> usize {
        self.toy().n_parts()
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        self.toy().draw(stream)
    }

    fn exact_log_density(&self, x: f64, y: f64) -> Option<f64> {
        self.toy().exact_log_density(x, y)
    }
}
