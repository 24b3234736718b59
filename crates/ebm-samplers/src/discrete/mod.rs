//! Kernels for discrete variables, and their driver: chains side by side, one random stream each.
//!
//! [`Gibbs`], [`BlockGibbs`], [`GibbsWithGradients`], [`Dula`] and [`Dmala`] are also kernels of tensors (feature `torch`),
//! for neural energies: all chains in lock step by [`sample`](crate::sample). Points are bits `[chains, n]` or one-hot rows
//! `[chains, n, k]`.
//!
//! | kernel | energy | one step |
//! |---|---|---|
//! | [`Gibbs`], [`BlockGibbs`] | any [`DiscreteEnergy`] | variables drawn given the rest, one by one or class by class |
//! | [`RbmGibbs`] | [`ebm_core::Rbm`] | all hidden bits given the visible ones, then the other way round |
//! | [`PackedRbm`] | the same | the same, 64 chains to a word; not by [`sample_discrete`] |
//! | [`GibbsWithGradients`] | [`ebm_core::RelaxedEnergy`] | one change, chosen by the gradient, accepted or not |
//! | [`Dula`], [`Dmala`] | [`ebm_core::RelaxedEnergy`] | all variables at once; `Dmala` accepts or rejects |
//! | [`Checkerboard`] | Ising lattices of one coupling, Potts lattices | whole lattices, 64 Ising spins to a word ([`PackedIsing`]) |
//! | [`SwendsenWang`], [`Wolff`] | [`ebm_core::Pairwise`] | clusters of equal neighbours |

mod block_gibbs;
mod checkerboard;
mod cluster;
mod dmala;
mod dula;
mod gibbs;
mod guided;
mod gwg;
mod packed;
mod packed_rbm;
mod rbm_gibbs;
mod record;
mod running;
#[cfg(feature = "torch")]
mod tensor;
#[cfg(feature = "torch")]
mod tensor_gibbs;
#[cfg(test)]
#[cfg(feature = "torch")]
mod tensor_testing;
#[cfg(test)]
pub(crate) mod testing;

pub use block_gibbs::BlockGibbs;
pub use checkerboard::{Checkerboard, PottsWork};
pub use cluster::{ClusterWork, SwendsenWang, Wolff};
pub use dmala::Dmala;
pub use dula::{Dula, DulaWork};
pub use gibbs::{Gibbs, Scan};
pub use guided::GuidedWork;
pub use gwg::{GibbsWithGradients, GwgWork};
pub use packed::PackedIsing;
pub use packed_rbm::PackedRbm;
pub use rbm_gibbs::{RbmGibbs, RbmWork};
pub use running::{DiscreteRun, DiscreteSampler, sample_discrete};
#[cfg(feature = "torch")]
pub use tensor_gibbs::GibbsInfo;

use ebm_core::random::Stream;
use ebm_core::{DiscreteEnergy, Result};

/// One Markov transition of discrete variables. A kernel holds settings only.
pub trait DiscreteKernel<E: DiscreteEnergy + ?Sized> {
    /// Scratch and what is cached of the current state; one per chain.
    type Work: Send;

    /// Whether the settings make sense, and fit the energy.
    ///
    /// # Errors
    /// Names the setting, its value and its limit.
    fn check(&self, _energy: &E) -> Result<()> {
        Ok(())
    }

    /// The scratch for a chain that starts at `x`.
    fn init(&self, energy: &E, x: &[u8]) -> Self::Work;

    /// The scratch of a chain that goes on at `x` after `n_steps` steps, such that further steps are the same bits as
    /// without the interruption. Override it where that takes more than [`DiscreteKernel::init`].
    fn resume(&self, energy: &E, x: &[u8], _n_steps: u64) -> Self::Work {
        self.init(energy, x)
    }

    /// The energy of `x`, which is where the last step left it. Override it where it is cached.
    fn current_energy(&self, energy: &E, x: &[u8], _work: &Self::Work) -> f64 {
        energy.energy(x)
    }

    /// One transition of `x`, which is where the last step (or `init`) left it.
    fn step(&self, energy: &E, x: &mut [u8], work: &mut Self::Work, rng: &mut Stream) -> DiscreteInfo;
}

