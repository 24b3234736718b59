//! The Ising lattice: spins +-1 on `rows x cols` sites, `log f(x) = sum_edges J_ij x_i x_j + sum_i b_i x_i`.
//!
//! Which edges there are, and how often each counts, stands at [`IsingLattice`].
//!
//! Source: E. Ising, Zeitschrift für Physik 31 (1925), DOI 10.1007/BF02980577; in two dimensions H. A. Kramers and
//! G. H. Wannier, Physical Review 60 (1941), DOI 10.1103/PhysRev.60.252.

use crate::{Error, Result};

/// More sites than this are refused: 2^24.
const MAX_SITES: usize = 1 << 24;

/// In which directions a lattice is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Both: rows and columns are rings.
    Torus,
    /// Each row is a ring; the first and the last row are free.
    Cylinder,
    /// None: all four borders are free. A strip is a lattice of this kind with one long side.
    Open,
}

/// `log f(x) = sum_edges J_ij x_i x_j + sum_i b_i x_i` for spins `x_i` of -1 or 1; the energy is `E = -log f`.
///
/// Sites are numbered row by row: row `r`, column `c` is site `r * cols + c`.
///
/// # Which edges there are
/// Every edge counts once. Papers that write `x' (sigma A) x` with an adjacency matrix `A` count each twice: their
/// `sigma` is half of our coupling, `J = 2 sigma`.
///
/// - Each site is joined to the one on its right and to the one below.
/// - Where a direction is closed, the last site of a line is joined to its first. On a side of 2 that is a second edge
///   between the same two sites, and both count (a 0/1 adjacency matrix would count one).
/// - On a side of 1 it would join a site to itself, and there is no such edge.
/// - A strip is open on all four sides ([`Boundary::Open`]); a band around a cylinder is [`Boundary::Cylinder`].
///
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// let lattice = IsingLattice::new(3, 4, Boundary::Torus, 0.2, 0.1)?;
/// assert_eq!((lattice.n_sites(), lattice.edges().len()), (12, 24));
/// // All up: every edge gives J, every site b.
/// assert!((lattice.log_f(&[1; 12])? - (24.0 * 0.2 + 12.0 * 0.1)).abs() < 1e-12);
/// assert_eq!(IsingLattice::new(3, 4, Boundary::Open, 0.2, 0.1)?.edges().len(), 3 * 3 + 2 * 4);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct IsingLattice {
    rows: usize,
    cols: usize,
    boundary: Boundary,
    right: Vec<f64>,
    down: Vec<f64>,
    fields: Vec<f64>,
}

