//! Curves, points and chains.

use ebm_metrics::plots::canvas::{Axes, INK, Mark, Picture, RGBColor, color, no_data};
use ebm_metrics::plots::ranges::{can_show, padded, thin};

const SIZE: (u32, u32) = (520, 310);
const MOST_POINTS: usize = 800;

/// A named list of points; the name stands in the legend unless it is empty.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// The points, from left to right for a curve.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A series of points.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points }
    }

    /// A series of values at 0, 1, 2, …
    pub fn of_values(name: &str, values: &[f64]) -> Self {
        Self::new(name, values.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect())
    }
}

/// Points that the axes can show; others become gaps.
fn usable(axes: &Axes, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let show = |v: f64, log: bool| if can_show(v, log) { v } else { f64::NAN };
    points.iter().map(|(x, y)| (show(*x, axes.log_x), show(*y, axes.log_y))).collect()
}

fn picture(axes: &Axes, series: &[Vec<(f64, f64)>]) -> Option<Picture> {
    let whole = || series.iter().flatten().filter(|(x, y)| x.is_finite() && y.is_finite());
    let x = padded(whole().map(|p| p.0), axes.log_x)?;
    let y = padded(whole().map(|p| p.1), axes.log_y)?;
    Some(Picture::new(axes.clone(), x, y, SIZE))
}

fn legend(series: &[Series]) -> Vec<(String, RGBColor)> {
    series.iter().enumerate().map(|(i, s)| (s.name.clone(), color(i))).collect()
}

/// Curves with a legend. A point that is not finite leaves a gap. A curve of more than 800 points is drawn faintly,
/// with the running mean of its neighbours on top, so that noisy curves stay apart.
///
/// # Errors
/// The drawing failed.
pub fn lines(axes: &Axes, series: &[Series]) -> anyhow::Result<String> {
    let usable: Vec<_> = series.iter().map(|s| usable(axes, &s.points)).collect();
    let Some(mut picture) = picture(axes, &usable) else { return Ok(no_data()) };
    picture.legend = legend(series);
    let is_long = |points: &[(f64, f64)]| points.len() > MOST_POINTS;
    if usable.iter().any(|p| is_long(p)) {
        picture.legend.push(("(bold: running mean)".into(), INK));
    }
    let line = |i, points, opacity, width| Mark::Line { points, color: color(i), opacity, width };
    // All the faint ones first: no mean may hide below another curve's noise.
    for (i, points) in usable.iter().enumerate().filter(|(_, p)| is_long(p)) {
        picture.marks.push(line(i, thin(points, MOST_POINTS), 0.22, 1.0));
    }
    for (i, points) in usable.into_iter().enumerate() {
        let points = if is_long(&points) { running_mean(&points, 200) } else { points };
        picture.marks.push(line(i, points, 1.0, 1.75));
    }
    Ok(picture.svg()?)
}

/// The means of about `n` stretches of a curve; what is not finite does not count.
fn running_mean(points: &[(f64, f64)], n: usize) -> Vec<(f64, f64)> {
    let mean = |chunk: &[(f64, f64)]| {
        let finite: Vec<_> = chunk.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        let over = |value: fn(&(f64, f64)) -> f64| {
            finite.iter().map(|p| value(p)).sum::<f64>() / finite.len() as f64
        };
        (over(|p| p.0), over(|p| p.1))
    };
    points.chunks(points.len().div_ceil(n).max(1)).map(mean).collect()
}

/// Points with a legend, on a square; at most 5,000 of each series are drawn, evenly chosen.
///
/// # Errors
/// The drawing failed.
pub fn scatter(axes: &Axes, series: &[Series]) -> anyhow::Result<String> {
    let shown: Vec<_> = series
        .iter()
        .map(|s| {
            let points = usable(axes, &s.points);
            let every = points.len().div_ceil(5_000).max(1);
            points.into_iter().step_by(every).collect::<Vec<_>>()
        })
        .collect();
    let Some(mut picture) = picture(axes, &shown) else { return Ok(no_data()) };
    picture.size = (400, 372);
    picture.legend = legend(series);
    picture.marks = shown
        .into_iter()
        .enumerate()
        .map(|(i, points)| {
            let many = points.len() > 500;
            let (opacity, radius) = if many { (0.4, 1.25) } else { (0.7, 2.5) };
            Mark::Dots { points, color: color(i), opacity, radius }
        })
        .collect();
    Ok(picture.svg()?)
}

/// Some quantity of several chains over their steps: thin lines, and their mean as a thick one.
///
/// # Errors
/// The drawing failed.
pub fn traces(axes: &Axes, chains: &[Vec<f64>]) -> anyhow::Result<String> {
    let each: Vec<_> = chains
        .iter()
        .map(|c| thin(&usable(axes, &Series::of_values("", c).points), MOST_POINTS / 2))
        .collect();
    let Some(mut picture) = picture(axes, &each) else { return Ok(no_data()) };
    let n_steps = chains.iter().map(Vec::len).max().unwrap_or(0);
    let mean: Vec<(f64, f64)> = (0..n_steps)
        .map(|t| {
            let at: Vec<f64> = chains
                .iter()
                .filter_map(|c| c.get(t).copied())
                .filter(|v| can_show(*v, axes.log_y))
                .collect();
            (t as f64, at.iter().sum::<f64>() / at.len() as f64)
        })
        .collect();
    picture.legend = vec![("chains".into(), color(0)), ("mean".into(), color(1))];
    let opacity = (6.0 / chains.len() as f64).clamp(0.15, 0.6);
    picture.marks =
        each.into_iter().map(|points| Mark::Line { points, color: color(0), opacity, width: 0.75 }).collect();
    let points = thin(&usable(axes, &mean), MOST_POINTS);
    picture.marks.push(Mark::Line { points, color: color(1), opacity: 1.0, width: 2.0 });
    Ok(picture.svg()?)
}
