//! A logarithmic axis with numbers at it whatever its range. plotters' own has powers of ten alone, so that an axis from
//! 0.2 to 0.7 would stand without a number.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// What to multiply powers of ten by, from few numbers to many.
const MULTIPLES: [&[f64]; 3] = [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0]];

/// See the file's first lines; both ends of the range lie above 0.
pub struct LogAxis {
    range: Range<f64>,
    logarithms: RangedCoordf64,
}

impl LogAxis {
    /// An axis over a range above 0.
    pub fn new(range: Range<f64>) -> Self {
        let logarithms = (range.start.ln()..range.end.ln()).into();
        Self { range, logarithms }
    }
}

impl Ranged for LogAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.logarithms.map(&value.ln(), limit)
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        ticks(&self.range, hint.max_num_points())
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// At most `most` numbers: every power of ten or every few, and multiples of them where there is room; over less than
/// about a decade, those of a linear axis.
fn ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    if most == 0 {
        return Vec::new();
    }
    let (first, last) = (range.start.log10().floor() as i32, range.end.log10().floor() as i32);
    let multiples = |of: &[f64], every: usize| -> Vec<f64> {
        (first..=last)
            .filter(|exponent| exponent.rem_euclid(every as i32) == 0)
            .flat_map(|exponent| of.iter().map(move |m| m * 10f64.powi(exponent)))
            .filter(|v| range.contains(v))
            .collect()
    };
    let fitting = MULTIPLES.iter().rev().map(|of| multiples(of, 1)).find(|v| v.len() <= most);
    match fitting {
        Some(found) if found.len() >= 3 => found,
        Some(_) => linear(range, 10f64.powi(first), most),
        None => multiples(&[1.0], ((last - first + 1) as usize).div_ceil(most)),
    }
}

/// The numbers of a linear axis, sought in units of `unit`: plotters takes ranges below 1e-16 for empty.
fn linear(range: &Range<f64>, unit: f64, most: usize) -> Vec<f64> {
    let axis = RangedCoordf64::from(range.start / unit..range.end / unit);
    axis.key_points(most).into_iter().map(|v| v * unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_has_numbers() {
        assert_eq!(ticks(&(0.9..1100.0), 6), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(ticks(&(0.9..110.0), 6), [1.0, 3.0, 10.0, 30.0, 100.0]);
        assert_eq!(ticks(&(0.9..110.0), 8), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(ticks(&(0.5e-12..2e12), 6).len(), 5);
        let near = ticks(&(0.13..0.73), 6);
        assert!(near.len() >= 3 && near.iter().all(|v| (10.0 * v - (10.0 * v).round()).abs() < 1e-9));
        assert!(ticks(&(1.0..2.0), 0).is_empty());
        for exponent in -29..29 {
            for width in [1e-6, 0.1, 1.0, 10.0, 1e3, 1e9] {
                let start = 1.7 * 10f64.powi(exponent);
                let found = ticks(&(start..start * (1.0 + width)), 6);
                assert!((2..=6).contains(&found.len()), "{start} {width}: {found:?}");
                assert!(found.windows(2).all(|w| w[0] < w[1]));
            }
        }
    }

    #[test]
    fn places_are_logarithms() {
        let axis = LogAxis::new(1.0..100.0);
        assert_eq!([1.0, 10.0, 100.0].map(|v| axis.map(&v, (0, 1000))), [0, 500, 1000]);
    }
}
