//! Riemannian manifold Hamiltonian Monte Carlo: a metric that changes with the position, on host chains (f64).
//!
//! `H(x, p) = E(x) + (ln det G(x) + p^T G(x)^-1 p) / 2`, momentum `p ~ N(0, G(x))`, by the generalised leapfrog
//!
//! ```text
//! p'  = p - (h / 2) dH/dx(x, p')                       solved for p'
//! x'  = x + (h / 2) (G(x)^-1 + G(x')^-1) p'            solved for x'
//! p'' = p' - (h / 2) dH/dx(x', p')
//! ```
//!
//! with `dH/dx_k = dE/dx_k + tr(G^-1 dG_k) / 2 - p^T G^-1 dG_k G^-1 p / 2`. Both equations are solved by fixed-point
//! iteration. Source: Girolami and Calderhead 2011 (DOI 10.1111/j.1467-9868.2010.00765.x).
//!
//! The step is reversible only as far as the equations are solved, and, where they have several solutions, only if the
//! way back finds the same one. So each proposal is integrated back, and rejected unless it returns to where it began
//! (to the root of the tolerance); that keeps the chain exact, at twice the cost.

use ebm_core::{Cholesky, Error, GradEnergy, Result, RiemannianMetric, Schedule};

use crate::kernel::{Info, Kernel, State, check_step_size};
use crate::mclmc_adjusted::random_length;
use crate::metropolis::metropolis;

/// Settings of Riemannian manifold Hamiltonian Monte Carlo. Exact. A step costs `dim^3` and more beside the gradients: for
/// few coordinates whose scales and correlations change from place to place.
///
/// Use it where the scales of a few coordinates change from place to place. Not for many coordinates, since a step
/// costs `dim^3` and the metric's derivatives, nor where a constant metric will do.
///
/// A trajectory is rejected and flagged as diverged when an equation was not solved, the metric was not positive definite
/// on the way, or the way back led elsewhere.
///
/// ```
/// use ebm_core::analytic::LogisticRegression;
/// use ebm_samplers::{Rmhmc, SampleConfig, sample};
/// let law = LogisticRegression::synthetic(3, 50, 1.0, 0)?;
/// let kernel = Rmhmc::new(&law, 0.7, 3);
/// let config = SampleConfig { n_draws: 50, burn_in: 20, ..Default::default() };
/// let run = sample(&kernel, &law, vec![vec![0.0; 3]; 2], &config)?;
/// assert_eq!(run.draws.array().dim(), (2, 50, 3));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rmhmc<M> {
    /// `G(x)` and its derivatives; a borrow will do. Where `G` is the target's Hessian a step of 1 is a radian.
    pub metric: M,
    /// `h`, above 0.
    pub step_size: Schedule,
    /// Leapfrogs per step, on average: their number is uniform on `1 ..= 2 n_leapfrogs - 1`. At least 1.
    pub n_leapfrogs: u32,
    /// An equation is solved when an iteration moves no number by more than this share of the largest (or of 1).
    pub tolerance: f64,
    /// Iterations of an equation before it counts as unsolvable; at least 1.
    pub max_iterations: u32,
    /// Whether each proposal is integrated back. Without it the chain is exact as long as the equations have one solution:
    /// for steps so short that divergences are rare.
    pub check_reversibility: bool,
}

impl<M: RiemannianMetric> Rmhmc<M> {
    /// Tolerance 1e-10 in at most 100 iterations, every proposal integrated back.
    pub fn new(metric: M, step_size: impl Into<Schedule>, n_leapfrogs: u32) -> Self {
        Self {
            metric,
            step_size: step_size.into(),
            n_leapfrogs,
            tolerance: 1e-10,
            max_iterations: 100,
            check_reversibility: true,
        }
    }

    /// Set [`Rmhmc::tolerance`].
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Set [`Rmhmc::max_iterations`].
    pub fn max_iterations(mut self, max_iterations: u32) -> Self {
        self.max_iterations = max_iterations;
        self
    }

