//! Student's t: the interval of a mean over a few independent runs (seeds).
//!
//! `mean ± t_{n-1} s / sqrt(n)`. With a whole number of degrees of freedom the distribution function is a finite
//! sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4), so no approximation enters; the quantile is found by
//! bisection on the angle `theta = atan(t / sqrt(df))`.

use ebm_core::{Error, Result};

use crate::check;
use crate::interval::{Estimate, Interval};

/// The mean of `values` with its t interval at `level`; the values are independent runs, at least two.
///
/// # Errors
/// Fewer than two values, one that is not finite, or a level outside (0, 1).
pub fn t_interval(values: &[f64], level: f64) -> Result<Estimate> {
    check::at_least("values (runs)", values.len(), 2)?;
    check::finite("values", values)?;
    check::open_unit("level", level)?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half_width = t_of_level(level, values.len() as u64 - 1) * (variance / n).sqrt();
    Ok(Estimate {
        value: mean,
        interval: Interval { low: mean - half_width, high: mean + half_width, level },
    })
}

/// The quantile of Student's t at `probability` with `df` degrees of freedom.
///
/// # Errors
/// A probability outside (0, 1), or no degrees of freedom.
pub fn t_quantile(probability: f64, df: u64) -> Result<f64> {
    check::open_unit("probability", probability)?;
    if df == 0 {
        return Err(Error::bad_value("df", 0, "at least 1", ""));
    }
    let central = 2.0 * (probability - 0.5).abs();
    Ok(t_of_level(central, df).copysign(probability - 0.5))
}

/// The `t` with `P(|T| <= t) = level`.
fn t_of_level(level: f64, df: u64) -> f64 {
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    // Halving pi/2 this often reaches neighbouring floating-point numbers.
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if central_probability(middle, df) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
    (df as f64).sqrt() * low.tan()
}

/// `P(|T| <= sqrt(df) tan(theta))`, by the finite sums.
fn central_probability(theta: f64, df: u64) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let odd = df % 2 == 1;
    // Odd: cos (1 + 2/3 cos^2 + ...), even: 1 + 1/2 cos^2 + 1 3 / (2 4) cos^4 + ..., df / 2 terms each.
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    for k in 1..=df / 2 {
        sum += term;
        let k = k as f64;
        let ratio = if odd { 2.0 * k / (2.0 * k + 1.0) } else { (2.0 * k - 1.0) / (2.0 * k) };
        term *= ratio * cos * cos;
        if term < 1e-18 * sum {
            break;
        }
    }
    if odd { std::f64::consts::FRAC_2_PI * (theta + sin * sum) } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use statrs::distribution::{ContinuousCDF, StudentsT};

    use super::*;

    #[test]
    fn quantiles_agree_with_closed_forms_and_statrs() {
        for p in [0.6_f64, 0.9, 0.975, 0.995] {
            // One degree: Cauchy. Two: (2p - 1) sqrt(2 / (1 - (2p - 1)^2)).
            let cauchy = (std::f64::consts::PI * (p - 0.5)).tan();
            assert_relative_eq!(t_quantile(p, 1).unwrap(), cauchy, max_relative = 1e-12);
            let a = 2.0 * p - 1.0;
            assert_relative_eq!(
                t_quantile(p, 2).unwrap(),
                a * (2.0 / (1.0 - a * a)).sqrt(),
                max_relative = 1e-12
            );
            for df in [3_u64, 4, 9, 30, 101, 1000] {
                let t = t_quantile(p, df).unwrap();
                let law = StudentsT::new(0.0, 1.0, df as f64).unwrap();
                assert_abs_diff_eq!(law.cdf(t), p, epsilon = 1e-11);
                assert_eq!(t_quantile(1.0 - p, df).unwrap().is_sign_negative(), p > 0.5);
            }
        }
        assert_eq!(t_quantile(0.5, 7).unwrap(), 0.0);
    }

    /// scipy 1.x: `[scipy.stats.t.ppf(0.975, df) for df in (2, 4, 9)]`.
    #[test]
    fn quantiles_agree_with_the_printed_table() {
        for (df, t) in [(2, 4.302_652_729_749), (4, 2.776_445_105_198), (9, 2.262_157_162_798)] {
            assert_abs_diff_eq!(t_quantile(0.975, df).unwrap(), t, epsilon = 1e-9);
        }
    }

    #[test]
    fn the_interval_of_three_runs_by_hand() {
        // Mean 2, s = 1, t = 4.3027, s / sqrt(3) = 0.57735.
        let e = t_interval(&[1.0, 2.0, 3.0], 0.95).unwrap();
        assert_abs_diff_eq!(e.value, 2.0);
        assert_abs_diff_eq!(e.interval.high - 2.0, 4.302_652_729_749 / 3f64.sqrt(), epsilon = 1e-9);
        assert_abs_diff_eq!(e.interval.high + e.interval.low, 4.0, epsilon = 1e-12);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(t_interval(&[1.0], 0.95).unwrap_err().to_string().contains("at least 2"));
        assert!(t_interval(&[1.0, 2.0], 0.0).is_err() && t_quantile(0.9, 0).is_err());
        assert!(t_interval(&[1.0, f64::NAN], 0.9).unwrap_err().to_string().starts_with("values[1]"));
    }
}
