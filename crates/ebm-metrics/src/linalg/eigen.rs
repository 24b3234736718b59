//! Eigenvalues and eigenvectors of a symmetric matrix: `A = V diag(lambda) V^T`.
//!
//! Householder reflections to tridiagonal form, then QL steps with Wilkinson's implicit shift (Golub and Van Loan,
//! Matrix Computations, 4th edition, section 8.3). About 6 n^3 operations. The eigenvectors are
//! kept as rows while they are rotated, so that the inner loops run over contiguous memory.

use ebm_core::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2};

use crate::check;

/// QL steps allowed for one eigenvalue; two or three are usual.
const MAX_STEPS: usize = 60;

/// The eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct SymmetricEigen {
    /// Eigenvalues, descending.
    pub values: Array1<f64>,
    /// Row k is the unit eigenvector of `values[k]`; its largest entry (of equals the first) is positive.
    pub vectors: Array2<f64>,
}

/// Decompose a symmetric matrix; asymmetry of the size of rounding errors is averaged away.
///
/// # Errors
/// An empty or non-square matrix, a number that is not finite, or a matrix that is not symmetric (entries differ
/// by more than 1e-8 of the largest).
pub fn symmetric_eigen(matrix: ArrayView2<f64>) -> Result<SymmetricEigen> {
    check::matrix("matrix", matrix, 1)?;
    let n = matrix.nrows();
    check::same_len("columns of the square matrix", n, matrix.ncols())?;
    // Scaled to about 1, so that no square overflows or underflows.
    let scale = matrix.fold(0.0, |m: f64, x| m.max(x.abs()));
    if scale == 0.0 {
        return Ok(SymmetricEigen { values: Array1::zeros(n), vectors: Array2::eye(n) });
    }
    let mut a: Vec<Vec<f64>> =
        matrix.rows().into_iter().map(|r| r.iter().map(|x| x / scale).collect()).collect();
    for i in 0..n {
        for j in 0..i {
            if (a[i][j] - a[j][i]).abs() > 1e-8 {
                return Err(Error::bad_value(
                    format!("matrix[{i}, {j}]"),
                    matrix[[i, j]],
                    format!("equal to matrix[{j}, {i}] = {}", matrix[[j, i]]),
                    "pass (A + A^T) / 2",
                ));
            }
            a[i][j] = 0.5 * (a[i][j] + a[j][i]);
            a[j][i] = a[i][j];
        }
    }
    let (mut diagonal, mut off_diagonal, mut vectors) = tridiagonalise(a);
    implicit_ql(&mut diagonal, &mut off_diagonal, &mut vectors)?;

    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]));
    let mut sorted = Array2::zeros((n, n));
    for (k, &i) in order.iter().enumerate() {
        let sign = sign_of_largest(&vectors[i]);
        sorted.row_mut(k).iter_mut().zip(&vectors[i]).for_each(|(out, x)| *out = sign * x);
    }
    let values = order.iter().map(|&i| diagonal[i] * scale).collect();
    Ok(SymmetricEigen { values, vectors: sorted })
}

impl SymmetricEigen {
    /// The symmetric positive square root, with eigenvalues within rounding of zero (or below) taken as zero.
    pub(crate) fn square_root(&self) -> Array2<f64> {
        let floor = self.rounding_floor();
        let mut scaled = self.vectors.clone();
        for (mut row, &value) in scaled.rows_mut().into_iter().zip(&self.values) {
            row *= if value > floor { value.sqrt() } else { 0.0 };
        }
        self.vectors.t().dot(&scaled)
    }

    /// Eigenvalues up to this may be nothing but rounding.
    pub(crate) fn rounding_floor(&self) -> f64 {
        self.values.len() as f64 * f64::EPSILON * self.values[0].max(0.0)
    }
}

