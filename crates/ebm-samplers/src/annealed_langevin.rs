//! Annealed Langevin dynamics: unadjusted Langevin through a sequence of energies, from the noisiest to the cleanest.
//!
//! At level `i`, of noise `sigma_i`, `n_steps` steps of `x <- x - h_i grad E_i(x) + sqrt(2 h_i) z` with
//! `h_i = h sigma_i^2 / sigma_last^2`: each level's steps are the same share of its own width. Source: Song and Ermon 2019
//! (arXiv 1907.05600), algorithm 1; their step `alpha_i` is `2 h_i`, their score `-grad E_i`.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, GradEnergy, HostPoint, Point, Result, Scalar};
use rayon::prelude::*;

use crate::kernel::{Kernel, check_step_size};
use crate::start_points::check_points;
use crate::ula::Ula;

/// Settings of annealed Langevin. Biased at every level, of first order in `h`, and by the steps that a level lacks to
/// forget the one before it.
///
/// Use it with a network that knows its noise level. Not for exact expectations: it is biased at every level;
/// `Tempering` and `Smc` are not.
///
/// The levels are the user's: `at_level(i)` is the energy of the data with noise of standard deviation `sigmas[i]`, a
/// network given its level (`net.given(&sigma)`), or a [`crate::Bridge`].
///
/// ```
/// use ebm_core::analytic::GaussianMixture;
/// use ebm_samplers::AnnealedLangevin;
/// // Two modes of width 0.5; with noise they are wider.
/// let at = |sigma: f64| {
///     let width = sigma.hypot(0.5);
///     GaussianMixture::new(vec![0.2, 0.8], vec![vec![-5.0], vec![5.0]], vec![width; 2])
/// };
/// let annealed = AnnealedLangevin::geometric(10.0, 0.1, 10, 50, 0.005);
/// let energies = annealed.sigmas.iter().map(|s| at(*s)).collect::<Result<Vec<_>, _>>()?;
/// let points = annealed.run(|i| &energies[i], vec![vec![0.0f64]; 20], 0)?;
/// assert!(points.iter().all(|x| x[0].abs() > 2.0 && x[0].abs() < 8.0));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AnnealedLangevin {
    /// The levels' noise, above 0 and falling; at least one.
    pub sigmas: Vec<f64>,
    /// Steps at each level; at least 1.
    pub n_steps: usize,
    /// `h` at the last level, above 0. The first level is stable below `h = 2 w^2 sigma_last^2 / sigma_first^2`, `w` the
    /// least width of its law.
    pub step_size: f64,
}

impl AnnealedLangevin {
    /// `n_levels` levels in equal ratios from the first to the last `sigma`.
    pub fn geometric(first: f64, last: f64, n_levels: usize, n_steps: usize, step_size: f64) -> Self {
        let steps = n_levels.saturating_sub(1).max(1) as f64;
        let sigmas = (0..n_levels).map(|i| first * (last / first).powf(i as f64 / steps)).collect();
        Self { sigmas, n_steps, step_size }
    }

    /// The step size at level `i`.
    pub fn step_size_at(&self, i: usize) -> f64 {
        let last = self.sigmas[self.sigmas.len() - 1];
        self.step_size * (self.sigmas[i] / last).powi(2)
    }

    /// From host points, each with its own stream (seed, chain, index): a function of the seed, whatever the number of
    /// threads. Returns where they end.
    ///
    /// # Errors
    /// Impossible settings, no starts, starts that are not finite or of different lengths; a chain that is no longer finite
    /// at some level; and whatever an energy returns.
    pub fn run<X, E>(&self, at_level: impl Fn(usize) -> E, starts: Vec<X>, seed: u64) -> Result<Vec<X>>
    where
        X: HostPoint,
        E: GradEnergy<X> + Sync,
    {
        let energies = self.energies(at_level)?;
        check_points(&starts)?;
        let one = |(i, x): (usize, X)| {
            let mut rng = Stream::new(seed, Purpose::Chain, i as u64);
            self.walk(&energies, x, &mut rng, |level, x| match x.all_finite() {
                true => Ok(()),
                false => Err(left(&format!("point {i}"), level)),
            })
        };
        starts.into_par_iter().enumerate().map(one).collect()
    }

