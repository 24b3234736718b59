//! Deterministic parts of a data set: disjoint splits and subsets with the same number of items of every class.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};

use crate::Dataset;

impl Dataset {
    /// Disjoint parts of the given sizes: consecutive pieces of one random order of the items.
    ///
    /// The order is a function of `seed` and the number of items alone (stream `Split`, index 0). What the sizes
    /// leave over is in no part.
    ///
    /// # Errors
    /// When the sizes add up to more than there is.
    pub fn split<const PARTS: usize>(&self, sizes: [usize; PARTS], seed: u64) -> Result<[Self; PARTS]> {
        let wanted = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
        if wanted.is_none_or(|wanted| wanted > self.len()) {
            let limit = format!("at most {} together, the number of items of {}", self.len(), self.name());
            return Err(Error::bad_value(
                "split sizes",
                format!("{sizes:?}"),
                limit,
                "ask for smaller parts",
            ));
        }
        let order = Stream::new(seed, Purpose::Split, 0).permutation(self.len());
        let mut rest = order.as_slice();
        let mut parts = Vec::with_capacity(PARTS);
        for size in sizes {
            let (now, later) = rest.split_at(size);
            parts.push(self.take(now)?);
            rest = later;
        }
        parts.try_into().map_err(|_| Error::shape("parts", PARTS, "another number"))
    }

    /// `per_class` random items of every class, in random order (stream `Split`, index 1).
    ///
    /// # Errors
    /// When there are no labels, or a class has fewer items.
    pub fn class_balanced(&self, per_class: usize, seed: u64) -> Result<Self> {
        let Some(labels) = self.labels() else {
            return Err(Error::bad_value("labels", "none", "one an item", "use `split` without labels"));
        };
        if let Some((class, n)) = self.class_counts().iter().enumerate().find(|(_, n)| **n < per_class) {
            let limit = format!("at most {n}, the items of class {class} of {}", self.name());
            return Err(Error::bad_value("per_class", per_class, limit, ""));
        }
        let mut taken = vec![0; self.n_classes()];
        let mut order = Stream::new(seed, Purpose::Split, 1).permutation(self.len());
        order.retain(|&item| {
            let n = &mut taken[labels[item] as usize];
            *n += 1;
            *n <= per_class
        });
        self.take(&order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn numbered(n: usize) -> Dataset {
        let x = Array2::from_shape_fn((n, 1), |(i, _)| i as f32);
        Dataset::new("numbers", x, &[1])
            .unwrap()
            .with_labels((0..n as i64).map(|i| i % 3).collect(), 3)
            .unwrap()
    }

    fn items(set: &Dataset) -> Vec<usize> {
        set.values().iter().map(|&v| v as usize).collect()
    }

    #[test]
    fn parts_are_disjoint_and_stable() {
        let set = numbered(10);
        let [a, b, none] = set.split([6, 4, 0], 0).unwrap();
        assert!(none.is_empty());
        let mut all = [items(&a), items(&b)].concat();
        // The order is a promise: changing it changes every experiment's split.
        assert_eq!(all, [3, 0, 7, 9, 6, 2, 1, 4, 8, 5]);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_ne!(items(&set.split([6], 1).unwrap()[0]), items(&a));
        for sizes in [[6, 5], [usize::MAX, 2]] {
            assert!(set.split(sizes, 0).unwrap_err().to_string().contains("at most 10 together"));
        }
    }

    #[test]
    fn balanced_subsets_hold_every_class_equally() {
        let part = numbered(11).class_balanced(3, 5).unwrap();
        assert_eq!(part.class_counts(), [3, 3, 3]);
        let mut unique = items(&part);
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 9);
        assert_eq!(part, numbered(11).class_balanced(3, 5).unwrap());
        assert!(numbered(11).class_balanced(4, 5).unwrap_err().to_string().contains("class 2"));
        assert!(Dataset::new("a", Array2::zeros((2, 1)), &[1]).unwrap().class_balanced(1, 0).is_err());
    }
}
