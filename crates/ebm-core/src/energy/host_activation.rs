//! The non-linearities of [`super::HostMlp`] and their slopes, in arithmetic that vectorises.
//!
//! The hyperbolic tangent is the polynomial of Cephes (`tanhf`), accurate to about two
//! units in the last place.

use serde::{Deserialize, Serialize};

use crate::random::ln_f32;
use crate::simd::exp_f32 as exp;

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
