//! Non-reversible parallel tempering: several rungs of a path, swapped in turn by even and by odd pairs.
//!
//! Rung `i` samples `(1 - beta_i) E_0 + beta_i E_1`. Neighbours swap positions with probability
//! `min(1, exp((beta_j - beta_i) (V(x_j) - V(x_i))))`, `V = E_1 - E_0`. The mean rejections `r_i` add up to the
//! communication barrier; a ladder is best where they are all alike, and the warm-up moves the rungs there. Source:
//! Syed, Bouchard-Cote, Deligiannidis and Doucet 2022, "Non-reversible parallel tempering" (arXiv 1905.02939).

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Energy, Error, Real, Result};
use ndarray::Array3;
use rayon::prelude::*;

use crate::bridge::{Bridge, check_betas, constant_step_size};
use crate::kernel::{Kernel, State};
use crate::ladder::{Verdict, barrier, respaced, verdict};
use crate::start_points::check_points;

/// The step size of each rung.
#[derive(Clone, Debug, PartialEq)]
pub enum RungSteps {
    /// The kernel's own on every rung.
    Same,
    /// The kernel's own times `1 / sqrt(beta)`: hot rungs of `beta E` are that much wider.
    InverseRoot,
    /// One for each rung; only with a ladder that stays (`warm_up_rounds: 0`).
    Given(Vec<f64>),
}

/// Settings of parallel tempering: one ladder of rungs per start point, ladders in parallel.
///
/// Use it for modes far apart. Not where one rung mixes by itself: the others only cost; nor before its verdict was
/// read.
///
/// ```
/// use ebm_core::analytic::GaussianMixture;
/// use ebm_samplers::{Flat, Hmc, Tempering};
/// let target = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-3.0], vec![3.0]], vec![1.0, 1.0])?;
/// let tempering = Tempering { n_draws: 200, ..Tempering::geometric(0.1, 4) };
/// let run = tempering.run(&Hmc::new(0.5, 4), &Flat, &target, vec![vec![3.0f64]; 2])?;
/// assert_eq!(run.draws.dim(), (2, 200, 1));
/// println!("{}", run.verdicts[0]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tempering {
    /// The ladder to begin with: increasing, the last 1; the first above 0 when the path starts at `Flat`.
    pub betas: Vec<f64>,
    /// The step size of each rung.
    pub steps: RungSteps,
    /// Kernel steps of each rung between swaps; at least 1.
    pub explore: usize,
    /// Rounds of warm-up; round `r` takes `8 * 2^r` sweeps and re-spaces the ladder. 0: the ladder stays.
    pub warm_up_rounds: u32,
    /// Sweeps after the warm-up, each a draw of the target; at least 2.
    pub n_draws: usize,
    /// Keep `E_1 - E_0` of every rung at every draw, for `ln Z`: one number per rung and draw.
    pub keep_slopes: bool,
    /// The run is a function of this seed, whatever the number of threads.
    pub seed: u64,
}

/// What came out of parallel tempering.
#[derive(Clone, Debug)]
pub struct TemperedRun {
    /// Draws of the last rung, `[ladder, draw, dim]`.
    pub draws: Array3<f64>,
    /// `E_1 - E_0` of each rung before the swaps of a draw, `[ladder, draw, rung]`, where kept; see
    /// [`TemperedRun::rung_energies`].
    pub slopes: Option<Array3<f64>>,
    /// The ladder that was used.
    pub betas: Vec<f64>,
    /// Mean swap probability of each pair of neighbours, `[ladder][pair]`.
    pub acceptance: Vec<Vec<f64>>,
    /// Journeys from the hot end to the cold and back, per ladder, over all its replicas.
    pub round_trips: Vec<u64>,
    /// The communication barrier: the sum of the mean rejections.
    pub barrier: f64,
    /// One word on each ladder.
    pub verdicts: Vec<Verdict>,
}

/// All rungs of one ladder.
struct Ladder<T: Real, W> {
    states: Vec<State<Vec<T>, W>>,
    rngs: Vec<Stream>,
    swaps: Stream,
    slopes: Vec<f64>,
    /// Which replica is on each rung, and whether a replica was last at the cold end (`None`: at neither yet).
    replicas: Vec<usize>,
    was_cold: Vec<Option<bool>>,
    round_trips: u64,
    /// Sum of swap probabilities and number of tries, per pair.
    accepted: Vec<f64>,
    tries: Vec<u64>,
    sweeps: u64,
}

/// The probability of a swap of neighbours, `beta_i < beta_j`; 0 where an energy is not a number.
fn swap_probability(beta_i: f64, beta_j: f64, slope_i: f64, slope_j: f64) -> f64 {
    let ratio = (beta_j - beta_i) * (slope_j - slope_i);
    if ratio.is_nan() { 0.0 } else { ratio.min(0.0).exp() }
}

