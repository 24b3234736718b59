//! Matrix products of parts of larger matrices, by the crate `gemm`.

use gemm::Parallelism;

/// A matrix of a slice: where it begins, and how far apart its rows and columns are.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Part<'a> {
    /// Rows of the slice, `row_stride` apart.
    #[inline(always)]
    pub fn rows(data: &'a [f32], row_stride: usize) -> Self {
        Self { data, row_stride, column_stride: 1 }
    }

    /// Its transpose.
    #[inline(always)]
    pub fn t(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row_stride + (columns - 1) * self.column_stride < self.data.len()
    }
}

/// What becomes of what stands in the result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// Overwritten.
    Set,
    /// Added to.
    Add,
}

/// `c (+)= a b`, where `a` is `m x k`, `b` is `k x n` and `c` has rows `row_stride` apart.
///
/// # Panics
/// When a slice is too short for its matrix: a mistake of this module's callers, never of data.
#[inline(always)]
pub fn product(
    c: &mut [f32],
    row_stride: usize,
    into: Into,
    [m, k, n]: [usize; 3],
    a: Part<'_>,
    b: Part<'_>,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n) && (m - 1) * row_stride + n <= c.len(), "a slice is too short");
    let stride = |n: usize| n as isize;
    // SAFETY: the slices hold every element that is read or written (asserted above), `c` is borrowed alone, and its
    // rows do not overlap for row_stride >= n.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            stride(row_stride),
            into == Into::Add,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_transposes() {
        // a = [[1, 2], [3, 4]] inside rows of 3; b its transpose.
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let mut c = [1.0; 4];
        product(&mut c, 2, Into::Set, [2, 2, 2], Part::rows(&a, 3), Part::rows(&a, 3).t());
        assert_eq!(c, [5.0, 11.0, 11.0, 25.0]);
        product(&mut c, 2, Into::Add, [2, 2, 2], Part::rows(&a, 3), Part::rows(&a, 3));
        assert_eq!(c, [12.0, 21.0, 26.0, 47.0]);
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_short_slice_is_refused() {
        product(&mut [0.0; 3], 2, Into::Set, [2, 2, 2], Part::rows(&[0.0; 4], 2), Part::rows(&[0.0; 4], 2));
    }
}
