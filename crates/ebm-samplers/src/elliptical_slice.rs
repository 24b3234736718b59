//! Elliptical slice sampling: a normal prior times a likelihood, moved along ellipses that the prior leaves as it is.
//!
//! For `p(x) = N(x; m, C) exp(-E(x))` a draw `v ~ N(0, C)` and the chain span the ellipse
//! `x(t) = m + (x - m) cos t + v sin t`. Angles are tried in a bracket around 0, uniformly, and each failure becomes the
//! new end on its side, until `E(x(t)) <= E(x) + e` with `e` exponential of mean 1. Source: Murray, Adams and MacKay
//! 2010 (arXiv 1001.0175). There the first bracket is the whole ellipse, cut open at the first angle tried; here a bracket of
//! any length up to that is laid at random around 0, which is slice sampling without stepping out (Neal 2003, DOI
//! 10.1214/aos/1056562461) and as exact.

use std::f64::consts::TAU;

use ebm_core::random::Stream;
use ebm_core::{Cholesky, Energy, Error, Point, Real, Result, Schedule};

use crate::kernel::{Kernel, State};
use crate::slice::{SliceInfo, below, draw_level, shrink};

/// Settings of elliptical slice sampling, on host chains: the prior. Exact; nothing to tune, and no gradient.
///
/// Use it for a normal prior and a likelihood without a gradient. Not for a likelihood much narrower than the prior:
/// most angles are tried in vain.
///
/// The energy that it is given is the likelihood's alone, `-ln L(x)`: that of the target without the prior's part. A point
/// whose energy is not finite has likelihood 0. [`SliceInfo::accept_prob`] is 1 over the number of angles tried.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{EllipticalSlice, SampleConfig, sample};
/// // A standard normal prior and one reading, 2 with variance 1: the posterior has mean 1.
/// let kernel = EllipticalSlice::diagonal(vec![0.0], vec![1.0])?;
/// let reading = Gaussian::diagonal(vec![2.0], vec![1.0])?;
/// let run = sample(&kernel, &reading, vec![vec![0.0f64]; 4], &SampleConfig::default())?;
/// let mean = run.draws.array().iter().sum::<f64>() / 4000.0;
/// assert!((mean - 1.0).abs() < 0.1);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EllipticalSlice {
    mean: Vec<f64>,
    spread: Spread,
    /// The angle of the first bracket, above 0; from `2 pi` on it is the whole ellipse.
    bracket: Schedule,
}

#[derive(Clone, Debug)]
enum Spread {
    /// Standard deviations.
    Diagonal(Vec<f64>),
    /// The factor of the covariance.
    Full(Cholesky),
}

impl EllipticalSlice {
    /// A prior `N(mean, covariance)`, the covariance `[dim * dim]` row by row; the whole ellipse.
    ///
    /// # Errors
    /// When the lengths do not fit, a number is not finite, or the covariance is not symmetric and positive definite.
    pub fn new(mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        let factor = Cholesky::new("covariance", mean.len(), covariance)?;
        Self::with_factor(mean, factor)
    }

    /// The same from the covariance's factor.
    ///
    /// # Errors
    /// When the lengths do not fit, or a mean is not finite.
    pub fn with_factor(mean: Vec<f64>, factor: Cholesky) -> Result<Self> {
        if factor.dim() != mean.len() {
            return Err(Error::shape("rows of the covariance", mean.len(), factor.dim()));
        }
        Self::build(mean, Spread::Full(factor))
    }

    /// Independent coordinates with these variances.
    ///
    /// # Errors
    /// When the lengths differ, a number is not finite, or a variance is not above 0.
    pub fn diagonal(mean: Vec<f64>, variances: Vec<f64>) -> Result<Self> {
        if variances.len() != mean.len() {
            return Err(Error::shape("variances", mean.len(), variances.len()));
        }
        for (i, v) in variances.iter().enumerate() {
            if !(*v > 0.0 && v.is_finite()) {
                return Err(Error::bad_value(format!("variances[{i}]"), v, "above 0 and finite", ""));
            }
        }
        Self::build(mean, Spread::Diagonal(variances.iter().map(|v| v.sqrt()).collect()))
    }

