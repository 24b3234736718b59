//! The one drawing routine: axes, marks and a legend become an SVG text.
//!
//! plotters rounds to whole pixels, so we draw four times as large as shown and let the view box shrink it.

use std::ops::Range;

use ebm_core::{Error, Result};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
pub use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::log_axis::LogAxis;
use super::{base64, number};

/// Titles and scales of a plot's axes.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    /// Below the horizontal axis.
    pub x: String,
    /// Beside the vertical axis.
    pub y: String,
    /// Whether the horizontal axis is logarithmic; values of 0 and below are left out.
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic; values of 0 and below are left out.
    pub log_y: bool,
}

impl Axes {
    /// Linear axes with these titles.
    pub fn new(x: &str, y: &str) -> Self {
        Self { x: x.to_owned(), y: y.to_owned(), ..Self::default() }
    }

    /// With a logarithmic vertical axis.
    pub fn log_y(self) -> Self {
        Self { log_y: true, ..self }
    }

    /// With a logarithmic horizontal axis.
    pub fn log_x(self) -> Self {
        Self { log_x: true, ..self }
    }
}

/// Something drawn in data coordinates; what lies outside the axes is left out.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A line through points, in gaps where a point is outside.
    Line {
        /// `(x, y)` in order.
        points: Vec<(f64, f64)>,
        /// Its colour.
        color: RGBColor,
        /// 0 to 1.
        opacity: f64,
        /// In shown pixels.
        width: f64,
    },
    /// Filled circles.
    Dots {
        /// Their centres.
        points: Vec<(f64, f64)>,
        /// Their colour.
        color: RGBColor,
        /// 0 to 1.
        opacity: f64,
        /// In shown pixels.
        radius: f64,
    },
    /// Filled boxes `[left, bottom, right, top]`.
    Boxes {
        /// One for each box.
        boxes: Vec<[f64; 4]>,
        /// Their colour.
        color: RGBColor,
        /// 0 to 1.
        opacity: f64,
    },
    /// Texts left of the vertical axis, in place of its numbers.
    Labels {
        /// Height and text.
        labels: Vec<(f64, String)>,
    },
}

/// A plot with one pair of axes.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Titles and scales.
    pub axes: Axes,
    /// What the horizontal axis spans.
    pub x: Range<f64>,
    /// What the vertical axis spans.
    pub y: Range<f64>,
    /// Shown size in pixels.
    pub size: (u32, u32),
    /// What is drawn, the lowest first.
    pub marks: Vec<Mark>,
    /// Names and colours above the plot.
    pub legend: Vec<(String, RGBColor)>,
    /// A PNG file that fills the plotting area.
    pub backdrop: Option<Vec<u8>>,
    /// A line of text above the plot; may be empty.
    pub title: String,
    /// About how many numbers stand along the horizontal and the vertical axis.
    pub n_ticks: (usize, usize),
    /// Pixels for the numbers and the title left of and below the plot.
    pub margins: (u32, u32),
}

impl Picture {
    /// Axes without marks.
    pub fn new(axes: Axes, x: Range<f64>, y: Range<f64>, size: (u32, u32)) -> Self {
        Self {
            axes,
            x,
            y,
            size,
            marks: Vec::new(),
            legend: Vec::new(),
            backdrop: None,
            title: String::new(),
            n_ticks: (8, 6),
            margins: (62, 40),
        }
    }
}

/// Colours that stay apart for colour-blind readers (Okabe and Ito), the most distinct first.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// The colour of the i-th series.
pub fn color(i: usize) -> RGBColor {
    COLORS[i % COLORS.len()]
}

/// Axes and text.
pub const INK: RGBColor = RGBColor(75, 82, 92);
const GRID: RGBColor = RGBColor(228, 231, 235);

/// The colour that marks the place of the backdrop, as the drawing and as its text; used for nothing else.
const PLACE: RGBColor = RGBColor(1, 2, 3);
const PLACE_TEXT: &str = "#010203";

const SCALE: u32 = 4;

/// What a plot without points shows.
pub fn no_data() -> String {
    "<svg width=\"560\" height=\"80\" viewBox=\"0 0 560 80\" xmlns=\"http://www.w3.org/2000/svg\">\
     <text x=\"280\" y=\"44\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"14\" fill=\"#4b525c\">\
     no data</text></svg>\n"
        .into()
}

impl Picture {
    /// Draws it.
    ///
    /// # Errors
    /// plotters refuses; nothing that a caller could hand in is known to do that.
    pub fn svg(&self) -> Result<String> {
        let (x, y) = (self.x.clone(), self.y.clone());
        match (self.axes.log_x, self.axes.log_y) {
            (false, false) => self.draw(x, y),
            (false, true) => self.draw(x, LogAxis::new(y)),
            (true, false) => self.draw(LogAxis::new(x), y),
            (true, true) => self.draw(LogAxis::new(x), LogAxis::new(y)),
        }
    }