    /// Set [`Rmhmc::check_reversibility`].
    pub fn check_reversibility(mut self, check: bool) -> Self {
        self.check_reversibility = check;
        self
    }

    /// Iterate `next(from, to)` until it moves `x` by no more than the tolerance; false when it does not come to that, or
    /// `next` says that it cannot go on.
    fn fixed_point(
        &self,
        x: &mut [f64],
        new: &mut [f64],
        mut next: impl FnMut(&[f64], &mut [f64]) -> bool,
    ) -> bool {
        for _ in 0..self.max_iterations {
            if !next(x, new) {
                return false;
            }
            let moved = x.iter().zip(&*new).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let size = new.iter().map(|x| x.abs()).fold(1.0, f64::max);
            x.copy_from_slice(new);
            // A sum sees a NaN, which `max` passes over.
            if !x.iter().sum::<f64>().is_finite() {
                return false;
            }
            if moved <= self.tolerance * size {
                return true;
            }
        }
        false
    }

    /// One generalised leapfrog of length `h` from `place`; false where it failed.
    fn leapfrog<E>(
        &self,
        energy: &E,
        place: &mut Place,
        p: &mut [f64],
        h: f64,
        scratch: &mut Scratch,
    ) -> Result<bool>
    where
        E: GradEnergy<Vec<f64>> + ?Sized,
    {
        let Scratch { start, new, force, v, g, factor, .. } = scratch;
        start.copy_from_slice(p);
        let solved = self.fixed_point(p, new, |p, new| {
            place.force(p, v, force);
            for i in 0..p.len() {
                new[i] = start[i] - 0.5 * h * force[i];
            }
            true
        });
        if !solved {
            return Ok(false);
        }
        // start: x + (h / 2) G(x)^-1 p.
        v.copy_from_slice(p);
        place.factor.solve(v);
        for i in 0..p.len() {
            start[i] = place.x[i] + 0.5 * h * v[i];
            place.x[i] += h * v[i];
        }
        let solved = self.fixed_point(&mut place.x, new, |x, new| {
            self.metric.metric(x, g);
            if !factor.factorise(g) {
                return false;
            }
            v.copy_from_slice(p);
            factor.solve(v);
            for i in 0..x.len() {
                new[i] = start[i] + 0.5 * h * v[i];
            }
            true
        });
        if !solved || !place.evaluate(energy, &self.metric, g)? {
            return Ok(false);
        }
        place.force(p, v, force);
        p.iter_mut().zip(force.iter()).for_each(|(p, f)| *p -= 0.5 * h * f);
        Ok(true)
    }

