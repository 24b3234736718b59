//! DULA, the discrete unadjusted Langevin algorithm: every variable moves at once, each on its own.
//!
//! `q(x'_i = k | x) = softmax_k(-(g[i, k] - g[i, x_i]) / 2 - [k != x_i] / (2 h))` with the relaxed gradient `g` and the
//! step size `h`. On bits this is the paper's proposal with its `alpha = h`; on one-hot vectors, which differ by 2
//! in square where two states differ, its `alpha = 2 h`.
//!
//! Biased, by an amount that vanishes like `exp(-1 / (2 h))`: on one bit with `E(1) - E(0) = d` the stationary odds of 1
//! are `exp(-d) (1 + c exp(d / 2)) / (1 + c exp(-d / 2))`, `c = exp(-1 / (2 h))`. That price buys steps without an
//! energy; [`Dmala`](super::Dmala) has the same proposal and no bias.
//!
//! Source: Zhang, Liu, Liu 2022, arXiv 2206.09914.

use ebm_core::random::Stream;
use ebm_core::{RelaxedEnergy, Result, Schedule};
use serde::{Deserialize, Serialize};

use super::guided::{draw, exponentiate, log_weight};
use super::{DiscreteInfo, DiscreteKernel};
use crate::kernel::check_step_size;

/// Discrete Langevin without an accept step; biased.
///
/// Use it for negatives while a network is trained. Not for exact expectations: the bias vanishes only with the step
/// size.
///
/// ```
/// use ebm_core::exact::{Boundary, IsingLattice};
/// use ebm_samplers::{Dula, SampleConfig, sample_discrete};
/// let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.0)?;
/// let config = SampleConfig { n_draws: 10, burn_in: 50, ..Default::default() };
/// let run = sample_discrete(&Dula::new(0.2), &lattice, &[vec![0; 16], vec![1; 16]], &config)?;
/// assert_eq!(run.draws.dim(), (2, 10, 16));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dula {
    /// `h`: a variable whose change costs nothing changes with odds `exp(-1 / (2 h))`.
    pub step_size: Schedule,
}

impl Dula {
    /// With this step size, a number or a schedule.
    pub fn new(step_size: impl Into<Schedule>) -> Self {
        Self { step_size: step_size.into() }
    }
}

impl<E: RelaxedEnergy + ?Sized> DiscreteKernel<E> for Dula {
    type Work = DulaWork;

    fn check(&self, _energy: &E) -> Result<()> {
        check_step_size(&self.step_size)
    }

    fn init(&self, energy: &E, x: &[u8]) -> DulaWork {
        let k = energy.n_states();
        DulaWork { step: 0, gradient: vec![0.0; x.len() * k], weights: vec![0.0; k] }
    }

    fn resume(&self, energy: &E, x: &[u8], n_steps: u64) -> DulaWork {
        DulaWork { step: n_steps, ..self.init(energy, x) }
    }

    fn step(&self, energy: &E, x: &mut [u8], work: &mut DulaWork, rng: &mut Stream) -> DiscreteInfo {
        let proposal = Proposal { n_states: energy.n_states(), step_size: self.step_size.at(work.step) };
        work.step += 1;
        energy.relaxed_gradient(x, &mut work.gradient);
        // A variable's law depends on the gradient and itself alone: the others may have moved already.
        let log_prob = proposal.draw(&work.gradient, x, &mut work.weights, rng);
        DiscreteInfo::always_accepted(log_prob.is_nan())
    }
}

/// The gradient, and room for one variable's weights.
#[derive(Clone, Debug)]
pub struct DulaWork {
    step: u64,
    gradient: Vec<f64>,
    weights: Vec<f64>,
}

/// The law of a step, given the gradient at its start.
pub(super) struct Proposal {
    pub(super) n_states: usize,
    pub(super) step_size: f64,
}

impl Proposal {
    /// Move `x`, the state that the gradient belongs to; `ln q(x' | x)`. Variables whose gradient is not a number
    /// stay, and the answer is NaN.
    pub(super) fn draw(&self, gradient: &[f64], x: &mut [u8], weights: &mut [f64], rng: &mut Stream) -> f64 {
        let mut log_prob = 0.0;
        let weights = &mut weights[..self.n_states];
        for (row, value) in gradient.chunks_exact(self.n_states).zip(x) {
            let log_sum = self.weights(row, *value, weights);
            if log_sum.is_finite() {
                let new = draw(weights, rng);
                log_prob += self.log_weight(row, *value, new) - log_sum;
                *value = new as u8;
            } else {
                log_prob = f64::NAN;
            }
        }
        log_prob
    }

    /// `ln q(to | from)`, `gradient` being that at `from`.
    pub(super) fn log_prob(&self, gradient: &[f64], from: &[u8], to: &[u8], weights: &mut [f64]) -> f64 {
        let weights = &mut weights[..self.n_states];
        let rows = gradient.chunks_exact(self.n_states).zip(from.iter().zip(to));
        rows.map(|(row, (from, to))| {
            let log_sum = self.weights(row, *from, weights);
            self.log_weight(row, *from, usize::from(*to)) - log_sum
        })
        .sum()
    }

    fn log_weight(&self, row: &[f64], current: u8, k: usize) -> f64 {
        let stay = if k == usize::from(current) { 0.0 } else { 0.5 / self.step_size };
        log_weight(row, current, k) - stay
    }

