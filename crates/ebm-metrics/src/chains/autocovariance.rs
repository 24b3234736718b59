//! Autocovariance at every lag: `c_k = 1/n sum_t (x_t - mean) (x_{t+k} - mean)`, by FFT.
//!
//! The division by n at every lag (not n - k) is the usual, biased estimate: it keeps the sequence positive
//! definite (Geyer 1992, doi:10.1214/ss/1177011137).

use ebm_core::Result;

use super::fft::{Complex, fft};
use super::mean;
use crate::check;

/// The autocovariance of `x` at the lags 0 to n - 1.
///
/// # Errors
/// No numbers, or one that is not finite.
pub fn autocovariance(x: &[f64]) -> Result<Vec<f64>> {
    check::at_least("x", x.len(), 1)?;
    check::finite("x", x)?;
    Ok(mean_autocovariance(&[x.to_vec()]))
}

/// The mean over chains of equal length of their autocovariances, at each lag.
pub(super) fn mean_autocovariance(chains: &[Vec<f64>]) -> Vec<f64> {
    let n = chains[0].len();
    // Padded to twice the length, so that the circular correlation does not wrap.
    let padded = (2 * n).next_power_of_two();
    let mut power = vec![(0.0, 0.0); padded];
    let mut z: Vec<Complex> = vec![(0.0, 0.0); padded];
    // Two chains at once, as real and imaginary part: the real part of the autocorrelation of x + iy is that of x
    // plus that of y, and power spectra add.
    for pair in chains.chunks(2) {
        z.fill((0.0, 0.0));
        let (x, y) = (&pair[0], pair.get(1));
        let mean_x = mean(x);
        z.iter_mut().zip(x).for_each(|(z, x)| z.0 = x - mean_x);
        if let Some(y) = y {
            let mean_y = mean(y);
            z.iter_mut().zip(y).for_each(|(z, y)| z.1 = y - mean_y);
        }
        fft(&mut z);
        power.iter_mut().zip(&z).for_each(|(p, z)| p.0 += z.0 * z.0 + z.1 * z.1);
    }
    // Of a real sequence, forward and backward transform have the same real part.
    fft(&mut power);
    let scale = 1.0 / (padded * n * chains.len()) as f64;
    power[..n].iter().map(|p| p.0 * scale).collect()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::super::testing::formula_chains;
    use super::*;

    fn direct(x: &[f64]) -> Vec<f64> {
        let m = mean(x);
        let lag = |k: usize| (k..x.len()).map(|t| (x[t] - m) * (x[t - k] - m)).sum::<f64>() / x.len() as f64;
        (0..x.len()).map(lag).collect()
    }

    #[test]
    fn equals_the_direct_sum_for_one_and_for_several_chains() {
        for (n_chains, n) in [(1, 1), (1, 2), (2, 5), (3, 33), (4, 100)] {
            let x: Vec<Vec<f64>> =
                formula_chains(n_chains, n, 0.5).rows().into_iter().map(|r| r.to_vec()).collect();
            let each: Vec<Vec<f64>> = x.iter().map(|chain| direct(chain)).collect();
            for (k, found) in mean_autocovariance(&x).iter().enumerate() {
                let exact = each.iter().map(|c| c[k]).sum::<f64>() / n_chains as f64;
                assert_abs_diff_eq!(*found, exact, epsilon = 1e-15);
            }
            for (found, exact) in autocovariance(&x[0]).unwrap().iter().zip(&each[0]) {
                assert_abs_diff_eq!(found, exact, epsilon = 1e-15);
            }
        }
    }

    #[test]
    fn by_hand_and_bad_input() {
        // Deviations -1, 0, 1: c_0 = 2/3, c_1 = 0, c_2 = -1/3.
        let c = autocovariance(&[5.0, 6.0, 7.0]).unwrap();
        for (found, exact) in c.iter().zip([2.0 / 3.0, 0.0, -1.0 / 3.0]) {
            assert_abs_diff_eq!(*found, exact, epsilon = 1e-15);
        }
        assert!(autocovariance(&[]).is_err() && autocovariance(&[0.0, f64::NAN]).is_err());
    }
}
