//! A number that may depend on the step: any numeric setting of a kernel or an objective takes one.
//!
//! In a preset a schedule is a plain number or a table: `step_size = 0.1` or
//! `step_size = { cosine = { from = 0.1, to = 0.01, steps = 1000 } }`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A number as a function of the step (counted from 0). Beyond its last step a schedule keeps its last value.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    /// Always the same.
    Constant(f64),
    /// One of the named shapes.
    Shape(Shape),
    /// Any function of the step; not serialisable.
    #[serde(skip)]
    Custom(Arc<dyn Fn(u64) -> f64 + Send + Sync>),
}

/// The named shapes of a [`Schedule`]; with `t = min(step / steps, 1)`:
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Shape {
    /// `from + (to - from) t`.
    Linear(Ramp),
    /// `to + (from - to) (1 + cos(pi t)) / 2`.
    Cosine(Ramp),
    /// `from (to / from)^t`; both above 0.
    Exponential(Ramp),
    /// `values[i]` from step `starts[i]` on; `starts[0] = 0`.
    Piecewise {
        /// First step of each piece, increasing, the first 0.
        starts: Vec<u64>,
        /// The value of each piece.
        values: Vec<f64>,
    },
    /// Linear from 0 to the other schedule over `steps` steps (step `n` gets `(n + 1) / steps` of it), then it.
    WarmUp {
        /// Length of the warm-up.
        steps: u64,
        /// What is warmed up to; it counts its own steps from 0 as well.
        then: Box<Schedule>,
    },
}

/// A change between two values over a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The value at step 0.
    pub from: f64,
    /// The value at step `steps` and after it.
    pub to: f64,
    /// How long the change takes.
    pub steps: u64,
}

impl Ramp {
    fn progress(&self, step: u64) -> f64 {
        if step >= self.steps { 1.0 } else { step as f64 / self.steps as f64 }
    }
}

impl Schedule {
    /// Linear from `from` to `to` over `steps` steps.
    pub fn linear(from: f64, to: f64, steps: u64) -> Self {
        Self::Shape(Shape::Linear(Ramp { from, to, steps }))
    }

    /// Half a cosine from `from` to `to` over `steps` steps.
    pub fn cosine(from: f64, to: f64, steps: u64) -> Self {
        Self::Shape(Shape::Cosine(Ramp { from, to, steps }))
    }

    /// Geometric from `from` to `to` over `steps` steps; both above 0.
    pub fn exponential(from: f64, to: f64, steps: u64) -> Self {
        Self::Shape(Shape::Exponential(Ramp { from, to, steps }))
    }

    /// `values[i]` from step `starts[i]` on.
    pub fn piecewise(starts: Vec<u64>, values: Vec<f64>) -> Self {
        Self::Shape(Shape::Piecewise { starts, values })
    }

    /// A linear warm-up to `then`.
    pub fn warm_up(steps: u64, then: impl Into<Self>) -> Self {
        Self::Shape(Shape::WarmUp { steps, then: Box::new(then.into()) })
    }

    /// Any function of the step.
    pub fn custom(f: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(f))
    }

    /// The value at `step`.
    pub fn at(&self, step: u64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Custom(f) => f(step),
            Self::Shape(shape) => shape.at(step),
        }
    }

    /// The same course over `factor` times as many steps (rounded, at least one where there was one).
    #[must_use]
    pub fn stretched(&self, factor: f64) -> Self {
        let long = move |steps: u64| ((steps as f64 * factor).round() as u64).max(steps.min(1));
        let ramp = |r: &Ramp| Ramp { steps: long(r.steps), ..*r };
        match self {
            Self::Constant(value) => Self::Constant(*value),
            Self::Custom(f) => {
                let f = Arc::clone(f);
                Self::custom(move |step| f((step as f64 / factor) as u64))
            }
            Self::Shape(shape) => Self::Shape(match shape {
                Shape::Linear(r) => Shape::Linear(ramp(r)),
                Shape::Cosine(r) => Shape::Cosine(ramp(r)),
                Shape::Exponential(r) => Shape::Exponential(ramp(r)),
                Shape::Piecewise { starts, values } => Shape::Piecewise {
                    starts: starts.iter().map(|s| long(*s)).collect(),
                    values: values.clone(),
                },
                Shape::WarmUp { steps, then } => {
                    Shape::WarmUp { steps: long(*steps), then: Box::new(then.stretched(factor)) }
                }
            }),
        }
    }

    /// The value when it never changes.
    pub fn as_constant(&self) -> Option<f64> {
        if let Self::Constant(value) = self { Some(*value) } else { None }
    }

    /// Check that the schedule makes sense and that its characteristic values satisfy `allowed`.
    ///
    /// # Errors
    /// Names `name`, the value and `limit`, for instance `step_size = -0.1: must be above 0`.
    pub fn check(&self, name: &str, limit: &str, allowed: impl Fn(f64) -> bool + Copy) -> Result<()> {
        let value = |v: f64| {
            if v.is_finite() && allowed(v) { Ok(()) } else { Err(Error::bad_value(name, v, limit, "")) }
        };
        match self {
            Self::Constant(v) => value(*v),
            Self::Custom(f) => value(f(0)),
            Self::Shape(Shape::Linear(ramp) | Shape::Cosine(ramp)) => value(ramp.from).and(value(ramp.to)),
            Self::Shape(Shape::Exponential(ramp)) => {
                if ramp.from <= 0.0 || ramp.to <= 0.0 {
                    let found = format!("{} to {}", ramp.from, ramp.to);
                    return Err(Error::bad_value(name, found, "above 0 for an exponential schedule", ""));
                }
                value(ramp.from).and(value(ramp.to))
            }
            Self::Shape(Shape::Piecewise { starts, values }) => {
                let increasing = starts.windows(2).all(|w| w[0] < w[1]);
                if starts.first() != Some(&0) || starts.len() != values.len() || !increasing {
                    let limit = "as many starts as values, increasing from 0";
                    return Err(Error::bad_value(name, format!("starts {starts:?}"), limit, ""));
                }
                values.iter().try_for_each(|v| value(*v))
            }
            Self::Shape(Shape::WarmUp { then, .. }) => then.check(name, limit, allowed),
        }
    }
}

