//! Isokinetic dynamics: a velocity of length 1 that the gradient turns; what the microcanonical samplers share.
//!
//! `dx = u dt`, `du = -(I - u u^T) grad E(x) / (d - 1) dt` keeps `|u| = 1` and `E(x) + K`, where `K` grows by
//! `(d - 1) ln(cosh delta + p sinh delta)` in a kick of the velocity by the time `t` at a fixed gradient `g`
//! (`delta = t |g| / (d - 1)`, `p = -u g / |g|`), after which `u` points along `u + (sinh delta + p (cosh delta - 1)) e`,
//! `e = -g / |g|`. The change of `K` is minus the logarithm of the kick's Jacobian, so a map made of kicks and drifts
//! leaves `exp(-E)` invariant when it is accepted with probability `min(1, exp(-change of E + K))`. Sources: Robnik, De
//! Luca, Silverstein and Seljak, "Microcanonical Hamiltonian Monte Carlo" (arXiv 2212.08549); Robnik and Seljak (arXiv
//! 2303.18221).

use std::f64::consts::LN_2;

use ebm_core::{Error, GradEnergy, Point, Result, Scalar};
use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// How a step is split into kicks of the velocity and drifts of the position. Both are reversible and of second
/// order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Splitting {
    /// Kick a half, drift, kick a half: 1 gradient.
    Leapfrog,
    /// Kick, drift a half, kick, drift a half, kick, with the smallest error constant of this form: 2 gradients,
    /// for steps more than twice as long. Source: Omelyan, Mryglod and Folk 2003 (DOI
    /// 10.1016/S0010-4655(02)00754-3).
    #[default]
    MinimalNorm,
}

/// The share of a step in each outer kick of [`Splitting::MinimalNorm`].
const MINIMAL_NORM: f64 = 0.193_183_327_503_783_6;

impl Splitting {
    /// Gradients of a step.
    pub(crate) fn n_gradients(self) -> u32 {
        match self {
            Self::Leapfrog => 1,
            Self::MinimalNorm => 2,
        }
    }
}

/// The velocity, and where a chain goes back to.
#[derive(Debug)]
pub struct IsokineticWork<X> {
    pub(crate) velocity: X,
    pub(crate) old_x: X,
    pub(crate) old_grad: X,
    /// Place for a gradient in the metric's coordinates, and what it is cleared with.
    white: X,
    zero: X,
}

impl<X: Point> IsokineticWork<X> {
    /// All zero, for points like `x`.
    pub(crate) fn new(x: &X) -> Result<Self> {
        // A velocity on the unit sphere needs two directions at least.
        if x.dim_of_chain() < 2 {
            let fix = "the velocity turns on a sphere; take Hmc in one dimension";
            return Err(Error::bad_value("coordinates of a point", x.dim_of_chain(), "at least 2", fix));
        }
        let zeros = || x.zeros_like();
        Ok(Self { velocity: zeros()?, old_x: zeros()?, old_grad: zeros()?, white: zeros()?, zero: zeros()? })
    }

    /// [`kick`] by the gradient as the metric sees it, `S^T grad`.
    #[inline(always)]
    fn kick(&mut self, metric: &Metric<X>, grad: &X, time: &X::Scalar) -> Result<X::Scalar> {
        if let Metric::Unit = metric {
            return kick(&mut self.velocity, grad, time);
        }
        self.white.set_from(&self.zero)?;
        metric.kick(&mut self.white, &X::Scalar::same(1.0), grad)?;
        kick(&mut self.velocity, &self.white, time)
    }
}

/// Scale every chain's velocity to length 1.
#[inline(always)]
pub(crate) fn normalise<X: Point>(velocity: &mut X) -> Result<()> {
    let length = velocity.inner_each(velocity)?.sqrt_each()?;
    velocity.scale_by(&X::Scalar::same(1.0).over(&length)?)
}

/// A velocity uniform on the unit sphere.
#[inline(always)]
pub(crate) fn draw_velocity<X: Point>(velocity: &mut X, rng: &mut X::Rng) -> Result<()> {
    velocity.set_normal(rng)?;
    normalise(velocity)
}

