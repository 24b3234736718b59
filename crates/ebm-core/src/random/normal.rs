//! Standard normals from random words by Box-Muller, in portable arithmetic that vectorises.
//!
//! `z = sqrt(-2 ln u) (cos a, sin a)`, `u` uniform on (0, 1], `a` uniform on the circle. The logarithm and the
//! sine and cosine are polynomials (Cephes for f32, FreeBSD's msun for f64) without fused multiply-adds, so the
//! numbers are the same bits on every CPU. Tails: |z| reaches 6.6 in f32 and 8.5 in f64. `simd/random.rs` does
//! the same operations in the same order on wider registers: change both or neither.

use super::coefficients as c;
use super::philox::{LANES, lanes};
use crate::Real;

/// Normals made at a time: `LANES` counters give four f32 normals or two f64 normals each.
pub(crate) const CHUNK_F32: usize = 4 * LANES;
/// See [`CHUNK_F32`].
pub(crate) const CHUNK_F64: usize = 2 * LANES;

/// Fill `out` with the f32 normals of `LANES` counters from `counter` on.
#[inline]
pub(crate) fn normals_f32(counter: [u32; 4], key: [u32; 2], out: &mut [f32; CHUNK_F32]) {
    let words = lanes(counter, key);
    for pair in 0..2 {
        for lane in 0..LANES {
            let (cos, sin) = polar_f32(words[2 * pair][lane], words[2 * pair + 1][lane]);
            out[2 * pair * LANES + lane] = cos;
            out[(2 * pair + 1) * LANES + lane] = sin;
        }
    }
}

/// Fill `out` with the f64 normals of `LANES` counters from `counter` on.
#[inline]
pub(crate) fn normals_f64(counter: [u32; 4], key: [u32; 2], out: &mut [f64; CHUNK_F64]) {
    let words = lanes(counter, key);
    for lane in 0..LANES {
        let radius_bits = u64::from(words[0][lane]) << 32 | u64::from(words[1][lane]);
        let angle_bits = u64::from(words[2][lane]) << 32 | u64::from(words[3][lane]);
        let (cos, sin) = polar_f64(radius_bits, angle_bits);
        out[lane] = cos;
        out[LANES + lane] = sin;
    }
}

/// `c[0] + x (c[1] + x (c[2] + ...))`.
#[inline(always)]
fn horner<T: Real, const N: usize>(x: T, coefficients: [T; N]) -> T {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = coefficients[i] + x * sum;
    }
    sum
}

/// `sqrt(x)`, and +0 where x is not above 0.
#[inline(always)]
fn root<T: Real>(x: T, sqrt: impl Fn(T) -> T) -> T {
    sqrt(if x > T::default() { x } else { T::default() })
}

#[inline(always)]
pub(crate) fn polar_f32(radius_bits: u32, angle_bits: u32) -> (f32, f32) {
    // 31 random bits as a signed integer convert in one instruction; half a unit keeps u above 0.
    let u = (radius_bits >> 1) as i32 as f32 * c::UNIT_31 + c::HALF_UNIT_31;
    let radius = root(-2.0 * ln_f32(u), f32::sqrt);
    // Two bits choose the quadrant, thirty the angle within [-pi/4, pi/4).
    let a = (angle_bits << 2) as i32 as f32 * c::ANGLE_F32;
    let z = a * a;
    let sin = a + a * z * horner(z, c::SIN_F32);
    let cos = 1.0 - 0.5 * z + z * z * horner(z, c::COS_F32);
    let (cos, sin) = rotate_f32(angle_bits, cos, sin);
    (radius * cos, radius * sin)
}

/// Rotate by a quarter turn for bit 31 and by a half turn for bit 30, without a branch.
#[inline(always)]
fn rotate_f32(bits: u32, cos: f32, sin: f32) -> (f32, f32) {
    let swap = ((bits as i32) >> 31) as u32;
    let sign = (bits << 1) & 0x8000_0000;
    let (c, s) = (cos.to_bits(), sin.to_bits());
    let x = (c & !swap) | (s & swap);
    let y = (s & !swap) | (c & swap);
    // A quarter turn is (c, s) -> (-s, c).
    (f32::from_bits(x ^ sign ^ (swap & 0x8000_0000)), f32::from_bits(y ^ sign))
}

