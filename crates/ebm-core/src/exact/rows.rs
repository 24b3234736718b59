//! A lattice cut into rows: what [`TransferMatrix`](super::TransferMatrix) multiplies.
//!
//! With `x_r` the spins of row `r`, `f(x) = prod_r W_r(x_r) V_r(x_r, x_{r+1})`: `W` holds a row's own fields and
//! couplings, `V` the couplings to the next row. `V_r` is a Kronecker product of one 2 x 2 matrix a column,
//! `[[e^J, e^-J], [e^-J, e^J]]`, so a vector of all `2^width` row states goes through it in `width 2^width` steps rather
//! than `4^width`.
//!
//! Bit `j` of a row state is 1 where the spin at position `j` is 1. "Rows" are the lattice's rows or its columns,
//! whichever is cheaper: the narrow side across, and a ring along them only where that pays.

use super::lattice::{Boundary, IsingLattice};
use crate::{Error, Result};

/// The widest rows: all their states are start points when the rows form a ring, a single sweep is enough otherwise.
const MAX_WIDTH_RING: usize = 12;
const MAX_WIDTH_CHAIN: usize = 16;

/// The most numbers `n_rows * 2^width` that are kept: 2^25, or 256 MiB.
const MAX_WEIGHTS: usize = 1 << 25;

/// Two states of neighbouring rows may differ by at most this in `log f`. A product of two such factors then stays
/// within f64's range, and nothing that counts is lost to underflow.
const MAX_RANGE: f64 = 300.0;

/// The states of one row that agree with what is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    /// Bits of the positions that are known.
    mask: usize,
    /// Their values.
    bits: usize,
}

impl Allowed {
    pub(super) fn admits(self, state: usize) -> bool {
        state & self.mask == self.bits
    }
}

/// The factors of all rows.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) width: usize,
    pub(super) n_rows: usize,
    /// Whether the last row is coupled to the first.
    pub(super) ring: bool,
    /// Whether a row here is a column of the lattice.
    turned: bool,
    cols: usize,
    /// The position to which each position of a row is joined within the row, `[width]`.
    next: Vec<Option<usize>>,
    /// `W_r / max W_r`, `[n_rows, 2^width]`.
    weights: Vec<f64>,
    log_max_weight: Vec<f64>,
    /// The 2 x 2 factors of `V_r` for equal and opposite spins, over `e^|J|`: `[n_rows, width]`.
    bonds: Vec<[f64; 2]>,
    /// The sum of `|J|` that was divided out, `[n_rows]`.
    log_max_bonds: Vec<f64>,
}

impl Rows {
    pub(super) fn new(lattice: &IsingLattice) -> Result<Self> {
        let turned = turn(lattice)?;
        let (n_rows, width) = sides(lattice, turned);
        let ring = is_ring(lattice, turned);
        let (along, across) =
            if turned { (lattice.down(), lattice.right()) } else { (lattice.right(), lattice.down()) };
        let mut rows = Self {
            width,
            n_rows,
            ring,
            turned,
            cols: lattice.cols(),
            next: vec![],
            weights: Vec::with_capacity(n_rows << width),
            log_max_weight: vec![],
            bonds: vec![],
            log_max_bonds: vec![],
        };
        rows.next = (0..width).map(|j| rows.find_next(lattice, j)).collect();
        for row in 0..n_rows {
            let sites: Vec<usize> = (0..width).map(|j| rows.site(row, j)).collect();
            let across: Vec<f64> =
                sites.iter().map(|i| if rows.has_bonds(row) { across[*i] } else { 0.0 }).collect();
            let along: Vec<f64> =
                sites.iter().zip(&rows.next).map(|(i, n)| n.map_or(0.0, |_| along[*i])).collect();
            let fields: Vec<f64> = sites.iter().map(|i| lattice.fields()[*i]).collect();
            let size = |values: &[f64]| values.iter().map(|v| v.abs()).sum::<f64>();
            let range = 2.0 * (size(&across) + size(&along) + size(&fields));
            if range > MAX_RANGE {
                let name = "the range of log f over the states of a row";
                let fix = "take smaller couplings and fields, or a narrower lattice";
                return Err(Error::bad_value(name, range, format!("at most {MAX_RANGE}"), fix));
            }
            rows.push_weights(&along, &fields);
            rows.bonds.extend(across.iter().map(|j| [(j - j.abs()).exp(), (-j - j.abs()).exp()]));
            rows.log_max_bonds.push(size(&across));
        }
        Ok(rows)
    }

    fn push_weights(&mut self, along: &[f64], fields: &[f64]) {
        let spin = |state: usize, j: usize| if state >> j & 1 == 1 { 1.0 } else { -1.0 };
        let log_weight = |state: usize| -> f64 {
            let pull = |j: usize| fields[j] + self.next[j].map_or(0.0, |n| along[j] * spin(state, n));
            (0..along.len()).map(|j| spin(state, j) * pull(j)).sum()
        };
        let logs: Vec<f64> = (0..self.n_states()).map(log_weight).collect();
        let largest = logs.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        self.weights.extend(logs.iter().map(|log| (log - largest).exp()));
        self.log_max_weight.push(largest);
    }

    fn find_next(&self, lattice: &IsingLattice, j: usize) -> Option<usize> {
        let site = self.site(0, j);
        let next = if self.turned { lattice.below(site) } else { lattice.right_of(site) };
        next.map(|site| if self.turned { site / self.cols } else { site % self.cols })
    }

