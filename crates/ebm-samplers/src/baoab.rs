//! Underdamped (kinetic) Langevin dynamics by the BAOAB splitting.
//!
//! `dx = p dt`, `dp = -grad E dt - friction p dt + sqrt(2 friction) dW`, one step: half a kick (B), half a drift
//! (A), an exact Ornstein-Uhlenbeck step of the momentum (O), half a drift, half a kick. Source: Leimkuhler and
//! Matthews 2013 (DOI 10.1093/amrx/abs010). Unadjusted, but on a Gaussian the positions are exact at any stable
//! step size; the momentum's variance there is `1 - (h omega)^2 / 4`.

use ebm_core::{Error, GradEnergy, Point, Result, Scalar, Schedule};
use serde::{Deserialize, Serialize};

use crate::kernel::{Clip, Kernel, State, check_step_size};
use crate::ula::check_clamp;

/// Settings of underdamped Langevin dynamics.
///
/// Use it for smooth dynamics with inertia and a small bias in the positions. Not for exact expectations far from a
/// Gaussian: nothing is ever rejected.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Baoab, SampleConfig, sample};
/// let config = SampleConfig { n_draws: 100, burn_in: 100, ..Default::default() };
/// let run = sample(&Baoab::new(0.5, 1.0), &Gaussian::standard(2)?, vec![vec![0.0f64; 2]; 2], &config)?;
/// assert_eq!(run.draws.array().dim(), (2, 100, 2));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baoab {
    /// `h`, above 0; stable below 2 over the largest frequency.
    pub step_size: Schedule,
    /// Friction, above 0, in units of one over time; large friction approaches overdamped Langevin.
    pub friction: f64,
    /// Limits the gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Clamps every coordinate to `[low, high]` after each step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<(f64, f64)>,
    /// Multiplies the momentum's noise; 1 is the target at temperature 1, 0 is damped descent.
    #[serde(default = "one")]
    pub noise_scale: f64,
}

fn one() -> f64 {
    1.0
}

impl Baoab {
    /// No clipping, no clamping, noise scale 1.
    pub fn new(step_size: impl Into<Schedule>, friction: f64) -> Self {
        Self { step_size: step_size.into(), friction, clip: None, clamp: None, noise_scale: one() }
    }

    /// Set [`Baoab::clip`].
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }

    /// Set [`Baoab::clamp`].
    pub fn clamp(mut self, low: f64, high: f64) -> Self {
        self.clamp = Some((low, high));
        self
    }

    /// Set [`Baoab::noise_scale`].
    pub fn noise_scale(mut self, scale: f64) -> Self {
        self.noise_scale = scale;
        self
    }
}

/// The momentum.
#[derive(Debug)]
pub struct BaoabWork<X> {
    /// Zero at the start.
    pub momentum: X,
    started: bool,
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for Baoab {
    type Work = BaoabWork<X>;
    type Info = ();

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if !(self.friction > 0.0 && self.friction.is_finite()) {
            return Err(Error::bad_value("friction", self.friction, "above 0 and finite", ""));
        }
        if !(self.noise_scale >= 0.0 && self.noise_scale.is_finite()) {
            return Err(Error::bad_value("noise_scale", self.noise_scale, "at least 0 and finite", ""));
        }
        Clip::check(self.clip)?;
        check_clamp(self.clamp)
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn init(&self, energy: &E, x: X) -> Result<State<X, Self::Work>> {
        let work = BaoabWork { momentum: x.zeros_like()?, started: false };
        let mut state = State::new(x, &self.step_size, work)?;
        energy.grad(&state.x, &mut state.grad)?;
        Clip::apply(self.clip, &mut state.grad)?;
        Ok(state)
    }

    fn carried<'a>(&self, work: &'a mut Self::Work) -> Vec<&'a mut X> {
        work.started = true;
        vec![&mut work.momentum]
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<()> {
        let State { x, grad, step_size, work, .. } = state;
        if !work.started {
            work.momentum.set_normal(rng)?;
            work.started = true;
        }
        let half_kick = X::Scalar::linear([(-0.5, &*step_size)])?;
        let half_drift = X::Scalar::linear([(0.5, &*step_size)])?;
        // O: p <- c p + s sqrt(1 - c^2) z with c = exp(-friction h).
        let keep = X::Scalar::linear([(-self.friction, &*step_size)])?.exp_each()?;
        let keep_square = X::Scalar::linear([(-2.0 * self.friction, &*step_size)])?.exp_each()?;
        let one = X::Scalar::same(1.0);
        let fresh = X::Scalar::linear([(1.0, &one), (-1.0, &keep_square)])?.sqrt_each()?;
        let sigma = X::Scalar::linear([(self.noise_scale, &fresh)])?;

        work.momentum.add_scaled(&half_kick, grad)?;
        x.add_scaled(&half_drift, &work.momentum)?;
        work.momentum.scale_by(&keep)?;
        work.momentum.add_normal(&sigma, rng)?;
        x.add_scaled(&half_drift, &work.momentum)?;
        if let Some((low, high)) = self.clamp {
            x.limit(low, high)?;
        }
        energy.grad(x, grad)?;
        Clip::apply(self.clip, grad)?;
        work.momentum.add_scaled(&half_kick, grad)
    }
}