    fn draw<X, Y>(&self, x: X, y: Y) -> Result<String>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let (width, height) = (self.size.0 * SCALE, self.size.1 * SCALE);
        let mut svg = String::new();
        let area = {
            let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
            root.fill(&WHITE).map_err(failed)?;
            let rows = legend_rows(&self.legend, self.size.0);
            let titles = u32::from(!self.title.is_empty());
            let (legend, plot) = root.split_vertically(px(8 + 18 * (titles + rows.len() as u32)));
            let style = |size, h, v| text(size).pos(Pos::new(h, v));
            if titles == 1 {
                let at = (px(self.margins.0 + 6), px(14));
                let title = Text::new(self.title.clone(), at, style(13, HPos::Left, VPos::Center));
                legend.draw(&title).map_err(failed)?;
            }
            for (row, entries) in rows.iter().enumerate() {
                for (left, name, color) in entries {
                    let y = px(14 + 18 * (titles + row as u32));
                    let swatch = [(px(*left), y - px(4)), (px(left + 14), y + px(4))];
                    legend.draw(&Rectangle::new(swatch, color.filled())).map_err(failed)?;
                    let name =
                        Text::new(name.clone(), (px(left + 20), y), style(12, HPos::Left, VPos::Center));
                    legend.draw(&name).map_err(failed)?;
                }
            }
            let mut chart = ChartBuilder::on(&plot)
                .margin_right(px(18))
                .margin_bottom(px(4))
                .margin_top(px(6))
                .margin_left(px(6))
                .x_label_area_size(px(self.margins.1))
                .y_label_area_size(px(self.margins.0))
                .build_cartesian_2d(x, y)
                .map_err(failed)?;
            let grid = if self.backdrop.is_some() { TRANSPARENT } else { GRID.to_rgba() };
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(grid.stroke_width(SCALE))
                .axis_style(INK.stroke_width(SCALE))
                .x_labels(n_labels(
                    &self.x,
                    self.axes.log_x,
                    self.n_ticks.0,
                    self.size.0.saturating_sub(self.margins.0) / 6,
                ))
                .y_labels(n_labels(&self.y, self.axes.log_y, self.n_ticks.1, u32::MAX))
                .set_all_tick_mark_size(px(4))
                .label_style(text(12))
                .axis_desc_style(text(13))
                .x_desc(self.axes.x.as_str())
                .y_desc(self.axes.y.as_str())
                .x_label_formatter(&|v| tick(*v))
                .y_label_formatter(&|v| tick(*v))
                .draw()
                .map_err(failed)?;
            if self.backdrop.is_some() {
                // Stands where the picture will be: above the grid, below the marks.
                let corners = [(self.x.start, self.y.start), (self.x.end, self.y.end)];
                chart
                    .draw_series(std::iter::once(Rectangle::new(corners, PLACE.filled())))
                    .map_err(failed)?;
            }
            for mark in &self.marks {
                draw_mark(&mut chart, mark, self.x.start, &|p| self.holds(p))?;
            }
            let area = chart.plotting_area().get_pixel_range();
            drop(chart);
            root.present().map_err(failed)?;
            area
        };
        Ok(self.finish(svg, area))
    }

    /// Whether a point lies within the axes; plotters overflows on points far outside.
    fn holds(&self, (x, y): &(f64, f64)) -> bool {
        let within = |v: f64, r: &Range<f64>| {
            let slack = 1e-6 * (r.end - r.start);
            v >= r.start - slack && v <= r.end + slack
        };
        within(*x, &self.x) && within(*y, &self.y)
    }

    /// Shows the drawing at its size and puts the backdrop in.
    fn finish(&self, svg: String, (x, y): (Range<i32>, Range<i32>)) -> String {
        let (width, height) = self.size;
        let (large, small) = (
            format!("width=\"{}\" height=\"{}\"", width * SCALE, height * SCALE),
            format!("width=\"{width}\" height=\"{height}\""),
        );
        let mut svg = svg.replacen(&large, &small, 1);
        let place = svg.find(PLACE_TEXT).and_then(|at| {
            let start = svg[..at].rfind('<')?;
            Some(start..start + svg[start..].find('>')? + 1)
        });
        if let (Some(png), Some(place)) = (&self.backdrop, place) {
            let image = format!(
                "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
                 style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
                x.start,
                y.start,
                x.len(),
                y.len(),
                base64(png)
            );
            svg.replace_range(place, &image);
        }
        svg
    }
}