/// What a [`DiscreteKernel`] reports of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiscreteInfo {
    /// Probability with which the proposal was accepted; NaN where nothing is ever rejected.
    pub accept_prob: f64,
    /// Whether something was not a number, or a proposal's energy was out of reach: the state, or the variable
    /// whose conditional it was, stayed.
    pub diverged: bool,
}

impl DiscreteInfo {
    /// The report of a kernel that rejects nothing.
    pub fn always_accepted(diverged: bool) -> Self {
        Self { accept_prob: f64::NAN, diverged }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::config;
    use super::*;
    use ebm_core::exact::{Boundary, IsingLattice};
    use ebm_core::{Colouring, RelaxedEnergy};

    fn lattice() -> IsingLattice {
        IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.1).unwrap()
    }

    /// An energy shifted by a constant, with trouble where asked for.
    struct Odd {
        lattice: IsingLattice,
        shift: f64,
        nan_above: usize,
    }

    impl DiscreteEnergy for Odd {
        fn n_variables(&self) -> usize {
            16
        }
        fn n_states(&self) -> usize {
            2
        }
        fn energy(&self, x: &[u8]) -> f64 {
            if x.iter().filter(|bit| **bit == 1).count() > self.nan_above {
                return f64::NAN;
            }
            DiscreteEnergy::energy(&self.lattice, x) + self.shift
        }
    }