/// The velocity after the time `time` at the gradient `grad`; returns by how much `K` grew. In powers of
/// `zeta = exp(-delta)`, so that nothing overflows however steep the energy is.
#[inline(always)]
pub(crate) fn kick<X: Point>(velocity: &mut X, grad: &X, time: &X::Scalar) -> Result<X::Scalar> {
    let degrees = velocity.dim_of_chain() as f64 - 1.0;
    let one = X::Scalar::same(1.0);
    let norm = grad.inner_each(grad)?.sqrt_each()?;
    // Without a gradient there is no kick; the tiny norm only keeps 0 / 0 away. A NaN stays.
    let tiny = X::Scalar::same(1e-30);
    let norm = X::Scalar::select(&norm.less_than(&tiny)?, &tiny, &norm)?;
    let uphill = velocity.inner_each(grad)?.over(&norm)?;
    let delta = X::Scalar::linear([(1.0 / degrees, &time.times(&norm)?)])?;
    let zeta = X::Scalar::linear([(-1.0, &delta)])?.exp_each()?;

    // 2 zeta (u + ...), with p = -uphill: 2 zeta u + (1 - zeta) (1 + zeta + p (1 - zeta)) e.
    let rest = X::Scalar::linear([(1.0, &one), (-1.0, &zeta)])?;
    let bracket = X::Scalar::linear([(1.0, &one), (1.0, &zeta), (-1.0, &uphill.times(&rest)?)])?;
    let pull = rest.times(&bracket)?.over(&norm)?;
    velocity.scale_by(&X::Scalar::linear([(2.0, &zeta)])?)?;
    velocity.add_scaled(&X::Scalar::linear([(-1.0, &pull)])?, grad)?;
    normalise(velocity)?;

    // cosh delta + p sinh delta = e^delta ((1 + p) + (1 - p) zeta^2) / 2.
    let square = zeta.times(&zeta)?;
    let doubled =
        X::Scalar::linear([(1.0, &one), (-1.0, &uphill), (1.0, &square), (1.0, &uphill.times(&square)?)])?;
    X::Scalar::linear([(degrees, &delta), (degrees, &doubled.ln_each()?), (-degrees * LN_2, &one)])
}

