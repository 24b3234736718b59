//! Ranges of axes, and thinning of long curves.

use std::ops::Range;

/// Whether an axis can show a number. Beyond 1e30 plotters' search for round ticks does not end, and on a log axis
/// less than 1e-30 is nothing.
pub fn can_show(v: f64, log: bool) -> bool {
    v.abs() <= 1e30 && (!log || v >= 1e-30)
}

/// The range of the values that an axis can show, a little wider than they are; `None` without any.
pub fn padded(values: impl Iterator<Item = f64>, log: bool) -> Option<Range<f64>> {
    let scale = |v: f64| if log { v.log10() } else { v };
    let (low, high) = values
        .filter(|v| can_show(*v, log))
        .map(scale)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return None;
    }
    // A single value still needs an axis that can be divided: half a decade, or half the value, each way.
    let size = low.abs().max(high.abs());
    let size = if size < 1e-30 || log { 1.0 } else { size };
    let pad = if high - low > 1e-9 * size { 0.04 * (high - low) } else { 0.5 * size };
    let (low, high) = (low - pad, high + pad);
    let back = |v: f64| if log { 10f64.powf(v) } else { v };
    let range = back(low)..back(high);
    (range.start.is_finite() && range.end.is_finite() && (range.end - range.start).is_finite())
        .then_some(range)
}

/// Thins a curve to about `limit` points: the lowest and the highest of each stretch stay, so that spikes stay.
pub fn thin(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    if points.len() <= limit || limit < 4 {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(limit / 2);
    let mut kept = Vec::with_capacity(limit + 2);
    for chunk in points.chunks(stretch) {
        let order = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let index = |p: &(f64, f64)| chunk.iter().position(|q| std::ptr::eq(p, q)).unwrap_or(0);
        let low = chunk.iter().min_by(order).map_or(0, index);
        let high = chunk.iter().max_by(order).map_or(0, index);
        kept.push(chunk[low.min(high)]);
        if low != high {
            kept.push(chunk[low.max(high)]);
        }
    }
    kept.extend(points.last());
    kept
}

/// The value below which a share of the sorted values lies.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_all_and_are_never_empty() {
        let r = padded([1.0, f64::NAN, 3.0].into_iter(), false).unwrap();
        assert!(r.start < 1.0 && r.end > 3.0);
        let r = padded([5.0].into_iter(), false).unwrap();
        assert!(r.start < 5.0 && r.end > 5.0);
        assert!(padded([0.0].into_iter(), false).unwrap().start < 0.0);
        assert_eq!(padded([0.0, -1.0].into_iter(), true), None);
        assert!(padded([1e-3, 10.0].into_iter(), true).unwrap().start < 1e-3);
        assert_eq!(padded([f64::MIN, f64::MAX].into_iter(), false), None);
    }

    #[test]
    fn thinning_keeps_ends_and_spikes() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.0)).collect();
        points[5_003].1 = 9.0;
        let thinned = thin(&points, 400);
        assert!(thinned.len() <= 402 && thinned.contains(&(5_003.0, 9.0)));
        assert_eq!((thinned[0].0, thinned.last().unwrap().0), (0.0, 9_999.0));
        assert!(thinned.windows(2).all(|w| w[0].0 <= w[1].0));
    }
}
