//! The Ising lattice by transfer matrices: exact for lattices far beyond enumeration, as long as one side is short.
//!
//! `Z = sum_x prod_r W_r(x_r) V_r(x_r, x_{r+1})` over the states `x_r` of rows (see `rows.rs`). Where the long direction
//! is open, one vector of `2^width` numbers goes through all rows. Where it is closed, `Z` is the trace of the product:
//! one vector for every state of a start row. What is known of a row restricts its states, so a marginal
//! `p(x_S) = Z(x_S) / Z` is the same sum with fewer terms; it starts from the row of which most is known. Numbers are
//! scaled by row, their logarithms added up.
//!
//! Draws: the start row from the diagonal of the product, then row after row from
//! `p(x_{r+1} | x_r, x_0) ~ V_r(x_r, x_{r+1}) W_{r+1}(x_{r+1}) g_{r+1}(x_{r+1})`, where `g` sums over what comes later.
//!
//! Source: H. A. Kramers and G. H. Wannier, Physical Review 60 (1941), DOI 10.1103/PhysRev.60.252; L. Onsager, Physical
//! Review 65 (1944), DOI 10.1103/PhysRev.65.117.

use std::sync::OnceLock;

use super::lattice::{IsingLattice, check_spin};
use super::moments::{IsingMoments, moments};
use super::rows::{Allowed, Rows};
use super::{check_free, draw, spins_entropy};
use crate::random::Stream;
use crate::{Error, Result, log_sum_exp};

/// The law `p(x) = f(x) / Z` of an [`IsingLattice`].
///
/// A part of the spins is a slice `[rows * cols]` with -1, 1 or `None`, where the spin is summed over.
///
/// On a torus of width `w` and length `l`, making it and each question cost up to `l w 4^w` operations, `2^k` times
/// fewer when `k` spins are known in one row; a draw costs `l w 2^w`, as does everything where the long direction is
/// open. The short side may be the rows or the columns.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice, TransferMatrix};
/// use ebm_core::random::{Purpose, Stream};
/// let law = TransferMatrix::new(IsingLattice::new(4, 4, Boundary::Torus, 0.2, 0.2)?)?;
/// assert!((law.log_z() - 12.5985).abs() < 5e-5);
/// assert!((law.entropy() - 8.6813).abs() < 5e-5);
/// // Site 0 up, the other spins summed over; then also its right neighbour.
/// let mut partial = [None; 16];
/// partial[0] = Some(1);
/// let first = law.log_marginal(&partial)?;
/// let [_, up] = law.conditional(1, &partial)?;
/// partial[1] = Some(1);
/// assert!((law.log_marginal(&partial)? - first - up.ln()).abs() < 1e-12);
/// let draw: Vec<i8> = law.sample(&mut Stream::new(0, Purpose::User, 0));
/// let complete: Vec<Option<i8>> = draw.iter().copied().map(Some).collect();
/// assert_eq!(law.log_marginal(&complete)?, law.lattice().log_f(&draw)? - law.log_z());
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransferMatrix {
    lattice: IsingLattice,
    rows: Rows,
    /// In a ring: `ln` of the summed weight of each state of row 0, `[2^width]`.
    first_row: Vec<f64>,
    log_z: f64,
    moments: OnceLock<IsingMoments>,
}

impl TransferMatrix {
    /// Prepare a lattice; `log Z` is computed here.
    ///
    /// # Errors
    /// When the lattice is too wide (its short side above 12, or 16 where the long direction is open), too long for
    /// memory, or its couplings are so strong that neighbouring rows differ by more than 300 in `log f`.
    pub fn new(lattice: IsingLattice) -> Result<Self> {
        let rows = Rows::new(&lattice)?;
        let free = vec![Allowed::default(); rows.n_rows];
        let mut law = Self { lattice, rows, first_row: vec![], log_z: 0.0, moments: OnceLock::new() };
        if law.rows.ring {
            law.first_row = law.start_weights(0, &free);
            law.log_z = log_sum_exp(law.first_row.iter().copied());
        } else {
            law.log_z = law.log_weight(&free);
        }
        Ok(law)
    }

    /// The lattice.
    pub fn lattice(&self) -> &IsingLattice {
        &self.lattice
    }

    /// `ln Z`, `Z = sum_x f(x)`.
    pub fn log_z(&self) -> f64 {
        self.log_z
    }

