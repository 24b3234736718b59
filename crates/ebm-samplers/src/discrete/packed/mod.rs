//! The homogeneous Ising lattice in bits: a chessboard heat bath that draws 64 spins of one colour per word.
//!
//! `p(s_i = 1 | rest) = sigmoid(2 (J sum_j s_j + b))`, all black squares, then all white ones. A lattice packs its own
//! spins (see `layout.rs`), so a single chain is fast; several chains run side by side on threads. Counts of neighbours
//! are bitwise adders, decisions are bitwise comparisons (see `heat_bath.rs`).
//!
//! Source: multi-spin coding, Jacobs and Rebbi 1981 (DOI 10.1016/0021-9991(81)90139-9).

mod heat_bath;
mod layout;

use ebm_core::exact::IsingLattice;
use ebm_core::random::Stream;
use ebm_core::simd::{Dispatched, dispatch};
use ebm_core::{Colouring, Error, Result};

use heat_bath::{GROUP, ROUNDS, Thresholds, Words, count, five_classes, nine_classes, score_bits};
use layout::Layout;

/// Random words made at a time: for 8 groups.
const BLOCK: usize = 8 * GROUP;

/// The spins of one Ising lattice, packed; [`PackedIsing::sweep`] draws each once.
///
/// Use it for sums over one Ising lattice of one coupling. Not where couplings or fields differ from place to place:
/// `BlockGibbs`.
///
/// One coupling and one field for all; a closed side must be even or 1. All 64 bits are in use where sides are multiples
/// of 16, fewer otherwise ([`PackedIsing::lanes`]).
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice, onsager_energy};
/// use ebm_core::random::{Purpose, Stream};
/// use ebm_samplers::PackedIsing;
/// let lattice = IsingLattice::new(64, 64, Boundary::Torus, 0.3, 0.0)?;
/// let mut spins = PackedIsing::new(&lattice)?;
/// let mut rng = Stream::new(0, Purpose::Chain, 0);
/// let mut sum = 0.0;
/// for sweep in 0..600 {
///     spins.sweep(&mut rng);
///     if sweep >= 100 {
///         sum += spins.energy() / 4096.0;
///     }
/// }
/// assert!((sum / 500.0 - onsager_energy(0.3)).abs() < 0.005);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedIsing {
    layout: Layout,
    all_rows: usize,
    all_cols: usize,
    coupling: f64,
    field: f64,
    thresholds: Thresholds,
    /// The words of each colour; a set bit is spin 1. Padded with zeros to whole groups.
    spins: [Vec<u64>; 2],
    /// The bits that are spins.
    valid: [Vec<u64>; 2],
    /// How many neighbours are missing, in three bits by colour; empty where none is.
    missing: [[Vec<u64>; 3]; 2],
    /// How many neighbours are up, in three bits: of the colour that is being drawn.
    up: [Vec<u64>; 3],
    /// Two rows of neighbours that stand in other tiles.
    row: [Vec<u64>; 3],
    random: Vec<u64>,
}

impl PackedIsing {
    /// A lattice with all spins down.
    ///
    /// # Errors
    /// When couplings or fields differ from place to place, or a closed side is odd.
    pub fn new(lattice: &IsingLattice) -> Result<Self> {
        Colouring::checkerboard(lattice)?;
        let edges = lattice.edges();
        let coupling = edges.first().map_or(0.0, |edge| edge.2);
        if let Some((i, j, other)) = edges.iter().find(|edge| edge.2 != coupling) {
            let limit = format!("{coupling}, as every other");
            return Err(Error::bad_value(format!("coupling of {i} and {j}"), other, limit, FIX));
        }
        let field = lattice.fields()[0];
        if let Some(i) = lattice.fields().iter().position(|b| *b != field) {
            let limit = format!("{field}, as every other");
            return Err(Error::bad_value(format!("field of {i}"), lattice.fields()[i], limit, FIX));
        }
        let layout = Layout::new(lattice);
        let n_words = layout.n_words().next_multiple_of(GROUP);
        let zeros = || vec![0u64; n_words];
        let mut valid = [zeros(), zeros()];
        let mut missing = [[zeros(), zeros(), zeros()], [zeros(), zeros(), zeros()]];
        for site in 0..lattice.n_sites() {
            let (colour, word, bit) = layout.place(site / lattice.cols(), site % lattice.cols());
            valid[colour][word] |= 1 << bit;
            let absent = 4 - lattice.neighbours(site).count() as u64;
            for (plane, words) in missing[colour].iter_mut().enumerate() {
                words[word] |= (absent >> plane & 1) << bit;
            }
        }
        if layout.is_closed() {
            missing = Default::default();
        }
        let stride = layout.stride;
        Ok(Self {
            all_rows: lattice.rows(),
            all_cols: lattice.cols(),
            coupling,
            field,
            thresholds: Thresholds::new(coupling, field),
            spins: [zeros(), zeros()],
            valid,
            missing,
            up: [zeros(), zeros(), zeros()],
            row: [vec![0; stride], vec![0; stride], vec![0; stride]],
            random: vec![0; BLOCK * ROUNDS],
            layout,
        })
    }

