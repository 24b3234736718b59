//! Any energy of few discrete variables, by summing over all its states.
//!
//! `p(x) = exp(-E(x)) / Z` for `x` in `{0 .. n_values}^n_variables`. The energy is called once a state, at the start;
//! `-E` of every state is kept (8 bytes each, at most 2^24 of them), and every answer is a sum over the states that
//! match a question, taken relative to the largest term and with the rounding error carried along.

use super::lattice::IsingLattice;
use super::{check_free, draw, entropy_of};
use crate::random::Stream;
use crate::sums::{Sum, total};
use crate::{Error, Result};

/// The most states that are kept: 2^24, or 128 MiB.
const MAX_STATES: usize = 1 << 24;

/// Cumulative probabilities are kept once a block of so many states; within a block a draw walks.
const BLOCK: usize = 1 << 12;

/// The law `p(x) = exp(-E(x)) / Z` on all states of a few discrete variables.
///
/// A state is a slice `[n_variables]` of values below `n_values`; a part of one (`partial`) has `None` where the
/// variable is summed over.
///
/// ```
/// use ebm_core::exact::Enumeration;
/// use ebm_core::random::{Purpose, Stream};
/// // Three letters out of four; equal neighbours cost 1.
/// let energy = |x: &[u8]| x.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
/// let law = Enumeration::new(3, 4, energy)?;
/// let z = 4.0 * (3.0 + (-1f64).exp()).powi(2);
/// assert!((law.log_z() - z.ln()).abs() < 1e-12);
/// let equal = law.expectation(|x| f64::from(u8::from(x[0] == x[1])));
/// assert!((equal - (-1f64).exp() / (3.0 + (-1f64).exp())).abs() < 1e-12);
/// // The first letter is known, the last one summed over.
/// let given_first = law.conditional(1, &[Some(2), None, None])?;
/// assert!((given_first[2] - equal).abs() < 1e-12);
/// let draw: Vec<u8> = law.sample(&mut Stream::new(0, Purpose::User, 0));
/// assert_eq!(draw.len(), 3);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Enumeration {
    n_variables: usize,
    n_values: usize,
    /// `-E` of every state; the last variable changes fastest.
    log_f: Vec<f64>,
    log_z: f64,
    /// The probability of all states before each block, and at the end of all.
    cumulative: Vec<f64>,
    mode: usize,
}

impl Enumeration {
    /// The law of `energy`, which is called once for each of the `n_values ^ n_variables` states. An energy of
    /// `f64::INFINITY` means probability 0.
    ///
    /// # Errors
    /// When there is no variable, `n_values` is not in 2..=256, there are more than 2^24 states, an energy is NaN or
    /// `-inf`, or all are `inf`.
    pub fn new(n_variables: usize, n_values: usize, mut energy: impl FnMut(&[u8]) -> f64) -> Result<Self> {
        let n_states = count_states(n_variables, n_values)?;
        let mut log_f = Vec::with_capacity(n_states);
        let mut state = vec![0u8; n_variables];
        for _ in 0..n_states {
            let value = energy(&state);
            if value.is_nan() || value == f64::NEG_INFINITY {
                let name = format!("energy of {state:?}");
                return Err(Error::bad_value(name, value, "a number or inf", "inf means probability 0"));
            }
            log_f.push(-value);
            advance(&mut state, n_values);
        }
        let mut mode = 0;
        for (index, value) in log_f.iter().enumerate() {
            if *value > log_f[mode] {
                mode = index;
            }
        }
        if log_f[mode] == f64::NEG_INFINITY {
            let fix = "inf means probability 0";
            return Err(Error::bad_value("energy of every state", "inf", "finite for at least one", fix));
        }
        let log_z = log_f[mode] + total(log_f.iter().map(|v| (v - log_f[mode]).exp())).ln();
        let (mut sum, mut cumulative) = (Sum::default(), vec![0.0]);
        for block in log_f.chunks(BLOCK) {
            block.iter().for_each(|v| sum.add((v - log_z).exp()));
            cumulative.push(sum.value());
        }
        Ok(Self { n_variables, n_values, log_f, log_z, cumulative, mode })
    }