    /// `ln p(x_S)`, the spins with `None` summed over; 0 when all are `None`.
    ///
    /// # Errors
    /// When `partial` has the wrong length or a spin that is neither -1 nor 1.
    pub fn log_marginal(&self, partial: &[Option<i8>]) -> Result<f64> {
        self.check(partial)?;
        if partial.iter().all(Option::is_none) {
            return Ok(0.0);
        }
        let complete: Option<Vec<i8>> = partial.iter().copied().collect();
        let log_weight = match complete {
            Some(spins) => self.lattice.log_f(&spins)?,
            None => self.log_weight(&self.rows.allowed(partial)),
        };
        // Rounding may lift the sum over nearly all states a hair above Z.
        Ok((log_weight - self.log_z).min(0.0))
    }

    /// `[p(x_site = -1 | x_S), p(x_site = 1 | x_S)]`.
    ///
    /// # Errors
    /// When `partial` has the wrong length, a spin that is neither -1 nor 1, or holds `site` itself.
    pub fn conditional(&self, site: usize, partial: &[Option<i8>]) -> Result<[f64; 2]> {
        self.check(partial)?;
        check_free(site, partial)?;
        let mut with = partial.to_vec();
        let [down, up] = [-1, 1].map(|spin| {
            with[site] = Some(spin);
            self.log_weight(&self.rows.allowed(&with))
        });
        let total = log_sum_exp([down, up].into_iter());
        Ok([(down - total).exp(), (up - total).exp()])
    }

    /// Means of spins and of products of neighbours; computed at the first call, which costs about as much as four
    /// calls of [`TransferMatrix::new`].
    pub fn moments(&self) -> &IsingMoments {
        self.moments.get_or_init(|| moments(&self.lattice, &self.rows, &self.first_row, self.log_z))
    }

    /// `E[E(x)] = -E[log f(x)]`.
    pub fn mean_energy(&self) -> f64 {
        -self.moments().mean_log_f(&self.lattice)
    }

    /// `-E[ln p(x)] = ln Z - E[log f(x)]` in nats.
    pub fn entropy(&self) -> f64 {
        self.log_z + self.mean_energy()
    }

    /// The least NLL in nats, `-E[ln q(x)]`, of any law `q` of independent spins: the summed entropies of the single
    /// spins, whose product is the best `q`.
    pub fn independent_nll(&self) -> f64 {
        spins_entropy(self.moments().magnetisation())
    }

    /// What independent spins lose, [`TransferMatrix::independent_nll`] less [`TransferMatrix::entropy`], in nats.
    pub fn total_correlation(&self) -> f64 {
        self.independent_nll() - self.entropy()
    }

    /// One exact draw, independent of all others: spins `[rows * cols]`, each -1 or 1. One uniform a row.
    pub fn sample(&self, stream: &mut Stream) -> Vec<i8> {
        let free = vec![Allowed::default(); self.rows.n_rows];
        self.draw_from(0, &self.first_row, &free, stream)
    }

    /// One exact draw of the spins that are `None` in `partial`, the others as given. Where the long direction is
    /// closed this costs as much as [`TransferMatrix::log_marginal`] each time.
    ///
    /// # Errors
    /// When `partial` has the wrong length or a spin that is neither -1 nor 1.
    pub fn sample_given(&self, partial: &[Option<i8>], stream: &mut Stream) -> Result<Vec<i8>> {
        self.check(partial)?;
        let allowed = self.rows.allowed(partial);
        let start = self.start(&allowed);
        let weights = if self.rows.ring { self.start_weights(start, &allowed) } else { vec![] };
        Ok(self.draw_from(start, &weights, &allowed, stream))
    }

    fn check(&self, partial: &[Option<i8>]) -> Result<()> {
        if partial.len() != self.lattice.n_sites() {
            return Err(Error::shape("spins of a partial state", self.lattice.n_sites(), partial.len()));
        }
        let known = partial.iter().enumerate().filter_map(|(site, spin)| spin.map(|spin| (site, spin)));
        known.into_iter().try_for_each(|(site, spin)| check_spin(site, spin))
    }

    /// Where to begin: the most constrained row of a ring, the first of an open chain.
    fn start(&self, allowed: &[Allowed]) -> usize {
        if self.rows.ring { self.rows.most_constrained(allowed) } else { 0 }
    }

