//! Cluster moves of Potts and Ising lattices: bonds between equal neighbours grow clusters that change together.
//!
//! `E(x) = -sum J_ij [x_i = x_j] + sum_i f_i(x_i)`, all `J_ij >= 0`. A bond between equal states is kept with
//! probability `1 - exp(-J_ij)`. Swendsen and Wang: given all bonds the clusters are independent, and cluster `C` takes
//! state `k` with probability proportional to `exp(-sum_{i in C} f_i(k))`. Wolff: one cluster, grown from a random
//! variable, takes another state drawn uniformly; with a field that is accepted with probability
//! `min(1, exp(-(change of the field energy)))`.
//!
//! Source: Swendsen and Wang 1987 (DOI 10.1103/PhysRevLett.58.86); Wolff 1989 (DOI 10.1103/PhysRevLett.62.361).

use ebm_core::random::Stream;
use ebm_core::{Error, Pairwise, Result};

use super::guided::{draw, exponentiate};
use super::{DiscreteInfo, DiscreteKernel};

/// All clusters at once; exact, nothing to tune. A step costs a few operations per edge.
///
/// Use it near a critical point. Not where couplings repel (an error says so) or frustrate.
///
/// ```
/// use ebm_core::{PottsLattice, exact::Boundary};
/// use ebm_samplers::{SwendsenWang, SampleConfig, sample_discrete};
/// // The critical coupling of three states: ln(1 + sqrt 3).
/// let lattice = PottsLattice::new(8, 8, Boundary::Torus, 3, 1.005)?;
/// let config = SampleConfig { n_draws: 10, burn_in: 50, ..Default::default() };
/// let run = sample_discrete(&SwendsenWang, &lattice, &[vec![0; 64]], &config)?;
/// assert_eq!(run.draws.dim(), (1, 10, 64));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwendsenWang;

/// One cluster a step, found with probability proportional to its size; exact, nothing to tune. With a strong field
/// large clusters are rejected: take [`SwendsenWang`] there.
///
/// Use it near a critical point. Not where couplings repel (an error says so), nor in a strong field.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Wolff, SampleConfig, sample_discrete};
/// let lattice = IsingLattice::new(8, 8, Boundary::Torus, 0.4407, 0.0)?;
/// let config = SampleConfig { n_draws: 10, burn_in: 50, thin: 2, ..Default::default() };
/// let run = sample_discrete(&Wolff, &lattice, &[vec![0; 64]], &config)?;
/// assert_eq!(run.draws.dim(), (1, 10, 64));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wolff;

/// The graph and a cluster's room.
#[derive(Clone, Debug)]
pub struct ClusterWork {
    /// `(i, j, probability that the bond is kept where the two are equal)`.
    bonds: Vec<(usize, usize, f64)>,
    /// Bonds of each variable: `adjacent[first[i]..first[i + 1]]`, as (the other end, that probability).
    first: Vec<usize>,
    adjacent: Vec<(usize, f64)>,
    /// Swendsen-Wang: union-find. Wolff: the variables of the cluster, in the order in which they joined.
    parent: Vec<usize>,
    /// The state that a cluster takes, by its root; `None` until it is drawn.
    states: Vec<Option<u8>>,
    /// Field energies of clusters, `[n_variables * n_states]` by root.
    fields: Vec<f64>,
    weights: Vec<f64>,
}