    fn build(mean: Vec<f64>, spread: Spread) -> Result<Self> {
        if mean.is_empty() {
            return Err(Error::bad_value("dim", 0, "at least 1", ""));
        }
        if let Some(i) = mean.iter().position(|m| !m.is_finite()) {
            return Err(Error::bad_value(format!("mean[{i}]"), mean[i], "finite", ""));
        }
        Ok(Self { mean, spread, bracket: TAU.into() })
    }

    /// Set the angle of the first bracket: a shorter one tries fewer angles and moves less.
    pub fn bracket(mut self, bracket: impl Into<Schedule>) -> Self {
        self.bracket = bracket.into();
        self
    }

    /// A draw of the prior, less its mean, into `out`; `z` is scratch.
    fn draw_centred(&self, rng: &mut Stream, z: &mut [f64], out: &mut [f64]) {
        rng.fill_normal(z);
        match &self.spread {
            Spread::Diagonal(scales) => {
                out.iter_mut().zip(scales).zip(z).for_each(|((out, s), z)| *out = s * *z);
            }
            Spread::Full(factor) => factor.times(z, out),
        }
    }

    fn check_dim(&self, x: &[impl Real]) -> Result<()> {
        if x.len() == self.mean.len() {
            return Ok(());
        }
        Err(Error::shape("coordinates of a point, by the prior", self.mean.len(), x.len()))
    }
}

/// Scratch: the other axis of the ellipse, and the point that is tried.
#[derive(Debug)]
pub struct EllipticalSliceWork<X> {
    normals: Vec<f64>,
    axis: Vec<f64>,
    candidate: X,
}

impl<T: Real, E: Energy<Vec<T>> + ?Sized> Kernel<Vec<T>, E> for EllipticalSlice {
    type Work = EllipticalSliceWork<Vec<T>>;
    type Info = SliceInfo;

    fn check(&self) -> Result<()> {
        self.bracket.check("bracket", "above 0 and finite", |angle| angle > 0.0)
    }

    fn step_size(&self) -> &Schedule {
        &self.bracket
    }

    fn init(&self, energy: &E, x: Vec<T>) -> Result<State<Vec<T>, Self::Work>> {
        self.check_dim(&x)?;
        let zeros = || vec![0.0; x.len()];
        let work = EllipticalSliceWork { normals: zeros(), axis: zeros(), candidate: x.zeros_like()? };
        let mut state = State::new(x, &self.bracket, work)?;
        self.refresh(energy, &mut state)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<Vec<T>, Self::Work>) -> Result<()> {
        state.energy = energy.energy(&state.x)?;
        Ok(())
    }

