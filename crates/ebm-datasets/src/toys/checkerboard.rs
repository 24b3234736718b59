//! A checkerboard: uniform on every other cell of a square.

use ebm_core::random::Stream;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Toy, check_length};

/// The square `[-half_width, half_width)^2` cut into `cells x cells`; the cell at the lower left is filled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkerboard {
    /// Half the side of the square.
    pub half_width: f64,
    /// Cells along a side.
    pub cells: usize,
}

impl Default for Checkerboard {
    fn default() -> Self {
        Self { half_width: 4.0, cells: 4 }
    }
}

impl Checkerboard {
    /// The logarithm of the density at a point; minus infinity outside the filled cells.
    pub fn log_density(&self, x: f64, y: f64) -> f64 {
        let side = self.side();
        let cell = |v: f64| ((v + self.half_width) / side).floor();
        let (column, row) = (cell(x), cell(y));
        let inside = 0.0..self.cells as f64;
        if inside.contains(&column) && inside.contains(&row) && (column + row) % 2.0 == 0.0 {
            -(self.n_parts() as f64 * side * side).ln()
        } else {
            f64::NEG_INFINITY
        }
    }

    fn side(&self) -> f64 {
        2.0 * self.half_width / self.cells as f64
    }
}

impl Toy for Checkerboard {
    fn check(&self) -> Result<()> {
        if !(1..=1000).contains(&self.cells) {
            return Err(Error::bad_value("checkerboard.cells", self.cells, "in 1..=1000", "4 is usual"));
        }
        check_length("checkerboard.half_width", self.half_width, false)
    }

    /// The filled cells, counted row by row from the lower left.
    fn n_parts(&self) -> usize {
        (self.cells * self.cells).div_ceil(2)
    }

    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
        let part = stream.below(self.n_parts());
        // Two rows hold `cells` filled cells between them; an even row begins with a filled one.
        let (pair, rest) = (part / self.cells, part % self.cells);
        let in_even_row = self.cells.div_ceil(2);
        let (row, column) = if rest < in_even_row {
            (2 * pair, 2 * rest)
        } else {
            (2 * pair + 1, 2 * (rest - in_even_row) + 1)
        };
        let side = self.side();
        loop {
            let mut place = |cell: usize| (cell as f64 + stream.uniform()) * side - self.half_width;
            let (x, y) = (place(column), place(row));
            // The few points that f32 would round onto a border are drawn again: every sample has a density.
            if self.log_density(f64::from(x as f32), f64::from(y as f32)).is_finite() {
                return ([x, y], part);
            }
        }
    }

    fn exact_log_density(&self, x: f64, y: f64) -> Option<f64> {
        Some(self.log_density(x, y))
    }
}
