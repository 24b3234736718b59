//! Smooth densities of draws for the eye: a Gaussian kernel over fine bins, Silverman's width.

use super::ranges::quantile;

const BINS: usize = 200;

/// `(x, density)` at 200 places of `low..high`; empty where there is nothing to smooth. Not for computing with.
pub(super) fn density(values: &[f64], low: f64, high: f64) -> Vec<(f64, f64)> {
    let mut finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    let n = finite.len() as f64;
    let mean = finite.iter().sum::<f64>() / n;
    let sd = (finite.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let middle = (quantile(&finite, 0.75) - quantile(&finite, 0.25)) / 1.34;
    let spread = if middle > 0.0 { sd.min(middle) } else { sd };
    if !(spread > 0.0 && spread.is_finite() && high > low) {
        return Vec::new();
    }
    let bin = (high - low) / BINS as f64;
    let mut counts = [0.0; BINS];
    for x in &finite {
        let at = ((x - low) / bin).floor();
        if (0.0..BINS as f64).contains(&at) {
            counts[at as usize] += 1.0;
        }
    }
    // No narrower than a bin: the curve would be a comb.
    let width = (0.9 * spread * n.powf(-0.2) / bin).max(1.0);
    let reach = (4.0 * width).ceil().min(BINS as f64) as usize;
    let kernel: Vec<f64> = (0..=reach).map(|k| (-0.5 * (k as f64 / width).powi(2)).exp()).collect();
    let total = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    let at = |i: usize| {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(BINS);
        let sum: f64 = near.map(|j| counts[j] * kernel[i.abs_diff(j)]).sum();
        (low + (i as f64 + 0.5) * bin, sum / (total * n * bin))
    };
    (0..BINS).map(at).collect()
}

/// Counts of the finite numbers in `n_bins` equal bins of `low..high`, those outside in the outermost.
pub(super) fn histogram(values: impl Iterator<Item = f64>, low: f64, high: f64, n_bins: usize) -> Vec<f64> {
    let width = (high - low) / n_bins as f64;
    let mut counts = vec![0.0; n_bins];
    for x in values.filter(|x| x.is_finite()) {
        counts[((x - low) / width).floor().clamp(0.0, n_bins as f64 - 1.0) as usize] += 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_density_integrates_to_one_and_peaks_in_the_middle() {
        let values: Vec<f64> =
            (1..1000).map(|i| crate::special::normal_quantile(f64::from(i) / 1000.0)).collect();
        let curve = density(&values, -5.0, 5.0);
        let mass: f64 = curve.iter().map(|p| p.1 * 0.05).sum();
        assert!((mass - 1.0).abs() < 1e-6, "{mass}");
        let top = curve.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        // The normal density at 0 is 0.399; smoothing of width 0.23 makes it 0.389.
        assert!(top.0.abs() < 0.2 && (top.1 - 0.389).abs() < 0.01, "{top:?}");
        assert!(density(&[1.0; 5], 0.0, 2.0).is_empty() && density(&[], 0.0, 1.0).is_empty());
        assert_eq!(histogram([0.0, 0.9, 7.0, f64::NAN].into_iter(), 0.0, 1.0, 2), [1.0, 2.0]);
    }
}
