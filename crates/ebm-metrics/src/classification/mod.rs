//! How good a classifier's answers are: accuracy, negative log-likelihood, calibration, ranking.
//!
//! Everything takes logits `[item, class]`; log-probabilities are logits too and give the same numbers.

mod accuracy;
mod auroc;
mod calibration;
mod likelihood;

pub use accuracy::{accuracy, accuracy_interval, correctness, predictions};
pub use auroc::{auroc, auroc_difference, auroc_interval, auroc_labelled};
pub use calibration::{
    Calibration, CalibrationBin, DEFAULT_BINS, calibration, calibration_error, calibration_error_interval,
    confidences,
};
pub use likelihood::{
    log_softmax, negative_log_likelihood, negative_log_likelihood_interval, negative_log_likelihoods,
};

use ebm_core::{Error, Result};
use ndarray::ArrayView2;

use crate::check;

/// Logits `[item, class]` and one label below the number of classes for each item.
fn check_labelled(logits: ArrayView2<f64>, labels: &[usize]) -> Result<()> {
    check::matrix("logits", logits, 1)?;
    check::same_len("labels (one per row of logits)", logits.nrows(), labels.len())?;
    match labels.iter().position(|&y| y >= logits.ncols()) {
        Some(i) => Err(Error::bad_value(
            format!("labels[{i}]"),
            labels[i],
            format!("below {}, the number of columns of logits", logits.ncols()),
            "",
        )),
        None => Ok(()),
    }
}
