//! Rank normalisation: each draw becomes the normal score of its rank among all draws.
//!
//! `z = Phi^{-1}((r - 3/8) / (S + 1/4))` with average ranks r for ties, S draws in all (Blom's offset; arXiv
//! 1903.08008).

use crate::special::normal_quantile;

/// Each draw's rank among all draws, from 1; ties share the average of theirs.
pub(crate) fn average_ranks(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut order: Vec<(f64, usize, usize)> = chains
        .iter()
        .enumerate()
        .flat_map(|(c, chain)| chain.iter().enumerate().map(move |(t, &x)| (x, c, t)))
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = chains.to_vec();
    let mut start = 0;
    // By equality, not by bits: -0.0 and 0.0 are a tie.
    for ties in order.chunk_by(|a, b| a.0 == b.0) {
        let rank = start as f64 + 0.5 * (ties.len() as f64 + 1.0);
        for &(_, c, t) in ties {
            ranks[c][t] = rank;
        }
        start += ties.len();
    }
    ranks
}

/// The normal scores of all draws, chain by chain.
pub(super) fn normal_scores(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let total = chains.iter().map(Vec::len).sum::<usize>() as f64;
    let score = |rank: f64| normal_quantile((rank - 0.375) / (total + 0.25));
    super::map(&average_ranks(chains), score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_average_rank() {
        let z = normal_scores(&[vec![3.0, -0.0], vec![0.0, -7.0]]);
        // Ranks 4, 2.5, 2.5, 1 of 4.
        assert_eq!(z[0][1], 0.0);
        assert_eq!(z[1][0], 0.0);
        assert_eq!(z[0][0], normal_quantile(3.625 / 4.25));
        assert!((z[0][0] + z[1][1]).abs() < 1e-15);
    }
}
