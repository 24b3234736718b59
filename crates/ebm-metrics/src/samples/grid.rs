//! Total variation between two laws on a grid: `TV(p, q) = 1/2 sum_i |p_i - q_i|`, in `[0, 1]`.
//!
//! (Levin and Peres 2017, Markov Chains and Mixing Times, proposition 4.2.) For samples against a density, count
//! the samples in the cells of a [`Grid2d`] and take the density's masses in the same cells. A histogram of n
//! samples of the very same law is itself about `sqrt(cells / (2 pi n))` away from it (for even masses): quote
//! that floor beside the number.

use ebm_core::{Error, Result};
use ndarray::{Array2, ArrayView2};

use crate::check;

/// A rectangle of the plane, cut into equal cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid2d {
    low: [f64; 2],
    high: [f64; 2],
    n_cells: [usize; 2],
}

/// How many samples fell where.
#[derive(Clone, Debug, PartialEq)]
pub struct GridHistogram {
    /// Samples in each cell `[x, y]`.
    pub counts: Array2<f64>,
    /// Samples outside of the grid.
    pub outside: usize,
}

impl Grid2d {
    /// The rectangle from `low` to `high`, with `n_cells` along each axis (x, y).
    ///
    /// # Errors
    /// A bound that is not finite, an empty range, or no cells.
    pub fn new(low: [f64; 2], high: [f64; 2], n_cells: [usize; 2]) -> Result<Self> {
        check::finite("low", &low)?;
        check::finite("high", &high)?;
        for axis in 0..2 {
            if low[axis] >= high[axis] {
                return Err(Error::bad_value(
                    format!("high[{axis}]"),
                    high[axis],
                    format!("above low[{axis}] = {}", low[axis]),
                    "",
                ));
            }
            if n_cells[axis] == 0 {
                return Err(Error::bad_value(format!("n_cells[{axis}]"), 0, "at least 1", "64 is usual"));
            }
        }
        Ok(Self { low, high, n_cells })
    }

    /// The cell that holds a point, or `None` outside. A cell holds its lower edges; the last ones their upper too.
    pub fn cell_of(&self, point: [f64; 2]) -> Option<[usize; 2]> {
        let mut cell = [0; 2];
        for axis in 0..2 {
            let (low, high, n) = (self.low[axis], self.high[axis], self.n_cells[axis]);
            if !(low..=high).contains(&point[axis]) {
                return None;
            }
            cell[axis] = (((point[axis] - low) / (high - low) * n as f64) as usize).min(n - 1);
        }
        Some(cell)
    }

    /// The middle of a cell.
    pub fn centre(&self, cell: [usize; 2]) -> [f64; 2] {
        std::array::from_fn(|axis| {
            let width = (self.high[axis] - self.low[axis]) / self.n_cells[axis] as f64;
            self.low[axis] + (cell[axis] as f64 + 0.5) * width
        })
    }

    /// Count the rows of `[sample, 2]`.
    ///
    /// # Errors
    /// No samples, a number of columns other than 2, or a number that is not finite.
    pub fn histogram(&self, samples: ArrayView2<f64>) -> Result<GridHistogram> {
        check::matrix("samples", samples, 1)?;
        check::same_len("columns of samples", 2, samples.ncols())?;
        let mut histogram = GridHistogram { counts: Array2::zeros(self.n_cells), outside: 0 };
        for row in samples.rows() {
            match self.cell_of([row[0], row[1]]) {
                Some(cell) => histogram.counts[cell] += 1.0,
                None => histogram.outside += 1,
            }
        }
        Ok(histogram)
    }

    /// The mass of each cell `[x, y]` under an unnormalised log-density, by the midpoint of `refine` x `refine`
    /// sub-cells; the masses sum to one over the grid. `-inf` is a density of zero.
    ///
    /// # Errors
    /// `refine` 0, a log-density that is NaN or `+inf`, or one that is `-inf` everywhere.
    pub fn masses(&self, refine: usize, log_density: impl Fn([f64; 2]) -> f64) -> Result<Array2<f64>> {
        if refine == 0 {
            return Err(Error::bad_value("refine", 0, "at least 1", "1 takes the density at the centres"));
        }
        let fine = Self { n_cells: self.n_cells.map(|n| n * refine), ..*self };
        let logs = Array2::from_shape_fn(fine.n_cells, |(i, j)| log_density(fine.centre([i, j])));
        let largest = logs.fold(f64::NEG_INFINITY, |m, &x| if x.is_nan() { f64::NAN } else { m.max(x) });
        if !largest.is_finite() || logs.iter().any(|x| x.is_nan()) {
            return Err(Error::bad_value(
                "the largest log-density on the grid",
                largest,
                "finite",
                "check the density and the grid's range",
            ));
        }
        let mut masses = Array2::<f64>::zeros(self.n_cells);
        for ((i, j), log) in logs.indexed_iter() {
            masses[[i / refine, j / refine]] += (log - largest).exp();
        }
        let total = masses.sum();
        Ok(masses / total)
    }
}

