//! The exponential in arithmetic that vectorises: `2^n exp(r)`, `exp(r)` by Taylor's series on `|r| <= ln 2 / 2`.
//!
//! Source of the range reduction: Cody and Waite 1980, "Software Manual for the Elementary Functions".

/// `exp(x)` to two units in the last place; beyond -700 and 700 as there. NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn exp_f64(x: f64) -> f64 {
    /// `1.5 * 2^52`: added and taken away, it leaves the nearest whole number, which stands in the sum's last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// `ln 2` in two parts, the first with zeros at the end, so that its product with a whole number is exact.
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = x.clamp(-700.0, 700.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Taylor's series: with |r| below 0.347 the first term left out is below 5e-18.
    const TERMS: [f64; 13] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum * r + term;
    }
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (sum * r + 1.0) * power
}

/// `exp(x)` to a relative error of 3e-7, by the polynomial of Cephes (`expf`), held to the range where it and its
/// inverse are normal numbers; NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn exp_f32(x: f32) -> f32 {
    // Added and subtracted, this rounds to a whole number, which then stands in the sum's lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_exponential_is_good_to_its_last_places() {
        for i in -86_999..=86_999 {
            let x = i as f32 * 1e-3;
            let error = f64::from(exp_f32(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 2.4e-7, "{x}: {error}");
        }
        assert!(exp_f32(f32::NAN).is_nan() && exp_f32(-1e9) == exp_f32(-87.0));
    }

    #[test]
    fn the_exponential_is_good_to_two_last_places() {
        for i in -700_000..=700_000 {
            let x = f64::from(i) * 1e-3;
            let error = exp_f64(x) / x.exp() - 1.0;
            assert!(error.abs() < 4.5e-16, "{x}: {error}");
        }
        assert_eq!(
            (exp_f64(0.0), exp_f64(-1e9), exp_f64(f64::INFINITY)),
            (1.0, exp_f64(-700.0), exp_f64(700.0))
        );
        assert!(exp_f64(f64::NAN).is_nan());
    }
}
