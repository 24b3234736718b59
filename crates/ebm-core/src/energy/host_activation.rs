//! The non-linearities of [`super::HostMlp`] and their slopes, in arithmetic that vectorises.
//!
//! The exponential and the hyperbolic tangent are the polynomials of Cephes (`expf`, `tanhf`), accurate to about two
//! units in the last place.

use serde::{Deserialize, Serialize};

use crate::random::ln_f32;

/// The non-linearity between the layers of a [`super::HostMlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostActivation {
    /// `z sigmoid(z)`: smooth, the usual choice for energies.
    Silu,
    /// `tanh(z)`.
    Tanh,
    /// `max(z, 0)`; its slope at 0 is taken as 0.
    Relu,
    /// `ln(1 + e^z)`.
    Softplus,
}

impl HostActivation {
    /// Replace each `z` by `f(z)` and write `f'(z)` into `slopes`.
    #[inline(always)]
    pub(super) fn apply(self, z: &mut [f32], slopes: &mut [f32]) {
        match self {
            Self::Silu => each(z, slopes, |z| {
                let e = exp(-z);
                let s = 1.0 / (1.0 + e);
                // `e s` is `1 - s` without the cancellation.
                (z * s, s * (1.0 + z * (e * s)))
            }),
            Self::Tanh => each(z, slopes, |z| {
                let t = tanh(z);
                (t, 1.0 - t * t)
            }),
            Self::Relu => each(z, slopes, |z| (positive_part(z), if z > 0.0 { 1.0 } else { 0.0 })),
            Self::Softplus => {
                each(z, slopes, |z| (positive_part(z) + ln_f32(1.0 + exp(-z.abs())), 1.0 / (1.0 + exp(-z))))
            }
        }
    }
}

#[inline(always)]
fn each(z: &mut [f32], slopes: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for (z, slope) in z.iter_mut().zip(slopes) {
        (*z, *slope) = f(*z);
    }
}

/// `max(z, 0)`; NaN stays NaN.
#[inline(always)]
fn positive_part(z: f32) -> f32 {
    if z < 0.0 { 0.0 } else { z }
}

/// `e^x`, held to the range where it and its inverse are normal numbers; NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
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

#[inline(always)]
fn tanh(z: f32) -> f32 {
    let square = z * z;
    let p = -5.704_988_7e-3 * square + 2.063_908_8e-2;
    let p = p * square - 5.373_971_6e-2;
    let p = p * square + 1.333_144_2e-1;
    let p = p * square - 3.333_328e-1;
    let small = p * square * z + z;
    let large = 1.0 - 2.0 / (exp(2.0 * z.abs()) + 1.0);
    if z.abs() < 0.625 { small } else { large.copysign(z) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_slopes_are_those_of_the_library() {
        let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());
        for i in -4000..=4000 {
            let z = i as f32 * 0.01;
            let x = f64::from(z);
            let s = logistic(x);
            let expected = [
                (HostActivation::Silu, x * s, s * (1.0 + x * (1.0 - s))),
                (HostActivation::Tanh, x.tanh(), 1.0 - x.tanh().powi(2)),
                (HostActivation::Relu, x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
                (HostActivation::Softplus, x.max(0.0) + (-x.abs()).exp().ln_1p(), s),
            ];
            for (activation, value, slope) in expected {
                let (mut a, mut d) = ([z], [0.0]);
                activation.apply(&mut a, &mut d);
                assert!((f64::from(a[0]) - value).abs() < 4e-7 * value.abs().max(1.0), "{activation:?} {z}");
                assert!((f64::from(d[0]) - slope).abs() < 6e-7, "{activation:?}' {z}: {} {slope}", d[0]);
            }
            assert!((f64::from(exp(z)) / x.exp() - 1.0).abs() < 3e-7, "{z}");
            assert!((f64::from(tanh(0.001 * z)) / (0.001 * x).tanh() - 1.0).abs() < 3e-7 || i == 0, "{z}");
        }
    }

    #[test]
    fn nan_is_never_hidden_and_large_numbers_do_not_overflow() {
        use HostActivation::{Relu, Silu, Softplus, Tanh};
        for activation in [Silu, Tanh, Relu, Softplus] {
            let (mut a, mut d) = ([f32::NAN, 1e30, -1e30], [0.0; 3]);
            activation.apply(&mut a, &mut d);
            assert!(a[0].is_nan() && !a[1].is_nan() && a[2].abs() < 2.0, "{activation:?} {a:?}");
        }
    }
}