    fn weights(&self, row: &[f64], current: u8, out: &mut [f64]) -> f64 {
        for (k, out) in out.iter_mut().enumerate() {
            *out = self.log_weight(row, current, k);
        }
        exponentiate(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{Rough, assert_counts, config, index, probabilities};
    use crate::sample_discrete;
    use ebm_core::DiscreteEnergy;
    use ebm_core::exact::{Boundary, Enumeration, IsingLattice};

    /// The stationary law, by squaring the transition matrix of the kernel's own formulas until it stands still.
    fn stationary<E: RelaxedEnergy>(energy: &E, step_size: f64) -> Vec<f64> {
        let (n, k) = (energy.n_variables(), energy.n_states());
        let states: Vec<Vec<u8>> = (0..k.pow(n as u32))
            .map(|s| (0..n).map(|i| (s / k.pow((n - 1 - i) as u32) % k) as u8).collect())
            .collect();
        let proposal = Proposal { n_states: k, step_size };
        let (mut gradient, mut weights) = (vec![0.0; n * k], vec![0.0; k]);
        let mut matrix: Vec<Vec<f64>> = vec![];
        for from in &states {
            energy.relaxed_gradient(from, &mut gradient);
            let row = states.iter().map(|to| proposal.log_prob(&gradient, from, to, &mut weights).exp());
            matrix.push(row.collect());
        }
        for _ in 0..60 {
            let column = |j: usize| matrix.iter().map(move |row| row[j]);
            let squared = |row: &Vec<f64>| -> Vec<f64> {
                let mut new: Vec<f64> =
                    (0..states.len()).map(|j| row.iter().zip(column(j)).map(|(a, b)| a * b).sum()).collect();
                let sum: f64 = new.iter().sum();
                new.iter_mut().for_each(|p| *p /= sum);
                new
            };
            matrix = matrix.iter().map(squared).collect();
        }
        matrix.swap_remove(0)
    }

    /// One bit: the closed form of the file's head, in the matrix and in the draws.
    #[test]
    fn one_bit_has_the_bias_of_the_closed_form() {
        for (field, h) in [(0.4, 0.5), (-0.8, 1.0), (0.6, 3.0)] {
            let bit = IsingLattice::new(1, 1, Boundary::Open, 0.0, field).unwrap();
            let (d, c) = (-2.0 * field, (-0.5f64 / h).exp());
            let odds = (-d).exp() * (1.0 + c * (0.5 * d).exp()) / (1.0 + c * (-0.5 * d).exp());
            let law = stationary(&bit, h);
            assert!((law[1] / law[0] - odds).abs() < 1e-12);
            // Chains that are long against their memory, so their last states are independent draws of that law.
            let run =
                sample_discrete(&Dula::new(h), &bit, &vec![vec![0]; 20_000], &config(1, 60, 1, 4)).unwrap();
            let ones = run.draws.iter().filter(|x| **x == 1).count() as u64;
            assert_counts(&[20_000 - ones, ones], &law);
        }
    }

    /// The bias vanishes with the step size, as `exp(-1 / (2 h))`: halving it squares the odds of a change.
    #[test]
    fn the_bias_vanishes_with_the_step_size() {
        let lattice = IsingLattice::new(2, 2, Boundary::Open, 0.4, 0.3).unwrap();
        let lattice_law = probabilities(&Enumeration::ising(&lattice).unwrap());
        let rough = Rough::linear(3, 3);
        let rough_law = probabilities(&Enumeration::new(3, 3, |x| rough.energy(x)).unwrap());
        let bias = |law: &[f64], exact: &[f64]| -> f64 {
            0.5 * law.iter().zip(exact).map(|(a, b)| (a - b).abs()).sum::<f64>()
        };
        // As multiples of exp(-1 / (2 h)) the biases tend to a constant.
        let multiples = |of: &dyn Fn(f64) -> f64| [0.1, 0.05, 0.025].map(|h| of(h) / (-0.5f64 / h).exp());
        for [first, second, third] in [
            multiples(&|h| bias(&stationary(&lattice, h), &lattice_law)),
            multiples(&|h| bias(&stationary(&rough, h), &rough_law)),
        ] {
            assert!(third > 0.01 && (third - second).abs() <= 1e-3 * third, "{first} {second} {third}");
            assert!((second - first).abs() < 0.05 * second, "{first} {second} {third}");
        }
    }

    /// The draws of a step are those of the formula that the other tests use.
    #[test]
    fn steps_follow_the_proposals_law() {
        let (energy, h) = (Rough::new(3, 3), 1.5);
        let start = [2, 0, 1];
        let (proposal, mut weights) = (Proposal { n_states: 3, step_size: h }, vec![0.0; 3]);
        let mut gradient = vec![0.0; 9];
        energy.relaxed_gradient(&start, &mut gradient);
        let p: Vec<f64> = (0..27usize)
            .map(|s| [(s / 9) as u8, (s / 3 % 3) as u8, (s % 3) as u8])
            .map(|to| proposal.log_prob(&gradient, &start, &to, &mut weights).exp())
            .collect();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let run = sample_discrete(&Dula::new(h), &energy, &vec![start.to_vec(); 30_000], &config(1, 0, 1, 8))
            .unwrap();
        let mut counts = vec![0; 27];
        run.draws.rows().into_iter().for_each(|x| counts[index(x.as_slice().unwrap(), 3)] += 1);
        assert_counts(&counts, &p);
    }
}
