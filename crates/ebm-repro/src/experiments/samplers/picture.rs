//! Draws of a kernel over the histogram of exact ones, in the plane of the first two coordinates.

use ebm_metrics::percentile_interval;
use ebm_metrics::samples::Grid2d;
use ndarray::{ArrayView2, s};

use crate::plots::{Axes, HeatMap, heat_map};

const CELLS: usize = 60;
const POINTS: usize = 1000;

/// A picture for the report.
pub struct Picture {
    pub id: String,
    pub title: String,
    pub svg: String,
}

impl Picture {
    /// The window holds 99 % of the exact draws in each direction.
    ///
    /// # Errors
    /// Draws of fewer than two coordinates, or all alike.
    pub fn new(
        kernel: &str,
        target: &str,
        draws: ArrayView2<f64>,
        exact: ArrayView2<f64>,
    ) -> anyhow::Result<Self> {
        let window = |i: usize| percentile_interval(&exact.column(i).to_vec(), 0.99);
        let (x, y) = (window(0)?, window(1)?);
        let grid = Grid2d::new([x.low, y.low], [x.high, y.high], [CELLS; 2])?;
        let counts = grid.histogram(exact.slice(s![.., ..2]))?.counts;
        let values: Vec<f64> = counts.t().iter().copied().collect();
        let (x, y) = (x.low..x.high, y.low..y.high);
        let map = HeatMap { n_x: CELLS, n_y: CELLS, x, y, values: &values, scale: None };
        let points: Vec<(f64, f64)> = draws.rows().into_iter().take(POINTS).map(|r| (r[0], r[1])).collect();
        let (kernel_words, target_words) = (kernel.replace('_', " "), target.replace('_', " "));
        Ok(Self {
            id: format!("{target}-{kernel}"),
            title: format!("{kernel_words} on {target_words}"),
            svg: heat_map(&Axes::new("x0", "x1"), &map, &points)?,
        })
    }
}
