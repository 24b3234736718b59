//! Philox and Box-Muller on registers, written once for every x86-64 level.
//!
//! Philox's words are kept one to a 64-bit lane, in its low half. The multiply (32 x 32 -> 64 bits) then takes a word
//! where it lies and leaves the product's low half where the next round wants it; what collects in the high halves
//! is never read (and is not zero on purpose: where the compiler sees zeros there, it takes a slower multiply). A round costs six instructions for a register of counters. The normals are the operations of
//! `random/normal.rs` in the same order.

/// Define `words`, `normals_f32` and `normals_f64` in a module that brings the level's instructions under the names
/// used here. `WIDTH` is the number of 32-bit lanes.
macro_rules! random_functions {
    ($features:literal) => {
        use crate::random::coefficients as c;
        use crate::random::philox::{LANES, MULTIPLIER, WEYL};
        use crate::random::{CHUNK_F32, CHUNK_F64, CHUNK_WORDS};
        use crate::simd::Position;

        /// Counters in one 64-bit-lane register.
        const HALF: usize = WIDTH / 2;

        /// Chunks whose words are all made before the first becomes normals (in place: a normal lies where the word
        /// lay that it replaces). Each of the two loops alone keeps the processor busier than both in one: their
        /// steps wait for each other over hundreds of instructions.
        const GROUP: usize = 4;

        /// Philox of `WIDTH` counters: those of `lanes[0]` in the first registers, of `lanes[1]` in the second.
        #[inline]
        #[target_feature(enable = $features)]
        fn philox(at: [u32; 4], key: [u32; 2], lanes: [Ints; 2]) -> [[Ints; 2]; 4] {
            let [first, c1, c2, c3] = at.map(|word| splat_i32(word as i32));
            let mut c = [[or(first, lanes[0]), or(first, lanes[1])], [c1; 2], [c2; 2], [c3; 2]];
            let m = MULTIPLIER.map(|m| splat_i32(m as i32));
            let weyl = WEYL.map(|w| splat_i32(w as i32));
            let mut k = key.map(|word| splat_i32(word as i32));
            for round in 0..10 {
                if round > 0 {
                    k = [add_i32(k[0], weyl[0]), add_i32(k[1], weyl[1])];
                }
                for i in 0..2 {
                    let (p0, p1) = (mul_u32(m[0], c[0][i]), mul_u32(m[1], c[2][i]));
                    let high = [xor(c[1][i], k[0]), xor(c[3][i], k[1])];
                    c[0][i] = xor(shift_right_i64::<32>(p1), high[0]);
                    c[1][i] = p1;
                    c[2][i] = xor(shift_right_i64::<32>(p0), high[1]);
                    c[3][i] = p0;
                }
            }
            c
        }

        /// Words `w` and `w + 1` of each counter as one 64-bit number.
        #[inline]
        #[target_feature(enable = $features)]
        fn joined(high: Ints, low: Ints) -> Ints {
            or(shift_left_i64::<32>(high), and(low, splat_i64(0xffff_ffff)))
        }

        #[target_feature(enable = $features)]
        pub(super) fn words(at: Position, out: &mut [[u64; CHUNK_WORDS]]) {
            for (i, out) in out.iter_mut().enumerate() {
                for part in 0..LANES / WIDTH {
                    let w = philox(at.part(i, part * WIDTH), at.key, in_order());
                    for half in 0..2 {
                        let (x, y) = (joined(w[0][half], w[1][half]), joined(w[2][half], w[3][half]));
                        let place = 2 * (part * WIDTH + half * HALF);
                        let [first, second] = alternate(x, y);
                        store_u64(out, place, first);
                        store_u64(out, place + HALF, second);
                    }
                }
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn normals_f32(at: Position, out: &mut [[f32; CHUNK_F32]]) {
            for (group, out) in out.chunks_mut(GROUP).enumerate() {
                for (i, out) in out.iter_mut().enumerate() {
                    for part in 0..LANES / WIDTH {
                        let at_part = at.part(group * GROUP + i, part * WIDTH);
                        for (w, [a, b]) in philox(at_part, at.key, for_packing()).into_iter().enumerate() {
                            store_f32(out, w * LANES + part * WIDTH, as_f32(pack(a, b)));
                        }
                    }
                }
                for out in out {
                    for place in (0..2 * LANES).step_by(WIDTH) {
                        // Words 0 and 2 are radii, words 1 and 3 their angles.
                        let radius = if place < LANES { place } else { LANES + place };
                        let angle = radius + LANES;
                        let (cos, sin) =
                            polar_f32(bits_f32(load_f32(out, radius)), bits_f32(load_f32(out, angle)));
                        store_f32(out, radius, cos);
                        store_f32(out, angle, sin);
                    }
                }
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn normals_f64(at: Position, out: &mut [[f64; CHUNK_F64]]) {
            for (group, out) in out.chunks_mut(GROUP).enumerate() {
                for (i, out) in out.iter_mut().enumerate() {
                    for part in 0..LANES / WIDTH {
                        let w = philox(at.part(group * GROUP + i, part * WIDTH), at.key, in_order());
                        for half in 0..2 {
                            let place = part * WIDTH + half * HALF;
                            store_f64(out, place, as_f64(joined(w[0][half], w[1][half])));
                            store_f64(out, LANES + place, as_f64(joined(w[2][half], w[3][half])));
                        }
                    }
                }
                for out in out {
                    for radius in (0..LANES).step_by(HALF) {
                        let angle = radius + LANES;
                        let (cos, sin) =
                            polar_f64(bits_f64(load_f64(out, radius)), bits_f64(load_f64(out, angle)));
                        store_f64(out, radius, cos);
                        store_f64(out, angle, sin);
                    }
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn horner_f32<const N: usize>(x: F32s, coefficients: [f32; N]) -> F32s {
            let mut sum = splat_f32(coefficients[N - 1]);
            for i in (0..N - 1).rev() {
                sum = add_f32(splat_f32(coefficients[i]), mul_f32(x, sum));
            }
            sum
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn horner_f64<const N: usize>(x: F64s, coefficients: [f64; N]) -> F64s {
            let mut sum = splat_f64(coefficients[N - 1]);
            for i in (0..N - 1).rev() {
                sum = add_f64(splat_f64(coefficients[i]), mul_f64(x, sum));
            }
            sum
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn polar_f32(radius_bits: Ints, angle_bits: Ints) -> (F32s, F32s) {
            let u = mul_f32(to_f32(shift_right_i32::<1>(radius_bits)), splat_f32(c::UNIT_31));
            let u = add_f32(u, splat_f32(c::HALF_UNIT_31));
            let square = mul_f32(splat_f32(-2.0), ln_f32(u));
            // The second operand where the first is not above it: +0 for -0, as in the portable code.
            let radius = sqrt_f32(max_f32(square, splat_f32(0.0)));
            let a = mul_f32(to_f32(shift_left_i32::<2>(angle_bits)), splat_f32(c::ANGLE_F32));
            let z = mul_f32(a, a);
            let sin = add_f32(a, mul_f32(mul_f32(a, z), horner_f32(z, c::SIN_F32)));
            let cos = sub_f32(splat_f32(1.0), mul_f32(splat_f32(0.5), z));
            let cos = add_f32(cos, mul_f32(mul_f32(z, z), horner_f32(z, c::COS_F32)));

            let swap = shift_right_signed_i32::<31>(angle_bits);
            let sign_bit = splat_i32(i32::MIN);
            let sign = and(shift_left_i32::<1>(angle_bits), sign_bit);
            let (cos, sin) = (bits_f32(cos), bits_f32(sin));
            let x = or(and_not(swap, cos), and(swap, sin));
            let y = or(and_not(swap, sin), and(swap, cos));
            let x = xor(xor(x, sign), and(swap, sign_bit));
            (mul_f32(radius, as_f32(x)), mul_f32(radius, as_f32(xor(y, sign))))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn polar_f64(radius_bits: Ints, angle_bits: Ints) -> (F64s, F64s) {
            let one = splat_i64(c::ONE_F64 as i64);
            let u = sub_f64(splat_f64(2.0), as_f64(or(shift_right_i64::<12>(radius_bits), one)));
            let square = mul_f64(splat_f64(-2.0), ln_f64(u));
            let radius = sqrt_f64(max_f64(square, splat_f64(0.0)));
            let a = sub_f64(as_f64(or(shift_right_i64::<12>(angle_bits), one)), splat_f64(1.5));
            let a = mul_f64(a, splat_f64(std::f64::consts::FRAC_PI_2));
            let z = mul_f64(a, a);
            let sin = add_f64(a, mul_f64(mul_f64(a, z), horner_f64(z, c::SIN_F64)));
            let cos = sub_f64(splat_f64(1.0), mul_f64(splat_f64(0.5), z));
            let cos = add_f64(cos, mul_f64(mul_f64(z, z), horner_f64(z, c::COS_F64)));

            let swap = sub_i64(splat_i64(0), and(angle_bits, splat_i64(1)));
            let sign_bit = splat_i64(i64::MIN);
            let sign = and(shift_left_i64::<62>(angle_bits), sign_bit);
            let (cos, sin) = (bits_f64(cos), bits_f64(sin));
            let x = or(and_not(swap, cos), and(swap, sin));
            let y = or(and_not(swap, sin), and(swap, cos));
            let x = xor(xor(x, sign), and(swap, sign_bit));
            (mul_f64(radius, as_f64(x)), mul_f64(radius, as_f64(xor(y, sign))))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn ln_f32(x: F32s) -> F32s {
            let root = splat_i32(c::SQRT_HALF_F32 as i32);
            let bits = sub_i32(bits_f32(x), root);
            let e = to_f32(shift_right_signed_i32::<23>(bits));
            let m = add_i32(and(bits, splat_i32(0x007f_ffff)), root);
            let f = sub_f32(as_f32(m), splat_f32(1.0));
            let z = mul_f32(f, f);
            let y = mul_f32(mul_f32(f, z), horner_f32(f, c::LN_F32));
            let y = sub_f32(y, mul_f32(splat_f32(c::LN_2_LOW_F32), e));
            let y = sub_f32(y, mul_f32(splat_f32(0.5), z));
            add_f32(add_f32(f, y), mul_f32(splat_f32(c::LN_2_HIGH_F32), e))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn ln_f64(x: F64s) -> F64s {
            let root = splat_i64(c::SQRT_HALF_F64 as i64);
            let bits = sub_i64(bits_f64(x), root);
            let e = exponent_f64(bits);
            let m = add_i64(and(bits, splat_i64(0x000f_ffff_ffff_ffff)), root);
            let f = sub_f64(as_f64(m), splat_f64(1.0));
            let s = div_f64(f, add_f64(splat_f64(2.0), f));
            let z = mul_f64(s, s);
            let r = mul_f64(z, horner_f64(z, c::LN_F64));
            let half_square = mul_f64(mul_f64(splat_f64(0.5), f), f);
            let tail = mul_f64(s, add_f64(half_square, r));
            let tail = add_f64(tail, mul_f64(e, splat_f64(c::LN_2_LOW_F64)));
            let rest = sub_f64(sub_f64(half_square, tail), f);
            sub_f64(mul_f64(e, splat_f64(c::LN_2_HIGH_F64)), rest)
        }

        /// [`polar_f32`] and [`polar_f64`] of given bits, for the test of extreme words.
        #[cfg(test)]
        #[target_feature(enable = $features)]
        pub(super) fn polars(words: [u32; 4]) -> ([f32; 2], [f64; 2]) {
            let mut out = ([0.0; 2 * CHUNK_F32], [0.0; 2 * CHUNK_F64]);
            let w = words.map(|w| splat_i32(w as i32));
            let (x, y) = polar_f32(w[0], w[1]);
            store_f32(&mut out.0, 0, x);
            store_f32(&mut out.0, CHUNK_F32, y);
            let [radius, angle] = [[0, 1], [2, 3]].map(|[high, low]| joined(w[high], w[low]));
            let (x, y) = polar_f64(radius, angle);
            store_f64(&mut out.1, 0, x);
            store_f64(&mut out.1, CHUNK_F64, y);
            ([out.0[0], out.0[CHUNK_F32]], [out.1[0], out.1[CHUNK_F64]])
        }
    };
}

pub(super) use random_functions;
