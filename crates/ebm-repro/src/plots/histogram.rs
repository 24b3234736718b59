//! Overlaid histograms: energies of data, samples and outliers on one axis.

use ebm_metrics::plots::canvas::{Axes, Mark, Picture, color, no_data};
use ebm_metrics::plots::ranges::{can_show, padded, quantile};

/// Densities of several named lists of values over common bins.
///
/// The axis spans the central 99% of every list; what lies outside is counted in the outermost bins, so that one
/// wild value does not squeeze the rest into one bin. `axes.y` may be empty: it is "density" then.
///
/// # Errors
/// The drawing failed.
pub fn histograms(axes: &Axes, series: &[(&str, &[f64])], n_bins: usize) -> anyhow::Result<String> {
    let n_bins = n_bins.clamp(2, 400);
    let sorted: Vec<Vec<f64>> = series
        .iter()
        .map(|(_, values)| {
            let mut finite: Vec<f64> = values.iter().copied().filter(|v| can_show(*v, false)).collect();
            finite.sort_by(f64::total_cmp);
            finite
        })
        .collect();
    let ends = sorted.iter().filter(|s| !s.is_empty()).flat_map(|s| [quantile(s, 0.005), quantile(s, 0.995)]);
    let Some(x) = padded(ends, false) else { return Ok(no_data()) };
    let width = (x.end - x.start) / n_bins as f64;
    let mut marks = Vec::new();
    let mut highest = 0.0f64;
    for (i, values) in sorted.iter().enumerate().filter(|(_, v)| !v.is_empty()) {
        let mut density = vec![0.0; n_bins];
        for v in values {
            let bin = ((v - x.start) / width).floor().clamp(0.0, (n_bins - 1) as f64) as usize;
            density[bin] += 1.0 / (values.len() as f64 * width);
        }
        highest = density.iter().copied().fold(highest, f64::max);
        let edge = |b: usize| x.start + width * b as f64;
        let filled = density.iter().enumerate().filter(|(_, d)| **d > 0.0);
        let boxes = filled.map(|(b, d)| [edge(b), 0.0, edge(b + 1), *d]).collect();
        let outline =
            density.iter().enumerate().flat_map(|(b, d)| [(edge(b), *d), (edge(b + 1), *d)]).collect();
        marks.push(Mark::Boxes { boxes, color: color(i), opacity: 0.16 });
        marks.push(Mark::Line { points: outline, color: color(i), opacity: 1.0, width: 1.5 });
    }
    if !(can_show(highest, false) && highest > 0.0) {
        return Ok(no_data());
    }
    let y_title = if axes.y.is_empty() { "density" } else { &axes.y };
    let axes = Axes { log_x: false, log_y: false, y: y_title.to_owned(), ..axes.clone() };
    let mut picture = Picture::new(axes, x, 0.0..highest * 1.06, (520, 310));
    picture.marks = marks;
    picture.legend = series.iter().enumerate().map(|(i, (name, _))| ((*name).to_owned(), color(i))).collect();
    Ok(picture.svg()?)
}
