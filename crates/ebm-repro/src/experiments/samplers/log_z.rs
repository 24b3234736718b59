//! Methods that cross between far modes, or tell `ln Z`, where a single chain fails.

use std::time::Instant;

use ebm_core::DiscreteEnergy;
use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
use ebm_core::exact::{Boundary, Enumeration, IsingLattice};
use ebm_core::random::{Purpose, Stream};
use ebm_metrics::samples::{Exactness, kolmogorov_smirnov, moment_z};
use ebm_samplers::{
    Ais, Bracket, Checkerboard, Hmc, LogRatio, Nested, RungEnergies, RungSteps, Smc, Tempering, Wham,
    sample_discrete,
};
use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::Settings;
use super::cell::Cost;
use super::discrete::config;
use super::gallery::{Gallery, alone, exact_draws, far_modes, starts};

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
    pub fn across(&mut self) -> anyhow::Result<()> {
        let law = far_modes(1.0)?;
        if self.wants("tempering", "far_modes") {
            self.tempering(&law)?;
        }
        if self.wants("stepping_stone", "far_modes_log_z") {
            self.stepping_stone(&law)?;
        }
        if self.wants("smc", "far_modes") {
            self.smc(&law)?;
        }
        if self.wants("ais", "far_modes_log_z") {
            self.ais(&law)?;
        }
        if self.wants("nested", "far_modes_log_z") {
            self.nested(&law)?;
        }
        Ok(())
    }

    /// A ladder of evenly spaced rungs, with paths long enough for the hottest, seven times as wide as the modes.
    fn ladder(&self, seed: u64) -> (Hmc, Tempering) {
        let betas = (0..10).map(|i| f64::from(i) / 9.0).collect();
        let (steps, n_draws) = (RungSteps::Same, self.settings.n_sweeps);
        (
            Hmc::new(0.9, 2 * N_LEAPFROGS),
            Tempering { betas, steps, n_draws, seed, ..Tempering::geometric(0.1, 10) },
        )
    }

    /// Parallel tempering, one ladder per chain.
    fn tempering(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        let dim = law.mean().len();
        let &Settings { n_chains, n_sweeps, n_long_chains, .. } = self.settings;
        let (kernel, tempering) = self.ladder(self.seed);
        let begin = Instant::now();
        let run = tempering.run(&kernel, &wide(dim)?, law, starts(n_chains, dim, self.seed))?;
        let seconds = begin.elapsed().as_secs_f64();
        let found = self.against("tempering", "far_modes", law, run.draws.slice(s![.., n_sweeps - 1, ..]))?;
        let summary = ebm_metrics::chains::summary(run.draws.slice(s![..n_long_chains, .., ..]))?;
        let cost = Cost {
            ess: summary.parameters.iter().map(|p| p.ess_bulk).fold(f64::INFINITY, f64::min),
            gradients: (n_long_chains * n_sweeps * run.betas.len()) as f64 * f64::from(2 * N_LEAPFROGS),
            seconds: seconds * n_long_chains as f64 / n_chains as f64,
            r_hat: summary.worst_r_hat(),
            n_diverged: 0,
        };
        self.add("tempering", "far_modes", found, Some(cost))
    }

    /// `ln Z` from the energies on the rungs of a few ladders.
    fn stepping_stone(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        let dim = law.mean().len();
        let (kernel, tempering) = self.ladder(self.seed + 1);
        let kept = Tempering { keep_slopes: true, ..tempering };
        let (start, few) = (wide(dim)?, self.settings.n_long_chains.max(2));
        let run = kept.run(&kernel, &start, law, starts(few, dim, self.seed + 1))?;
        let stones = run.rung_energies()?.stepping_stone();
        let exact = law.log_partition() - start.log_partition();
        self.add("stepping_stone", "far_modes_log_z", off(stones, exact), None)
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
        self.add("smc", "far_modes", exactness, None)
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
        self.add("ais", "far_modes_log_z", exactness, None)
    }

    /// Nested sampling from the wide start inwards.
    fn nested(&mut self, law: &GaussianMixture) -> anyhow::Result<()> {
        let start = wide(law.mean().len())?;
        let mut stream = Stream::new(self.seed, Purpose::Start, 1);
        let draws = (0..self.settings.n_chains.div_ceil(4)).map(|_| start.sample(&mut stream)).collect();
        let nested = Nested { seed: self.seed, ..Nested::default() };
        let run = nested.run(&start, law, draws, start.log_partition())?;
        let exactness = alone((run.log_z - law.log_partition()) / run.std_error);
        self.add("nested", "far_modes_log_z", exactness, None)
    }

    /// `ln Z` of an Ising lattice from independent runs at couplings between none and its own: exact by enumeration, and
    /// so is what the rules of thermodynamic integration make of exact means and variances.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`.
    pub fn ising_log_z(&mut self) -> anyhow::Result<()> {
        const TARGET: &str = "ising_log_z";
        let kernels = ["stepping_stone", "wham", "thermodynamic_trapezoid", "thermodynamic_integration"];
        if !kernels.iter().any(|kernel| self.wants(kernel, TARGET)) {
            return Ok(());
        }
        let betas: Vec<f64> = (0..6).map(|k| f64::from(k) / 5.0).collect();
        let at = |beta: f64| IsingLattice::new(4, 4, Boundary::Torus, 0.35 * beta, 0.0);
        let lattice = at(1.0)?;
        let &Settings { n_long_chains, n_draws, discrete_burn_in, .. } = self.settings;
        let slopes = betas.iter().enumerate().map(|(rung, beta)| -> anyhow::Result<Array2<f64>> {
            let starts = vec![vec![0; lattice.n_sites()]; n_long_chains];
            let seed = self.seed + 1_000_000 * (rung as u64 + 1);
            let config = config(n_draws, discrete_burn_in, 1, seed);
            let run = sample_discrete(&Checkerboard::new(1), &at(*beta)?, &starts, &config)?;
            Ok(run.draws.map_axis(Axis(2), |x| DiscreteEnergy::energy(&lattice, &x.to_vec())))
        });
        let slopes = slopes.collect::<anyhow::Result<Vec<_>>>()?;
        let laws =
            betas.iter().map(|b| Enumeration::ising(&at(*b)?)).collect::<ebm_core::Result<Vec<_>>>()?;
        let exact = laws[laws.len() - 1].log_z() - laws[0].log_z();
        let rungs = RungEnergies::new(betas.clone(), slopes.clone())?;
        self.add("stepping_stone", TARGET, off(rungs.stepping_stone(), exact), None)?;

        let energy = |x: &[u8]| DiscreteEnergy::energy(&lattice, x);
        let means: Vec<f64> = laws.iter().map(|law| law.expectation(energy)).collect();
        let variance = |(law, mean): (&Enumeration, &f64)| law.expectation(|x| (energy(x) - mean).powi(2));
        let variances: Vec<f64> = laws.iter().zip(&means).map(variance).collect();
        let step = betas[1];
        let trapezoid = -means.windows(2).map(|m| 0.5 * step * (m[0] + m[1])).sum::<f64>();
        let corrected = trapezoid - step * step / 12.0 * (variances[betas.len() - 1] - variances[0]);
        self.add("thermodynamic_trapezoid", TARGET, off(rungs.trapezoid(), trapezoid), None)?;
        self.add("thermodynamic_integration", TARGET, off(rungs.thermodynamic(), corrected), None)?;

        // All runs as one sample of each ensemble, and of one between two of them.
        let wham = Wham::new(slopes, |k, energy| betas[k] * energy)?;
        let mut zs = Vec::new();
        for (k, law) in laws.iter().enumerate().skip(1) {
            let (free_energy, error) = wham.free_energy(k)?;
            zs.push((free_energy - laws[0].log_z() + law.log_z()) / error);
        }
        let between = 0.9;
        let (mean, error) = wham.expectation(|energy| between * energy, |energy| *energy)?;
        zs.push((mean - Enumeration::ising(&at(between)?)?.expectation(energy)) / error);
        let worst_z = zs.iter().map(|z| z.abs()).fold(0.0, f64::max);
        let found = Exactness { worst_z, n_moments: zs.len(), least_p: 1.0, n_marginals: 1 };
        self.add("wham", TARGET, found, None)
    }
}

/// An estimate against the exact value.
fn off(found: LogRatio, exact: f64) -> Exactness {
    alone((found.log_ratio - exact) / found.std_error)
}
