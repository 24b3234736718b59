//! Stochastic-gradient Hamiltonian Monte Carlo: a gradient with momentum, for gradients that are estimates.
//!
//! `v <- (1 - a) v - h grad E(x) + sqrt(2 (a - b) h) z`, `x <- x + v`: `a` is the friction, `b` an estimate of the
//! noise that the gradient brings along itself. Source: Chen, Fox and Guestrin 2014 (arXiv 1402.4102), equation 15.
//! Nothing is rejected. With an exact gradient and `b = 0` its stationary variance on a Gaussian of variance `s` is
//! `s / (1 - h / (2 s (2 - a)))`, worked out from the second-order recursion that the two lines make.

use ebm_core::{Error, GradEnergy, Point, Result, Scalar, Schedule};
use serde::{Deserialize, Serialize};

use crate::kernel::{Clip, Kernel, State, check_step_size};

/// Settings of stochastic-gradient Hamiltonian Monte Carlo. Biased, of first order in `h`.
///
/// Use it where the gradient comes from minibatches and momentum helps. Where the gradient is exact, [`crate::Hmc`]
/// is exact too and [`crate::Baoab`] less biased.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{SampleConfig, Sghmc, sample};
/// let config = SampleConfig { n_draws: 100, burn_in: 100, ..Default::default() };
/// let run = sample(&Sghmc::new(0.01, 0.1), &Gaussian::standard(2)?, vec![vec![0.0f64; 2]; 2], &config)?;
/// assert_eq!(run.draws.array().dim(), (2, 100, 2));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sghmc {
    /// `h`, above 0: the square of the time that a step takes.
    pub step_size: Schedule,
    /// `a`, in `(0, 1]`: the share of the velocity lost in a step.
    pub friction: f64,
    /// `b`, in `[0, friction]`: the gradient's own noise has variance `2 b / h` per coordinate.
    #[serde(default)]
    pub gradient_noise: f64,
    /// Limits the gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
}

impl Sghmc {
    /// For a gradient without noise of its own.
    pub fn new(step_size: impl Into<Schedule>, friction: f64) -> Self {
        Self { step_size: step_size.into(), friction, gradient_noise: 0.0, clip: None }
    }

    /// Set [`Sghmc::gradient_noise`].
    pub fn gradient_noise(mut self, gradient_noise: f64) -> Self {
        self.gradient_noise = gradient_noise;
        self
    }

    /// Set [`Sghmc::clip`].
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }
}

/// The velocity, zero at the start.
#[derive(Debug)]
pub struct SghmcWork<X> {
    /// What the next step adds to the position, before friction and gradient.
    pub velocity: X,
}

impl<X: Point, E: GradEnergy<X> + ?Sized> Kernel<X, E> for Sghmc {
    type Work = SghmcWork<X>;
    type Info = ();

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if !(self.friction > 0.0 && self.friction <= 1.0) {
            return Err(Error::bad_value("friction", self.friction, "in (0, 1]", "0.1 is usual"));
        }
        if !(self.gradient_noise >= 0.0 && self.gradient_noise <= self.friction) {
            let limit = format!("in [0, {}], the friction", self.friction);
            return Err(Error::bad_value("gradient_noise", self.gradient_noise, limit, ""));
        }
        Clip::check(self.clip)
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn init(&self, _energy: &E, x: X) -> Result<State<X, Self::Work>> {
        let work = SghmcWork { velocity: x.zeros_like()? };
        State::new(x, &self.step_size, work)
    }

    fn carried<'a>(&self, work: &'a mut Self::Work) -> Vec<&'a mut X> {
        vec![&mut work.velocity]
    }

    #[inline(always)]
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<()> {
        let State { x, grad, step_size, work, .. } = state;
        energy.grad(x, grad)?;
        Clip::apply(self.clip, grad)?;
        let descent = X::Scalar::linear([(-1.0, &*step_size)])?;
        let variance = X::Scalar::linear([(2.0 * (self.friction - self.gradient_noise), &*step_size)])?;
        work.velocity.scale_by(&X::Scalar::same(1.0 - self.friction))?;
        work.velocity.add_scaled(&descent, grad)?;
        work.velocity.add_normal(&variance.sqrt_each()?, rng)?;
        x.add_scaled(&X::Scalar::same(1.0), &work.velocity)
    }
}
