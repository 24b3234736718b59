//! A driver for the crate [`nuts_rs`](::nuts_rs): another implementation of NUTS, one that adapts step size and diagonal metric
//! in its own way, run on our energies. Our tests and benches hold [`Nuts`](crate::Nuts) against it.
//!
//! Source: Seyboldt and others, the crate nuts-rs; its metric is the diagonal one of least Fisher divergence.

use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

use ::nuts_rs::rand::SeedableRng;
use ::nuts_rs::rand::rngs::ChaCha8Rng;
use ::nuts_rs::{Chain, CpuLogpFunc, CpuMath, CpuMathError, DiagNutsSettings, HasDims, LogpError, Settings};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, GradEnergy, Result};
use ndarray::{Array2, Array3};
use rayon::prelude::*;

use crate::sample::Draws;

/// Settings of a run by nuts-rs. Host chains in f64 alone; such a run cannot be saved or resumed.
///
/// Use it to check a result of [`Nuts`](crate::Nuts), which has the same law and can be resumed; not for anything that must go on after an interruption.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::NutsRs;
/// let run = NutsRs::new(500).sample(&Gaussian::standard(3)?, vec![vec![0.5; 3]; 4])?;
/// assert_eq!(run.draws.array().shape(), [4, 500, 3]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct NutsRs {
    /// Draws kept from each chain.
    pub n_draws: usize,
    /// Steps before the first draw, in which it adapts.
    pub burn_in: usize,
    /// Wanted mean acceptance, between 0 and 1.
    pub target_accept: f64,
    /// The path is doubled at most this often, in `1..=20`.
    pub max_depth: u32,
    /// The run is a function of this seed, whatever the number of threads.
    pub seed: u64,
}

/// What came out of [`NutsRs::sample`].
#[derive(Clone, Debug)]
pub struct NutsRsRun {
    /// The draws `[chain, draw, dim]`, with the statistics `n_steps`, `diverging` and `step_size`
    /// ([`Draws::statistic`]).
    pub draws: Draws,
    /// Seconds of each chain's draws, those of its burn-in not counted.
    pub seconds: Vec<f64>,
}

impl NutsRs {
    /// 1,000 steps of burn-in, a target acceptance of 0.8, at most 10 doublings, seed 0.
    pub fn new(n_draws: usize) -> Self {
        Self { n_draws, burn_in: 1000, target_accept: 0.8, max_depth: 10, seed: 0 }
    }

    /// Set [`NutsRs::burn_in`].
    pub fn burn_in(mut self, burn_in: usize) -> Self {
        self.burn_in = burn_in;
        self
    }

