//! 64 heat-bath decisions in a word: is a uniform number below the bit's own threshold?
//!
//! The probability of an up spin depends only on its number of up neighbours `u` (and of missing ones `m`): `score =
//! 2 u + m`, `p = sigmoid(2 (J (score - 4) + b))`, nine numbers in 64 bits each. A uniform number is compared with its
//! threshold bit by bit from the top, one random word a bit for all 64 spins: at the first bit that differs the
//! comparison is decided. After `ROUNDS` bits one spin in `2^ROUNDS` is not; it takes a random word of its own
//! for the bits that are left. So each probability is held to the 53 bits that it was computed with, for about
//! `ROUNDS + 64 / 2^ROUNDS` random words per 64 spins.

use std::ops::{BitAnd, BitOr, BitXor, Not};

/// Bits that are compared for all spins.
pub(super) const ROUNDS: usize = 8;

/// Words that are worked on side by side.
pub(super) const GROUP: usize = 8;

/// A group of words: one register of 512 bits, two of 256 or four of 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words(pub(super) [u64; GROUP]);

impl Words {
    #[inline(always)]
    pub(super) fn splat(word: u64) -> Self {
        Self([word; GROUP])
    }

    /// The first words of a slice, which must hold a group.
    #[inline(always)]
    pub(super) fn of(words: &[u64]) -> Self {
        Self(std::array::from_fn(|lane| words[lane]))
    }
}

macro_rules! bitwise {
    ($($operator:ident $method:ident),*) => {$(
        impl $operator for Words {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane].$method(other.0[lane])))
            }
        }
    )*};
}

bitwise!(BitAnd bitand, BitOr bitor, BitXor bitxor);

impl Not for Words {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// A word or a group of them.
pub(super) trait Bits:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
}

impl Bits for u64 {}
impl Bits for Words {}

/// The probability of an up spin for each score, in units of 2^-64, and its first bits as masks.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    values: [u64; 9],
    /// `masks[round][score]`: all ones where bit `63 - round` of the threshold is set.
    masks: [[u64; 9]; ROUNDS],
}

impl Thresholds {
    pub(super) fn new(coupling: f64, field: f64) -> Self {
        let values = std::array::from_fn(|score| {
            let log_odds = 2.0 * (coupling * (score as f64 - 4.0) + field);
            // A product of 2^64 saturates at 2^64 - 1.
            (2f64.powi(64) / (1.0 + (-log_odds).exp())) as u64
        });
        let masks = std::array::from_fn(|round| {
            std::array::from_fn(|score: usize| {
                let values: &[u64; 9] = &values;
                0u64.wrapping_sub(values[score] >> (63 - round) & 1)
            })
        });
        Self { values, masks }
    }

    /// Whether a uniform number is below the score's threshold, `rest` being its bits after the first `ROUNDS`, which
    /// are those of the threshold.
    #[inline]
    pub(super) fn decide(&self, score: usize, rest: u64) -> bool {
        rest < self.values[score] << ROUNDS
    }

    /// Compare the first bits of a group of words: (bits known to be below, bits not decided). `random` holds a group
    /// for each round.
    #[inline(always)]
    pub(super) fn compare<const SCORES: usize>(
        &self,
        classes: &[Words; SCORES],
        random: &[u64],
    ) -> (Words, Words) {
        let (mut below, mut open) = (Words::splat(0), Words::splat(u64::MAX));
        // Five classes are the even scores.
        let score = |class: usize| if SCORES == 5 { 2 * class } else { class };
        for (masks, random) in self.masks.iter().zip(random.chunks_exact(GROUP)) {
            let random = Words::of(random);
            let mut bits = Words::splat(0);
            for (class, places) in classes.iter().enumerate() {
                bits = bits | (*places & Words::splat(masks[score(class)]));
            }
            below = below | (open & bits & !random);
            open = open & !(bits ^ random);
        }
        (below, open)
    }
}

