//! The two drivers: on the host one rayon task per point with the step loop inside; on tensors the step loop
//! outside and all chains at once.

use ebm_core::random::{Purpose, Stream};
use ebm_core::simd::{Dispatched, dispatch};
use ebm_core::{Error, HostPoint, Point, Result};
use rayon::prelude::*;

use crate::kernel::{Kernel, Observer, State};

/// The step loop: of one host point, or of all chains of a tensor. On the host it is compiled once per vector level,
/// with all of the kernel and the energy that is inlined; the bits are the same at every level.
#[inline]
pub(crate) fn take_steps<X, E, K, O>(
    kernel: &K,
    energy: &E,
    state: &mut State<X, K::Work>,
    rng: &mut X::Rng,
    n_steps: u64,
    observer: &mut O,
) -> Result<()>
where
    X: Point,
    E: ?Sized,
    K: Kernel<X, E>,
    O: Observer<X, K::Work, K::Info>,
{
    /// Numbers of a point from which the copy for the level is never slower (measured: HMC on 8 lost an eighth by the
    /// wider registers' prologues; blocks gain up to a half).
    const WIDE: usize = 16;
    let wide = state.x.host_len() >= WIDE;
    let mut take = |state: &mut State<X, K::Work>, n_steps| {
        let steps = Steps { kernel, energy, state, rng: &mut *rng, n_steps, observer: &mut *observer };
        if wide { dispatch(steps) } else { steps.run() }
    };
    if state.step > 0 || n_steps == 0 {
        return take(state, n_steps);
    }
    let form = state.x.form();
    check_forms(state, &form)?;
    take(state, 1)?;
    check_forms(state, &form)?;
    take(state, n_steps - 1)
}

/// An energy's gradient must be such as its point. One of another length or type would go on unseen: sums stop at the
/// shorter one, and LibTorch widens types.
fn check_forms<X: Point, W>(state: &State<X, W>, expected: &str) -> Result<()> {
    for (what, point) in [("gradient of the energy", &state.grad), ("point after a step", &state.x)] {
        let found = point.form();
        if found != expected {
            return Err(Error::shape(what, format_args!("{expected}"), format_args!("{found}")));
        }
    }
    Ok(())
}

struct Steps<'a, X: Point, W, E: ?Sized, K, O> {
    kernel: &'a K,
    energy: &'a E,
    state: &'a mut State<X, W>,
    rng: &'a mut X::Rng,
    n_steps: u64,
    observer: &'a mut O,
}

impl<X, E, K, O> Dispatched for Steps<'_, X, K::Work, E, K, O>
where
    X: Point,
    E: ?Sized,
    K: Kernel<X, E>,
    O: Observer<X, K::Work, K::Info>,
{
    type Output = Result<()>;

    #[inline(always)]
    fn run(self) -> Result<()> {
        for _ in 0..self.n_steps {
            let info = self.kernel.advance(self.energy, self.state, self.rng)?;
            self.observer.after_step(self.state, &info)?;
        }
        Ok(())
    }
}

/// Run `n_steps` steps of every host point (a chain or a block). Point `i` draws from the stream
/// (seed, chain, `i`), so results do not depend on the number of threads. `make(i)` builds the observer of point
/// `i`; it is handed back with the point's last position.
///
/// # Errors
/// The first error of the kernel's settings, of an energy or of an observer.
pub fn sample_host<X, E, K, O>(
    kernel: &K,
    energy: &E,
    starts: Vec<X>,
    n_steps: u64,
    seed: u64,
    make: impl Fn(usize) -> O + Sync,
) -> Result<Vec<(X, O)>>
where
    X: HostPoint,
    E: Sync + ?Sized,
    K: Kernel<X, E> + Sync,
    O: Observer<X, K::Work, K::Info> + Send,
{
    let with_observers = starts.into_iter().enumerate().map(|(i, x)| (x, make(i))).collect();
    run_host(kernel, energy, with_observers, n_steps, seed)
}

/// [`sample_host`] with the observers already made.
fn run_host<X, E, K, O>(
    kernel: &K,
    energy: &E,
    starts: Vec<(X, O)>,
    n_steps: u64,
    seed: u64,
) -> Result<Vec<(X, O)>>
where
    X: HostPoint,
    E: Sync + ?Sized,
    K: Kernel<X, E> + Sync,
    O: Observer<X, K::Work, K::Info> + Send,
{
    kernel.check()?;
    let one = |(i, (x, mut observer)): (usize, (X, O))| {
        let mut rng = Stream::new(seed, Purpose::Chain, i as u64);
        let mut state = kernel.init(energy, x)?;
        take_steps(kernel, energy, &mut state, &mut rng, n_steps, &mut observer)?;
        Ok((state.x, observer))
    };
    starts.into_par_iter().enumerate().map(one).collect()
}

/// Run `n_steps` steps of all chains of a tensor `[chains, ..]` at once, drawing from the stream (seed, chain).
///
/// # Errors
/// The first error of the kernel's settings, of the energy or of the observer.
#[cfg(feature = "torch")]
pub fn sample_batch<E, K, O>(
    kernel: &K,
    energy: &E,
    start: tch::Tensor,
    n_steps: u64,
    seed: u64,
    observer: &mut O,
) -> Result<tch::Tensor>
where
    E: ?Sized,
    K: Kernel<tch::Tensor, E>,
    O: Observer<tch::Tensor, K::Work, K::Info>,
{
    kernel.check()?;
    let mut rng = ebm_core::torch::TensorRng::new(seed, Purpose::Chain);
    let mut state = kernel.init(energy, start.f_detach()?)?;
    take_steps(kernel, energy, &mut state, &mut rng, n_steps, observer)?;
    Ok(state.x)
}
