//! The instructions of AVX2 under the names of `random.rs`: registers of 256 bits.

use std::arch::x86_64::{
    __m256 as F32s, __m256d as F64s, __m256i as Ints, _mm256_add_epi32 as add_i32,
    _mm256_add_epi64 as add_i64, _mm256_add_pd as add_f64, _mm256_add_ps as add_f32, _mm256_and_si256 as and,
    _mm256_andnot_si256 as and_not, _mm256_blend_epi32, _mm256_castpd_si256 as bits_f64,
    _mm256_castps_si256 as bits_f32, _mm256_castsi256_pd as as_f64, _mm256_castsi256_ps as as_f32,
    _mm256_castsi256_si128, _mm256_cvtepi32_pd, _mm256_cvtepi32_ps as to_f32, _mm256_div_pd as div_f64,
    _mm256_fmadd_ps, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_max_pd as max_f64, _mm256_max_ps as max_f32,
    _mm256_mul_epu32 as mul_u32, _mm256_mul_pd as mul_f64, _mm256_mul_ps as mul_f32, _mm256_or_si256 as or,
    _mm256_permute2x128_si256, _mm256_permutevar8x32_epi32, _mm256_set1_epi32 as splat_i32,
    _mm256_set1_epi64x as splat_i64, _mm256_set1_pd as splat_f64, _mm256_set1_ps as splat_f32,
    _mm256_setr_epi32, _mm256_setr_epi64x, _mm256_slli_epi32 as shift_left_i32,
    _mm256_slli_epi64 as shift_left_i64, _mm256_sqrt_pd as sqrt_f64, _mm256_sqrt_ps as sqrt_f32,
    _mm256_srai_epi32 as shift_right_signed_i32, _mm256_srli_epi32 as shift_right_i32,
    _mm256_srli_epi64 as shift_right_i64, _mm256_storeu_pd, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm256_sub_epi32 as sub_i32, _mm256_sub_epi64 as sub_i64, _mm256_sub_pd as sub_f64,
    _mm256_sub_ps as sub_f32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64, _mm256_xor_si256 as xor,
};

/// 32-bit lanes of a register.
const WIDTH: usize = 8;

/// Counters 0 to 7 in order.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order() -> [Ints; 2] {
    [_mm256_setr_epi64x(0, 1, 2, 3), _mm256_setr_epi64x(4, 5, 6, 7)]
}

/// The even and the odd counters, as [`pack`] wants them.
#[inline]
#[target_feature(enable = "avx2")]
fn for_packing() -> [Ints; 2] {
    [_mm256_setr_epi64x(0, 2, 4, 6), _mm256_setr_epi64x(1, 3, 5, 7)]
}

/// The low halves of both, in the order of the counters.
#[inline]
#[target_feature(enable = "avx2")]
fn pack(even: Ints, odd: Ints) -> Ints {
    _mm256_blend_epi32::<0b1010_1010>(even, shift_left_i64::<32>(odd))
}

/// `x0 y0 x1 y1`, `x2 y2 x3 y3`.
#[inline]
#[target_feature(enable = "avx2")]
fn alternate(x: Ints, y: Ints) -> [Ints; 2] {
    let (low, high) = (_mm256_unpacklo_epi64(x, y), _mm256_unpackhi_epi64(x, y));
    [_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high)]
}

/// The signed number in the upper twelve bits of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn exponent_f64(bits: Ints) -> F64s {
    let high = shift_right_signed_i32::<20>(bits);
    let packed = _mm256_permutevar8x32_epi32(high, _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7));
    _mm256_cvtepi32_pd(_mm256_castsi256_si128(packed))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32<const N: usize>(from: &[f32; N], at: usize) -> F32s {
    let place = &from[at..at + WIDTH];
    // SAFETY: the place holds the register's 8 numbers; the load needs no alignment.
    unsafe { _mm256_loadu_ps(place.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f64<const N: usize>(from: &[f64; N], at: usize) -> F64s {
    let place = &from[at..at + HALF];
    // SAFETY: the place holds the register's 4 numbers; the load needs no alignment.
    unsafe { _mm256_loadu_pd(place.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_f32<const N: usize>(out: &mut [f32; N], at: usize, value: F32s) {
    let place = &mut out[at..at + WIDTH];
    // SAFETY: the place holds the register's 8 numbers; the store needs no alignment.
    unsafe { _mm256_storeu_ps(place.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_f64<const N: usize>(out: &mut [f64; N], at: usize, value: F64s) {
    let place = &mut out[at..at + HALF];
    // SAFETY: the place holds the register's 4 numbers; the store needs no alignment.
    unsafe { _mm256_storeu_pd(place.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_u64<const N: usize>(out: &mut [u64; N], at: usize, value: Ints) {
    let place = &mut out[at..at + HALF];
    // SAFETY: the place holds the register's 4 numbers; the store needs no alignment.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), value) }
}

/// Registers of chains that `affine` sums at a time: with four outputs, half of the sixteen registers.
const AFFINE_REGISTERS: usize = 2;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn multiply_add(a: F32s, b: F32s, c: F32s) -> F32s {
    _mm256_fmadd_ps(a, b, c)
}

super::random::random_functions!("avx2");
super::affine::affine_function!(target_feature(enable = "avx2,fma"));
