//! A density (or any other number) on a grid, as a picture inside the plot.

use std::ops::Range;

use ebm_train::logs::image::encode_png;

use ebm_metrics::plots::canvas::{Axes, Mark, Picture, RGBColor, no_data};
use ebm_metrics::plots::ranges::can_show;

/// Numbers on a regular grid.
#[derive(Clone, Debug)]
pub struct HeatMap<'a> {
    /// Cells from left to right.
    pub n_x: usize,
    /// Cells from bottom to top.
    pub n_y: usize,
    /// What the cells span horizontally.
    pub x: Range<f64>,
    /// What the cells span vertically.
    pub y: Range<f64>,
    /// `[n_y, n_x]`, the lowest row first.
    pub values: &'a [f64],
    /// The value of the darkest and of the brightest colour; the finite values' own range when `None`. Give several
    /// maps the same to compare them.
    pub scale: Option<Range<f64>>,
}

/// Nine points of the viridis colour map.
const VIRIDIS: [[f64; 3]; 9] = [
    [68.0, 1.0, 84.0],
    [71.0, 45.0, 123.0],
    [59.0, 82.0, 139.0],
    [44.0, 114.0, 142.0],
    [33.0, 145.0, 140.0],
    [39.0, 173.0, 129.0],
    [92.0, 200.0, 99.0],
    [170.0, 220.0, 50.0],
    [253.0, 231.0, 37.0],
];

/// The colour of a share between 0 and 1; grey for a NaN.
fn viridis(share: f64) -> [u8; 3] {
    if share.is_nan() {
        return [200; 3];
    }
    let at = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let i = (at as usize).min(VIRIDIS.len() - 2);
    let between = at - i as f64;
    std::array::from_fn(|c| (VIRIDIS[i][c] + between * (VIRIDIS[i + 1][c] - VIRIDIS[i][c])).round() as u8)
}

/// The grid as a coloured picture with axes; `points` (may be empty) are drawn on top in white.
///
/// # Errors
/// A number of values that is not `n_x * n_y`, or the drawing failed.
pub fn heat_map(axes: &Axes, map: &HeatMap, points: &[(f64, f64)]) -> anyhow::Result<String> {
    let (n_x, n_y) = (map.n_x, map.n_y);
    if n_x.checked_mul(n_y) != Some(map.values.len()) {
        return Err(ebm_core::Error::shape("heat map", [n_y, n_x], map.values.len()).into());
    }
    let finite = map.values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let is_range = |r: &Range<f64>| can_show(r.start, false) && can_show(r.end, false) && r.end > r.start;
    if low > high || !is_range(&map.x) || !is_range(&map.y) {
        return Ok(no_data());
    }
    let scale = map.scale.clone().filter(is_range).unwrap_or(low..high);
    let span = if scale.end > scale.start { scale.end - scale.start } else { 1.0 };
    let mut pixels = Vec::with_capacity(n_x * n_y * 3);
    for row in (0..n_y).rev() {
        for v in &map.values[row * n_x..(row + 1) * n_x] {
            pixels.extend(viridis((v - scale.start) / span));
        }
    }
    let inside = |p: &&(f64, f64)| map.x.contains(&p.0) && map.y.contains(&p.1);
    let points: Vec<(f64, f64)> = points.iter().filter(inside).take(2_000).copied().collect();
    let dots = Mark::Dots { points, color: RGBColor(255, 255, 255), opacity: 0.7, radius: 1.0 };
    let axes = Axes { log_x: false, log_y: false, ..axes.clone() };
    let mut picture = Picture::new(axes, map.x.clone(), map.y.clone(), (400, 372));
    picture.marks = vec![dots];
    picture.backdrop = Some(encode_png(&pixels, n_x, n_y, 3)?);
    Ok(picture.svg()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colour_map_runs_from_dark_to_bright() {
        assert_eq!((viridis(-1.0), viridis(2.0)), ([68, 1, 84], [253, 231, 37]));
        assert_eq!((viridis(0.5), viridis(f64::NAN)), ([33, 145, 140], [200; 3]));
        let light = |s: f64| viridis(s).iter().map(|c| u32::from(*c)).sum::<u32>();
        assert!((0..20).all(|i| light(f64::from(i) / 20.0) < light(f64::from(i + 1) / 20.0)));
    }
}
