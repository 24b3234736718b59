//! A stream of random numbers whose whole state is a few counters.

use serde::{Deserialize, Serialize};

use super::normal::{CHUNK_F32, CHUNK_F64};
use super::philox::LANES;
use super::purpose::Purpose;
use crate::simd::{Generator, Position};

/// Which numbers of a stream: each kind has its own counter, so that buffering one never disturbs another.
#[derive(Clone, Copy)]
pub(crate) enum Domain {
    NormalF32 = 0,
    NormalF64 = 1,
    Uniform = 2,
    #[cfg(feature = "torch")]
    TensorNormal = 3,
    #[cfg(feature = "torch")]
    TensorUniform = 4,
}

/// Uniform words made at a time: `LANES` counters give two each.
pub(crate) const CHUNK_WORDS: usize = 2 * LANES;

/// The 64-bit seed as Philox's key.
pub(crate) fn key_words(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// Philox's counter: 64 bits of position, 52 of index, 4 of domain and 8 of purpose.
pub(crate) fn counter_words(position: u64, index: u64, domain: Domain, purpose: Purpose) -> [u32; 4] {
    debug_assert!(index < 1 << 52);
    let high = (index >> 32) as u32 & 0x000f_ffff;
    [
        position as u32,
        (position >> 32) as u32,
        index as u32,
        (purpose as u32) << 24 | (domain as u32) << 20 | high,
    ]
}

/// Where a stream stands; save it, and [`Stream::from_state`] goes on with the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// The run's seed.
    pub seed: u64,
    /// What the stream is for.
    pub purpose: Purpose,
    /// Which stream of that purpose (below 2^52).
    pub index: u64,
    /// f32 normals taken.
    pub normals_f32: u64,
    /// f64 normals taken.
    pub normals_f64: u64,
    /// Uniform 64-bit words taken.
    pub uniforms: u64,
}

impl StreamState {
    fn position(&self, counter: u64, domain: Domain) -> Position {
        let [.., index, high] = counter_words(0, self.index, domain, self.purpose);
        Position { counter, stream: [index, high], key: key_words(self.seed) }
    }
}

/// Random numbers for one chain, one block of chains, one shuffle and so on.
///
/// ```
/// use ebm_core::random::{Purpose, Stream};
/// let mut stream = Stream::new(0, Purpose::User, 7);
/// let mut noise = [0.0f64; 3];
/// stream.fill_normal(&mut noise);
/// let saved = stream.state();
/// let next = stream.uniform();
/// assert_eq!(Stream::from_state(saved).uniform(), next);
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    state: StreamState,
    generator: &'static Generator,
    words: Buffer<u64, CHUNK_WORDS>,
    buffer_f32: Buffer<f32, CHUNK_F32>,
    buffer_f64: Buffer<f64, CHUNK_F64>,
}

/// Chunks made at a time: enough that the call does not show.
const BATCH: usize = 4;

/// The batch of chunks that holds the next number; `batch` is `u64::MAX` while nothing was made yet.
#[derive(Clone, Debug)]
struct Buffer<T, const CHUNK: usize> {
    batch: u64,
    values: [[T; CHUNK]; BATCH],
}

impl<T: Copy + Default, const CHUNK: usize> Buffer<T, CHUNK> {
    const LEN: u64 = (BATCH * CHUNK) as u64;

    fn empty() -> Self {
        Self { batch: u64::MAX, values: [[T::default(); CHUNK]; BATCH] }
    }

    /// The buffered numbers from number `taken` of the stream on; `make` fills the buffer from a counter on.
    #[inline(always)]
    fn from(&mut self, taken: u64, make: impl FnOnce(u64, &mut [[T; CHUNK]])) -> &[T] {
        let batch = taken / Self::LEN;
        if self.batch != batch {
            make(batch * (BATCH * LANES) as u64, &mut self.values);
            self.batch = batch;
        }
        &self.values.as_flattened()[(taken % Self::LEN) as usize..]
    }
}