    /// `ln` of the summed `f` of all states that are allowed.
    fn log_weight(&self, allowed: &[Allowed]) -> f64 {
        if self.rows.ring {
            let weights = self.start_weights(self.start(allowed), allowed);
            return log_sum_exp(weights.into_iter());
        }
        let mut v = vec![1.0; self.rows.n_states()];
        let mut log = self.rows.enter(0, allowed[0], &mut v);
        for row in 1..self.rows.n_rows {
            log += self.rows.cross(row - 1, &mut v) + self.rows.enter(row, allowed[row], &mut v);
        }
        log + v.iter().sum::<f64>().ln()
    }

    /// In a ring: `ln` of the summed weight of all allowed states with row `start` in a given state, `[2^width]`.
    fn start_weights(&self, start: usize, allowed: &[Allowed]) -> Vec<f64> {
        let (rows, mut v) = (&self.rows, vec![0.0; self.rows.n_states()]);
        let once_around = |state: usize| {
            if !allowed[start].admits(state) {
                return f64::NEG_INFINITY;
            }
            let mut log = rows.enter_at(start, state, &mut v);
            for step in 1..rows.n_rows {
                let (before, row) = ((start + step - 1) % rows.n_rows, (start + step) % rows.n_rows);
                log += rows.cross(before, &mut v) + rows.enter(row, allowed[row], &mut v);
            }
            log += rows.cross((start + rows.n_rows - 1) % rows.n_rows, &mut v);
            log + v[state].ln()
        };
        (0..rows.n_states()).map(once_around).collect()
    }

    /// A draw: the state of row `start` from `weights` (in a ring), then the others in turn.
    fn draw_from(&self, start: usize, weights: &[f64], allowed: &[Allowed], stream: &mut Stream) -> Vec<i8> {
        let rows = &self.rows;
        let (n_rows, n_states) = (rows.n_rows, rows.n_states());
        let row_at = |step: usize| (start + step) % n_rows;
        let mut states = vec![0; n_rows];
        // The sum over all rows after row `start + step`, and over the ring's closing bonds, as a function of that
        // row's state, times its own weight: `later[step]`.
        let mut later = vec![0.0; n_rows * n_states];
        let mut v = vec![1.0; n_states];
        if rows.ring {
            let largest = weights.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let weights: Vec<f64> = weights.iter().map(|w| (w - largest).exp()).collect();
            states[start] = draw(&weights, stream);
            rows.enter_at(start, states[start], &mut v);
        }
        for step in (0..n_rows).rev() {
            if rows.ring || step + 1 < n_rows {
                rows.cross(row_at(step), &mut v);
            }
            rows.enter(row_at(step), allowed[row_at(step)], &mut v);
            later[step * n_states..][..n_states].copy_from_slice(&v);
        }
        if !rows.ring {
            states[start] = draw(&later[..n_states], stream);
        }
        for step in 1..n_rows {
            let before = row_at(step - 1);
            v.fill(0.0);
            v[states[before]] = 1.0;
            rows.cross(before, &mut v);
            v.iter_mut().zip(&later[step * n_states..]).for_each(|(v, later)| *v *= later);
            states[row_at(step)] = draw(&v, stream);
        }
        self.spins(&states)
    }

    fn spins(&self, states: &[usize]) -> Vec<i8> {
        let mut spins = vec![0; self.lattice.n_sites()];
        for (row, state) in states.iter().enumerate() {
            for position in 0..self.rows.width {
                spins[self.rows.site(row, position)] = if state >> position & 1 == 1 { 1 } else { -1 };
            }
        }
        spins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Boundary, Enumeration};
    use crate::random::Purpose;

    const BOUNDARIES: [Boundary; 3] = [Boundary::Torus, Boundary::Cylinder, Boundary::Open];

    /// Every coupling and field of its own, of both signs: no symmetry hides a wrong index.
    fn rough(rows: usize, cols: usize, boundary: Boundary) -> IsingLattice {
        let mut stream = Stream::new(5, Purpose::User, (rows * 100 + cols) as u64);
        let mut numbers = |scale: f64| -> Vec<f64> {
            (0..rows * cols).map(|_| scale * (2.0 * stream.uniform() - 1.0)).collect()
        };
        let lattice = IsingLattice::new(rows, cols, boundary, 0.0, 0.0).unwrap();
        lattice.with_couplings(numbers(1.2), numbers(1.2)).unwrap().with_fields(numbers(0.7)).unwrap()
    }