    /// The lattice's site at a position of a row.
    pub(super) fn site(&self, row: usize, position: usize) -> usize {
        if self.turned { position * self.cols + row } else { row * self.cols + position }
    }

    /// The position to which `position` is joined within its row, if any.
    pub(super) fn next(&self, position: usize) -> Option<usize> {
        self.next[position]
    }

    /// Whether the edges within a row go down on the lattice (and those between rows to the right).
    pub(super) fn turned(&self) -> bool {
        self.turned
    }

    pub(super) fn n_states(&self) -> usize {
        1 << self.width
    }

    /// The bond from `row` to the next, if there is one: the last row has one only in a ring.
    pub(super) fn has_bonds(&self, row: usize) -> bool {
        self.ring || row + 1 < self.n_rows
    }

    /// What is known of each row, from spins by site.
    pub(super) fn allowed(&self, partial: &[Option<i8>]) -> Vec<Allowed> {
        let mut allowed = vec![Allowed::default(); self.n_rows];
        for (row, allowed) in allowed.iter_mut().enumerate() {
            for position in 0..self.width {
                if let Some(spin) = partial[self.site(row, position)] {
                    allowed.mask |= 1 << position;
                    allowed.bits |= usize::from(spin > 0) << position;
                }
            }
        }
        allowed
    }

    /// The row of which most is known: it has the fewest states to start from.
    pub(super) fn most_constrained(&self, allowed: &[Allowed]) -> usize {
        let known = |row: &usize| allowed[*row].mask.count_ones();
        // `max_by_key` takes the last of several; from the back, that is the first row.
        (0..self.n_rows).rev().max_by_key(known).unwrap_or(0)
    }

    /// Replace `v` by `V_row v`, less the factor whose logarithm is returned. `V` is symmetric, so this goes from a row
    /// to the next or back.
    pub(super) fn cross(&self, row: usize, v: &mut [f64]) -> f64 {
        for (j, bond) in self.bonds_of(row).iter().enumerate() {
            cross_bond(*bond, j, v);
        }
        self.log_max_bonds[row]
    }

    /// The 2 x 2 factors between `row` and the next.
    pub(super) fn bonds_of(&self, row: usize) -> &[[f64; 2]] {
        &self.bonds[row * self.width..][..self.width]
    }

    /// Multiply `v` by `W_row`, drop the states that are not allowed, and scale the largest number to 1; the logarithm
    /// of what was divided out is returned.
    pub(super) fn enter(&self, row: usize, allowed: Allowed, v: &mut [f64]) -> f64 {
        let weights = &self.weights[row << self.width..][..self.n_states()];
        let mut largest = 0.0f64;
        for (state, (v, weight)) in v.iter_mut().zip(weights).enumerate() {
            *v = if allowed.admits(state) { *v * weight } else { 0.0 };
            largest = largest.max(*v);
        }
        let scale = 1.0 / largest;
        v.iter_mut().for_each(|v| *v *= scale);
        self.log_max_weight[row] + largest.ln()
    }

    /// Start `v` with row `row` in one state; returns `ln W_row(state)`.
    pub(super) fn enter_at(&self, row: usize, state: usize, v: &mut [f64]) -> f64 {
        v.fill(0.0);
        v[state] = 1.0;
        self.log_max_weight[row] + self.weights[(row << self.width) + state].ln()
    }
}

/// `v <- M v` with the 2 x 2 matrix `[[equal, opposite], [opposite, equal]]` acting on bit `j`.
pub(super) fn cross_bond([equal, opposite]: [f64; 2], j: usize, v: &mut [f64]) {
    for pair in v.chunks_exact_mut(2 << j) {
        let (low, high) = pair.split_at_mut(1 << j);
        for (a, b) in low.iter_mut().zip(high) {
            (*a, *b) = (equal * *a + opposite * *b, opposite * *a + equal * *b);
        }
    }
}

/// Number of rows and their width.
fn sides(lattice: &IsingLattice, turned: bool) -> (usize, usize) {
    if turned { (lattice.cols(), lattice.rows()) } else { (lattice.rows(), lattice.cols()) }
}

/// Whether the rows form a ring. A single row does not, whatever the boundary.
fn is_ring(lattice: &IsingLattice, turned: bool) -> bool {
    let closed = match lattice.boundary() {
        Boundary::Torus => true,
        Boundary::Cylinder => turned,
        Boundary::Open => false,
    };
    closed && sides(lattice, turned).0 > 1
}

/// Whether to take the lattice's columns as rows: the cheaper way. A ring costs the square of the number of states.
fn turn(lattice: &IsingLattice) -> Result<bool> {
    let cost = |turned: bool| sides(lattice, turned).1 * (1 + usize::from(is_ring(lattice, turned)));
    let turned = cost(true) < cost(false);
    let (n_rows, width) = sides(lattice, turned);
    let (limit, kind) =
        if is_ring(lattice, turned) { (MAX_WIDTH_RING, "closed") } else { (MAX_WIDTH_CHAIN, "open") };
    if width > limit {
        let limit = format!("at most {limit} where the long direction is {kind}");
        let fix = "take a narrower lattice; for more, compare with Monte Carlo";
        return Err(Error::bad_value("lattice width", width, limit, fix));
    }
    if n_rows > MAX_WEIGHTS >> width {
        let (found, limit) = (format_args!("{n_rows} x 2^{width}"), "at most 2^25");
        return Err(Error::bad_value(
            "rows x row states",
            found,
            limit,
            "take a shorter or narrower lattice",
        ));
    }
    Ok(turned)
}
