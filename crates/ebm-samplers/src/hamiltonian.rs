//! One Metropolis-adjusted Hamiltonian transition: the piece that HMC and MALA share.
//!
//! Momentum `p ~ N(0, I)`, `n` leapfrogs of `H = E(x) + |p|^2 / 2`, accepted with probability
//! `min(1, exp(H_old - H_new))`; the momentum is whitened by the state's [`Metric`].

use ebm_core::{GradEnergy, Point, Result, Scalar};

use crate::kernel::{Clip, Info, State};
use crate::metric::Metric;
use crate::metropolis::metropolis;

/// Momentum, and where a rejected chain goes back to.
#[derive(Debug)]
pub struct HamiltonianWork<X> {
    pub(crate) momentum: X,
    old_x: X,
    old_grad: X,
}

pub(crate) fn init<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    x: X,
    step_size: &ebm_core::Schedule,
    clip: Option<Clip>,
) -> Result<State<X, HamiltonianWork<X>>> {
    let work =
        HamiltonianWork { momentum: x.zeros_like()?, old_x: x.zeros_like()?, old_grad: x.zeros_like()? };
    let mut state = State::new(x, step_size, work)?;
    refresh(energy, &mut state, clip)?;
    Ok(state)
}

/// Energy and gradient at the state's position.
pub(crate) fn refresh<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    state: &mut State<X, HamiltonianWork<X>>,
    clip: Option<Clip>,
) -> Result<()> {
    state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
    Clip::apply(clip, &mut state.grad)
}

/// `n` leapfrogs from (x, p, grad); returns the energy at the end. Reversible: negate `p` and come back.
#[inline(always)]
pub(crate) fn leapfrogs<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    x: &mut X,
    momentum: &mut X,
    grad: &mut X,
    step_size: &X::Scalar,
    metric: &Metric<X>,
    n: u32,
    clip: Option<Clip>,
) -> Result<X::Scalar> {
    let half = X::Scalar::linear([(-0.5, step_size)])?;
    let full = X::Scalar::linear([(-1.0, step_size)])?;
    metric.kick(momentum, &half, grad)?;
    for _ in 1..n {
        metric.drift(x, step_size, momentum)?;
        energy.grad(x, grad)?;
        Clip::apply(clip, grad)?;
        metric.kick(momentum, &full, grad)?;
    }
    metric.drift(x, step_size, momentum)?;
    let end = energy.energy_grad(x, grad)?;
    Clip::apply(clip, grad)?;
    metric.kick(momentum, &half, grad)?;
    Ok(end)
}

#[inline(always)]
pub(crate) fn transition<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    state: &mut State<X, HamiltonianWork<X>>,
    rng: &mut X::Rng,
    n: u32,
    clip: Option<Clip>,
) -> Result<Info<X>> {
    let State { x, grad, energy: old_energy, step_size, metric, work, .. } = state;
    work.old_x.set_from(x)?;
    work.old_grad.set_from(grad)?;
    work.momentum.set_normal(rng)?;
    let old_kinetic = work.momentum.inner_each(&work.momentum)?;
    let new_energy = leapfrogs(energy, x, &mut work.momentum, grad, step_size, metric, n, clip)?;
    let new_kinetic = work.momentum.inner_each(&work.momentum)?;

    let log_ratio = X::Scalar::linear([
        (1.0, &*old_energy),
        (0.5, &old_kinetic),
        (-1.0, &new_energy),
        (-0.5, &new_kinetic),
    ])?;
    let mut info = metropolis(x, &log_ratio, rng)?;
    info.hamiltonian = Some(X::Scalar::linear([(1.0, &*old_energy), (0.5, &old_kinetic)])?);
    info.n_leapfrogs = n;
    x.restore_unless(&info.accepted, &work.old_x)?;
    grad.restore_unless(&info.accepted, &work.old_grad)?;
    *old_energy = X::Scalar::select(&info.accepted, &new_energy, old_energy)?;
    Ok(info)
}