impl ClusterWork {
    fn new<E: Pairwise + ?Sized>(energy: &E) -> Self {
        let (n, k) = (energy.n_variables(), energy.n_states());
        let keep = |(i, j, coupling): (usize, usize, f64)| (i, j, -(-coupling).exp_m1());
        let bonds: Vec<_> = energy.bonds().into_iter().map(keep).collect();
        let mut first = vec![0; n + 1];
        for (i, j, _) in &bonds {
            first[i + 1] += 1;
            first[j + 1] += 1;
        }
        for i in 0..n {
            first[i + 1] += first[i];
        }
        let (mut next, mut adjacent) = (first.clone(), vec![(0, 0.0); 2 * bonds.len()]);
        for (i, j, p) in &bonds {
            for (from, to) in [(*i, *j), (*j, *i)] {
                adjacent[next[from]] = (to, *p);
                next[from] += 1;
            }
        }
        Self {
            bonds,
            first,
            adjacent,
            parent: Vec::with_capacity(n),
            states: vec![None; n],
            fields: vec![0.0; n * k],
            weights: vec![0.0; k],
        }
    }

    /// The root of a variable's cluster; paths are halved on the way.
    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }
}

fn check_bonds<E: Pairwise + ?Sized>(energy: &E) -> Result<()> {
    match energy.bonds().into_iter().find(|(_, _, coupling)| !(*coupling >= 0.0)) {
        None => Ok(()),
        Some((i, j, coupling)) => {
            let name = format!("coupling of {i} and {j}");
            let fix = "clusters of equal states need attraction; take Gibbs or BlockGibbs";
            Err(Error::bad_value(name, coupling, "at least 0", fix))
        }
    }
}

impl<E: Pairwise + ?Sized> DiscreteKernel<E> for SwendsenWang {
    type Work = ClusterWork;

    fn check(&self, energy: &E) -> Result<()> {
        check_bonds(energy)
    }

    fn init(&self, energy: &E, _x: &[u8]) -> ClusterWork {
        ClusterWork::new(energy)
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut ClusterWork, rng: &mut Stream) -> DiscreteInfo {
        let k = energy.n_states();
        work.parent.clear();
        work.parent.extend(0..x.len());
        for bond in 0..work.bonds.len() {
            let (i, j, keep) = work.bonds[bond];
            if x[i] == x[j] && rng.uniform() < keep {
                let (a, b) = (work.root(i), work.root(j));
                // The smaller number stays the root, so a root comes before its members.
                work.parent[a.max(b)] = a.min(b);
            }
        }
        work.fields.fill(0.0);
        for i in 0..x.len() {
            let root = work.root(i);
            for (state, sum) in work.fields[root * k..][..k].iter_mut().enumerate() {
                *sum -= energy.field_energy(i, state as u8);
            }
        }
        work.states.fill(None);
        let mut diverged = false;
        for i in 0..x.len() {
            let root = work.root(i);
            let state = match work.states[root] {
                Some(state) => state,
                None => {
                    work.weights.copy_from_slice(&work.fields[root * k..][..k]);
                    if exponentiate(&mut work.weights).is_finite() {
                        draw(&work.weights, rng) as u8
                    } else {
                        diverged = true;
                        x[i]
                    }
                }
            };
            work.states[root] = Some(state);
            x[i] = state;
        }
        DiscreteInfo::always_accepted(diverged)
    }
}

impl<E: Pairwise + ?Sized> DiscreteKernel<E> for Wolff {
    type Work = ClusterWork;

    fn check(&self, energy: &E) -> Result<()> {
        check_bonds(energy)
    }

