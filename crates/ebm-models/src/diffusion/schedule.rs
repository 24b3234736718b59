//! How noise grows: `x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps`, `a_t = prod_{s <= t} (1 - beta_s)`, `t = 0 .. T - 1`.
//!
//! Linear: `beta_t = first + (last - first) t / (T - 1)` (DDPM, arXiv 2006.11239). Squared cosine:
//! `beta_t = 1 - f((t + 1) / T) / f(t / T)`, at most 0.999, `f(u) = cos^2(pi/2 (u + 0.008) / 1.008)` (improved DDPM,
//! arXiv 2102.09672).

use std::f64::consts::FRAC_PI_2;

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The shape of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum NoiseScheduleConfig {
    /// Variances on a line.
    Linear {
        /// Steps `T`.
        n_steps: usize,
        /// The first step's variance.
        first: f64,
        /// The last step's variance.
        last: f64,
    },
    /// Squared cosine: gentle at both ends.
    SquaredCosine {
        /// Steps `T`.
        n_steps: usize,
    },
}

impl NoiseScheduleConfig {
    /// The schedule of DDPM and DiT: linear, 1000 steps, 1e-4 to 0.02.
    pub fn ddpm() -> Self {
        Self::Linear { n_steps: 1000, first: 1e-4, last: 0.02 }
    }

    /// Steps `T`.
    pub fn n_steps(&self) -> usize {
        match *self {
            Self::Linear { n_steps, .. } | Self::SquaredCosine { n_steps } => n_steps,
        }
    }

    /// Whether every variance lies in (0, 1).
    ///
    /// # Errors
    /// Otherwise; and for a schedule of less than two steps.
    pub fn check(&self) -> Result<()> {
        if self.n_steps() < 2 {
            return Err(Error::bad_value("schedule.n_steps", self.n_steps(), "at least 2", "1000 is usual"));
        }
        if let Self::Linear { first, last, .. } = *self {
            for (name, beta) in [("schedule.first", first), ("schedule.last", last)] {
                if !(beta > 0.0 && beta < 1.0) {
                    return Err(Error::bad_value(name, beta, "between 0 and 1", "1e-4 and 0.02 are usual"));
                }
            }
        }
        Ok(())
    }

    /// The schedule as numbers.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn build(&self) -> Result<NoiseSchedule> {
        self.check()?;
        let n = self.n_steps();
        let beta: Vec<f64> = match *self {
            Self::Linear { first, last, .. } => {
                (0..n).map(|t| first + (last - first) * t as f64 / (n - 1) as f64).collect()
            }
            Self::SquaredCosine { .. } => {
                let f = |u: f64| (FRAC_PI_2 * (u + 0.008) / 1.008).cos().powi(2);
                let at = |t: usize| f(t as f64 / n as f64);
                (0..n).map(|t| (1.0 - at(t + 1) / at(t)).min(0.999)).collect()
            }
        };
        let products = beta.iter().scan(1.0, |product, b| {
            *product *= 1.0 - b;
            Some(*product)
        });
        Ok(NoiseSchedule { alpha_bar: products.collect(), beta })
    }
}

/// A schedule as numbers; see [`NoiseScheduleConfig::build`].
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    beta: Vec<f64>,
    alpha_bar: Vec<f64>,
}

impl NoiseSchedule {
    /// Steps `T`; the steps are `0 .. T - 1`, the last one the noisiest.
    pub fn n_steps(&self) -> usize {
        self.beta.len()
    }

    /// The variance that step `t` adds.
    ///
    /// # Panics
    /// A step past the end, as of every function here that takes a step as a number.
    pub fn beta(&self, t: usize) -> f64 {
        self.beta[t]
    }

