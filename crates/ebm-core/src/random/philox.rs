//! Philox4x32-10: a random function from a 128-bit counter and a 64-bit key to 128 bits.
//!
//! Ten rounds of `(hi, lo) = M * c; c' = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0)` with the key bumped by the
//! Weyl constants between rounds. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3" (SC 2011). Being a function, it needs no state: the n-th number is computed from n.

pub(crate) const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// How many counters [`lanes`] evaluates side by side.
pub(crate) const LANES: usize = 16;

/// One evaluation: four random words for one counter.
#[inline]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut c = counter;
    let mut k = key;
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        let p0 = u64::from(MULTIPLIER[0]) * u64::from(c[0]);
        let p1 = u64::from(MULTIPLIER[1]) * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
    }
    c
}

/// [`philox4x32`] for `LANES` consecutive values of the first counter word (no carry: the caller's first word
/// is a multiple of `LANES`). Word `w` of counter `first + lane` is `out[w][lane]`.
#[inline]
pub(crate) fn lanes(counter: [u32; 4], key: [u32; 2]) -> [[u32; LANES]; 4] {
    let mut c = [[0; LANES], [counter[1]; LANES], [counter[2]; LANES], [counter[3]; LANES]];
    for lane in 0..LANES {
        c[0][lane] = counter[0] + lane as u32;
    }
    let mut k = key;
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        let mut next = [[0; LANES]; 4];
        for lane in 0..LANES {
            let p0 = u64::from(MULTIPLIER[0]) * u64::from(c[0][lane]);
            let p1 = u64::from(MULTIPLIER[1]) * u64::from(c[2][lane]);
            next[0][lane] = (p1 >> 32) as u32 ^ c[1][lane] ^ k[0];
            next[1][lane] = p1 as u32;
            next[2][lane] = (p0 >> 32) as u32 ^ c[3][lane] ^ k[1];
            next[3][lane] = p0 as u32;
        }
        c = next;
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn known_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn lanes_are_the_scalar_function() {
        let (counter, key) = ([32, 7, 0xdead_beef, 42], [1, 2]);
        let out = lanes(counter, key);
        for lane in 0..LANES {
            let one = philox4x32([counter[0] + lane as u32, counter[1], counter[2], counter[3]], key);
            assert_eq!(one, std::array::from_fn(|w| out[w][lane]));
        }
    }
}
