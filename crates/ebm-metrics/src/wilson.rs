//! Wilson's interval of a share: the set of probabilities that a score test does not refuse.
//!
//! `(p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`. It stays within [0, 1] and has a width at 0
//! and 1, unlike `p -+ z s`. Source: Wilson 1927 (doi:10.1080/01621459.1927.10502953).

use ebm_core::{Error, Result};

use crate::check;
use crate::interval::{Estimate, Interval};
use crate::special::normal_quantile;

/// The share `n_successes / n` with its interval at `level`.
///
/// # Errors
/// No trials, more successes than trials, or a level outside (0, 1).
///
/// ```
/// let success = ebm_metrics::wilson_interval(190, 200, 0.95)?;
/// assert_eq!(success.value, 0.95);
/// assert!(success.interval.low > 0.90 && success.interval.high < 0.98);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub fn wilson_interval(n_successes: usize, n: usize, level: f64) -> Result<Estimate> {
    check::at_least("trials", n, 1)?;
    check::open_unit("level", level)?;
    if n_successes > n {
        return Err(Error::bad_value("n_successes", n_successes, format!("at most {n}, the trials"), ""));
    }
    let (p, n) = (n_successes as f64 / n as f64, n as f64);
    let z = normal_quantile(0.5 + 0.5 * level);
    let centre = p + z * z / (2.0 * n);
    let half_width = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    let (low, high) = ((centre - half_width) / scale, (centre + half_width) / scale);
    // Exact at the ends, where rounding would leave a trace.
    let interval = Interval { low: low.max(0.0).min(p), high: high.min(1.0).max(p), level };
    Ok(Estimate { value: p, interval })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends solve `|p - q| = z sqrt(q (1 - q) / n)`: the definition.
    #[test]
    fn the_ends_are_where_the_score_test_turns() {
        let z = 1.959_963_984_540_054;
        for (k, n) in [(0usize, 10usize), (3, 10), (190, 200), (200, 200)] {
            let Estimate { value, interval } = wilson_interval(k, n, 0.95).unwrap();
            for q in [interval.low, interval.high] {
                let distance = (value - q).abs();
                assert!((distance - z * (q * (1.0 - q) / n as f64).sqrt()).abs() < 1e-7, "{k} of {n}: {q}");
            }
            assert!(interval.low >= 0.0 && interval.high <= 1.0 && interval.low < interval.high);
        }
        assert!(wilson_interval(0, 0, 0.95).is_err());
        assert!(wilson_interval(3, 2, 0.95).unwrap_err().to_string().contains("at most 2"));
        assert!(wilson_interval(1, 2, 1.0).is_err());
    }
}
