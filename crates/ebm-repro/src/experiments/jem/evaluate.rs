//! What is measured of JEM and its twin: accuracy, calibration, outlier scores, and the law of the samples.

use ebm_metrics::classification::{
    accuracy_interval, auroc_difference, auroc_interval, calibration, calibration_error_interval,
    confidences, correctness,
};
use ebm_metrics::samples::{Pca, frechet_distance, nearest_neighbours};
use ebm_metrics::{Bootstrap, bootstrap, paired_difference};
use ebm_models::jem::JemNet;
use ebm_models::joint::{JointEnergy, marginal_energy};
use ebm_samplers::ReplayBuffer;
use ebm_train::objectives::PersistentContrastiveDivergence;
use ndarray::{Array2, Axis, s};
use tch::{Kind, Tensor};

use super::config::Config;
use super::data::{self, Data};
use super::figures;
use crate::experiment::Status;
use crate::experiments::training::History;
use crate::run::Run;

/// Images scored at a time.
const CHUNK: i64 = 512;

/// Images whose nearest training image is looked up, at most: the lookup compares all pairs.
const NEAREST: usize = 5000;

/// One network on one set of images.
pub struct Scores {
    /// `[image, class]`.
    pub logits: Array2<f64>,
    /// `-E(x)`: higher is more like the data.
    pub score: Vec<f64>,
}