impl Shape {
    fn at(&self, step: u64) -> f64 {
        match self {
            Self::Linear(r) => r.from + (r.to - r.from) * r.progress(step),
            Self::Cosine(r) => {
                r.to + (r.from - r.to) * 0.5 * (1.0 + (std::f64::consts::PI * r.progress(step)).cos())
            }
            Self::Exponential(r) => r.from * (r.to / r.from).powf(r.progress(step)),
            Self::Piecewise { starts, values } => {
                let piece = starts.partition_point(|s| *s <= step).saturating_sub(1);
                values.get(piece).copied().unwrap_or(f64::NAN)
            }
            Self::WarmUp { steps, then } => {
                let share = if step >= *steps { 1.0 } else { (step + 1) as f64 / *steps as f64 };
                share * then.at(step)
            }
        }
    }
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Shape(shape) => shape.fmt(f),
            Self::Custom(_) => f.write_str("Custom(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_schedule_has_the_same_values_later() {
        let cosine = Schedule::cosine(1.0, 0.1, 200);
        let all = [
            Schedule::Constant(3.0),
            Schedule::linear(1.0, 2.0, 100),
            Schedule::exponential(1.0, 0.01, 50),
            Schedule::piecewise(vec![0, 10, 30], vec![1.0, 2.0, 3.0]),
            Schedule::custom(|step| step as f64),
            cosine.clone(),
        ];
        for schedule in all {
            let longer = schedule.stretched(3.0);
            assert!((0..250).all(|step| (longer.at(3 * step) - schedule.at(step)).abs() < 1e-12));
        }
        // A warm-up of two steps: half, then all of the cosine, of which a step is now ten.
        let shorter = Schedule::warm_up(20, cosine.clone()).stretched(0.1);
        assert_eq!([shorter.at(0), shorter.at(1)], [0.5 * cosine.at(0), cosine.at(10)]);
        assert_eq!(shorter.at(20), cosine.at(200));
        assert_eq!(Schedule::linear(1.0, 2.0, 3).stretched(0.01).at(1), 2.0);
    }

    #[test]
    fn values_are_the_formulas() {
        let at = |s: &Schedule, steps: &[u64]| steps.iter().map(|&n| s.at(n)).collect::<Vec<_>>();
        assert_eq!(at(&0.5.into(), &[0, 9]), [0.5, 0.5]);
        assert_eq!(at(&Schedule::linear(1.0, 3.0, 4), &[0, 1, 4, 9]), [1.0, 1.5, 3.0, 3.0]);
        let cosine = at(&Schedule::cosine(1.0, 0.0, 4), &[0, 2, 4]);
        assert!((cosine[1] - 0.5).abs() < 1e-15 && cosine[0] == 1.0 && cosine[2].abs() < 1e-15);
        let geometric = at(&Schedule::exponential(1.0, 0.01, 2), &[0, 1, 2, 3]);
        assert!((geometric[1] - 0.1).abs() < 1e-15 && (geometric[3] - 0.01).abs() < 1e-15);
        let steps = Schedule::piecewise(vec![0, 10, 20], vec![3.0, 2.0, 1.0]);
        assert_eq!(at(&steps, &[0, 9, 10, 19, 20, 99]), [3.0, 3.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!(at(&Schedule::warm_up(4, 2.0), &[0, 1, 3, 4]), [0.5, 1.0, 2.0, 2.0]);
        assert_eq!(Schedule::custom(|n| n as f64).at(7), 7.0);
        assert_eq!(Schedule::linear(1.0, 3.0, 0).at(0), 3.0);
    }

    #[test]
    fn a_schedule_is_a_number_or_a_table() {
        let read = |text: &str| serde_json::from_str::<Schedule>(text);
        assert_eq!(read("0.25").unwrap().as_constant(), Some(0.25));
        let cosine = read(r#"{"cosine": {"from": 1, "to": 0, "steps": 10}}"#).unwrap();
        assert_eq!(cosine.at(0), 1.0);
        let warm = Schedule::warm_up(5, Schedule::linear(1.0, 0.0, 10));
        let text = serde_json::to_string(&warm).unwrap();
        assert_eq!(read(&text).unwrap().at(3), warm.at(3));
        assert!(read(r#"{"cosine": {"from": 1, "to": 0}}"#).is_err());
        assert!(read(r#"{"sine": {"from": 1, "to": 0, "steps": 1}}"#).is_err());
    }

    #[test]
    fn impossible_schedules_are_named() {
        let positive = |v: f64| v > 0.0;
        let message = |s: Schedule| s.check("step_size", "above 0", positive).unwrap_err().to_string();
        assert_eq!(message((-0.1).into()), "step_size = -0.1: must be above 0");
        assert!(message(f64::NAN.into()).starts_with("step_size = NaN"));
        assert!(message(Schedule::exponential(1.0, 0.0, 3)).contains("exponential"));
        assert!(message(Schedule::piecewise(vec![1], vec![1.0])).contains("from 0"));
        assert!(message(Schedule::warm_up(3, -1.0)).contains("-1"));
        assert!(Schedule::cosine(1.0, 0.1, 5).check("x", "above 0", positive).is_ok());
    }
}
