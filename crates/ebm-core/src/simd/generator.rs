//! The random-number functions of one level behind function pointers.

use super::level::{Level, level};
use crate::random::philox::{LANES, lanes};
use crate::random::{CHUNK_F32, CHUNK_F64, CHUNK_WORDS, normals_f32, normals_f64};

/// Where a run of chunks begins: Philox's counter as 64 bits of position, a multiple of `LANES`, below 64 bits of
/// stream; and its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub counter: u64,
    pub stream: [u32; 2],
    pub key: [u32; 2],
}

impl Position {
    /// Philox's four counter words, `chunk` chunks and `lane` counters later.
    #[inline(always)]
    pub(super) fn part(self, chunk: usize, lane: usize) -> [u32; 4] {
        let counter = self.counter + (chunk * LANES + lane) as u64;
        [counter as u32, (counter >> 32) as u32, self.stream[0], self.stream[1]]
    }
}

/// Fill chunks from a position on. Each chunk comes from `LANES` counters.
#[derive(Debug)]
pub(crate) struct Generator {
    /// Two 64-bit words from each counter, counter after counter.
    pub words: fn(Position, &mut [[u64; CHUNK_WORDS]]),
    /// As [`crate::random::normals_f32`].
    pub normals_f32: fn(Position, &mut [[f32; CHUNK_F32]]),
    /// As [`crate::random::normals_f64`].
    pub normals_f64: fn(Position, &mut [[f64; CHUNK_F64]]),
}

impl Generator {
    /// That of the process's level.
    pub fn get() -> &'static Self {
        Self::at(level())
    }

    /// That of this level, or of the machine's when that is lower.
    pub fn at(level: Level) -> &'static Self {
        match level.min(Level::of_machine()) {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => &AVX2,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &AVX512,
            _ => &PORTABLE,
        }
    }
}

static PORTABLE: Generator = Generator {
    words: |at, out| {
        for (i, out) in out.iter_mut().enumerate() {
            let w = lanes(at.part(i, 0), at.key);
            for lane in 0..LANES {
                out[2 * lane] = u64::from(w[0][lane]) << 32 | u64::from(w[1][lane]);
                out[2 * lane + 1] = u64::from(w[2][lane]) << 32 | u64::from(w[3][lane]);
            }
        }
    },
    normals_f32: |at, out| {
        for (i, out) in out.iter_mut().enumerate() {
            normals_f32(at.part(i, 0), at.key, out);
        }
    },
    normals_f64: |at, out| {
        for (i, out) in out.iter_mut().enumerate() {
            normals_f64(at.part(i, 0), at.key, out);
        }
    },
};

// SAFETY (each block below): `Generator::at` hands a table out only on a machine that has its level, hence every
// feature that the functions are compiled for.
#[cfg(target_arch = "x86_64")]
static AVX2: Generator = Generator {
    // SAFETY: see above.
    words: |at, out| unsafe { super::avx2::words(at, out) },
    // SAFETY: see above.
    normals_f32: |at, out| unsafe { super::avx2::normals_f32(at, out) },
    // SAFETY: see above.
    normals_f64: |at, out| unsafe { super::avx2::normals_f64(at, out) },
};

#[cfg(target_arch = "x86_64")]
static AVX512: Generator = Generator {
    // SAFETY: see above.
    words: |at, out| unsafe { super::avx512::words(at, out) },
    // SAFETY: see above.
    normals_f32: |at, out| unsafe { super::avx512::normals_f32(at, out) },
    // SAFETY: see above.
    normals_f64: |at, out| unsafe { super::avx512::normals_f64(at, out) },
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Every level against the portable one, bit by bit, across the carry into the second counter word, for keys and
    /// streams of all kinds and for runs of every length up to five chunks, and one of 2000.
    #[test]
    fn every_level_gives_the_same_bits() {
        let counters = [0, 16, 4096, (1 << 32) - 16, (1 << 32) - 48, 1 << 40, u64::MAX - 16 * 8 + 1];
        let portable = Generator::at(Level::Portable);
        for level in Level::available().skip(1) {
            let here = Generator::at(level);
            for (i, counter) in counters.into_iter().enumerate() {
                for (j, seed) in [0, u64::MAX, 0x1234_5678_9abc_def0].into_iter().enumerate() {
                    let words = |x: u64| [x as u32, (x >> 32) as u32];
                    let stream = words(seed.rotate_left(17) ^ i as u64);
                    let at = Position { counter, stream, key: words(seed) };
                    let n = if counter == 0 { 2000 } else { 1 + (i + j) % 5 };
                    let (mut a, mut b) = (vec![[0; CHUNK_WORDS]; n], vec![[1; CHUNK_WORDS]; n]);
                    (portable.words)(at, &mut a);
                    (here.words)(at, &mut b);
                    assert_eq!(a, b, "{level} {at:?}");
                    let (mut a, mut b) = (vec![[0.0; CHUNK_F32]; n], vec![[1.0; CHUNK_F32]; n]);
                    (portable.normals_f32)(at, &mut a);
                    (here.normals_f32)(at, &mut b);
                    assert_eq!(a.as_flattened().map_bits(), b.as_flattened().map_bits(), "{level} {at:?}");
                    let (mut a, mut b) = (vec![[0.0; CHUNK_F64]; n], vec![[1.0; CHUNK_F64]; n]);
                    (portable.normals_f64)(at, &mut a);
                    (here.normals_f64)(at, &mut b);
                    assert_eq!(a.as_flattened().map_bits(), b.as_flattened().map_bits(), "{level} {at:?}");
                }
            }
        }
    }

    /// Words at the ends of their ranges, where the logarithm is 0 or largest and the angle changes quadrant.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn extreme_words_give_the_same_bits() {
        use crate::random::{polar_f32, polar_f64};
        let words =
            [0, 1, 2, 3, 0x3fff_ffff, 1 << 30, i32::MAX as u32, 1 << 31, 3 << 30, u32::MAX - 1, u32::MAX];
        for i in 0..words.len().pow(4) {
            let w: [u32; 4] = std::array::from_fn(|k| words[i / words.len().pow(k as u32) % words.len()]);
            let joined = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
            let (narrow, wide) = (polar_f32(w[0], w[1]), polar_f64(joined(w[0], w[1]), joined(w[2], w[3])));
            let bits = |x: [f32; 2], y: [f64; 2]| (x.map(f32::to_bits), y.map(f64::to_bits));
            let expected = bits([narrow.0, narrow.1], [wide.0, wide.1]);
            for level in Level::available() {
                let (x, y) = match level {
                    Level::Portable => continue,
                    // SAFETY: the machine has this level.
                    Level::Avx2 => unsafe { crate::simd::avx2::polars(w) },
                    // SAFETY: the machine has this level.
                    Level::Avx512 => unsafe { crate::simd::avx512::polars(w) },
                };
                assert_eq!(bits(x, y), expected, "{level} {w:x?}");
            }
        }
    }

    /// `assert_eq` on floats would let -0 pass for 0.
    trait Bits {
        fn map_bits(&self) -> Vec<u64>;
    }
    impl Bits for [f32] {
        fn map_bits(&self) -> Vec<u64> {
            self.iter().map(|x| x.to_bits().into()).collect()
        }
    }
    impl Bits for [f64] {
        fn map_bits(&self) -> Vec<u64> {
            self.iter().map(|x| x.to_bits()).collect()
        }
    }
}
