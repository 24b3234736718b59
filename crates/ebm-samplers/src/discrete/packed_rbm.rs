//! 64 chains of a restricted Boltzmann machine, one to a bit: block Gibbs with a word for each unit.
//!
//! `p(h_j = 1 | v) = sigmoid(c_j + sum_i v_i W_ij)` and the other way round, as [`RbmGibbs`](super::RbmGibbs). A weight is
//! read once for all chains, and the logistic function is worked out for several chains side by side: at the cost of sums
//! over all bits, not over the set ones alone. The sums are the same as one chain's, added in the same order.
//!
//! Source: Hinton 2002 (DOI 10.1162/089976602760128018).

use ebm_core::random::Stream;
use ebm_core::simd::{Dispatched, dispatch, exp_f64};
use ebm_core::{Error, Rbm, Result};

/// Chains of a word.
const CHAINS: usize = 64;
/// Units whose sums are made together: a word is spread into masks once for all of them.
const UNITS: usize = 4;
/// Words that are spread together: a sum is read and written once for all of them.
const WORDS: usize = 4;

/// The bits of 64 chains of an RBM, packed; [`PackedRbm::step`] draws all hidden bits, then all visible ones.
///
/// Use it for 64 chains or a multiple of it. Not for few chains, nor without AVX2, where it gains nothing:
/// `RbmGibbs`, which `sample_discrete` runs with a summary.
///
/// ```
/// use ebm_core::Rbm;
/// use ebm_core::random::{Purpose, Stream};
/// use ebm_samplers::PackedRbm;
/// let rbm = Rbm::new(vec![1.0, -2.0, 0.5, 0.3], vec![0.5, 0.0], vec![0.0, 0.1])?;
/// let mut chains = PackedRbm::new(&rbm);
/// let mut rng = Stream::new(0, Purpose::Chain, 0);
/// (0..20).for_each(|_| chains.step(&mut rng));
/// let mut visible = vec![0; 64 * 2];
/// chains.write_visible(&mut visible)?;
/// assert!(visible.iter().all(|bit| *bit <= 1));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedRbm {
    to_hidden: Side,
    to_visible: Side,
    /// Padded with zeros to whole groups of words, as `hidden`.
    visible: Vec<u64>,
    hidden: Vec<u64>,
    random: Vec<u64>,
}

/// What one side's bits are drawn by, given the other side's.
#[derive(Clone, Debug)]
struct Side {
    n_units: usize,
    /// Words of the other side, padded.
    n_words: usize,
    /// `[n_units / UNITS][n_words][UNITS]`, zeros where there is no unit.
    weights: Vec<[f64; UNITS]>,
    /// `[n_units / UNITS][UNITS]`.
    bias: Vec<[f64; UNITS]>,
}

impl Side {
    /// `weight(unit, from)`.
    fn new(bias: &[f64], n_from: usize, weight: impl Fn(usize, usize) -> f64) -> Self {
        let (n_units, n_words) = (bias.len(), n_from.next_multiple_of(WORDS));
        let mut side = Self { n_units, n_words, weights: vec![], bias: vec![] };
        for first in (0..n_units).step_by(UNITS) {
            let of = |value: &dyn Fn(usize) -> f64| {
                std::array::from_fn(|u| if first + u < n_units { value(first + u) } else { 0.0 })
            };
            side.bias.push(of(&|unit| bias[unit]));
            side.weights.extend((0..n_from).map(|from| of(&|unit| weight(unit, from))));
            side.weights.resize(side.bias.len() * n_words, [0.0; UNITS]);
        }
        side
    }
}

impl PackedRbm {
    /// 64 chains of this machine, all bits 0.
    pub fn new(rbm: &Rbm) -> Self {
        let (n_visible, n_hidden) = (rbm.n_visible(), rbm.n_hidden());
        let weights = rbm.weights();
        Self {
            to_hidden: Side::new(rbm.hidden_bias(), n_visible, |j, i| weights[i * n_hidden + j]),
            to_visible: Side::new(rbm.visible_bias(), n_hidden, |i, j| weights[i * n_hidden + j]),
            visible: vec![0; n_visible.next_multiple_of(WORDS)],
            hidden: vec![0; n_hidden.next_multiple_of(WORDS)],
            random: vec![0; UNITS * CHAINS],
        }
    }

