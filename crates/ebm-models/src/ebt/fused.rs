//! Training steps of EBT on tokens with hand-derived gradients: the engine as for autograd, but the landscape gives
//! its gradient as a leaf, and what the loss asks of that leaf is carried on to the parameters by
//! [`FusedTransformer::second`].

use std::cell::RefCell;

use ebm_core::{Error, Result};
use ebm_samplers::descent::{At, Landscape, Slope};
use tch::Tensor;

use super::text::EbtText;
use crate::nn::fused::{FusedObserved, FusedTrace, FusedTransformer};

/// The network's weights for [`FusedTransformer`], and memory, from step to step.
#[derive(Debug)]
pub struct FusedText {
    transformer: FusedTransformer,
}

/// A differentiated step: its landscape, what the evaluation left, the leaf that stands for the gradient, and the
/// candidates that it was taken at.
struct Kept {
    index: usize,
    trace: FusedTrace,
    delta: Tensor,
    p: Tensor,
}

/// The landscapes of a batch, with what the second derivative will need.
pub struct FusedLandscape<'a> {
    net: &'a EbtText,
    transformer: &'a FusedTransformer,
    tokens: &'a Tensor,
    observed: Vec<FusedObserved>,
    kept: RefCell<Vec<Kept>>,
}

impl FusedText {
    /// For the present weights of `net`.
    ///
    /// # Errors
    /// A network that is not in f32 on the CPU.
    pub fn new(net: &EbtText) -> Result<Self> {
        let transformer = FusedTransformer::new(net.transformer(), &net.config().transformer)?;
        Ok(Self { transformer })
    }

    /// Read the weights again, after a step of the optimiser.
    ///
    /// # Errors
    /// As [`FusedText::new`].
    pub fn refresh(&mut self, net: &EbtText) -> Result<()> {
        self.transformer.refresh(net.transformer())
    }

    /// The landscapes for `tokens` `[n, s]`, i64.
    ///
    /// # Errors
    /// A sequence longer than the context.
    pub fn landscape<'a>(&'a self, net: &'a EbtText, tokens: &'a Tensor) -> Result<FusedLandscape<'a>> {
        let x = tch::no_grad(|| net.embed(tokens))?;
        let observed = (0..net.config().n_landscapes())
            .map(|i| self.transformer.observe(&x, net.step_token(i)?.as_ref()))
            .collect::<Result<_>>()?;
        Ok(FusedLandscape { net, transformer: &self.transformer, tokens, observed, kept: RefCell::default() })
    }
}

impl FusedLandscape<'_> {
    fn evaluate(&self, p: &Tensor, step: usize) -> Result<(usize, Tensor, Tensor, FusedTrace)> {
        let index = step.min(self.observed.len() - 1);
        let into = self.net.vocab_to_embed();
        let e = tch::no_grad(|| p.f_linear(into, None::<&Tensor>))?;
        let (energy, delta, trace) = self.transformer.slope(&self.observed[index], &e)?;
        Ok((index, energy, delta, trace))
    }

    /// The gradients of `loss`, which a descent on this landscape led to, in the order of the network's parameters.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn gradients(mut self, loss: &Tensor) -> Result<Vec<Tensor>> {
        let kept = self.kept.take();
        let into = self.net.vocab_to_embed();
        let mut leaves = vec![into, self.net.alpha()];
        leaves.extend(kept.iter().map(|k| &k.delta));
        let mut outer = Tensor::f_run_backward(&[loss], &leaves, false, false)?;
        let directions = outer.split_off(2);
        let [into_grad, alpha_grad] = [into, self.net.alpha()].map(|p| p.f_zeros_like());
        let (mut into_grad, mut alpha_grad) = (into_grad?, alpha_grad?);
        for (total, part) in [&mut into_grad, &mut alpha_grad].into_iter().zip(&outer) {
            if part.defined() {
                *total = part.shallow_clone();
            }
        }
        let n = self.tokens.size()[0] as usize;
        let mut gradients = self.transformer.gradients(n);
        for (Kept { index, trace, p, .. }, v) in kept.into_iter().zip(directions) {
            let seen = &mut self.observed[index];
            let de = self.transformer.second(seen, &trace, &v, &mut gradients)?;
            self.transformer.reuse(trace);
            let (de, p) = (de.f_flatten(0, 1)?, p.f_flatten(0, 1)?);
            into_grad = into_grad.f_addmm(&de.f_tr()?, &p)?;
        }
        let mut embeddings_grad = self.net.embeddings().f_zeros_like()?;
        let tokens = self.tokens.f_reshape(-1)?;
        let mut token_grads = Vec::new();
        for mut observed in self.observed {
            let (dx, token) = self.transformer.observe_back(&mut observed, &mut gradients)?;
            embeddings_grad =
                embeddings_grad.f_index_add_(0, &tokens, &dx.f_reshape([tokens.size()[0], -1])?)?;
            token_grads.extend(token);
            self.transformer.reuse_observed(observed);
        }
        let mut named: Vec<(String, Tensor)> = self.transformer.named(gradients)?;
        named.iter_mut().for_each(|(name, _)| *name = format!("transformer.{name}"));
        named.push(("embeddings.weight".to_owned(), embeddings_grad));
        named.push(("vocab_to_embed.weight".to_owned(), into_grad));
        named.push(("alpha".to_owned(), alpha_grad));
        if !token_grads.is_empty() {
            named.push(("transformer.time_embeddings.weight".to_owned(), Tensor::f_stack(&token_grads, 0)?));
        }
        self.net.parameter_names().iter().map(|name| take(&mut named, name)).collect()
    }
}

fn take(named: &mut Vec<(String, Tensor)>, name: &str) -> Result<Tensor> {
    match named.iter().position(|(n, _)| n == name) {
        Some(at) => Ok(named.swap_remove(at).1),
        None => Err(Error::user(format!("there is no hand-derived gradient of '{name}'"))),
    }
}

impl Landscape for FusedLandscape<'_> {
    /// Without a graph: power iteration takes the autograd landscape.
    fn energy(&self, p: &Tensor, at: &mut At<'_>) -> Result<Tensor> {
        let (_, energy, _, trace) = self.evaluate(p, at.step)?;
        self.transformer.reuse(trace);
        Ok(energy)
    }

    /// With `graph` the gradient depends on a leaf that [`FusedLandscape::gradients`] reads; candidates must be
    /// detached, so a full unroll is not for this landscape.
    fn slope(&self, p: &Tensor, at: &mut At<'_>, graph: bool) -> Result<Slope> {
        if graph && p.requires_grad() {
            let fix = "take the autograd path for graph = full";
            return Err(Error::bad_value("graph", "full", "per_step or last_step with fused gradients", fix));
        }
        let (index, energy, delta, trace) = self.evaluate(p, at.step)?;
        let into = self.net.vocab_to_embed();
        if !graph {
            self.transformer.reuse(trace);
            return Ok(Slope { energy, gradient: tch::no_grad(|| delta.f_matmul(into))? });
        }
        let delta = delta.set_requires_grad(true);
        let gradient = tch::with_grad(|| delta.f_matmul(into))?;
        self.kept.borrow_mut().push(Kept { index, trace, delta, p: p.shallow_clone() });
        Ok(Slope { energy, gradient })
    }
}
