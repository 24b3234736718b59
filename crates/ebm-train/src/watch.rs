//! The divergence watch: guards accumulate on the device and are read every few steps.

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// When training counts as diverged, and how often it may roll back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Steps between checks (one wait for the device each).
    pub check_every: u64,
    /// Largest `|mean E+ - mean E-|`.
    pub max_energy_gap: f64,
    /// Largest gradient norm before clipping.
    pub max_grad_norm: f64,
    /// Checks in a row above one of these limits that make a divergence; a non-finite loss is one at once.
    pub patience: u32,
    /// Roll-backs before training gives up.
    pub max_rollbacks: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { check_every: 20, max_energy_gap: 1e3, max_grad_norm: 1e4, patience: 3, max_rollbacks: 5 }
    }
}

impl Limits {
    /// Whether every limit is above 0.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<()> {
        let counts = [("check_every", self.check_every as f64), ("patience", f64::from(self.patience))];
        let limits = [("max_energy_gap", self.max_energy_gap), ("max_grad_norm", self.max_grad_norm)];
        for (name, value) in counts.into_iter().chain(limits) {
            if !(value > 0.0) {
                return Err(Error::bad_value(name, value, "above 0", ""));
            }
        }
        Ok(())
    }
}

/// Something that happened during training and belongs in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The step at which it was noticed.
    pub step: u64,
    /// `rollback` or `diverged`.
    pub kind: String,
    /// What was seen and what was done.
    pub detail: String,
}

/// Accumulates what the limits look at.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    worst: Option<Tensor>,
    bad_checks: u32,
}

/// What a check found.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Fine,
    /// Above a limit, not yet often enough.
    Suspicious,
    Diverged(String),
}

impl Watch {
    /// Take in one step: all 0-d tensors, on the device.
    pub fn record(&mut self, loss: &Tensor, energy_gap: Option<&Tensor>, grad_norm: &Tensor) -> Result<()> {
        let as_float = |t: &Tensor| Ok::<_, Error>(t.f_detach()?.f_to_kind(Kind::Float)?.f_abs()?);
        let gap = match energy_gap {
            Some(gap) => as_float(gap)?,
            None => Tensor::f_zeros([] as [i64; 0], (Kind::Float, loss.device()))?,
        };
        let now = Tensor::f_stack(&[as_float(loss)?, gap, as_float(grad_norm)?], 0)?;
        // `maximum` keeps a NaN once it has appeared.
        self.worst = Some(match &self.worst {
            None => now,
            Some(worst) => worst.f_maximum(&now)?,
        });
        Ok(())
    }

    /// Whether everything recorded since the last check is within the limits, and the last check was; forgets
    /// nothing. A checkpoint taken then needs no memory of the watch: a resumed run counts from zero, as this one.
    pub fn peek(&self, limits: &Limits) -> Result<bool> {
        if self.bad_checks > 0 {
            return Ok(false);
        }
        let mut copy = Self { worst: self.worst.as_ref().map(Tensor::shallow_clone), bad_checks: 0 };
        Ok(copy.check(limits)? == Verdict::Fine)
    }

    /// Read what was recorded since the last check.
    pub fn check(&mut self, limits: &Limits) -> Result<Verdict> {
        let Some(worst) = self.worst.take() else { return Ok(Verdict::Fine) };
        let values: Vec<f32> = Vec::try_from(&worst)?; // host read: the guards are due
        let [loss, gap, norm] = values[..] else { return Err(Error::shape("guards", 3, values.len())) };
        if !(loss.is_finite() && gap.is_finite() && norm.is_finite()) {
            return Ok(Verdict::Diverged(format!("not finite: loss {loss}, gap {gap}, gradient {norm}")));
        }
        let found = if f64::from(gap) > limits.max_energy_gap {
            format!("energy gap {gap:.3e} above {:.3e}", limits.max_energy_gap)
        } else if f64::from(norm) > limits.max_grad_norm {
            format!("gradient norm {norm:.3e} above {:.3e}", limits.max_grad_norm)
        } else {
            self.bad_checks = 0;
            return Ok(Verdict::Fine);
        };
        self.bad_checks += 1;
        if self.bad_checks < limits.patience {
            return Ok(Verdict::Suspicious);
        }
        Ok(Verdict::Diverged(format!("{found} in {} checks in a row", self.bad_checks)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(watch: &mut Watch, loss: f64, gap: f64, norm: f64) {
        let t = |v: f64| Tensor::from_slice(&[v]).view([] as [i64; 0]);
        watch.record(&t(loss), Some(&t(gap)), &t(norm)).unwrap();
    }

    #[test]
    fn a_nan_counts_at_once_and_a_limit_after_its_patience() {
        let limits = Limits::default();
        let mut watch = Watch::default();
        record(&mut watch, 1.0, -2e3, 1.0);
        record(&mut watch, 1.0, 0.0, 1.0);
        assert_eq!(watch.check(&limits).unwrap(), Verdict::Suspicious);
        record(&mut watch, 1.0, 0.0, 2e4);
        assert_eq!(watch.check(&limits).unwrap(), Verdict::Suspicious);
        record(&mut watch, 1.0, 2e3, 1.0);
        assert!(
            matches!(watch.check(&limits).unwrap(), Verdict::Diverged(why) if why.contains("energy gap"))
        );
        record(&mut watch, 1.0, 0.0, 1.0);
        assert_eq!(watch.check(&limits).unwrap(), Verdict::Fine);
        record(&mut watch, f64::NAN, 0.0, 1.0);
        record(&mut watch, 1.0, 0.0, 1.0);
        assert!(
            matches!(watch.check(&limits).unwrap(), Verdict::Diverged(why) if why.contains("not finite"))
        );
    }

    #[test]
    fn nothing_is_saved_between_two_suspicious_checks() {
        let limits = Limits::default();
        let mut watch = Watch::default();
        record(&mut watch, 1.0, 0.0, 1.0);
        assert!(watch.peek(&limits).unwrap());
        record(&mut watch, 1.0, 2e3, 1.0);
        assert!(!watch.peek(&limits).unwrap());
        assert_eq!(watch.check(&limits).unwrap(), Verdict::Suspicious);
        record(&mut watch, 1.0, 0.0, 1.0);
        assert!(!watch.peek(&limits).unwrap());
        assert_eq!(watch.check(&limits).unwrap(), Verdict::Fine);
        assert!(watch.peek(&limits).unwrap());
    }
}
