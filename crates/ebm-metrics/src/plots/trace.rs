//! The trace plot: each coordinate's density and its draws in order, chain by chain.

use ebm_core::Result;
use ndarray::Axis;

use super::canvas::{Axes, Mark, Picture, RGBColor, color, no_data};
use super::chains::{ChainPlots, not_finite};
use super::density::density;
use super::figure::Figure;
use super::ranges::{can_show, padded, thin};

const MOST_COORDINATES: usize = 8;
/// Chains that have a colour each.
const MOST_CHAINS: usize = 6;
/// Of more chains: those that are drawn one by one.
const FEW_CHAINS: usize = 4;
const POINTS: usize = 400;
const HEIGHT: u32 = 150;
const WIDTHS: (u32, u32) = (290, 640);
const GREY: RGBColor = RGBColor(150, 156, 164);
const BLACK: RGBColor = RGBColor(0, 0, 0);

impl ChainPlots<'_> {
    /// Densities (left) and draws in order (right) of up to 8 coordinates. Chains that have found the same place have
    /// the same densities, and traces without trend. Of more than 6 chains, grey shows where all of them are, and the
    /// 4 that lie farthest from the others have colours. Ticks at the bottom are divergences.
    ///
    /// # Errors
    /// The drawing failed.
    pub fn trace_plot(&self) -> Result<String> {
        let n_chains = self.draws.len_of(Axis(0));
        let (coordinates, note) = self.chosen(MOST_COORDINATES)?;
        let many = n_chains > MOST_CHAINS;
        let shown = self.chains_apart(&coordinates, if many { FEW_CHAINS } else { MOST_CHAINS });
        let mut figure = Figure::new("Traces");
        figure.notes = vec![note];
        figure.legend = shown.iter().enumerate().map(|(i, c)| (format!("chain {c}"), color(i))).collect();
        if many {
            figure
                .legend
                .push((format!("all {n_chains} chains (coloured: the {FEW_CHAINS} farthest apart)"), GREY));
        }
        let diverging = self.diverging_draws();
        if !diverging.is_empty() {
            figure.legend.push(("divergence".into(), BLACK));
        }
        for (row, d) in coordinates.iter().enumerate() {
            let top = row as u32 * HEIGHT;
            let last = row + 1 == coordinates.len();
            figure.panel((0, top), (WIDTHS.0, HEIGHT), self.densities(*d, &shown, many)?);
            let trace = self.traces(*d, &shown, many, &diverging, last)?;
            figure.panel((WIDTHS.0, top), (WIDTHS.1, HEIGHT), trace);
        }
        Ok(figure.svg())
    }

    /// The draws of any chain that diverged.
    fn diverging_draws(&self) -> Vec<usize> {
        let Some(flags) = &self.diverging else { return Vec::new() };
        let any = |t: &usize| flags.column(*t).iter().any(|flag| *flag != 0.0);
        (0..flags.ncols()).filter(any).collect()
    }

    fn densities(&self, d: usize, shown: &[usize], many: bool) -> Result<String> {
        let chains = self.coordinate(d);
        let Some(x) = padded(chains.iter().copied(), false) else { return Ok(no_data()) };
        let mut marks = Vec::new();
        let mut highest = 0.0f64;
        let mut add = |points: Vec<(f64, f64)>, color, width| {
            highest = points.iter().map(|p| p.1).fold(highest, f64::max);
            marks.push(Mark::Line { points, color, opacity: 1.0, width });
        };
        if many {
            let all: Vec<f64> = chains.iter().copied().collect();
            add(density(&all, x.start, x.end), GREY, 4.0);
        }
        for (i, c) in shown.iter().enumerate() {
            add(density(&chains.row(*c).to_vec(), x.start, x.end), color(i), 1.5);
        }
        let title = format!("{}{}", self.short_name(d), not_finite(chains));
        let mut picture =
            Picture::new(Axes::default(), x, 0.0..highest.max(1e-30) * 1.06, (WIDTHS.0, HEIGHT));
        (picture.title, picture.marks, picture.n_ticks, picture.margins) = (title, marks, (4, 0), (12, 22));
        picture.svg()
    }

    fn traces(
        &self,
        d: usize,
        shown: &[usize],
        many: bool,
        diverging: &[usize],
        last: bool,
    ) -> Result<String> {
        let chains = self.coordinate(d);
        let n_draws = chains.ncols();
        let Some(y) = padded(chains.iter().copied(), false) else { return Ok(no_data()) };
        let mut picture = Picture::new(Axes::default(), 0.0..n_draws as f64, y.clone(), (WIDTHS.1, HEIGHT));
        if many {
            // Where all chains are, stretch by stretch.
            let step = n_draws.div_ceil(POINTS / 2);
            let stretch = |t: usize| {
                let end = (t + step).min(n_draws);
                let part = chains.slice(ndarray::s![.., t..end]);
                let finite = part.iter().copied().filter(|v| can_show(*v, false));
                let (low, high) =
                    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
                (low <= high).then_some([t as f64, low, end as f64, high])
            };
            let boxes = (0..n_draws).step_by(step).filter_map(stretch).collect();
            picture.marks.push(Mark::Boxes { boxes, color: GREY, opacity: 0.45 });
        }
        for (i, c) in shown.iter().enumerate() {
            let points: Vec<(f64, f64)> =
                chains.row(*c).iter().enumerate().map(|(t, v)| (t as f64, *v)).collect();
            let points = thin(&points, POINTS);
            picture.marks.push(Mark::Line { points, color: color(i), opacity: 0.75, width: 0.75 });
        }
        let tick = 0.07 * (y.end - y.start);
        let every = diverging.len().div_ceil(POINTS).max(1);
        for t in diverging.iter().step_by(every) {
            let points = vec![(*t as f64, y.start), (*t as f64, y.start + tick)];
            picture.marks.push(Mark::Line { points, color: BLACK, opacity: 0.8, width: 1.0 });
        }
        if last {
            picture.axes.x = "draw".into();
        }
        (picture.title, picture.n_ticks, picture.margins) =
            (" ".into(), (8, 4), (52, if last { 34 } else { 22 }));
        picture.svg()
    }
}
