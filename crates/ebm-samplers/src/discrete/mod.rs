//! Kernels for discrete variables, and their driver: chains side by side, one random stream each.

mod gibbs;

pub use gibbs::{Gibbs, Scan};

use ebm_core::random::{Purpose, Stream};
use ebm_core::{DiscreteEnergy, Error, Result, check_state};
use ndarray::Array3;
use rayon::prelude::*;

/// One Markov transition of discrete variables. A kernel holds settings only.
pub trait DiscreteKernel<E: ?Sized> {
    /// Scratch and what is cached of the current state; one per chain.
    type Work;

    /// The scratch for a chain that starts at `x`.
    fn init(&self, energy: &E, x: &[u8]) -> Self::Work;

    /// One transition; the probability of its acceptance, NaN where nothing is ever rejected.
    fn step(&self, energy: &E, x: &mut [u8], work: &mut Self::Work, rng: &mut Stream) -> f64;
}

/// What came out of [`sample_discrete`].
#[derive(Clone, Debug)]
pub struct DiscreteRun {
    /// `[chain, draw, variable]`.
    pub draws: Array3<u8>,
    /// Mean acceptance probability after burn-in, per chain; NaN for kernels that accept everything.
    pub acceptance: Vec<f64>,
}

/// Run a chain from each start: `burn_in` steps, then `n_draws` draws with `thin` steps before each. Chain `i` draws
/// from the stream (seed, chain, `i`), so results do not depend on the number of threads.
///
/// # Errors
/// No chain, no draw, `thin` 0, a start that is no state of the energy or has no finite energy.
pub fn sample_discrete<K, E>(
    kernel: &K,
    energy: &E,
    starts: &[Vec<u8>],
    n_draws: usize,
    burn_in: usize,
    thin: usize,
    seed: u64,
) -> Result<DiscreteRun>
where
    E: DiscreteEnergy + ?Sized,
    K: DiscreteKernel<E> + Sync,
{
    for (name, count) in [("n_chains", starts.len()), ("n_draws", n_draws), ("thin", thin)] {
        if count == 0 {
            return Err(Error::bad_value(name, 0, "at least 1", ""));
        }
    }
    let n = energy.n_variables();
    if n == 0 || !(2..=256).contains(&energy.n_states()) {
        let found = format_args!("{n} of {} states", energy.n_states());
        return Err(Error::bad_value("variables", found, "at least 1, of 2 to 256 states", ""));
    }
    for (i, x) in starts.iter().enumerate() {
        check_state(energy, &format!("starts[{i}]"), x)?;
        let value = energy.energy(x);
        if !value.is_finite() {
            return Err(Error::bad_value(format!("energy of starts[{i}]"), value, "finite", ""));
        }
    }
    let mut draws = vec![0; starts.len() * n_draws * n];
    let one = |(i, (start, out)): (usize, (&Vec<u8>, &mut [u8]))| {
        let mut rng = Stream::new(seed, Purpose::Chain, i as u64);
        let mut x = start.clone();
        let mut work = kernel.init(energy, &x);
        for _ in 0..burn_in {
            kernel.step(energy, &mut x, &mut work, &mut rng);
        }
        let mut accepted = 0.0;
        for draw in out.chunks_exact_mut(n) {
            for _ in 0..thin {
                accepted += kernel.step(energy, &mut x, &mut work, &mut rng);
            }
            draw.copy_from_slice(&x);
        }
        accepted / (n_draws * thin) as f64
    };
    let chains = starts.par_iter().zip(draws.par_chunks_mut(n_draws * n));
    let acceptance = chains.enumerate().map(one).collect();
    let draws = Array3::from_shape_vec((starts.len(), n_draws, n), draws).map_err(Error::user)?;
    Ok(DiscreteRun { draws, acceptance })
}
