//! The training objective of EBT on tokens: the cross-entropy of the candidates that a descent reaches.
//!
//! S1: `K` steps, each differentiated by itself, the loss after every step. S2: a random number of steps with noise
//! and random step sizes, the loss and the derivative on the last, some rows continued from the replay queue.
//! Energies are never supervised; there are no negatives and no normaliser. Source: EBT (arXiv 2507.02092).

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use ebm_samplers::ReplayQueue;
use ebm_samplers::descent::{
    Descended, Descent, Graph, LossOn, MIN_STEP_SIZE, Noise, Normaliser, StepFactor, Steps, largest_curvature,
};
use ebm_train::optim::Named;
use ebm_train::{Batch, Loss, Objective};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::fused::FusedText;
use super::text::{EbtText, cross_entropy};

/// The published S1: `n_steps` steps (2 on text), detached between them, the mean loss over all of them.
pub fn s1(n_steps: usize) -> Descent {
    Descent {
        n_steps: Steps::Fixed(n_steps),
        normaliser: Normaliser::Softmax,
        graph: Graph::PerStep,
        loss_on: LossOn::EveryStep,
        ..Descent::default()
    }
}

/// The published S2 with Langevin noise of this standard deviation on the logits (3 in the paper): 2 or 3 steps, a
/// step size between half and twice alpha for each position, loss and derivative on the last step.
pub fn s2(noise_std: f64) -> Descent {
    Descent {
        n_steps: Steps::Between { from: 2, to: 3 },
        normaliser: Normaliser::Softmax,
        noise: Noise { std: noise_std, ..Noise::default() },
        step_factor: Some(StepFactor { low: 0.5, high: 2.0 }),
        graph: Graph::LastStep,
        loss_on: LossOn::LastStep,
        ..Descent::default()
    }
}

/// Continuing earlier candidates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayShare {
    /// Pairs kept; 192 in the paper.
    pub capacity: usize,
    /// Replayed rows per fresh row; 0.5 in the paper.
    pub share: f64,
}

/// Who takes the gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gradients {
    /// LibTorch, by differentiating the graph of the inner gradient: any device and type, any policy.
    #[default]
    Autograd,
    /// Hand-derived, in f32 on the CPU, for `per_step` and `last_step`: the same numbers in less time.
    Fused,
}

/// What a network is computed in; its weights and the optimiser keep their type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compute {
    /// The weights' own type.
    #[default]
    Full,
    /// bf16 by explicit casts; norms, softmax, energies and the descent's steps stay as they are. Meant for CUDA, where
    /// it was never run.
    Bf16,
}

impl Compute {
    /// The type to cast to, if any.
    pub fn kind(self) -> Option<Kind> {
        (self == Self::Bf16).then_some(Kind::BFloat16)
    }
}

/// See the module.
#[derive(Debug)]
pub struct EbtObjective {
    descent: Descent,
    learn_step_size: bool,
    replay: Option<(ReplayShare, ReplayQueue)>,
    padding: Option<i64>,
    gradients: Gradients,
    compute: Compute,
    fused: Option<FusedText>,
    seed: u64,
    /// One sequence of the last batch, for the diagnostics.
    last_row: Option<(Tensor, u64)>,
}

impl EbtObjective {
    /// Training by `descent`; alpha is learned where `learn_step_size` says so (S1; S2's is fixed).
    ///
    /// # Errors
    /// A descent without a graph, or with settings that do not make sense.
    pub fn new(descent: Descent, learn_step_size: bool, seed: u64) -> Result<Self> {
        descent.check()?;
        if descent.graph == Graph::None {
            return Err(Error::bad_value("descent.graph", "none", "per_step, last_step or full", ""));
        }
        Ok(Self {
            descent,
            learn_step_size,
            replay: None,
            padding: None,
            gradients: Gradients::Autograd,
            compute: Compute::Full,
            fused: None,
            seed,
            last_row: None,
        })
    }

    /// Continue earlier candidates.
    ///
    /// # Errors
    /// A capacity of 0 or a share that is not above 0.
    pub fn with_replay(mut self, share: ReplayShare) -> Result<Self> {
        if !(share.share > 0.0 && share.share.is_finite()) {
            return Err(Error::bad_value(
                "replay.share",
                share.share,
                "above 0",
                "leave replay out to do without",
            ));
        }
        self.replay = Some((share, ReplayQueue::new(share.capacity, self.seed)?));
        Ok(self)
    }

    /// Take the gradients in another way.
    ///
    /// # Errors
    /// Fused gradients of a full unroll.
    pub fn with_gradients(mut self, gradients: Gradients) -> Result<Self> {
        if gradients == Gradients::Fused && self.descent.graph == Graph::Full {
            let fix = "set gradients = autograd";
            return Err(Error::bad_value(
                "descent.graph",
                "full",
                "per_step or last_step with fused gradients",
                fix,
            ));
        }
        self.gradients = gradients;
        Ok(self)
    }

    /// Compute the network in another type.
    ///
    /// # Errors
    /// bf16 with fused gradients, which are f32.
    pub fn with_compute(mut self, compute: Compute) -> Result<Self> {
        if compute == Compute::Bf16 && self.gradients == Gradients::Fused {
            let fix = "set gradients = autograd";
            return Err(Error::bad_value("compute", "bf16", "full with fused gradients", fix));
        }
        self.compute = compute;
        Ok(self)
    }

    /// Leave positions out of the loss whose target is this token.
    pub fn with_padding(mut self, token: i64) -> Self {
        self.padding = Some(token);
        self
    }