    /// From all chains of a tensor `[chains, ..]` at once, with the stream (seed, chain).
    ///
    /// # Errors
    /// As [`AnnealedLangevin::run`].
    #[cfg(feature = "torch")]
    pub fn run_batch<E>(
        &self,
        at_level: impl Fn(usize) -> E,
        start: tch::Tensor,
        seed: u64,
    ) -> Result<tch::Tensor>
    where
        E: GradEnergy<tch::Tensor>,
    {
        let energies = self.energies(at_level)?;
        let mut rng = ebm_core::torch::TensorRng::new(seed, Purpose::Chain);
        // One look at the device a level.
        self.walk(&energies, start.f_detach()?, &mut rng, |level, x| {
            let finite = x.to_rows()?.iter().all(|x| x.is_finite());
            if finite { Ok(()) } else { Err(left("a chain", level)) }
        })
    }

    fn energies<E>(&self, at_level: impl Fn(usize) -> E) -> Result<Vec<E>> {
        self.check()?;
        Ok((0..self.sigmas.len()).map(at_level).collect())
    }

    /// One point through all levels; `look` is called after each.
    fn walk<X: Point, E: GradEnergy<X>>(
        &self,
        energies: &[E],
        x: X,
        rng: &mut X::Rng,
        look: impl Fn(usize, &X) -> Result<()>,
    ) -> Result<X> {
        let kernel = Ula::new(self.step_size);
        let mut state = kernel.init(&energies[0], x)?;
        for (level, energy) in energies.iter().enumerate() {
            state.step_size = X::Scalar::same(self.step_size_at(level));
            for _ in 0..self.n_steps {
                kernel.advance(energy, &mut state, rng)?;
            }
            look(level, &state.x)?;
        }
        Ok(state.x)
    }

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size.into())?;
        if self.sigmas.is_empty() {
            return Err(Error::bad_value("levels", 0, "at least 1", ""));
        }
        for (i, sigma) in self.sigmas.iter().enumerate() {
            if !(*sigma > 0.0 && sigma.is_finite()) {
                return Err(Error::bad_value(format!("sigmas[{i}]"), sigma, "above 0 and finite", ""));
            }
        }
        if let Some(i) = (1..self.sigmas.len()).find(|&i| self.sigmas[i] >= self.sigmas[i - 1]) {
            let limit = format!("below sigmas[{}] = {}", i - 1, self.sigmas[i - 1]);
            return Err(Error::bad_value(
                format!("sigmas[{i}]"),
                self.sigmas[i],
                limit,
                "begin with the most noise",
            ));
        }
        if self.n_steps == 0 {
            return Err(Error::bad_value("n_steps", 0, "at least 1", ""));
        }
        Ok(())
    }
}

