//! Block Gibbs: the variables of one class of a colouring do not interact, so they are drawn together given the rest.
//!
//! `p(x_C | rest) = prod_{i in C} p(x_i | rest)`, class after class. Within a class the order of the draws makes no
//! difference; that is what packed lattices and vector units make use of (see `Checkerboard`).
//!
//! Source: Geman and Geman 1984 (DOI 10.1109/TPAMI.1984.4767596); chromatic schedules Gonzalez, Low, Gretton, Guestrin,
//! AISTATS 2011.

use ebm_core::random::Stream;
use ebm_core::{Colouring, DiscreteEnergy, Result};

use super::gibbs::update;
use super::{DiscreteInfo, DiscreteKernel};

/// Gibbs sampling class by class; a step draws every variable once. Exact, and without anything to tune.
///
/// Use it where conditionals are cheap and classes of variables do not interact. Not where each costs as much as the
/// whole energy.
///
/// ```
/// use ebm_core::Colouring;
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{BlockGibbs, SampleConfig, sample_discrete};
/// // An odd torus has no two colours; three classes do.
/// let lattice = IsingLattice::new(5, 5, Boundary::Torus, 0.3, 0.0)?;
/// let kernel = BlockGibbs::new(Colouring::of(&lattice)?);
/// let config = SampleConfig { n_draws: 10, burn_in: 5, ..Default::default() };
/// let run = sample_discrete(&kernel, &lattice, &vec![vec![0; 25]; 2], &config)?;
/// assert_eq!(run.draws.dim(), (2, 10, 25));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockGibbs {
    /// The classes, in the order in which they are drawn.
    pub colouring: Colouring,
}

impl BlockGibbs {
    /// With these classes.
    pub fn new(colouring: Colouring) -> Self {
        Self { colouring }
    }
}

impl<E: DiscreteEnergy + ?Sized> DiscreteKernel<E> for BlockGibbs {
    type Work = Vec<f64>;

    /// Whether the colouring is one of the energy's variables; which of them interact is checked where the energy
    /// says so ([`DiscreteEnergy::interactions`]).
    fn check(&self, energy: &E) -> Result<()> {
        self.colouring.check(energy)
    }

    fn init(&self, energy: &E, _x: &[u8]) -> Vec<f64> {
        vec![0.0; energy.n_states()]
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut Vec<f64>, rng: &mut Stream) -> DiscreteInfo {
        let mut diverged = false;
        for i in self.colouring.classes().iter().flatten() {
            diverged |= !update(energy, x, *i, work, rng);
        }
        DiscreteInfo::always_accepted(diverged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{assert_moments, assert_stationary};
    use ebm_core::PottsLattice;
    use ebm_core::exact::{Boundary, Enumeration, IsingLattice};

    #[test]
    fn lattices_have_their_exact_law() {
        let lattice = IsingLattice::new(3, 3, Boundary::Torus, 0.3, 0.2).unwrap();
        let kernel = BlockGibbs::new(Colouring::of(&lattice).unwrap());
        assert_stationary(&kernel, &lattice, &Enumeration::ising(&lattice).unwrap(), 1);
        let potts = PottsLattice::new(2, 3, Boundary::Open, 3, 0.7).unwrap();
        let kernel = BlockGibbs::new(Colouring::checkerboard(potts.lattice()).unwrap());
        let law = Enumeration::new(6, 3, |x| potts.energy(x)).unwrap();
        assert_stationary(&kernel, &potts, &law, 1);
        assert_moments(&kernel, &potts, &law, 1);
    }
}
