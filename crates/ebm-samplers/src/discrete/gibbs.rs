//! Gibbs sampling: a variable is drawn from `p(x_i = k | rest)`, proportional to `exp(-E(x with x_i = k))`.
//!
//! Source: Geman and Geman 1984 (DOI 10.1109/TPAMI.1984.4767596).

use ebm_core::DiscreteEnergy;
use ebm_core::random::Stream;

use super::{DiscreteInfo, DiscreteKernel};

/// Which variables one step updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All, in order.
    Systematic,
    /// One, uniformly at random.
    Random,
}

/// Gibbs sampling; exact, and without anything to tune.
///
/// Use it where conditionals are cheap. Not where each costs as much as the whole energy and variables are many:
/// `GibbsWithGradients`, `Dmala`.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Gibbs, Scan, SampleConfig, sample_discrete};
/// let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?;
/// let config = SampleConfig { n_draws: 10, burn_in: 5, ..Default::default() };
/// let run = sample_discrete(&Gibbs(Scan::Systematic), &lattice, &[vec![0; 16], vec![1; 16]], &config)?;
/// assert_eq!(run.draws.dim(), (2, 10, 16));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gibbs(pub Scan);

impl<E: DiscreteEnergy + ?Sized> DiscreteKernel<E> for Gibbs {
    type Work = Vec<f64>;

    fn init(&self, energy: &E, _x: &[u8]) -> Vec<f64> {
        vec![0.0; energy.n_states()]
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut Vec<f64>, rng: &mut Stream) -> DiscreteInfo {
        DiscreteInfo::always_accepted(match self.0 {
            Scan::Systematic => (0..x.len()).filter(|i| !update(energy, x, *i, work, rng)).count() > 0,
            Scan::Random => !update(energy, x, rng.below(x.len()), work, rng),
        })
    }
}

/// Draw variable `i`. Where its energies are not numbers it stays, and the answer is `false`.
pub(super) fn update<E: DiscreteEnergy + ?Sized>(
    energy: &E,
    x: &mut [u8],
    i: usize,
    p: &mut [f64],
    rng: &mut Stream,
) -> bool {
    conditional(energy, x, i, p);
    if p[0].is_nan() {
        return false;
    }
    let mut rest = rng.uniform();
    for (k, p) in p.iter().enumerate() {
        if rest < *p {
            x[i] = k as u8;
            break;
        }
        rest -= p;
    }
    true
}

/// `p(x_i = k | rest)` for every `k`; all NaN where an energy is NaN or `-inf`, or all are `inf`.
pub(super) fn conditional<E: DiscreteEnergy + ?Sized>(energy: &E, x: &mut [u8], i: usize, p: &mut [f64]) {
    energy.local_energies(x, i, p);
    let least = p.iter().copied().fold(f64::INFINITY, f64::min);
    p.iter_mut().for_each(|p| *p = (least - *p).exp());
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{assert_mean, assert_moments, config};
    use crate::sample_discrete;
    use ebm_core::exact::{Boundary, Enumeration, IsingLattice, TransferMatrix};

    fn lattice() -> IsingLattice {
        IsingLattice::new(3, 3, Boundary::Open, 0.4, 0.2).unwrap()
    }

    /// Every update leaves the law as it is, and so do scans of either kind.
    #[test]
    fn the_law_is_stationary() {
        let lattice = lattice();
        let law = Enumeration::ising(&lattice).unwrap();
        let mut pi = vec![0.0; 512];
        let index = |x: &[u8]| x.iter().fold(0, |sum, bit| 2 * sum + usize::from(*bit));
        law.for_each_given(&[None; 9], |x, p| pi[index(x)] = p).unwrap();
        for i in 0..9 {
            let mut after = vec![0.0; 512];
            for state in 0..512 {
                let mut x: Vec<u8> = (0..9).map(|j| (state >> (8 - j) & 1) as u8).collect();
                let mut p = [0.0; 2];
                conditional(&lattice, &mut x, i, &mut p);
                for k in 0..2 {
                    x[i] = k as u8;
                    after[index(&x)] += pi[state] * p[k];
                }
            }
            assert!(pi.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-10));
        }
    }

    #[test]
    fn long_runs_have_the_exact_moments() {
        let lattice = lattice();
        let law = Enumeration::ising(&lattice).unwrap();
        assert_moments(&Gibbs(Scan::Systematic), &lattice, &law, 1);
        assert_moments(&Gibbs(Scan::Random), &lattice, &law, 9);
    }

    #[test]
    fn a_torus_has_its_mean_energy() {
        let lattice = IsingLattice::new(6, 6, Boundary::Torus, 0.3, 0.0).unwrap();
        let exact = TransferMatrix::new(lattice.clone()).unwrap().mean_energy();
        let run = sample_discrete(
            &Gibbs(Scan::Systematic),
            &lattice,
            &vec![vec![1; 36]; 32],
            &config(500, 100, 1, 2),
        );
        let chain = |c: ndarray::ArrayView2<u8>| {
            let energy = |x: ndarray::ArrayView1<u8>| DiscreteEnergy::energy(&lattice, &x.to_vec());
            c.rows().into_iter().map(energy).sum::<f64>() / 500.0
        };
        let means: Vec<f64> = run.unwrap().draws.outer_iter().map(chain).collect();
        assert_mean(&means, exact, "mean energy");
    }
}
