//! Energies of discrete variables, `p(x) = exp(-E(x)) / Z` for `x` in `{0 .. n_states}^n_variables`.
//!
//! Two traits: [`DiscreteEnergy`] has the energy and the energies of one variable given the rest, which is all that
//! Gibbs needs; [`RelaxedEnergy`] adds the gradient of a smooth extension to one-hot vectors,
//! `g[i, k] = dE / dX[i, k]`, so that `g[i, k] - g[i, x_i]` estimates what changing `x_i` to `k` costs.
//!
//! [`Colouring`]: classes of variables that do not interact, for block updates. [`Pairwise`]: energies of equal
//! neighbours, for cluster moves.
//!
//! Source of the relaxed gradient's use: Grathwohl, Swersky, Hashemi, Duvenaud, Maddison 2021, arXiv 2102.04509.

mod colouring;
mod ising;
mod potts;
mod rbm;

pub use colouring::Colouring;
pub use potts::{Pairwise, PottsLattice};
pub use rbm::Rbm;

use crate::{Error, Result};

/// `E(x)` of `n_variables` discrete variables with `n_states` states each.
///
/// A state is a slice `[n_variables]` of numbers below `n_states`. Samplers check lengths and ranges once, at the
/// start; an implementation may panic on what they would refuse. An energy of `f64::INFINITY` means probability 0.
///
/// ```
/// use ebm_core::DiscreteEnergy;
/// /// A ring of letters out of four; equal neighbours cost 1.
/// struct Ring(usize);
/// impl DiscreteEnergy for Ring {
///     fn n_variables(&self) -> usize {
///         self.0
///     }
///     fn n_states(&self) -> usize {
///         4
///     }
///     fn energy(&self, x: &[u8]) -> f64 {
///         (0..self.0).filter(|i| x[*i] == x[(i + 1) % self.0]).count() as f64
///     }
/// }
/// let mut local = [0.0; 4];
/// Ring(5).local_energies(&mut [0, 1, 2, 3, 1], 0, &mut local);
/// // Up to a constant: 1 is the letter of both neighbours.
/// assert_eq!(local.map(|e| e - local[0]), [0.0, 2.0, 0.0, 0.0]);
/// ```
pub trait DiscreteEnergy: Sync {
    /// The number of variables, at least 1.
    fn n_variables(&self) -> usize;

    /// The number of states of each variable, 2 to 256.
    fn n_states(&self) -> usize;

    /// `E(x)`.
    fn energy(&self, x: &[u8]) -> f64;

    /// The energy for each state of variable `i`, given the others, up to one constant common to all: `out`
    /// `[n_states]`. `x` is as before when this returns. The default tries every state.
    fn local_energies(&self, x: &mut [u8], i: usize, out: &mut [f64]) {
        let old = x[i];
        for (k, energy) in out.iter_mut().enumerate() {
            x[i] = k as u8;
            *energy = self.energy(x);
        }
        x[i] = old;
    }

    /// Pairs of variables that interact: the local energies of `i` depend on `j` only if `(i, j)` or `(j, i)` is
    /// there. `None`, the default, says nothing: any two may.
    fn interactions(&self) -> Option<Vec<(usize, usize)>> {
        None
    }
}

/// A discrete energy with a smooth extension to real one-hot vectors, for kernels that are guided by its gradient.
pub trait RelaxedEnergy: DiscreteEnergy {
    /// `out[i * n_states + k] = dE / dX[i, k]` at the one-hot vectors of `x`; what is added to all `k` of one `i`
    /// makes no difference.
    fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]);
}