/// A chain ran away.
fn left(what: &str, level: usize) -> Error {
    Error::bad_value(
        format!("{what} after level {level}"),
        "NaN or infinite",
        "finite",
        "take a smaller step_size",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bridge, SampleConfig, sample};
    use ebm_core::Block;
    use ebm_core::analytic::{Gaussian, GaussianMixture};

    const WIDTH: f64 = 0.5;

    fn at(sigma: f64) -> GaussianMixture {
        let width = sigma.hypot(WIDTH);
        GaussianMixture::new(vec![0.2, 0.8], vec![vec![-5.0], vec![5.0]], vec![width; 2]).unwrap()
    }

    fn starts(n: usize) -> Vec<Block<f64>> {
        let mut rows = vec![0.0; n];
        Stream::new(3, Purpose::Start, 0).fill_normal(&mut rows);
        rows.iter_mut().for_each(|x| *x *= 5.0);
        Block::from_rows(1, &rows).unwrap()
    }

    /// The modes' weights, and the width of a mode: that of the last level with the bias that Langevin steps have there,
    /// `v / (1 - h / (2 v))`. Plain Langevin at the last level leaves each chain in the mode where it began.
    #[test]
    fn modes_have_their_weights_where_plain_langevin_fails() {
        let n = 2048;
        let annealed = AnnealedLangevin::geometric(10.0, 0.1, 12, 200, 0.005);
        let energies: Vec<_> = annealed.sigmas.iter().map(|s| at(*s)).collect();
        let points = annealed.run(|i| &energies[i], starts(n), 1).unwrap();
        let x: Vec<f64> = points.iter().flat_map(|b| b.as_slice().to_vec()).collect();
        let left = x.iter().filter(|x| **x < 0.0).count() as f64 / n as f64;
        let error = (0.2 * 0.8 / n as f64).sqrt();
        assert!((left - 0.2).abs() < 4.5 * error, "{left} +- {error}");
        let (v, h) = (WIDTH * WIDTH + 0.01, 0.005);
        let squares: Vec<f64> = x.iter().map(|x| (x.abs() - 5.0).powi(2)).collect();
        let found = squares.iter().sum::<f64>() / n as f64;
        let error = (squares.iter().map(|s| (s - found).powi(2)).sum::<f64>()).sqrt() / n as f64;
        assert!((found - v / (1.0 - 0.5 * h / v)).abs() < 4.5 * error, "{found} +- {error}, {v}");

        let config = SampleConfig { n_draws: 1, burn_in: 12 * 200, ..Default::default() };
        let plain = sample(&Ula::new(h), &at(0.1), starts(n), &config).unwrap();
        let left = plain.draws.array().iter().filter(|x| **x < 0.0).count() as f64 / n as f64;
        assert!(left > 0.4, "{left}");
    }

    /// The law of a level that is not the last: that of the data with its noise, at small steps.
    #[test]
    fn every_level_has_its_law() {
        let annealed = AnnealedLangevin { sigmas: vec![6.0, 3.0], n_steps: 400, step_size: 0.09 };
        let (n, energies) = (2048, [at(6.0), at(3.0)]);
        let points = annealed.run(|i| &energies[i], starts(n), 2).unwrap();
        let x: Vec<f64> = points.iter().flat_map(|b| b.as_slice().to_vec()).collect();
        let (mean, square) = (3.0, 25.0 + 9.25);
        for (exact, power) in [(mean, 1), (square, 2)] {
            let values: Vec<f64> = x.iter().map(|x: &f64| x.powi(power)).collect();
            let found = values.iter().sum::<f64>() / n as f64;
            let error = values.iter().map(|v| (v - found).powi(2)).sum::<f64>().sqrt() / n as f64;
            // Langevin steps add about h / 2 to the square.
            assert!((found - exact).abs() < 4.5 * error + 0.05, "power {power}: {found} +- {error}, {exact}");
        }
    }

    #[test]
    fn a_bridge_gives_levels_and_threads_do_not_matter() {
        let (start, end) =
            (Gaussian::standard(2).unwrap(), Gaussian::diagonal(vec![3.0; 2], vec![0.1; 2]).unwrap());
        let annealed = AnnealedLangevin::geometric(1.0, 0.3, 4, 50, 0.02);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let bridge = |i: usize| Bridge { start: &start, end: &end, beta: i as f64 / 3.0 };
            pool.install(|| annealed.run(bridge, vec![vec![0.0f64; 2]; 7], 5)).unwrap()
        };
        assert_eq!(run(1), run(3));
        assert!(run(1).iter().all(|x| (x[0] - 3.0).abs() < 2.0));
        assert!((annealed.step_size_at(0) - 0.02 / 0.09).abs() < 1e-12 && annealed.step_size_at(3) == 0.02);
    }

    #[test]
    fn bad_input_is_an_error() {
        let law = Gaussian::standard(1).unwrap();
        let text = |annealed: AnnealedLangevin, x: Vec<Vec<f64>>| {
            annealed.run(|_| &law, x, 0).map(|_| ()).unwrap_err().to_string()
        };
        let new = |sigmas: &[f64], n_steps, step_size| AnnealedLangevin {
            sigmas: sigmas.to_vec(),
            n_steps,
            step_size,
        };
        let x = || vec![vec![0.5]];
        assert_eq!(text(new(&[], 1, 0.1), x()), "levels = 0: must be at least 1");
        assert!(
            text(new(&[1.0, 1.0], 1, 0.1), x()).starts_with("sigmas[1] = 1: must be below sigmas[0] = 1")
        );
        assert!(text(new(&[1.0, f64::NAN], 1, 0.1), x()).starts_with("sigmas[1] = NaN"));
        assert!(text(new(&[1.0], 0, 0.1), x()).starts_with("n_steps = 0"));
        assert!(text(new(&[1.0], 1, 0.0), x()).starts_with("step_size = 0"));
        assert!(text(new(&[1.0], 1, 0.1), vec![]).starts_with("coordinates of a start point = 0"));
        assert!(text(new(&[1.0], 1, 0.1), vec![vec![f64::NAN]]).starts_with("start point 0 = NaN"));
        assert!(
            text(new(&[1.0], 1, 0.1), vec![vec![0.0], vec![0.0; 2]]).starts_with("start point 1: expected 1")
        );
        let away = text(new(&[10.0, 0.1], 2000, 1.0), x());
        assert!(away.starts_with("point 0 after level 0 = NaN or infinite: must be finite"), "{away}");
    }
}
