//! Standard normals from random words by Box-Muller, in portable arithmetic that vectorises.
//!
//! `z = sqrt(-2 ln u) (cos a, sin a)`, `u` uniform on (0, 1], `a` uniform on the circle. The logarithm and the
//! sine and cosine are polynomials (Cephes for f32, FreeBSD's msun for f64) without fused multiply-adds, so the
//! numbers are the same bits on every CPU. Tails: |z| reaches 6.6 in f32 and 8.5 in f64.

use super::philox::{LANES, lanes};

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

#[inline(always)]
fn polar_f32(radius_bits: u32, angle_bits: u32) -> (f32, f32) {
    // 31 random bits as a signed integer convert in one instruction; half a unit keeps u above 0.
    let u = (radius_bits >> 1) as i32 as f32 * 2f32.powi(-31) + 2f32.powi(-32);
    let radius = (-2.0 * ln_f32(u)).max(0.0).sqrt();
    // Two bits choose the quadrant, thirty the angle within [-pi/4, pi/4).
    let a = (angle_bits << 2) as i32 as f32 * (std::f32::consts::FRAC_PI_4 * 2f32.powi(-31));
    let z = a * a;
    let sin = a + a * z * (-1.666_665_5e-1 + z * (8.332_161e-3 + z * -1.951_529_6e-4));
    let cos = 1.0 - 0.5 * z + z * z * (4.166_664_6e-2 + z * (-1.388_731_6e-3 + z * 2.443_315_7e-5));
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
fn polar_f64(radius_bits: u64, angle_bits: u64) -> (f64, f64) {
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    let u = 2.0 - f64::from_bits(radius_bits >> 12 | ONE);
    let radius = (-2.0 * ln_f64(u)).max(0.0).sqrt();
    let a = (f64::from_bits(angle_bits >> 12 | ONE) - 1.5) * std::f64::consts::FRAC_PI_2;
    let z = a * a;
    let sin_tail = -1.984_126_982_985_795e-4
        + z * (2.755_731_370_707_007e-6 + z * (-2.505_076_025_340_686_3e-8 + z * 1.589_690_995_211_55e-10));
    let sin = a + a * z * (-1.666_666_666_666_663_2e-1 + z * (8.333_333_333_322_49e-3 + z * sin_tail));
    let cos_tail = 2.480_158_728_947_673e-5
        + z * (-2.755_731_435_139_066_3e-7
            + z * (2.087_572_321_298_175e-9 + z * -1.135_964_755_778_819_5e-11));
    let cos =
        1.0 - 0.5 * z + z * z * (4.166_666_666_666_66e-2 + z * (-1.388_888_888_887_411e-3 + z * cos_tail));
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
fn ln_f32(x: f32) -> f32 {
    // x = 2^e m with m in [sqrt(1/2), sqrt(2)): subtract the bits of sqrt(1/2) to split there.
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
    let e = ((bits as i32) >> 23) as f32;
    let f = f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let z = f * f;
    let p = 7.037_683_6e-2 * f - 1.151_461e-1;
    let p = p * f + 1.167_699_9e-1;
    let p = p * f - 1.242_014_1e-1;
    let p = p * f + 1.424_932_3e-1;
    let p = p * f - 1.666_805_8e-1;
    let p = p * f + 2.000_071_4e-1;
    let p = p * f - 2.499_999_4e-1;
    let p = p * f + 3.333_333e-1;
    let y = f * z * p - 2.121_944_4e-4 * e - 0.5 * z;
    f + y + 0.693_359_4 * e
}

/// Natural logarithm of a positive normal number, within 2 units in the last place.
#[inline(always)]
fn ln_f64(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF);
    let e = f64::from(((bits as i64) >> 52) as i32);
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + SQRT_HALF) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = 1.818_357_216_161_805e-1 + z * (1.531_383_769_920_937_3e-1 + z * 1.479_819_860_511_658_6e-1);
    let r = 2.857_142_874_366_239e-1 + z * (2.222_219_843_214_978_4e-1 + z * r);
    let r = z * (6.666_666_666_666_735e-1 + z * (3.999_999_999_940_942e-1 + z * r));
    let half_square = 0.5 * f * f;
    let tail = s * (half_square + r) + e * 1.908_214_929_270_587_7e-10;
    e * 6.931_471_803_691_238e-1 - ((half_square - tail) - f)
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