/// Diagonal, off-diagonal (n - 1 numbers and a zero) and the rows of `Q^T`, with `A = Q T Q^T`.
fn tridiagonalise(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut off_diagonal = vec![0.0; n];
    // Reflection k is I - beta v v^T on coordinates k + 1 and after.
    let mut reflections: Vec<(f64, Vec<f64>)> = Vec::new();
    for k in 0..n.saturating_sub(2) {
        let mut v = a[k][k + 1..].to_vec();
        let tail: f64 = v[1..].iter().map(|x| x * x).sum();
        let norm = (v[0] * v[0] + tail).sqrt();
        // Far below the rounding of entries near 1; the square of less would underflow, and beta overflow.
        if tail < 1e-200 {
            off_diagonal[k] = v[0];
            reflections.push((0.0, v));
            continue;
        }
        // The sign that adds, not cancels.
        let target = if v[0] > 0.0 { -norm } else { norm };
        off_diagonal[k] = target;
        v[0] -= target;
        let beta = 2.0 / (v[0] * v[0] + tail);
        // A <- H A H = A - v w^T - w v^T with w = p - (beta p.v / 2) v, p = beta A v.
        let mut w: Vec<f64> = a[k + 1..].iter().map(|row| beta * dot(&row[k + 1..], &v)).collect();
        let half = 0.5 * beta * dot(&w, &v);
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= half * v);
        for (i, row) in a[k + 1..].iter_mut().enumerate() {
            let (vi, wi) = (v[i], w[i]);
            for ((x, v), w) in row[k + 1..].iter_mut().zip(&v).zip(&w) {
                *x -= vi * w + wi * v;
            }
        }
        reflections.push((beta, v));
    }
    if n >= 2 {
        off_diagonal[n - 2] = a[n - 2][n - 1];
    }
    let diagonal = (0..n).map(|i| a[i][i]).collect();

    // Q^T = (H_0 H_1 ...)^T, from the last reflection back: then only the trailing corner is filled.
    let mut q: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
    for (k, (beta, v)) in reflections.iter().enumerate().rev() {
        for row in &mut q[k + 1..] {
            let tail = &mut row[k + 1..];
            let factor = beta * dot(tail, v);
            tail.iter_mut().zip(v).for_each(|(x, v)| *x -= factor * v);
        }
    }
    (diagonal, off_diagonal, q)
}

