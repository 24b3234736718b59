//! Negative log-likelihood of the labels: `-log p(y|x) = LSE_k f_k - f_y`, in nats per item.

use ebm_core::Result;
use ndarray::{Array2, ArrayView1, ArrayView2};

use super::check_labelled;
use crate::bootstrap::{Bootstrap, bootstrap_mean};
use crate::check;
use crate::interval::Estimate;

/// `log p(class|item)` of logits, both `[item, class]`.
///
/// # Errors
/// An empty matrix or a number that is not finite.
pub fn log_softmax(logits: ArrayView2<f64>) -> Result<Array2<f64>> {
    check::matrix("logits", logits, 1)?;
    let mut out = logits.to_owned();
    for mut row in out.rows_mut() {
        let total = log_sum_exp(row.view());
        row.mapv_inplace(|x| x - total);
    }
    Ok(out)
}

/// `-log p(label|item)` for each item, in nats.
///
/// # Errors
/// An empty matrix, a number that is not finite, unequal lengths, or a label out of range.
pub fn negative_log_likelihoods(logits: ArrayView2<f64>, labels: &[usize]) -> Result<Vec<f64>> {
    check_labelled(logits, labels)?;
    Ok(logits.rows().into_iter().zip(labels).map(|(row, &y)| log_sum_exp(row) - row[y]).collect())
}

/// The mean of [`negative_log_likelihoods`], in nats per item.
///
/// # Errors
/// As [`negative_log_likelihoods`].
pub fn negative_log_likelihood(logits: ArrayView2<f64>, labels: &[usize]) -> Result<f64> {
    let each = negative_log_likelihoods(logits, labels)?;
    Ok(each.iter().sum::<f64>() / each.len() as f64)
}

/// [`negative_log_likelihood`] with its bootstrap interval over the items.
///
/// # Errors
/// As [`negative_log_likelihoods`], or unusable settings.
pub fn negative_log_likelihood_interval(
    logits: ArrayView2<f64>,
    labels: &[usize],
    settings: &Bootstrap,
) -> Result<Estimate> {
    bootstrap_mean(&negative_log_likelihoods(logits, labels)?, settings)
}

fn log_sum_exp(row: ArrayView1<f64>) -> f64 {
    // Without the largest taken out, exp overflows above 709.
    let largest = row.fold(f64::NEG_INFINITY, |m, &x| m.max(x));
    largest + row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    #[test]
    fn likelihood_of_a_hand_made_table() {
        // Odds 1:3 and, shifted far up, 1:1.
        let logits = array![[0.0, 3f64.ln()], [1000.0, 1000.0]];
        let each = negative_log_likelihoods(logits.view(), &[0, 1]).unwrap();
        assert_abs_diff_eq!(each[0], 4f64.ln(), epsilon = 1e-15);
        assert_abs_diff_eq!(each[1], 2f64.ln(), epsilon = 1e-12);
        let mean = negative_log_likelihood(logits.view(), &[0, 1]).unwrap();
        assert_abs_diff_eq!(mean, 0.5 * (4f64.ln() + 2f64.ln()), epsilon = 1e-12);
        // Log-probabilities are logits of themselves.
        let log_p = log_softmax(logits.view()).unwrap();
        assert_abs_diff_eq!(log_p.mapv(f64::exp).sum(), 2.0, epsilon = 1e-12);
        assert_abs_diff_eq!(negative_log_likelihood(log_p.view(), &[0, 1]).unwrap(), mean, epsilon = 1e-12);
        let e = negative_log_likelihood_interval(logits.view(), &[0, 1], &Bootstrap::default()).unwrap();
        assert!(e.interval.contains(e.value));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(log_softmax(array![[f64::INFINITY]].view()).is_err());
        assert!(negative_log_likelihood(array![[0.0]].view(), &[1]).is_err());
    }
}