    /// Take the visible bits `[64 * n_visible]`, chain after chain.
    ///
    /// # Errors
    /// When the number of bits is another, or a value is neither 0 nor 1.
    pub fn set_visible(&mut self, bits: &[u8]) -> Result<()> {
        self.check_length(bits.len())?;
        if let Some(i) = bits.iter().position(|bit| *bit > 1) {
            return Err(Error::bad_value(format!("bits[{i}]"), bits[i], "0 or 1", ""));
        }
        self.visible.fill(0);
        for (chain, bits) in bits.chunks_exact(self.visible().len()).enumerate() {
            for (word, bit) in self.visible.iter_mut().zip(bits) {
                *word |= u64::from(*bit) << chain;
            }
        }
        Ok(())
    }

    /// Write the visible bits `[64 * n_visible]`, chain after chain.
    ///
    /// # Errors
    /// When `bits` has another length.
    pub fn write_visible(&self, bits: &mut [u8]) -> Result<()> {
        self.check_length(bits.len())?;
        for (chain, bits) in bits.chunks_exact_mut(self.visible().len()).enumerate() {
            for (bit, word) in bits.iter_mut().zip(&self.visible) {
                *bit = (word >> chain & 1) as u8;
            }
        }
        Ok(())
    }

    /// The visible units, a word each: bit `c` is that of chain `c`.
    pub fn visible(&self) -> &[u64] {
        &self.visible[..self.to_visible.n_units]
    }

    /// The hidden units as they were drawn last, a word each.
    pub fn hidden(&self) -> &[u64] {
        &self.hidden[..self.to_hidden.n_units]
    }

    /// Draw all hidden bits given the visible ones, then all visible bits. The same bits at every vector level.
    pub fn step(&mut self, rng: &mut Stream) {
        dispatch(Step { chains: self, rng });
    }

    fn check_length(&self, found: usize) -> Result<()> {
        let expected = CHAINS * self.visible().len();
        if found == expected {
            Ok(())
        } else {
            Err(Error::shape("visible bits of 64 chains", expected, found))
        }
    }
}

struct Step<'a> {
    chains: &'a mut PackedRbm,
    rng: &'a mut Stream,
}

impl Dispatched for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let PackedRbm { to_hidden, to_visible, visible, hidden, random } = self.chains;
        draw(to_hidden, visible, hidden, random, self.rng);
        draw(to_visible, hidden, visible, random, self.rng);
    }
}

/// Draw one side's bits given the other's.
#[inline(always)]
fn draw(side: &Side, from: &[u64], to: &mut [u64], random: &mut [u64], rng: &mut Stream) {
    let blocks = side.weights.chunks_exact(side.n_words).zip(&side.bias);
    let mut sums = [[0.0; CHAINS]; UNITS];
    for ((weights, bias), to) in blocks.zip(to[..side.n_units].chunks_mut(UNITS)) {
        rng.fill_u64(&mut random[..to.len() * CHAINS]);
        add_weights(weights, bias, from, &mut sums);
        for ((word, sums), random) in to.iter_mut().zip(&mut sums).zip(random.chunks_exact(CHAINS)) {
            *word = decide(sums, random);
        }
    }
}