impl GridHistogram {
    /// Total variation to a law on the same cells (see [`Grid2d::masses`]); samples outside count as mass where
    /// the law has none.
    ///
    /// # Errors
    /// Another shape, a mass that is negative or not finite, or no mass.
    pub fn total_variation(&self, masses: ArrayView2<f64>) -> Result<f64> {
        if masses.dim() != self.counts.dim() {
            return Err(Error::shape("masses (as the histogram)", self.counts.dim(), masses.dim()));
        }
        let mut p: Vec<f64> = self.counts.iter().copied().collect();
        let mut q: Vec<f64> = masses.iter().copied().collect();
        p.push(self.outside as f64);
        q.push(0.0);
        total_variation(&p, &q)
    }
}

/// Total variation between two laws on the same cells, given as weights: counts, masses; each is divided by its
/// sum.
///
/// # Errors
/// No cells, unequal lengths, a weight that is negative or not finite, or weights that sum to zero.
pub fn total_variation(p: &[f64], q: &[f64]) -> Result<f64> {
    check::at_least("p", p.len(), 1)?;
    check::same_len("q (as p)", p.len(), q.len())?;
    let (total_p, total_q) = (total_weight("p", p)?, total_weight("q", q)?);
    let sum: f64 = p.iter().zip(q).map(|(x, y)| (x / total_p - y / total_q).abs()).sum();
    Ok((0.5 * sum).min(1.0))
}

fn total_weight(name: &str, weights: &[f64]) -> Result<f64> {
    check::finite(name, weights)?;
    if let Some(i) = weights.iter().position(|&w| w < 0.0) {
        return Err(Error::bad_value(format!("{name}[{i}]"), weights[i], "at least 0", ""));
    }
    let total: f64 = weights.iter().sum();
    if total > 0.0 && total.is_finite() {
        return Ok(total);
    }
    Err(Error::bad_value(format!("the sum of {name}"), total, "above 0 and finite", ""))
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    #[test]
    fn total_variation_by_hand() {
        assert_abs_diff_eq!(total_variation(&[1.0, 1.0], &[3.0, 1.0]).unwrap(), 0.25, epsilon = 1e-15);
        assert_eq!(total_variation(&[2.0, 0.0], &[0.0, 5.0]).unwrap(), 1.0);
        assert_eq!(total_variation(&[2.0, 6.0], &[1.0, 3.0]).unwrap(), 0.0);
    }

    #[test]
    fn a_grid_counts_edges_once() {
        let grid = Grid2d::new([0.0, -1.0], [4.0, 1.0], [4, 2]).unwrap();
        let points = array![[0.0, -1.0], [1.0, 0.0], [4.0, 1.0], [4.1, 0.0], [3.9, -0.1]];
        let h = grid.histogram(points.view()).unwrap();
        assert_eq!(h.counts, array![[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]);
        assert_eq!((h.outside, grid.centre([1, 0])), (1, [1.5, -0.5]));
        // Uniform masses 1/8: |1/5 - 1/8| four times, 1/8 four times, 1/5 outside.
        let masses = grid.masses(1, |_| -700.0).unwrap();
        assert_abs_diff_eq!(
            h.total_variation(masses.view()).unwrap(),
            0.5 * (0.3 + 0.5 + 0.2),
            epsilon = 1e-15
        );
    }

    /// A Gaussian's masses are differences of its distribution function.
    #[test]
    fn refined_masses_come_close_to_the_exact_integral() {
        use statrs::distribution::{ContinuousCDF, Normal};
        let law = Normal::new(0.0, 1.0).unwrap();
        let grid = Grid2d::new([-6.0, -6.0], [6.0, 6.0], [12, 12]).unwrap();
        let exact = Array2::from_shape_fn((12, 12), |(i, j)| {
            let slab = |k: usize| law.cdf(k as f64 - 5.0) - law.cdf(k as f64 - 6.0);
            slab(i) * slab(j)
        });
        let error = |refine| {
            let m = grid.masses(refine, |[x, y]| -0.5 * (x * x + y * y)).unwrap();
            assert_abs_diff_eq!(m.sum(), 1.0, epsilon = 1e-14);
            (&m - &exact).mapv(f64::abs).sum()
        };
        assert!(error(8) < 1e-3 && error(8) < error(1) / 30.0);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(total_variation(&[1.0, -1.0], &[1.0, 1.0]).unwrap_err().to_string().starts_with("p[1] = -1"));
        assert!(total_variation(&[0.0], &[1.0]).unwrap_err().to_string().starts_with("the sum of p = 0"));
        assert!(total_variation(&[], &[]).is_err() && total_variation(&[1.0], &[]).is_err());
        assert!(
            Grid2d::new([0.0, 0.0], [1.0, 0.0], [1, 1]).unwrap_err().to_string().starts_with("high[1] = 0")
        );
        assert!(Grid2d::new([0.0, 0.0], [1.0, 1.0], [1, 0]).is_err());
        let grid = Grid2d::new([0.0, 0.0], [1.0, 1.0], [2, 2]).unwrap();
        assert!(grid.histogram(Array2::zeros((3, 1)).view()).is_err());
        assert!(grid.masses(1, |_| f64::NAN).is_err() && grid.masses(1, |_| f64::NEG_INFINITY).is_err());
        assert!(grid.masses(1, |[x, _]| if x > 0.5 { f64::NAN } else { 0.0 }).is_err());
        let h = grid.histogram(array![[0.1, 0.1]].view()).unwrap();
        assert!(h.total_variation(Array2::ones((2, 3)).view()).is_err());
    }
}
