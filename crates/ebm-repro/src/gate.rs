//! Gates: a claim as a number, a threshold and a direction, fixed in the preset before the run.

use serde::{Deserialize, Serialize};

/// The direction of a gate: `value op threshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Above.
    #[serde(rename = ">")]
    Above,
    /// Below.
    #[serde(rename = "<")]
    Below,
}

impl Op {
    /// Whether `value op threshold` holds; never for a NaN.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtLeast => value >= threshold,
            Self::AtMost => value <= threshold,
            Self::Above => value > threshold,
            Self::Below => value < threshold,
        }
    }

    /// Whether a larger value is the better one.
    pub fn wants_large(self) -> bool {
        matches!(self, Self::AtLeast | Self::Above)
    }

    /// As it is written in a preset.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::Below => "<",
        }
    }
}

/// What a gate is judged on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Each seed alone; held when held in every one.
    #[default]
    Run,
    /// All seeds together, once enough of them ran.
    Seeds,
}

/// One `[[gates]]` table of a preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    /// What the experiment calls it.
    pub name: String,
    /// The claim in words; says so when the value is already the unfavourable end of an interval.
    pub claim: String,
    /// The direction.
    pub op: Op,
    /// A fixed threshold; or else `factor` and `margin` make one from the control's value.
    pub threshold: Option<f64>,
    /// The control that the claim is compared with.
    pub control: Option<String>,
    /// Threshold = control's value x `factor` + `margin`; 1 when only the margin is given.
    pub factor: Option<f64>,
    /// Threshold = control's value x `factor` + `margin`; 0 when only the factor is given.
    pub margin: Option<f64>,
    /// Judged per run or over seeds.
    #[serde(default)]
    pub scope: Scope,
    /// How many seeds a gate over seeds needs.
    #[serde(default = "three")]
    pub seeds_needed: usize,
    /// The level of its interval.
    #[serde(default = "level")]
    pub ci_level: f64,
    /// Over seeds, judge the unfavourable end of the interval instead of the mean.
    #[serde(default)]
    pub unfavourable_end: bool,
}

fn three() -> usize {
    3
}

fn level() -> f64 {
    0.95
}

impl GateSpec {
    /// Whether the threshold depends on what the control reached.
    pub fn is_relative(&self) -> bool {
        self.threshold.is_none()
    }

    /// The threshold for what the control reached in the same run.
    pub fn threshold_for(&self, control_value: f64) -> f64 {
        self.threshold
            .unwrap_or_else(|| control_value * self.factor.unwrap_or(1.0) + self.margin.unwrap_or(0.0))
    }

    /// What is wrong with the table, if anything.
    pub fn problem(&self) -> Option<String> {
        let relative = self.factor.is_some() || self.margin.is_some();
        let numbers = [self.threshold, self.factor, self.margin];
        if self.name.is_empty() || self.claim.is_empty() {
            Some("`name` and `claim` must not be empty".into())
        } else if self.threshold.is_some() == relative {
            Some("needs either `threshold`, or `factor` or `margin` with `control`".into())
        } else if relative && self.control.is_none() {
            Some("`factor` and `margin` need the `control` that they are relative to".into())
        } else if numbers.iter().flatten().any(|n| !n.is_finite()) {
            Some("`threshold`, `factor` and `margin` must be finite".into())
        } else if !(self.ci_level > 0.0 && self.ci_level < 1.0) {
            Some(format!("ci_level = {}: must lie between 0 and 1", self.ci_level))
        } else if self.scope == Scope::Seeds && self.seeds_needed < 2 {
            Some(format!("seeds_needed = {}: a gate over seeds needs at least 2", self.seeds_needed))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_hold_and_nan_never_does() {
        assert!(Op::AtLeast.holds(1.0, 1.0) && Op::AtMost.holds(1.0, 1.0));
        assert!(!Op::Above.holds(1.0, 1.0) && !Op::Below.holds(1.0, 1.0));
        for op in [Op::AtLeast, Op::AtMost, Op::Above, Op::Below] {
            assert!(!op.holds(f64::NAN, 0.0));
            assert_eq!(serde_json::to_value(op).unwrap(), op.symbol());
        }
    }

    #[test]
    fn a_relative_threshold_follows_its_control() {
        let gate: GateSpec =
            toml::from_str("name='a'\nclaim='b'\nop='>='\ncontrol='twin'\nmargin=-0.02").unwrap();
        assert_eq!(gate.problem(), None);
        assert!((gate.threshold_for(0.98) - 0.96).abs() < 1e-12);
        let both = GateSpec { threshold: Some(1.0), ..gate.clone() };
        assert!(both.problem().is_some());
        assert!(GateSpec { control: None, ..gate }.problem().is_some());
    }
}
