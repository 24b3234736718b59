//! The constants of Box-Muller: polynomials for sine, cosine and logarithm (Cephes for f32, FreeBSD's msun for f64),
//! lowest power first. Shared by the portable code and by the vector code.

/// The f32 bits of `sqrt(1/2)`.
pub(crate) const SQRT_HALF_F32: u32 = 0x3f35_04f3;
/// The f64 bits of `sqrt(1/2)`.
pub(crate) const SQRT_HALF_F64: u64 = 0x3fe6_a09e_667f_3bcd;
/// The f64 bits of 1.
pub(crate) const ONE_F64: u64 = 0x3ff0_0000_0000_0000;
/// `2^-31`.
pub(crate) const UNIT_31: f32 = 1.0 / (1u64 << 31) as f32;
/// `2^-32`.
pub(crate) const HALF_UNIT_31: f32 = 0.5 * UNIT_31;
/// A signed 32-bit number to an angle in `[-pi/4, pi/4)`.
pub(crate) const ANGLE_F32: f32 = std::f32::consts::FRAC_PI_4 * UNIT_31;

/// `(sin(a) - a) / a^3` in `a^2`, `|a| <= pi/4`.
pub(crate) const SIN_F32: [f32; 3] = [-1.666_665_5e-1, 8.332_161e-3, -1.951_529_6e-4];
/// `(cos(a) - 1 + a^2 / 2) / a^4` in `a^2`.
pub(crate) const COS_F32: [f32; 3] = [4.166_664_6e-2, -1.388_731_6e-3, 2.443_315_7e-5];
/// `(ln(1 + f) - f + f^2 / 2) / f^3` in `f`, `1 + f` in `[sqrt(1/2), sqrt(2))`.
pub(crate) const LN_F32: [f32; 9] = [
    3.333_333e-1,
    -2.499_999_4e-1,
    2.000_071_4e-1,
    -1.666_805_8e-1,
    1.424_932_3e-1,
    -1.242_014_1e-1,
    1.167_699_9e-1,
    -1.151_461e-1,
    7.037_683_6e-2,
];
/// `ln 2` in two parts: the high one (in few bits) plus the low one, which is negative here and subtracted.
pub(crate) const LN_2_HIGH_F32: f32 = 0.693_359_4;
/// See [`LN_2_HIGH_F32`].
pub(crate) const LN_2_LOW_F32: f32 = 2.121_944_4e-4;

/// As [`SIN_F32`].
pub(crate) const SIN_F64: [f64; 6] = [
    -1.666_666_666_666_663_2e-1,
    8.333_333_333_322_49e-3,
    -1.984_126_982_985_795e-4,
    2.755_731_370_707_007e-6,
    -2.505_076_025_340_686_3e-8,
    1.589_690_995_211_55e-10,
];
/// As [`COS_F32`].
pub(crate) const COS_F64: [f64; 6] = [
    4.166_666_666_666_66e-2,
    -1.388_888_888_887_411e-3,
    2.480_158_728_947_673e-5,
    -2.755_731_435_139_066_3e-7,
    2.087_572_321_298_175e-9,
    -1.135_964_755_778_819_5e-11,
];
/// `(ln(1 + f) - 2 s) / (s z)` in `z = s^2`, `s = f / (2 + f)`.
pub(crate) const LN_F64: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];
/// `ln 2`, all but its last bits.
pub(crate) const LN_2_HIGH_F64: f64 = 6.931_471_803_691_238e-1;
/// The rest of `ln 2`.
pub(crate) const LN_2_LOW_F64: f64 = 1.908_214_929_270_587_7e-10;
