//! The Potts lattice, `E(x) = -J sum_edges [x_i = x_j]`, and the trait of energies of equal neighbours.
//!
//! Extended to one-hot vectors by `[x_i = x_j] = sum_k X[i, k] X[j, k]`: linear in each variable, so the relaxed
//! gradient gives the local energy differences exactly.
//!
//! Source: R. B. Potts, Proceedings of the Cambridge Philosophical Society 48 (1952), DOI 10.1017/S0305004100027419.

use super::{DiscreteEnergy, RelaxedEnergy};
use crate::exact::{Boundary, IsingLattice};
use crate::{Error, Result};

/// `E(x) = -sum_bonds J_ij [x_i = x_j] + sum_i f_i(x_i)`, up to a constant: what cluster moves need.
pub trait Pairwise: DiscreteEnergy {
    /// Every bond as `(i, j, J_ij)`; two variables may have several.
    fn bonds(&self) -> Vec<(usize, usize, f64)>;

    /// `f_i(state)`; 0, the default, where there is no field.
    fn field_energy(&self, _i: usize, _state: u8) -> f64 {
        0.0
    }
}

/// Equal neighbours lower the energy by the coupling. The lattice's edges are those of [`IsingLattice`].
///
/// ```
/// use ebm_core::{DiscreteEnergy, PottsLattice, exact::Boundary};
/// let lattice = PottsLattice::new(2, 3, Boundary::Open, 4, 0.7)?;
/// // Two of the seven edges join equal states.
/// assert_eq!(lattice.energy(&[0, 0, 1, 2, 3, 1]), -2.0 * 0.7);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PottsLattice {
    /// For its edges; its couplings are all `coupling`.
    lattice: IsingLattice,
    n_states: usize,
    coupling: f64,
}

impl PottsLattice {
    /// A lattice of variables with `n_states` states and one coupling.
    ///
    /// # Errors
    /// When a side is 0, there are more than 2^24 sites, `n_states` is not in 2 to 256, or the coupling not finite.
    pub fn new(rows: usize, cols: usize, boundary: Boundary, n_states: usize, coupling: f64) -> Result<Self> {
        if !(2..=256).contains(&n_states) {
            return Err(Error::bad_value("n_states", n_states, "2 to 256", ""));
        }
        let lattice = IsingLattice::new(rows, cols, boundary, coupling, 0.0)?;
        Ok(Self { lattice, n_states, coupling })
    }

    /// The coupling of every edge.
    pub fn coupling(&self) -> f64 {
        self.coupling
    }

    /// The lattice's sides, boundary and edges.
    pub fn lattice(&self) -> &IsingLattice {
        &self.lattice
    }
}

impl DiscreteEnergy for PottsLattice {
    fn n_variables(&self) -> usize {
        self.lattice.n_sites()
    }

    fn n_states(&self) -> usize {
        self.n_states
    }

    fn energy(&self, x: &[u8]) -> f64 {
        let later = |site| [self.lattice.right_of(site), self.lattice.below(site)].into_iter().flatten();
        let equal = |site: usize| later(site).filter(|other| x[*other] == x[site]).count();
        -self.coupling * (0..x.len()).map(equal).sum::<usize>() as f64
    }

    fn local_energies(&self, x: &mut [u8], i: usize, out: &mut [f64]) {
        out.fill(0.0);
        self.lattice.neighbours(i).for_each(|(j, _)| out[usize::from(x[j])] -= self.coupling);
    }

    fn interactions(&self) -> Option<Vec<(usize, usize)>> {
        self.lattice.interactions()
    }
}

impl RelaxedEnergy for PottsLattice {
    fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]) {
        out.fill(0.0);
        for (site, row) in out.chunks_exact_mut(self.n_states).enumerate() {
            self.lattice.neighbours(site).for_each(|(j, _)| row[usize::from(x[j])] -= self.coupling);
        }
    }
}

impl Pairwise for PottsLattice {
    fn bonds(&self) -> Vec<(usize, usize, f64)> {
        self.lattice.edges()
    }
}