    fn random_part(n: usize, keep: f64, stream: &mut Stream) -> Vec<Option<i8>> {
        let mut spin = |_| {
            let value = if stream.uniform() < 0.5 { -1 } else { 1 };
            (stream.uniform() < keep).then_some(value)
        };
        (0..n).map(&mut spin).collect()
    }

    fn bits(partial: &[Option<i8>]) -> Vec<Option<u8>> {
        partial.iter().map(|spin| spin.map(|spin| u8::from(spin > 0))).collect()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-10, "{a} {b}");
    }

    fn sign(bit: u8) -> f64 {
        2.0 * f64::from(bit) - 1.0
    }

    fn check_against_enumeration(lattice: IsingLattice) {
        let all = Enumeration::ising(&lattice).unwrap();
        let law = TransferMatrix::new(lattice.clone()).unwrap();
        close(law.log_z(), all.log_z());
        close(law.mean_energy(), all.mean_energy());
        close(law.entropy(), all.entropy());
        close(law.independent_nll(), all.independent_nll());
        close(law.total_correlation(), all.total_correlation());
        let (n, moments) = (lattice.n_sites(), law.moments());
        let marginals = all.marginals();
        for site in 0..n {
            close(moments.magnetisation()[site], marginals[2 * site + 1] - marginals[2 * site]);
            let pair = |other: Option<usize>| {
                other.map_or(0.0, |other| all.expectation(|x| sign(x[site]) * sign(x[other])))
            };
            // One state at a time is slow on the larger ones: a few sites will do.
            if n < 10 || site % 5 == 3 {
                close(moments.right()[site], pair(lattice.right_of(site)));
                close(moments.down()[site], pair(lattice.below(site)));
            }
        }
        let mut stream = Stream::new(8, Purpose::User, n as u64);
        for trial in 0..20 {
            let mut partial = random_part(n, f64::from(trial) / 20.0, &mut stream);
            close(law.log_marginal(&partial).unwrap(), all.log_marginal(&bits(&partial)).unwrap());
            let site = stream.below(n);
            partial[site] = None;
            let conditional = law.conditional(site, &partial).unwrap();
            let expected = all.conditional(site, &bits(&partial)).unwrap();
            close(conditional[0], expected[0]);
            close(conditional[1], expected[1]);
            // The marginals over a site add up to the marginal without it.
            let without = law.log_marginal(&partial).unwrap();
            let with = [-1, 1].map(|spin| {
                partial[site] = Some(spin);
                law.log_marginal(&partial).unwrap().exp()
            });
            close((with[0] + with[1]).ln(), without);
        }
    }

    #[test]
    fn equals_enumeration_on_every_boundary() {
        for boundary in BOUNDARIES {
            let sizes =
                [(1, 1), (1, 2), (2, 1), (1, 5), (5, 1), (2, 2), (2, 3), (3, 2), (2, 5), (5, 2), (3, 3)];
            for (rows, cols) in sizes {
                check_against_enumeration(rough(rows, cols, boundary));
            }
            check_against_enumeration(rough(3, 4, boundary));
            check_against_enumeration(rough(4, 3, boundary));
        }
        check_against_enumeration(rough(4, 4, Boundary::Torus));
        check_against_enumeration(IsingLattice::new(4, 4, Boundary::Torus, 0.4, 0.0).unwrap());
    }

    /// Draws, free and given a part, against the means that the same part implies.
    fn check_draws(lattice: IsingLattice, partial: &[Option<i8>]) {
        let n_draws = 4000;
        let n = lattice.n_sites();
        let all = Enumeration::ising(&lattice).unwrap();
        let law = TransferMatrix::new(lattice.clone()).unwrap();
        let free = partial.iter().all(Option::is_none);
        let mut stream = Stream::new(21, Purpose::User, n as u64);
        let draws: Vec<Vec<i8>> =
            (0..n_draws)
                .map(|_| {
                    if free {
                        law.sample(&mut stream)
                    } else {
                        law.sample_given(partial, &mut stream).unwrap()
                    }
                })
                .collect();
        let edges = lattice.edges();
        let mut means = vec![0.0; n + edges.len()];
        let product = |x: &[f64], i: usize| if i < n { x[i] } else { x[edges[i - n].0] * x[edges[i - n].1] };
        let add = |x: &[u8], p: f64| {
            let x: Vec<f64> = x.iter().map(|bit| sign(*bit)).collect();
            means.iter_mut().enumerate().for_each(|(i, mean)| *mean += p * product(&x, i));
        };
        all.for_each_given(&bits(partial), add).unwrap();
        let draws: Vec<Vec<f64>> = draws.iter().map(|x| x.iter().map(|s| f64::from(*s)).collect()).collect();
        for (i, mean) in means.iter().enumerate() {
            let found = draws.iter().map(|x| product(x, i)).sum::<f64>() / n_draws as f64;
            let error = ((1.0 - mean * mean).max(0.0) / n_draws as f64).sqrt();
            assert!((found - mean).abs() <= 4.0 * error + 1e-9, "{i}: {found} {mean} +- {error}");
        }
    }

    #[test]
    fn draws_have_the_exact_moments() {
        for boundary in BOUNDARIES {
            check_draws(rough(3, 4, boundary), &[None; 12]);
            check_draws(rough(4, 3, boundary), &[None; 12]);
            let mut partial = [None; 12];
            (partial[1], partial[6], partial[7]) = (Some(1), Some(-1), Some(1));
            check_draws(rough(3, 4, boundary), &partial);
        }
        check_draws(rough(2, 3, Boundary::Torus), &[None; 6]);
    }

    #[test]
    fn draws_pass_a_chi_square_on_all_states() {
        let n_draws = 20_000;
        for boundary in BOUNDARIES {
            let law = TransferMatrix::new(rough(2, 2, boundary)).unwrap();
            let mut stream = Stream::new(2, Purpose::User, 0);
            let mut counts = [0.0; 16];
            for _ in 0..n_draws {
                let x = law.sample(&mut stream);
                counts[x.iter().enumerate().map(|(i, s)| usize::from(*s > 0) << i).sum::<usize>()] += 1.0;
            }
            let chi2: f64 = (0..16)
                .map(|state| {
                    let spin = |i: usize| Some(if state >> i & 1 == 1 { 1 } else { -1 });
                    let partial = [spin(0), spin(1), spin(2), spin(3)];
                    let expected = f64::from(n_draws) * law.log_marginal(&partial).unwrap().exp();
                    (counts[state] - expected).powi(2) / expected
                })
                .sum();
            // 15 degrees of freedom, level 1e-6.
            assert!(chi2 < 56.5, "{boundary:?}: {chi2}");
        }
    }

    #[test]
    fn a_given_part_stays_and_a_complete_one_is_itself() {
        let law = TransferMatrix::new(rough(3, 4, Boundary::Torus)).unwrap();
        let mut stream = Stream::new(1, Purpose::User, 0);
        let partial = random_part(12, 0.5, &mut stream);
        for _ in 0..50 {
            let draw = law.sample_given(&partial, &mut stream).unwrap();
            assert!(partial.iter().zip(&draw).all(|(known, spin)| known.is_none_or(|known| known == *spin)));
        }
        let complete = random_part(12, 1.0, &mut stream);
        let draw = law.sample_given(&complete, &mut stream).unwrap();
        assert_eq!(draw.iter().copied().map(Some).collect::<Vec<_>>(), complete);
        assert_eq!(law.log_marginal(&[None; 12]).unwrap(), 0.0);
    }

    #[test]
    fn strong_couplings_neither_overflow_nor_underflow() {
        // As strong as is allowed: 2 x 4 x (6 + 6 + 6) = 144, 2 x 4 x (12 + 12 + 13) = 296.
        for strength in [6.0, 12.0, -12.0] {
            let lattice =
                IsingLattice::new(4, 4, Boundary::Torus, strength, strength.abs().min(12.9)).unwrap();
            check_against_enumeration(lattice);
        }
        // A very unlikely part: all but one spin of a long strip against the field.
        let lattice = IsingLattice::new(3, 40, Boundary::Torus, 8.0, 10.0).unwrap();
        let law = TransferMatrix::new(lattice).unwrap();
        let mut partial = vec![Some(-1); 120];
        partial[57] = None;
        let found = law.log_marginal(&partial).unwrap();
        let spins = |spin| (0..120).map(|i| Some(if i == 57 { spin } else { -1 })).collect::<Vec<_>>();
        let terms = [-1, 1].map(|spin| law.log_marginal(&spins(spin)).unwrap());
        assert!(found < -2000.0 && (found - log_sum_exp(terms.into_iter())).abs() < 1e-8, "{found}");
    }

    #[test]
    fn the_short_side_may_be_either() {
        for boundary in [Boundary::Torus, Boundary::Open] {
            let long = rough(3, 20, boundary);
            let turn = |values: &[f64]| (0..60).map(|i| values[i % 3 * 20 + i / 3]).collect::<Vec<_>>();
            let tall = IsingLattice::new(20, 3, boundary, 0.0, 0.0).unwrap();
            let tall = tall.with_couplings(turn(long.down()), turn(long.right())).unwrap();
            let tall = tall.with_fields(turn(long.fields())).unwrap();
            let (long, tall) = (TransferMatrix::new(long).unwrap(), TransferMatrix::new(tall).unwrap());
            close(long.log_z(), tall.log_z());
            close(long.entropy(), tall.entropy());
        }
        // Wide, but narrow the other way round.
        let ring = IsingLattice::new(2, 500, Boundary::Cylinder, 0.3, 0.1).unwrap();
        assert!(TransferMatrix::new(ring).is_ok());
    }

    #[test]
    fn a_ring_of_spins_has_its_closed_form() {
        // Z = (2 cosh J)^n + (2 sinh J)^n without a field.
        let (n, coupling) = (30, 0.7f64);
        let ring = IsingLattice::new(1, n as usize, Boundary::Torus, coupling, 0.0).unwrap();
        let z = (2.0 * coupling.cosh()).powi(n) + (2.0 * coupling.sinh()).powi(n);
        let law = TransferMatrix::new(ring).unwrap();
        close(law.log_z(), z.ln());
        // E[x_i x_{i+1}] = (t + t^(n-1)) / (1 + t^n), t = tanh J.
        let t = coupling.tanh();
        close(law.moments().neighbour_correlation(), (t + t.powi(n - 1)) / (1.0 + t.powi(n)));
        close(law.moments().mean_magnetisation(), 0.0);
    }

    #[test]
    fn bad_input_is_an_error() {
        let new = |rows, cols, boundary, coupling| {
            let lattice = IsingLattice::new(rows, cols, boundary, coupling, 0.0).unwrap();
            TransferMatrix::new(lattice).map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(
            new(13, 13, Boundary::Torus, 0.1),
            "lattice width = 13: must be at most 12 where the long direction is closed; \
             take a narrower lattice; for more, compare with Monte Carlo"
        );
        assert!(new(17, 40, Boundary::Open, 0.1).starts_with("lattice width = 17: must be at most 16"));
        assert!(new(9000, 12, Boundary::Open, 0.1).contains("9000 x 2^12: must be at most 2^25"));
        assert_eq!(
            new(4, 4, Boundary::Torus, 30.0),
            "the range of log f over the states of a row = 480: must be at most 300; \
             take smaller couplings and fields, or a narrower lattice"
        );
        let law = TransferMatrix::new(rough(2, 2, Boundary::Torus)).unwrap();
        let mut stream = Stream::new(0, Purpose::User, 0);
        let short = "spins of a partial state: expected 4, found 3";
        assert_eq!(law.log_marginal(&[None; 3]).unwrap_err().to_string(), short);
        assert_eq!(law.conditional(0, &[None; 3]).unwrap_err().to_string(), short);
        assert_eq!(law.sample_given(&[None; 3], &mut stream).unwrap_err().to_string(), short);
        let wrong = [None, Some(2), None, None];
        let text = "spins[1] = 2: must be -1 or 1; map a bit x to 2 x - 1";
        assert_eq!(law.log_marginal(&wrong).unwrap_err().to_string(), text);
        assert_eq!(law.conditional(0, &wrong).unwrap_err().to_string(), text);
        let known = [None, Some(1), None, None];
        assert_eq!(
            law.conditional(1, &known).unwrap_err().to_string(),
            "partial[1] = given: must be None; its conditional is asked for"
        );
        assert_eq!(
            law.conditional(4, &known).unwrap_err().to_string(),
            "variable = 4: must be below 4, the number of variables"
        );
    }
}
