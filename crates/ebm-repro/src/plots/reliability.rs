//! The reliability diagram: how often a classifier is right against how sure it is.

use ebm_metrics::classification::CalibrationBin;

use ebm_metrics::plots::canvas::{Axes, INK, Mark, Picture, color, no_data};

/// Accuracy over confidence for one or more named classifiers, from the bins of
/// [`ebm_metrics::classification::calibration`]. A dot's size grows with the items in its bin; a perfectly
/// calibrated classifier lies on the diagonal.
///
/// # Errors
/// The drawing failed.
pub fn reliability(series: &[(&str, &[CalibrationBin])]) -> anyhow::Result<String> {
    let diagonal = vec![(0.0, 0.0), (1.0, 1.0)];
    let mut marks = vec![Mark::Line { points: diagonal, color: INK, opacity: 0.5, width: 1.0 }];
    let mut is_empty = true;
    for (i, (_, bins)) in series.iter().enumerate() {
        let total: usize = bins.iter().map(|b| b.count).sum();
        let filled: Vec<&CalibrationBin> = bins.iter().filter(|b| b.count > 0).collect();
        is_empty &= filled.is_empty();
        let points: Vec<(f64, f64)> = filled.iter().map(|b| (b.confidence, b.accuracy)).collect();
        for (point, bin) in points.iter().zip(&filled) {
            let radius = 2.0 + 6.0 * (bin.count as f64 / total as f64).sqrt();
            marks.push(Mark::Dots { points: vec![*point], color: color(i), opacity: 0.55, radius });
        }
        marks.push(Mark::Line { points, color: color(i), opacity: 1.0, width: 1.5 });
    }
    if is_empty {
        return Ok(no_data());
    }
    let mut picture = Picture::new(Axes::new("confidence", "accuracy"), 0.0..1.03, 0.0..1.03, (400, 372));
    picture.marks = marks;
    picture.legend = series.iter().enumerate().map(|(i, (name, _))| ((*name).to_owned(), color(i))).collect();
    Ok(picture.svg()?)
}
