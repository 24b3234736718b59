//! Checks of input shared by the metrics; each error names the argument, the position and what would fit.

use ebm_core::{Error, Result};
use ndarray::{ArrayView2, Axis};

/// At least `least` items.
pub(crate) fn at_least(name: &str, found: usize, least: usize) -> Result<()> {
    if found < least {
        return Err(Error::shape(name, format_args!("at least {least}"), found));
    }
    Ok(())
}

/// Two lengths that must agree.
pub(crate) fn same_len(name: &str, expected: usize, found: usize) -> Result<()> {
    if expected != found {
        return Err(Error::shape(name, expected, found));
    }
    Ok(())
}

/// Every number finite.
pub(crate) fn finite(name: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(not_finite(format!("{name}[{i}]"), values[i])),
        None => Ok(()),
    }
}

/// A matrix `[row, column]` with at least `least_rows` rows, at least one column and finite numbers.
pub(crate) fn matrix(name: &str, x: ArrayView2<f64>, least_rows: usize) -> Result<()> {
    at_least(&format!("rows of {name}"), x.nrows(), least_rows)?;
    at_least(&format!("columns of {name}"), x.ncols(), 1)?;
    for (i, row) in x.axis_iter(Axis(0)).enumerate() {
        if let Some(j) = row.iter().position(|v| !v.is_finite()) {
            return Err(not_finite(format!("{name}[{i}, {j}]"), row[j]));
        }
    }
    Ok(())
}

/// Two checked matrices over the same columns.
pub(crate) fn two_matrices(
    (name_a, a): (&str, ArrayView2<f64>),
    (name_b, b): (&str, ArrayView2<f64>),
    least_rows: usize,
) -> Result<()> {
    matrix(name_a, a, least_rows)?;
    matrix(name_b, b, least_rows)?;
    same_len(&format!("columns of {name_b} (as in {name_a})"), a.ncols(), b.ncols())
}

/// A confidence level, a probability strictly between 0 and 1.
pub(crate) fn open_unit(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::bad_value(name, value, "strictly between 0 and 1", ""))
}

fn not_finite(name: String, value: f64) -> Error {
    Error::bad_value(name, value, "finite", "drop or repair the item before measuring")
}
