//! The little dense linear algebra that the metrics need, in f64 and without BLAS or LAPACK.

mod eigen;
mod moments;

pub use eigen::{SymmetricEigen, symmetric_eigen};
pub use moments::{Moments, moments};