    /// The law of a lattice of at most 24 sites: value 0 is spin -1, value 1 is spin 1.
    ///
    /// ```
    /// use ebm_core::exact::{Boundary, Enumeration, IsingLattice, TransferMatrix};
    /// let lattice = IsingLattice::new(3, 3, Boundary::Torus, 0.3, 0.1)?;
    /// let by_transfer = TransferMatrix::new(lattice.clone())?.log_z();
    /// assert!((Enumeration::ising(&lattice)?.log_z() - by_transfer).abs() < 1e-12);
    /// # Ok::<(), ebm_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the lattice has more than 24 sites.
    pub fn ising(lattice: &IsingLattice) -> Result<Self> {
        Self::new(lattice.n_sites(), 2, |x| -lattice.log_f_by(|site| 2.0 * f64::from(x[site]) - 1.0))
    }

    /// The number of variables.
    pub fn n_variables(&self) -> usize {
        self.n_variables
    }

    /// The number of values that each variable can take.
    pub fn n_values(&self) -> usize {
        self.n_values
    }

    /// `ln Z`, `Z = sum_x exp(-E(x))`.
    pub fn log_z(&self) -> f64 {
        self.log_z
    }

    /// `E[E(x)]`.
    pub fn mean_energy(&self) -> f64 {
        total(self.log_f.iter().filter_map(|v| times((v - self.log_z).exp(), -v)))
    }

    /// `-E[ln p(x)]` in nats.
    pub fn entropy(&self) -> f64 {
        total(self.log_f.iter().filter_map(|v| times((v - self.log_z).exp(), self.log_z - v)))
    }

    /// `E[f(x)]`; states of probability 0 are left out.
    pub fn expectation(&self, mut f: impl FnMut(&[u8]) -> f64) -> f64 {
        let mut sum = Sum::default();
        self.walk(&vec![None; self.n_variables], |state, index| {
            let probability = (self.log_f[index] - self.log_z).exp();
            if probability > 0.0 {
                sum.add(probability * f(state));
            }
        });
        sum.value()
    }

    /// Call `visit(x, p(x | partial))` for each state that matches `partial`, states of probability 0 left out: for
    /// histograms of anything, given anything. With `None` throughout it is `p(x)`.
    ///
    /// ```
    /// use ebm_core::exact::Enumeration;
    /// let law = Enumeration::new(4, 2, |x| f64::from(x.iter().sum::<u8>()))?;
    /// let mut counts = [0.0; 5]; // the law of the sum, given that the first value is 1
    /// law.for_each_given(&[Some(1), None, None, None], |x, p| counts[x.iter().sum::<u8>() as usize] += p)?;
    /// assert!((counts.iter().sum::<f64>() - 1.0).abs() < 1e-12 && counts[0] == 0.0);
    /// # Ok::<(), ebm_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When `partial` has the wrong length, a value out of range, or probability 0.
    pub fn for_each_given(&self, partial: &[Option<u8>], mut visit: impl FnMut(&[u8], f64)) -> Result<()> {
        let log_weight = self.possible(partial)?;
        self.walk(partial, |state, index| {
            let probability = (self.log_f[index] - log_weight).exp();
            if probability > 0.0 {
                visit(state, probability);
            }
        });
        Ok(())
    }

    /// `ln p(x_S)`, the variables with `None` summed over; 0 when all are `None`, `-inf` for the impossible.
    ///
    /// # Errors
    /// When `partial` has the wrong length or a value out of range.
    pub fn log_marginal(&self, partial: &[Option<u8>]) -> Result<f64> {
        self.check(partial)?;
        if partial.iter().all(Option::is_none) {
            return Ok(0.0);
        }
        // Rounding may lift the sum over nearly all states a hair above Z.
        Ok((self.log_weight(partial) - self.log_z).min(0.0))
    }

    /// `p(x_variable = k | x_S)` for every `k`, `[n_values]`.
    ///
    /// # Errors
    /// When `partial` has the wrong length, a value out of range or probability 0, or holds `variable` itself.
    pub fn conditional(&self, variable: usize, partial: &[Option<u8>]) -> Result<Vec<f64>> {
        self.check(partial)?;
        check_free(variable, partial)?;
        let log_weight = self.possible(partial)?;
        let mut sums = vec![Sum::default(); self.n_values];
        self.walk(partial, |state, index| {
            sums[usize::from(state[variable])].add((self.log_f[index] - log_weight).exp());
        });
        Ok(sums.into_iter().map(Sum::value).collect())
    }

    /// `p(x_i = k)` for every variable, `[n_variables * n_values]`, variable by variable.
    pub fn marginals(&self) -> Vec<f64> {
        let mut sums = vec![Sum::default(); self.n_variables * self.n_values];
        self.walk(&vec![None; self.n_variables], |state, index| {
            let probability = (self.log_f[index] - self.log_z).exp();
            for (i, value) in state.iter().enumerate() {
                sums[i * self.n_values + usize::from(*value)].add(probability);
            }
        });
        sums.into_iter().map(Sum::value).collect()
    }

