//! The pair plot: each two coordinates against each other, with the places where trajectories diverged.

use ebm_core::Result;
use ndarray::Axis;

use super::canvas::{Axes, Mark, Picture, color, no_data};
use super::chains::ChainPlots;
use super::density::histogram;
use super::figure::Figure;
use super::ranges::{can_show, padded};

const MOST_COORDINATES: usize = 5;
/// Dots of all panels together.
const MOST_DOTS: usize = 10_000;
const MOST_DIVERGENCES: usize = 300;
const CELL: u32 = 176;
const BINS: usize = 30;

impl ChainPlots<'_> {
    /// Up to 5 coordinates, each two of them in a panel, their histograms on the diagonal; draws evenly chosen.
    /// Divergences in another colour: where they gather, the target is too narrow for the step.
    ///
    /// # Errors
    /// The drawing failed.
    pub fn pair_plot(&self) -> Result<String> {
        let (coordinates, note) = self.chosen(MOST_COORDINATES)?;
        let k = coordinates.len();
        let n_panels = (k * (k - 1) / 2).max(1);
        let (n_chains, n_draws, _) = self.draws.dim();
        let total = n_chains * n_draws;
        let every = total.div_ceil((MOST_DOTS / n_panels).min(3000)).max(1);
        let shown: Vec<usize> = (0..total).step_by(every).collect();
        let divergences = self.divergence_positions();
        let every = divergences.len().div_ceil(MOST_DIVERGENCES).max(1);
        let diverged: Vec<&Vec<f64>> = divergences.iter().step_by(every).collect();

        let mut figure = Figure::new("Pairs of coordinates");
        figure.notes = vec![note];
        if k > 1 {
            figure.legend.push((format!("draws ({} of {total})", shown.len()), color(0)));
            if !divergences.is_empty() {
                let name = format!("divergences ({} of {})", diverged.len(), divergences.len());
                figure.legend.push((name, color(1)));
            }
        }
        // The outer panels carry the numbers and names.
        let (left, bottom) = (70, 44);
        for (row, dy) in coordinates.iter().enumerate() {
            for (column, dx) in coordinates.iter().enumerate().take(row + 1) {
                let margins = (if column == 0 { left } else { 14 }, if row + 1 == k { bottom } else { 14 });
                let size = (CELL + margins.0, CELL + margins.1);
                let columns_before = if column == 0 { 0 } else { column as u32 * (CELL + 14) + left - 14 };
                let place = (columns_before, row as u32 * (CELL + 14));
                let svg = if row == column {
                    self.marginal(*dx, size, margins)?
                } else {
                    let points: Vec<(f64, f64)> = shown
                        .iter()
                        .map(|i| (i / n_draws, i % n_draws))
                        .map(|(c, t)| (self.draws[[c, t, *dx]], self.draws[[c, t, *dy]]))
                        .collect();
                    let marked = diverged.iter().map(|x| (x[*dx], x[*dy])).collect();
                    self.panel(*dx, *dy, points, marked, size, margins)?
                };
                figure.panel(place, size, svg);
            }
        }
        Ok(figure.svg())
    }

    fn panel(
        &self,
        dx: usize,
        dy: usize,
        points: Vec<(f64, f64)>,
        marked: Vec<(f64, f64)>,
        size: (u32, u32),
        margins: (u32, u32),
    ) -> Result<String> {
        let (Some(x), Some(y)) = (self.range(dx), self.range(dy)) else { return Ok(no_data()) };
        let mut picture = Picture::new(Axes::default(), x, y, size);
        self.set_titles(&mut picture, dx, dy, margins);
        let few = points.len() < 800;
        picture.marks = vec![
            Mark::Dots {
                points,
                color: color(0),
                opacity: if few { 0.5 } else { 0.3 },
                radius: if few { 1.75 } else { 1.25 },
            },
            Mark::Dots { points: marked, color: color(1), opacity: 0.9, radius: 2.25 },
        ];
        picture.svg()
    }

    fn marginal(&self, d: usize, size: (u32, u32), margins: (u32, u32)) -> Result<String> {
        let Some(x) = self.range(d) else { return Ok(no_data()) };
        let counts = histogram(self.coordinate(d).iter().copied(), x.start, x.end, BINS);
        let highest = counts.iter().copied().fold(1.0, f64::max);
        let width = (x.end - x.start) / BINS as f64;
        let edge = |b: usize| x.start + b as f64 * width;
        let boxes = counts.iter().enumerate().map(|(b, n)| [edge(b), 0.0, edge(b + 1), *n]).collect();
        let mut picture = Picture::new(Axes::default(), x.clone(), 0.0..highest * 1.06, size);
        self.set_titles(&mut picture, d, d, margins);
        // Counts are of no interest here: the name stands where the others have theirs.
        picture.n_ticks.1 = 0;
        picture.marks = vec![Mark::Boxes { boxes, color: color(0), opacity: 0.6 }];
        picture.svg()
    }

    /// Numbers and names for the panels that have room for them.
    fn set_titles(&self, picture: &mut Picture, dx: usize, dy: usize, margins: (u32, u32)) {
        let (has_left, has_bottom) = (margins.0 > 20, margins.1 > 20);
        picture.margins = margins;
        picture.n_ticks = (if has_bottom { 4 } else { 0 }, if has_left { 4 } else { 0 });
        if has_bottom {
            picture.axes.x = self.short_name(dx);
        }
        if has_left {
            picture.axes.y = self.short_name(dy);
        }
    }

    /// What the axis of a coordinate spans: all draws, divergences too.
    fn range(&self, d: usize) -> Option<std::ops::Range<f64>> {
        let divergences = self.divergence_positions();
        let marked = divergences.iter().map(|x| x[d]).filter(|v| can_show(*v, false));
        padded(self.draws.index_axis(Axis(2), d).iter().copied().chain(marked), false)
    }
}
