//! Sums that keep their accuracy: of exponentials at any scale, and of millions of terms.

/// `ln sum exp(terms)` without overflow; `-inf` when there is no term, or none above `-inf`. A NaN among them gives NaN.
///
/// ```
/// let sum = ebm_core::log_sum_exp([1000.0, 1000.0].into_iter());
/// assert!((sum - 1000.0 - 2f64.ln()).abs() < 1e-12);
/// ```
pub fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        // `max` passes over NaN.
        return if terms.into_iter().any(f64::is_nan) { f64::NAN } else { largest };
    }
    largest + total(terms.map(|term| (term - largest).exp())).ln()
}

/// A sum that carries the rounding error along (Neumaier 1974): sums here have up to 2^24 terms.
pub(crate) fn total(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    terms.for_each(|term| sum.add(term));
    sum.value()
}

/// The running form of [`total`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    error: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        self.error +=
            if self.sum.abs() >= term.abs() { (self.sum - sum) + term } else { (term - sum) + self.sum };
        self.sum = sum;
    }

    pub(crate) fn value(self) -> f64 {
        self.sum + self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_exponentials_hold_at_any_scale() {
        assert_eq!(log_sum_exp([].into_iter()), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp([f64::NEG_INFINITY; 3].into_iter()), f64::NEG_INFINITY);
        for shift in [-1e5, 0.0, 1e5] {
            let sum = log_sum_exp([shift, shift + 2f64.ln(), f64::NEG_INFINITY].into_iter());
            assert!((sum - shift - 3f64.ln()).abs() < 1e-10, "{sum}");
        }
        assert_eq!(log_sum_exp([f64::INFINITY, 1.0].into_iter()), f64::INFINITY);
        assert!(
            log_sum_exp([f64::NAN].into_iter()).is_nan() && log_sum_exp([1.0, f64::NAN].into_iter()).is_nan()
        );
        // 2^53 + 1 - 2^53: a plain sum loses the 1.
        assert_eq!(total([9_007_199_254_740_992.0, 1.0, -9_007_199_254_740_992.0].into_iter()), 1.0);
    }
}