    /// The least NLL in nats, `-E[ln q(x)]`, of any law `q` of independent variables: the summed entropies of the
    /// marginals, whose product is the best `q`.
    pub fn independent_nll(&self) -> f64 {
        entropy_of(self.marginals().into_iter())
    }

    /// What independent variables lose, [`Enumeration::independent_nll`] less [`Enumeration::entropy`], in nats.
    pub fn total_correlation(&self) -> f64 {
        self.independent_nll() - self.entropy()
    }

    /// One exact draw by the inverse CDF (one uniform), `[n_variables]`.
    pub fn sample(&self, stream: &mut Stream) -> Vec<u8> {
        let end = self.cumulative[self.cumulative.len() - 1];
        let target = stream.uniform() * end;
        let block = self.cumulative.partition_point(|before| *before <= target).saturating_sub(1);
        let (mut sum, mut chosen) = (self.cumulative[block], self.mode);
        for (index, log_f) in self.log_f.iter().enumerate().skip(block * BLOCK) {
            let probability = (log_f - self.log_z).exp();
            if probability > 0.0 {
                chosen = index;
                sum += probability;
                if target < sum {
                    break;
                }
            }
        }
        self.state(chosen)
    }

    /// One exact draw of the variables that are `None` in `partial`, the others as given; walks over all states that
    /// match.
    ///
    /// # Errors
    /// When `partial` has the wrong length, a value out of range, or probability 0.
    pub fn sample_given(&self, partial: &[Option<u8>], stream: &mut Stream) -> Result<Vec<u8>> {
        let log_weight = self.possible(partial)?;
        let (mut weights, mut indices) = (vec![], vec![]);
        self.walk(partial, |_, index| {
            weights.push((self.log_f[index] - log_weight).exp());
            indices.push(index);
        });
        Ok(self.state(indices[draw(&weights, stream)]))
    }

    fn state(&self, mut index: usize) -> Vec<u8> {
        let mut state = vec![0; self.n_variables];
        for value in state.iter_mut().rev() {
            *value = (index % self.n_values) as u8;
            index /= self.n_values;
        }
        state
    }

    fn check(&self, partial: &[Option<u8>]) -> Result<()> {
        if partial.len() != self.n_variables {
            return Err(Error::shape("variables of a partial state", self.n_variables, partial.len()));
        }
        for (i, value) in partial.iter().enumerate() {
            if let Some(value) = value.filter(|v| usize::from(*v) >= self.n_values) {
                let limit = format!("below {}", self.n_values);
                return Err(Error::bad_value(format!("partial[{i}]"), value, limit, ""));
            }
        }
        Ok(())
    }

    /// `ln` of the summed `f` of the states that match; an error when that is impossible.
    fn possible(&self, partial: &[Option<u8>]) -> Result<f64> {
        self.check(partial)?;
        let log_weight = self.log_weight(partial);
        if log_weight == f64::NEG_INFINITY {
            let fix = "condition on something possible";
            return Err(Error::bad_value("probability of the partial state", 0, "above 0", fix));
        }
        Ok(log_weight)
    }

    fn log_weight(&self, partial: &[Option<u8>]) -> f64 {
        let mut largest = f64::NEG_INFINITY;
        self.walk(partial, |_, index| largest = largest.max(self.log_f[index]));
        if largest == f64::NEG_INFINITY {
            return largest;
        }
        let mut sum = Sum::default();
        self.walk(partial, |_, index| sum.add((self.log_f[index] - largest).exp()));
        largest + sum.value().ln()
    }

    /// Visit all states that match, with their index, the last variable changing fastest.
    fn walk(&self, partial: &[Option<u8>], mut visit: impl FnMut(&[u8], usize)) {
        let mut state: Vec<u8> = partial.iter().map(|value| value.unwrap_or(0)).collect();
        // The free variables, the fastest first, and how far apart in memory two of their values are.
        let (mut free, mut index, mut stride) = (vec![], 0, 1);
        for (variable, value) in partial.iter().enumerate().rev() {
            match value {
                Some(value) => index += usize::from(*value) * stride,
                None => free.push((variable, stride)),
            }
            stride *= self.n_values;
        }
        loop {
            visit(&state, index);
            let mut done = true;
            for &(variable, stride) in &free {
                if usize::from(state[variable]) + 1 < self.n_values {
                    state[variable] += 1;
                    index += stride;
                    done = false;
                    break;
                }
                index -= usize::from(state[variable]) * stride;
                state[variable] = 0;
            }
            if done {
                return;
            }
        }
    }
}

