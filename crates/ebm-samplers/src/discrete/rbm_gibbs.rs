//! Block Gibbs of a restricted Boltzmann machine: hidden bits given the visible ones, then the other way round.
//!
//! `p(h_j = 1 | v) = sigmoid(c_j + sum_i v_i W_ij)`, `p(v_i = 1 | h) = sigmoid(b_i + sum_j W_ij h_j)`: either side is
//! independent given the other. The sums run over set bits only, row by row of the weights, which vectorises.
//!
//! Source: Hinton 2002 (DOI 10.1162/089976602760128018).

use ebm_core::Rbm;
use ebm_core::random::Stream;

use super::{DiscreteInfo, DiscreteKernel};

/// One step draws all hidden bits, then all visible ones. The draws are the visible bits; exact, nothing to tune.
///
/// Use it for a restricted Boltzmann machine. Not for 64 chains or more without need of a summary: `PackedRbm` is
/// faster.
///
/// ```
/// use ebm_core::Rbm;
/// use ebm_samplers::{RbmGibbs, SampleConfig, sample_discrete};
/// let rbm = Rbm::new(vec![1.0, -2.0, 0.5, 0.3], vec![0.5, 0.0], vec![0.0, 0.1])?;
/// let config = SampleConfig { n_draws: 10, burn_in: 5, ..Default::default() };
/// let run = sample_discrete(&RbmGibbs, &rbm, &[vec![0, 1]], &config)?;
/// assert_eq!(run.draws.dim(), (1, 10, 2));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RbmGibbs;

/// The hidden bits and both sides' activations.
#[derive(Clone, Debug)]
pub struct RbmWork {
    hidden: Vec<u8>,
    hidden_activations: Vec<f64>,
    visible_activations: Vec<f64>,
}

impl DiscreteKernel<Rbm> for RbmGibbs {
    type Work = RbmWork;

    fn init(&self, rbm: &Rbm, _x: &[u8]) -> RbmWork {
        RbmWork {
            hidden: vec![0; rbm.n_hidden()],
            hidden_activations: vec![0.0; rbm.n_hidden()],
            visible_activations: vec![0.0; rbm.n_visible()],
        }
    }

    fn step(&self, rbm: &Rbm, x: &mut [u8], work: &mut RbmWork, rng: &mut Stream) -> DiscreteInfo {
        rbm.hidden_activations(x, &mut work.hidden_activations);
        draw_bits(&work.hidden_activations, &mut work.hidden, rng);
        rbm.visible_activations(&work.hidden, &mut work.visible_activations);
        draw_bits(&work.visible_activations, x, rng);
        DiscreteInfo::always_accepted(false)
    }
}

/// Bit `i` is 1 with probability `sigmoid(activations[i])`.
fn draw_bits(activations: &[f64], bits: &mut [u8], rng: &mut Stream) {
    for (bit, activation) in bits.iter_mut().zip(activations) {
        *bit = u8::from(rng.uniform() < 1.0 / (1.0 + (-activation).exp()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::{assert_moments, assert_stationary, small_rbm};
    use crate::{Gibbs, Scan};
    use ebm_core::DiscreteEnergy;
    use ebm_core::exact::Enumeration;

    #[test]
    fn both_ways_have_the_exact_law() {
        let rbm = small_rbm();
        let law = Enumeration::new(rbm.n_visible(), 2, |x| rbm.energy(x)).unwrap();
        assert_stationary(&RbmGibbs, &rbm, &law, 1);
        assert_moments(&RbmGibbs, &rbm, &law, 2);
        assert_stationary(&Gibbs(Scan::Systematic), &rbm, &law, 1);
        assert_moments(&Gibbs(Scan::Systematic), &rbm, &law, 1);
    }
}
