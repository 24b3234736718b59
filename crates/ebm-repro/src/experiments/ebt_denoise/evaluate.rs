//! What is measured: PSNR of every method after every pass, beside its evaluations, multiply-accumulates and seconds.

use std::time::Instant;

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{GraphEnergy, Result};
use ebm_metrics::images::{psnr, psnr_interval, squared_errors_8bit};
use ebm_metrics::{Bootstrap, Estimate};
use ebm_models::diffusion::{NoiseSchedule, ReverseChain, ReverseRule, evenly_spaced};
use ebm_models::ebt::{Corruption, ImageEbt};
use ndarray::Array2;
use tch::{Kind, Tensor};

use super::config::Config;
use super::data::{Data, images};
use super::figures;
use super::train::Models;
use crate::experiment::Status;
use crate::run::Run;

/// A way to denoise that can be applied again to its own output.
struct Method<'a> {
    name: String,
    /// Evaluations of the network in one application.
    evaluations: u64,
    /// Multiply-accumulates of one application for one image, backward passes included.
    macs: u64,
    apply: Box<dyn Fn(&Tensor) -> Result<Tensor> + 'a>,
}

/// Images after some applications of a method, or before any.
pub struct Denoised {
    /// The method.
    pub name: String,
    /// How often it was applied.
    pub repeats: usize,
    /// Evaluations of its network for one image.
    pub evaluations: u64,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Seconds for one image, in batches of `eval.batch_size`.
    pub seconds: f64,
    /// Mean squared errors of the images, on the scale of 255.
    pub errors: Vec<f64>,
    /// The images.
    pub images: Tensor,
}

impl Denoised {
    /// In decibels.
    pub fn psnr(&self) -> f64 {
        psnr(&self.errors)
    }
}

/// All methods on the judged images at one noise; the noisy images themselves come first.
pub struct Level {
    /// Part of the schedule that the images went through.
    pub fraction: f64,
    /// After every application of every method.
    pub results: Vec<Denoised>,
}

impl Level {
    /// A method after `repeats` applications.
    pub fn find(&self, name: &str, repeats: usize) -> anyhow::Result<&Denoised> {
        let found = self.results.iter().find(|r| r.name == name && r.repeats == repeats);
        found.ok_or_else(|| anyhow::anyhow!("nothing was measured of {name} after {repeats} applications"))
    }
}

fn methods<'a>(config: &'a Config, models: &'a Models, seed: u64) -> anyhow::Result<Vec<Method<'a>>> {
    let schedule = config.objective.schedule.build()?;
    let start = Corruption::new(&config.objective.schedule, config.objective.train_fraction)?.step();
    let mut all = vec![
        Method {
            name: "ebt".to_owned(),
            evaluations: 1,
            macs: config.model.step_macs(),
            apply: Box::new(|x| models.ebt.denoise(x, 1)),
        },
        Method {
            name: "regressor".to_owned(),
            evaluations: 1,
            macs: config.regressor().macs(),
            apply: Box::new(|x| tch::no_grad(|| models.regressor.forward(x))),
        },
    ];
    for n_steps in [config.sampler.ddim_steps].iter().chain(&config.sampler.short) {
        let chain = chain(config, &schedule, start, *n_steps)?;
        // No random number is drawn: DDIM is deterministic here.
        let rng = TensorRng::new(seed, Purpose::Evaluation);
        all.push(Method {
            name: format!("dit-{n_steps}"),
            evaluations: chain.n_evaluations() as u64,
            macs: chain.n_evaluations() as u64 * config.dit().macs(),
            apply: Box::new(move |x| chain.run(&models.dit, x, rng)),
        });
    }
    Ok(all)
}

fn chain(
    config: &Config,
    schedule: &NoiseSchedule,
    start: usize,
    n_steps: usize,
) -> anyhow::Result<ReverseChain> {
    let times = evenly_spaced(start, n_steps)?;
    let chain = ReverseChain::new(schedule, &times, ReverseRule::Ddim { eta: 0.0 })?;
    Ok(match config.sampler.clip {
        Some(bound) => chain.clip(bound),
        None => chain,
    })
}