    /// `n` leapfrogs; false as soon as one failed.
    fn leapfrogs<E>(
        &self,
        energy: &E,
        place: &mut Place,
        p: &mut [f64],
        h: f64,
        n: u32,
        scratch: &mut Scratch,
    ) -> Result<bool>
    where
        E: GradEnergy<Vec<f64>> + ?Sized,
    {
        for _ in 0..n {
            if !self.leapfrog(energy, place, p, h, scratch)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Put the chain at `x`; an error where the metric is not positive definite there.
    fn move_to<E>(&self, energy: &E, x: &[f64], work: &mut RmhmcWork) -> Result<()>
    where
        E: GradEnergy<Vec<f64>> + ?Sized,
    {
        let RmhmcWork { place, scratch, .. } = work;
        place.x.copy_from_slice(x);
        if !place.evaluate(energy, &self.metric, &mut scratch.g)? {
            // Again, for a text that names the entry.
            Cholesky::new("metric at the start", x.len(), &scratch.g)?;
        }
        Ok(())
    }

    /// Whether the trajectory that ended at `place` with `p` leads back to `old`.
    fn leads_back<E>(&self, energy: &E, work: &mut RmhmcWork, h: f64, n: u32) -> Result<bool>
    where
        E: GradEnergy<Vec<f64>> + ?Sized,
    {
        let RmhmcWork { place, old, back, momentum, back_momentum, scratch } = work;
        back.copy_from(place);
        back_momentum.iter_mut().zip(momentum.iter()).for_each(|(back, p)| *back = -p);
        if !self.leapfrogs(energy, back, back_momentum, h, n, scratch)? {
            return Ok(false);
        }
        let size = old.x.iter().map(|x| x.abs()).fold(1.0, f64::max);
        let off = old.x.iter().zip(&back.x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        Ok(off <= self.tolerance.sqrt() * size)
    }
}

/// A position with all that the dynamics ask there.
#[derive(Debug)]
struct Place {
    x: Vec<f64>,
    energy: f64,
    grad: Vec<f64>,
    /// Of `G(x)`.
    factor: Cholesky,
    inverse: Vec<f64>,
    derivatives: Vec<f64>,
    /// `dE/dx_k + tr(G^-1 dG_k) / 2`.
    still: Vec<f64>,
}

impl Place {
    fn new(x: &[f64]) -> Self {
        let dim = x.len();
        Self {
            x: x.to_vec(),
            energy: f64::NAN,
            grad: vec![0.0; dim],
            factor: Cholesky::identity(dim),
            inverse: vec![0.0; dim * dim],
            derivatives: vec![0.0; dim * dim * dim],
            still: vec![0.0; dim],
        }
    }

    fn copy_from(&mut self, other: &Self) {
        self.x.copy_from_slice(&other.x);
        self.energy = other.energy;
        self.grad.copy_from_slice(&other.grad);
        self.factor.set_from(&other.factor);
        self.inverse.copy_from_slice(&other.inverse);
        self.derivatives.copy_from_slice(&other.derivatives);
        self.still.copy_from_slice(&other.still);
    }

    /// Bring everything up to date after `x` moved; false where the metric is not positive definite.
    fn evaluate<E, M>(&mut self, energy: &E, metric: &M, g: &mut [f64]) -> Result<bool>
    where
        E: GradEnergy<Vec<f64>> + ?Sized,
        M: RiemannianMetric,
    {
        self.energy = energy.energy_grad(&self.x, &mut self.grad)?;
        metric.metric(&self.x, g);
        if !self.factor.factorise(g) {
            return Ok(false);
        }
        self.factor.inverse_into(&mut self.inverse);
        metric.metric_derivatives(&self.x, &mut self.derivatives);
        let size = self.inverse.len();
        for (k, dg) in self.derivatives.chunks_exact(size).enumerate() {
            let trace = dg.iter().zip(&self.inverse).map(|(a, b)| a * b).sum::<f64>();
            self.still[k] = self.grad[k] + 0.5 * trace;
        }
        Ok(true)
    }

    /// `dH/dx` at momentum `p`; `v` is scratch.
    fn force(&self, p: &[f64], v: &mut [f64], out: &mut [f64]) {
        let dim = p.len();
        for (v, row) in v.iter_mut().zip(self.inverse.chunks_exact(dim)) {
            *v = row.iter().zip(p).map(|(a, b)| a * b).sum();
        }
        for (k, dg) in self.derivatives.chunks_exact(dim * dim).enumerate() {
            let turn: f64 = dg
                .chunks_exact(dim)
                .zip(v.iter())
                .map(|(row, vi)| vi * row.iter().zip(v.iter()).map(|(a, b)| a * b).sum::<f64>())
                .sum();
            out[k] = self.still[k] - 0.5 * turn;
        }
    }

    /// `H`, but for what does not depend on the position; `v` is scratch.
    fn hamiltonian(&self, p: &[f64], v: &mut [f64]) -> f64 {
        v.copy_from_slice(p);
        self.factor.solve(v);
        let kinetic: f64 = p.iter().zip(v.iter()).map(|(a, b)| a * b).sum();
        self.energy + 0.5 * (self.factor.log_det() + kinetic)
    }
}

#[derive(Debug)]
struct Scratch {
    start: Vec<f64>,
    new: Vec<f64>,
    force: Vec<f64>,
    v: Vec<f64>,
    g: Vec<f64>,
    factor: Cholesky,
}

/// The metric at the position, and where a rejected chain goes back to.
#[derive(Debug)]
pub struct RmhmcWork {
    place: Place,
    old: Place,
    back: Place,
    momentum: Vec<f64>,
    back_momentum: Vec<f64>,
    scratch: Scratch,
}

impl<M: RiemannianMetric, E: GradEnergy<Vec<f64>> + ?Sized> Kernel<Vec<f64>, E> for Rmhmc<M> {
    type Work = RmhmcWork;
    type Info = Info<Vec<f64>>;

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)?;
        if !(1..=1 << 29).contains(&self.n_leapfrogs) {
            return Err(Error::bad_value("n_leapfrogs", self.n_leapfrogs, "from 1 to 2^29", ""));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1e-2) {
            let fix = "take 1e-10; far above it the chain is no longer exact";
            return Err(Error::bad_value("tolerance", self.tolerance, "above 0 and below 0.01", fix));
        }
        if self.max_iterations == 0 {
            return Err(Error::bad_value("max_iterations", 0, "at least 1", "take 100"));
        }
        Ok(())
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn init(&self, energy: &E, x: Vec<f64>) -> Result<State<Vec<f64>, RmhmcWork>> {
        let dim = x.len();
        let zeros = || vec![0.0; dim];
        let scratch = Scratch {
            start: zeros(),
            new: zeros(),
            force: zeros(),
            v: zeros(),
            g: vec![0.0; dim * dim],
            factor: Cholesky::identity(dim),
        };
        let places = [Place::new(&x), Place::new(&x), Place::new(&x)];
        let [place, old, back] = places;
        let work = RmhmcWork { place, old, back, momentum: zeros(), back_momentum: zeros(), scratch };
        let mut state = State::new(x, &self.step_size, work)?;
        self.refresh(energy, &mut state)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<Vec<f64>, RmhmcWork>) -> Result<()> {
        self.move_to(energy, &state.x, &mut state.work)?;
        let place = &state.work.place;
        state.energy = place.energy;
        state.grad.copy_from_slice(&place.grad);
        Ok(())
    }

    fn step(
        &self,
        energy: &E,
        state: &mut State<Vec<f64>, RmhmcWork>,
        rng: &mut ebm_core::random::Stream,
    ) -> Result<Self::Info> {
        let State { x, grad, energy: old_energy, step_size, work, .. } = state;
        // A sampler that is restored puts the position back, and nothing of ours.
        if work.place.x != *x {
            self.move_to(energy, x, work)?;
        }
        let n = random_length(self.n_leapfrogs, rng);
        work.old.copy_from(&work.place);
        let Scratch { start, v, .. } = &mut work.scratch;
        rng.fill_normal(start);
        work.place.factor.times(start, &mut work.momentum);
        let before = work.place.hamiltonian(&work.momentum, v);
        let (place, momentum) = (&mut work.place, &mut work.momentum);
        let mut fine = self.leapfrogs(energy, place, momentum, *step_size, n, &mut work.scratch)?;
        let after = if fine { work.place.hamiltonian(&work.momentum, &mut work.scratch.v) } else { f64::NAN };
        // A proposal that is rejected anyway needs no way back.
        let mut info = metropolis(x, &(before - after), rng)?;
        if info.accepted && self.check_reversibility {
            fine = self.leads_back(energy, work, *step_size, n)?;
        }
        if !fine {
            (info.accept_prob, info.accepted, info.diverged) = (0.0, false, true);
        }
        info.hamiltonian = Some(before);
        info.n_leapfrogs = n;
        if info.accepted {
            x.copy_from_slice(&work.place.x);
            grad.copy_from_slice(&work.place.grad);
            *old_energy = work.place.energy;
        } else {
            std::mem::swap(&mut work.place, &mut work.old);
        }
        Ok(info)
    }
}

#[cfg(test)]
#[path = "rmhmc_tests.rs"]
mod tests;