fn draw_mark<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    mark: &Mark,
    left: f64,
    holds: &dyn Fn(&(f64, f64)) -> bool,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let width = |w: f64| (w * f64::from(SCALE)).round().max(1.0) as u32;
    match mark {
        Mark::Line { points, color, opacity, width: w } => {
            let style = color.mix(*opacity).stroke_width(width(*w));
            for part in points.split(|p| !holds(p)) {
                if part.len() > 1 {
                    chart
                        .draw_series(std::iter::once(PathElement::new(part.to_vec(), style)))
                        .map_err(failed)?;
                }
            }
        }
        Mark::Dots { points, color, opacity, radius } => {
            let style = color.mix(*opacity).filled();
            let inside = points.iter().filter(|p| holds(p));
            chart.draw_series(inside.map(|p| Circle::new(*p, width(*radius), style))).map_err(failed)?;
        }
        Mark::Boxes { boxes, color, opacity } => {
            let style = color.mix(*opacity).filled();
            let corners = boxes.iter().map(|[left, bottom, right, top]| [(*left, *bottom), (*right, *top)]);
            chart.draw_series(corners.map(|c| Rectangle::new(c, style))).map_err(failed)?;
        }
        Mark::Labels { labels } => {
            let style = text(12).pos(Pos::new(HPos::Right, VPos::Center));
            let shown = labels.iter().filter(|(y, _)| holds(&(left, *y)));
            let texts = shown.map(|(y, name)| {
                EmptyElement::at((left, *y)) + Text::new(name.clone(), (-px(7), 0), style.clone())
            });
            chart.draw_series(texts).map_err(failed)?;
        }
    }
    Ok(())
}

/// What to ask plotters for, so that at least three numbers stand at a linear axis: it takes the next coarser step
/// where the asked number does not fit, which may leave one. `room` is the axis' length in letters.
fn n_labels(range: &Range<f64>, log: bool, wanted: usize, room: u32) -> usize {
    if log || wanted == 0 {
        return wanted;
    }
    let axis = plotters::coord::types::RangedCoordf64::from(range.clone());
    let fits = |n: &usize| {
        let ticks = axis.key_points(*n);
        let longest = ticks.iter().map(|v| tick(*v).chars().count()).max().unwrap_or(0);
        ticks.len() >= 3 && ticks.len() * (longest + 1) <= room as usize + 1
    };
    (wanted..=3 * wanted).find(fits).unwrap_or(wanted)
}

fn px(shown: u32) -> i32 {
    (shown * SCALE) as i32
}

fn text(size: u32) -> TextStyle<'static> {
    // plotters writes 1 / 1.24 of the size that it is given.
    ("sans-serif", f64::from(size * SCALE) * 1.24).into_font().color(&INK)
}

/// A tick's number: `20k` rather than `20000`, no rounding noise.
fn tick(v: f64) -> String {
    let size = v.abs();
    if (1e4..1e9).contains(&size) {
        let (unit, letter) = if size >= 1e6 { (1e6, "M") } else { (1e3, "k") };
        return format!("{}{letter}", number(v / unit));
    }
    // Ticks are round already: with all of their digits, neighbours never read alike.
    if (1e-3..1e4).contains(&size) {
        return format!("{v:.6}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    // Steps such as 0.1 + 0.2 leave a tail far below the tick, and -0.1 + 0.1 a negative zero.
    number((v * 1e9).round() / 1e9 + 0.0).replace("e0", "")
}

/// Legend entries from left to right, in as many rows as they need: (left edge, name, colour).
fn legend_rows(legend: &[(String, RGBColor)], width: u32) -> Vec<Vec<(u32, String, RGBColor)>> {
    let mut rows: Vec<Vec<(u32, String, RGBColor)>> = Vec::new();
    let mut left = width;
    for (name, color) in legend.iter().filter(|(name, _)| !name.is_empty()) {
        let needed = 36 + 7 * name.chars().count() as u32;
        if rows.is_empty() || left + needed > width {
            rows.push(Vec::new());
            left = 68;
        }
        if let Some(row) = rows.last_mut() {
            row.push((left, name.clone(), *color));
        }
        left += needed;
    }
    rows
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::user(format!("cannot draw a plot: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ticks_read_differently() {
        let shown = [1.6685, 1.669, 1.6695, 0.1 + 0.2, -0.5, 0.0, 20_000.0, 1e-5].map(tick);
        assert_eq!(shown, ["1.6685", "1.669", "1.6695", "0.3", "-0.5", "0", "20k", "1.000e-5"]);
    }
}
