//! Where the spins of a lattice stand in 64-bit words: bit `b` of every word belongs to the `b`-th tile of the lattice.
//!
//! The lattice is cut into `down x across` equal tiles, at most 64, one bit each; a word holds the same place of every
//! tile. Then the neighbours of all spins of a word are the spins of another word, bit by bit, except on a tile's
//! border, where they stand one tile further: the word is shifted by one tile. The two colours of the chessboard are
//! stored apart, so that both are contiguous. As tiles have even sides the colour of a place is the same in every tile.
//!
//! Sides that are multiples of 16 fill all 64 bits; a side of 2 times a large prime number fills few.

use ebm_core::exact::{Boundary, IsingLattice};

/// Tiles, their sides, and in which directions the lattice is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Tiles down and across.
    pub(super) down: usize,
    pub(super) across: usize,
    /// Sides of a tile.
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Words per row of one colour.
    pub(super) stride: usize,
    closed_down: bool,
    closed_across: bool,
    /// The bits of the first and of the last column of tiles.
    first_across: u64,
    last_across: u64,
}

impl Layout {
    /// With as many bits in use as possible; among those, as many tiles down as possible, for long rows.
    ///
    /// Closed sides must be even, or 1.
    pub(super) fn new(lattice: &IsingLattice) -> Self {
        let (all_rows, all_cols) = (lattice.rows(), lattice.cols());
        let fits = |side: usize, tiles: &usize| *tiles == 1 || side.is_multiple_of(2 * tiles);
        let (mut down, mut across) = (1, 1);
        for d in (1..=64).filter(|d| fits(all_rows, d)) {
            for a in (1..=64 / d).filter(|a| fits(all_cols, a)) {
                if d * a >= down * across {
                    (down, across) = (d, a);
                }
            }
        }
        let column = |at: usize| (0..down).fold(0, |bits, d| bits | 1 << (d * across + at));
        let cols = all_cols / across;
        Self {
            down,
            across,
            rows: all_rows / down,
            cols,
            stride: cols.div_ceil(2),
            closed_down: lattice.boundary() == Boundary::Torus && all_rows > 1,
            closed_across: lattice.boundary() != Boundary::Open && all_cols > 1,
            first_across: column(0),
            last_across: column(across - 1),
        }
    }

    /// Words of one colour.
    pub(super) fn n_words(&self) -> usize {
        self.rows * self.stride
    }

    /// Bits in use.
    pub(super) fn lanes(&self) -> usize {
        self.down * self.across
    }

    /// A word with these bits set.
    pub(super) fn used(&self) -> u64 {
        u64::MAX >> (64 - self.lanes())
    }

    /// Whether every spin has four neighbours.
    pub(super) fn is_closed(&self) -> bool {
        self.closed_down && self.closed_across
    }

    /// (colour, word, bit) of a site.
    pub(super) fn place(&self, row: usize, col: usize) -> (usize, usize, usize) {
        let (r, c) = (row % self.rows, col % self.cols);
        let bit = row / self.rows * self.across + col / self.cols;
        ((r + c) % 2, r * self.stride + c / 2, bit)
    }

    /// The parity of the columns that row `row` of a tile has of a colour.
    pub(super) fn parity(row: usize, colour: usize) -> usize {
        (row + colour) % 2
    }

    /// Words in a row of columns of this parity; one less than the stride where an odd side ends.
    pub(super) fn row_len(&self, parity: usize) -> usize {
        (self.cols + 1 - parity) / 2
    }

    /// Each bit from the tile above; 0 where there is none.
    #[inline(always)]
    pub(super) fn tile_above(&self, word: u64) -> u64 {
        let wrapped = if self.closed_down { word >> (self.lanes() - self.across) } else { 0 };
        if self.down == 1 { wrapped } else { word << self.across & self.used() | wrapped }
    }

    /// Each bit from the tile below.
    #[inline(always)]
    pub(super) fn tile_below(&self, word: u64) -> u64 {
        let wrapped = if self.closed_down { word << (self.lanes() - self.across) & self.used() } else { 0 };
        if self.down == 1 { wrapped } else { word >> self.across | wrapped }
    }

    /// Each bit from the tile on the left.
    #[inline(always)]
    pub(super) fn tile_left(&self, word: u64) -> u64 {
        let wrapped = if self.closed_across { word >> (self.across - 1) & self.first_across } else { 0 };
        (word << 1) & !self.first_across & self.used() | wrapped
    }

    /// Each bit from the tile on the right.
    #[inline(always)]
    pub(super) fn tile_right(&self, word: u64) -> u64 {
        let wrapped = if self.closed_across { word << (self.across - 1) & self.last_across } else { 0 };
        (word >> 1) & !self.last_across | wrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rows: usize, cols: usize, boundary: Boundary) -> Layout {
        Layout::new(&IsingLattice::new(rows, cols, boundary, 0.1, 0.0).unwrap())
    }

    #[test]
    fn tiles_fill_the_words() {
        let sizes = |rows, cols| {
            let l = layout(rows, cols, Boundary::Torus);
            (l.down, l.across, l.rows, l.cols)
        };
        assert_eq!(sizes(64, 64), (32, 2, 2, 32));
        assert_eq!(sizes(512, 512), (64, 1, 8, 512));
        assert_eq!(sizes(6, 6), (3, 3, 2, 2));
        assert_eq!(sizes(30, 30), (15, 3, 2, 10));
        assert_eq!(sizes(16, 16), (8, 8, 2, 2));
        let open = layout(7, 9, Boundary::Open);
        assert_eq!((open.lanes(), open.stride), (1, 5));
    }

    #[test]
    fn every_site_has_a_place_of_its_own() {
        for (rows, cols) in [(6, 6), (16, 32), (7, 9), (1, 8), (64, 64), (5, 200)] {
            let l = layout(rows, cols, Boundary::Open);
            let mut seen = std::collections::HashSet::new();
            for row in 0..rows {
                for col in 0..cols {
                    let (colour, word, bit) = l.place(row, col);
                    assert!(word < l.n_words() && bit < l.lanes());
                    assert!(seen.insert((colour, word, bit)));
                    assert_eq!(colour, (row + col) % 2);
                }
            }
        }
    }
}
