//! The geometric path between two energies: `E_beta(x) = (1 - beta) E_0(x) + beta E_1(x)`.
//!
//! At `beta = 0` it is the start, at 1 the end; each end asks only its own energy, so that an infinite value of the
//! other does no harm. With [`Flat`] as the start it is `beta E_1`, plain tempering. Source: Neal 2001, "Annealed
//! importance sampling" (arXiv physics/9803008), equation 3.

use ebm_core::{Energy, Error, GradEnergy, Point, Real, Result, Scalar, Schedule};

use crate::start_points::check_points;

/// One rung of the path between two energies.
///
/// ```
/// use ebm_core::{Energy, analytic::Gaussian};
/// use ebm_samplers::Bridge;
/// let (start, end) = (Gaussian::standard(1)?, Gaussian::diagonal(vec![2.0], vec![0.5])?);
/// let x = vec![2.0f64];
/// assert_eq!(Bridge { start: &start, end: &end, beta: 0.25 }.energy(&x)?, 0.75 * 2.0);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bridge<A, B> {
    /// The energy at `beta = 0`.
    pub start: A,
    /// The energy at `beta = 1`.
    pub end: B,
    /// Where on the path, in `[0, 1]`.
    pub beta: f64,
}

impl<A, B> Bridge<A, B> {
    /// `E_1(x) - E_0(x)`, what a change of `beta` multiplies.
    pub(crate) fn slope<X: Point<Scalar = f64>>(&self, x: &X) -> Result<f64>
    where
        A: Energy<X>,
        B: Energy<X>,
    {
        Ok(self.end.energy(x)? - self.start.energy(x)?)
    }
}

impl<X: Point, A: Energy<X>, B: Energy<X>> Energy<X> for Bridge<A, B> {
    fn energy(&self, x: &X) -> Result<X::Scalar> {
        if self.beta == 0.0 {
            return self.start.energy(x);
        }
        if self.beta == 1.0 {
            return self.end.energy(x);
        }
        Scalar::linear([(1.0 - self.beta, &self.start.energy(x)?), (self.beta, &self.end.energy(x)?)])
    }
}

impl<X: Point, A: GradEnergy<X>, B: GradEnergy<X>> GradEnergy<X> for Bridge<A, B> {
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
        if self.beta == 0.0 {
            return self.start.energy_grad(x, grad);
        }
        let end = self.end.energy_grad(x, grad)?;
        if self.beta == 1.0 {
            return Ok(end);
        }
        let mut other = x.take_scratch()?;
        let start = self.start.energy_grad(x, &mut other)?;
        grad.scale_by(&X::Scalar::same(self.beta))?;
        grad.add_scaled(&X::Scalar::same(1.0 - self.beta), &other)?;
        other.give_back();
        Scalar::linear([(1.0 - self.beta, &start), (self.beta, &end)])
    }
}

/// The energy that is 0 everywhere. As the start of a path it gives `beta E`; there every `beta` must be above 0.
///
/// ```
/// use ebm_core::Energy;
/// assert_eq!(ebm_samplers::Flat.energy(&vec![3.0f64])?, 0.0);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Flat;

impl<T: Real> Energy<Vec<T>> for Flat {
    fn energy(&self, _x: &Vec<T>) -> Result<f64> {
        Ok(0.0)
    }
}

impl<T: Real> GradEnergy<Vec<T>> for Flat {
    fn energy_grad(&self, _x: &Vec<T>, grad: &mut Vec<T>) -> Result<f64> {
        grad.fill(T::default());
        Ok(0.0)
    }
}

/// Exact draws of the start, `what` they are called, and its `ln Z`.
pub(crate) fn check_draws<T: Real>(what: &str, draws: &[Vec<T>], fix: &str, log_z_start: f64) -> Result<()> {
    if !log_z_start.is_finite() {
        return Err(Error::bad_value("log_z_start", log_z_start, "finite", ""));
    }
    if draws.len() < 2 {
        return Err(Error::bad_value(what, draws.len(), "at least 2", fix));
    }
    check_points(draws)
}

/// The kernel's step size, where it has to be a constant.
pub(crate) fn constant_step_size(step_size: &Schedule) -> Result<f64> {
    step_size.as_constant().ok_or_else(|| Error::bad_value("step_size", "a schedule", "a constant", ""))
}

/// At least two values of `beta`, in `[0, 1]`, increasing, the last one 1.
pub(crate) fn check_betas(betas: &[f64]) -> Result<()> {
    if betas.len() < 2 {
        return Err(Error::bad_value(
            "number of betas",
            betas.len(),
            "at least 2",
            "give a ladder such as 0.1, 0.3, 1",
        ));
    }
    for (i, beta) in betas.iter().enumerate() {
        if !(0.0..=1.0).contains(beta) {
            return Err(Error::bad_value(format!("betas[{i}]"), beta, "in [0, 1]", ""));
        }
    }
    if let Some(i) = (1..betas.len()).find(|&i| betas[i] <= betas[i - 1]) {
        let limit = format!("above betas[{}] = {}", i - 1, betas[i - 1]);
        return Err(Error::bad_value(
            format!("betas[{i}]"),
            betas[i],
            limit,
            "sort the ladder from hot to cold",
        ));
    }
    let last = betas[betas.len() - 1];
    if last != 1.0 {
        return Err(Error::bad_value("the last beta", last, "1", "the target itself is the last rung"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::Gaussian;

    #[test]
    fn the_gradient_is_that_of_the_energy_and_the_ends_are_the_ends() {
        let start = Gaussian::standard(2).unwrap();
        let end = Gaussian::new(vec![1.0, -1.0], vec![2.0, 0.6, 0.6, 0.5]).unwrap();
        let (x, h) = (vec![0.4, -0.7], 1e-5);
        for beta in [0.0, 0.3, 1.0] {
            let bridge = Bridge { start: &start, end: &end, beta };
            let mut grad = vec![f64::NAN; 2];
            let value = bridge.energy_grad(&x, &mut grad).unwrap();
            let by_hand = (1.0 - beta) * start.energy(&x).unwrap() + beta * end.energy(&x).unwrap();
            assert!((value - by_hand).abs() < 1e-14 && (value - bridge.energy(&x).unwrap()).abs() < 1e-14);
            for i in 0..2 {
                let (mut up, mut down) = (x.clone(), x.clone());
                up[i] += h;
                down[i] -= h;
                let slope = (bridge.energy(&up).unwrap() - bridge.energy(&down).unwrap()) / (2.0 * h);
                assert!((grad[i] - slope).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn a_bad_ladder_is_an_error() {
        let text = |betas: &[f64]| check_betas(betas).unwrap_err().to_string();
        assert!(text(&[1.0]).starts_with("number of betas = 1: must be at least 2"));
        assert!(text(&[0.5, 0.2, 1.0]).starts_with("betas[1] = 0.2: must be above betas[0] = 0.5"));
        assert!(text(&[0.0, 0.5]).starts_with("the last beta = 0.5: must be 1"));
        assert!(text(&[f64::NAN, 1.0]).starts_with("betas[0] = NaN: must be in [0, 1]"));
        assert!(check_betas(&[0.0, 0.5, 1.0]).is_ok());
    }
}
