//! Start points: spread more widely than the target, then moved a few steps downhill.
//!
//! Chains that start apart are what R-hat needs; a few steps of gradient descent with backtracking spare the warm-up
//! the way in from where the energy is astronomic. The descent is short on purpose: run to its end it would put all
//! chains onto the mode, which in many dimensions is far from where the mass is.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, GradEnergy, HostPoint, Point, Real, Result};

/// Settings of the start points of host chains.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{Nuts, SampleConfig, StartPoints, sample};
/// let target = Gaussian::diagonal(vec![5.0; 3], vec![1e-6, 1.0, 100.0])?;
/// let starts: Vec<Vec<f64>> = StartPoints::default().draw(&target, 3, 4)?;
/// let run = sample(&Nuts::new(0.1), &target, starts, &SampleConfig::adaptive())?;
/// println!("{}", run.summary);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StartPoints {
    /// Each coordinate is uniform on `[-spread, spread]` at first; above 0.
    pub spread: f64,
    /// Steps downhill; 0 leaves the points where they were drawn.
    pub n_steps: usize,
    /// The points are a function of this seed; chain `i` has its own stream.
    pub seed: u64,
}

impl Default for StartPoints {
    fn default() -> Self {
        Self { spread: 2.0, n_steps: 20, seed: 0 }
    }
}

/// Draws tried before giving up on a finite energy.
const TRIES: usize = 100;
/// Halvings of the step before a point counts as arrived.
const HALVINGS: usize = 30;

impl StartPoints {
    /// One start point for each of `n_chains` chains, `[dim]`, each with a finite energy and gradient.
    ///
    /// # Errors
    /// No dimension, a spread that is not above 0, an energy that is not finite at any of 100 draws, and what the
    /// energy returns.
    pub fn draw<T: Real, E: GradEnergy<Vec<T>> + ?Sized>(
        &self,
        energy: &E,
        dim: usize,
        n_chains: usize,
    ) -> Result<Vec<Vec<T>>> {
        if dim == 0 {
            return Err(Error::bad_value("dim", 0, "at least 1", ""));
        }
        if !(self.spread > 0.0 && self.spread.is_finite()) {
            return Err(Error::bad_value("spread", self.spread, "above 0 and finite", "2 is usual"));
        }
        (0..n_chains).map(|chain| self.one(energy, dim, chain)).collect()
    }

    fn one<T: Real, E: GradEnergy<Vec<T>> + ?Sized>(
        &self,
        energy: &E,
        dim: usize,
        chain: usize,
    ) -> Result<Vec<T>> {
        let mut rng = Stream::new(self.seed, Purpose::Start, chain as u64);
        for _ in 0..TRIES {
            let mut x: Vec<T> = (0..dim).map(|_| T::of(self.spread * (2.0 * rng.uniform() - 1.0))).collect();
            let mut grad = x.zeros_like()?;
            let value = energy.energy_grad(&x, &mut grad)?;
            if value.is_finite() && grad.iter().all(|g| g.to_f64().is_finite()) {
                self.descend(energy, &mut x, &mut grad, value)?;
                return Ok(x);
            }
        }
        let fix = "give start points by hand, or another spread";
        let found = format!("not finite at {TRIES} draws from [-{0}, {0}]", self.spread);
        Err(Error::bad_value(format!("energy at the start of chain {chain}"), found, "finite", fix))
    }

    /// Each step doubles the last step's length and halves it until the energy falls.
    fn descend<T: Real, E: GradEnergy<Vec<T>> + ?Sized>(
        &self,
        energy: &E,
        x: &mut Vec<T>,
        grad: &mut Vec<T>,
        mut value: f64,
    ) -> Result<()> {
        let (mut next, mut next_grad) = (x.zeros_like()?, x.zeros_like()?);
        let mut length = 1.0 / grad.inner_each(grad)?.sqrt().max(1.0);
        for _ in 0..self.n_steps {
            length *= 2.0;
            let mut found = false;
            for _ in 0..HALVINGS {
                next.set_from(x)?;
                next.add_scaled(&-length, grad)?;
                let there = energy.energy_grad(&next, &mut next_grad)?;
                // A NaN compares false.
                if there < value && next_grad.iter().all(|g| g.to_f64().is_finite()) {
                    (value, found) = (there, true);
                    std::mem::swap(x, &mut next);
                    std::mem::swap(grad, &mut next_grad);
                    break;
                }
                length *= 0.5;
            }
            if !found {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Points of one number of coordinates, at least 1, all of them finite.
pub(crate) fn check_points<X: HostPoint>(points: &[X]) -> Result<()> {
    let dim = points.first().map_or(0, HostPoint::dim);
    if dim == 0 {
        return Err(Error::bad_value("coordinates of a start point", 0, "at least 1", ""));
    }
    for (i, x) in points.iter().enumerate() {
        if x.dim() != dim {
            return Err(Error::shape(format!("start point {i}"), dim, x.dim()));
        }
        if !x.all_finite() {
            return Err(Error::bad_value(format!("start point {i}"), "NaN or infinite", "finite", ""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::Gaussian;
    use ebm_core::{Energy, Host};

    #[test]
    fn energies_fall_and_chains_stay_apart() {
        let law = Gaussian::diagonal(vec![1.0, -3.0], vec![1e-6, 4.0]).unwrap();
        let at = |n_steps| StartPoints { n_steps, ..Default::default() }.draw(&law, 2, 6).unwrap();
        let (before, after): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (at(0), at(20));
        for (before, after) in before.iter().zip(&after) {
            assert!(before.iter().all(|x| x.abs() <= 2.0));
            assert!(law.energy(after).unwrap() < 1e-3 * law.energy(before).unwrap());
        }
        for i in 0..6 {
            for j in 0..i {
                assert!((after[i][1] - after[j][1]).abs() > 1e-3, "{after:?}");
            }
        }
        assert_eq!(after, at(20));
    }

    #[test]
    fn walls_are_not_crossed_and_hopeless_energies_are_errors() {
        let walled = Host::value_grad(1, |x: &[f64], g: &mut [f64]| {
            g[0] = 2.0 * x[0];
            if x[0] < 0.5 { f64::NAN } else { x[0] * x[0] }
        });
        let starts = StartPoints::default().draw(&walled, 1, 20).unwrap();
        assert!(starts.iter().all(|x: &Vec<f64>| x[0] >= 0.5));
        let never = Host::value_grad(1, |_: &[f64], _: &mut [f64]| f64::INFINITY);
        let text = StartPoints::default().draw::<f64, _>(&never, 1, 1).unwrap_err().to_string();
        assert!(text.contains("chain 0") && text.contains("start points by hand"), "{text}");
        assert!(StartPoints { spread: 0.0, ..Default::default() }.draw::<f64, _>(&never, 1, 1).is_err());
        assert!(StartPoints::default().draw::<f64, _>(&never, 0, 1).is_err());
    }
}
