//! What the gradient-guided kernels share: proposals from the relaxed gradient, and what they cache.
//!
//! `d(i, k) = g[i, k] - g[i, x_i]` estimates what changing `x_i` to `k` does to the energy; a proposal that is balanced
//! locally weights the change by `exp(-d(i, k) / 2)`.
//!
//! Source: Zanella 2020, arXiv 1711.07424 (locally balanced proposals).

use ebm_core::RelaxedEnergy;
use ebm_core::random::Stream;

use super::DiscreteInfo;
use crate::metropolis;

/// The current state's energy and gradient, and room for a proposal's.
#[derive(Clone, Debug)]
pub struct GuidedWork {
    /// Steps taken, for a scheduled step size.
    pub(super) step: u64,
    /// Of the current state.
    pub(super) at: Local,
    /// Of the proposal.
    pub(super) proposal: Local,
    /// The proposal.
    pub(super) x: Vec<u8>,
    /// One variable's weights, `[n_states]`.
    pub(super) weights: Vec<f64>,
}

/// Energy and relaxed gradient of one state.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) energy: f64,
    pub(super) gradient: Vec<f64>,
}

impl Local {
    pub(super) fn new<E: RelaxedEnergy + ?Sized>(energy: &E, x: &[u8]) -> Self {
        let mut local = Self { energy: f64::NAN, gradient: vec![0.0; x.len() * energy.n_states()] };
        local.update(energy, x);
        local
    }

    pub(super) fn update<E: RelaxedEnergy + ?Sized>(&mut self, energy: &E, x: &[u8]) {
        self.energy = energy.energy(x);
        energy.relaxed_gradient(x, &mut self.gradient);
    }
}

impl GuidedWork {
    pub(super) fn new<E: RelaxedEnergy + ?Sized>(energy: &E, x: &[u8]) -> Self {
        let at = Local::new(energy, x);
        Self { step: 0, proposal: at.clone(), x: x.to_vec(), weights: vec![0.0; at.gradient.len()], at }
    }
}

/// `-d(i, k) / 2` of one variable whose gradient is `row` `[n_states]`: the logarithm of a change's weight.
pub(super) fn log_weight(row: &[f64], current: u8, k: usize) -> f64 {
    -0.5 * (row[k] - row[usize::from(current)])
}

/// Turn logarithms of weights into weights relative to the largest; `ln` of their sum. NaN where one is NaN, or all
/// are `-inf`.
pub(super) fn exponentiate(log_weights: &mut [f64]) -> f64 {
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for weight in log_weights.iter_mut() {
        *weight = (*weight - largest).exp();
        sum += *weight;
    }
    largest + sum.ln()
}

/// Metropolis's rule: whether the proposal is taken, and the report.
pub(super) fn accept(log_ratio: f64, rng: &mut Stream) -> (bool, DiscreteInfo) {
    let stay = (false, DiscreteInfo { accept_prob: 0.0, diverged: true });
    metropolis(&Vec::<f64>::new(), &log_ratio, rng).map_or(stay, |info| {
        (info.accepted, DiscreteInfo { accept_prob: info.accept_prob, diverged: info.diverged })
    })
}

/// The index drawn with probability proportional to its weight; one uniform. Some weight must be above 0.
pub(super) fn draw(weights: &[f64], rng: &mut Stream) -> usize {
    let mut rest = rng.uniform() * weights.iter().sum::<f64>();
    let mut chosen = 0;
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        // Where rounding leaves something over, the last index that has a weight.
        chosen = index;
        if rest < *weight {
            break;
        }
        rest -= weight;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;

    #[test]
    fn weights_are_relative_and_zeros_are_never_drawn() {
        let mut weights = [f64::NEG_INFINITY, 1000.0, 1000.0 + 3f64.ln(), f64::NEG_INFINITY];
        assert!((exponentiate(&mut weights) - 1000.0 - 4f64.ln()).abs() < 1e-12);
        let mut rng = Stream::new(0, Purpose::User, 0);
        let mut counts = [0u64; 4];
        for _ in 0..10_000 {
            counts[draw(&weights, &mut rng)] += 1;
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
        crate::discrete::testing::assert_counts(&counts[1..3], &[0.25, 0.75]);
        assert!(exponentiate(&mut [f64::NEG_INFINITY; 2]).is_nan());
        assert!(exponentiate(&mut [0.0, f64::NAN]).is_nan());
    }
}
