//! The pictures of EBWM's report.

use ebm_datasets::moving_digits::{N_PIXELS, SIDE};
use ebm_train::logs::ImageGrid;

use super::config::{Config, TRANSFORMER};
use super::data::{Data, Pictures};
use super::predictions::{Descents, Verification, mean};
use crate::experiments::training::History;
use crate::plots::{Axes, Series, histograms, lines, scatter};
use crate::run::Run;

/// Films shown.
const FILMS: usize = 3;

/// What is drawn.
pub struct Shown<'a> {
    pub judged: &'a Descents,
    pub transformer: &'a [f32],
    pub verification: &'a Verification,
}

pub fn draw(config: &Config, data: &Data, shown: &Shown<'_>, run: &mut Run) -> anyhow::Result<()> {
    let (k, s) = (config.n_steps(), config.model.transformer.context);
    if let Some(pictures) = &data.pictures {
        run.report.heading("Frames");
        let caption = "Three films. Rows: the pixels; the true next frame as far as its vector holds it; EBWM; \
        the transformer; the copy of the last frame. Columns: frames 2, 3, ...; the first prediction cannot know the velocity.";
        run.report.image_png("frames", "Next frames", caption, frames(config, data, pictures, shown)?);
    }

    run.report.heading("Energies");
    let over_steps = |values: &[Vec<f64>]| -> Vec<f64> { values.iter().map(|v| mean(v)).collect() };
    let energy = Series::of_values("", &over_steps(&shown.judged.energies));
    let svg = lines(&Axes::new("steps", "mean energy"), &[energy])?;
    let caption = format!("Over the steps of a descent; training took {k}.");
    run.report.figure_svg("energy-steps", "Energy over the steps", &caption, svg);
    let loss = Series::of_values("", &over_steps(&shown.judged.errors));
    let svg = lines(&Axes::new("steps", "Smooth-L1").log_y(), &[loss])?;
    run.report.figure_svg("loss-steps", "Loss over the steps", &caption, svg);
    let (energies, errors) = (&shown.judged.energies[k], &shown.judged.errors[k]);
    let points = |first: bool| {
        let at = (0..energies.len()).filter(|at| (at % s == 0) == first);
        at.map(|at| (energies[at], errors[at])).collect()
    };
    let series = [Series::new("first position", points(true)), Series::new("later", points(false))];
    let svg = scatter(&Axes::new("final energy", "final error").log_y(), &series)?;
    let caption = "Each position of each film. The energy was never trained to know the error.";
    run.report.figure_svg("energy-error", "Energy and error", caption, svg);
    let series = [
        ("true next frame", shown.verification.true_next.as_slice()),
        ("other frames of the film", shown.verification.others.as_slice()),
    ];
    let svg = histograms(&Axes::new("energy", ""), &series, 60)?;
    run.report.figure_svg("energy-frames", "Energies of frames in the next one's place", "", svg);
    let by_position = Series::of_values("", &shown.verification.by_position);
    let svg = lines(&Axes::new("frames seen before, less one", "share of pairs"), &[by_position])?;
    let caption = "How often the true next frame is lower than another of the film.";
    run.report.figure_svg("position", "By position", caption, svg);

    run.report.heading("Training");
    let own = History::read(&run.out().join("metrics.jsonl"))?;
    let control = History::read(&run.out().join(format!("{TRANSFORMER}.jsonl")))?;
    let (step, control_step) = config.step_macs();
    let scaled = |history: &History, by: u64| -> Vec<(f64, f64)> {
        let points = history.points("step", "validation_loss");
        points.into_iter().map(|(x, y)| (x * by as f64, y)).collect()
    };
    for (id, title, x, both) in [
        (
            "loss-seconds",
            "Validation loss against seconds",
            "seconds",
            [own.points("wall_s", "validation_loss"), control.points("wall_s", "validation_loss")],
        ),
        (
            "loss-macs",
            "Validation loss against multiply-accumulates",
            "MACs",
            [scaled(&own, step), scaled(&control, control_step)],
        ),
        ("loss-films", "Validation loss against steps", "step", [scaled(&own, 1), scaled(&control, 1)]),
    ] {
        let [own, control] = both;
        let series = [Series::new("EBWM", own), Series::new(TRANSFORMER, control)];
        run.report.figure_svg(id, title, "", lines(&Axes::new(x, "Smooth-L1").log_y(), &series)?);
    }
    for (id, title, axis, names) in [
        ("loss", "Loss after the first and the last step", "Smooth-L1", &["loss_first", "loss_last"][..]),
        ("step-size", "Step size", "alpha", &["step_size"][..]),
        ("curvature", "Step size times largest curvature", "alpha lambda", &["curvature"][..]),
        ("drop", "Energy of the first less that of the last start", "energy", &["energy_drop"][..]),
        ("slope", "Norm of the inner gradients", "norm", &["slope_first", "slope_last"][..]),
        ("gradient", "Gradient norm", "norm before clipping", &["grad_norm"][..]),
    ] {
        let series: Vec<Series> = names.iter().map(|n| Series::new(n, own.points("step", n))).collect();
        run.report.figure_svg(id, title, "", lines(&Axes::new("step", axis), &series)?);
    }
    Ok(())
}

fn frames(config: &Config, data: &Data, pictures: &Pictures, shown: &Shown<'_>) -> anyhow::Result<Vec<u8>> {
    let (s, width) = (config.model.transformer.context, config.model.transformer.width);
    let mut sheet: Vec<f32> = Vec::new();
    for film in 0..FILMS.min(data.judged.len()) {
        let truth = data.judged.item(film).unwrap_or_default();
        let place = film * s * width..(film + 1) * s * width;
        sheet.extend(&pictures.judged.item(film).unwrap_or_default()[N_PIXELS..]);
        let rows = [
            &truth[width..],
            &shown.judged.predictions[place.clone()],
            &shown.transformer[place],
            &truth[..s * width],
        ];
        for vector in rows.iter().flat_map(|row| row.chunks_exact(width)) {
            sheet.extend(pictures.frames.picture(vector)?);
        }
    }
    let n = sheet.len() / N_PIXELS;
    Ok(ImageGrid { columns: s, ..ImageGrid::sized(SIDE, 36) }.png(&sheet, [n, 1, SIDE, SIDE])?)
}
