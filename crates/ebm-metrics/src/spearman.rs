//! Spearman's rank correlation: Pearson's correlation of the ranks, ties sharing their average rank.
//! Source: Spearman 1904 (doi:10.2307/1412159).

use ebm_core::{Error, Result};

use crate::bootstrap::{Bootstrap, bootstrap, estimate};
use crate::chains::average_ranks;
use crate::check;
use crate::interval::Estimate;

/// The rank correlation of `a` and `b`, in `[-1, 1]`; 0 where one of them is constant.
///
/// # Errors
/// Fewer than two items, unequal lengths, or a number that is not finite.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<f64> {
    check::at_least("a", a.len(), 2)?;
    check::same_len("b (as a)", a.len(), b.len())?;
    check::finite("a", a)?;
    check::finite("b", b)?;
    Ok(pearson(&ranks(a), &ranks(b)))
}

/// [`spearman`] with its bootstrap interval over the items.
///
/// # Errors
/// As [`spearman`], or unusable settings.
pub fn spearman_interval(a: &[f64], b: &[f64], settings: &Bootstrap) -> Result<Estimate> {
    spearman_interval_of_groups(a, b, 1, settings)
}

/// [`spearman_interval`] of items that come in groups of `group_size` in a row which may depend on each other (the
/// positions of a sequence): whole groups are drawn again.
///
/// # Errors
/// As [`spearman_interval`], or a number of items that is no multiple of `group_size`.
pub fn spearman_interval_of_groups(
    a: &[f64],
    b: &[f64],
    group_size: usize,
    settings: &Bootstrap,
) -> Result<Estimate> {
    let value = spearman(a, b)?;
    if group_size == 0 || !a.len().is_multiple_of(group_size) {
        let limit = format!("a divisor of {}, the number of items", a.len());
        return Err(Error::bad_value("group_size", group_size, limit, ""));
    }
    let n_groups = a.len() / group_size;
    let resamples = bootstrap(n_groups, settings.n_resamples, settings.seed, |groups| {
        let pick = |x: &[f64]| {
            let picked = groups.iter().flat_map(|&g| &x[g * group_size..(g + 1) * group_size]);
            ranks(&picked.copied().collect::<Vec<_>>())
        };
        pearson(&pick(a), &pick(b))
    })?;
    estimate(value, &resamples, settings)
}

fn ranks(x: &[f64]) -> Vec<f64> {
    average_ranks(&[x.to_vec()]).swap_remove(0)
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_counts() {
        let a = [1.0, 2.0, 3.0, 4.0];
        assert!((spearman(&a, &[0.1, 10.0, 11.0, 1e9]).unwrap() - 1.0).abs() < 1e-15);
        assert!((spearman(&a, &[4.0, 3.0, 2.0, -1.0]).unwrap() + 1.0).abs() < 1e-15);
        // By hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
        let tied = spearman(&[0.0, 7.0, 7.0, 9.0], &a).unwrap();
        assert!((tied - 4.5 / (4.5f64 * 5.0).sqrt()).abs() < 1e-15);
        assert_eq!(spearman(&a, &[2.0; 4]).unwrap(), 0.0);
        assert!(spearman(&a, &a[..3]).is_err() && spearman(&[1.0], &[1.0]).is_err());
        assert!(spearman(&a, &[1.0, f64::NAN, 2.0, 3.0]).is_err());
    }

    #[test]
    fn the_interval_holds_the_value_of_many_items() {
        let a: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 200)).collect();
        let b: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 200 + i * 91 % 150)).collect();
        let found =
            spearman_interval(&a, &b, &Bootstrap { n_resamples: 200, ..Bootstrap::default() }).unwrap();
        assert!(found.interval.contains(found.value) && found.interval.low > 0.5, "{found}");
    }

    /// For a bivariate normal of correlation r, Spearman's is 6 / pi asin(r / 2). Each pair stands four times: only the
    /// groups are independent, and an interval over items is half as wide as it should be.
    #[test]
    fn groups_are_drawn_whole() {
        use ebm_core::random::{Purpose, Stream};
        let (r, mut stream) = (0.6f64, Stream::new(1, Purpose::User, 0));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..500 {
            let (x, z) = (stream.normal(), stream.normal());
            a.extend([x; 4]);
            b.extend([r * x + (1.0 - r * r).sqrt() * z; 4]);
        }
        let settings = Bootstrap { n_resamples: 200, ..Bootstrap::default() };
        let grouped = spearman_interval_of_groups(&a, &b, 4, &settings).unwrap();
        let single = spearman_interval(&a, &b, &settings).unwrap();
        assert!(grouped.interval.contains(6.0 / std::f64::consts::PI * (r / 2.0).asin()), "{grouped}");
        let width = |e: &Estimate| e.interval.high - e.interval.low;
        assert!((width(&grouped) / width(&single) - 2.0).abs() < 0.5);
        assert!(spearman_interval_of_groups(&a, &b, 3, &settings).is_err());
    }
}