/// Logits and scores of images on the device.
pub fn score(net: &JemNet, x: &Tensor) -> anyhow::Result<Scores> {
    let (mut logits, mut score) = (Vec::new(), Vec::new());
    let n = x.size()[0];
    let mut classes = 0;
    for from in (0..n).step_by(CHUNK as usize) {
        let out = tch::no_grad(|| net.logits(&x.f_narrow(0, from, CHUNK.min(n - from))?))?;
        classes = out.size()[1] as usize;
        let energy = marginal_energy(&out)?;
        logits.extend(Vec::<f64>::try_from(&out.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?);
        score.extend(Vec::<f64>::try_from(&energy.f_neg()?.f_to_kind(Kind::Double)?)?);
    }
    Ok(Scores { logits: Array2::from_shape_vec((n as usize, classes), logits)?, score })
}

/// Images `[n, ..]` on the device as rows, clamped to the pixels' range.
pub fn rows(x: &Tensor) -> anyhow::Result<Array2<f64>> {
    let n = x.size()[0] as usize;
    let flat = x.f_clamp(-1.0, 1.0)?.f_to_kind(Kind::Double)?.f_flatten(0, -1)?;
    let values = Vec::<f64>::try_from(&flat)?;
    Ok(Array2::from_shape_vec((n, values.len() / n.max(1)), values)?)
}

/// Chains of a frozen network through a buffer of its own: the sampler's settings, restarts included, as in
/// training, until the ages of the chains have settled.
fn frozen_buffer(config: &Config, net: &JemNet, run: &Run) -> anyhow::Result<Tensor> {
    let size = [config.model.channels, config.model.side, config.model.side].map(|n| n as i64);
    let capacity = config.eval.twin_capacity;
    let buffer = ReplayBuffer::new(config.buffer(capacity), &size, run.seed(), run.device())?;
    let n_steps = config.sampler.n_steps;
    let mut chains = PersistentContrastiveDivergence::new(config.kernel(), n_steps, 0.0, buffer, run.seed())?;
    let batch = config.trainer.batch_size.min(capacity);
    let n_draws = (config.eval.twin_visits * capacity as u64).div_ceil(batch as u64);
    let mut progress = run.progress("sampling the twin", n_draws, 0);
    for draw in 0..n_draws {
        let rng = data::evaluation_rng(run.seed(), data::CHAINS + draw * n_steps);
        // The buffer keeps them.
        drop(chains.negatives(net, batch, rng)?);
        progress.update(draw, None);
        if run.should_stop() {
            return Err(ebm_core::Error::stopped().into());
        }
    }
    Ok(chains.buffer().points().shallow_clone())
}

/// Frechet distances in the principal components of the training set.
pub struct SampleSpace {
    pca: Pca,
    judged: Array2<f64>,
    noise: Array2<f64>,
}

impl SampleSpace {
    fn new(config: &Config, data: &Data, noise: &Tensor) -> anyhow::Result<Self> {
        let train = data.train.x().mapv(f64::from);
        let pca = Pca::fit(train.view(), config.eval.pca)?;
        let judged = pca.transform(data.judged.x().mapv(f64::from).view())?;
        let noise = pca.transform(rows(noise)?.view())?;
        Ok(Self { pca, judged, noise })
    }

    /// FD(samples, judged) / FD(noise, judged), with plus and minus 1.96 bootstrap standard errors over the samples.
    /// (Resampled distances are biased up, so their percentiles would not contain the value.)
    fn ratio(
        &self,
        samples: &Array2<f64>,
        config: &Config,
        seed: u64,
    ) -> anyhow::Result<(f64, (f64, f64), f64)> {
        let x = self.pca.transform(samples.view())?;
        let noise = frechet_distance(self.noise.view(), self.judged.view())?;
        let distance = frechet_distance(x.view(), self.judged.view())?;
        let n = x.nrows();
        let resamples = bootstrap(n, config.eval.n_resamples.min(200), seed, |indices| {
            frechet_distance(x.select(Axis(0), indices).view(), self.judged.view()).unwrap_or(f64::NAN)
                / noise
        })?;
        let mean = resamples.iter().sum::<f64>() / resamples.len() as f64;
        let variance =
            resamples.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (resamples.len() - 1).max(1) as f64;
        let (ratio, half) = (distance / noise, 1.96 * variance.sqrt());
        Ok((ratio, (ratio - half, ratio + half), distance))
    }
}

pub fn evaluate(
    config: &Config,
    data: &Data,
    jem: &JemNet,
    buffer: Option<Tensor>,
    twin: &JemNet,
    run: &mut Run,
) -> anyhow::Result<Status> {
    let (seed, device, noise_std) = (run.seed(), run.device(), config.data.noise_std);
    let resampling = Bootstrap { n_resamples: config.eval.n_resamples, seed, ..Bootstrap::default() };
    let labels: Vec<usize> = data.judged.labels().unwrap_or_default().iter().map(|l| *l as usize).collect();
    let judged = data.noisy(data.judged.x(), noise_std, data::evaluation_rng(seed, 0), device)?;
    let (own, other) = (score(jem, &judged)?, score(twin, &judged)?);

    // Accuracy.
    let accuracy = accuracy_interval(own.logits.view(), &labels, &resampling)?;
    let twin_accuracy = accuracy_interval(other.logits.view(), &labels, &resampling)?;
    let right = |s: &Scores| -> anyhow::Result<Vec<f64>> {
        Ok(correctness(s.logits.view(), &labels)?.iter().map(|c| f64::from(u8::from(*c))).collect())
    };
    let difference = paired_difference(&right(&own)?, &right(&other)?, &resampling)?;
    let ci = (accuracy.interval.low, accuracy.interval.high);
    run.report.judge_against("accuracy", accuracy.value, Some(ci), twin_accuracy.value)?;
    run.report.metric("accuracy", accuracy.value);
    run.report.metric("accuracy_difference", difference.value);
    run.report.control("ce-twin", &[("accuracy", twin_accuracy.value)]);
    let mut table = vec![vec![
        "accuracy".to_owned(),
        accuracy.to_string(),
        twin_accuracy.to_string(),
        difference.to_string(),
    ]];

    // Calibration.
    let (confidence, correct) = confidences(own.logits.view(), &labels)?;
    let (twin_confidence, twin_correct) = confidences(other.logits.view(), &labels)?;
    let ece = calibration_error_interval(&confidence, &correct, 20, &resampling)?;
    let twin_ece = calibration_error_interval(&twin_confidence, &twin_correct, 20, &resampling)?;
    run.report.metric("ece", ece.value);
    run.report.control("ce-twin", &[("ece", twin_ece.value)]);
    table.push(vec!["ECE, 20 bins".into(), ece.to_string(), twin_ece.to_string(), String::new()]);

    // Outliers, scored by log-sum-exp.
    let mut energies: Vec<(String, Vec<f64>)> = Vec::new();
    for (i, (name, x)) in data.outliers.iter().enumerate() {
        let x = data.noisy(x, noise_std, data::evaluation_rng(seed, 1 + i as u64), device)?;
        let (out, twin_out) = (score(jem, &x)?, score(twin, &x)?);
        let area = auroc_interval(&own.score, &out.score, &resampling)?;
        let twin_area = auroc_interval(&other.score, &twin_out.score, &resampling)?;
        let gain = auroc_difference((&own.score, &out.score), (&other.score, &twin_out.score), &resampling)?;
        let metric = format!("auroc_{name}");
        run.report.metric(&metric, area.value);
        run.report.control("ce-twin", &[(metric.as_str(), twin_area.value)]);
        table.push(vec![format!("AUROC, {name}"), area.to_string(), twin_area.to_string(), gain.to_string()]);
        if run.report.has_gate(&metric) {
            // What the plain classifier already solves is shown, not judged.
            if twin_area.value < 0.95 {
                run.report.judge(
                    &metric,
                    gain.interval.low,
                    Some((gain.interval.low, gain.interval.high)),
                )?;
            }
        }
        energies.push(((*name).to_owned(), out.score.iter().map(|s| -s).collect()));
    }

    // Samples.
    let noise = figures::noise(config, buffer.as_ref(), seed, device)?;
    let space = SampleSpace::new(config, data, &noise)?;
    let samples = match &buffer {
        Some(buffer) => buffer.shallow_clone(),
        // Loaded weights come without chains: sample them as the twin is sampled.
        None => frozen_buffer(config, jem, run)?,
    };
    let (ratio, ci, distance) = space.ratio(&rows(&samples)?, config, seed)?;
    run.report.judge("fd_ratio", ratio, Some(ci))?;
    let twin_samples = frozen_buffer(config, twin, run)?;
    let (twin_ratio, twin_ci, twin_distance) = space.ratio(&rows(&twin_samples)?, config, seed)?;
    run.report.judge("twin_fd_ratio", twin_ratio, Some(twin_ci))?;
    let train = data.train.x().mapv(f64::from);
    let floor = frechet_distance(space.pca.transform(train.view())?.view(), space.judged.view())?;
    let nearest =
        |x: &Array2<f64>| nearest_neighbours(x.slice(s![..x.nrows().min(NEAREST), ..]), train.view());
    let near = nearest(&rows(&samples)?)?;
    let near_judged = nearest(&data.judged.x().mapv(f64::from))?;
    let mean =
        |v: &[ebm_metrics::samples::Neighbour]| v.iter().map(|n| n.distance).sum::<f64>() / v.len() as f64;
    for (name, value) in [
        ("fd_buffer", distance),
        ("fd_ratio", ratio),
        ("fd_train", floor),
        ("nearest_train_distance_buffer", mean(&near)),
        ("nearest_train_distance_test", mean(&near_judged)),
    ] {
        run.report.metric(name, value);
    }
    run.report.control("ce-twin", &[("fd_buffer", twin_distance), ("fd_ratio", twin_ratio)]);
    table.push(vec![
        "FD of samples / FD of noise".into(),
        format!("{ratio:.3} [{:.3}, {:.3}]", ci.0, ci.1),
        format!("{twin_ratio:.3} [{:.3}, {:.3}]", twin_ci.0, twin_ci.1),
        String::new(),
    ]);

    // The course of training.
    let history = History::read(&run.out().join("metrics.jsonl"))?;
    if buffer.is_some() {
        let settled = config.eval.settle * config.trainer.n_steps as f64;
        let gap = history.largest("validation_gap", settled);
        if run.report.has_gate("energy_gap") {
            run.report.judge("energy_gap", gap, None)?;
        }
        run.report.metric("energy_gap", gap);
        run.report.judge("rollbacks", run.report.n_events("rollback") as f64, None)?;
    }

    run.report.table(
        "JEM beside its twin (95% intervals)",
        &["", "JEM", "cross-entropy twin", "difference"],
        table,
    );
    let diagrams = [
        ("JEM", calibration(&confidence, &correct, 20)?),
        ("cross-entropy twin", calibration(&twin_confidence, &twin_correct, 20)?),
    ];
    figures::draw(config, data, jem, &samples, &twin_samples, &own, &energies, &history, &diagrams, run)?;
    Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
}
