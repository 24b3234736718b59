//! Gibbs sampling: a variable is drawn from `p(x_i = k | rest)`, proportional to `exp(-E(x with x_i = k))`.
//!
//! Source: Geman and Geman 1984 (DOI 10.1109/TPAMI.1984.4767596).

use ebm_core::DiscreteEnergy;
use ebm_core::random::Stream;

use super::DiscreteKernel;

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
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Gibbs, Scan, sample_discrete};
/// let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?;
/// let run = sample_discrete(&Gibbs(Scan::Systematic), &lattice, &[vec![0; 16], vec![1; 16]], 10, 5, 1, 0)?;
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

    fn step(&self, energy: &E, x: &mut [u8], work: &mut Vec<f64>, rng: &mut Stream) -> f64 {
        match self.0 {
            Scan::Systematic => (0..x.len()).for_each(|i| update(energy, x, i, work, rng)),
            Scan::Random => update(energy, x, rng.below(x.len()), work, rng),
        }
        f64::NAN
    }
}

/// Draw variable `i`; where its energies are not numbers it stays.
fn update<E: DiscreteEnergy + ?Sized>(energy: &E, x: &mut [u8], i: usize, p: &mut [f64], rng: &mut Stream) {
    conditional(energy, x, i, p);
    let mut rest = rng.uniform();
    for (k, p) in p.iter().enumerate() {
        if rest < *p {
            x[i] = k as u8;
            return;
        }
        rest -= p;
    }
}

/// `p(x_i = k | rest)` for every `k`.
fn conditional<E: DiscreteEnergy + ?Sized>(energy: &E, x: &mut [u8], i: usize, p: &mut [f64]) {
    energy.local_energies(x, i, p);
    let least = p.iter().copied().fold(f64::INFINITY, f64::min);
    p.iter_mut().for_each(|p| *p = (least - *p).exp());
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_discrete;
    use ebm_core::exact::{Boundary, Enumeration, IsingLattice, TransferMatrix};

    fn lattice() -> IsingLattice {
        IsingLattice::new(3, 3, Boundary::Open, 0.4, 0.2).unwrap()
    }

    fn mean_and_error(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt())
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
        for (scan, thin) in [(Scan::Systematic, 1), (Scan::Random, 9)] {
            let run = sample_discrete(&Gibbs(scan), &lattice, &vec![vec![0; 9]; 64], 500, 50 * thin, thin, 1);
            let draws = run.unwrap().draws;
            for i in 0..9 {
                for j in 0..=i {
                    let both = |x: &[u8]| f64::from(x[i] * x[j]);
                    let chain = |c: ndarray::ArrayView2<u8>| {
                        c.rows().into_iter().map(|x| f64::from(x[i] * x[j])).sum::<f64>() / 500.0
                    };
                    let means: Vec<f64> = draws.outer_iter().map(chain).collect();
                    let (mean, error) = mean_and_error(&means);
                    assert!((mean - law.expectation(both)).abs() < 4.0 * error, "{scan:?} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn a_torus_has_its_mean_energy() {
        let lattice = IsingLattice::new(6, 6, Boundary::Torus, 0.3, 0.0).unwrap();
        let exact = TransferMatrix::new(lattice.clone()).unwrap().mean_energy();
        let run = sample_discrete(&Gibbs(Scan::Systematic), &lattice, &vec![vec![1; 36]; 32], 500, 100, 1, 2);
        let chain = |c: ndarray::ArrayView2<u8>| {
            let energy = |x: ndarray::ArrayView1<u8>| DiscreteEnergy::energy(&lattice, &x.to_vec());
            c.rows().into_iter().map(energy).sum::<f64>() / 500.0
        };
        let means: Vec<f64> = run.unwrap().draws.outer_iter().map(chain).collect();
        let (mean, error) = mean_and_error(&means);
        assert!((mean - exact).abs() < 4.0 * error, "{mean} +- {error}, exact {exact}");
    }

    #[test]
    fn bad_input_is_an_error() {
        let run = |starts: &[Vec<u8>], thin| {
            let run = sample_discrete(&Gibbs(Scan::Random), &lattice(), starts, 1, 0, thin, 0);
            run.map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(run(&[], 1), "n_chains = 0: must be at least 1");
        assert_eq!(run(&[vec![0; 9]], 0), "thin = 0: must be at least 1");
        assert_eq!(run(&[vec![2; 9]], 1), "starts[0][0] = 2: must be below 2");
        assert_eq!(run(&[vec![0; 8]], 1), "variables of starts[0]: expected 9, found 8");
    }
}
