//! Mean acceptance of each chain.

use ebm_core::{Error, Result};
use ndarray::{ArrayView2, Axis};

use crate::check;

/// The mean of the acceptances `[chain, draw]` of each chain: acceptance probabilities, or 0 and 1.
///
/// Probabilities give the less noisy estimate. Good values: 0.574 for MALA (doi:10.1111/1467-9868.00123), about
/// 0.65 to 0.8 for HMC (arXiv 1001.4460, 1411.6669), in many dimensions.
///
/// # Errors
/// No chains, no draws, or a number outside `[0, 1]`.
pub fn mean_acceptance(accepted: ArrayView2<f64>) -> Result<Vec<f64>> {
    check::at_least("chains", accepted.nrows(), 1)?;
    check::at_least("draws", accepted.ncols(), 1)?;
    if let Some(((c, t), x)) = accepted.indexed_iter().find(|(_, x)| !(0.0..=1.0).contains(*x)) {
        return Err(Error::bad_value(
            format!("accepted[{c}, {t}]"),
            x,
            "from 0 to 1",
            "a diverged step counts 0",
        ));
    }
    Ok(accepted.axis_iter(Axis(0)).map(|chain| chain.sum() / chain.len() as f64).collect())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn means_and_bad_input() {
        assert_eq!(mean_acceptance(array![[0.0, 1.0], [0.5, 1.0]].view()).unwrap(), [0.5, 0.75]);
        let e = mean_acceptance(array![[0.0, f64::NAN]].view()).unwrap_err().to_string();
        assert!(e.starts_with("accepted[0, 1] = NaN"));
        assert!(mean_acceptance(array![[1.5]].view()).is_err());
        assert!(mean_acceptance(Array2::zeros((1, 0)).view()).is_err());
    }
}
