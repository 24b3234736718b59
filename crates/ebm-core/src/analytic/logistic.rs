//! The logistic function and its integral in arithmetic that vectorises, to a few units in the last place of f64.
//!
//! With `e = exp(-|t|)`: `ln(1 + e^t) = max(t, 0) + ln(1 + e)`, and the slope is `1 / (1 + e)` or `e / (1 + e)`. The exponential
//! is `2^n exp(r)` with Taylor's series of `exp(r)`, `|r| <= ln 2 / 2`; the logarithm is `2 artanh(e / (2 + e))`, whose series
//! has an argument of at most 1/3.

use std::f64::consts::LOG2_E;

/// Of `exp(r)`, the highest power first: `1 / k!`.
const EXPONENTIAL: [f64; 15] = {
    let mut coefficients = [1.0; 15];
    let mut k = 1;
    while k < 15 {
        coefficients[14 - k] = coefficients[15 - k] / k as f64;
        k += 1;
    }
    coefficients
};

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
    let e = exp_of_minus(t.abs());
    let numerator = if t < 0.0 { e } else { 1.0 };
    let positive_part = if t < 0.0 { 0.0 } else { t };
    (positive_part + ln_of_one_plus(e), numerator / (1.0 + e))
}

/// `e^-a` for `a >= 0`; below the smallest normal number it is as at 708. NaN stays NaN.
#[inline(always)]
fn exp_of_minus(a: f64) -> f64 {
    // Added and subtracted, this rounds to a whole number, which then stands in the sum's lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // ln 2 in two parts, so that the product of the first with n is exact.
    const LN_2: [f64; 2] = [0.693_145_751_953_125, 1.428_606_820_309_417_2e-6];
    let x = if a > 708.0 { -708.0 } else { -a };
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let mut sum = 0.0;
    for coefficient in EXPONENTIAL {
        sum = sum * r + coefficient;
    }
    sum * f64::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023)) << 52)
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
            let e = (-t.abs()).exp().max(f64::MIN_POSITIVE);
            let expected = (t.max(0.0) + e.ln_1p(), if t < 0.0 { e } else { 1.0 } / (1.0 + e));
            let close = |found: f64, exact: f64| {
                (found - exact).abs() <= 4.0 * f64::EPSILON * exact || exact < 1e-300
            };
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