impl<T: Real, W> Ladder<T, W> {
    fn reset(&mut self) {
        self.accepted.fill(0.0);
        self.tries.fill(0);
        self.was_cold.fill(None);
        self.round_trips = 0;
    }

    fn sweep<K, A, B>(&mut self, kernel: &K, rungs: &[Bridge<A, B>], explore: usize) -> Result<()>
    where
        A: Energy<Vec<T>>,
        B: Energy<Vec<T>>,
        K: Kernel<Vec<T>, Bridge<A, B>, Work = W>,
    {
        for (i, rung) in rungs.iter().enumerate() {
            for _ in 0..explore {
                kernel.advance(rung, &mut self.states[i], &mut self.rngs[i])?;
            }
            self.slopes[i] = rung.slope(&self.states[i].x)?;
        }
        let first = (self.sweeps % 2) as usize;
        self.sweeps += 1;
        for i in (first..rungs.len() - 1).step_by(2) {
            let (beta_i, beta_j) = (rungs[i].beta, rungs[i + 1].beta);
            let probability = swap_probability(beta_i, beta_j, self.slopes[i], self.slopes[i + 1]);
            self.accepted[i] += probability;
            self.tries[i] += 1;
            if self.swaps.uniform() < probability {
                let (hot, cold) = self.states.split_at_mut(i + 1);
                std::mem::swap(&mut hot[i].x, &mut cold[0].x);
                kernel.refresh(&rungs[i], &mut hot[i])?;
                kernel.refresh(&rungs[i + 1], &mut cold[0])?;
                self.replicas.swap(i, i + 1);
            }
        }
        self.count_round_trips();
        Ok(())
    }

    fn count_round_trips(&mut self) {
        let (hot, cold) = (self.replicas[0], self.replicas[self.replicas.len() - 1]);
        if self.was_cold[hot] == Some(true) {
            self.round_trips += 1;
        }
        self.was_cold[hot] = Some(false);
        if self.was_cold[cold] == Some(false) {
            self.was_cold[cold] = Some(true);
        }
    }

    fn acceptance(&self) -> Vec<f64> {
        self.accepted.iter().zip(&self.tries).map(|(a, n)| a / (*n).max(1) as f64).collect()
    }
}

impl Tempering {
    /// `n` rungs from `hottest` to 1 in equal ratios, 1 step between swaps, 6 rounds of warm-up, 1000 draws.
    pub fn geometric(hottest: f64, n: usize) -> Self {
        let last = n.saturating_sub(1).max(1) as f64;
        let betas = (0..n).map(|i| hottest.powf(1.0 - i as f64 / last)).collect();
        Self {
            betas,
            steps: RungSteps::InverseRoot,
            explore: 1,
            warm_up_rounds: 6,
            n_draws: 1000,
            keep_slopes: false,
            seed: 0,
        }
    }