    /// Set [`NutsRs::seed`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check(&self) -> Result<()> {
        if self.n_draws == 0 {
            return Err(Error::bad_value("n_draws", 0, "at least 1", ""));
        }
        if !(self.target_accept > 0.0 && self.target_accept < 1.0) {
            return Err(Error::bad_value(
                "target_accept",
                self.target_accept,
                "between 0 and 1",
                "0.8 is usual",
            ));
        }
        if !(1..=20).contains(&self.max_depth) {
            return Err(Error::bad_value("max_depth", self.max_depth, "1 to 20", "10 is usual"));
        }
        Ok(())
    }

    /// Sample `energy` from `starts`, one chain each, side by side on rayon's threads.
    ///
    /// # Errors
    /// No chains, start points of different lengths, impossible settings; what the energy returns; and a start
    /// where the energy or its gradient is not finite.
    pub fn sample<E>(&self, energy: &E, starts: Vec<Vec<f64>>) -> Result<NutsRsRun>
    where
        E: GradEnergy<Vec<f64>> + Sync + ?Sized,
    {
        self.check()?;
        let dim = starts.first().map_or(0, Vec::len);
        if dim == 0 {
            let fix = "give one start point per chain";
            return Err(Error::bad_value("coordinates of the start points", 0, "at least 1", fix));
        }
        if let Some(i) = starts.iter().position(|x| x.len() != dim) {
            return Err(Error::shape(format!("start point {i}"), dim, starts[i].len()));
        }
        let n_chains = starts.len();
        let chains: Vec<One> = starts
            .into_par_iter()
            .enumerate()
            .map(|(chain, x)| self.chain(energy, x, chain as u64))
            .collect::<Result<_>>()?;

        let mut positions = Vec::with_capacity(n_chains * self.n_draws * dim);
        let mut statistics = STATISTICS.map(|_| Vec::with_capacity(n_chains * self.n_draws));
        for chain in &chains {
            positions.extend_from_slice(&chain.positions);
            for (all, own) in statistics.iter_mut().zip(&chain.statistics) {
                all.extend_from_slice(own);
            }
        }
        let shaped = |values| Array2::from_shape_vec((n_chains, self.n_draws), values).map_err(Error::user);
        let statistics = STATISTICS
            .into_iter()
            .zip(statistics)
            .map(|(name, values)| Ok((name, shaped(values)?)))
            .collect::<Result<_>>()?;
        let positions =
            Array3::from_shape_vec((n_chains, self.n_draws, dim), positions).map_err(Error::user)?;
        let seconds = chains.iter().map(|chain| chain.seconds).collect();
        Ok(NutsRsRun { draws: Draws { positions, statistics }, seconds })
    }

    fn chain<E>(&self, energy: &E, start: Vec<f64>, chain: u64) -> Result<One>
    where
        E: GradEnergy<Vec<f64>> + ?Sized,
    {
        let mut settings = DiagNutsSettings {
            num_tune: self.burn_in as u64,
            maxdepth: self.max_depth.into(),
            ..Default::default()
        };
        settings.adapt_options.step_size_settings.target_accept = self.target_accept;
        let seed = Stream::new(self.seed, Purpose::Chain, chain).next_u64();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let density = Density { energy, x: start.clone(), grad: start.clone() };
        let problem = |error| Error::user(format!("chain {chain}: {error:#}"));
        let mut sampler = settings.new_chain(chain, CpuMath::new(density), &mut rng).map_err(problem)?;
        sampler.set_position(&start).map_err(problem)?;
        for _ in 0..self.burn_in {
            sampler.draw().map_err(problem)?;
        }
        let begin = Instant::now();
        let mut one = One {
            positions: Vec::with_capacity(self.n_draws * start.len()),
            statistics: STATISTICS.map(|_| Vec::with_capacity(self.n_draws)),
            seconds: 0.0,
        };
        for _ in 0..self.n_draws {
            let (draw, report) = sampler.draw().map_err(problem)?;
            one.positions.extend_from_slice(&draw);
            let values = [report.num_steps as f64, f64::from(u8::from(report.diverging)), report.step_size];
            one.statistics.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
        one.seconds = begin.elapsed().as_secs_f64();
        Ok(one)
    }
}

const STATISTICS: [&str; 3] = ["n_steps", "diverging", "step_size"];

/// What one chain leaves.
struct One {
    positions: Vec<f64>,
    statistics: [Vec<f64>; STATISTICS.len()],
    seconds: f64,
}

/// An energy as nuts-rs wants it. It hands over slices, we take vectors: one copy each way.
struct Density<'a, E: ?Sized> {
    energy: &'a E,
    x: Vec<f64>,
    grad: Vec<f64>,
}

/// An energy or gradient that is not finite makes the path diverge; an error of the energy ends the run.
enum Trouble {
    NotFinite,
    Failed(Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str("the energy or its gradient is not finite"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// nuts-rs shows its users this form.
impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Trouble {}

impl LogpError for Trouble {
    fn is_recoverable(&self) -> bool {
        matches!(self, Self::NotFinite)
    }
}

impl<E: ?Sized> HasDims for Density<'_, E> {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_owned(), self.x.len() as u64)])
    }
}

impl<E: GradEnergy<Vec<f64>> + ?Sized> CpuLogpFunc for Density<'_, E> {
    type LogpError = Trouble;
    type FlowParameters = ();
    type ExpandedVector = Vec<f64>;

    fn dim(&self) -> usize {
        self.x.len()
    }

    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> std::result::Result<f64, Trouble> {
        self.x.copy_from_slice(position);
        let energy = self.energy.energy_grad(&self.x, &mut self.grad).map_err(Trouble::Failed)?;
        gradient.iter_mut().zip(&self.grad).for_each(|(to, from)| *to = -from);
        if energy.is_finite() && gradient.iter().all(|g| g.is_finite()) {
            Ok(-energy)
        } else {
            Err(Trouble::NotFinite)
        }
    }

    fn expand_vector<R: ::nuts_rs::rand::Rng + ?Sized>(
        &mut self,
        _rng: &mut R,
        position: &[f64],
    ) -> std::result::Result<Vec<f64>, CpuMathError> {
        Ok(position.to_vec())
    }
}
