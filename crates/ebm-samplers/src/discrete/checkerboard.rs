//! Chessboard heat baths of whole lattices: the spins of one colour do not interact, so they are drawn together.
//!
//! Ising lattices are packed in bits, 64 spins to a word ([`PackedIsing`]). Potts lattices are drawn from bytes: a site's
//! neighbours have at most four different states, each other state has the weight 1, so one uniform number and a look at
//! the neighbours decide among up to 256 states (bit planes would cost the more the more states there are).
//!
//! Source: Geman and Geman 1984 (DOI 10.1109/TPAMI.1984.4767596).

use ebm_core::exact::IsingLattice;
use ebm_core::random::Stream;
use ebm_core::{Colouring, Error, PottsLattice, Result};

use super::{DiscreteInfo, DiscreteKernel, PackedIsing};

/// `sweeps` chessboard sweeps a step, for an [`IsingLattice`] with one coupling and one field, or a [`PottsLattice`].
/// Exact; a closed side must be even (or 1): otherwise [`BlockGibbs`](super::BlockGibbs).
///
/// Use it for an Ising lattice of one coupling, or a Potts lattice. Not where couplings or fields differ from place
/// to place, or a closed side is odd: `BlockGibbs`.
///
/// Bits are packed before and unpacked after a step of an Ising lattice, which costs as much as several sweeps: take
/// `sweeps` of 10 or more, or [`PackedIsing`] itself, if only sums over the lattice are wanted.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Checkerboard, SampleConfig, sample_discrete};
/// let lattice = IsingLattice::new(64, 64, Boundary::Torus, 0.4407, 0.0)?;
/// let config = SampleConfig { n_draws: 5, burn_in: 10, ..Default::default() };
/// let run = sample_discrete(&Checkerboard::new(20), &lattice, &vec![vec![0; 4096]; 2], &config)?;
/// assert_eq!(run.draws.dim(), (2, 5, 4096));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkerboard {
    /// Sweeps per step, each of which draws every spin once.
    pub sweeps: usize,
}

impl Checkerboard {
    /// So many sweeps a step.
    pub fn new(sweeps: usize) -> Self {
        Self { sweeps }
    }

    fn check_sweeps(self) -> Result<()> {
        if self.sweeps == 0 { Err(Error::bad_value("sweeps", 0, "at least 1", "")) } else { Ok(()) }
    }
}

impl DiscreteKernel<IsingLattice> for Checkerboard {
    /// `None` only for lattices that `check` refuses.
    type Work = Option<PackedIsing>;

    fn check(&self, lattice: &IsingLattice) -> Result<()> {
        PackedIsing::new(lattice)?;
        self.check_sweeps()
    }

    fn init(&self, lattice: &IsingLattice, _x: &[u8]) -> Self::Work {
        PackedIsing::new(lattice).ok()
    }

    fn step(
        &self,
        _lattice: &IsingLattice,
        x: &mut [u8],
        work: &mut Self::Work,
        rng: &mut Stream,
    ) -> DiscreteInfo {
        if let Some(packed) = work {
            packed.pack(x);
            (0..self.sweeps).for_each(|_| packed.sweep(rng));
            packed.unpack(x);
        }
        DiscreteInfo::always_accepted(work.is_none())
    }
}

/// Each site's neighbours, in the order of the colours.
#[derive(Clone, Debug)]
pub struct PottsWork {
    /// A site, and how many neighbours it has.
    sites: Vec<(u32, u8)>,
    /// Four a site; places after the last neighbour are not used.
    neighbours: Vec<[u32; 4]>,
    /// `exp(J n)` for `n` equal neighbours.
    weights: [f64; 5],
    n_states: f64,
}

impl DiscreteKernel<PottsLattice> for Checkerboard {
    type Work = PottsWork;

    fn check(&self, lattice: &PottsLattice) -> Result<()> {
        Colouring::checkerboard(lattice.lattice())?;
        self.check_sweeps()
    }

    fn init(&self, lattice: &PottsLattice, _x: &[u8]) -> PottsWork {
        // Empty only for lattices that `check` refuses.
        let colours = Colouring::checkerboard(lattice.lattice());
        let order = colours.map(|colours| colours.classes().concat()).unwrap_or_default();
        let (mut sites, mut neighbours) = (vec![], vec![]);
        for site in order {
            let (mut all, mut n) = ([0; 4], 0);
            for (other, _) in lattice.lattice().neighbours(site) {
                all[usize::from(n)] = other as u32;
                n += 1;
            }
            sites.push((site as u32, n));
            neighbours.push(all);
        }
        let weights = std::array::from_fn(|n| (lattice.coupling() * n as f64).exp());
        PottsWork { sites, neighbours, weights, n_states: ebm_core::DiscreteEnergy::n_states(lattice) as f64 }
    }