    /// Fresh rows, then replayed ones, with the start of each row's candidates.
    fn rows(
        &mut self,
        tokens: &Tensor,
        vocabulary: i64,
        kind: Kind,
        rng: &mut TensorRng,
    ) -> Result<(Tensor, Tensor)> {
        let (n, length) = tokens.size2()?;
        let start =
            |n, rng: &mut TensorRng| rng.normal(&[n, length - 1, vocabulary], 1.0, kind, tokens.device());
        let fresh = start(n, rng)?;
        let Some((share, queue)) = &mut self.replay else { return Ok((tokens.shallow_clone(), fresh)) };
        let extra = (share.share * n as f64).round() as usize;
        Ok(match queue.draw(extra)? {
            None => (tokens.shallow_clone(), fresh),
            Some((context, candidate)) => {
                (Tensor::f_cat(&[tokens, &context], 0)?, Tensor::f_cat(&[fresh, candidate], 0)?)
            }
        })
    }
}

impl Objective<EbtText> for EbtObjective {
    /// `batch.x`: tokens `[n, s + 1]`, i64; the first `s` are observed, the last `s` are the targets.
    fn loss(&mut self, net: &EbtText, batch: &Batch, step: u64) -> Result<Loss> {
        let fresh = &batch.x;
        let (n_fresh, length) = fresh.size2()?;
        if length < 2 {
            return Err(Error::shape("tokens of a training row", "at least 2", length));
        }
        let mut rng = TensorRng::new(self.seed, Purpose::Objective);
        rng.begin_step(step);
        let (kind, vocabulary) = (net.alpha().kind(), net.config().vocabulary as i64);
        let (tokens, start) = self.rows(fresh, vocabulary, kind, &mut rng)?;
        let (context, targets) = (tokens.f_narrow(1, 0, length - 1)?, tokens.f_narrow(1, 1, length - 1)?);
        let alpha =
            if self.learn_step_size { net.alpha().shallow_clone() } else { net.alpha().f_detach()? };

        let mut losses = Vec::new();
        let mut mean_loss = |run: &Descended| {
            run.loss(|logits| {
                let loss = cross_entropy(logits, &targets, self.padding)?;
                losses.push(loss.f_detach()?);
                Ok(loss)
            })
        };
        let (run, loss, gradients) = match self.gradients {
            Gradients::Autograd => {
                let cast = self.compute.kind().map(|kind| net.cast(kind)).transpose()?;
                let net = cast.as_ref().unwrap_or(net);
                let observed = net.observe(&context)?;
                let run = self.descent.run(&net.landscape(&observed), &start, &alpha, &mut rng)?;
                let loss = mean_loss(&run)?;
                (run, loss, None)
            }
            Gradients::Fused => {
                let fused = match &mut self.fused {
                    Some(fused) => {
                        fused.refresh(net)?;
                        fused
                    }
                    None => self.fused.insert(FusedText::new(net)?),
                };
                let landscape = fused.landscape(net, &context)?;
                let run = self.descent.run(&landscape, &start, &alpha, &mut rng)?;
                let loss = mean_loss(&run)?;
                let gradients = landscape.gradients(&loss)?;
                (run, loss.f_detach()?, Some(gradients))
            }
        };
        if let Some((_, queue)) = &mut self.replay {
            queue.push(fresh, &run.last.f_narrow(0, 0, n_fresh)?)?;
        }
        self.last_row = Some((context.f_narrow(0, 0, 1)?.f_detach()?, step));
        let mut metrics = run.metrics()?;
        metrics.push(("alpha", net.alpha().f_detach()?));
        if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
            metrics.push(("loss_first", first.shallow_clone()));
            metrics.push(("loss_last", last.shallow_clone()));
        }
        Ok(Loss { loss, gradients, metrics })
    }

    /// Alpha times the largest curvature of one sequence's landscapes, where the descent starts: below 2 while it is
    /// stable there.
    fn diagnostics(&self, net: &EbtText) -> Result<Vec<(&'static str, Tensor)>> {
        let Some((context, step)) = &self.last_row else { return Ok(Vec::new()) };
        let mut rng = TensorRng::new(self.seed, Purpose::Evaluation);
        rng.begin_step(*step);
        let observed = net.observe(context)?;
        let alpha = net.alpha().f_detach()?.f_clamp_min(MIN_STEP_SIZE)?;
        let size = [1, context.size()[1], net.config().vocabulary as i64];
        let start = rng.normal(&size, 1.0, alpha.kind(), alpha.device())?.f_softmax(-1, alpha.kind())?;
        let curvature = largest_curvature(&net.landscape(&observed), &start, 0, 8, &mut rng)?;
        Ok(vec![("alpha_curvature", curvature.f_abs()?.f_max()?.f_mul(&alpha)?)])
    }

    fn state(&self) -> Result<(Named, Value)> {
        let Some((_, queue)) = &self.replay else { return Ok((Vec::new(), Value::Null)) };
        let (pairs, rows) = queue.state();
        let tensors = pairs.map_or_else(Vec::new, |(context, candidate)| {
            vec![
                ("replay.context".to_owned(), context.shallow_clone()),
                ("replay.candidate".to_owned(), candidate.shallow_clone()),
            ]
        });
        Ok((tensors, serde_json::to_value(rows).map_err(Error::user)?))
    }

    fn restore(&mut self, tensors: &Named, state: &Value) -> Result<()> {
        let Some((_, queue)) = &mut self.replay else { return Ok(()) };
        let find = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, t)| t.copy());
        let pairs = find("replay.context").zip(find("replay.candidate"));
        queue.restore(pairs, serde_json::from_value(state.clone()).map_err(Error::user)?);
        Ok(())
    }
}