/// `weight * value`, where the weight is above 0 (an impossible state has the energy `inf`).
fn times(weight: f64, value: f64) -> Option<f64> {
    (weight > 0.0).then_some(weight * value)
}

fn count_states(n_variables: usize, n_values: usize) -> Result<usize> {
    if n_variables == 0 {
        return Err(Error::bad_value("n_variables", 0, "at least 1", ""));
    }
    if !(2..=256).contains(&n_values) {
        return Err(Error::bad_value("n_values", n_values, "in 2..=256", ""));
    }
    let count = u32::try_from(n_variables).ok().and_then(|n| n_values.checked_pow(n));
    match count.filter(|count| *count <= MAX_STATES) {
        Some(count) => Ok(count),
        None => {
            let found = format_args!("{n_values}^{n_variables}");
            let fix = "take fewer variables, or TransferMatrix for an Ising lattice";
            Err(Error::bad_value("states", found, "at most 2^24", fix))
        }
    }
}

fn advance(state: &mut [u8], n_values: usize) {
    for value in state.iter_mut().rev() {
        if usize::from(*value) + 1 < n_values {
            *value += 1;
            return;
        }
        *value = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    /// Couples every pair of variables, with no symmetry, and forbids one value of the first two together.
    fn energy(x: &[u8]) -> f64 {
        if x[0] == 2 && x[1] == 2 {
            return f64::INFINITY;
        }
        let mut sum = 0.0;
        for i in 0..x.len() {
            sum += (f64::from(x[i]) * (i as f64 + 0.7)).sin();
            for j in 0..i {
                sum += 0.5 * (f64::from(x[i]) - 1.3 * f64::from(x[j]) + i as f64).cos();
            }
        }
        2.0 * sum
    }

    fn law() -> Enumeration {
        Enumeration::new(5, 3, energy).unwrap()
    }

    /// All states, by another loop.
    fn states() -> Vec<Vec<u8>> {
        (0..243usize).map(|i| [1, 3, 9, 27, 81].iter().map(|d| (i / d % 3) as u8).collect()).collect()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn sums_by_hand() {
        let law = law();
        let z: f64 = states().iter().map(|x| (-energy(x)).exp()).sum();
        close(law.log_z(), z.ln());
        let p = |x: &[u8]| (-energy(x)).exp() / z;
        let finite = |x: &&Vec<u8>| energy(x).is_finite();
        close(law.mean_energy(), states().iter().filter(finite).map(|x| p(x) * energy(x)).sum());
        close(law.entropy(), states().iter().filter(finite).map(|x| -p(x) * p(x).ln()).sum());
        let f = |x: &[u8]| f64::from(x[1]) * f64::from(x[3]);
        close(law.expectation(f), states().iter().map(|x| p(x) * f(x)).sum());
        let marginals = law.marginals();
        for (i, k) in [(0, 0), (2, 1), (4, 2)] {
            close(marginals[3 * i + k], states().iter().filter(|x| x[i] == k as u8).map(|x| p(x)).sum());
        }
        close(law.independent_nll(), marginals.iter().map(|p| -p * p.ln()).sum());
        close(law.total_correlation(), law.independent_nll() - law.entropy());
    }

    #[test]
    fn marginals_conditionals_and_what_they_add_up_to() {
        let law = law();
        let mut stream = Stream::new(1, Purpose::User, 0);
        for _ in 0..100 {
            let mut partial: Vec<Option<u8>> =
                (0..5).map(|_| (stream.uniform() < 0.5).then_some(stream.below(3) as u8)).collect();
            let matches =
                |x: &&Vec<u8>| partial.iter().zip(*x).all(|(known, value)| known.is_none_or(|k| k == *value));
            let sum: f64 = states().iter().filter(matches).map(|x| (-energy(x)).exp()).sum();
            let found = law.log_marginal(&partial).unwrap();
            if sum == 0.0 {
                assert_eq!(found, f64::NEG_INFINITY);
                assert!(law.sample_given(&partial, &mut stream).is_err());
                continue;
            }
            close(found, sum.ln() - law.log_z());
            let draw = law.sample_given(&partial, &mut stream).unwrap();
            assert!(matches(&&draw) && energy(&draw).is_finite());
            let Some(free) = partial.iter().position(Option::is_none) else { continue };
            let conditional = law.conditional(free, &partial).unwrap();
            close(conditional.iter().sum(), 1.0);
            for k in 0..3u8 {
                partial[free] = Some(k);
                close(conditional[usize::from(k)], (law.log_marginal(&partial).unwrap() - found).exp());
            }
        }
        assert_eq!(law.log_marginal(&[None; 5]).unwrap(), 0.0);
    }

    #[test]
    fn draws_pass_a_chi_square() {
        // 8192 states: two blocks of the cumulative sums.
        let law = Enumeration::new(13, 2, |x| {
            let ones = f64::from(x.iter().sum::<u8>());
            if x[3] == 1 && x[4] == 1 { f64::INFINITY } else { 0.3 * ones + f64::from(x[0]) }
        })
        .unwrap();
        let mut stream = Stream::new(6, Purpose::User, 0);
        let mut expected = [0.0; 28];
        let bin = |x: &[u8]| usize::from(14 * x[0] + x.iter().sum::<u8>());
        law.for_each_given(&[None; 13], |x, p| expected[bin(x)] += p).unwrap();
        let n = 20_000;
        let mut counts = [0.0; 28];
        for _ in 0..n {
            let x = law.sample(&mut stream);
            assert!(x[3] == 0 || x[4] == 0);
            counts[bin(&x)] += 1.0;
        }
        let mut chi2 = 0.0;
        for (count, p) in counts.iter().zip(&expected).filter(|(_, p)| **p > 2.5e-4) {
            let expected = f64::from(n) * p;
            chi2 += (count - expected) * (count - expected) / expected;
        }
        // At most 24 degrees of freedom, level 1e-6.
        assert!(chi2 < 72.0, "{chi2}");
    }

    #[test]
    fn large_energies_lose_nothing() {
        let shifted = Enumeration::new(5, 3, |x| energy(x) + 1e6).unwrap();
        assert!((shifted.log_z() + 1e6 - law().log_z()).abs() < 1e-9);
        assert!((shifted.entropy() - law().entropy()).abs() < 1e-8);
        // One state far above all others is still drawn when it is asked for.
        let cold = Enumeration::new(2, 2, |x| 5000.0 * f64::from(x[0] + x[1])).unwrap();
        assert_eq!(cold.log_marginal(&[Some(1), Some(1)]).unwrap(), -10_000.0);
        let mut stream = Stream::new(0, Purpose::User, 0);
        assert_eq!(cold.sample_given(&[Some(1), None], &mut stream).unwrap(), [1, 0]);
        assert_eq!(cold.sample(&mut stream), [0, 0]);
    }

    #[test]
    fn bad_input_is_an_error() {
        let new = |n, k, e: f64| Enumeration::new(n, k, |_| e).unwrap_err().to_string();
        assert_eq!(new(0, 2, 0.0), "n_variables = 0: must be at least 1");
        assert_eq!(new(3, 1, 0.0), "n_values = 1: must be in 2..=256");
        assert_eq!(new(3, 257, 0.0), "n_values = 257: must be in 2..=256");
        assert_eq!(
            new(25, 2, 0.0),
            "states = 2^25: must be at most 2^24; take fewer variables, or TransferMatrix for an Ising lattice"
        );
        assert!(new(usize::MAX, 2, 0.0).starts_with("states = 2^18446744073709551615: "));
        assert_eq!(
            new(2, 2, f64::NAN),
            "energy of [0, 0] = NaN: must be a number or inf; inf means probability 0"
        );
        assert!(new(2, 2, f64::NEG_INFINITY).starts_with("energy of [0, 0] = -inf: "));
        assert_eq!(
            new(2, 2, f64::INFINITY),
            "energy of every state = inf: must be finite for at least one; inf means probability 0"
        );
        let law = law();
        let short = "variables of a partial state: expected 5, found 4";
        assert_eq!(law.log_marginal(&[None; 4]).unwrap_err().to_string(), short);
        assert_eq!(law.conditional(0, &[None; 4]).unwrap_err().to_string(), short);
        assert_eq!(
            law.log_marginal(&[None, Some(3), None, None, None]).unwrap_err().to_string(),
            "partial[1] = 3: must be below 3"
        );
        let impossible = [Some(2), Some(2), None, None, None];
        let text = "probability of the partial state = 0: must be above 0; condition on something possible";
        assert_eq!(law.conditional(2, &impossible).unwrap_err().to_string(), text);
        assert_eq!(law.for_each_given(&impossible, |_, _| {}).unwrap_err().to_string(), text);
        assert!(law.conditional(0, &impossible).unwrap_err().to_string().starts_with("partial[0] = given"));
        assert!(law.conditional(5, &impossible).unwrap_err().to_string().starts_with("variable = 5"));
    }
}