    /// One ladder per start point on the path from `reference` to `target`; with `Flat` as the reference the rungs
    /// are `beta E`. All rungs of a ladder start at its start point. The kernel's step size has to be a constant.
    ///
    /// # Errors
    /// Impossible settings, bad start points; and whatever an energy returns.
    pub fn run<'a, T, K, A, B>(
        &self,
        kernel: &K,
        reference: &'a A,
        target: &'a B,
        starts: Vec<Vec<T>>,
    ) -> Result<TemperedRun>
    where
        T: Real,
        A: Energy<Vec<T>> + Sync,
        B: Energy<Vec<T>> + Sync,
        K: Kernel<Vec<T>, Bridge<&'a A, &'a B>> + Sync,
    {
        kernel.check()?;
        let own = constant_step_size(kernel.step_size())?;
        self.check(&starts)?;
        let bridge = |beta: &f64| Bridge { start: reference, end: target, beta: *beta };
        let mut rungs: Vec<_> = self.betas.iter().map(bridge).collect();
        let (n, dim, n_ladders) = (rungs.len(), starts[0].len(), starts.len());
        let stream = |i: usize| Stream::new(self.seed, Purpose::Chain, i as u64);
        let one = |(l, x): (usize, Vec<T>)| {
            let states = rungs.iter().map(|rung| kernel.init(rung, x.clone())).collect::<Result<_>>()?;
            Ok(Ladder {
                states,
                rngs: (0..n).map(|i| stream(l * n + i)).collect(),
                swaps: stream(n_ladders * n + l),
                slopes: vec![0.0; n],
                replicas: (0..n).collect(),
                was_cold: vec![None; n],
                round_trips: 0,
                accepted: vec![0.0; n - 1],
                tries: vec![0; n - 1],
                sweeps: 0,
            })
        };
        let mut ladders: Vec<Ladder<T, K::Work>> =
            starts.into_iter().enumerate().map(one).collect::<Result<_>>()?;
        let mut draws = Array3::zeros((n_ladders, self.n_draws, dim));
        // Without rungs to keep each ladder's part is empty.
        let n_kept = if self.keep_slopes { n } else { 0 };
        let mut slopes: Vec<Vec<f64>> = vec![vec![0.0; self.n_draws * n_kept]; n_ladders];
        for round in 0..=self.warm_up_rounds {
            let keep = round == self.warm_up_rounds;
            let sweeps = if keep { self.n_draws } else { 8 << round };
            let out = draws.as_slice_mut().unwrap_or_default().par_chunks_mut(self.n_draws * dim);
            ladders.par_iter_mut().zip(out).zip(&mut slopes).try_for_each(|((ladder, out), slopes)| {
                ladder.reset();
                for (i, rung) in rungs.iter().enumerate() {
                    ladder.states[i].step_size = self.step_of(i, rung.beta, own);
                    kernel.refresh(rung, &mut ladder.states[i])?;
                }
                for row in 0..sweeps {
                    ladder.sweep(kernel, &rungs, self.explore)?;
                    if keep {
                        let x = &ladder.states[n - 1].x;
                        out[row * dim..][..dim].iter_mut().zip(x).for_each(|(o, x)| *o = x.to_f64());
                        slopes[row * n_kept..][..n_kept].copy_from_slice(&ladder.slopes[..n_kept]);
                    }
                }
                Ok::<(), Error>(())
            })?;
            if !keep {
                let betas: Vec<f64> = rungs.iter().map(|rung| rung.beta).collect();
                rungs = respaced(&betas, &pooled(&ladders)).iter().map(bridge).collect();
            }
        }
        let acceptance: Vec<_> = ladders.iter().map(Ladder::acceptance).collect();
        let round_trips: Vec<_> = ladders.iter().map(|l| l.round_trips).collect();
        let verdicts = acceptance.iter().zip(&round_trips).map(|(a, r)| verdict(a, *r)).collect();
        let betas = rungs.iter().map(|rung| rung.beta).collect();
        let shape = (n_ladders, self.n_draws, n);
        let slopes = self.keep_slopes.then(|| Array3::from_shape_vec(shape, slopes.concat()));
        Ok(TemperedRun {
            draws,
            slopes: slopes.transpose().map_err(Error::user)?,
            betas,
            barrier: barrier(&pooled(&ladders)),
            acceptance,
            round_trips,
            verdicts,
        })
    }

    fn step_of(&self, i: usize, beta: f64, own: f64) -> f64 {
        match &self.steps {
            RungSteps::Same => own,
            RungSteps::InverseRoot => own / beta.sqrt(),
            RungSteps::Given(steps) => steps[i],
        }
    }

    fn check<T: Real>(&self, starts: &[Vec<T>]) -> Result<()> {
        check_betas(&self.betas)?;
        if self.explore == 0 {
            return Err(Error::bad_value("explore", 0, "at least 1", ""));
        }
        if self.n_draws < 2 {
            return Err(Error::bad_value(
                "n_draws",
                self.n_draws,
                "at least 2",
                "even and odd pairs take turns",
            ));
        }
        if self.warm_up_rounds > 30 {
            return Err(Error::bad_value(
                "warm_up_rounds",
                self.warm_up_rounds,
                "at most 30",
                "6 to 10 will do",
            ));
        }
        match &self.steps {
            RungSteps::InverseRoot if self.betas[0] == 0.0 => {
                let fix = "take RungSteps::Same, or a hottest rung above 0";
                Err(Error::bad_value("betas[0]", 0, "above 0 with RungSteps::InverseRoot", fix))
            }
            RungSteps::Given(_) if self.warm_up_rounds > 0 => {
                let fix = "given step sizes belong to a ladder that stays";
                Err(Error::bad_value("warm_up_rounds", self.warm_up_rounds, "0 with RungSteps::Given", fix))
            }
            RungSteps::Given(steps) if steps.len() != self.betas.len() => {
                Err(Error::shape("step sizes of the rungs", self.betas.len(), steps.len()))
            }
            RungSteps::Given(steps) => match steps.iter().find(|h| !(**h > 0.0 && h.is_finite())) {
                Some(h) => Err(Error::bad_value("step size of a rung", h, "above 0 and finite", "")),
                None => check_points(starts),
            },
            _ => check_points(starts),
        }
    }
}

/// Mean acceptance of each pair over all ladders.
fn pooled<T: Real, W>(ladders: &[Ladder<T, W>]) -> Vec<f64> {
    let mut mean = vec![0.0; ladders.first().map_or(0, |l| l.tries.len())];
    for ladder in ladders {
        mean.iter_mut().zip(ladder.acceptance()).for_each(|(m, a)| *m += a / ladders.len() as f64);
    }
    mean
}

#[cfg(test)]
#[path = "tempering_tests.rs"]
mod tests;
