//! Means of spins and of products of neighbours on an Ising lattice, by one pass forwards and one back.
//!
//! With `f_r` the sum over all rows before row `r` and `g_r` over all after it, the law of row `r` is proportional to
//! `f_r g_r` and gives its spins and the edges within it. For an edge between rows, the product of its two spins is put
//! into its own 2 x 2 factor of `V_r = M_1 ... M_w`, with the factors before it applied to `f_r` and those after it
//! to `g_{r+1}`; that costs no more than the two passes. In a ring all this is done for each state of the first row and
//! weighted by that state's probability.

use super::lattice::IsingLattice;
use super::rows::{Allowed, Rows, cross_bond};

/// First-row states less likely than this are left out: together they change no mean by more than 1e-16.
const NEGLIGIBLE: f64 = 1e-20;

/// Exact means on an [`IsingLattice`], from [`TransferMatrix::moments`](super::TransferMatrix::moments).
#[derive(Clone, Debug, PartialEq)]
pub struct IsingMoments {
    magnetisation: Vec<f64>,
    right: Vec<f64>,
    down: Vec<f64>,
    n_edges: usize,
}

impl IsingMoments {
    /// `E[x_i]` of every site, `[rows * cols]`.
    pub fn magnetisation(&self) -> &[f64] {
        &self.magnetisation
    }

    /// `E[x_i x_j]` with `j` the site to the right of `i`, `[rows * cols]`; 0 where there is no edge.
    pub fn right(&self) -> &[f64] {
        &self.right
    }

    /// `E[x_i x_j]` with `j` the site below `i`, `[rows * cols]`; 0 where there is no edge.
    pub fn down(&self) -> &[f64] {
        &self.down
    }

    /// The mean of `E[x_i]` over the sites.
    pub fn mean_magnetisation(&self) -> f64 {
        self.magnetisation.iter().sum::<f64>() / self.magnetisation.len() as f64
    }

    /// The mean of `E[x_i x_j]` over the edges, the product of means not taken off; NaN without any edge.
    pub fn neighbour_correlation(&self) -> f64 {
        (self.right.iter().sum::<f64>() + self.down.iter().sum::<f64>()) / self.n_edges as f64
    }

    /// `E[log f(x)]`.
    pub(super) fn mean_log_f(&self, lattice: &IsingLattice) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(lattice.fields(), &self.magnetisation)
            + dot(lattice.right(), &self.right)
            + dot(lattice.down(), &self.down)
    }
}

/// All means; `first_row` holds the logarithms of the summed weights of row 0's states in a ring.
pub(super) fn moments(lattice: &IsingLattice, rows: &Rows, first_row: &[f64], log_z: f64) -> IsingMoments {
    let mut passes = Passes::new(rows);
    if rows.ring {
        for (state, log_weight) in first_row.iter().enumerate() {
            let probability = (log_weight - log_z).exp();
            if probability > NEGLIGIBLE {
                passes.add(Some(state), probability);
            }
        }
    } else {
        passes.add(None, 1.0);
    }
    let n = lattice.n_sites();
    let mut out = IsingMoments {
        magnetisation: vec![0.0; n],
        right: vec![0.0; n],
        down: vec![0.0; n],
        n_edges: lattice.edges().len(),
    };
    let (along, across) =
        if rows.turned() { (&mut out.down, &mut out.right) } else { (&mut out.right, &mut out.down) };
    for row in 0..rows.n_rows {
        let law = &passes.row_laws[row * rows.n_states()..][..rows.n_states()];
        for position in 0..rows.width {
            let site = rows.site(row, position);
            out.magnetisation[site] = mean_of_signs(law, 1 << position);
            if let Some(next) = rows.next(position) {
                along[site] = mean_of_signs(law, 1 << position | 1 << next);
            }
            across[site] = passes.across[row * rows.width + position];
        }
    }
    out
}

