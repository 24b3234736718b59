//! Kernels without an accept step: against the law that theory says they have, or by how their bias falls with the step.

use ebm_core::Result;
use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
use ebm_metrics::samples::{Exactness, exactness, two_sided};
use ebm_samplers::{
    AnnealedLangevin, Baoab, Kernel, Mclmc, Observer, SampleConfig, Sghmc, Splitting, Starts, State, Ula,
    sample, sample_host,
};
use ndarray::{Array2, ArrayView2, Axis};

use super::cell::LEVEL;
use super::continuous::{blocks, tensor};
use super::gallery::{FAR_MODE, Gallery, Law, alone, exact_draws, far_modes, starts};
use super::table::{self, Expected};

/// Of stochastic-gradient Hamiltonian Monte Carlo.
const FRICTION: f64 = 0.3;

/// Variance of Langevin steps on a standard normal, from `x <- (1 - h) x + sqrt(2 h) z`.
fn ula_variance(h: f64) -> f64 {
    2.0 / (2.0 - h)
}

/// The same of [`Sghmc`]; see its docs.
fn sghmc_variance(h: f64) -> f64 {
    1.0 / (1.0 - h / (2.0 * (2.0 - FRICTION)))
}

/// Variance after annealed Langevin on normals of `variances`, from starts of variance `start`.
fn annealed_variance(annealed: &AnnealedLangevin, variances: &[f64], start: f64) -> f64 {
    variances.iter().enumerate().fold(start, |variance, (level, of_level)| {
        let h = annealed.step_size_at(level);
        (0..annealed.n_steps).fold(variance, |v, _| (1.0 - h / of_level).powi(2) * v + 2.0 * h)
    })
}

/// Sums the squares of a chain's coordinates after burn-in.
struct Squares {
    burn_in: u64,
    sum: f64,
    count: f64,
}

impl<W, I> Observer<Vec<f64>, W, I> for Squares {
    fn after_step(&mut self, state: &mut State<Vec<f64>, W>, _info: &I) -> Result<()> {
        if state.step >= self.burn_in {
            self.sum += state.x.iter().map(|x| x * x).sum::<f64>();
            self.count += state.x.len() as f64;
        }
        Ok(())
    }
}

