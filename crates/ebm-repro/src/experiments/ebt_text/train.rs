//! Training of both stages, of the baseline, and counting of the trigram.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use ebm_core::torch::Params;
use ebm_models::ebt::{Baseline, EbtObjective, EbtText, NextToken};
use ebm_models::ngram::Trigram;
use ebm_train::{Outcome, TokenSource, TrainerConfig, tensors};
use tch::Tensor;

use super::config::{Config, PolicySection};
use super::data::Data;
use crate::experiments::training::Training;
use crate::run::Run;
use crate::usage::usage;

/// Seconds that each training took in this process.
pub type Seconds = BTreeMap<String, f64>;

fn no_pictures(_: &Tensor) -> anyhow::Result<Vec<u8>> {
    anyhow::bail!("text has no pictures")
}

/// One training on the text.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub config: &'a Config,
    pub data: &'a Data,
    /// Names its files; `s1` is the model of the run.
    pub label: &'a str,
    /// Of the first weights, the windows and the starts.
    pub seed: u64,
}

/// Train one stage, or load it (the model of the run alone) when `--weights` was given.
pub fn ebt(
    job: Job<'_>,
    policy: &PolicySection,
    seconds: &mut Seconds,
    run: &mut Run,
) -> anyhow::Result<(EbtText, Outcome)> {
    let Job { config, label, seed, .. } = job;
    let mut params = Params::new(seed, run.device());
    let net = EbtText::new(&config.ebt(policy), &mut params)?;
    let is_main = label == "s1";
    if let Some(path) = run.weights().filter(|_| is_main) {
        // Wrong weights are a mistake of whoever typed them, not a crash.
        let load = || params.load(&tensors::load(path)?);
        load().map_err(|e| usage(format!("--weights {}: {e}", path.display())))?;
        return Ok((net, Outcome::Complete));
    }
    let learned = policy.step_size_lr_factor > 0.0;
    let mut objective = EbtObjective::new(policy.descent, learned, seed)?
        .with_gradients(policy.gradients)?
        .with_compute(policy.compute)?;
    if let Some(replay) = policy.replay {
        objective = objective.with_replay(replay)?;
    }
    let training = training(config, label, !is_main, config.ebt_trainer(policy));
    let mut source = source(job, run);
    let start = Instant::now();
    let outcome = training.run(&net, &params, &mut objective, &mut source, run)?;
    seconds.insert(label.to_owned(), start.elapsed().as_secs_f64());
    if outcome == Outcome::Complete {
        let path = if is_main { run.weights_path() } else { run.out().join(format!("{label}.safetensors")) };
        tensors::save(&path, &named(&params))?;
    }
    Ok((net, outcome))
}

/// Train the baseline for `n_steps` steps.
pub fn baseline(
    job: Job<'_>,
    n_steps: u64,
    seconds: &mut Seconds,
    run: &mut Run,
) -> anyhow::Result<(Baseline, Outcome)> {
    let Job { config, label, seed, .. } = job;
    let mut params = Params::new(seed, run.device());
    let net = Baseline::new(&config.baseline(), &mut params)?;
    let mut objective = NextToken { compute: config.trainer.baseline_compute, ..NextToken::default() };
    let training = training(config, label, true, config.baseline_trainer(n_steps));
    let mut source = source(job, run);
    let start = Instant::now();
    let outcome = training.run(&net, &params, &mut objective, &mut source, run)?;
    seconds.insert(label.to_owned(), start.elapsed().as_secs_f64());
    if outcome == Outcome::Complete {
        tensors::save(&run.out().join(format!("{label}.safetensors")), &named(&params))?;
    }
    Ok((net, outcome))
}

/// A trigram of exactly the windows that the networks of the plain length saw, and its delta.
pub fn trigram(config: &Config, data: &Data, run: &Run) -> anyhow::Result<(Trigram, f64)> {
    let mut trigram = Trigram::new(config.model.vocabulary)?;
    let n_batches = config.s1.n_steps * config.trainer.accumulate;
    for step in 0..n_batches {
        let windows = data.train.random(run.seed(), step, config.trainer.batch_size);
        for row in data.train.tokens(&windows)?.rows() {
            trigram.count(row.as_slice().context("rows of tokens lie together")?)?;
        }
    }
    let every = (data.validation.n_in_order() / config.eval.n_windows).max(1);
    let chosen: Vec<_> = data.validation.in_order().step_by(every).collect();
    let tokens = data.validation.tokens(&chosen)?;
    let rows: Vec<&[i64]> = tokens.rows().into_iter().filter_map(|row| row.to_slice()).collect();
    let (delta, _) = trigram.best_delta(&rows, &config.eval.deltas)?;
    Ok((trigram, delta))
}

fn training<'a>(
    config: &'a Config,
    label: &'a str,
    is_control: bool,
    trainer: TrainerConfig,
) -> Training<'a> {
    let (identity, keep_last) = (config.identity.as_str(), config.trainer.keep_last);
    Training { label, is_control, config: trainer, identity, keep_last, grid: no_pictures }
}

fn source(job: Job<'_>, run: &Run) -> TokenSource {
    TokenSource::new(Arc::clone(&job.data.train), job.config.trainer.batch_size, job.seed, run.device())
}

fn named(params: &Params) -> Vec<(String, Tensor)> {
    params.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
}