/// Bias and weights of the set bits, `[unit][chain]`. The loops are over all chains of a word: those vectorise.
#[inline(always)]
fn add_weights(
    weights: &[[f64; UNITS]],
    bias: &[f64; UNITS],
    from: &[u64],
    sums: &mut [[f64; CHAINS]; UNITS],
) {
    for (sums, bias) in sums.iter_mut().zip(bias) {
        sums.fill(*bias);
    }
    let mut masks = [[0u64; CHAINS]; WORDS];
    for (words, weights) in from.as_chunks::<WORDS>().0.iter().zip(weights.as_chunks::<WORDS>().0) {
        for (masks, word) in masks.iter_mut().zip(words) {
            for (chain, mask) in masks.iter_mut().enumerate() {
                *mask = 0u64.wrapping_sub(word >> chain & 1);
            }
        }
        for (unit, sums) in sums.iter_mut().enumerate() {
            // A weight or zero: in the order of the words, as one chain would add them.
            let of = |word: usize, mask: u64| f64::from_bits(weights[word][unit].to_bits() & mask);
            for (chain, sum) in sums.iter_mut().enumerate() {
                *sum = *sum
                    + of(0, masks[0][chain])
                    + of(1, masks[1][chain])
                    + of(2, masks[2][chain])
                    + of(3, masks[3][chain]);
            }
        }
    }
}