/// Four bits a place added up: (ones, twos, fours) of the count.
#[inline(always)]
pub(super) fn count<T: Bits>(a: T, b: T, c: T, d: T) -> [T; 3] {
    let (ab, cd) = (a ^ b, c ^ d);
    let (both_ab, both_cd, carry) = (a & b, c & d, ab & cd);
    // Both pairs make a four; a carry leaves no pair that is both.
    [ab ^ cd, both_ab ^ both_cd ^ carry, both_ab & both_cd]
}

/// `2 u + m` at each place, `u` and `m` at most 4 in sum: its four bits.
#[inline(always)]
pub(super) fn score_bits<T: Bits>(u: [T; 3], m: [T; 3]) -> [T; 4] {
    let carry = u[0] & m[1];
    let twos = u[1] ^ m[2];
    [m[0], u[0] ^ m[1], twos ^ carry, u[2] | (u[1] & m[2]) | (twos & carry)]
}

/// Where the number of these three bits is 0, 1, 2, 3 and 4.
#[inline(always)]
pub(super) fn five_classes<T: Bits>([ones, twos, fours]: [T; 3]) -> [T; 5] {
    [!(ones | twos | fours), ones & !twos, twos & !ones, ones & twos, fours]
}

/// Where the number of these four bits is 0 to 8.
#[inline(always)]
pub(super) fn nine_classes<T: Bits>([ones, twos, fours, eights]: [T; 4]) -> [T; 9] {
    let low = [!ones & !twos, ones & !twos, !ones & twos, ones & twos];
    let none = !fours & !eights;
    std::array::from_fn(|score| match score {
        8 => eights,
        4.. => low[score - 4] & fours,
        _ => low[score] & none,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_classes() {
        for bits in 0..16u64 {
            let [a, b, c, d] = [bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1];
            let u = count(a, b, c, d);
            let n = a + b + c + d;
            assert_eq!(u[0] + 2 * u[1] + 4 * u[2], n);
            for (class, word) in five_classes(u).into_iter().enumerate() {
                assert_eq!(word & 1, u64::from(class as u64 == n));
            }
            for missing in 0..=4 - n {
                let m = [missing & 1, missing >> 1 & 1, missing >> 2];
                let score = score_bits(u, m);
                assert_eq!(score[0] + 2 * score[1] + 4 * score[2] + 8 * score[3], 2 * n + missing);
                for (class, word) in nine_classes(score).into_iter().enumerate() {
                    assert_eq!(word & 1, u64::from(class as u64 == 2 * n + missing));
                }
            }
        }
    }

    /// Every bit pattern of the first eight, times the exact rest: the sum of what is decided and what is left is the
    /// threshold itself.
    #[test]
    fn comparisons_are_exact() {
        let thresholds = Thresholds::new(0.3, 0.1);
        for score in 0..9 {
            let classes: [Words; 9] =
                std::array::from_fn(|class| Words::splat(if class == score { u64::MAX } else { 0 }));
            let (mut below, mut left) = (0u64, 0u64);
            for first in 0..256u64 {
                let word = |round: usize| 0u64.wrapping_sub(first >> (7 - round) & 1);
                let random: Vec<u64> = (0..ROUNDS).flat_map(|round| [word(round); GROUP]).collect();
                let (Words(yes), Words(open)) = thresholds.compare(&classes, &random);
                below += yes[0] & 1;
                left += open[0] & 1;
                assert!(yes.iter().all(|y| *y == yes[0]) && open.iter().all(|o| *o == open[0]));
            }
            assert_eq!((below, left), (thresholds.values[score] >> 56, 1));
            let p = 1.0 / (1.0 + (-2.0 * (0.3 * (score as f64 - 4.0) + 0.1)).exp());
            assert!((thresholds.values[score] as f64 / 2f64.powi(64) - p).abs() < 1e-15);
            let rest = thresholds.values[score] << ROUNDS;
            assert!(thresholds.decide(score, rest - 1) && !thresholds.decide(score, rest));
        }
        // Certain: a strong field never lets a spin down, but for 2^-64.
        let frozen = Thresholds::new(0.0, 400.0);
        assert_eq!(frozen.values[4], u64::MAX);
    }
}