    /// `a_t`: what is left of the data's variance after step `t`.
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alpha_bar[t]
    }

    /// `sqrt(1 - a_t)`: the standard deviation of the noise after step `t`.
    pub fn noise_std(&self, t: usize) -> f64 {
        (1.0 - self.alpha_bar[t]).sqrt()
    }

    /// The step at this fraction of the schedule: 0.1 of 1000 steps is step 99, the hundredth.
    ///
    /// # Errors
    /// A fraction that is not in (0, 1], or below one step.
    pub fn step_at(&self, fraction: f64) -> Result<usize> {
        let steps = (fraction * self.n_steps() as f64).round();
        if !(fraction > 0.0 && fraction <= 1.0 && steps >= 1.0) {
            return Err(Error::bad_value("fraction of the schedule", fraction, "above 0, at most 1", ""));
        }
        Ok(steps as usize - 1)
    }

    /// `x_t` of clean points `x` `[n, ..]` at steps `t` `[n]`, i64, with this standard normal `noise`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a step past the end.
    pub fn add_noise(&self, x: &Tensor, t: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let kept = x.f_mul(&self.signal_std_of(t, x)?)?;
        Ok(kept.f_add(&noise.f_mul(&self.noise_std_of(t, x)?)?)?)
    }

    /// `sqrt(a_t)` for steps `t` `[n]`, shaped `[n, 1, ..]` to multiply a tensor like `x`.
    ///
    /// # Errors
    /// As [`Self::add_noise`].
    pub fn signal_std_of(&self, t: &Tensor, x: &Tensor) -> Result<Tensor> {
        per_point(self.alpha_bar.iter().map(|a| a.sqrt()), t, x)
    }

    /// `sqrt(1 - a_t)`, as [`Self::signal_std_of`].
    ///
    /// # Errors
    /// As [`Self::add_noise`].
    pub fn noise_std_of(&self, t: &Tensor, x: &Tensor) -> Result<Tensor> {
        per_point(self.alpha_bar.iter().map(|a| (1.0 - a).sqrt()), t, x)
    }
}

/// The entries `t` `[n]` of a table, as `[n, 1, ..]` with the rank, type and device of `x`.
pub(super) fn per_point(table: impl Iterator<Item = f64>, t: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.dim()];
    let n = x.size().first().copied().unwrap_or(0);
    if t.size() != [n] || shape.is_empty() {
        return Err(Error::shape("steps t, one per point", [n], t.size()));
    }
    shape[0] = n;
    let table = Tensor::f_from_slice(&table.collect::<Vec<f64>>())?;
    let table = table.f_to_kind(if x.kind() == Kind::Double { Kind::Double } else { Kind::Float })?;
    Ok(table.f_to_device(x.device())?.f_index_select(0, t)?.f_view(shape.as_slice())?.f_to_kind(x.kind())?)
}

/// `n` steps from `first` down to 0, both among them, as evenly spaced as whole numbers can be: the steps of a
/// shortened reverse chain. `evenly_spaced(99, 100)` is 99, 98, .., 0; a single step is `first` itself.
///
/// # Errors
/// `n` 0, or more than there are steps.
pub fn evenly_spaced(first: usize, n: usize) -> Result<Vec<usize>> {
    if n == 0 || n > first + 1 {
        let limit = format!("between 1 and {} (the steps from {first} to 0)", first + 1);
        return Err(Error::bad_value("steps of the reverse chain", n, limit, ""));
    }
    if n == 1 {
        return Ok(vec![first]);
    }
    let gap = first as f64 / (n - 1) as f64;
    Ok((0..n).rev().map(|i| (i as f64 * gap).round() as usize).collect())
}