impl Stream {
    /// The stream number `index` (below 2^52) of `purpose` under `seed`, at its beginning.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        Self::from_state(StreamState { seed, purpose, index, normals_f32: 0, normals_f64: 0, uniforms: 0 })
    }

    /// A stream that goes on where [`Stream::state`] was taken.
    pub fn from_state(state: StreamState) -> Self {
        Self {
            state,
            generator: Generator::get(),
            words: Buffer::empty(),
            buffer_f32: Buffer::empty(),
            buffer_f64: Buffer::empty(),
        }
    }

    /// Where the stream stands.
    pub fn state(&self) -> StreamState {
        self.state
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let word = self.words_from()[0];
        self.state.uniforms += 1;
        word
    }

    /// Fill with random words: the same ones, in the same order, as from repeated [`Stream::next_u64`].
    pub fn fill_u64(&mut self, out: &mut [u64]) {
        let mut rest = out;
        while !rest.is_empty() {
            let made = self.words_from();
            let n = rest.len().min(made.len());
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&made[..n]);
            self.state.uniforms += n as u64;
            rest = later;
        }
    }

    #[inline(always)]
    fn words_from(&mut self) -> &[u64] {
        let (state, generator) = (&self.state, self.generator);
        self.words.from(state.uniforms, |counter, out| {
            (generator.words)(state.position(counter, Domain::Uniform), out)
        })
    }

    /// Uniform on `[0, 1)`, with 53 random bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * 2f64.powi(-53)
    }

    /// A uniform whole number in `0..n` (0 when `n` is 0), without bias.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let n = n as u64;
        loop {
            // Lemire's method: reject the few products whose low half would favour small results.
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as usize;
            }
        }
    }

    /// Put the items in a uniformly random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A uniformly random order of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// One standard normal, f64.
    pub fn normal(&mut self) -> f64 {
        let mut one = [0.0];
        self.fill_normal(&mut one);
        one[0]
    }

    /// Fill with standard normals.
    #[inline]
    pub fn fill_normal<T: crate::Real>(&mut self, out: &mut [T]) {
        T::for_normals(self, out, |x, z| *x = z);
    }

    /// Add `sigma` times a standard normal to each number.
    #[inline]
    pub fn add_normal<T: crate::Real>(&mut self, sigma: T, out: &mut [T]) {
        T::for_normals(self, out, |x, z| *x += sigma * z);
    }

    #[inline(always)]
    pub(crate) fn for_normals_f32(&mut self, out: &mut [f32], mut each: impl FnMut(&mut f32, f32)) {
        let mut rest = out;
        while !rest.is_empty() {
            let (state, generator) = (&self.state, self.generator);
            let made = self.buffer_f32.from(state.normals_f32, |counter, out| {
                (generator.normals_f32)(state.position(counter, Domain::NormalF32), out)
            });
            let n = rest.len().min(made.len());
            let (now, later) = rest.split_at_mut(n);
            for (x, &z) in now.iter_mut().zip(&made[..n]) {
                each(x, z);
            }
            self.state.normals_f32 += n as u64;
            rest = later;
        }
    }

    #[inline(always)]
    pub(crate) fn for_normals_f64(&mut self, out: &mut [f64], mut each: impl FnMut(&mut f64, f64)) {
        let mut rest = out;
        while !rest.is_empty() {
            let (state, generator) = (&self.state, self.generator);
            let made = self.buffer_f64.from(state.normals_f64, |counter, out| {
                (generator.normals_f64)(state.position(counter, Domain::NormalF64), out)
            });
            let n = rest.len().min(made.len());
            let (now, later) = rest.split_at_mut(n);
            for (x, &z) in now.iter_mut().zip(&made[..n]) {
                each(x, z);
            }
            self.state.normals_f64 += n as u64;
            rest = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::philox::philox4x32;
    use crate::simd::Level;

    fn moments(values: impl Iterator<Item = f64>) -> [f64; 7] {
        let mut sums = [0.0; 7];
        for x in values {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum += x.powi(k as i32);
            }
        }
        std::array::from_fn(|k| sums[k] / sums[0])
    }

    /// Moments to the sixth within five standard errors: Var(z^k) = (2k-1)!! - E(z^k)^2.
    #[test]
    fn normal_moments_are_exact() {
        const N: usize = 1 << 20;
        let mut stream = Stream::new(11, Purpose::User, 0);
        let mut f32s = vec![0f32; N];
        stream.fill_normal(&mut f32s);
        let mut f64s = vec![0f64; N];
        stream.fill_normal(&mut f64s);
        let expected = [1.0, 0.0, 1.0, 0.0, 3.0, 0.0, 15.0];
        let double_factorial = [1.0, 1.0, 3.0, 15.0, 105.0, 945.0, 10_395.0];
        for m in [moments(f32s.iter().map(|&x| f64::from(x))), moments(f64s.iter().copied())] {
            for k in 1..7 {
                let se = ((double_factorial[k] - expected[k] * expected[k]) / N as f64).sqrt();
                assert!((m[k] - expected[k]).abs() < 5.0 * se, "moment {k}: {}", m[k]);
            }
        }
        // P(|z| > 3) = 0.0026998.
        let tail = f32s.iter().filter(|x| x.abs() > 3.0).count() as f64 / N as f64;
        assert!((tail - 0.002_699_8).abs() < 5.0 * (0.0027 / N as f64).sqrt());
    }

    /// Kolmogorov-Smirnov against the normal law at level 1e-6: sqrt(n) D < 2.69.
    #[test]
    fn normals_pass_kolmogorov_smirnov() {
        const N: usize = 100_000;
        let mut draws = vec![0f32; N];
        Stream::new(5, Purpose::User, 3).fill_normal(&mut draws);
        draws.sort_by(f32::total_cmp);
        let mut largest: f64 = 0.0;
        for (i, &x) in draws.iter().enumerate() {
            let cdf = normal_cdf(f64::from(x));
            largest =
                largest.max((cdf - i as f64 / N as f64).abs()).max((cdf - (i + 1) as f64 / N as f64).abs());
        }
        assert!((N as f64).sqrt() * largest < 2.69, "{largest}");
    }

    /// The normal law by its series, accurate to 1e-12 for |x| < 6.
    fn normal_cdf(x: f64) -> f64 {
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while f64::abs(term) > 1e-16 {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_index_and_do_not_depend_on_how_they_are_read() {
        let draw = |seed, purpose, index| {
            let mut x = [0f32; 8];
            Stream::new(seed, purpose, index).fill_normal(&mut x);
            x
        };
        let base = draw(1, Purpose::Chain, 2);
        assert_ne!(base, draw(2, Purpose::Chain, 2));
        assert_ne!(base, draw(1, Purpose::Init, 2));
        assert_ne!(base, draw(1, Purpose::Chain, 3));
        assert_ne!(base, draw(1, Purpose::Chain, 2 + (1 << 33)));

        let mut whole = [0f64; 100];
        Stream::new(1, Purpose::Chain, 0).fill_normal(&mut whole);
        let mut stream = Stream::new(1, Purpose::Chain, 0);
        let mut parts = [0f64; 100];
        for (i, part) in parts.chunks_mut(7).enumerate() {
            // Uniforms and f32 normals in between, and a trip through the saved state, change nothing.
            stream.uniform();
            stream.fill_normal(&mut [0f32; 3]);
            if i % 3 == 0 {
                stream = Stream::from_state(stream.state());
            }
            stream.fill_normal(part);
        }
        assert_eq!(whole, parts);
    }

    /// The numbers of a stream are for ever: these hashes were taken when streams were first published.
    #[test]
    fn the_numbers_of_a_stream_never_change() {
        let mut stream = Stream::new(0x1234_5678_9abc_def0, Purpose::User, (1 << 40) + 3);
        let (mut f32s, mut f64s, mut words) = (vec![0f32; 10_000], vec![0f64; 10_000], vec![0; 10_000]);
        stream.fill_normal(&mut f32s);
        stream.fill_normal(&mut f64s);
        stream.fill_u64(&mut words);
        assert_eq!(fnv(f32s.iter().map(|x| x.to_bits().into())), 0xa5bb_80ed_1dd9_de7c);
        assert_eq!(fnv(f64s.iter().map(|x| x.to_bits())), 0xc448_9a82_bd70_24d1);
        assert_eq!(fnv(words.into_iter()), 0x33dc_facc_b561_ddc6);
    }

    fn fnv(bits: impl Iterator<Item = u64>) -> u64 {
        bits.fold(0, |hash, x| (hash ^ x).wrapping_mul(0x100_0000_01b3))
    }

    /// Filling and adding in odd lengths at every level, against the portable code's long fill.
    #[test]
    fn every_level_reads_the_same_stream() {
        let at = |level| Stream { generator: Generator::at(level), ..Stream::new(3, Purpose::User, 1) };
        let (mut f32s, mut f64s) = (vec![0f32; 5000], vec![0f64; 5000]);
        at(Level::Portable).fill_normal(&mut f32s);
        at(Level::Portable).fill_normal(&mut f64s);
        for level in Level::available() {
            let (mut a, mut b) = (at(level), at(level));
            let (mut x, mut y) = (vec![-0.0f32; 5000], vec![-0.0f64; 5000]);
            let (mut from, mut len) = (0, 1);
            while from < 5000 {
                let to = (from + len).min(5000);
                if len % 2 == 0 {
                    a.fill_normal(&mut x[from..to]);
                    b.fill_normal(&mut y[from..to]);
                } else {
                    a.add_normal(1.0, &mut x[from..to]);
                    b.add_normal(1.0, &mut y[from..to]);
                }
                (from, len) = (to, 1 + len * 7 % 331);
            }
            assert!(x.iter().zip(&f32s).all(|(x, z)| x.to_bits() == z.to_bits()), "{level}");
            assert!(y.iter().zip(&f64s).all(|(y, z)| y.to_bits() == z.to_bits()), "{level}");
        }
    }

    /// The words are Philox's own, and no mix of single words, odd lengths, saves and restores changes them.
    #[test]
    fn words_in_bulk_are_the_words_one_by_one() {
        let mut expected = Vec::new();
        for n in 0..1000u64 {
            let counter = counter_words(n, 5, Domain::Uniform, Purpose::User);
            let w = philox4x32(counter, key_words(9));
            expected.extend([0, 2].map(|at| u64::from(w[at]) << 32 | u64::from(w[at + 1])));
        }
        let mut one = Stream::new(9, Purpose::User, 5);
        assert!(expected.iter().all(|w| one.next_u64() == *w));

        let mut stream = Stream::new(9, Purpose::User, 5);
        let mut found = Vec::new();
        for len in [0, 1, 31, 32, 64, 5, 27, 33, 100, 3, 257, 95, 64, 7, 32] {
            let mut part = vec![0; len];
            stream.fill_u64(&mut part);
            found.extend(part);
            assert_eq!(stream.state().uniforms, found.len() as u64);
            if len % 3 == 0 {
                found.push(stream.next_u64());
                stream.fill_normal(&mut [0f32; 3]);
                stream = Stream::from_state(stream.state());
            }
        }
        assert_eq!(found, expected[..found.len()]);
    }

    #[test]
    fn whole_numbers_are_uniform_and_permutations_hold_every_item() {
        let mut stream = Stream::new(0, Purpose::User, 0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7)] += 1;
        }
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 39.0, "{chi2}"); // 6 degrees of freedom, level 1e-6
        let mut order = stream.permutation(50);
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
        assert_eq!((stream.below(0), stream.below(1)), (0, 0));
    }
}