/// Whether `x` is a state of `energy`; `name` is what the error calls it.
///
/// # Errors
/// When the length is not the number of variables, or a value is not below the number of states.
pub fn check_state<E: DiscreteEnergy + ?Sized>(energy: &E, name: &str, x: &[u8]) -> Result<()> {
    if x.len() != energy.n_variables() {
        return Err(Error::shape(format!("variables of {name}"), energy.n_variables(), x.len()));
    }
    match x.iter().position(|value| usize::from(*value) >= energy.n_states()) {
        None => Ok(()),
        Some(i) => {
            let limit = format!("below {}", energy.n_states());
            Err(Error::bad_value(format!("{name}[{i}]"), x[i], limit, ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Boundary, Enumeration, IsingLattice};
    use crate::random::{Purpose, Stream};

    /// The default of `local_energies`, whatever the energy's own.
    struct Brute<'a, E>(&'a E);

    impl<E: DiscreteEnergy> DiscreteEnergy for Brute<'_, E> {
        fn n_variables(&self) -> usize {
            self.0.n_variables()
        }
        fn n_states(&self) -> usize {
            self.0.n_states()
        }
        fn energy(&self, x: &[u8]) -> f64 {
            self.0.energy(x)
        }
    }

    fn bits(n: usize, stream: &mut Stream) -> Vec<u8> {
        (0..n).map(|_| stream.below(2) as u8).collect()
    }

    fn uniforms(n: usize, stream: &mut Stream) -> Vec<f64> {
        (0..n).map(|_| 2.0 * stream.uniform() - 1.0).collect()
    }

    fn lattices() -> Vec<IsingLattice> {
        let mut stream = Stream::new(0, Purpose::User, 0);
        let mut all = vec![];
        for boundary in [Boundary::Open, Boundary::Cylinder, Boundary::Torus] {
            for (rows, cols) in [(1, 1), (1, 2), (2, 2), (3, 4), (4, 2), (1, 5)] {
                let n = rows * cols;
                let lattice = IsingLattice::new(rows, cols, boundary, 0.0, 0.0).unwrap();
                let lattice =
                    lattice.with_couplings(uniforms(n, &mut stream), uniforms(n, &mut stream)).unwrap();
                all.push(lattice.with_fields(uniforms(n, &mut stream)).unwrap());
            }
        }
        all
    }

    fn rbm() -> Rbm {
        let mut stream = Stream::new(1, Purpose::User, 0);
        Rbm::new(uniforms(12, &mut stream), uniforms(4, &mut stream), uniforms(3, &mut stream)).unwrap()
    }

    fn potts() -> Vec<PottsLattice> {
        let sizes = [(Boundary::Torus, 2, 3), (Boundary::Open, 3, 4), (Boundary::Cylinder, 3, 3)];
        sizes.map(|(b, rows, cols)| PottsLattice::new(rows, cols, b, 3, 0.6).unwrap()).to_vec()
    }

    fn check_local<E: DiscreteEnergy>(energy: &E) {
        let (mut stream, k) = (Stream::new(2, Purpose::User, 0), energy.n_states());
        for _ in 0..20 {
            let mut x: Vec<u8> = (0..energy.n_variables()).map(|_| stream.below(k) as u8).collect();
            let before = x.clone();
            for i in 0..x.len() {
                let (mut own, mut brute) = (vec![0.0; k], vec![0.0; k]);
                energy.local_energies(&mut x, i, &mut own);
                Brute(energy).local_energies(&mut x, i, &mut brute);
                for (own_k, brute_k) in own.iter().zip(&brute) {
                    assert!((own_k - own[0] - (brute_k - brute[0])).abs() < 1e-12);
                }
                assert_eq!(x, before);
            }
        }
    }

    /// Bonds and fields give the energy up to a constant, and a variable depends on no other than it says.
    fn check_pairs<E: Pairwise>(energy: &E) {
        let (mut stream, k, n) = (Stream::new(5, Purpose::User, 0), energy.n_states(), energy.n_variables());
        let pairs = energy.interactions().unwrap();
        let mut constant = None;
        for _ in 0..20 {
            let mut x: Vec<u8> = (0..n).map(|_| stream.below(k) as u8).collect();
            let bonds = energy.bonds().into_iter().filter(|(i, j, _)| x[*i] == x[*j]);
            let fields: f64 = (0..n).map(|i| energy.field_energy(i, x[i])).sum();
            let rest = energy.energy(&x) - fields + bonds.map(|(_, _, c)| c).sum::<f64>();
            assert!((rest - *constant.get_or_insert(rest)).abs() < 1e-12);
            let (i, j) = (stream.below(n), stream.below(n));
            if i != j && !pairs.contains(&(i, j)) && !pairs.contains(&(j, i)) {
                let (mut before, mut after) = (vec![0.0; k], vec![0.0; k]);
                energy.local_energies(&mut x, i, &mut before);
                x[j] = stream.below(k) as u8;
                energy.local_energies(&mut x, i, &mut after);
                assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn pairwise_energies_are_their_bonds_and_fields() {
        lattices().iter().for_each(check_pairs);
        potts().iter().for_each(check_pairs);
    }

    #[test]
    fn local_energies_are_those_of_the_brute_force() {
        lattices().iter().for_each(check_local);
        potts().iter().for_each(check_local);
        check_local(&rbm());
    }

    #[test]
    fn the_lattices_energy_is_its_own() {
        let mut stream = Stream::new(3, Purpose::User, 0);
        for lattice in lattices() {
            let x = bits(lattice.n_sites(), &mut stream);
            let spins: Vec<i8> = x.iter().map(|x| 2 * *x as i8 - 1).collect();
            assert_eq!(DiscreteEnergy::energy(&lattice, &x), lattice.energy(&spins).unwrap());
        }
    }

    fn check_differences<E: RelaxedEnergy>(energy: &E) {
        let (mut stream, k) = (Stream::new(4, Purpose::User, 0), energy.n_states());
        let mut x: Vec<u8> = (0..energy.n_variables()).map(|_| stream.below(k) as u8).collect();
        let mut gradient = vec![0.0; k * x.len()];
        energy.relaxed_gradient(&x, &mut gradient);
        for i in 0..x.len() {
            let mut local = vec![0.0; k];
            Brute(energy).local_energies(&mut x, i, &mut local);
            for state in 0..k {
                let found = gradient[k * i + state] - gradient[k * i];
                assert!((found - (local[state] - local[0])).abs() < 1e-12);
            }
        }
    }

    /// Extended to one-hot vectors these energies are linear in each variable, so their gradients are exact.
    #[test]
    fn the_lattices_gradients_give_exact_differences() {
        lattices().iter().for_each(check_differences);
        potts().iter().for_each(check_differences);
    }

    #[test]
    fn the_rbms_gradient_is_that_of_its_extension() {
        let rbm = rbm();
        let h = 1e-5;
        for state in 0..16u8 {
            let x: Vec<u8> = (0..4).map(|i| state >> i & 1).collect();
            let mut gradient = [0.0; 8];
            rbm.relaxed_gradient(&x, &mut gradient);
            for i in 0..4 {
                let at =
                    |shift: f64| rbm.free_energy_by(|j| f64::from(x[j]) + if i == j { shift } else { 0.0 });
                let slope = (at(h) - at(-h)) / (2.0 * h);
                assert!((gradient[2 * i + 1] - gradient[2 * i] - slope).abs() < 1e-8);
            }
        }
    }

    /// `exp(-F(v)) = sum_h exp(-E(v, h))`, with the hidden units summed by hand.
    #[test]
    fn the_free_energy_sums_the_hidden_units_out() {
        let (weights, visible, hidden) = ([0.3, -1.2, 0.7, 0.4], [0.2, -0.5], [0.1, -0.8]);
        let rbm = Rbm::new(weights.to_vec(), visible.to_vec(), hidden.to_vec()).unwrap();
        let law = Enumeration::new(4, 2, |x| {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let (v, h) = x.split_at(2);
            let mut energy = 0.0;
            for i in 0..2 {
                energy -= visible[i] * v[i] + hidden[i] * h[i];
                for j in 0..2 {
                    energy -= v[i] * weights[2 * i + j] * h[j];
                }
            }
            energy
        });
        let law = law.unwrap();
        for v in [[0, 0], [0, 1], [1, 0], [1, 1]] {
            let log_sum = law.log_marginal(&[Some(v[0]), Some(v[1]), None, None]).unwrap() + law.log_z();
            assert!((rbm.energy(&v) + log_sum).abs() < 1e-12);
        }
    }

    #[test]
    fn bad_input_is_an_error() {
        let text = |e: Result<Rbm>| e.map(|_| ()).unwrap_err().to_string();
        assert_eq!(text(Rbm::new(vec![], vec![], vec![0.0])), "visible units = 0: must be at least 1");
        assert_eq!(text(Rbm::new(vec![], vec![0.0], vec![])), "hidden units = 0: must be at least 1");
        assert_eq!(
            text(Rbm::new(vec![0.0; 5], vec![0.0; 2], vec![0.0; 3])),
            "weights of an RBM: expected 6, found 5"
        );
        assert_eq!(
            text(Rbm::new(vec![0.0, f64::NAN], vec![0.0; 2], vec![0.0])),
            "weights[1] = NaN: must be finite"
        );
        assert_eq!(
            text(Rbm::new(vec![0.0], vec![f64::INFINITY], vec![0.0])),
            "visible_bias[0] = inf: must be finite"
        );
        let rbm = rbm();
        let text = |x: &[u8]| check_state(&rbm, "x", x).unwrap_err().to_string();
        assert_eq!(text(&[0, 1, 2, 0]), "x[2] = 2: must be below 2");
        assert_eq!(text(&[0, 1]), "variables of x: expected 4, found 2");
        assert!(check_state(&rbm, "x", &[0, 1, 1, 0]).is_ok());
    }
}
