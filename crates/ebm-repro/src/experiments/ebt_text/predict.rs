//! Predictions of a trained network on windows: the surprise of every byte after every step, and its energies.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_models::ebt::{Baseline, EbtText, FusedText, Gradients, cross_entropies};
use ebm_models::ngram::Trigram;
use ebm_samplers::descent::{At, BestOf, Criterion, Descent, Landscape, LossOn};
use tch::{Kind, Tensor};

use super::config::{Config, PolicySection};
use crate::run::Run;

/// Numbers of all positions, window after window.
pub type Values = Vec<f64>;

/// One descent from one start on every position.
pub struct Descents {
    /// Nats of the true byte after each step.
    pub nats: Vec<Values>,
    /// Energies where the steps started.
    pub energies: Vec<Values>,
    /// Energy of the last candidate.
    pub last_energy: Values,
}

/// Several descents from starts of their own.
pub struct Verified {
    /// Nats of each candidate.
    pub each: Vec<Values>,
    /// Nats of the candidate with the lowest energy.
    pub chosen: Values,
    /// Mean Kullback-Leibler divergence of the second candidate from the first, in nats.
    pub diversity: f64,
}

/// A trained stage, ready to predict.
pub struct Predictor<'a> {
    net: &'a EbtText,
    policy: &'a PolicySection,
    fused: Option<FusedText>,
    seed: u64,
    batch_size: i64,
}

fn values(t: &Tensor) -> anyhow::Result<Values> {
    Ok(Vec::try_from(&t.f_detach()?.f_to_kind(Kind::Double)?.f_reshape(-1)?)?)
}

impl<'a> Predictor<'a> {
    pub fn new(
        config: &Config,
        net: &'a EbtText,
        policy: &'a PolicySection,
        run: &Run,
    ) -> anyhow::Result<Self> {
        let fused = (policy.gradients == Gradients::Fused).then(|| FusedText::new(net)).transpose()?;
        Ok(Self { net, policy, fused, seed: run.seed(), batch_size: config.eval.batch_size as i64 })
    }

    /// Call `each` with the landscapes, the targets and the start of every batch of windows `[n, context + 1]`; starts
    /// are numbered by (`draw`, batch), so that two models get the same ones.
    fn batches(
        &self,
        windows: &Tensor,
        draw: u64,
        mut each: impl FnMut(&dyn Landscape, &Tensor, &Tensor, &mut TensorRng) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (n, length) = windows.size2()?;
        let vocabulary = self.net.config().vocabulary as i64;
        for from in (0..n).step_by(self.batch_size as usize) {
            let rows = windows.f_narrow(0, from, self.batch_size.min(n - from))?;
            let (context, targets) = (rows.f_narrow(1, 0, length - 1)?, rows.f_narrow(1, 1, length - 1)?);
            let mut rng =
                TensorRng::new(self.seed, Purpose::Evaluation).from_step((draw << 32) + from as u64);
            let size = [rows.size()[0], length - 1, vocabulary];
            let start = rng.normal(&size, 1.0, Kind::Float, windows.device())?;
            match &self.fused {
                Some(fused) => each(&fused.landscape(self.net, &context)?, &targets, &start, &mut rng)?,
                None => {
                    let observed = tch::no_grad(|| self.net.observe(&context))?;
                    each(&self.net.landscape(&observed), &targets, &start, &mut rng)?;
                }
            }
        }
        Ok(())
    }

    fn descent(&self, n_steps: usize) -> Descent {
        self.policy.descent.prediction(n_steps, self.policy.predict_noise)
    }

    /// One descent of `n_steps` steps on every position.
    pub fn descend(&self, windows: &Tensor, n_steps: usize) -> anyhow::Result<Descents> {
        let descent = Descent { loss_on: LossOn::EveryStep, ..self.descent(n_steps) };
        let alpha = self.net.alpha().f_detach()?;
        let (mut nats, mut energies) = (vec![Values::new(); n_steps], vec![Values::new(); n_steps]);
        let mut last_energy = Values::new();
        self.batches(windows, 0, |landscape, targets, start, rng| {
            let done = descent.run(landscape, start, &alpha, rng)?;
            for (i, (y, energy)) in done.kept.iter().zip(&done.energies).enumerate() {
                nats[i].extend(values(&cross_entropies(y, targets)?)?);
                energies[i].extend(values(energy)?);
            }
            last_energy.extend(values(&final_energy(landscape, &done.last, n_steps, rng)?)?);
            Ok(())
        })?;
        Ok(Descents { nats, energies, last_energy })
    }

