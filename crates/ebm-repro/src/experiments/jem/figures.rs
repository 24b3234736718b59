//! The pictures of JEM's report.

use ebm_metrics::classification::Calibration;
use ebm_models::jem::JemNet;
use ebm_models::joint::JointEnergy;
use ebm_train::logs::ImageGrid;
use ebm_train::objectives::run_chains;
use tch::{Device, Kind, Tensor};

use super::config::Config;
use super::data::{Data, NOISE, SHOWN_CHAINS, TRAIN, evaluation_rng};
use super::evaluate::{Scores, score};
use crate::experiments::training::History;
use crate::plots::{Axes, Series, histograms, lines, reliability};
use crate::run::Run;

/// Images in a sample grid: ten of each class.
const PER_CLASS: usize = 10;

/// Uniform images, as many as the buffer has (or as the twin's).
pub fn noise(config: &Config, buffer: Option<&Tensor>, seed: u64, device: Device) -> anyhow::Result<Tensor> {
    let n = buffer.map_or(config.eval.twin_capacity as i64, |b| b.size()[0]);
    let [c, s] = [config.model.channels, config.model.side].map(|n| n as i64);
    let mut rng = evaluation_rng(seed, NOISE);
    Ok(rng.uniform(&[n, c, s, s], -1.0, 1.0, Kind::Float, device)?)
}

/// A grid of images on [-1, 1].
pub fn grid(x: &Tensor, columns: usize) -> anyhow::Result<Vec<u8>> {
    let size: Vec<usize> = x.size().iter().map(|n| *n as usize).collect();
    let [n, c, h, w] = size[..] else { anyhow::bail!("images have the shape {size:?}") };
    let unit = x.f_add_scalar(1.0)?.f_mul_scalar(0.5)?.f_to_kind(Kind::Float)?.f_flatten(0, -1)?;
    let images = Vec::<f32>::try_from(&unit)?;
    Ok(ImageGrid { columns, ..ImageGrid::sized(w, 40) }.png(&images, [n, c, h, w])?)
}

/// The images that the network is surest of, one row per class, as JEM groups its samples.
fn by_class(net: &JemNet, x: &Tensor, n_classes: usize) -> anyhow::Result<Tensor> {
    let p = tch::no_grad(|| Ok::<_, ebm_core::Error>(net.logits(x)?.f_softmax(1, Kind::Float)?))?;
    let mut chosen: Vec<i64> = Vec::new();
    for class in 0..n_classes as i64 {
        let order = p.f_select(1, class)?.f_argsort(0, true)?;
        chosen.extend(Vec::<i64>::try_from(&order.f_narrow(0, 0, (PER_CLASS as i64).min(x.size()[0]))?)?);
    }
    Ok(x.f_index_select(0, &Tensor::f_from_slice(&chosen)?.f_to_device(x.device())?)?)
}

/// Snapshots of ten chains that start from noise: one row per chain, one column per time.
fn chains_over_time(config: &Config, net: &JemNet, run: &Run) -> anyhow::Result<(Tensor, Vec<u64>)> {
    let [c, s] = [config.model.channels, config.model.side].map(|n| n as i64);
    let mut rng = evaluation_rng(run.seed(), SHOWN_CHAINS);
    let mut x = rng.uniform(&[10, c, s, s], -1.0, 1.0, Kind::Float, run.device())?;
    let visits = if run.is_smoke() { &[1, 1][..] } else { &[1, 1, 2, 4, 8, 16, 32] };
    let n = config.sampler.n_steps;
    let (mut shots, mut times) = (vec![x.shallow_clone()], vec![0]);
    let mut visit = 0;
    for more in visits {
        for _ in 0..*more {
            let rng = evaluation_rng(run.seed(), SHOWN_CHAINS + 1 + visit * n);
            x = run_chains(&config.kernel(), net, &x, n, rng)?;
            visit += 1;
        }
        shots.push(x.shallow_clone());
        times.push(visit * n);
    }
    // [time, chain, ..] to [chain, time, ..].
    Ok((Tensor::f_stack(&shots, 1)?.f_flatten(0, 1)?, times))
}

pub fn draw(
    config: &Config,
    data: &Data,
    jem: &JemNet,
    samples: &Tensor,
    twin_samples: &Tensor,
    judged: &Scores,
    outliers: &[(String, Vec<f64>)],
    history: &History,
    calibrations: &[(&str, Calibration)],
    run: &mut Run,
) -> anyhow::Result<()> {
    let device = run.device();
    let classes = config.model.n_classes;
    run.report.heading("Samples");
    let real = by_class(jem, &data.images(data.judged.x(), device)?, classes)?;
    let caption = "Chains of the replay buffer at the end of training, one row per class: those the network is surest of.";
    run.report.image_png(
        "samples",
        "Samples of JEM",
        caption,
        grid(&by_class(jem, samples, classes)?, PER_CLASS)?,
    );
    let caption = "Real images chosen in the same way.";
    run.report.image_png("data", "Data", caption, grid(&real, PER_CLASS)?);
    let caption =
        "The same sampler on the network trained by cross-entropy alone: its energy was never pinned down.";
    run.report.image_png(
        "twin-samples",
        "Samples of the twin",
        caption,
        grid(&by_class(jem, twin_samples, classes)?, PER_CLASS)?,
    );
    let (shots, times) = chains_over_time(config, jem, run)?;
    let caption = format!("Ten chains from noise, one row each, after {times:?} Langevin steps.");
    run.report.image_png("chains", "Chains over time", &caption, grid(&shots, times.len())?);

    run.report.heading("Energies");
    let energies =
        |x: &Tensor| -> anyhow::Result<Vec<f64>> { Ok(score(jem, x)?.score.iter().map(|s| -s).collect()) };
    let train = energies(&data.noisy(
        data.train.x(),
        config.data.noise_std,
        evaluation_rng(run.seed(), TRAIN),
        device,
    )?)?;
    let test: Vec<f64> = judged.score.iter().map(|s| -s).collect();
    let buffer = energies(samples)?;
    let mut series: Vec<(&str, &[f64])> =
        vec![("train", &train), (&config.eval.part, &test), ("buffer", &buffer)];
    series.extend(outliers.iter().map(|(name, e)| (name.as_str(), e.as_slice())));
    let svg = histograms(&Axes::new("E(x) = -log-sum-exp of the logits", ""), &series, 60)?;
    run.report.figure_svg(
        "energies",
        "Energies",
        "Low energy is likely. Outliers should lie to the right.",
        svg,
    );

    run.report.heading("Classifier");
    let diagrams: Vec<(&str, &[_])> =
        calibrations.iter().map(|(name, c)| (*name, c.bins.as_slice())).collect();
    run.report.figure_svg(
        "reliability",
        "Reliability",
        "How often each is right against how sure it is.",
        reliability(&diagrams)?,
    );

    run.report.heading("Training");
    for (id, title, axis, names) in [
        ("loss", "Losses", "loss", &["loss", "cross_entropy"][..]),
        ("gap", "Energy gaps", "E(data) - E(chains)", &["validation_gap", "energy_gap"][..]),
        ("levels", "Energy levels", "mean E", &["energy_validation", "energy_buffer"][..]),
        ("gradient", "Gradient norm", "norm before clipping", &["grad_norm"][..]),
    ] {
        let series: Vec<Series> = names.iter().map(|n| Series::new(n, history.points("step", n))).collect();
        run.report.figure_svg(id, title, "", lines(&Axes::new("step", axis), &series)?);
    }
    Ok(())
}
