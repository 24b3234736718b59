//! The energy plot: how far one momentum refreshment moves the energy, against how far the energy spreads.
//!
//! Betancourt 2016 (arXiv 1604.00695). Where the transitions are much narrower than the energies, the chain walks
//! through them slowly; E-BFMI puts it into a number.

use ebm_core::Result;
use ndarray::{Axis, s};

use super::canvas::{Axes, INK, Mark, Picture, color};
use super::chains::{ChainPlots, not_finite};
use super::density::density;
use super::figure::Figure;
use super::number;
use super::ranges::{padded, quantile};
use crate::chains::e_bfmi;

const HEIGHT: u32 = 300;
const WIDTHS: (u32, u32) = (520, 380);
/// E-BFMI below which the energies are explored too slowly.
const LIMIT: f64 = 0.3;

impl ChainPlots<'_> {
    /// Densities of the energies and of their changes between draws, both around 0, and E-BFMI of each chain; `None`
    /// if no energies were given.
    ///
    /// # Errors
    /// The drawing failed.
    pub fn energy_plot(&self) -> Result<Option<String>> {
        let Some(energy) = self.energy else { return Ok(None) };
        let bfmi = e_bfmi(energy)?;
        let mut figure = Figure::new("Energies");
        let low: Vec<String> = bfmi
            .iter()
            .enumerate()
            .filter(|(_, b)| !(**b >= LIMIT))
            .take(8)
            .map(|(c, b)| format!("chain {c}: {}", if b.is_nan() { "none".into() } else { number(*b) }))
            .collect();
        figure.notes = vec![if low.is_empty() {
            format!("E-BFMI is at least {LIMIT} in every chain.")
        } else {
            let n_low = bfmi.iter().filter(|b| !(**b >= LIMIT)).count();
            let more = if n_low > low.len() { ", ..." } else { "" };
            format!("E-BFMI below {LIMIT} in {n_low} of {} chains ({}{more}).", bfmi.len(), low.join(", "))
        }];

        let mut around_mean = Vec::with_capacity(energy.len());
        for chain in energy.axis_iter(Axis(0)) {
            let finite: Vec<f64> = chain.iter().copied().filter(|e| e.is_finite()).collect();
            let mean = finite.iter().sum::<f64>() / finite.len() as f64;
            around_mean.extend(finite.iter().map(|e| e - mean));
        }
        let changes = &energy.slice(s![.., 1..]) - &energy.slice(s![.., ..energy.ncols() - 1]);
        let changes: Vec<f64> = changes.iter().copied().filter(|e| e.is_finite()).collect();
        let names = ["energy, less its mean", "change of the energy between draws"];
        figure.legend = names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), color(i))).collect();

        let ends = [&around_mean, &changes].map(|values| {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            [quantile(&sorted, 0.001), quantile(&sorted, 0.999)]
        });
        let Some(x) = padded(ends.concat().into_iter(), false) else { return Ok(Some(figure.svg())) };
        let mut marks = Vec::new();
        let mut highest = 0.0f64;
        for (i, values) in [&around_mean, &changes].into_iter().enumerate() {
            let curve = density(values, x.start, x.end);
            highest = curve.iter().map(|p| p.1).fold(highest, f64::max);
            let half = 0.5 * (x.end - x.start) / curve.len().max(1) as f64;
            let boxes = curve.iter().map(|(at, y)| [at - half, 0.0, at + half, *y]).collect();
            marks.push(Mark::Boxes { boxes, color: color(i), opacity: 0.18 });
            marks.push(Mark::Line { points: curve, color: color(i), opacity: 1.0, width: 1.75 });
        }
        let y = 0.0..highest.max(1e-30) * 1.06;
        let mut picture = Picture::new(Axes::new("energy", "density"), x, y, (WIDTHS.0, HEIGHT));
        picture.title = format!("Energies of all chains{}", not_finite(energy));
        picture.marks = marks;
        figure.panel((0, 0), (WIDTHS.0, HEIGHT), picture.svg()?);
        figure.panel((WIDTHS.0, 0), (WIDTHS.1, HEIGHT), bfmi_panel(&bfmi)?);
        Ok(Some(figure.svg()))
    }
}

fn bfmi_panel(bfmi: &[f64]) -> Result<String> {
    let top = bfmi.iter().copied().filter(|b| b.is_finite()).fold(1.0f64, f64::max) * 1.1;
    let right = bfmi.len() as f64 - 0.5;
    let mut picture = Picture::new(Axes::new("chain", "E-BFMI"), -0.5..right, 0.0..top, (WIDTHS.1, HEIGHT));
    picture.title = format!("E-BFMI of each chain; line: {LIMIT}");
    picture.n_ticks = (bfmi.len().min(8), 6);
    picture.marks.push(Mark::Line {
        points: vec![(-0.5, LIMIT), (right, LIMIT)],
        color: INK,
        opacity: 1.0,
        width: 1.0,
    });
    let radius = if bfmi.len() > 32 { 2.5 } else { 4.0 };
    for (i, good) in [true, false].into_iter().enumerate() {
        let points = bfmi
            .iter()
            .enumerate()
            .filter(|(_, b)| (**b >= LIMIT) == good)
            .map(|(c, b)| (c as f64, *b))
            .collect();
        picture.marks.push(Mark::Dots { points, color: color(i), opacity: 1.0, radius });
    }
    picture.svg()
}