    /// Bits of a word that are in use, 1 to 64: the speed is in proportion.
    pub fn lanes(&self) -> usize {
        self.layout.lanes()
    }

    /// Take the spins from bits `[rows * cols]`, 1 for up.
    ///
    /// # Errors
    /// When the number of bits is another, or a value is neither 0 nor 1.
    pub fn set_bits(&mut self, bits: &[u8]) -> Result<()> {
        if bits.len() != self.all_rows * self.all_cols {
            return Err(Error::shape("bits of a lattice", self.all_rows * self.all_cols, bits.len()));
        }
        if let Some(i) = bits.iter().position(|bit| *bit > 1) {
            return Err(Error::bad_value(format!("bits[{i}]"), bits[i], "0 or 1", ""));
        }
        self.pack(bits);
        Ok(())
    }

    /// Write the spins as bits `[rows * cols]`.
    ///
    /// # Errors
    /// When `bits` has another length.
    pub fn write_bits(&self, bits: &mut [u8]) -> Result<()> {
        if bits.len() != self.all_rows * self.all_cols {
            return Err(Error::shape("bits of a lattice", self.all_rows * self.all_cols, bits.len()));
        }
        self.unpack(bits);
        Ok(())
    }

    pub(super) fn pack(&mut self, bits: &[u8]) {
        self.spins.iter_mut().for_each(|words| words.fill(0));
        for (row, bits) in bits.chunks_exact(self.all_cols).enumerate() {
            for (col, value) in bits.iter().enumerate() {
                let (colour, word, bit) = self.layout.place(row, col);
                self.spins[colour][word] |= u64::from(*value) << bit;
            }
        }
    }

    pub(super) fn unpack(&self, bits: &mut [u8]) {
        for (row, bits) in bits.chunks_exact_mut(self.all_cols).enumerate() {
            for (col, value) in bits.iter_mut().enumerate() {
                let (colour, word, bit) = self.layout.place(row, col);
                *value = (self.spins[colour][word] >> bit & 1) as u8;
            }
        }
    }

    /// Draw every spin once given the others, one colour after the other.
    pub fn sweep(&mut self, rng: &mut Stream) {
        dispatch(Sweep { lattice: self, rng });
    }

    /// `sum_i s_i`.
    pub fn magnetisation(&self) -> f64 {
        let up: u32 = self.spins.iter().flatten().map(|word| word.count_ones()).sum();
        2.0 * f64::from(up) - (self.all_rows * self.all_cols) as f64
    }

    /// `E = -J sum_edges s_i s_j - b sum_i s_i`.
    pub fn energy(&mut self) -> f64 {
        // Every edge joins a black and a white square: sum over the black ones.
        self.count_up(0);
        let mut pairs = 0;
        for (word, (spins, valid)) in self.spins[0].iter().zip(&self.valid[0]).enumerate() {
            // sum of s_i k_i over a plane's places: the set bits that are up less those that are down.
            let signed = |plane: u64| {
                2 * i64::from((plane & spins).count_ones()) - i64::from((plane & valid).count_ones())
            };
            for plane in 0..3 {
                // A spin's neighbours add up to 2 u + m - 4.
                pairs += signed(self.up[plane][word]) << (plane + 1);
                pairs += self.missing[0][plane].get(word).map_or(0, |missing| signed(*missing) << plane);
            }
            pairs -= 4 * signed(u64::MAX);
        }
        -self.coupling * pairs as f64 - self.field * self.magnetisation()
    }