/// Images `[n, ..]` as rows of numbers.
fn rows(x: &Tensor) -> anyhow::Result<Array2<f64>> {
    let n = x.size()[0] as usize;
    let values = Vec::<f64>::try_from(&x.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?;
    Ok(Array2::from_shape_vec((n, values.len() / n.max(1)), values)?)
}

fn level(config: &Config, data: &Data, methods: &[Method<'_>], i: usize, run: &Run) -> anyhow::Result<Level> {
    let fraction = config.eval.fractions[i];
    let corruption = Corruption::new(&config.objective.schedule, fraction)?;
    let clean = rows(&images(&data.judged, run.device())?)?;
    let noisy = data.noisy(&corruption, i as u64, run)?;
    let n = noisy.size()[0];
    let errors = |x: &Tensor| anyhow::Ok(squared_errors_8bit(rows(x)?.view(), clean.view())?);
    let mut results = vec![Denoised {
        name: "noisy".to_owned(),
        repeats: 0,
        evaluations: 0,
        macs: 0,
        seconds: 0.0,
        errors: errors(&noisy)?,
        images: noisy.shallow_clone(),
    }];
    for method in methods {
        let mut progress = run.progress(&method.name, config.sampler.repeats as u64, 0);
        let (mut x, mut seconds) = (noisy.shallow_clone(), 0.0);
        for repeats in 1..=config.sampler.repeats {
            let began = Instant::now();
            let mut parts = Vec::new();
            for from in (0..n).step_by(config.eval.batch_size) {
                if run.should_stop() {
                    return Err(ebm_core::Error::stopped().into());
                }
                let size = (config.eval.batch_size as i64).min(n - from);
                parts.push((method.apply)(&x.f_narrow(0, from, size)?)?);
            }
            x = Tensor::f_cat(&parts, 0)?;
            seconds += began.elapsed().as_secs_f64();
            results.push(Denoised {
                name: method.name.clone(),
                repeats,
                evaluations: repeats as u64 * method.evaluations,
                macs: repeats as u64 * method.macs,
                seconds: seconds / n as f64,
                errors: errors(&x)?,
                images: x.shallow_clone(),
            });
            progress.update(repeats as u64, None);
        }
    }
    Ok(Level { fraction, results })
}

pub fn evaluate(config: &Config, data: &Data, models: &Models, run: &mut Run) -> anyhow::Result<Status> {
    let methods = methods(config, models, run.seed())?;
    let [near, far] = [0, 1].map(|i| level(config, data, &methods, i, run));
    let [near, far] = [near?, far?];
    let resampling =
        Bootstrap { n_resamples: config.eval.n_resamples, seed: run.seed(), ..Bootstrap::default() };
    let estimate = |r: &Denoised| psnr_interval(&r.errors, &resampling);
    judge(config, &near, &far, &estimate, run)?;
    for level in [&near, &far] {
        report(config, level, &estimate, run)?;
    }
    compute(config, &near, run)?;
    energies(&models.ebt, &near, "near", run)?;
    energies(&models.ebt, &far, "far", run)?;
    run.report.metric("alpha", models.ebt.alpha().f_double_value(&[])?);
    for name in ["ebt", "dit", "regressor"] {
        run.report.metric(&format!("training_macs_per_image_{name}"), config.training_macs(name) as f64);
    }
    figures::draw(config, data, [&near, &far], run)?;
    Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
}

fn judge(
    config: &Config,
    near: &Level,
    far: &Level,
    estimate: &dyn Fn(&Denoised) -> Result<Estimate>,
    run: &mut Run,
) -> anyhow::Result<()> {
    let dit = format!("dit-{}", config.sampler.ddim_steps);
    for (gate, found, control) in [
        ("psnr_noisy", near.find("ebt", 1)?, near.find("noisy", 0)?),
        ("psnr_dit", near.find("ebt", 1)?, near.find(&dit, 1)?),
        ("psnr_steps", far.find("ebt", 3)?, far.find("ebt", 1)?),
        ("psnr_dit_far", far.find("ebt", 3)?, far.find(&dit, 3)?),
    ] {
        if run.report.has_gate(gate) {
            let Estimate { value, interval } = estimate(found)?;
            run.report.judge_against(gate, value, Some((interval.low, interval.high)), control.psnr())?;
        }
    }
    Ok(())
}

/// Metrics and the table of one noise.
fn report(
    config: &Config,
    level: &Level,
    estimate: &dyn Fn(&Denoised) -> Result<Estimate>,
    run: &mut Run,
) -> anyhow::Result<()> {
    let step = config.model.step_macs() as f64;
    let mut table = Vec::new();
    for r in &level.results {
        let Estimate { value, interval } = estimate(r)?;
        let metric = format!("psnr_{}_x{}_at_{}", r.name, r.repeats, level.fraction);
        match r.name.as_str() {
            "ebt" => run.report.metric(&metric, value),
            "noisy" => run.report.control("noisy", &[(metric.as_str(), value)]),
            "regressor" => run.report.control("regressor", &[(metric.as_str(), value)]),
            _ => run.report.control("dit", &[(metric.as_str(), value)]),
        }
        table.push(vec![
            r.name.clone(),
            r.repeats.to_string(),
            r.evaluations.to_string(),
            format!("{:.1} M", r.macs as f64 / 1e6),
            format!("{:.2}", r.macs as f64 / step),
            format!("{:.2}", 1e3 * r.seconds),
            format!("{value:.2} [{:.2}, {:.2}]", interval.low, interval.high),
        ]);
    }
    run.report.table(
        &format!("Noise of {} of the schedule", level.fraction),
        &[
            "method",
            "applied",
            "network evaluations",
            "multiply-accumulates an image, forward and backward",
            "in steps of EBT",
            "ms an image",
            "PSNR in dB (95% interval over images)",
        ],
        table,
    );
    Ok(())
}

/// What "fewer passes" means in multiply-accumulates and seconds.
fn compute(config: &Config, near: &Level, run: &mut Run) -> anyhow::Result<()> {
    let dit = near.find(&format!("dit-{}", config.sampler.ddim_steps), 1)?;
    let (ebt, regressor) = (near.find("ebt", 1)?, near.find("regressor", 1)?);
    let macs = dit.macs as f64 / ebt.macs as f64;
    let seconds = dit.seconds / ebt.seconds;
    run.report.metric("macs_dit_over_ebt", macs);
    run.report.metric("seconds_dit_over_ebt", seconds);
    run.report.metric("macs_ebt_over_regressor", ebt.macs as f64 / regressor.macs as f64);
    run.report.metric("seconds_ebt_over_regressor", ebt.seconds / regressor.seconds);
    run.report.note(&format!(
        "One step of EBT is one evaluation and its gradient against {} evaluations of DiT: {macs:.1} times fewer multiply-accumulates and {seconds:.1} times less time. The regressor takes {:.2} times fewer multiply-accumulates than EBT.",
        dit.evaluations,
        ebt.macs as f64 / regressor.macs as f64
    ));
    Ok(())
}

/// The mean energy before and after each step, and how often a step lowered it.
fn energies(ebt: &ImageEbt, level: &Level, name: &str, run: &mut Run) -> anyhow::Result<()> {
    let energy = |x: &Tensor| tch::no_grad(|| ebt.energy_graph(x));
    let mut before = energy(&level.find("noisy", 0)?.images)?;
    for repeats in 1..=3 {
        let after = energy(&level.find("ebt", repeats)?.images)?;
        let drop = before.f_sub(&after)?;
        let fell = drop.f_gt(0.0)?.f_to_kind(Kind::Double)?.f_mean(Kind::Double)?;
        let mean = drop.f_mean(Kind::Double)?;
        run.report.metric(&format!("energy_drop_{name}_{repeats}"), mean.f_double_value(&[])?);
        run.report.metric(&format!("energy_fell_{name}_{repeats}"), fell.f_double_value(&[])?);
        before = after;
    }
    Ok(())
}