#[inline(always)]
pub(crate) fn polar_f64(radius_bits: u64, angle_bits: u64) -> (f64, f64) {
    let u = 2.0 - f64::from_bits(radius_bits >> 12 | c::ONE_F64);
    let radius = root(-2.0 * ln_f64(u), f64::sqrt);
    let a = (f64::from_bits(angle_bits >> 12 | c::ONE_F64) - 1.5) * std::f64::consts::FRAC_PI_2;
    let z = a * a;
    let sin = a + a * z * horner(z, c::SIN_F64);
    let cos = 1.0 - 0.5 * z + z * z * horner(z, c::COS_F64);
    // The twelve lowest bits were not used for the angle: two of them choose the quadrant.
    let swap = ((angle_bits << 63) as i64 >> 63) as u64;
    let sign = (angle_bits << 62) & (1 << 63);
    let (c, s) = (cos.to_bits(), sin.to_bits());
    let x = (c & !swap) | (s & swap);
    let y = (s & !swap) | (c & swap);
    let cos = f64::from_bits(x ^ sign ^ (swap & (1 << 63)));
    (radius * cos, radius * f64::from_bits(y ^ sign))
}

/// Natural logarithm of a positive normal number, within 2 units in the last place.
#[inline(always)]
pub(crate) fn ln_f32(x: f32) -> f32 {
    // x = 2^e m with m in [sqrt(1/2), sqrt(2)): subtract the bits of sqrt(1/2) to split there.
    let bits = x.to_bits().wrapping_sub(c::SQRT_HALF_F32);
    let e = ((bits as i32) >> 23) as f32;
    let f = f32::from_bits((bits & 0x007f_ffff) + c::SQRT_HALF_F32) - 1.0;
    let z = f * f;
    let y = f * z * horner(f, c::LN_F32) - c::LN_2_LOW_F32 * e - 0.5 * z;
    f + y + c::LN_2_HIGH_F32 * e
}

/// Natural logarithm of a positive normal number, within 2 units in the last place.
#[inline(always)]
fn ln_f64(x: f64) -> f64 {
    let bits = x.to_bits().wrapping_sub(c::SQRT_HALF_F64);
    let e = f64::from(((bits as i64) >> 52) as i32);
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + c::SQRT_HALF_F64) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * horner(z, c::LN_F64);
    let half_square = 0.5 * f * f;
    let tail = s * (half_square + r) + e * c::LN_2_LOW_F64;
    e * c::LN_2_HIGH_F64 - ((half_square - tail) - f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::philox::philox4x32;

    #[test]
    fn logarithms_are_within_two_ulps() {
        for i in 1..200_000u32 {
            let x = (i as f32 * 5e-6).powi(3);
            let exact = f64::from(x).ln();
            assert!((f64::from(ln_f32(x)) - exact).abs() <= 2.4e-7 * exact.abs().max(0.5), "{x}");
            let x = f64::from(x);
            assert!((ln_f64(x) - x.ln()).abs() <= 4.5e-16 * x.ln().abs().max(0.5), "{x}");
        }
        assert_eq!((ln_f32(1.0), ln_f64(1.0)), (0.0, 0.0));
    }

    /// Each pair is the library's own `sqrt(-2 ln u) (cos, sin)` of the angle that its words stand for.
    #[test]
    fn pairs_are_box_muller() {
        let quarter = std::f64::consts::FRAC_PI_2;
        for i in 0..20_000 {
            let w = philox4x32([i, 0, 0, 0], [3, 4]);
            let (x, y) = polar_f32(w[0], w[1]);
            let u = (f64::from(w[0] >> 1) + 0.5) * 2f64.powi(-31);
            let within = f64::from((w[1] << 2) as i32) * 2f64.powi(-32);
            let angle = quarter * (f64::from(w[1] >> 31) + 2.0 * f64::from(w[1] >> 30 & 1) + within);
            let r = (-2.0 * u.ln()).sqrt();
            assert!((f64::from(x) - r * angle.cos()).abs() < 2e-6, "{x} {}", r * angle.cos());
            assert!((f64::from(y) - r * angle.sin()).abs() < 2e-6);

            let radius_bits = u64::from(w[0]) << 32 | u64::from(w[1]);
            let bits = u64::from(w[2]) << 32 | u64::from(w[3]);
            let (x, y) = polar_f64(radius_bits, bits);
            let u = 1.0 - (radius_bits >> 12) as f64 * 2f64.powi(-52);
            let within = (bits >> 12) as f64 * 2f64.powi(-52) - 0.5;
            let angle = quarter * ((bits & 1) as f64 + 2.0 * (bits >> 1 & 1) as f64 + within);
            let r = (-2.0 * u.ln()).sqrt();
            assert!((x - r * angle.cos()).abs() < 4e-15);
            assert!((y - r * angle.sin()).abs() < 4e-15);
        }
    }
}