impl IsingLattice {
    /// The same coupling `J` on every edge and the same field `b` at every site.
    ///
    /// # Errors
    /// When a side is 0, there are more than 2^24 sites, or a number is not finite.
    pub fn new(rows: usize, cols: usize, boundary: Boundary, coupling: f64, field: f64) -> Result<Self> {
        for (name, side) in [("rows", rows), ("cols", cols)] {
            if side == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        let n = rows.saturating_mul(cols);
        if n > MAX_SITES {
            let size = format_args!("{rows} x {cols}");
            return Err(Error::bad_value("rows x cols", size, "at most 2^24 sites", "take shorter sides"));
        }
        check_finite("coupling", coupling)?;
        check_finite("field", field)?;
        Ok(Self {
            rows,
            cols,
            boundary,
            right: vec![coupling; n],
            down: vec![coupling; n],
            fields: vec![field; n],
        })
    }

    /// A coupling of its own for every edge, in place of the one of [`IsingLattice::new`]: `right[i]` belongs to the
    /// edge from site `i` to the right, `down[i]` to the one below, both `[rows * cols]`. Where there is no edge the
    /// number must be finite and is not used.
    ///
    /// ```
    /// use ebm_core::exact::{Boundary, IsingLattice};
    /// let pair = IsingLattice::new(1, 2, Boundary::Open, 0.0, 0.0)?;
    /// let pair = pair.with_couplings(vec![-1.5, 9.0], vec![9.0, 9.0])?;
    /// assert_eq!(pair.edges(), [(0, 1, -1.5)]);
    /// # Ok::<(), ebm_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a length is not the number of sites, or a number is not finite.
    pub fn with_couplings(self, right: Vec<f64>, down: Vec<f64>) -> Result<Self> {
        self.check_sites("right", &right)?;
        self.check_sites("down", &down)?;
        Ok(Self { right, down, ..self })
    }

    /// A field of its own for every site, `[rows * cols]`, in place of the one of [`IsingLattice::new`].
    ///
    /// # Errors
    /// When the length is not the number of sites, or a number is not finite.
    pub fn with_fields(self, fields: Vec<f64>) -> Result<Self> {
        self.check_sites("fields", &fields)?;
        Ok(Self { fields, ..self })
    }

    fn check_sites(&self, name: &str, values: &[f64]) -> Result<()> {
        if values.len() != self.n_sites() {
            return Err(Error::shape(format!("{name} of a lattice"), self.n_sites(), values.len()));
        }
        values.iter().enumerate().try_for_each(|(i, v)| check_finite(format!("{name}[{i}]"), *v))
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// In which directions the lattice is closed.
    pub fn boundary(&self) -> Boundary {
        self.boundary
    }

    /// `rows * cols`.
    pub fn n_sites(&self) -> usize {
        self.rows * self.cols
    }

    /// The couplings to the right, `[rows * cols]`; without meaning where there is no edge.
    pub fn right(&self) -> &[f64] {
        &self.right
    }

    /// The couplings downwards, `[rows * cols]`; without meaning where there is no edge.
    pub fn down(&self) -> &[f64] {
        &self.down
    }

    /// The fields, `[rows * cols]`.
    pub fn fields(&self) -> &[f64] {
        &self.fields
    }

    /// The site to the right of `site`, where there is an edge to it.
    pub fn right_of(&self, site: usize) -> Option<usize> {
        let (row, col) = (site / self.cols, site % self.cols);
        next(col, self.cols, self.boundary != Boundary::Open).map(|col| row * self.cols + col)
    }

    /// The site below `site`, where there is an edge to it.
    pub fn below(&self, site: usize) -> Option<usize> {
        let (row, col) = (site / self.cols, site % self.cols);
        next(row, self.rows, self.boundary == Boundary::Torus).map(|row| row * self.cols + col)
    }

    /// The other end and the coupling of each edge of `site`: to the right, below, to the left, above.
    pub fn neighbours(&self, site: usize) -> impl Iterator<Item = (usize, f64)> {
        let (row, col) = (site / self.cols, site % self.cols);
        let left = previous(col, self.cols, self.boundary != Boundary::Open).map(|c| row * self.cols + c);
        let above = previous(row, self.rows, self.boundary == Boundary::Torus).map(|r| r * self.cols + col);
        let edges = [
            self.right_of(site).map(|other| (other, self.right[site])),
            self.below(site).map(|other| (other, self.down[site])),
            left.map(|other| (other, self.right[other])),
            above.map(|other| (other, self.down[other])),
        ];
        edges.into_iter().flatten()
    }

    /// Every edge once, as (site, its right or lower neighbour, coupling).
    pub fn edges(&self) -> Vec<(usize, usize, f64)> {
        let mut edges = Vec::with_capacity(2 * self.n_sites());
        self.for_each_edge(|site, other, coupling| edges.push((site, other, coupling)));
        edges
    }

    /// [`IsingLattice::edges`] without a list, in the same order.
    #[inline]
    pub(crate) fn for_each_edge(&self, mut f: impl FnMut(usize, usize, f64)) {
        for row in 0..self.rows {
            let below = next(row, self.rows, self.boundary == Boundary::Torus);
            for col in 0..self.cols {
                let site = row * self.cols + col;
                if let Some(right) = next(col, self.cols, self.boundary != Boundary::Open) {
                    f(site, row * self.cols + right, self.right[site]);
                }
                if let Some(below) = below {
                    f(site, below * self.cols + col, self.down[site]);
                }
            }
        }
    }

    /// `log f(x)` of spins `[rows * cols]`, each -1 or 1.
    ///
    /// # Errors
    /// When the number of spins is another, or a spin is neither -1 nor 1.
    pub fn log_f(&self, spins: &[i8]) -> Result<f64> {
        if spins.len() != self.n_sites() {
            return Err(Error::shape("spins of a lattice", self.n_sites(), spins.len()));
        }
        spins.iter().enumerate().try_for_each(|(i, s)| check_spin(i, *s))?;
        Ok(self.log_f_by(|site| f64::from(spins[site])))
    }

    /// `E(x) = -log f(x)`.
    ///
    /// # Errors
    /// As [`IsingLattice::log_f`].
    pub fn energy(&self, spins: &[i8]) -> Result<f64> {
        self.log_f(spins).map(|log_f| -log_f)
    }

    /// `log f` with the spin of a site given by a function. As `log f` is linear in each spin, the means of
    /// independent spins give the mean of `log f`.
    pub(crate) fn log_f_by(&self, spin: impl Fn(usize) -> f64) -> f64 {
        let mut sum: f64 = self.fields.iter().enumerate().map(|(site, field)| field * spin(site)).sum();
        self.for_each_edge(|site, other, coupling| sum += coupling * spin(site) * spin(other));
        sum
    }
}

/// The place after `at` on a line of `side` sites.
fn next(at: usize, side: usize, closed: bool) -> Option<usize> {
    if at + 1 < side {
        Some(at + 1)
    } else if closed && side > 1 {
        Some(0)
    } else {
        None
    }
}

/// The place before `at` on a line of `side` sites.
fn previous(at: usize, side: usize, closed: bool) -> Option<usize> {
    match at {
        0 if closed && side > 1 => Some(side - 1),
        0 => None,
        _ => Some(at - 1),
    }
}

fn check_finite(name: impl Into<String>, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::bad_value(name, value, "finite", "")) }
}