    /// `n_candidates` descents of `n_steps` steps, and the one that the energy likes best at each position.
    pub fn verify(&self, windows: &Tensor, n_steps: usize, n_candidates: usize) -> anyhow::Result<Verified> {
        let descent = self.descent(n_steps);
        let alpha = self.net.alpha().f_detach()?;
        let mut each = vec![Values::new(); n_candidates];
        let (mut chosen, mut divergences) = (Values::new(), Values::new());
        self.batches(windows, 1, |landscape, targets, _, rng| {
            let mut best = BestOf::new(Criterion::LowestEnergy);
            let mut first: Option<Tensor> = None;
            for (m, nats) in each.iter_mut().enumerate() {
                let size = [targets.size()[0], targets.size()[1], self.net.config().vocabulary as i64];
                let start = rng.normal(&size, 1.0, Kind::Float, targets.device())?;
                let done = descent.run(landscape, &start, &alpha, rng)?;
                let surprise = cross_entropies(&done.last, targets)?;
                nats.extend(values(&surprise)?);
                let energy = final_energy(landscape, &done.last, n_steps, rng)?;
                best.offer(&surprise, &done.energies[0], &energy)?;
                let log_p = done.last.f_log_softmax(-1, Kind::Float)?;
                match &first {
                    None => first = Some(log_p),
                    Some(first) if m == 1 => {
                        let terms = first.f_exp()?.f_mul(&first.f_sub(&log_p)?)?;
                        divergences.extend(values(&terms.f_sum_dim_intlist(
                            [-1i64].as_slice(),
                            false,
                            Kind::Float,
                        )?)?);
                    }
                    Some(_) => {}
                }
            }
            chosen.extend(values(&best.finish()?.0)?);
            Ok(())
        })?;
        Ok(Verified { each, chosen, diversity: mean(&divergences) })
    }
}

/// The energy of the last candidate, on the last landscape, without noise.
fn final_energy(
    landscape: &dyn Landscape,
    y: &Tensor,
    step: usize,
    rng: &mut TensorRng,
) -> anyhow::Result<Tensor> {
    let p = y.f_softmax(-1, y.kind())?;
    Ok(tch::no_grad(|| landscape.energy(&p, &mut At { step, noise_std: 0.0, rng }))?)
}

/// The baseline's nats of every byte.
pub fn baseline(net: &Baseline, windows: &Tensor, batch_size: usize) -> anyhow::Result<Values> {
    let (n, length) = windows.size2()?;
    let mut nats = Values::new();
    for from in (0..n).step_by(batch_size) {
        let rows = windows.f_narrow(0, from, (batch_size as i64).min(n - from))?;
        let logits = tch::no_grad(|| net.logits(&rows.f_narrow(1, 0, length - 1)?))?;
        nats.extend(values(&cross_entropies(&logits, &rows.f_narrow(1, 1, length - 1)?)?)?);
    }
    Ok(nats)
}

/// The trigram's nats of every byte.
pub fn trigram(trigram: &Trigram, delta: f64, windows: &Tensor) -> anyhow::Result<Values> {
    let (n, length) = windows.size2()?;
    let tokens: Vec<i64> = Vec::try_from(&windows.f_reshape(-1)?)?;
    let mut nats = Values::with_capacity((n * (length - 1)) as usize);
    for row in tokens.chunks_exact(length as usize) {
        nats.extend(trigram.bits(row, delta)?.iter().map(|bits| bits * std::f64::consts::LN_2));
    }
    Ok(nats)
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Bits per byte of nats.
pub fn bits(nats: &[f64]) -> f64 {
    mean(nats) / std::f64::consts::LN_2
}
