//! The pictures of the report: paths, a film, the energy along the descent, the course of training.

use std::fs;

use ebm_datasets::push::{Demonstration, Policy, TO, Variant, draw};
use ebm_models::ebt_policy::EnergyPolicy;
use ebm_samplers::descent::{Descent, Stop};
use serde_json::Value;

use super::config::Config;
use super::evaluate::Tried;
use super::train::{Data, Policies};
use crate::plots::{Axes, Series, lines};
use crate::run::Run;

/// Pixels of a scene.
const SIDE: usize = 150;

fn scenes(tried: &Tried, n: usize, shoved: bool) -> Vec<draw::Scene> {
    let episodes = if shoved { &tried.shoved } else { &tried.normal };
    episodes.iter().take(n).map(draw::Scene::from).collect()
}

/// Paths of the demonstrations and of each policy, and a film of EBT-Policy.
pub fn rollouts(config: &Config, data: &Data, tried: &[Tried], run: &mut Run) -> anyhow::Result<()> {
    let (n, world) = (config.eval.n_shown, &data.world);
    let (prefix, title) = match world.variant() {
        Variant::OneGap => ("", "One gap"),
        Variant::TwoGaps => ("two-gaps-", "Two gaps"),
    };
    run.report.heading(title);
    let scene = |d: &Demonstration| draw::Scene::new(d.states.clone(), d.solved);
    let shown: Vec<_> = data.demonstrations.iter().take(n).map(scene).collect();
    let caption = "Agent blue, disc orange, their paths behind them.";
    run.report.image_png(
        &format!("{prefix}demonstrations"),
        "Demonstrations",
        caption,
        draw::png(world, &shown, n, SIDE)?,
    );
    let sheet = |shoved: bool| -> anyhow::Result<Vec<u8>> {
        let scenes: Vec<_> = tried.iter().flat_map(|t| scenes(t, n, shoved)).collect();
        Ok(draw::png(world, &scenes, n, SIDE)?)
    };
    let names: Vec<&str> = tried.iter().map(|t| t.name.as_str()).collect();
    let caption = format!("One row each: {}. A green ring: solved; red: not.", names.join(", "));
    run.report.image_png(&format!("{prefix}rollouts"), "The same episodes", &caption, sheet(false)?);
    if tried[0].shoved.is_empty() {
        return Ok(());
    }
    let caption = format!("{caption} A thin red ring marks where the shove put the disc.");
    run.report.image_png(&format!("{prefix}shoved"), "The same, with a shove", &caption, sheet(true)?);
    let film = draw::gif(world, &scenes(&tried[0], n, true), n.div_ceil(2), SIDE)?;
    let name = format!("{prefix}ebt-policy.gif");
    fs::write(run.out().join(&name), film)?;
    run.report.note(&format!("{name} in the run's folder shows EBT-Policy in the shoved episodes."));
    Ok(())
}

/// The error of actions over the number of evaluations.
pub fn errors(points: Vec<(f64, f64)>, run: &mut Run) -> anyhow::Result<()> {
    let axes = Axes::new("evaluations", "squared error of actions").log_y();
    let svg = lines(&axes, &[Series::new("", points)])?;
    let caption = "In the expert's own episodes, held out; no stop before.";
    run.report.figure_svg("errors", "Error after each number of evaluations", caption, svg);
    Ok(())
}

/// Mean energy and gradient norm over twenty steps from noise, at the starts of the episodes.
pub fn energies(config: &Config, data: &Data, trained: &Policies, run: &mut Run) -> anyhow::Result<()> {
    let descent = Descent { stop: Stop::Never, ..config.prediction() };
    let (net, step_size) = (&trained.energy.net, config.objective.step_size);
    let mut policy = EnergyPolicy::new(net, descent, step_size, run.seed(), run.device())?;
    let histories: Vec<_> = data.demonstrations.iter().map(|d| [d.states[0].observation(); TO]).collect();
    let numbers: Vec<usize> = (0..histories.len()).collect();
    policy.act(&histories, &numbers, 0)?;
    let curve = |of: fn(&(f64, f64)) -> f64| policy.curve.iter().map(of).collect::<Vec<f64>>();
    let svg = lines(&Axes::new("step", "mean energy"), &[Series::of_values("", &curve(|c| c.0))])?;
    run.report.figure_svg(
        "energy",
        "Energy along the descent",
        "From noise, at the demonstrations' starts.",
        svg,
    );
    let svg =
        lines(&Axes::new("step", "mean gradient norm").log_y(), &[Series::of_values("", &curve(|c| c.1))])?;
    let caption = format!("Prediction stops one step after {:e}.", config.objective.stop_gradient_norm);
    run.report.figure_svg("slope", "Gradient along the descent", &caption, svg);
    Ok(())
}

/// Losses of the trainings.
pub fn training(run: &mut Run) -> anyhow::Result<()> {
    run.report.heading("Training");
    let rows = |file: &str| -> anyhow::Result<Vec<Value>> {
        let path = run.out().join(file);
        let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    };
    let series = |name: &str, rows: &[Value], key: &str| {
        let point = |row: &Value| Some((row["step"].as_f64()?, row[key].as_f64().unwrap_or(f64::NAN)));
        Series::new(name, rows.iter().filter_map(point).collect())
    };
    let energy = rows("metrics.jsonl")?;
    let (diffusion, cloning) = (rows("diffusion.jsonl")?, rows("cloning.jsonl")?);
    let svg = lines(
        &Axes::new("step", "mean squared error").log_y(),
        &[series("EBT-Policy", &energy, "loss"), series("cloning", &cloning, "loss")],
    )?;
    run.report.figure_svg(
        "loss",
        "Losses on actions",
        "On training batches; EBT-Policy's after its descent.",
        svg,
    );
    let svg = lines(&Axes::new("step", "loss").log_y(), &[series("diffusion", &diffusion, "loss")])?;
    run.report.figure_svg("loss-diffusion", "Loss of diffusion", "Squared error of the noise.", svg);
    let svg = lines(
        &Axes::new("step", "mean energy"),
        &[series("first", &energy, "energy_first"), series("last", &energy, "energy_last")],
    )?;
    run.report.figure_svg("levels", "Energies in training", "Where the first and the last step start.", svg);
    Ok(())
}
