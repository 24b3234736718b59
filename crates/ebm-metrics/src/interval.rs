//! A number with its uncertainty, and the empirical quantiles that intervals are read from.

use std::fmt;

use ebm_core::Result;
use serde::{Deserialize, Serialize};

use crate::check;

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The confidence level, for example 0.95.
    pub level: f64,
}

/// A value measured on the data, with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value on the data itself.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
}

impl Interval {
    /// Whether `x` lies between the ends, ends included.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { low, high, level } = self.interval;
        write!(f, "{:.4} [{low:.4}, {high:.4}] ({:.0} %)", self.value, 100.0 * level)
    }
}

/// The empirical quantile at `probability` in `[0, 1]`, linear between order statistics (type 7 of Hyndman and
/// Fan 1996, doi:10.1080/00031305.1996.10473566; the default of NumPy and R). `sorted` ascends and is not empty.
pub(crate) fn quantile_of_sorted(sorted: &[f64], probability: f64) -> f64 {
    let exact = probability * (sorted.len() - 1) as f64;
    // 0.05 * 20 must be the order statistic 1, whichever way 0.05 was rounded.
    let position = if (exact - exact.round()).abs() < 1e-9 { exact.round() } else { exact };
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    // Written so that between equal numbers it is exactly that number.
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// The central interval of `values`: their quantiles at `(1 - level) / 2` and `(1 + level) / 2`.
///
/// # Errors
/// No values, one that is not finite, or a level outside (0, 1).
pub fn percentile_interval(values: &[f64], level: f64) -> Result<Interval> {
    check::at_least("values", values.len(), 1)?;
    check::finite("values", values)?;
    check::open_unit("level", level)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    Ok(Interval {
        low: quantile_of_sorted(&sorted, tail),
        high: quantile_of_sorted(&sorted, 1.0 - tail),
        level,
    })
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn percentiles_are_linear_between_order_statistics() {
        // Of 0..=100 the quantile at p is 100 p, whatever the order.
        let values: Vec<f64> = (0..=100).map(|i| f64::from(i * 37 % 101)).collect();
        let interval = percentile_interval(&values, 0.9).unwrap();
        assert_abs_diff_eq!(interval.low, 5.0, epsilon = 1e-12);
        assert_abs_diff_eq!(interval.high, 95.0, epsilon = 1e-12);
        assert!(interval.contains(5.1) && !interval.contains(4.9));
        assert_eq!(quantile_of_sorted(&[1.0, 2.0], 0.25), 1.25);
        assert_eq!(quantile_of_sorted(&[7.0], 0.3), 7.0);
    }

    #[test]
    fn bad_input_is_named() {
        let text = |r: Result<Interval>| r.unwrap_err().to_string();
        assert_eq!(text(percentile_interval(&[], 0.9)), "values: expected at least 1, found 0");
        assert!(text(percentile_interval(&[0.0, f64::NAN], 0.9)).starts_with("values[1] = NaN"));
        assert!(text(percentile_interval(&[0.0], 1.0)).starts_with("level = 1"));
    }

    #[test]
    fn an_estimate_prints_its_interval() {
        let e = Estimate { value: 0.5, interval: Interval { low: 0.25, high: 0.75, level: 0.95 } };
        assert_eq!(e.to_string(), "0.5000 [0.2500, 0.7500] (95 %)");
    }
}