/// `n` steps from (x, velocity, grad), the velocity in the coordinates that the metric makes; returns the energy at the
/// end and by how much `K` grew. Reversible: negate the velocity and come back.
#[inline(always)]
pub(crate) fn trajectory<X: Point, E: GradEnergy<X> + ?Sized>(
    energy: &E,
    x: &mut X,
    grad: &mut X,
    work: &mut IsokineticWork<X>,
    step_size: &X::Scalar,
    metric: &Metric<X>,
    n: u32,
    splitting: Splitting,
) -> Result<(X::Scalar, X::Scalar)> {
    let share = |of: f64| X::Scalar::linear([(of, step_size)]);
    let outer = if splitting == Splitting::Leapfrog { 0.5 } else { MINIMAL_NORM };
    let (end, between) = (share(outer)?, share(2.0 * outer)?);
    let (middle, half) = (share(1.0 - 2.0 * outer)?, share(0.5)?);
    let mut kinetic = work.kick(metric, grad, &end)?;
    let mut add = |change: X::Scalar| {
        kinetic = X::Scalar::linear([(1.0, &kinetic), (1.0, &change)])?;
        Ok::<(), Error>(())
    };
    let mut left = n;
    loop {
        match splitting {
            Splitting::Leapfrog => metric.drift(x, step_size, &work.velocity)?,
            Splitting::MinimalNorm => {
                metric.drift(x, &half, &work.velocity)?;
                energy.grad(x, grad)?;
                add(work.kick(metric, grad, &middle)?)?;
                metric.drift(x, &half, &work.velocity)?;
            }
        }
        left = left.saturating_sub(1);
        if left == 0 {
            let energy_at_end = energy.energy_grad(x, grad)?;
            add(work.kick(metric, grad, &end)?)?;
            return Ok((energy_at_end, kinetic));
        }
        energy.grad(x, grad)?;
        // The last kick of a step and the first of the next are at the same gradient: one kick.
        add(work.kick(metric, grad, &between)?)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::{Gaussian, Rosenbrock};
    use ebm_core::{Block, Energy, HostEnergy};

    fn norm(u: &[f64]) -> f64 {
        u.iter().map(|u| u * u).sum::<f64>().sqrt()
    }

    /// The kick against its formula with hyperbolic functions, and far beyond where those overflow.
    #[test]
    fn a_kick_is_the_exact_flow_at_a_fixed_gradient() {
        let grad = vec![0.5, -2.0, 1.0];
        let g = norm(&grad);
        for time in [1e-3, 0.3, 4.0] {
            let start = vec![0.6, 0.0, -0.8];
            let mut u = start.clone();
            let change = kick(&mut u, &grad, &time).unwrap();
            let delta = time * g / 2.0;
            let p = -start.iter().zip(&grad).map(|(u, g)| u * g).sum::<f64>() / g;
            let bottom = delta.cosh() + p * delta.sinh();
            for i in 0..3 {
                let top = start[i] - grad[i] / g * (delta.sinh() + p * (delta.cosh() - 1.0));
                assert!((u[i] - top / bottom).abs() < 1e-14);
            }
            assert!((change - 2.0 * bottom.ln()).abs() < 1e-13);
        }
        let mut u = vec![0.6f64, 0.0, -0.8];
        let change = kick(&mut u, &grad.iter().map(|g| g * 1e6).collect(), &1.0).unwrap();
        assert!(change.is_finite() && (norm(&u) - 1.0).abs() < 1e-12 && (u[0] + 0.5 / g).abs() < 1e-12);
        // No gradient, no kick.
        let mut u = vec![0.6f64, 0.0, -0.8];
        assert_eq!(kick(&mut u, &vec![0.0; 3], &1.0).unwrap(), 0.0);
        assert!((u[0] - 0.6).abs() < 1e-15 && (u[2] + 0.8).abs() < 1e-15);
    }

    /// A kick moves no mass but by its Jacobian: the determinant on the circle is exp(-change of K).
    #[test]
    fn the_kinetic_energy_is_minus_the_log_jacobian() {
        let grad = vec![1.3, -0.4];
        let angle = |a: f64| {
            let mut u = vec![a.cos(), a.sin()];
            let change = kick(&mut u, &grad, &0.7).unwrap();
            (u[1].atan2(u[0]), change)
        };
        let (at, h) = (0.9, 1e-5);
        let slope = (angle(at + h).0 - angle(at - h).0) / (2.0 * h);
        assert!((slope.ln() + angle(at).1).abs() < 1e-9, "{slope}");
    }

    fn check_reversible_and_second_order(
        target: &(impl GradEnergy<Vec<f64>> + HostEnergy<f64>),
        x0: &[f64],
        metric: &Metric<Vec<f64>>,
    ) {
        for splitting in [Splitting::Leapfrog, Splitting::MinimalNorm] {
            let run = |h: f64, n: u32| {
                let mut x = x0.to_vec();
                let mut work = IsokineticWork::new(&x).unwrap();
                work.velocity = (0..x.len()).map(|i| 1.0 + 0.3 * i as f64).collect();
                normalise(&mut work.velocity).unwrap();
                let (u0, mut g) = (work.velocity.clone(), vec![0.0; x.len()]);
                let start = target.energy_grad(&x, &mut g).unwrap();
                let mut go = |work: &mut IsokineticWork<Vec<f64>>| {
                    trajectory(target, &mut x, &mut g, work, &h, metric, n, splitting).unwrap()
                };
                let (end, there) = go(&mut work);
                assert!((norm(&work.velocity) - 1.0).abs() < 1e-14);
                work.velocity.iter_mut().for_each(|u| *u = -*u);
                let (_, back) = go(&mut work);
                assert!((there + back).abs() < 1e-9);
                for i in 0..x0.len() {
                    assert!((x[i] - x0[i]).abs() < 1e-9 && (work.velocity[i] + u0[i]).abs() < 1e-9);
                }
                (end - start + there).abs()
            };
            let order = (run(0.02, 60) / run(0.01, 120)).log2();
            assert!((order - 2.0).abs() < 0.05, "{splitting:?}: {order}");
        }
    }

    #[test]
    fn trajectories_are_reversible_and_their_energy_error_is_second_order() {
        let gaussian = Gaussian::new(vec![1.0, -1.0], vec![2.0, 0.6, 0.6, 0.5]).unwrap();
        let x = vec![0.3, 0.4];
        check_reversible_and_second_order(&gaussian, &x, &Metric::Unit);
        check_reversible_and_second_order(&gaussian, &x, &Metric::diagonal(&x, &[2.0, 0.4]).unwrap());
        let dense = Metric::dense(&x, 2, &[1.0, 0.4, 0.4, 0.5]).unwrap();
        check_reversible_and_second_order(&gaussian, &x, &dense);
        let rosenbrock = Rosenbrock::new(4, 1.0, 0.5, 1.0).unwrap();
        check_reversible_and_second_order(&rosenbrock, &[0.5, 0.2, -0.5, 0.4], &Metric::Unit);
    }

    /// With the target's covariance as the metric the trajectory is that of a standard normal law, seen through `S`.
    #[test]
    fn a_metric_is_a_change_of_coordinates() {
        let covariance = [2.0, 0.6, 0.6, 0.5];
        let law = Gaussian::new(vec![0.0; 2], covariance.to_vec()).unwrap();
        let standard = Gaussian::standard(2).unwrap();
        let factor = ebm_core::Cholesky::new("covariance", 2, &covariance).unwrap();
        let z = vec![0.7, -0.2];
        let mut x = vec![0.0; 2];
        factor.times(&z, &mut x);
        let metric = Metric::dense(&x, 2, &covariance).unwrap();
        let run = |law: &Gaussian, mut x: Vec<f64>, metric: &Metric<Vec<f64>>| {
            let (mut work, mut g) = (IsokineticWork::new(&x).unwrap(), x.clone());
            work.velocity = vec![0.6, 0.8];
            law.energy_grad(&x, &mut g).unwrap();
            let out =
                trajectory(law, &mut x, &mut g, &mut work, &0.4, metric, 5, Splitting::Leapfrog).unwrap();
            (out, x, work.velocity)
        };
        let (found, white) = (run(&law, x, &metric), run(&standard, z, &Metric::Unit));
        let mut seen = vec![0.0; 2];
        factor.times(&white.1, &mut seen);
        assert!((found.0.0 - white.0.0).abs() < 1e-12 && (found.0.1 - white.0.1).abs() < 1e-12);
        for i in 0..2 {
            assert!((found.1[i] - seen[i]).abs() < 1e-12 && (found.2[i] - white.2[i]).abs() < 1e-12);
        }
    }

    #[test]
    fn a_block_moves_as_its_chains() {
        let law = Gaussian::new(vec![1.0, -1.0], vec![2.0, 0.6, 0.6, 0.5]).unwrap();
        let (rows, speeds) = ([0.3f64, 0.4, -1.0, 2.0], [0.6f64, 0.8, -1.0, 0.0]);
        let mut x = Block::new(2, rows.to_vec()).unwrap();
        let (mut work, mut g) = (IsokineticWork::new(&x).unwrap(), x.clone());
        work.velocity = Block::new(2, speeds.to_vec()).unwrap();
        law.energy_grad(&x, &mut g).unwrap();
        let (h, minimal) = (Scalar::same(0.3), Splitting::MinimalNorm);
        let out = trajectory(&law, &mut x, &mut g, &mut work, &h, &Metric::Unit, 3, minimal).unwrap();
        for i in 0..2 {
            let mut y = rows[2 * i..][..2].to_vec();
            let (mut one, mut g) = (IsokineticWork::new(&y).unwrap(), y.clone());
            one.velocity = speeds[2 * i..][..2].to_vec();
            law.energy_grad(&y, &mut g).unwrap();
            let by_itself =
                trajectory(&law, &mut y, &mut g, &mut one, &0.3, &Metric::Unit, 3, minimal).unwrap();
            assert!((out.0.of_chain(i) - by_itself.0).abs() < 1e-13);
            assert!((out.1.of_chain(i) - by_itself.1).abs() < 1e-13);
            for j in 0..2 {
                assert!((x.as_slice()[2 * i + j] - y[j]).abs() < 1e-13);
                assert!((work.velocity.as_slice()[2 * i + j] - one.velocity[j]).abs() < 1e-13);
            }
            assert!((law.energy(&y).unwrap() - by_itself.0).abs() < 1e-13);
        }
    }

    #[test]
    fn one_dimension_is_an_error() {
        let text = IsokineticWork::new(&vec![0.0f64]).unwrap_err().to_string();
        assert!(text.starts_with("coordinates of a point = 1: must be at least 2"), "{text}");
    }
}
