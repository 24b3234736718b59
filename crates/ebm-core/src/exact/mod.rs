//! Exact answers for discrete laws `p(x) = f(x) / Z`, `log f = -E`: what samplers and models are checked against.
//!
//! | type | for | cost |
//! |---|---|---|
//! | [`Enumeration`] | any energy of up to 2^24 states | one pass over the states |
//! | [`TransferMatrix`] | an [`IsingLattice`] up to 12 wide when closed, 16 when open, of any length | grows with the width only as a power of 2 or 4 |
//! | [`onsager_energy`], [`onsager_magnetisation`] | the infinite Ising lattice without a field | a formula |
//! | [`MeanField`] | the best independent spins by reverse KL: what a model of an Ising lattice must beat | a fixed point |
//!
//! The first two give the normaliser, the entropy, the marginal `log p(x_S)` of *any* part of the variables, the
//! conditional of one variable given such a part, and independent exact draws, given a part or not. A part is a slice
//! with one `Option` a variable: `None` where the variable is summed over. All in f64 and in nats.

mod enumeration;
mod lattice;
mod mean_field;
mod moments;
mod onsager;
mod rows;
mod transfer;

pub use enumeration::Enumeration;
pub use lattice::{Boundary, IsingLattice};
pub use mean_field::MeanField;
pub use moments::IsingMoments;
pub use onsager::{onsager_energy, onsager_magnetisation};
pub use transfer::TransferMatrix;

use crate::random::Stream;
use crate::sums::total;
use crate::{Error, Result};

/// `nats / (n_variables ln 2)`: bits per dimension, the unit in which likelihoods of models are often quoted.
///
/// ```
/// assert_eq!(ebm_core::exact::bits_per_dimension(36.0 * std::f64::consts::LN_2, 36), 1.0);
/// ```
pub fn bits_per_dimension(nats: f64, n_variables: usize) -> f64 {
    nats / (n_variables as f64 * std::f64::consts::LN_2)
}

/// The index drawn with probability proportional to its weight (inverse CDF, one uniform). An index of weight 0 is
/// never drawn, unless all are 0: then it is index 0.
fn draw(weights: &[f64], stream: &mut Stream) -> usize {
    let target = stream.uniform() * weights.iter().sum::<f64>();
    let (mut sum, mut chosen) = (0.0, 0);
    for (index, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            chosen = index;
            sum += weight;
            if target < sum {
                break;
            }
        }
    }
    chosen
}

/// Fails unless `variable` exists and is summed over in `partial`.
fn check_free<T>(variable: usize, partial: &[Option<T>]) -> Result<()> {
    match partial.get(variable) {
        Some(None) => Ok(()),
        Some(Some(_)) => {
            let fix = "its conditional is asked for";
            Err(Error::bad_value(format!("partial[{variable}]"), "given", "None", fix))
        }
        None => {
            let limit = format!("below {}, the number of variables", partial.len());
            Err(Error::bad_value("variable", variable, limit, ""))
        }
    }
}

/// The entropy in nats of a list of probabilities.
fn entropy_of(probabilities: impl Iterator<Item = f64>) -> f64 {
    total(probabilities.filter(|p| *p > 0.0).map(|p| -p * p.ln()))
}

/// The summed entropies, in nats, of independent spins +-1 with these means.
fn spins_entropy(means: &[f64]) -> f64 {
    entropy_of(means.iter().flat_map(|m| [0.5 * (1.0 - m), 0.5 * (1.0 + m)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn draws_follow_the_weights_and_never_take_a_zero() {
        let mut stream = Stream::new(3, Purpose::User, 0);
        let mut counts = [0u32; 5];
        for _ in 0..10_000 {
            counts[draw(&[0.0, 1.0, 0.0, 3.0, 0.0], &mut stream)] += 1;
        }
        assert_eq!((counts[0], counts[2], counts[4]), (0, 0, 0));
        // Four standard errors of a binomial with 10,000 trials.
        assert!((f64::from(counts[1]) - 2500.0).abs() < 4.0 * 1875f64.sqrt(), "{counts:?}");
        assert_eq!(draw(&[0.0, 0.0], &mut stream), 0);
    }

    #[test]
    fn entropies_of_independent_spins() {
        let half = spins_entropy(&[0.0, 1.0, -1.0, 0.0]);
        assert!((half - 2.0 * std::f64::consts::LN_2).abs() < 1e-15, "{half}");
    }
}