/// Drive the off-diagonal to zero by plane rotations, applied to the rows of `vectors` as well.
fn implicit_ql(d: &mut [f64], e: &mut [f64], vectors: &mut [Vec<f64>]) -> Result<()> {
    // Relative to the whole matrix: beside eigenvalues that are zero but for rounding, a comparison with the
    // neighbours would never let go.
    let rows =
        d.iter().enumerate().map(|(i, d)| d.abs() + e[i].abs() + if i > 0 { e[i - 1].abs() } else { 0.0 });
    let scale = rows.fold(0.0, f64::max);
    let n = d.len();
    for l in 0..n {
        let mut steps = 0;
        loop {
            // The block from l to m is not yet split by a negligible off-diagonal entry.
            let negligible = |m: usize| e[m].abs() <= f64::EPSILON * scale;
            let m = (l..n - 1).find(|&m| negligible(m)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            steps += 1;
            if steps > MAX_STEPS {
                return Err(Error::bad_value(
                    "QL steps",
                    steps,
                    format!("at most {MAX_STEPS} for one eigenvalue"),
                    "check the matrix for extreme entries",
                ));
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut r = g.hypot(1.0);
            g = d[m] - d[l] + e[l] / (g + r.copysign(g));
            let (mut sin, mut cos, mut shift) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let f = sin * e[i];
                let b = cos * e[i];
                r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    // The rotations underflowed: the block splits here.
                    d[i + 1] -= shift;
                    e[m] = 0.0;
                    split = true;
                    break;
                }
                sin = f / r;
                cos = g / r;
                g = d[i + 1] - shift;
                let t = (d[i] - g) * sin + 2.0 * cos * b;
                shift = sin * t;
                d[i + 1] = g + shift;
                g = cos * t - b;
                let (upper, lower) = vectors.split_at_mut(i + 1);
                for (x, y) in upper[i].iter_mut().zip(&mut lower[0]) {
                    let old = *y;
                    *y = sin * *x + cos * old;
                    *x = cos * *x - sin * old;
                }
            }
            if split {
                continue;
            }
            d[l] -= shift;
            e[l] = g;
            e[m] = 0.0;
        }
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn sign_of_largest(v: &[f64]) -> f64 {
    let mut largest = 0.0_f64;
    for &x in v {
        // A near-tie must not be decided by rounding.
        if x.abs() > largest.abs() * (1.0 + 1e-10) {
            largest = x;
        }
    }
    if largest < 0.0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ebm_core::random::{Purpose, Stream};
    use ndarray::array;

    use super::*;

    fn check_decomposition(a: &Array2<f64>, tolerance: f64) {
        let n = a.nrows();
        let e = symmetric_eigen(a.view()).unwrap();
        let rebuilt = e.vectors.t().dot(&Array2::from_diag(&e.values)).dot(&e.vectors);
        assert_abs_diff_eq!(rebuilt, a, epsilon = tolerance);
        assert_abs_diff_eq!(e.vectors.dot(&e.vectors.t()), Array2::eye(n), epsilon = 1e-13);
        assert!(e.values.windows(2).into_iter().all(|w| w[0] >= w[1]));
        assert_abs_diff_eq!(e.values.sum(), a.diag().sum(), epsilon = tolerance * n as f64);
    }

    #[test]
    fn rebuilds_random_and_special_matrices() {
        let mut stream = Stream::new(4, Purpose::User, 0);
        for n in [1, 2, 3, 5, 17, 60] {
            let mut x = Array2::zeros((n, n));
            x.iter_mut().for_each(|v| *v = stream.normal());
            check_decomposition(&((&x + &x.t()) / 2.0), 1e-12);
            // Rank deficient: a Gram matrix of half as many columns.
            let half = x.slice(ndarray::s![.., ..n.div_ceil(2)]);
            check_decomposition(&half.dot(&half.t()), 1e-12);
            check_decomposition(&(1e-200 * (&x + &x.t())), 1e-210);
        }
        check_decomposition(&Array2::eye(6), 1e-15);
        check_decomposition(&Array2::zeros((4, 4)), 1e-15);
        check_decomposition(&Array2::ones((7, 7)), 1e-13);
        check_decomposition(&Array2::from_diag(&array![3.0, -1.0, 1e-20, 7.0]), 1e-15);
    }

    /// Pictures enlarged by repeating pixels have most eigenvalues at zero, many times over.
    #[test]
    fn repeated_columns_converge() {
        let mut stream = Stream::new(5, Purpose::User, 0);
        let few = Array2::from_shape_fn((50, 64), |_| stream.normal());
        let x = Array2::from_shape_fn((50, 196), |(i, j)| few[[i, j % 64]]);
        check_decomposition(&x.t().dot(&x), 1e-10);
    }

    /// The second-difference matrix: eigenvalues 2 - 2 cos(k pi / (n + 1)).
    #[test]
    fn known_eigenvalues() {
        let n = 20;
        let a = Array2::from_shape_fn((n, n), |(i, j)| match i.abs_diff(j) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        });
        let e = symmetric_eigen(a.view()).unwrap();
        for k in 1..=n {
            let exact = 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
            assert_abs_diff_eq!(e.values[n - k], exact, epsilon = 1e-14);
        }
        let e = symmetric_eigen(array![[2.0, 1.0], [1.0, 2.0]].view()).unwrap();
        assert_abs_diff_eq!(e.values, array![3.0, 1.0], epsilon = 1e-15);
        let h = 0.5_f64.sqrt();
        assert_abs_diff_eq!(e.vectors, array![[h, h], [h, -h]], epsilon = 1e-15);
    }

    #[test]
    fn the_square_root_squares_to_the_matrix() {
        let a = array![[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]];
        let root = symmetric_eigen(a.view()).unwrap().square_root();
        assert_abs_diff_eq!(root.dot(&root), a, epsilon = 1e-13);
    }

    #[test]
    fn bad_input_is_named() {
        let text = |a: Array2<f64>| symmetric_eigen(a.view()).unwrap_err().to_string();
        assert!(text(Array2::zeros((2, 3))).contains("expected 2, found 3"));
        assert!(text(array![[1.0, 2.0], [0.0, 1.0]]).starts_with("matrix[1, 0] = 0"));
        assert!(text(array![[f64::NAN]]).starts_with("matrix[0, 0] = NaN"));
        assert!(text(Array2::zeros((0, 0))).contains("at least 1"));
    }

    /// What is left of a matrix of low rank can be so small that its squares underflow.
    #[test]
    fn remainders_whose_squares_underflow() {
        let mut stream = Stream::new(11, Purpose::User, 0);
        for tiny in [1e-120, 1e-154, 1e-160, 1e-300] {
            let half = Array2::from_shape_fn((6, 6), |_| tiny * stream.normal());
            let mut a = &half + &half.t();
            a[[0, 0]] = 1.0;
            check_decomposition(&a, 1e-14);
        }
    }
}