    fn init(&self, energy: &E, _x: &[u8]) -> ClusterWork {
        ClusterWork::new(energy)
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut ClusterWork, rng: &mut Stream) -> DiscreteInfo {
        let seed = rng.below(x.len());
        let old = x[seed];
        let new = (usize::from(old) + 1 + rng.below(energy.n_states() - 1)) % energy.n_states();
        let new = new as u8;
        // Members take their new state as they join, so that none joins twice.
        x[seed] = new;
        work.parent.clear();
        work.parent.push(seed);
        let (mut at, mut change) = (0, 0.0);
        while at < work.parent.len() {
            let member = work.parent[at];
            change += energy.field_energy(member, new) - energy.field_energy(member, old);
            for &(other, keep) in &work.adjacent[work.first[member]..work.first[member + 1]] {
                if x[other] == old && rng.uniform() < keep {
                    x[other] = new;
                    work.parent.push(other);
                }
            }
            at += 1;
        }
        if change == 0.0 {
            return DiscreteInfo { accept_prob: 1.0, diverged: false };
        }
        let accept_prob = if change.is_nan() { 0.0 } else { (-change).exp().min(1.0) };
        if rng.uniform() >= accept_prob {
            work.parent.iter().for_each(|member| x[*member] = old);
        }
        DiscreteInfo { accept_prob, diverged: change.is_nan() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{assert_mean, assert_moments, assert_stationary, config};
    use crate::sample_discrete;
    use ebm_core::exact::{Boundary, Enumeration, IsingLattice, TransferMatrix};
    use ebm_core::{DiscreteEnergy, PottsLattice};

    #[test]
    fn small_lattices_have_their_exact_law() {
        fn check<E: Pairwise>(energy: &E, thin: usize) {
            let (n, k) = (energy.n_variables(), energy.n_states());
            let law = Enumeration::new(n, k, |x| energy.energy(x)).unwrap();
            assert_stationary(&SwendsenWang, energy, &law, 1);
            assert_moments(&SwendsenWang, energy, &law, 1);
            assert_stationary(&Wolff, energy, &law, 2);
            assert_moments(&Wolff, energy, &law, thin);
        }
        check(&IsingLattice::new(2, 3, Boundary::Torus, 0.3, 0.0).unwrap(), 3);
        let fields = vec![0.3, -0.2, 0.1, 0.4, -0.6, 0.2];
        let couplings = |shift: f64| (0..6).map(|i| 0.1 * f64::from(i) + shift).collect();
        let rough = IsingLattice::new(2, 3, Boundary::Open, 0.0, 0.0).unwrap();
        let rough = rough.with_couplings(couplings(0.0), couplings(0.2)).unwrap();
        check(&rough.with_fields(fields).unwrap(), 3);
        check(&PottsLattice::new(2, 2, Boundary::Torus, 3, 0.5).unwrap(), 3);
        check(&PottsLattice::new(2, 3, Boundary::Open, 3, 0.9).unwrap(), 4);
    }

    /// At the critical coupling, where local updates crawl: mean energy and squared magnetisation of a 6 x 6 torus.
    #[test]
    fn a_critical_torus_has_its_mean_energy() {
        let lattice = IsingLattice::new(6, 6, Boundary::Torus, 0.440_687, 0.0).unwrap();
        let exact = TransferMatrix::new(lattice.clone()).unwrap().mean_energy();
        let starts = vec![vec![1; 36]; 64];
        let runs = [
            sample_discrete(&SwendsenWang, &lattice, &starts, &config(100, 50, 1, 2)).unwrap(),
            sample_discrete(&Wolff, &lattice, &starts, &config(100, 50, 2, 2)).unwrap(),
        ];
        for run in runs {
            let chain = |c: ndarray::ArrayView2<u8>| {
                let energies =
                    c.rows().into_iter().map(|x| DiscreteEnergy::energy(&lattice, x.as_slice().unwrap()));
                energies.sum::<f64>() / 100.0
            };
            let means: Vec<f64> = run.draws.outer_iter().map(chain).collect();
            assert_mean(&means, exact, "mean energy");
        }
    }

    #[test]
    fn repulsion_is_an_error() {
        let lattice = IsingLattice::new(2, 2, Boundary::Open, -0.3, 0.0).unwrap();
        let run = sample_discrete(&Wolff, &lattice, &[vec![0; 4]], &config(1, 0, 1, 0));
        let text = run.map(|_| ()).unwrap_err().to_string();
        assert!(text.starts_with("coupling of 0 and 1 = -0.6: must be at least 0; clusters"), "{text}");
        assert!(sample_discrete(&SwendsenWang, &lattice, &[vec![0; 4]], &config(1, 0, 1, 0)).is_err());
    }
}
