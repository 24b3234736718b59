//! The instructions of AVX-512 (F and DQ) under the names of `random.rs`: registers of 512 bits.

use std::arch::x86_64::{
    __m512 as F32s, __m512d as F64s, __m512i as Ints, _mm512_add_epi32 as add_i32,
    _mm512_add_epi64 as add_i64, _mm512_add_pd as add_f64, _mm512_add_ps as add_f32, _mm512_and_si512 as and,
    _mm512_andnot_si512 as and_not, _mm512_castpd_si512 as bits_f64, _mm512_castps_si512 as bits_f32,
    _mm512_castsi512_pd as as_f64, _mm512_castsi512_ps as as_f32, _mm512_cvtepi32_ps as to_f32,
    _mm512_cvtepi64_pd, _mm512_div_pd as div_f64, _mm512_fmadd_ps as multiply_add, _mm512_loadu_pd,
    _mm512_loadu_ps, _mm512_max_pd as max_f64, _mm512_max_ps as max_f32, _mm512_mul_epu32 as mul_u32,
    _mm512_mul_pd as mul_f64, _mm512_mul_ps as mul_f32, _mm512_or_si512 as or, _mm512_permutex2var_epi32,
    _mm512_permutex2var_epi64, _mm512_set1_epi32 as splat_i32, _mm512_set1_epi64 as splat_i64,
    _mm512_set1_pd as splat_f64, _mm512_set1_ps as splat_f32, _mm512_setr_epi32, _mm512_setr_epi64,
    _mm512_slli_epi32 as shift_left_i32, _mm512_slli_epi64 as shift_left_i64, _mm512_sqrt_pd as sqrt_f64,
    _mm512_sqrt_ps as sqrt_f32, _mm512_srai_epi32 as shift_right_signed_i32, _mm512_srai_epi64,
    _mm512_srli_epi32 as shift_right_i32, _mm512_srli_epi64 as shift_right_i64, _mm512_storeu_pd,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_epi32 as sub_i32, _mm512_sub_epi64 as sub_i64,
    _mm512_sub_pd as sub_f64, _mm512_sub_ps as sub_f32, _mm512_xor_si512 as xor,
};

/// 32-bit lanes of a register.
const WIDTH: usize = 16;

/// Counters 0 to 15 in order.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn in_order() -> [Ints; 2] {
    [_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_setr_epi64(8, 9, 10, 11, 12, 13, 14, 15)]
}

/// As [`pack`] wants them: in order too.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn for_packing() -> [Ints; 2] {
    in_order()
}

/// The low halves of both, in the order of the counters.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn pack(first: Ints, second: Ints) -> Ints {
    let low_halves = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_permutex2var_epi32(first, low_halves, second)
}

/// `x0 y0 .. x3 y3`, `x4 y4 .. x7 y7`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn alternate(x: Ints, y: Ints) -> [Ints; 2] {
    let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    let high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    [_mm512_permutex2var_epi64(x, low, y), _mm512_permutex2var_epi64(x, high, y)]
}

/// The signed number in the upper twelve bits of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exponent_f64(bits: Ints) -> F64s {
    _mm512_cvtepi64_pd(_mm512_srai_epi64::<52>(bits))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn load_f32<const N: usize>(from: &[f32; N], at: usize) -> F32s {
    let place = &from[at..at + WIDTH];
    // SAFETY: the place holds the register's 16 numbers; the load needs no alignment.
    unsafe { _mm512_loadu_ps(place.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn load_f64<const N: usize>(from: &[f64; N], at: usize) -> F64s {
    let place = &from[at..at + HALF];
    // SAFETY: the place holds the register's 8 numbers; the load needs no alignment.
    unsafe { _mm512_loadu_pd(place.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn store_f32<const N: usize>(out: &mut [f32; N], at: usize, value: F32s) {
    let place = &mut out[at..at + WIDTH];
    // SAFETY: the place holds the register's 16 numbers; the store needs no alignment.
    unsafe { _mm512_storeu_ps(place.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn store_f64<const N: usize>(out: &mut [f64; N], at: usize, value: F64s) {
    let place = &mut out[at..at + HALF];
    // SAFETY: the place holds the register's 8 numbers; the store needs no alignment.
    unsafe { _mm512_storeu_pd(place.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn store_u64<const N: usize>(out: &mut [u64; N], at: usize, value: Ints) {
    let place = &mut out[at..at + HALF];
    // SAFETY: the place holds the register's 8 numbers; the store needs no alignment.
    unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), value) }
}

/// Registers of chains that `affine` sums at a time: with four outputs, half of the thirty-two registers.
const AFFINE_REGISTERS: usize = 4;

super::random::random_functions!("avx512f,avx512dq");
super::affine::affine_function!(target_feature(enable = "avx512f,avx512dq"));
