//! "Did you mean": the names nearest to a misspelt one.

/// Up to three candidates that could have been meant, best first.
pub fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = (wanted.chars().count() / 3).max(2);
    let mut scored: Vec<(usize, &str)> =
        candidates.map(|c| (distance(wanted, c), c)).filter(|(d, _)| *d <= limit).collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, c)| c).collect()
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbours() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let keys = ["sampler.step_size", "sampler.n_steps", "trainer.n_steps"];
        assert_eq!(nearest("sampler.stepsize", keys.into_iter())[0], "sampler.step_size");
        assert!(nearest("zzz", keys.into_iter()).is_empty());
    }
}
