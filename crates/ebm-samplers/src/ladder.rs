//! What the swaps of a ladder say: its barrier, where its rungs should be, and whether it works.
//!
//! The barrier is `sum r_i`, `r_i` the mean rejection of pair `i`; the best ladder has equal rejections, and about
//! twice the barrier in pairs. Source: Syed, Bouchard-Cote, Deligiannidis and Doucet 2022 (arXiv 1905.02939),
//! section 4 and algorithm 4 (here the cumulative barrier is interpolated by straight lines).

use std::fmt;

/// A pair that swaps less often than this holds the ladder up.
const LEAST_ACCEPTANCE: f64 = 0.1;

/// Whether a ladder works, with what to do as its `Display`.
///
/// ```
/// let text = ebm_samplers::Verdict::NoRoundTrips.to_string();
/// assert!(text.contains("no round trips"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Some neighbours hardly ever swap.
    TooFewRungs {
        /// The pair that swaps least, counted from the hot end.
        pair: usize,
        /// Its mean swap probability.
        acceptance: f64,
        /// Rungs that the barrier asks for.
        needed: usize,
    },
    /// Neighbours swap, and still no replica went from hot to cold and back.
    NoRoundTrips,
    /// Replicas travel.
    Healthy {
        /// Journeys from hot to cold and back.
        round_trips: u64,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewRungs { pair, acceptance, needed } => write!(
                f,
                "too few rungs: rungs {pair} and {} swap with probability {acceptance:.3}; take about {needed} rungs",
                pair + 1
            ),
            Self::NoRoundTrips => f.write_str(
                "no round trips: neighbours swap, but nothing went from hot to cold and back; take more draws, \
                 or more steps between swaps (explore)",
            ),
            Self::Healthy { round_trips } => write!(f, "healthy: {round_trips} round trips"),
        }
    }
}

/// The sum of the mean rejections.
pub(crate) fn barrier(acceptance: &[f64]) -> f64 {
    acceptance.iter().map(|a| 1.0 - a).sum()
}

/// The same number of rungs, the ends kept, with equal shares of the barrier between them.
pub(crate) fn respaced(betas: &[f64], acceptance: &[f64]) -> Vec<f64> {
    // A little of every pair, so that the new ladder is increasing whatever was measured.
    let heights: Vec<f64> = acceptance.iter().map(|a| (1.0 - a).max(1e-3)).collect();
    let share = heights.iter().sum::<f64>() / heights.len() as f64;
    let mut new = betas.to_vec();
    let (mut pair, mut below) = (0, 0.0);
    for k in 1..heights.len() {
        let wanted = k as f64 * share;
        while pair + 1 < heights.len() && below + heights[pair] < wanted {
            below += heights[pair];
            pair += 1;
        }
        let part = ((wanted - below) / heights[pair]).clamp(0.0, 1.0);
        new[k] = betas[pair] + part * (betas[pair + 1] - betas[pair]);
    }
    new
}

/// The verdict on a ladder with these mean swap probabilities.
pub(crate) fn verdict(acceptance: &[f64], round_trips: u64) -> Verdict {
    let least = acceptance.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    match least {
        Some((pair, acceptance_of_pair)) if acceptance_of_pair < LEAST_ACCEPTANCE => {
            // A measured barrier cannot be above the number of pairs: ask for at least half as many again.
            let by_barrier = (2.0 * barrier(acceptance)).ceil() as usize + 2;
            let needed = by_barrier.max(acceptance.len() + 1 + acceptance.len().div_ceil(2));
            Verdict::TooFewRungs { pair, acceptance: acceptance_of_pair, needed }
        }
        _ if round_trips == 0 => Verdict::NoRoundTrips,
        _ => Verdict::Healthy { round_trips },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_name_the_trouble_and_the_fix() {
        let few = verdict(&[0.5, 0.02, 0.6], 3);
        assert_eq!(few, Verdict::TooFewRungs { pair: 1, acceptance: 0.02, needed: 6 });
        assert!(few.to_string().contains("rungs 1 and 2 swap with probability 0.020; take about 6 rungs"));
        assert_eq!(verdict(&[0.5, 0.4], 0), Verdict::NoRoundTrips);
        assert_eq!(verdict(&[0.5, 0.4], 7).to_string(), "healthy: 7 round trips");
    }

    #[test]
    fn rungs_move_to_where_swaps_fail() {
        // Equal rejections: nothing moves.
        let betas = [0.1, 0.4, 0.7, 1.0];
        for (new, old) in respaced(&betas, &[0.5; 3]).iter().zip(betas) {
            assert!((new - old).abs() < 1e-12);
        }
        // All of the barrier in the first pair: the inner rungs crowd there.
        let new = respaced(&betas, &[0.1, 1.0, 1.0]);
        assert!(new[0] == 0.1 && new[2] < 0.4 && new[3] == 1.0, "{new:?}");
        assert!(new.windows(2).all(|w| w[0] < w[1]));
        assert!((barrier(&[0.1, 1.0, 0.5]) - 1.4).abs() < 1e-12);
    }
}