/// `n` steps of a schedule of `n_steps`, each the first of an equal part, from the last part's down to 0:
/// `leading(100, 2)` is 50, 0. A chain that starts there takes noise for a point of less noise, but spares the last
/// steps of schedules that end in hardly any signal, where a guess of the clean point is worth nothing. Diffusion
/// Policy's DDIM (arXiv 2303.04137) is this one.
///
/// # Errors
/// `n` 0, or more than `n_steps`.
pub fn leading(n_steps: usize, n: usize) -> Result<Vec<usize>> {
    if n == 0 || n > n_steps {
        return Err(Error::bad_value(
            "steps of the reverse chain",
            n,
            format!("between 1 and {n_steps}"),
            "",
        ));
    }
    Ok((0..n).rev().map(|i| i * (n_steps / n)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The product over 100 and 200 of the linear variances, by the sum of logarithms to second order.
    #[test]
    fn the_linear_schedule_has_the_known_values() {
        let s = NoiseScheduleConfig::ddpm().build().unwrap();
        assert_eq!((s.n_steps(), s.beta(0), s.beta(999)), (1000, 1e-4, 0.02));
        assert!((s.alpha_bar(0) - 0.9999).abs() < 1e-15);
        // sum_{s<100} beta_s = 100 * 1e-4 + 0.0199 / 999 * 4950 = 0.108604, of squares 1.510e-4:
        // exp(-0.108604 - 0.5 * 1.510e-4) = 0.89702.
        assert_eq!(s.step_at(0.1).unwrap(), 99);
        assert!((s.alpha_bar(99) - 0.89702).abs() < 1e-5, "{}", s.alpha_bar(99));
        assert!((s.noise_std(99) - 0.3209).abs() < 1e-4);
        // sum_{s<200} beta_s = 0.02 + 0.0199 / 999 * 19900 = 0.416406, of squares 1.1315e-3:
        // exp(-0.416406 - 0.5 * 1.1315e-3) = 0.65904.
        assert_eq!(s.step_at(0.2).unwrap(), 199);
        assert!((s.alpha_bar(199) - 0.65904).abs() < 1e-5, "{}", s.alpha_bar(199));
        assert!((s.noise_std(199) - 0.5839).abs() < 1e-4);
        assert!(s.alpha_bar(999) < 1e-4);
    }

    #[test]
    fn the_cosine_schedule_telescopes() {
        let s = NoiseScheduleConfig::SquaredCosine { n_steps: 100 }.build().unwrap();
        let f = |u: f64| (FRAC_PI_2 * (u + 0.008) / 1.008).cos().powi(2);
        for t in [0, 1, 50, 98] {
            assert!((s.alpha_bar(t) - f((t + 1) as f64 / 100.0) / f(0.0)).abs() < 1e-12);
        }
        assert_eq!(s.beta(99), 0.999);
    }

    #[test]
    fn noise_is_added_per_point() {
        let s = NoiseScheduleConfig::ddpm().build().unwrap();
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]).view([2, 2]);
        let noise = Tensor::from_slice(&[1.0, -1.0, 0.5, 0.0]).view([2, 2]);
        let found = s.add_noise(&x, &Tensor::from_slice(&[0i64, 999]), &noise).unwrap();
        for (i, t) in [(0, 0), (1, 999)] {
            for j in 0..2 {
                let expected = s.alpha_bar(t).sqrt() * x.double_value(&[i, j])
                    + s.noise_std(t) * noise.double_value(&[i, j]);
                assert!((found.double_value(&[i, j]) - expected).abs() < 1e-14);
            }
        }
        assert!(s.add_noise(&x, &Tensor::from_slice(&[0i64]), &noise).is_err());
        assert!(s.add_noise(&x, &Tensor::from_slice(&[0i64, 1000]), &noise).is_err());
        let scalar = Tensor::from(1.0).to_device(Device::Cpu);
        assert!(s.add_noise(&scalar, &Tensor::from_slice(&[0i64]), &scalar).is_err());
    }

    #[test]
    fn shortened_chains_hold_both_ends_and_never_a_step_twice() {
        assert_eq!(evenly_spaced(99, 100).unwrap(), (0..100).rev().collect::<Vec<_>>());
        assert_eq!(leading(100, 10).unwrap(), [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]);
        assert_eq!((leading(100, 2).unwrap(), leading(10, 3).unwrap()), (vec![50, 0], vec![6, 3, 0]));
        assert!(leading(10, 0).is_err() && leading(10, 11).is_err());
        assert_eq!(evenly_spaced(9, 4).unwrap(), [9, 6, 3, 0]);
        assert_eq!((evenly_spaced(0, 1).unwrap(), evenly_spaced(7, 1).unwrap()), (vec![0], vec![7]));
        for n in 2..=50 {
            let steps = evenly_spaced(49, n).unwrap();
            assert!(steps[0] == 49 && steps[n - 1] == 0 && steps.windows(2).all(|w| w[0] > w[1]));
        }
        for n in [0, 101] {
            assert!(evenly_spaced(99, n).is_err());
        }
    }

    #[test]
    fn impossible_schedules_are_named() {
        let linear = |n_steps, first, last| NoiseScheduleConfig::Linear { n_steps, first, last };
        assert!(linear(1, 0.1, 0.2).check().unwrap_err().to_string().contains("n_steps"));
        assert!(linear(10, 0.0, 0.2).check().unwrap_err().to_string().contains("first"));
        assert!(linear(10, 0.1, f64::NAN).check().unwrap_err().to_string().contains("last"));
        let s = NoiseScheduleConfig::ddpm().build().unwrap();
        for fraction in [0.0, -1.0, 1.1, f64::NAN, 1e-9] {
            assert!(s.step_at(fraction).is_err());
        }
        let text = r#"{"name": "linear", "n_steps": 1000, "first": 1e-4, "last": 0.02}"#;
        assert_eq!(serde_json::from_str::<NoiseScheduleConfig>(text).unwrap(), NoiseScheduleConfig::ddpm());
        assert!(serde_json::from_str::<NoiseScheduleConfig>(&text.replace("first", "begin")).is_err());
    }
}
