//! The best independent spins by reverse KL: naive mean field on an Ising lattice.
//!
//! Of all laws `q(x) = prod_i q_i(x_i)`, the one with the least `KL(q || p) = log Z - (E_q[log f] + H(q))`. Its means
//! solve `m_i = tanh(b_i + sum_j J_ij m_j)`. One site at a time this raises the bound `E_q[log f] + H(q) <= log Z` at
//! every step; the bound has several maxima (two magnetised ones below the critical temperature, and more on a
//! frustrated lattice), hence several starts, of which the best end is kept.
//!
//! Not to be confused with the product of the exact marginals, which is best by forward KL: its NLL is
//! [`TransferMatrix::independent_nll`](super::TransferMatrix::independent_nll).
//!
//! Source: C. Bishop, Pattern Recognition and Machine Learning (2006), section 10.1; M. Wainwright and M. Jordan (2008),
//! section 5.3, DOI 10.1561/2200000001.

use super::lattice::IsingLattice;
use super::spins_entropy;
use crate::random::{Purpose, Stream};

/// Sweeps stop when no mean moves by more than this; the bound's error is of second order in it.
const TOLERANCE: f64 = 1e-12;

/// Sweeps of one start. Near the mean-field critical point convergence is slow, and the bound is a bound all the same.
const MAX_SWEEPS: usize = 10_000;

/// Random starts besides all up, all down, the two checkerboards, and the fields alone.
const RANDOM_STARTS: u64 = 8;

/// The best law of independent spins by reverse KL.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice, MeanField, TransferMatrix};
/// let lattice = IsingLattice::new(6, 6, Boundary::Torus, 0.2, 0.2)?;
/// let mean_field = MeanField::best(&lattice);
/// let exact = TransferMatrix::new(lattice)?;
/// assert!((mean_field.kl(exact.log_z()) - 0.8055).abs() < 5e-5);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MeanField {
    /// `E_q[x_i]` of every site, `[rows * cols]`.
    pub magnetisation: Vec<f64>,
    /// `E_q[log f] + H(q)`, at most `log Z`.
    pub log_z_bound: f64,
    /// The most that a mean moved in the last sweep; above 1e-12 when 10,000 sweeps were not enough.
    pub last_move: f64,
}

impl MeanField {
    /// The best end of coordinate ascent from 13 fixed starts. The same lattice always gives the same numbers.
    pub fn best(lattice: &IsingLattice) -> Self {
        let neighbours = neighbours(lattice);
        let mut best = ascend(lattice, &neighbours, lattice.fields().iter().map(|b| b.tanh()).collect());
        for start in starts(lattice) {
            let other = ascend(lattice, &neighbours, start);
            if other.log_z_bound > best.log_z_bound {
                best = other;
            }
        }
        best
    }

    /// `KL(q || p)` in nats, given the exact `log Z`.
    pub fn kl(&self, log_z: f64) -> f64 {
        log_z - self.log_z_bound
    }
}

/// The neighbours of every site with their couplings.
fn neighbours(lattice: &IsingLattice) -> Vec<Vec<(usize, f64)>> {
    let mut neighbours = vec![vec![]; lattice.n_sites()];
    for (i, j, coupling) in lattice.edges() {
        neighbours[i].push((j, coupling));
        neighbours[j].push((i, coupling));
    }
    neighbours
}

/// All starts but the fields alone.
fn starts(lattice: &IsingLattice) -> Vec<Vec<f64>> {
    let n = lattice.n_sites();
    let checkerboard = |site: usize| {
        let even = (site / lattice.cols() + site % lattice.cols()).is_multiple_of(2);
        if even { 0.9 } else { -0.9 }
    };
    let mut starts = vec![
        vec![0.9; n],
        vec![-0.9; n],
        (0..n).map(checkerboard).collect(),
        (0..n).map(|site| -checkerboard(site)).collect(),
    ];
    for index in 0..RANDOM_STARTS {
        let mut stream = Stream::new(0, Purpose::Start, index);
        starts.push((0..n).map(|_| 2.0 * stream.uniform() - 1.0).collect());
    }
    starts
}