impl Gallery<'_> {
    /// All of them.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`.
    pub fn biased(&mut self) -> anyhow::Result<()> {
        let vectors = |rows: Vec<Vec<f64>>| Ok(rows);
        self.recursion("ula", Ula::new, vectors, 0.5, ula_variance)?;
        self.recursion("ula_blocks", Ula::new, blocks, 0.5, ula_variance)?;
        self.recursion("ula_tensors", Ula::new, tensor, 0.5, ula_variance)?;
        self.recursion("sghmc", |h| Sghmc::new(h, FRICTION), vectors, 0.1, sghmc_variance)?;
        self.recursion("baoab", |h| Baoab::new(h, 1.0), vectors, 1.0, |_| 1.0)?;
        self.annealed()?;
        let normal = Gaussian::standard(2)?;
        let length = 2f64.sqrt();
        let leapfrog = |h: f64| Mclmc::new(h, length).splitting(Splitting::Leapfrog);
        self.halving("mclmc", "standard_normal", &normal, |h| Mclmc::new(h, length), 1.6)?;
        self.halving("mclmc_leapfrog", "standard_normal", &normal, leapfrog, 0.8)?;
        let means = vec![vec![-1.0, 0.0], vec![1.0, 0.0]];
        let near = GaussianMixture::new(vec![0.5; 2], means, vec![0.7; 2])?;
        self.halving("ula", "near_modes", &near, Ula::new, 0.07)?;
        self.halving("sghmc", "near_modes", &near, |h| Sghmc::new(h, FRICTION), 0.07)
    }

    /// A kernel on a standard normal, where its recursion is linear and `variance(h)` its stationary variance: one draw of
    /// each chain, at step `h` and at half of it, against the law of that variance.
    fn recursion<K, S>(
        &mut self,
        name: &'static str,
        kernel: impl Fn(f64) -> K,
        point: impl Fn(Vec<Vec<f64>>) -> anyhow::Result<S>,
        h: f64,
        variance: fn(f64) -> f64,
    ) -> anyhow::Result<()>
    where
        K: Kernel<S::Point, Gaussian>,
        S: Starts<K, Gaussian>,
    {
        if !self.wants(name, "standard_normal") {
            return Ok(());
        }
        let law = Gaussian::standard(2)?;
        let at = |h: f64| -> anyhow::Result<Exactness> {
            let config = SampleConfig {
                n_draws: 1,
                burn_in: self.settings.burn_in,
                seed: self.seed,
                diagnostics: false,
                ..Default::default()
            };
            let run =
                sample(&kernel(h), &law, point(starts(self.settings.n_chains, 2, self.seed))?, &config)?;
            self.against_normal(run.draws.array().index_axis(Axis(1), 0), variance(h))
        };
        let found = at(h)?.and(&at(0.5 * h)?);
        self.add(name, "standard_normal", found, None)
    }

    /// Draws `[chain, dim]` against independent normals of this variance.
    fn against_normal(&self, draws: ArrayView2<f64>, variance: f64) -> anyhow::Result<Exactness> {
        let dim = draws.ncols();
        let law = Gaussian::diagonal(vec![0.0; dim], vec![variance; dim])?;
        let exact = exact_draws(&law, self.settings.n_exact, self.seed);
        Ok(exactness(draws, &law.mean(), &law.covariance(), exact.view())?)
    }

    /// Annealed Langevin from starts of variance 4. On a normal with more and less noise its last variance follows from the
    /// recursion. On the far modes theory gives the width of a mode, and not how many chains come to each: what is
    /// compared there is the way to the nearer mode.
    fn annealed(&mut self) -> anyhow::Result<()> {
        let n = self.settings.n_chains;
        let matrix = |rows: Vec<Vec<f64>>| Array2::from_shape_fn((rows.len(), 2), |(t, i)| rows[t][i]);
        if self.wants("annealed_langevin", "standard_normal") {
            let annealed = AnnealedLangevin::geometric(2.0, 0.3, 6, 20, 0.05);
            let variances: Vec<f64> = annealed.sigmas.iter().map(|s| 1.0 + s * s).collect();
            let levels = variances
                .iter()
                .map(|v| Gaussian::diagonal(vec![0.0; 2], vec![*v; 2]))
                .collect::<Result<Vec<_>>>()?;
            let ends = matrix(annealed.run(|i| &levels[i], starts(n, 2, self.seed), self.seed)?);
            let variance = annealed_variance(&annealed, &variances, 4.0);
            let found = self.against_normal(ends.view(), variance)?;
            self.add("annealed_langevin", "standard_normal", found, None)?;
        }
        if self.wants("annealed_langevin", "far_modes") {
            let annealed = AnnealedLangevin::geometric(12.0, 0.3, 15, 300, 0.02);
            let levels = annealed
                .sigmas
                .iter()
                .map(|s| far_modes(s.hypot(1.0)))
                .collect::<Result<Vec<GaussianMixture>>>()?;
            let mut ends = matrix(annealed.run(|i| &levels[i], starts(n, 2, self.seed), self.seed)?);
            ends.column_mut(0).mapv_inplace(|x| x - FAR_MODE.copysign(x));
            // The last level forgets the ones before it.
            let last = AnnealedLangevin { sigmas: vec![0.3], ..annealed };
            let variance = annealed_variance(&last, &[1.0 + 0.3 * 0.3], 1.0);
            let found = self.against_normal(ends.view(), variance)?;
            self.add("annealed_langevin", "far_modes", found, None)?;
        }
        Ok(())
    }

    /// The bias of the mean square at step `h` and at `h / 2`: their difference after the stated order's factor, in
    /// standard errors. NaN where the two biases would fit an order one lower or one higher as well.
    fn halving<K, L>(
        &mut self,
        name: &'static str,
        target: &'static str,
        law: &L,
        kernel: impl Fn(f64) -> K,
        h: f64,
    ) -> anyhow::Result<()>
    where
        L: Law,
        K: Kernel<Vec<f64>, L> + Sync,
    {
        let Some(Expected::Biased { order }) = table::expected(name, target) else { return Ok(()) };
        if !self.wants(name, target) {
            return Ok(());
        }
        let (first, first_error) = self.bias(law, &kernel(h), 1)?;
        let (second, second_error) = self.bias(law, &kernel(0.5 * h), 2)?;
        let z = |order: u32| {
            let factor = f64::from(1u32 << order);
            (first - factor * second) / first_error.hypot(factor * second_error)
        };
        let clear = [order - 1, order + 1].iter().all(|other| two_sided(z(*other)) < LEVEL);
        let worst_z = if clear { z(order).abs() } else { f64::NAN };
        self.add(name, target, alone(worst_z), None)
    }

    /// How far the mean square of a coordinate is off, and the standard error from independent chains. `share` times the
    /// settings' steps.
    fn bias<K, L>(&self, law: &L, kernel: &K, share: usize) -> anyhow::Result<(f64, f64)>
    where
        L: Law,
        K: Kernel<Vec<f64>, L> + Sync,
    {
        let (dim, n) = (law.mean().len(), self.settings.n_chains);
        let exact = (0..dim).map(|i| law.covariance()[i * (dim + 1)] + law.mean()[i].powi(2)).sum::<f64>();
        let burn_in = (share * self.settings.burn_in) as u64;
        let n_steps = burn_in + (share * self.settings.n_bias_steps) as u64;
        let observer = |_| Squares { burn_in, sum: 0.0, count: 0.0 };
        let runs = sample_host(kernel, law, starts(n, dim, self.seed), n_steps, self.seed, observer)?;
        let values: Vec<f64> = runs.iter().map(|(_, s)| s.sum / s.count - exact / dim as f64).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Ok((mean, (squares / (n * (n - 1)) as f64).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The closed forms have the orders that the table states.
    #[test]
    fn closed_forms_have_their_orders() {
        let order = |bias: &dyn Fn(f64) -> f64| (bias(1e-3) / bias(5e-4)).log2();
        let stated = |kernel: &str| match table::expected(kernel, "standard_normal") {
            Some(Expected::Biased { order }) => f64::from(order),
            _ => 0.0,
        };
        assert!((order(&|h| ula_variance(h) - 1.0) - stated("ula")).abs() < 1e-3);
        assert!((order(&|h| sghmc_variance(h) - 1.0) - stated("sghmc")).abs() < 1e-3);
        let annealed = |h: f64| {
            let annealed = AnnealedLangevin::geometric(2.0, 1.0, 2, 200_000, h);
            annealed_variance(&annealed, &[5.0, 2.0], 4.0) - 2.0
        };
        assert!((order(&annealed) - stated("annealed_langevin")).abs() < 1e-3);
    }
}
