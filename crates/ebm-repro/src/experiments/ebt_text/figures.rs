//! The pictures of the report.

use tch::Tensor;

use super::config::Config;
use super::predict::{Descents, bits, mean};
use crate::experiments::training::History;
use crate::plots::{Axes, Series, lines, scatter};
use crate::run::Run;

/// One number of the rows of a log, over another.
fn history(run: &Run, file: &str, over: &str, name: &str) -> anyhow::Result<Vec<(f64, f64)>> {
    Ok(History::read(&run.out().join(file))?.points(over, name))
}

pub fn draw(
    config: &Config,
    thinkers: &[(&str, Descents)],
    windows: &Tensor,
    run: &mut Run,
) -> anyhow::Result<()> {
    run.report.heading("Training");
    for (id, over, title, axis) in [
        ("learning", "step", "Learning curves", "step"),
        ("learning-seconds", "wall_s", "Learning curves over time", "seconds"),
    ] {
        let mut curves = Vec::new();
        for (file, label, name) in [
            ("metrics.jsonl", "EBT S1, last step", "loss_last"),
            ("s2.jsonl", "EBT S2", "loss_last"),
            ("transformer.jsonl", "Transformer++, equal tokens", "loss"),
            ("transformer-flops.jsonl", "Transformer++, equal FLOPs", "loss"),
        ] {
            let points = scaled(&history(run, file, over, name)?);
            if !points.is_empty() {
                curves.push(Series::new(label, points));
            }
        }
        let axes = Axes { log_x: true, log_y: true, ..Axes::new(axis, "bits per byte of the batch") };
        run.report.figure_svg(id, title, "One batch per point.", lines(&axes, &curves)?);
    }
    for (id, title, names) in [
        ("energies", "Energies over training (S1)", &["energy_first", "energy_last"][..]),
        ("slopes", "Gradient norms over training (S1)", &["slope_first", "slope_last"][..]),
        ("alpha", "Step size, and step size times largest curvature (S1)", &["alpha", "alpha_curvature"][..]),
    ] {
        let mut series = Vec::new();
        for name in names {
            series.push(Series::new(name, history(run, "metrics.jsonl", "step", name)?));
        }
        let axes = Axes { log_y: id != "energies", ..Axes::new("step", "") };
        let caption = if id == "alpha" {
            "A descent is stable along a direction while the product is below 2."
        } else {
            ""
        };
        run.report.figure_svg(id, title, caption, lines(&axes, &series)?);
    }

    run.report.heading("Thinking longer");
    let mut steps = Vec::new();
    let mut energies = Vec::new();
    for (name, found) in thinkers {
        let over = |values: Vec<f64>, from: f64| {
            Series::new(name, values.into_iter().enumerate().map(|(i, v)| (from + i as f64, v)).collect())
        };
        steps.push(over(found.nats.iter().map(|nats| bits(nats)).collect(), 1.0));
        let mut course: Vec<f64> = found.energies.iter().map(|e| mean(e)).collect();
        course.push(mean(&found.last_energy));
        energies.push(over(course, 0.0));
    }
    let caption = "S1 was trained with two steps, S2 with two or three.";
    run.report.figure_svg(
        "thinking",
        "Bits per byte after each step",
        caption,
        lines(&Axes::new("steps", "bits per byte"), &steps)?,
    );
    run.report.figure_svg(
        "descent",
        "Mean energy over the steps",
        "",
        lines(&Axes::new("steps", "energy"), &energies)?,
    );

    run.report.heading("Energies of single bytes");
    for ((name, found), policy) in thinkers.iter().zip(config.policies().map(|(_, policy)| policy)) {
        let steps = policy.predict_steps;
        let energy = found.energies.get(steps).unwrap_or(&found.last_energy);
        let points = energy.iter().copied().zip(found.nats[steps - 1].iter().copied()).collect();
        let svg = scatter(&Axes::new("final energy", "surprise, nats"), &[Series::new(name, points)])?;
        run.report.figure_svg(
            &format!("uncertainty-{name}"),
            &format!("Energy and surprise, {name}"),
            "",
            svg,
        );
    }
    excerpt(config, thinkers, windows, run)?;
    Ok(())
}

/// A few bytes of the first window with their energies.
fn excerpt(
    config: &Config,
    thinkers: &[(&str, Descents)],
    windows: &Tensor,
    run: &mut Run,
) -> anyhow::Result<()> {
    let Some((name, found)) = thinkers.last() else { return Ok(()) };
    let steps = config.policies().last().map_or(1, |(_, policy)| policy.predict_steps);
    let energy = found.energies.get(steps).unwrap_or(&found.last_energy);
    let row: Vec<i64> = Vec::try_from(&windows.f_get(0)?)?;
    let n = config.model.transformer.context.min(48);
    let shown = (0..n).map(|i| {
        let byte = u8::try_from(row[i + 1]).unwrap_or(b'?');
        let text = if byte == b' ' { "(space)".into() } else { byte.escape_ascii().to_string() };
        vec![text, format!("{:.2}", energy[i]), format!("{:.2}", found.nats[steps - 1][i])]
    });
    run.report.table(
        &format!("The first judged bytes, {name}"),
        &["byte", "energy", "surprise, nats"],
        shown.collect(),
    );
    Ok(())
}

/// Gains over shifts.
pub fn shift(points: &[(f64, f64)], run: &mut Run) -> anyhow::Result<()> {
    let axes = Axes::new("bits on the set / bits in distribution", "gain of thinking and verifying, %");
    run.report.figure_svg(
        "shift",
        "Gain against shift",
        "One point per set.",
        scatter(&axes, &[Series::new("", points.to_vec())])?,
    );
    Ok(())
}

/// Nats to bits.
fn scaled(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().map(|(x, y)| (*x, y / std::f64::consts::LN_2)).collect()
}
