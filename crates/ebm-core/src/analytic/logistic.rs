//! The logistic function and its integral in arithmetic that vectorises, to a few units in the last place of f64.
//!
//! With `e = exp(-|t|)`: `ln(1 + e^t) = max(t, 0) + ln(1 + e)`, and the slope is `1 / (1 + e)` or `e / (1 + e)`. The logarithm
//! is `2 artanh(e / (2 + e))`, whose series has an argument of at most 1/3.

use crate::simd::exp_f64;

/// Of `artanh(s) / s` in `s^2`, the highest power first: `1 / (2 k + 1)`.
const ARTANH: [f64; 17] = {
    let mut coefficients = [1.0; 17];
    let mut k = 1;
    while k < 17 {
        coefficients[16 - k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    coefficients
};

/// `1 / (1 + e^t)`, without overflow at either end.
#[inline(always)]
pub(super) fn sigmoid_of_minus(t: f64) -> f64 {
    softplus_and_sigmoid(-t).1
}

/// `ln(1 + e^t)` and its slope `1 / (1 + e^-t)`.
#[inline(always)]
pub(super) fn softplus_and_sigmoid(t: f64) -> (f64, f64) {
    let e = exp_f64(-t.abs());
    let numerator = if t < 0.0 { e } else { 1.0 };
    let positive_part = if t < 0.0 { 0.0 } else { t };
    (positive_part + ln_of_one_plus(e), numerator / (1.0 + e))
}

/// `ln(1 + e)` for `0 <= e <= 1`.
#[inline(always)]
fn ln_of_one_plus(e: f64) -> f64 {
    let s = e / (2.0 + e);
    let square = s * s;
    let mut sum = 0.0;
    for coefficient in ARTANH {
        sum = sum * square + coefficient;
    }
    2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_library() {
        for i in -8000..=8000 {
            let t = i as f64 * 0.0937;
            let (softplus, sigmoid) = softplus_and_sigmoid(t);
            let e = (-t.abs()).max(-700.0).exp();
            let expected = (t.max(0.0) + e.ln_1p(), if t < 0.0 { e } else { 1.0 } / (1.0 + e));
            let close = |found: f64, exact: f64| (found - exact).abs() <= 4.0 * f64::EPSILON * exact;
            assert!(close(softplus, expected.0), "{t} {softplus} {}", expected.0);
            assert!(close(sigmoid, expected.1), "{t} {sigmoid} {}", expected.1);
            assert_eq!(sigmoid_of_minus(-t), sigmoid);
        }
    }

    #[test]
    fn far_ends_and_nan() {
        assert_eq!(softplus_and_sigmoid(f64::INFINITY), (f64::INFINITY, 1.0));
        let (softplus, sigmoid) = softplus_and_sigmoid(f64::NEG_INFINITY);
        assert!(softplus < 1e-300 && sigmoid < 1e-300);
        let (softplus, sigmoid) = softplus_and_sigmoid(f64::NAN);
        assert!(softplus.is_nan() && sigmoid.is_nan());
    }
}
