//! Methods that cross between far modes, or tell `ln Z`, where a single chain fails.

use std::time::Instant;

use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
use ebm_core::random::{Purpose, Stream};
use ebm_metrics::samples::{Exactness, kolmogorov_smirnov, moment_z};
use ebm_samplers::{Ais, AnnealedLangevin, Bracket, Hmc, RungSteps, Smc, Tempering};
use ndarray::s;
use rayon::prelude::*;

use super::Settings;
use super::cell::{Cell, Cost, Expected};
use super::continuous::{Gallery, exact_draws, starts};

/// Particles of one run of sequential Monte Carlo.
const N_PARTICLES: usize = 256;
/// Leapfrogs of every transition.
const N_LEAPFROGS: u32 = 4;

/// What the paths to the far modes start from: wide enough to reach both.
fn wide(dim: usize) -> ebm_core::Result<Gaussian> {
    Gaussian::diagonal(vec![0.0; dim], vec![49.0; dim])
}

impl Gallery<'_> {
    /// All of them on the two modes.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`.
    pub fn across(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        if self.wants("tempering", "far_modes") || self.wants("stepping_stone", "log_z") {
            self.tempering(law)?;
        }
        if self.wants("smc", "far_modes") {
            self.smc(law)?;
        }
        if self.wants("ais", "log_z") {
            self.ais(law)?;
        }
        if self.wants("annealed_langevin", "far_modes") {
            self.annealed_langevin()?;
        }
        Ok(())
    }

    /// Parallel tempering, one ladder per chain; and `ln Z` from the energies on its rungs.
    fn tempering(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        let dim = law.mean().len();
        let (start, &Settings { n_chains, n_sweeps, n_long_chains, .. }) = (wide(dim)?, self.settings);
        // Long enough paths for the hottest rung, seven times as wide as the modes.
        let kernel = Hmc::new(0.9, 2 * N_LEAPFROGS);
        let betas = (0..10).map(|i| f64::from(i) / 9.0).collect();
        let (steps, seed) = (RungSteps::Same, self.seed);
        let tempering = Tempering { betas, steps, n_draws: n_sweeps, seed, ..Tempering::geometric(0.1, 10) };
        let begin = Instant::now();
        let run = tempering.run(&kernel, &start, law, starts(n_chains, dim, self.seed))?;
        let seconds = begin.elapsed().as_secs_f64();
        let exactness =
            self.against("tempering", "far_modes", law, run.draws.slice(s![.., n_sweeps - 1, ..]))?;
        let summary = ebm_metrics::chains::summary(run.draws.slice(s![..n_long_chains, .., ..]))?;
        let cost = Cost {
            ess: summary.parameters.iter().map(|p| p.ess_bulk).fold(f64::INFINITY, f64::min),
            gradients: (n_long_chains * n_sweeps * run.betas.len()) as f64 * f64::from(2 * N_LEAPFROGS),
            seconds: seconds * n_long_chains as f64 / n_chains as f64,
            r_hat: summary.worst_r_hat(),
            n_diverged: 0,
        };
        self.add(Cell {
            kernel: "tempering",
            target: "far_modes",
            expected: Expected::Exact,
            exactness,
            cost: Some(cost),
        })?;

        let kept = Tempering { keep_slopes: true, seed: self.seed + 1, ..tempering };
        let few = starts(n_long_chains.max(2), dim, self.seed + 1);
        let run = kept.run(&kernel, &start, law, few)?;
        let stones = run.rung_energies()?.stepping_stone();
        let found = start.log_partition() + stones.log_ratio;
        let exactness = alone((found - law.log_partition()) / stones.std_error);
        let (expected, target) = (Expected::Exact, "log_z");
        self.add(Cell { kernel: "stepping_stone", target, expected, exactness, cost: None })
    }

    /// Independent runs of sequential Monte Carlo. `Z` is estimated without bias, so the mean of its ratio to the exact
    /// one is 1; the share of the left mode; and one particle of each run against the law.
    fn smc(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        let dim = law.mean().len();
        let (start, kernel) = (wide(dim)?, Hmc::new(0.5, N_LEAPFROGS));
        let n_runs = (self.settings.n_chains / 16).max(8);
        let seed = self.seed;
        let one = |i: usize| -> ebm_core::Result<[f64; 3]> {
            let mut stream = Stream::new(seed, Purpose::Evaluation, 2 + i as u64);
            let draws = (0..N_PARTICLES).map(|_| start.sample(&mut stream)).collect();
            let smc = Smc { seed: seed.wrapping_mul(1 << 20) + i as u64, n_steps: 2, ..Smc::default() };
            let run = smc.run(&kernel, &start, law, draws, start.log_partition())?;
            let (left, _) = run.expectation(|x| f64::from(u8::from(x[0] < 0.0)));
            let mut rest = stream.uniform();
            let chosen = run.weights.iter().position(|w| {
                rest -= w;
                rest < 0.0
            });
            let chosen = chosen.unwrap_or(N_PARTICLES - 1);
            Ok([(run.log_z - law.log_partition()).exp(), left, run.points[chosen][0]])
        };
        let runs = (0..n_runs).into_par_iter().map(one).collect::<ebm_core::Result<Vec<_>>>()?;
        let column = |i: usize| runs.iter().map(|r| r[i]).collect::<Vec<f64>>();
        let exact = exact_draws(law, self.settings.n_exact, seed);
        let worst_z = moment_z(&column(0), 1.0)?.abs().max(moment_z(&column(1), law.weights()[0])?.abs());
        let least_p = kolmogorov_smirnov(&column(2), &exact.column(0).to_vec())?;
        let exactness = Exactness { worst_z, n_moments: 2, least_p, n_marginals: 1 };
        let (expected, target) = (Expected::Exact, "far_modes");
        self.add(Cell { kernel: "smc", target, expected, exactness, cost: None })
    }

    /// The weights forward and the inverse weights in reverse have known means; and the bracket holds `ln Z`.
    fn ais(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        let dim = law.mean().len();
        let (start, kernel, n) = (wide(dim)?, Hmc::new(0.5, N_LEAPFROGS), self.settings.n_chains);
        let mut stream = Stream::new(self.seed, Purpose::Evaluation, 1);
        let from_start: Vec<Vec<f64>> = (0..n).map(|_| start.sample(&mut stream)).collect();
        let from_end: Vec<Vec<f64>> = (0..n).map(|_| law.sample(&mut stream)).collect();
        let ais = Ais { steps_per_beta: 2, seed: self.seed, ..Ais::linear(60) };
        let (log_z, known) = (law.log_partition(), start.log_partition());
        let forward = ais.forward(&kernel, &start, law, from_start, known)?;
        let back = Ais { seed: self.seed + 1_000_000, ..ais };
        let reverse = back.reverse(&kernel, &start, law, from_end, known)?;
        let weights: Vec<f64> = forward.log_weights.iter().map(|w| (w - log_z).exp()).collect();
        let inverse: Vec<f64> = reverse.log_weights.iter().map(|w| (log_z - w).exp()).collect();
        let worst_z = moment_z(&weights, 1.0)?.abs().max(moment_z(&inverse, 1.0)?.abs());
        let exactness = Exactness { worst_z, n_moments: 2, least_p: 1.0, n_marginals: 1 };
        self.bracket = Some((Bracket::new(&forward, &reverse), log_z));
        let (expected, target) = (Expected::Exact, "log_z");
        self.add(Cell { kernel: "ais", target, expected, exactness, cost: None })
    }

    /// From far too wide through narrower and narrower laws to the two modes, nearly.
    fn annealed_langevin(&mut self) -> anyhow::Result<()> {
        let at = |sigma: f64| {
            let means = vec![vec![-6.0, 0.0], vec![6.0, 0.0]];
            GaussianMixture::new(vec![0.3, 0.7], means, vec![sigma.hypot(1.0); 2])
        };
        let annealed = AnnealedLangevin::geometric(12.0, 0.3, 15, 60, 0.002);
        let levels = annealed.sigmas.iter().map(|s| at(*s)).collect::<ebm_core::Result<Vec<_>>>()?;
        let ends = annealed.run(|i| &levels[i], starts(self.settings.n_chains, 2, self.seed), self.seed)?;
        let draws = ndarray::Array2::from_shape_fn((ends.len(), 2), |(t, i)| ends[t][i]);
        let exactness =
            self.against("annealed_langevin", "far_modes", &levels[levels.len() - 1], draws.view())?;
        let (expected, target) = (Expected::Biased, "far_modes");
        self.add(Cell { kernel: "annealed_langevin", target, expected, exactness, cost: None })
    }
}

/// A single z.
fn alone(z: f64) -> Exactness {
    Exactness { worst_z: z.abs(), n_moments: 1, least_p: 1.0, n_marginals: 1 }
}