    impl RelaxedEnergy for Odd {
        fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]) {
            self.lattice.relaxed_gradient(x, out);
        }
    }

    /// Draws of one chain after another, on pools of different sizes.
    fn on_threads<K: DiscreteKernel<IsingLattice> + Sync>(kernel: &K) {
        let starts: Vec<Vec<u8>> =
            (0..7).map(|i| (0..16).map(|j| u8::from((i * j) % 3 == 1)).collect()).collect();
        let run = |threads: usize, starts: &[Vec<u8>]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sample_discrete(kernel, &lattice(), starts, &config(20, 3, 2, 5)).unwrap().draws)
        };
        let one = run(1, &starts);
        assert_eq!(one, run(3, &starts));
        // The first chains do not notice how many others there are.
        assert_eq!(one.slice(ndarray::s![..2, .., ..]), run(2, &starts[..2]));
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        on_threads(&Gibbs(Scan::Random));
        on_threads(&BlockGibbs::new(Colouring::checkerboard(&lattice()).unwrap()));
        on_threads(&GibbsWithGradients);
        on_threads(&Dula::new(0.3));
        on_threads(&Dmala::new(0.3));
        on_threads(&SwendsenWang);
        on_threads(&Wolff);
        on_threads(&Checkerboard::new(2));
    }

    fn check_shift<K: DiscreteKernel<Odd> + Sync>(kernel: &K) {
        let run = |shift| {
            let energy = Odd { lattice: lattice(), shift, nan_above: 16 };
            sample_discrete(kernel, &energy, &vec![vec![0; 16]; 3], &config(50, 0, 1, 2)).unwrap()
        };
        let (plain, shifted) = (run(0.0), run(1024.0));
        assert_eq!(plain.draws, shifted.draws);
        assert_eq!(plain.summary.n_diverged, [0; 3]);
    }

    #[test]
    fn a_constant_added_to_the_energy_changes_no_draw() {
        check_shift(&Gibbs(Scan::Systematic));
        check_shift(&BlockGibbs::new(Colouring::checkerboard(&lattice()).unwrap()));
        check_shift(&GibbsWithGradients);
        check_shift(&Dula::new(0.3));
        check_shift(&Dmala::new(0.3));
    }

    /// Beyond a wall the energy is NaN: flagged, and never gone through by the exact kernels.
    #[test]
    fn energies_that_are_no_numbers_are_walls() {
        fn check<K: DiscreteKernel<Odd> + Sync>(kernel: &K) {
            let energy = Odd { lattice: lattice(), shift: 0.0, nan_above: 5 };
            let run = sample_discrete(kernel, &energy, &[vec![0; 16]], &config(300, 0, 1, 2)).unwrap();
            assert!(run.summary.n_diverged[0] > 0);
            let ones = |x: ndarray::ArrayView1<u8>| x.iter().filter(|bit| **bit == 1).count();
            let most = run.draws.rows().into_iter().map(ones).max().unwrap();
            assert!((1..=5).contains(&most), "{most}");
        }
        check(&Gibbs(Scan::Systematic));
        check(&BlockGibbs::new(Colouring::checkerboard(&lattice()).unwrap()));
        check(&GibbsWithGradients);
        check(&Dmala::new(2.0));
    }

    /// A gradient that is not a number leaves the state where it is.
    #[test]
    fn gradients_that_are_no_numbers_leave_the_state() {
        struct Broken(IsingLattice);
        impl DiscreteEnergy for Broken {
            fn n_variables(&self) -> usize {
                16
            }
            fn n_states(&self) -> usize {
                2
            }
            fn energy(&self, x: &[u8]) -> f64 {
                DiscreteEnergy::energy(&self.0, x)
            }
        }
        impl RelaxedEnergy for Broken {
            fn relaxed_gradient(&self, _x: &[u8], out: &mut [f64]) {
                out.fill(f64::NAN);
            }
        }
        fn check<K: DiscreteKernel<Broken> + Sync>(kernel: &K) {
            let run =
                sample_discrete(kernel, &Broken(lattice()), &[vec![1; 16]], &config(10, 0, 1, 2)).unwrap();
            assert!(run.draws.iter().all(|bit| *bit == 1));
            assert_eq!(run.summary.n_diverged, [10]);
        }
        check(&GibbsWithGradients);
        check(&Dula::new(1.0));
        check(&Dmala::new(1.0));
    }

    #[test]
    fn bad_input_is_an_error() {
        struct Sized(usize, usize);
        impl DiscreteEnergy for Sized {
            fn n_variables(&self) -> usize {
                self.0
            }
            fn n_states(&self) -> usize {
                self.1
            }
            fn energy(&self, _x: &[u8]) -> f64 {
                0.0
            }
        }
        let text = |n, k| {
            let run = sample_discrete(&Gibbs(Scan::Random), &Sized(n, k), &[vec![0; n]], &config(1, 0, 1, 0));
            run.map(|_| ()).unwrap_err().to_string()
        };
        for (n, k) in [(0, 2), (3, 1), (3, 0), (3, 257)] {
            assert_eq!(
                text(n, k),
                format!("variables = {n} of {k} states: must be at least 1, of 2 to 256 states")
            );
        }
        let nan = Odd { lattice: lattice(), shift: 0.0, nan_above: 0 };
        let run = |starts: &[Vec<u8>], thin| {
            let run = sample_discrete(&Gibbs(Scan::Random), &nan, starts, &config(1, 0, thin, 0));
            run.map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(run(&[], 1), "n_chains = 0: must be at least 1");
        assert_eq!(run(&[vec![0; 16]], 0), "thin = 0: must be at least 1");
        assert_eq!(run(&[vec![2; 16]], 1), "starts[0][0] = 2: must be below 2");
        assert_eq!(run(&[vec![0; 8]], 1), "variables of starts[0]: expected 16, found 8");
        assert_eq!(run(&[vec![0; 16], vec![1; 16]], 1), "energy of starts[1] = NaN: must be finite");
        let steps = |step_size: f64| {
            let run =
                sample_discrete(&Dmala::new(step_size), &lattice(), &[vec![0; 16]], &config(1, 0, 1, 0));
            run.map(|_| ()).unwrap_err().to_string()
        };
        assert!(steps(0.0).starts_with("step_size = 0"), "{}", steps(0.0));
        assert!(steps(f64::NAN).starts_with("step_size = NaN"));
        let small = Colouring::greedy(4, &[]).unwrap();
        let run = sample_discrete(&BlockGibbs::new(small), &lattice(), &[vec![0; 16]], &config(1, 0, 1, 0));
        assert_eq!(
            run.map(|_| ()).unwrap_err().to_string(),
            "variables of a colouring: expected 16, found 4"
        );
        let one_class = Colouring::greedy(16, &[]).unwrap();
        let run =
            sample_discrete(&BlockGibbs::new(one_class), &lattice(), &[vec![0; 16]], &config(1, 0, 1, 0));
        assert!(run.map(|_| ()).unwrap_err().to_string().contains("they interact"));
    }
}
