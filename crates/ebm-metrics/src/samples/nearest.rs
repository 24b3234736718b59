//! Nearest neighbours, to show that samples are not copies of the training set.
//!
//! Compare the distances from samples to the training set with those from the test set to the training set: a
//! sampler that copies has far smaller ones. The distance is Euclidean and summed directly, so an exact copy is
//! at exactly zero (the expanded square `|x|^2 + |y|^2 - 2 x.y` would leave rounding).

use ebm_core::Result;
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use crate::check;

/// How many features are summed before a candidate may be dropped.
const BLOCK: usize = 32;

/// The nearest reference item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its row; of equals the first.
    pub index: usize,
    /// Its Euclidean distance.
    pub distance: f64,
}

/// The nearest row of `reference` for each row of `items`, both `[item, feature]`.
///
/// # Errors
/// No items, no references, different numbers of features, or a number that is not finite.
pub fn nearest_neighbours(items: ArrayView2<f64>, reference: ArrayView2<f64>) -> Result<Vec<Neighbour>> {
    check::two_matrices(("items", items), ("reference", reference), 1)?;
    let items = items.as_standard_layout();
    let reference = reference.as_standard_layout();
    let find = |i: usize| {
        let item = items.row(i).to_vec();
        let mut best = (0, f64::INFINITY);
        for (index, row) in reference.axis_iter(Axis(0)).enumerate() {
            // A row of a matrix in standard layout is contiguous.
            if let Some(square) = row.as_slice().and_then(|row| square_below(&item, row, best.1)) {
                best = (index, square);
            }
        }
        Neighbour { index: best.0, distance: best.1.sqrt() }
    };
    Ok((0..items.nrows()).into_par_iter().map(find).collect())
}

/// The squared distance if it is below `limit`.
fn square_below(a: &[f64], b: &[f64], limit: f64) -> Option<f64> {
    let mut sum = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        sum += a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
        if sum >= limit {
            return None;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn finds_copies_and_first_of_equals() {
        let reference = array![[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]];
        let found = nearest_neighbours(array![[3.0, 4.0], [0.5, 0.0], [6.0, 8.0]].view(), reference.view());
        let expected = [(1, 0.0), (0, 0.5), (1, 5.0)];
        assert_eq!(found.unwrap(), expected.map(|(index, distance)| Neighbour { index, distance }));
    }

    #[test]
    fn equals_brute_force_in_many_dimensions_and_any_layout() {
        let x = |a: f64, n| Array2::from_shape_fn((n, 70), |(i, j)| (a * (i * 70 + j * j) as f64).sin());
        let (items, reference) = (x(0.37, 20), x(0.11, 50));
        let found = nearest_neighbours(items.view(), reference.view()).unwrap();
        for (row, n) in items.rows().into_iter().zip(&found) {
            let square = |r: ndarray::ArrayView1<f64>| (&row - &r).mapv(|d| d * d).sum().sqrt();
            let all: Vec<f64> = reference.rows().into_iter().map(square).collect();
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            assert!((n.distance - least).abs() < 1e-13 && (all[n.index] - least).abs() < 1e-13);
        }
        let (ti, tr) =
            (items.t().as_standard_layout().to_owned(), reference.t().as_standard_layout().to_owned());
        assert_eq!(nearest_neighbours(ti.t(), tr.t()).unwrap(), found);
    }

    #[test]
    fn bad_input_is_named() {
        let x = Array2::<f64>::zeros((2, 2));
        assert!(nearest_neighbours(x.view(), Array2::zeros((0, 2)).view()).is_err());
        assert!(nearest_neighbours(x.view(), Array2::zeros((2, 3)).view()).is_err());
    }
}