    fn step(&self, energy: &E, state: &mut State<Vec<T>, Self::Work>, rng: &mut Stream) -> Result<SliceInfo> {
        let State { x, energy: here, step_size, work, .. } = state;
        let EllipticalSliceWork { normals, axis, candidate } = work;
        self.draw_centred(rng, normals, axis);
        let level = draw_level(*here, rng);
        let bracket = step_size.min(TAU);
        let low = -bracket * rng.uniform();
        let mut there = *here;
        let tried = shrink(low, low + bracket, rng, |angle| {
            let (sin, cos) = angle.sin_cos();
            for (((new, x), v), m) in candidate.iter_mut().zip(&*x).zip(&*axis).zip(&self.mean) {
                *new = T::of(m + (x.to_f64() - m) * cos + v * sin);
            }
            there = energy.energy(candidate)?;
            Ok(below(level, there))
        })?;
        if tried.found {
            x.set_from(candidate)?;
            *here = there;
        }
        let accept_prob = if tried.found { f64::from(tried.n_tries).recip() } else { 0.0 };
        Ok(SliceInfo { accept_prob, diverged: !tried.found, n_energies: tried.n_tries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::tests::{Fact, worst_z};
    use crate::{Metric, SampleConfig, sample};
    use ebm_core::Host;
    use ebm_core::analytic::{Exact, Gaussian};

    /// A correlated normal prior and a normal likelihood: the posterior's precision is the sum of theirs.
    #[test]
    fn a_normal_posterior_stays_as_it_is() {
        let (mean, covariance) = (vec![1.0, -2.0], [2.0, 0.9, 0.9, 0.5]);
        let prior = Cholesky::new("prior", 2, &covariance).unwrap();
        let (reading, noise) = ([0.0, 1.0], [0.3, 0.6]);
        let mut precision = prior.inverse();
        let mut pull = mean.clone();
        prior.solve(&mut pull);
        for i in 0..2 {
            precision[3 * i] += 1.0 / noise[i];
            pull[i] += reading[i] / noise[i];
        }
        let posterior = Cholesky::new("precision", 2, &precision).unwrap();
        posterior.solve(&mut pull);
        let law = Gaussian::new(pull.clone(), posterior.inverse()).unwrap();
        let likelihood = Gaussian::diagonal(reading.to_vec(), noise.to_vec()).unwrap();
        let (m, c) = (law.mean(), law.covariance());
        let facts: [Fact; 5] = [
            (&|x| x[0] - pull[0], 0.0),
            (&|x| x[1] - pull[1], 0.0),
            (&|x| (x[0] - m[0]).powi(2), c[0]),
            (&|x| (x[0] - m[0]) * (x[1] - m[1]), c[1]),
            (&|x| (x[1] - m[1]).powi(2), c[3]),
        ];
        for bracket in [TAU, 1.0, 0.2] {
            let kernel = EllipticalSlice::new(mean.clone(), &covariance).unwrap().bracket(bracket);
            let z = worst_z(&kernel, &likelihood, |rng| law.sample(rng), |_| Metric::Unit, &facts);
            assert!(z < 4.5, "bracket {bracket}: {z}");
        }
    }

    /// A likelihood that is 1 on one side of a wall and 0 beyond: the truncated prior.
    #[test]
    fn a_truncated_prior_stays_as_it_is() {
        let half = 2.0 / TAU.sqrt();
        let facts: [Fact; 2] = [(&|x| x[0], 3.0 * half), (&|x| x[0] * x[0], 9.0)];
        for beyond in [f64::INFINITY, f64::NAN] {
            let wall = Host::value(1, move |x: &[f64]| if x[0] < 0.0 { beyond } else { 0.0 });
            let kernel = EllipticalSlice::diagonal(vec![0.0], vec![9.0]).unwrap();
            let start = |rng: &mut Stream| vec![3.0 * rng.normal().abs()];
            let z = worst_z(&kernel, &wall, start, |_| Metric::Unit, &facts);
            assert!(z < 4.5, "{z}");
        }
    }

    /// Without a likelihood each step is a fresh point of the ellipse, tried once.
    #[test]
    fn without_a_likelihood_the_first_angle_is_taken() {
        let flat = Host::value(2, |_: &[f32]| 3.0);
        let kernel = EllipticalSlice::new(vec![5.0, 0.0], &[1.0, 0.5, 0.5, 2.0]).unwrap();
        let config = SampleConfig { n_draws: 2000, burn_in: 10, ..Default::default() };
        let run = sample(&kernel, &flat, vec![vec![0.0f32; 2]; 8], &config).unwrap();
        assert_eq!(run.summary.acceptance, [1.0; 8]);
        assert!(run.summary.warnings.is_empty(), "{}", run.summary);
    }

    #[test]
    fn bad_settings_are_errors() {
        let text = |kernel: Result<EllipticalSlice>| kernel.unwrap_err().to_string();
        assert!(text(EllipticalSlice::diagonal(vec![], vec![])).starts_with("dim = 0"));
        assert!(text(EllipticalSlice::diagonal(vec![0.0], vec![])).contains("expected 1, found 0"));
        assert!(text(EllipticalSlice::diagonal(vec![0.0], vec![-1.0])).starts_with("variances[0] = -1"));
        assert!(text(EllipticalSlice::diagonal(vec![f64::NAN], vec![1.0])).starts_with("mean[0] = NaN"));
        let singular = EllipticalSlice::new(vec![0.0; 2], &[1.0; 4]);
        assert!(text(singular).contains("not positive definite"));
        let kernel = EllipticalSlice::diagonal(vec![0.0; 2], vec![1.0; 2]).unwrap();
        let flat = Host::value(3, |_: &[f64]| 0.0);
        let run = |kernel: &EllipticalSlice, dim: usize| {
            sample(kernel, &flat, vec![vec![0.0f64; dim]], &SampleConfig::default()).unwrap_err().to_string()
        };
        assert!(run(&kernel, 3).contains("by the prior: expected 2, found 3"));
        assert!(run(&kernel.bracket(0.0), 2).starts_with("bracket = 0: must be above 0"));
    }
}
