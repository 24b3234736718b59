//! The pictures of the report: images side by side, and curves.

use std::fs;
use std::path::Path;

use ebm_train::logs::ImageGrid;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::config::Config;
use super::data::{Data, images};
use super::evaluate::{Denoised, Level};
use crate::plots::{Axes, Series, lines};
use crate::run::Run;

pub fn draw(config: &Config, data: &Data, levels: [&Level; 2], run: &mut Run) -> anyhow::Result<()> {
    let dit = format!("dit-{}", config.sampler.ddim_steps);
    run.report.heading("Images");
    for (id, level) in ["near", "far"].into_iter().zip(levels) {
        let columns = [
            ("noisy", 0),
            ("ebt", 1),
            ("ebt", 2),
            ("ebt", 3),
            (dit.as_str(), 1),
            (dit.as_str(), 3),
            ("regressor", 1),
            ("regressor", 3),
        ];
        let clean = images(&data.judged, run.device())?;
        let mut shown = vec![clean];
        for (name, repeats) in columns {
            shown.push(level.find(name, repeats)?.images.shallow_clone());
        }
        let names: Vec<String> = columns
            .iter()
            .map(|(n, r)| if *r > 1 { format!("{n} applied {r} times") } else { (*n).to_owned() })
            .collect();
        let caption = format!("From left to right: clean, {}.", names.join(", "));
        let title = format!("Noise of {} of the schedule", level.fraction);
        let png = side_by_side(&shown, config.eval.shown)?;
        run.report.image_png(&format!("images-{id}"), &title, &caption, png);
    }
    run.report.heading("Quality against cost");
    for (id, level) in ["near", "far"].into_iter().zip(levels) {
        for (what, axis) in
            [("evaluations", "network evaluations"), ("macs", "multiply-accumulates an image")]
        {
            let mut axes = Axes::new(axis, "PSNR, dB");
            axes.log_x = true;
            let cost = |r: &Denoised| if what == "macs" { r.macs } else { r.evaluations } as f64;
            let title = format!("Noise of {} of the schedule", level.fraction);
            let caption = "Each method applied once and again to its own output.";
            let svg = lines(&axes, &curves(level, &cost))?;
            run.report.figure_svg(&format!("{what}-{id}"), &title, caption, svg);
        }
    }
    training(run)
}

/// One curve a method, over its applications.
fn curves(level: &Level, cost: &dyn Fn(&Denoised) -> f64) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for r in level.results.iter().filter(|r| r.repeats > 0) {
        let point = (cost(r), r.psnr());
        match series.iter_mut().find(|s| s.name == r.name) {
            Some(series) => series.points.push(point),
            None => series.push(Series::new(&r.name, vec![point])),
        }
    }
    series
}

/// The first images of each set, one row an image, one column a set.
fn side_by_side(sets: &[Tensor], n_rows: usize) -> anyhow::Result<Vec<u8>> {
    let n = (n_rows as i64).min(sets[0].size()[0]);
    let first: Vec<Tensor> = sets.iter().map(|x| x.f_narrow(0, 0, n)).collect::<Result<_, _>>()?;
    // [row, column, ..] one after the other.
    sheet(&Tensor::f_stack(&first, 1)?.f_flatten(0, 1)?, sets.len())
}

/// Images on [-1, 1], as square a sheet as possible.
pub fn grid(x: &Tensor) -> anyhow::Result<Vec<u8>> {
    sheet(x, 0)
}

fn sheet(x: &Tensor, columns: usize) -> anyhow::Result<Vec<u8>> {
    let size: Vec<usize> = x.size().iter().map(|n| *n as usize).collect();
    let [n, c, h, w] = size[..] else { anyhow::bail!("images have the shape {size:?}") };
    let unit = x.f_add_scalar(1.0)?.f_mul_scalar(0.5)?.f_to_kind(Kind::Float)?.f_flatten(0, -1)?;
    let values = Vec::<f32>::try_from(&unit)?;
    Ok(ImageGrid { columns, ..ImageGrid::sized(w, 56) }.png(&values, [n, c, h, w])?)
}

fn training(run: &mut Run) -> anyhow::Result<()> {
    run.report.heading("Training");
    let rows = [
        ("ebt", read(&run.out().join("metrics.jsonl"))?),
        ("dit", read(&run.out().join("dit.jsonl"))?),
        ("regressor", read(&run.out().join("regressor.jsonl"))?),
    ];
    let of = |model: &str, name: &str| {
        let rows = rows.iter().filter(|(m, _)| *m == model).flat_map(|(_, rows)| rows);
        let point = |row: &Value| Some((row["step"].as_f64()?, row[name].as_f64().unwrap_or(f64::NAN)));
        Series::new(model, rows.filter_map(point).collect())
    };
    let all = |name: &str| ["ebt", "dit", "regressor"].map(|model| of(model, name));
    let [ebt, dit, regressor] = all("loss");
    let validation = ["ebt", "regressor"].map(|model| of(model, "loss_validation"));
    let figures: Vec<(&str, &str, &str, Vec<Series>)> = vec![
        ("loss", "Loss on pixels, training", "loss", vec![ebt, regressor]),
        ("loss-validation", "Loss on pixels, held-out images", "loss", validation.into()),
        ("loss-dit", "Loss of DiT", "loss", vec![dit]),
        ("alpha", "Step size", "alpha", vec![of("ebt", "alpha")]),
        (
            "stability",
            "Step size times largest curvature (a step is stable below 2)",
            "alpha lambda",
            vec![of("ebt", "alpha_curvature")],
        ),
        ("gradient", "Gradient norm before clipping", "norm", all("grad_norm").into()),
        ("slope", "Norm of the energy's gradient at the noisy image", "norm", vec![of("ebt", "slope_first")]),
    ];
    for (id, title, axis, series) in figures {
        let mut axes = Axes::new("step", axis);
        axes.log_y = matches!(id, "loss" | "loss-validation" | "gradient" | "slope");
        run.report.figure_svg(id, title, "", lines(&axes, &series)?);
    }
    Ok(())
}

/// The rows of a log; none where it was not written (`--weights`).
fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