    fn step(
        &self,
        _lattice: &PottsLattice,
        x: &mut [u8],
        work: &mut PottsWork,
        rng: &mut Stream,
    ) -> DiscreteInfo {
        for _ in 0..self.sweeps {
            for ((site, n), neighbours) in work.sites.iter().zip(&work.neighbours) {
                let around = neighbours.map(|other| x[other as usize]);
                x[*site as usize] = draw(&around[..usize::from(*n)], &work.weights, work.n_states, rng);
            }
        }
        DiscreteInfo::always_accepted(false)
    }
}

/// A state with weight `weights[n]`, `n` being its number among the neighbours (at most four).
fn draw(around: &[u8], weights: &[f64; 5], n_states: f64, rng: &mut Stream) -> u8 {
    // The different states among the neighbours, ascending, with how often each occurs.
    let mut distinct = [(0u8, 0usize); 4];
    let mut n = 0;
    for state in around {
        let at = distinct[..n].iter().position(|(other, _)| other >= state).unwrap_or(n);
        if at < n && distinct[at].0 == *state {
            distinct[at].1 += 1;
        } else {
            distinct.copy_within(at..n, at + 1);
            distinct[at] = (*state, 1);
            n += 1;
        }
    }
    let others = n_states - n as f64;
    let total = others + distinct[..n].iter().map(|(_, count)| weights[*count]).sum::<f64>();
    let mut rest = rng.uniform() * total;
    for (state, count) in &distinct[..n] {
        rest -= weights[*count];
        if rest < 0.0 {
            return *state;
        }
    }
    // One of the others, by its number among them: skip the neighbours' states. Rounding can leave a hair too much.
    let mut state = (rest as usize).min((others as usize).saturating_sub(1));
    for (taken, _) in &distinct[..n] {
        state += usize::from(state >= usize::from(*taken));
    }
    state.min(n_states as usize - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{assert_mean, assert_moments, assert_stationary, config};
    use crate::sample_discrete;
    use ebm_core::DiscreteEnergy;
    use ebm_core::exact::{Boundary, Enumeration, TransferMatrix, onsager_energy};
    use ebm_core::random::Purpose;

    const BOUNDARIES: [Boundary; 3] = [Boundary::Open, Boundary::Cylinder, Boundary::Torus];

    fn random_bits(n: usize, stream: &mut Stream) -> Vec<u8> {
        (0..n).map(|_| stream.below(2) as u8).collect()
    }

    /// Packing, energy and magnetisation of random spins on lattices of all kinds.
    #[test]
    fn packed_lattices_have_the_energy_of_their_bits() {
        let mut stream = Stream::new(0, Purpose::User, 0);
        for boundary in BOUNDARIES {
            for (rows, cols) in [(1, 1), (1, 2), (2, 2), (2, 4), (6, 6), (4, 6), (16, 16), (30, 64), (1, 64)]
            {
                let lattice = IsingLattice::new(rows, cols, boundary, 0.37, -0.21).unwrap();
                let mut packed = PackedIsing::new(&lattice).unwrap();
                for _ in 0..5 {
                    let bits = random_bits(rows * cols, &mut stream);
                    packed.set_bits(&bits).unwrap();
                    let mut back = vec![9; bits.len()];
                    packed.write_bits(&mut back).unwrap();
                    assert_eq!(bits, back);
                    let exact = DiscreteEnergy::energy(&lattice, &bits);
                    assert!((packed.energy() - exact).abs() < 1e-9, "{boundary:?} {rows} x {cols}");
                    let up = bits.iter().filter(|bit| **bit == 1).count() as f64;
                    assert_eq!(packed.magnetisation(), 2.0 * up - bits.len() as f64);
                }
            }
        }
        for (rows, cols) in [(3, 5), (5, 200), (7, 7), (4, 9)] {
            let lattice = IsingLattice::new(rows, cols, Boundary::Open, 0.37, -0.21).unwrap();
            let mut packed = PackedIsing::new(&lattice).unwrap();
            let bits = random_bits(rows * cols, &mut stream);
            packed.set_bits(&bits).unwrap();
            assert!((packed.energy() - DiscreteEnergy::energy(&lattice, &bits)).abs() < 1e-9);
        }
    }

    #[test]
    fn small_lattices_have_their_exact_law() {
        let torus = IsingLattice::new(2, 4, Boundary::Torus, 0.3, 0.2).unwrap();
        let open = IsingLattice::new(3, 3, Boundary::Open, -0.4, 0.3).unwrap();
        let ring = IsingLattice::new(1, 6, Boundary::Cylinder, 0.5, -0.1).unwrap();
        for lattice in [torus, open, ring] {
            let law = Enumeration::ising(&lattice).unwrap();
            assert_stationary(&Checkerboard::new(1), &lattice, &law, 1);
            assert_moments(&Checkerboard::new(2), &lattice, &law, 1);
        }
        for (lattice, n) in [
            (PottsLattice::new(2, 2, Boundary::Torus, 5, 0.4).unwrap(), 4),
            (PottsLattice::new(2, 3, Boundary::Open, 3, 0.8).unwrap(), 6),
            (PottsLattice::new(2, 3, Boundary::Open, 3, -0.8).unwrap(), 6),
            (PottsLattice::new(1, 6, Boundary::Torus, 2, 0.8).unwrap(), 6),
        ] {
            let law = Enumeration::new(n, lattice.n_states(), |x| lattice.energy(x)).unwrap();
            assert_stationary(&Checkerboard::new(1), &lattice, &law, 1);
            assert_moments(&Checkerboard::new(2), &lattice, &law, 1);
        }
    }

    /// Mean energy, its square and the squared magnetisation per chain, after so many sweeps, every second one.
    fn means(lattice: &IsingLattice, chain: u64, burn_in: usize, sweeps: usize) -> [f64; 3] {
        let mut packed = PackedIsing::new(lattice).unwrap();
        let mut rng = Stream::new(4, Purpose::Chain, chain);
        (0..burn_in).for_each(|_| packed.sweep(&mut rng));
        let mut sums = [0.0; 3];
        for _ in 0..sweeps / 2 {
            packed.sweep(&mut rng);
            packed.sweep(&mut rng);
            let (energy, m) = (packed.energy(), packed.magnetisation());
            sums.iter_mut().zip([energy, m, m * m]).for_each(|(sum, value)| *sum += value);
        }
        sums.map(|sum| sum / (sweeps / 2) as f64)
    }

    /// Against the transfer matrix: energy, and magnetisation where there is a field.
    #[test]
    fn lattices_have_the_moments_of_the_transfer_matrix() {
        for (rows, cols, boundary, coupling, field) in [
            (6, 6, Boundary::Torus, 0.4407, 0.0),
            (6, 6, Boundary::Torus, 0.35, 0.05),
            (4, 6, Boundary::Torus, 0.4, 0.0),
            (4, 6, Boundary::Cylinder, 0.4, 0.1),
            (4, 64, Boundary::Open, 0.4, 0.03),
            (5, 7, Boundary::Open, 0.4, 0.0),
        ] {
            let lattice = IsingLattice::new(rows, cols, boundary, coupling, field).unwrap();
            let law = TransferMatrix::new(lattice.clone()).unwrap();
            let chains: Vec<[f64; 3]> = (0..48).map(|chain| means(&lattice, chain, 200, 600)).collect();
            let column = |i: usize| chains.iter().map(|c| c[i]).collect::<Vec<f64>>();
            assert_mean(&column(0), law.mean_energy(), "energy");
            let exact = law.moments().magnetisation().iter().sum();
            assert_mean(&column(1), exact, "magnetisation");
        }
    }

    /// A wide torus off the critical point has the infinite lattice's energy: at J = 0.3 the correlation length is
    /// `1 / (ln coth J - 2 J) = 1.6`, so a side of 64 changes it by a factor of `1 + O(exp(-40))`.
    #[test]
    fn large_lattices_have_onsagers_energy() {
        let lattice = IsingLattice::new(64, 64, Boundary::Torus, 0.3, 0.0).unwrap();
        let chains: Vec<f64> = (0..24).map(|c| means(&lattice, c, 100, 200)[0] / 4096.0).collect();
        assert_mean(&chains, onsager_energy(0.3), "energy per site");
    }

    #[test]
    fn what_cannot_be_packed_is_an_error() {
        let torus = |rows, cols| IsingLattice::new(rows, cols, Boundary::Torus, 0.3, 0.1).unwrap();
        let text = |lattice: IsingLattice| PackedIsing::new(&lattice).unwrap_err().to_string();
        assert!(text(torus(4, 5)).starts_with("cols of a lattice with two colours = 5: must be even"));
        let mut couplings = vec![0.3; 8];
        couplings[3] = 0.5;
        let rough = torus(2, 4).with_couplings(vec![0.3; 8], couplings).unwrap();
        assert_eq!(
            text(rough),
            "coupling of 3 and 7 = 0.5: must be 0.3, as every other; take BlockGibbs, which allows any"
        );
        let fields = torus(2, 2).with_fields(vec![0.0, 0.0, 1.0, 0.0]).unwrap();
        assert!(text(fields).starts_with("field of 2 = 1: must be 0, as every other"));
        let mut packed = PackedIsing::new(&torus(2, 2)).unwrap();
        assert_eq!(
            packed.set_bits(&[0; 3]).unwrap_err().to_string(),
            "bits of a lattice: expected 4, found 3"
        );
        assert!(packed.set_bits(&[0, 2, 0, 0]).unwrap_err().to_string().starts_with("bits[1] = 2"));
        assert!(packed.write_bits(&mut [0; 5]).is_err());
        let run = sample_discrete(&Checkerboard::new(0), &torus(2, 2), &[vec![0; 4]], &config(1, 0, 1, 0));
        assert_eq!(run.map(|_| ()).unwrap_err().to_string(), "sweeps = 0: must be at least 1");
        let potts = PottsLattice::new(3, 4, Boundary::Torus, 3, 0.1).unwrap();
        assert!(sample_discrete(&Checkerboard::new(1), &potts, &[vec![0; 12]], &config(1, 0, 1, 0)).is_err());
    }
}
