//! What a kernel is: settings with `init` and `step`; what it carries ([`State`]) and reports ([`Info`]).

use ebm_core::{Error, Mask, Point, Result, Scalar, Schedule, StepRng};
use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// What every kernel carries from step to step, so that adaptation, tempering swaps and checkpoints see one
/// thing. `W` is the kernel's own scratch and auxiliary variables (a momentum, a saved point).
pub struct State<X: Point, W> {
    /// The chains' positions.
    pub x: X,
    /// The gradient at `x` where the kernel caches it; undefined for kernels that do not (ULA).
    pub grad: X,
    /// The energy at `x` where the kernel caches it; NaN for kernels that need none (ULA).
    pub energy: X::Scalar,
    /// The current step size. Owned by the kernel's schedule, or by an adapter if that schedule is a constant.
    pub step_size: X::Scalar,
    /// What preconditions the moves. Kernels that heed it say so by [`Kernel::has_metric`].
    pub metric: Metric<X>,
    /// Steps taken.
    pub step: u64,
    /// The kernel's own.
    pub work: W,
}

impl<X: Point, W> State<X, W> {
    /// The chains at `x` before the first step, where [`Kernel::init`] begins: the step size is the schedule's first, the
    /// metric the unit. Nothing is evaluated: a kernel that caches energy and gradient sets them itself.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn new(x: X, step_size: &Schedule, work: W) -> Result<Self> {
        Ok(Self {
            grad: x.zeros_like()?,
            energy: X::Scalar::same(f64::NAN),
            step_size: X::Scalar::same(step_size.at(0)),
            metric: Metric::Unit,
            step: 0,
            x,
            work,
        })
    }
}

/// What a Metropolis-adjusted kernel reports of a step, per chain.
pub struct Info<X: Point> {
    /// Probability with which the proposal was accepted; 0 where it diverged.
    pub accept_prob: X::Scalar,
    /// Whether it was.
    pub accepted: Mask<X>,
    /// Whether the energy error was not finite or above 1000: rejected, and worth a look.
    pub diverged: Mask<X>,
    /// Energy plus kinetic energy at the start of the step, where there is a momentum.
    pub hamiltonian: Option<X::Scalar>,
    /// Leapfrogs taken, which is the number of gradients; 0 where there are none.
    pub n_leapfrogs: u32,
}

/// What drivers and adapters may ask of any kernel's report.
pub trait StepInfo<X: Point> {
    /// Acceptance probability per chain; `None` where nothing is ever rejected.
    fn accept_prob(&self) -> Option<&X::Scalar>;
    /// Which chains diverged in this step; `None` where the kernel does not look.
    fn diverged(&self) -> Option<&Mask<X>>;
    /// Energy plus kinetic energy at the start of the step, the momentum fresh: what E-BFMI is computed from.
    fn hamiltonian(&self) -> Option<&X::Scalar> {
        None
    }
    /// Leapfrogs of the step, which is the number of gradients; energies, where a kernel needs no gradient.
    fn n_leapfrogs(&self) -> Option<X::Scalar> {
        None
    }
    /// Doublings of the path.
    fn tree_depth(&self) -> Option<X::Scalar> {
        None
    }
    /// Whether the path was cut off at the largest depth.
    fn saturated(&self) -> Option<&Mask<X>> {
        None
    }
}

/// Kernels without an accept step report nothing.
impl<X: Point> StepInfo<X> for () {
    fn accept_prob(&self) -> Option<&X::Scalar> {
        None
    }
    fn diverged(&self) -> Option<&Mask<X>> {
        None
    }
}

impl<X: Point> StepInfo<X> for Info<X> {
    fn accept_prob(&self) -> Option<&X::Scalar> {
        Some(&self.accept_prob)
    }
    fn diverged(&self) -> Option<&Mask<X>> {
        Some(&self.diverged)
    }
    fn hamiltonian(&self) -> Option<&X::Scalar> {
        self.hamiltonian.as_ref()
    }
    fn n_leapfrogs(&self) -> Option<X::Scalar> {
        (self.n_leapfrogs > 0).then(|| X::Scalar::same(f64::from(self.n_leapfrogs)))
    }
}

/// One Markov transition. A kernel holds settings only; the state is the caller's.
pub trait Kernel<X: Point, E: ?Sized> {
    /// The kernel's own part of the state.
    type Work: Send;
    /// What it reports of a step.
    type Info: StepInfo<X>;

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Names the setting, its value and its limit.
    fn check(&self) -> Result<()>;

    /// The step size's schedule.
    fn step_size(&self) -> &Schedule;

