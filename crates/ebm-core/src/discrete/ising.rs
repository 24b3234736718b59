//! The Ising lattice as an energy of bits: bit 0 is spin -1, bit 1 is spin 1.
//!
//! `E(s) = -sum_edges J_ij s_i s_j - sum_i b_i s_i`, extended to one-hot vectors by `s_i = X[i, 1] - X[i, 0]`:
//! linear in each spin, so the relaxed gradient gives the local energy differences exactly. A side of 2 that is
//! closed has two edges between the same sites, and both count.

use super::{DiscreteEnergy, Pairwise, RelaxedEnergy};
use crate::exact::IsingLattice;

/// Bits in place of spins. The lattice's own [`IsingLattice::energy`] takes spins: call this one as
/// `DiscreteEnergy::energy(&lattice, &bits)`.
impl DiscreteEnergy for IsingLattice {
    fn n_variables(&self) -> usize {
        self.n_sites()
    }

    fn n_states(&self) -> usize {
        2
    }

    fn energy(&self, x: &[u8]) -> f64 {
        -self.log_f_by(|site| spin(x[site]))
    }

    fn local_energies(&self, x: &mut [u8], i: usize, out: &mut [f64]) {
        let pull = pull(self, x, i);
        (out[0], out[1]) = (pull, -pull);
    }

    fn interactions(&self) -> Option<Vec<(usize, usize)>> {
        Some(self.edges().into_iter().map(|(i, j, _)| (i, j)).collect())
    }
}

/// `s_i s_j = 2 [x_i = x_j] - 1`: a coupling of spins counts twice as a coupling of equal states.
impl Pairwise for IsingLattice {
    fn bonds(&self) -> Vec<(usize, usize, f64)> {
        self.edges().into_iter().map(|(i, j, coupling)| (i, j, 2.0 * coupling)).collect()
    }

    fn field_energy(&self, i: usize, state: u8) -> f64 {
        -self.fields()[i] * spin(state)
    }
}

impl RelaxedEnergy for IsingLattice {
    fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]) {
        // The pulls first, each in the place of its bit's state 1.
        out.chunks_exact_mut(2).zip(self.fields()).for_each(|(pair, field)| pair[1] = *field);
        self.for_each_edge(|site, other, coupling| {
            out[2 * site + 1] += coupling * spin(x[other]);
            out[2 * other + 1] += coupling * spin(x[site]);
        });
        out.chunks_exact_mut(2).for_each(|pair| (pair[0], pair[1]) = (pair[1], -pair[1]));
    }
}

fn spin(bit: u8) -> f64 {
    2.0 * f64::from(bit) - 1.0
}

/// `d log f / d s_site`: the field and the neighbours' spins times their couplings.
fn pull(lattice: &IsingLattice, x: &[u8], site: usize) -> f64 {
    let edges = lattice.neighbours(site).map(|(other, coupling)| coupling * spin(x[other]));
    lattice.fields()[site] + edges.sum::<f64>()
}