/// Fails unless the spin is -1 or 1.
pub(super) fn check_spin(site: usize, spin: i8) -> Result<()> {
    if spin == 1 || spin == -1 {
        Ok(())
    } else {
        Err(Error::bad_value(format!("spins[{site}]"), spin, "-1 or 1", "map a bit x to 2 x - 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(rows: usize, cols: usize, boundary: Boundary) -> Vec<(usize, usize)> {
        let lattice = IsingLattice::new(rows, cols, boundary, 1.0, 0.0).unwrap();
        lattice.edges().iter().map(|(i, j, _)| (*i, *j)).collect()
    }

    #[test]
    fn edges_on_short_sides() {
        assert_eq!(edges(1, 1, Boundary::Torus), []);
        assert_eq!(edges(1, 3, Boundary::Open), [(0, 1), (1, 2)]);
        assert_eq!(edges(1, 3, Boundary::Torus), [(0, 1), (1, 2), (2, 0)]);
        assert_eq!(edges(3, 1, Boundary::Cylinder), [(0, 1), (1, 2)]);
        // A side of 2: two edges between the same sites.
        assert_eq!(edges(1, 2, Boundary::Torus), [(0, 1), (1, 0)]);
        assert_eq!(edges(2, 2, Boundary::Torus).len(), 8);
        assert_eq!(edges(2, 2, Boundary::Cylinder).len(), 6);
        assert_eq!(edges(2, 2, Boundary::Open), [(0, 1), (0, 2), (1, 3), (2, 3)]);
        assert_eq!(edges(3, 5, Boundary::Torus).len(), 30);
        assert_eq!(edges(3, 5, Boundary::Cylinder).len(), 25);
    }

    #[test]
    fn log_f_by_hand() {
        let lattice = IsingLattice::new(2, 3, Boundary::Open, 0.0, 0.0).unwrap();
        let right = vec![1.0, 2.0, 99.0, 3.0, 4.0, 99.0];
        let down = vec![5.0, 6.0, 7.0, 99.0, 99.0, 99.0];
        let lattice = lattice.with_couplings(right, down).unwrap();
        let lattice = lattice.with_fields(vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).unwrap();
        // + - +
        // - - +
        let expected = -1.0 - 2.0 + 3.0 - 4.0 - 5.0 + 6.0 + 7.0 + 0.1 - 0.2 + 0.3 - 0.4 - 0.5 + 0.6;
        let spins = [1, -1, 1, -1, -1, 1];
        assert!((lattice.log_f(&spins).unwrap() - expected).abs() < 1e-12);
        assert_eq!(lattice.energy(&spins).unwrap(), -lattice.log_f(&spins).unwrap());
    }

    #[test]
    fn bad_input_is_an_error() {
        let new = |rows, cols, coupling, field| {
            IsingLattice::new(rows, cols, Boundary::Torus, coupling, field)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(new(0, 3, 0.0, 0.0), "rows = 0: must be at least 1");
        assert_eq!(new(3, 0, 0.0, 0.0), "cols = 0: must be at least 1");
        assert_eq!(
            new(usize::MAX, 2, 0.0, 0.0),
            "rows x cols = 18446744073709551615 x 2: must be at most 2^24 sites; take shorter sides"
        );
        assert_eq!(new(2, 2, f64::NAN, 0.0), "coupling = NaN: must be finite");
        assert_eq!(new(2, 2, 0.0, f64::INFINITY), "field = inf: must be finite");
        let lattice = IsingLattice::new(2, 2, Boundary::Torus, 0.1, 0.0).unwrap();
        let text = |e: Result<IsingLattice>| e.unwrap_err().to_string();
        assert_eq!(
            text(lattice.clone().with_couplings(vec![0.0; 4], vec![0.0; 3])),
            "down of a lattice: expected 4, found 3"
        );
        assert_eq!(
            text(lattice.clone().with_couplings(vec![0.0, f64::NAN, 0.0, 0.0], vec![0.0; 4])),
            "right[1] = NaN: must be finite"
        );
        assert_eq!(text(lattice.clone().with_fields(vec![])), "fields of a lattice: expected 4, found 0");
        assert_eq!(
            lattice.log_f(&[1; 5]).unwrap_err().to_string(),
            "spins of a lattice: expected 4, found 5"
        );
        assert_eq!(
            lattice.log_f(&[1, -1, 0, 1]).unwrap_err().to_string(),
            "spins[2] = 0: must be -1 or 1; map a bit x to 2 x - 1"
        );
    }
}