    /// Whether the kernel heeds [`State::metric`], so that a warm-up may adapt it.
    fn has_metric(&self) -> bool {
        false
    }

    /// The state at the start points `x`.
    ///
    /// # Errors
    /// What the energy returns, or a shape that does not fit.
    fn init(&self, energy: &E, x: X) -> Result<State<X, Self::Work>>;

    /// Bring the state's energy and gradient up to date after its position, or the energy, was changed from
    /// outside (a swap of temperatures). Keeps step count, step size, metric and auxiliary variables. Override where that
    /// needs no fresh state: this one allocates.
    ///
    /// # Errors
    /// As [`Kernel::init`].
    fn refresh(&self, energy: &E, state: &mut State<X, Self::Work>) -> Result<()> {
        let empty = state.x.zeros_like()?;
        let fresh = self.init(energy, std::mem::replace(&mut state.x, empty))?;
        (state.x, state.grad, state.energy) = (fresh.x, fresh.grad, fresh.energy);
        Ok(())
    }

    /// The auxiliary variables that a step takes over from the last one (a momentum that is not drawn anew), so that
    /// they can be saved with the state and put back. Asked for only when a step was taken.
    fn carried<'a>(&self, _work: &'a mut Self::Work) -> Vec<&'a mut X> {
        Vec::new()
    }

    /// One transition of all chains of the point. Does not count the step; call [`Kernel::advance`].
    ///
    /// # Errors
    /// What the energy returns. Numerical trouble is reported in `Info`, not here.
    fn step(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<Self::Info>;

    /// Position the random stream, set a scheduled step size, take one step, count it.
    ///
    /// # Errors
    /// As [`Kernel::step`].
    #[inline(always)]
    fn advance(&self, energy: &E, state: &mut State<X, Self::Work>, rng: &mut X::Rng) -> Result<Self::Info> {
        rng.begin_step(state.step);
        if self.step_size().as_constant().is_none() {
            state.step_size = X::Scalar::same(self.step_size().at(state.step));
        }
        let info = self.step(energy, state, rng)?;
        state.step += 1;
        Ok(info)
    }
}

/// All that surrounds a step: adaptation, draws, progress. Tuples of observers are observers.
pub trait Observer<X: Point, W, I> {
    /// Called after every step.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()>;
}

impl<X: Point, W, I> Observer<X, W, I> for () {
    fn after_step(&mut self, _state: &mut State<X, W>, _info: &I) -> Result<()> {
        Ok(())
    }
}

impl<X: Point, W, I, O: Observer<X, W, I>> Observer<X, W, I> for Option<O> {
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
        self.as_mut().map_or(Ok(()), |o| o.after_step(state, info))
    }
}

macro_rules! tuple_observer {
    ($($name:ident $at:tt),+) => {
        impl<X: Point, W, I, $($name: Observer<X, W, I>),+> Observer<X, W, I> for ($($name,)+) {
            fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
                $(self.$at.after_step(state, info)?;)+
                Ok(())
            }
        }
    };
}

tuple_observer!(A 0, B 1);
tuple_observer!(A 0, B 1, C 2);
tuple_observer!(A 0, B 1, C 2, D 3);

/// How gradients are limited before they are used. For MALA and HMC the target stays exact: the limited gradient
/// is still a function of the position alone, and the accept step uses the true energy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clip {
    /// Each chain's gradient to this Euclidean norm.
    Norm(f64),
    /// Each coordinate of the gradient to `[-value, value]`.
    Value(f64),
}

impl Clip {
    /// Limit `grad`.
    ///
    /// # Errors
    /// When LibTorch fails.
    #[inline(always)]
    pub fn apply<X: Point>(this: Option<Self>, grad: &mut X) -> Result<()> {
        match this {
            None => Ok(()),
            Some(Self::Norm(max)) => grad.limit_norm(max),
            Some(Self::Value(max)) => grad.limit(-max, max),
        }
    }

    /// Whether the limit is a positive number.
    ///
    /// # Errors
    /// Names the value.
    pub fn check(this: Option<Self>) -> Result<()> {
        match this {
            Some(Self::Norm(max) | Self::Value(max)) if !(max > 0.0 && max.is_finite()) => {
                Err(Error::bad_value("clip", max, "above 0 and finite", "leave it out for no clipping"))
            }
            _ => Ok(()),
        }
    }
}

/// `step_size` above 0.
pub(crate) fn check_step_size(step_size: &Schedule) -> Result<()> {
    step_size.check("step_size", "above 0 and finite", |h| h > 0.0)
}