/// Bit `c` is 1 with probability `sigmoid(activations[c])`. The activations are lost.
#[inline(always)]
fn decide(activations: &mut [f64; CHAINS], random: &[u64]) -> u64 {
    for (value, random) in activations.iter_mut().zip(random) {
        // Uniform on [0, 1) with 52 bits: a number in [1, 2) less 1. Below the probability is below 1 after this.
        let uniform = f64::from_bits(random >> 12 | 1.0f64.to_bits()) - 1.0;
        *value = uniform * (1.0 + exp_f64(-*value));
    }
    let bit = |bits: u64, (chain, value): (usize, &f64)| bits | u64::from(*value < 1.0) << chain;
    activations.iter().enumerate().fold(0, bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{assert_counts, index, probabilities, small_rbm, states};
    use ebm_core::DiscreteEnergy;
    use ebm_core::exact::Enumeration;
    use ebm_core::random::Purpose;

    /// Counts of all chains' states after so many steps from these starts, 64 a time.
    fn counts(rbm: &Rbm, starts: &mut dyn FnMut() -> Vec<u8>, blocks: usize, n_steps: usize) -> Vec<u64> {
        let n = rbm.n_visible();
        let mut chains = PackedRbm::new(rbm);
        let mut rng = Stream::new(4, Purpose::Chain, 0);
        let mut counts = vec![0; 1 << n];
        let mut bits = vec![0; CHAINS * n];
        for _ in 0..blocks {
            bits.chunks_exact_mut(n).for_each(|x| x.copy_from_slice(&starts()));
            chains.set_visible(&bits).unwrap();
            (0..n_steps).for_each(|_| chains.step(&mut rng));
            chains.write_visible(&mut bits).unwrap();
            bits.chunks_exact(n).for_each(|x| counts[index(x, 2)] += 1);
        }
        counts
    }

    /// `sum_h p(h | v) p(v' | h)` for all `v` and `v'`, the matrix of `RbmGibbs`, from the machine's own conditionals.
    fn matrix(rbm: &Rbm) -> Vec<Vec<f64>> {
        let probability = |bits: &[u8], activations: &[f64]| -> f64 {
            let one = |(bit, a): (&u8, &f64)| 1.0 / (1.0 + (if *bit == 1 { -a } else { *a }).exp());
            bits.iter().zip(activations).map(one).product()
        };
        let row = |start: &Vec<u8>| {
            let (mut to_hidden, mut to_visible) = (vec![0.0; rbm.n_hidden()], vec![0.0; rbm.n_visible()]);
            rbm.hidden_activations(start, &mut to_hidden);
            let mut row = vec![0.0; 1 << rbm.n_visible()];
            for hidden in states(rbm.n_hidden(), 2) {
                rbm.visible_activations(&hidden, &mut to_visible);
                for visible in states(rbm.n_visible(), 2) {
                    row[index(&visible, 2)] +=
                        probability(&hidden, &to_hidden) * probability(&visible, &to_visible);
                }
            }
            row
        };
        states(rbm.n_visible(), 2).iter().map(row).collect()
    }

    #[test]
    fn a_step_has_the_law_of_rbm_gibbs() {
        let rbm = small_rbm();
        let matrix = matrix(&rbm);
        for start in [vec![0; 5], vec![1, 0, 1, 1, 0], vec![1; 5]] {
            assert_counts(&counts(&rbm, &mut || start.clone(), 600, 1), &matrix[index(&start, 2)]);
        }
    }

    /// Exact draws stay exact, and chains from one corner get there.
    #[test]
    fn chains_have_the_exact_law() {
        let rbm = small_rbm();
        let law = Enumeration::new(5, 2, |x| rbm.energy(x)).unwrap();
        let exact = probabilities(&law);
        let mut stream = Stream::new(11, Purpose::Start, 0);
        assert_counts(&counts(&rbm, &mut || law.sample(&mut stream), 800, 1), &exact);
        // So many steps leave nothing of the start: by the powers of the matrix.
        let matrix = matrix(&rbm);
        let step = |p: Vec<f64>| -> Vec<f64> {
            (0..32).map(|to| p.iter().zip(&matrix).map(|(p, row)| p * row[to]).sum()).collect()
        };
        let corner = (0..60).fold(matrix[31].clone(), |p, _| step(p));
        assert!(corner.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-9));
        assert_counts(&counts(&rbm, &mut || vec![1; 5], 400, 61), &exact);
    }

    /// Chains do not depend on each other: the odds that two of a word agree are those of independent draws.
    #[test]
    fn chains_of_a_word_are_independent() {
        // No weights: every bit is an even coin.
        let rbm = Rbm::new(vec![0.0; 6], vec![0.0; 2], vec![0.0; 3]).unwrap();
        let mut chains = PackedRbm::new(&rbm);
        let mut rng = Stream::new(8, Purpose::Chain, 0);
        let (mut agree, mut ones, n) = ([0u64; 63], 0, 4000u64);
        for _ in 0..n {
            chains.step(&mut rng);
            for word in chains.visible() {
                ones += u64::from(word.count_ones());
                let same = !(word ^ (word >> 1));
                agree.iter_mut().enumerate().for_each(|(bit, count)| *count += same >> bit & 1);
            }
        }
        assert_counts(&[ones, 128 * n - ones], &[0.5, 0.5]);
        for count in agree {
            assert_counts(&[count, 2 * n - count], &[0.5, 0.5]);
        }
        assert!(chains.hidden().iter().any(|word| *word != 0));
    }

    /// Numbers of units that fill no group, and extreme activations: bits that are certain are drawn so.
    #[test]
    fn odd_sizes_and_certain_bits() {
        for (n_visible, n_hidden) in [(1usize, 1usize), (3, 5), (9, 6)] {
            let bias: Vec<f64> =
                (0..n_visible).map(|i| if i.is_multiple_of(2) { 800.0 } else { -800.0 }).collect();
            let rbm = Rbm::new(vec![0.0; n_visible * n_hidden], bias, vec![-900.0; n_hidden]).unwrap();
            let mut chains = PackedRbm::new(&rbm);
            chains.step(&mut Stream::new(0, Purpose::Chain, 0));
            assert!(chains.hidden().iter().all(|word| *word == 0));
            let expected = |i: usize| if i.is_multiple_of(2) { u64::MAX } else { 0 };
            assert!(chains.visible().iter().enumerate().all(|(i, word)| *word == expected(i)));
            let bits: Vec<u8> = (0..CHAINS * n_visible).map(|i| (i % 3 == 1).into()).collect();
            chains.set_visible(&bits).unwrap();
            let mut back = vec![7; bits.len()];
            chains.write_visible(&mut back).unwrap();
            assert_eq!(bits, back);
        }
        let mut chains = PackedRbm::new(&small_rbm());
        let text = chains.set_visible(&[0; 5]).unwrap_err().to_string();
        assert_eq!(text, "visible bits of 64 chains: expected 320, found 5");
        assert!(chains.set_visible(&[2; 320]).unwrap_err().to_string().starts_with("bits[0] = 2"));
        assert!(chains.write_visible(&mut [0; 3]).is_err());
    }
}