/// The mean over a row's law of the product of the spins whose bits are set.
fn mean_of_signs(law: &[f64], bits: usize) -> f64 {
    // A spin is -1 where its bit is 0, so the product is negative for an odd number of zeros.
    let sign = |state: usize| if (!state & bits).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    law.iter().enumerate().map(|(state, p)| sign(state) * p).sum()
}

/// Sums over the states of the first row, and the room that one of them needs.
struct Passes<'a> {
    rows: &'a Rows,
    /// The law of every row, `[n_rows, 2^width]`.
    row_laws: Vec<f64>,
    /// The mean product of every pair in neighbouring rows, `[n_rows, width]`.
    across: Vec<f64>,
    /// `f_r` times the row's own weight, `[n_rows, 2^width]`.
    forward: Vec<f64>,
    /// `f_r` with the first `j` factors of `V_r` applied, `[width, 2^width]`.
    part_way: Vec<f64>,
}

impl<'a> Passes<'a> {
    fn new(rows: &'a Rows) -> Self {
        let n = rows.n_states();
        Self {
            rows,
            row_laws: vec![0.0; rows.n_rows * n],
            across: vec![0.0; rows.n_rows * rows.width],
            forward: vec![0.0; rows.n_rows * n],
            part_way: vec![0.0; rows.width * n],
        }
    }

    /// Add what row 0 contributes in one state (in a ring) or in all (an open chain), with this weight.
    fn add(&mut self, first: Option<usize>, weight: f64) {
        let (rows, n) = (self.rows, self.rows.n_states());
        let mut v = vec![1.0; n];
        match first {
            Some(state) => rows.enter_at(0, state, &mut v),
            None => rows.enter(0, Allowed::default(), &mut v),
        };
        let mut back = if first.is_some() { v.clone() } else { vec![1.0; n] };
        self.forward[..n].copy_from_slice(&v);
        for row in 1..rows.n_rows {
            rows.cross(row - 1, &mut v);
            rows.enter(row, Allowed::default(), &mut v);
            self.forward[row * n..][..n].copy_from_slice(&v);
        }
        for row in (0..rows.n_rows).rev() {
            if rows.has_bonds(row) {
                self.add_bonds(row, &mut back, weight);
            }
            let forward = &self.forward[row * n..][..n];
            let scale = weight / dot(forward, &back);
            let laws = &mut self.row_laws[row * n..][..n];
            for ((law, f), g) in laws.iter_mut().zip(forward).zip(&back) {
                *law += scale * (f * g);
            }
            rows.enter(row, Allowed::default(), &mut back);
        }
    }

    /// Add the products of pairs between `row` and the next. `back` is a function of the next row's state and comes out
    /// as one of this row's.
    fn add_bonds(&mut self, row: usize, back: &mut [f64], weight: f64) {
        let n = self.rows.n_states();
        let bonds = self.rows.bonds_of(row);
        let forward = &self.forward[row * n..][..n];
        let mut v = forward.to_vec();
        for (j, bond) in bonds.iter().enumerate() {
            self.part_way[j * n..][..n].copy_from_slice(&v);
            cross_bond(*bond, j, &mut v);
        }
        // `v` has now crossed to the next row.
        let scale = weight / dot(&v, back);
        for (j, bond) in bonds.iter().enumerate().rev() {
            let product = signed_dot(*bond, j, &self.part_way[j * n..][..n], back);
            self.across[row * self.rows.width + j] += scale * product;
            cross_bond(*bond, j, back);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a' S b` with `S = [[equal, -opposite], [-opposite, equal]]` acting on bit `j`: a bond times its two spins.
fn signed_dot([equal, opposite]: [f64; 2], j: usize, a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks_exact(2 << j).zip(b.chunks_exact(2 << j)) {
        let ((a0, a1), (b0, b1)) = (a.split_at(1 << j), b.split_at(1 << j));
        for ((a0, a1), (b0, b1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
            sum += equal * (a0 * b0 + a1 * b1) - opposite * (a0 * b1 + a1 * b0);
        }
    }
    sum
}