fn ascend(lattice: &IsingLattice, neighbours: &[Vec<(usize, f64)>], start: Vec<f64>) -> MeanField {
    let (mut means, mut last_move) = (start, f64::INFINITY);
    for _ in 0..MAX_SWEEPS {
        last_move = 0.0;
        for site in 0..means.len() {
            let pull: f64 = neighbours[site].iter().map(|(j, coupling)| coupling * means[*j]).sum();
            let mean = (lattice.fields()[site] + pull).tanh();
            last_move = last_move.max((mean - means[site]).abs());
            means[site] = mean;
        }
        if last_move <= TOLERANCE {
            break;
        }
    }
    let log_z_bound = lattice.log_f_by(|site| means[site]) + spins_entropy(&means);
    MeanField { magnetisation: means, log_z_bound, last_move }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Boundary, TransferMatrix};

    fn torus(side: usize, coupling: f64, field: f64) -> IsingLattice {
        IsingLattice::new(side, side, Boundary::Torus, coupling, field).unwrap()
    }

    #[test]
    fn independent_spins_are_found_exactly() {
        let fields: Vec<f64> = (0..6).map(|i| 0.3 * f64::from(i) - 0.8).collect();
        let lattice = IsingLattice::new(2, 3, Boundary::Open, 0.0, 0.0).unwrap();
        let lattice = lattice.with_fields(fields.clone()).unwrap();
        let found = MeanField::best(&lattice);
        for (m, b) in found.magnetisation.iter().zip(&fields) {
            assert!((m - b.tanh()).abs() < 1e-14);
        }
        let exact = TransferMatrix::new(lattice).unwrap();
        assert!(found.kl(exact.log_z()).abs() < 1e-12);
    }

    #[test]
    fn a_uniform_torus_solves_its_one_equation() {
        // m = tanh(b + 4 J m), and the bound is that of one site.
        let (coupling, field) = (0.2, 0.2);
        let mut m: f64 = 0.5;
        for _ in 0..1000 {
            m = (field + 4.0 * coupling * m).tanh();
        }
        let bound = 2.0 * coupling * m * m + field * m + spins_entropy(&[m]);
        let found = MeanField::best(&torus(6, coupling, field));
        assert!((found.log_z_bound - 36.0 * bound).abs() < 1e-10 && found.last_move <= TOLERANCE);
        assert!(found.magnetisation.iter().all(|mean| (mean - m).abs() < 1e-10));
    }

    #[test]
    fn the_best_of_several_ends_is_kept() {
        // Below the critical temperature m = 0 is a saddle; with negative couplings the checkerboard is best, and by
        // symmetry as good as all up is with positive ones.
        let up = MeanField::best(&torus(4, 0.4, 0.0));
        let checkerboard = MeanField::best(&torus(4, -0.4, 0.0));
        assert!((up.log_z_bound - checkerboard.log_z_bound).abs() < 1e-10);
        assert!(up.log_z_bound > 16.0 * std::f64::consts::LN_2 + 0.1);
        let staggered = &checkerboard.magnetisation;
        assert!((staggered[0] + staggered[1]).abs() < 1e-9 && staggered[0].abs() > 0.5);
    }

    #[test]
    fn it_is_a_bound_on_frustrated_lattices_too() {
        for index in 0..5 {
            let mut stream = Stream::new(4, Purpose::User, index);
            let mut numbers = |scale: f64| (0..20).map(|_| scale * stream.normal()).collect::<Vec<_>>();
            let lattice = IsingLattice::new(4, 5, Boundary::Torus, 0.0, 0.0).unwrap();
            let lattice = lattice.with_couplings(numbers(0.6), numbers(0.6)).unwrap();
            let lattice = lattice.with_fields(numbers(0.3)).unwrap();
            let found = MeanField::best(&lattice);
            let log_z = TransferMatrix::new(lattice).unwrap().log_z();
            assert!(found.kl(log_z) > 0.0 && found.kl(log_z) < 0.5 * log_z, "{} of {log_z}", found.kl(log_z));
        }
    }
}
