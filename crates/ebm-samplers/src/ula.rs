//! Unadjusted Langevin (ULA); with a stochastic gradient, stochastic-gradient Langevin dynamics (SGLD).
//!
//! `x <- x - h grad E(x) + s z`, `z` standard normal, `s = noise_scale sqrt(2 h)` (default scale 1) or an absolute
//! `noise_std`. Sources: Roberts and Tweedie 1996; Welling and Teh 2011. Biased: on a standard normal the
//! stationary variance is `2 / (2 - h)`. Energy-based models decouple step and noise on purpose (JEM,
//! arXiv 1912.03263: `h = 1`, `noise_std = 0.01`), which samples a tempered density.

use ebm_core::{Error, GradEnergy, Point, Result, Scalar, Schedule};
use serde::{Deserialize, Serialize};

use crate::kernel::{Clip, Kernel, State, check_step_size};

/// Settings of unadjusted Langevin.
///
/// Use it for negatives while a network is trained, and where the gradient is itself an estimate. Not for exact
/// expectations: it is biased at every step size.
///
/// ```
/// use ebm_core::analytic::DoubleWell;
/// use ebm_samplers::{SampleConfig, Ula, sample};
/// let starts = vec![vec![0.0f64; 2]; 4];
/// let config = SampleConfig { n_draws: 100, burn_in: 50, ..Default::default() };
/// let run = sample(&Ula::new(0.01), &DoubleWell::new(2.0)?, starts, &config)?;
/// assert_eq!(run.draws.array().dim(), (4, 100, 2));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ula {
    /// `h`, above 0.
    pub step_size: Schedule,
    /// Multiplies the Langevin noise `sqrt(2 h)`; 0 is gradient descent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_scale: Option<Schedule>,
    /// The noise's standard deviation itself, whatever `h`; excludes `noise_scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_std: Option<Schedule>,
    /// Limits the gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Clamps every coordinate to `[low, high]` after each step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<(f64, f64)>,
}

/// Stochastic-gradient Langevin dynamics is [`Ula`] on an energy whose gradient is an estimate.
pub type Sgld = Ula;

impl Ula {
    /// Langevin noise, no clipping, no clamping.
    pub fn new(step_size: impl Into<Schedule>) -> Self {
        Self { step_size: step_size.into(), noise_scale: None, noise_std: None, clip: None, clamp: None }
    }

    /// Set [`Ula::noise_scale`].
    pub fn noise_scale(mut self, scale: impl Into<Schedule>) -> Self {
        self.noise_scale = Some(scale.into());
        self
    }

    /// Set [`Ula::noise_std`].
    pub fn noise_std(mut self, std: impl Into<Schedule>) -> Self {
        self.noise_std = Some(std.into());
        self
    }

    /// Set [`Ula::clip`].
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }

    /// Set [`Ula::clamp`].
    pub fn clamp(mut self, low: f64, high: f64) -> Self {
        self.clamp = Some((low, high));
        self
    }

    #[inline(always)]
    fn sigma<S: Scalar>(&self, step_size: &S, step: u64) -> Result<S> {
        if let Some(std) = &self.noise_std {
            return Ok(S::same(std.at(step)));
        }
        let langevin = S::linear([(2.0, step_size)])?.sqrt_each()?;
        match &self.noise_scale {
            Some(scale) => S::linear([(scale.at(step), &langevin)]),
            None => Ok(langevin),
        }
    }
}

/// `low < high`, both numbers.
pub(crate) fn check_clamp(clamp: Option<(f64, f64)>) -> Result<()> {
    match clamp {
        Some((low, high)) if low.is_nan() || high.is_nan() || low >= high => {
            Err(Error::bad_value("clamp", format!("[{low}, {high}]"), "low below high", ""))
        }
        _ => Ok(()),
    }
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for Ula {
    type Work = ();
    type Info = ();

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if self.noise_scale.is_some() && self.noise_std.is_some() {
            let fix = "keep noise_scale (relative to sqrt(2 step_size)) or noise_std (absolute)";
            return Err(Error::bad_value("noise_scale and noise_std", "both set", "only one of them", fix));
        }
        for (name, noise) in [("noise_scale", &self.noise_scale), ("noise_std", &self.noise_std)] {
            if let Some(noise) = noise {
                noise.check(name, "at least 0 and finite", |s| s >= 0.0)?;
            }
        }
        Clip::check(self.clip)?;
        check_clamp(self.clamp)
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    /// Evaluates nothing: the first step needs the gradient at the start only then.
    fn init(&self, _energy: &E, x: X) -> Result<State<X, ()>> {
        State::new(x, &self.step_size, ())
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, ()>, rng: &mut X::Rng) -> Result<()> {
        energy.grad(&state.x, &mut state.grad)?;
        Clip::apply(self.clip, &mut state.grad)?;
        let minus_h = X::Scalar::linear([(-1.0, &state.step_size)])?;
        state.x.add_scaled(&minus_h, &state.grad)?;
        state.x.add_normal(&self.sigma(&state.step_size, state.step)?, rng)?;
        if let Some((low, high)) = self.clamp {
            state.x.limit(low, high)?;
        }
        Ok(())
    }
}
