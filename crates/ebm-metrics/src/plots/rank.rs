//! Rank plots: how each chain's draws rank among all draws.
//!
//! Chains of the same distribution have uniform ranks. More telling than traces: Vehtari, Gelman, Simpson, Carpenter and
//! Buerkner 2021 (arXiv 1903.08008).

use ebm_core::Result;
use ndarray::Axis;

use super::canvas::{Axes, INK, Mark, Picture, RGBColor, color, no_data};
use super::chains::{ChainPlots, not_finite};
use super::density::histogram;
use super::figure::Figure;
use crate::chains::average_ranks;

const MOST_COORDINATES: usize = 8;
const MOST_CHAINS: usize = 12;
const BINS: usize = 20;
const WIDTH: u32 = 450;
/// Pixels of one chain's bars.
const ROW: u32 = 30;
const GREY: RGBColor = RGBColor(150, 156, 164);

impl ChainPlots<'_> {
    /// Rank histograms of up to 8 coordinates, one row of bars per chain. The line is a uniform share; grey is
    /// where 99% of the bars of independent draws would end. Of more than 12 chains, the 12 whose ranks are farthest
    /// from uniform. A single chain is compared half by half.
    ///
    /// # Errors
    /// The drawing failed.
    pub fn rank_plot(&self) -> Result<String> {
        let (coordinates, note) = self.chosen(MOST_COORDINATES)?;
        let n_chains = self.draws.len_of(Axis(0));
        let n_rows = n_chains.clamp(2, MOST_CHAINS);
        let height = 52 + (ROW * n_rows as u32).max(60);
        let mut figure = Figure::new("Ranks of each chain's draws among all draws");
        figure.notes = vec![note];
        if n_rows < n_chains {
            figure.notes.push(format!(
                "{n_rows} of {n_chains} chains in each panel: those whose ranks are farthest from uniform."
            ));
        }
        figure.notes.push(
            "Left to right: low to high draws. Line: uniform. Grey: 99% of the bars of independent draws."
                .into(),
        );
        for (i, d) in coordinates.iter().enumerate() {
            let place = (i as u32 % 2 * WIDTH, i as u32 / 2 * height);
            figure.panel(place, (WIDTH, height), self.ranks_of(*d, n_rows, height)?);
        }
        Ok(figure.svg())
    }

    fn ranks_of(&self, d: usize, n_rows: usize, height: u32) -> Result<String> {
        let draws = self.coordinate(d);
        let mut finite: Vec<Vec<f64>> =
            draws.outer_iter().map(|c| c.iter().copied().filter(|x| x.is_finite()).collect()).collect();
        let is_single = finite.len() == 1;
        if is_single {
            let half = finite[0].len().div_ceil(2);
            let second = finite[0].split_off(half);
            finite.push(second);
        }
        let total = finite.iter().map(Vec::len).sum::<usize>() as f64;
        if total == 0.0 {
            return Ok(no_data());
        }
        let counts: Vec<Vec<f64>> = average_ranks(&finite)
            .into_iter()
            .map(|ranks| histogram(ranks.into_iter().map(|r| r - 0.5), 0.0, total, BINS))
            .collect();
        let uniform = |c: usize| finite[c].len() as f64 / BINS as f64;
        let away =
            |c: usize| counts[c].iter().map(|n| (n - uniform(c)).powi(2)).sum::<f64>() / uniform(c).max(1.0);
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by(|a, b| away(*b).total_cmp(&away(*a)));
        order.truncate(n_rows);
        order.sort_unstable();

        let mut boxes = Vec::new();
        let mut lines = Vec::new();
        let mut bands = Vec::new();
        let mut labels = Vec::new();
        for (row, c) in order.iter().enumerate() {
            // The first chain on top; a uniform bar fills 0.4 of its row.
            let base = (order.len() - 1 - row) as f64;
            let scale = 0.4 / uniform(*c).max(1e-300);
            let bin = total / BINS as f64;
            for (b, n) in counts[*c].iter().enumerate() {
                let (left, right) = ((b as f64 + 0.06) * bin, (b as f64 + 0.94) * bin);
                boxes.push([left, base, right, base + (n * scale).min(0.94)]);
            }
            let spread = 2.576 * (uniform(*c) * (1.0 - 1.0 / BINS as f64)).sqrt() * scale;
            bands.push([0.0, base + (0.4 - spread).max(0.0), total, base + (0.4 + spread).min(0.94)]);
            lines.push(vec![(0.0, base + 0.4), (total, base + 0.4)]);
            let label = if is_single { ["1st half", "2nd half"][*c].into() } else { format!("chain {c}") };
            labels.push((base + 0.4, label));
        }
        let mut picture = Picture::new(Axes::default(), 0.0..total, 0.0..order.len() as f64, (WIDTH, height));
        picture.title = format!("{}{}", self.short_name(d), not_finite(draws));
        (picture.n_ticks, picture.margins) = ((6, 0), (66, 22));
        picture.marks = vec![
            Mark::Boxes { boxes, color: color(0), opacity: 0.75 },
            Mark::Boxes { boxes: bands, color: GREY, opacity: 0.3 },
        ];
        let line = |points| Mark::Line { points, color: INK, opacity: 0.9, width: 1.0 };
        picture.marks.extend(lines.into_iter().map(line));
        picture.marks.push(Mark::Labels { labels });
        picture.svg()
    }
}