    /// Count each spin's neighbours that are up, for one colour.
    #[inline(always)]
    fn count_up(&mut self, colour: usize) {
        let (layout, other) = (&self.layout, &self.spins[1 - colour]);
        let (rows, stride) = (layout.rows, layout.stride);
        let row_of = |row: usize| &other[row * stride..(row + 1) * stride];
        let [above, below, side] = &mut self.row;
        for row in 0..rows {
            let parity = Layout::parity(row, colour);
            let len = layout.row_len(parity);
            let same = row_of(row);
            let above = if row > 0 {
                row_of(row - 1)
            } else {
                above.iter_mut().zip(row_of(rows - 1)).for_each(|(to, from)| *to = layout.tile_above(*from));
                &above[..]
            };
            let below = if row + 1 < rows {
                row_of(row + 1)
            } else {
                below.iter_mut().zip(row_of(0)).for_each(|(to, from)| *to = layout.tile_below(*from));
                &below[..]
            };
            // The other colour's word at the same place is the right or the left neighbour; the other one of the two
            // stands one word further.
            if parity == 0 {
                side[1..].copy_from_slice(&same[..stride - 1]);
                side[0] = layout.tile_left(same[layout.row_len(1).max(1) - 1]);
            } else {
                side[..stride - 1].copy_from_slice(&same[1..]);
                if layout.cols % 2 == 0 {
                    side[stride - 1] = layout.tile_right(same[0]);
                }
            }
            let places = row * stride..row * stride + len;
            let [ones, twos, fours] = &mut self.up;
            let up = ones[places.clone()].iter_mut().zip(&mut twos[places.clone()]).zip(&mut fours[places]);
            let vertical = above.iter().zip(below);
            let horizontal = same.iter().zip(&side[..]);
            for (((ones, twos), fours), ((a, b), (c, d))) in up.zip(vertical.zip(horizontal)) {
                [*ones, *twos, *fours] = count(*a, *b, *c, *d);
            }
        }
    }

    /// Draw all spins of one colour, their neighbours being counted.
    #[inline(always)]
    fn draw(&mut self, colour: usize, rng: &mut Stream) {
        let n_words = self.spins[colour].len();
        for start in (0..n_words).step_by(BLOCK) {
            let words = BLOCK.min(n_words - start);
            rng.fill_u64(&mut self.random[..words * ROUNDS]);
            for group in 0..words / GROUP {
                self.draw_group(colour, start + group * GROUP, group * GROUP * ROUNDS, rng);
            }
        }
    }

    /// Draw the group of words from `at` on with the random words from `random` on.
    #[inline(always)]
    fn draw_group(&mut self, colour: usize, at: usize, random: usize, rng: &mut Stream) {
        let up: [Words; 3] = std::array::from_fn(|plane| Words::of(&self.up[plane][at..]));
        let random = &self.random[random..random + GROUP * ROUNDS];
        let (below, open, scores) = if self.missing[colour][0].is_empty() {
            let (below, open) = self.thresholds.compare(&five_classes(up), random);
            (below, open, [Words::splat(0), up[0], up[1], up[2]])
        } else {
            let missing = std::array::from_fn(|plane| Words::of(&self.missing[colour][plane][at..]));
            let scores = score_bits(up, missing);
            let (below, open) = self.thresholds.compare(&nine_classes(scores), random);
            (below, open, scores)
        };
        let valid = Words::of(&self.valid[colour][at..]);
        let (mut new, open) = ((below & valid).0, (open & valid).0);
        for (lane, word) in new.iter_mut().enumerate() {
            let mut left = open[lane];
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let score: u64 = (0..4).map(|i| (scores[i].0[lane] >> bit & 1) << i).sum();
                *word |= u64::from(self.thresholds.decide(score as usize, rng.next_u64())) << bit;
            }
        }
        self.spins[colour][at..at + GROUP].copy_from_slice(&new);
    }
}

/// One sweep, compiled for each vector level: all of it is integers, so all levels draw the same spins.
struct Sweep<'a> {
    lattice: &'a mut PackedIsing,
    rng: &'a mut Stream,
}

impl Dispatched for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for colour in 0..2 {
            self.lattice.count_up(colour);
            self.lattice.draw(colour, self.rng);
        }
    }
}

const FIX: &str = "take BlockGibbs, which allows any";
