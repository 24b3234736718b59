//! EBT over tokens: the energy of a distribution over the next token, given the tokens before it.
//!
//! `e = p W`, `E_i = T(tokens 0..=i; e_i)`. With `delta = dE/de`, a step in the coordinates of the probabilities is
//! `p - alpha delta W^T`, whose values the next step reads as logits: the softmax overwrites the candidate before
//! each step, and the step is not taken through it. Source: EBT (arXiv 2507.02092).

use ebm_core::torch::{Init, Params};
use ebm_core::{Error, Result};
use ebm_samplers::descent::{At, Landscape, Slope, gradient_of};
use tch::{Kind, Tensor};

use super::config::{EbtTextConfig, Variant};
use crate::nn::{EnergyTransformer, Linear, LinearInit, LinearSpec, Observed};

/// The network. Its parameters are named as in the released code.
#[derive(Debug)]
pub struct EbtText {
    config: EbtTextConfig,
    embeddings: Tensor,
    vocab_to_embed: Linear,
    step_tokens: Option<Tensor>,
    transformer: EnergyTransformer,
    alpha: Tensor,
    parameter_names: Vec<String>,
}

impl EbtText {
    /// A fresh network whose parameters join `params`: token embeddings N(0, 1), step tokens too, every other weight
    /// Xavier-normal.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &EbtTextConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let (vocabulary, width) = (config.vocabulary, config.transformer.width);
        let size = [vocabulary as i64, width as i64];
        let embeddings = params.root().sub("embeddings").parameter("weight", &size, Init::Normal(1.0))?;
        let into = LinearSpec::new(vocabulary, width).without_bias().init(LinearInit::XavierNormal);
        let vocab_to_embed = into.build(params.root().sub("vocab_to_embed"))?;
        let transformer = EnergyTransformer::new(&config.transformer, params.root().sub("transformer"))?;
        let step_tokens = match config.variant {
            Variant::Default => None,
            Variant::TimeEmbedding(n) => {
                let mut root = params.root();
                let mut path = root.sub("transformer");
                let size = [n as i64, width as i64];
                Some(path.sub("time_embeddings").parameter("weight", &size, Init::Normal(1.0))?)
            }
        };
        let alpha = params.root().parameter("alpha", &[], Init::Constant(config.step_size))?;
        let parameter_names = params.named().iter().map(|(name, _)| name.clone()).collect();
        let config = config.clone();
        Ok(Self { config, embeddings, vocab_to_embed, step_tokens, transformer, alpha, parameter_names })
    }

    /// The same network computed in `kind`, as bf16 with f32 weights: see [`EnergyTransformer::cast`]. Energies,
    /// gradients over the vocabulary and alpha stay in the type of the weights. Written for CUDA, never run there.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            config: self.config.clone(),
            embeddings: self.embeddings.f_to_kind(kind)?,
            vocab_to_embed: self.vocab_to_embed.cast(kind)?,
            step_tokens: self.step_tokens.as_ref().map(|t| t.f_to_kind(kind)).transpose()?,
            transformer: self.transformer.cast(kind)?,
            alpha: self.alpha.shallow_clone(),
            parameter_names: self.parameter_names.clone(),
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &EbtTextConfig {
        &self.config
    }

    /// The parameters' names, in the order of [`Params`].
    pub fn parameter_names(&self) -> &[String] {
        &self.parameter_names
    }

    /// The step size alpha, 0-d.
    pub fn alpha(&self) -> &Tensor {
        &self.alpha
    }

    /// The transformer, for code that computes with its weights directly.
    pub fn transformer(&self) -> &EnergyTransformer {
        &self.transformer
    }

    /// Token embeddings `[vocabulary, width]`.
    pub fn embeddings(&self) -> &Tensor {
        &self.embeddings
    }

    /// The map of a distribution into the width, `[width, vocabulary]`; its transpose maps a gradient back.
    pub fn vocab_to_embed(&self) -> &Tensor {
        self.vocab_to_embed.weight()
    }

    /// Step tokens `[n_landscapes, width]`, where the variant has them.
    pub fn step_tokens(&self) -> Option<&Tensor> {
        self.step_tokens.as_ref()
    }

    /// Whether `tokens` `[n, s]`, i64, are within the vocabulary and the context. It waits for the device.
    ///
    /// # Errors
    /// Names the first token that is not, or the length.
    pub fn check_tokens(&self, tokens: &Tensor) -> Result<()> {
        check_tokens(tokens, self.config.vocabulary, self.config.transformer.context)
    }

    /// Pass the observed stream over `tokens` `[n, s]`, i64, once for every landscape, with graph.
    ///
    /// # Errors
    /// A sequence longer than the context.
    pub fn observe(&self, tokens: &Tensor) -> Result<Vec<Observed>> {
        let x = self.embed(tokens)?;
        (0..self.config.n_landscapes())
            .map(|i| self.transformer.observe(&x, self.step_token(i)?.as_ref()))
            .collect()
    }

    /// The step token `[width]` of a landscape, where the variant has them.
    pub(super) fn step_token(&self, landscape: usize) -> Result<Option<Tensor>> {
        Ok(self.step_tokens.as_ref().map(|t| t.f_select(0, landscape as i64)).transpose()?)
    }

    /// Let the observed streams grow by `tokens` `[n, s]`.
    ///
    /// # Errors
    /// More tokens than the context holds.
    pub fn observe_more(&self, tokens: &Tensor, observed: &mut [Observed]) -> Result<()> {
        let x = self.embed(tokens)?;
        observed.iter_mut().try_for_each(|observed| self.transformer.observe_more(&x, observed))
    }

    pub(super) fn embed(&self, tokens: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_embedding(&self.embeddings, tokens, -1, false, false)?)
    }

    /// The landscapes over candidates `[n, s, vocabulary]` for the tokens after each of the observed ones.
    pub fn landscape<'a>(&'a self, observed: &'a [Observed]) -> TextLandscape<'a> {
        TextLandscape { net: self, observed: Seen::Once(observed), is_next: false }
    }

    /// The landscapes over candidates `[n, 1, vocabulary]` for the token after all observed ones.
    pub fn next_landscape<'a>(&'a self, observed: &'a [Observed]) -> TextLandscape<'a> {
        TextLandscape { net: self, observed: Seen::Once(observed), is_next: true }
    }

    /// The same landscapes as of [`EbtText::landscape`] after [`EbtText::observe`], passing the observed stream anew
    /// at every step, as the released code does: the oracle for the others, and what they are timed against.
    pub fn recomputing_landscape<'a>(&'a self, tokens: &'a Tensor) -> TextLandscape<'a> {
        TextLandscape { net: self, observed: Seen::Anew(tokens), is_next: false }
    }
}

/// Whether `tokens` `[n, s]`, i64, are within `vocabulary` and not longer than `context`. It waits for the device.
///
/// # Errors
/// Names the first token that is not, or the length.
pub fn check_tokens(tokens: &Tensor, vocabulary: usize, context: usize) -> Result<()> {
    let s = tokens.size().last().copied().unwrap_or(0) as usize;
    if s == 0 || tokens.numel() == 0 {
        return Err(Error::bad_value(
            "tokens",
            "an empty sequence",
            "at least one token",
            "give a longer prompt",
        ));
    }
    if s > context {
        let fix = "cut the text, or train a model with a longer model.transformer.context";
        return Err(Error::bad_value("length of the text", s, format!("at most the context {context}"), fix));
    }
    let all: Vec<i64> = Vec::try_from(&tokens.f_reshape(-1)?)?; // host read: checks what a user gave
    match all.iter().position(|t| *t < 0 || *t >= vocabulary as i64) {
        None => Ok(()),
        Some(at) => {
            let limit = format!("below the vocabulary's {vocabulary} (position {at})");
            Err(Error::bad_value(
                "token",
                all[at],
                limit,
                "use the tokeniser that the model was trained with",
            ))
        }
    }
}

enum Seen<'a> {
    Once(&'a [Observed]),
    Anew(&'a Tensor),
}

/// The landscapes of an [`EbtText`] given observed tokens; candidates are distributions over the vocabulary.
pub struct TextLandscape<'a> {
    net: &'a EbtText,
    observed: Seen<'a>,
    is_next: bool,
}

impl TextLandscape<'_> {
    fn energies(&self, e: &Tensor, step: usize) -> Result<Tensor> {
        let index = step.min(self.net.config.n_landscapes() - 1);
        let transformer = &self.net.transformer;
        let anew;
        let observed = match &self.observed {
            Seen::Once(all) => {
                all.get(index).ok_or_else(|| Error::shape("landscapes", index + 1, all.len()))?
            }
            Seen::Anew(tokens) => {
                anew = self.net.observe(tokens)?;
                &anew[index]
            }
        };
        if self.is_next { transformer.energy_of_next(e, observed) } else { transformer.energies(e, observed) }
    }
}

impl Landscape for TextLandscape<'_> {
    fn energy(&self, p: &Tensor, at: &mut At<'_>) -> Result<Tensor> {
        let p = p.f_to_kind(self.net.vocab_to_embed().kind())?;
        self.energies(&self.net.vocab_to_embed.forward(&p)?, at.step)
    }

    /// The gradient is taken to the width and mapped to the vocabulary by a product, so that no graph of the
    /// vocabulary's size is differentiated twice.
    fn slope(&self, p: &Tensor, at: &mut At<'_>, graph: bool) -> Result<Slope> {
        let into = self.net.vocab_to_embed();
        let (kind, p) = (p.kind(), p.f_to_kind(into.kind())?);
        let e = if graph {
            p.f_linear(into, None::<&Tensor>)?
        } else {
            tch::no_grad(|| p.f_linear(into, None::<&Tensor>))?
        };
        let e = if e.requires_grad() { e } else { e.set_requires_grad(true) };
        let energy = tch::with_grad(|| self.energies(&e, at.step))?;
        let delta = gradient_of(&energy, &e, graph)?;
        if graph {
            return Ok(Slope { gradient: delta.f_matmul(into)?.f_to_kind(kind)?, energy });
        }
        let gradient = tch::no_grad(|| delta.f_matmul(into)?.f_to_kind(kind))?;
        Ok(Slope { gradient, energy: energy.f_detach()? })
    }
}

/// The cross-entropy in nats of logits `[n, s, vocabulary]` at `targets` `[n, s]`: the mean over the positions whose
/// target is not `padding`.
///
/// # Errors
/// Shapes that do not fit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, padding: Option<i64>) -> Result<Tensor> {
    let vocabulary = *logits.size().last().unwrap_or(&1);
    let rows = logits.f_reshape([-1, vocabulary])?;
    let (reduction, ignored) = (tch::Reduction::Mean, padding.unwrap_or(-100));
    Ok(rows.f_cross_entropy_loss(&targets.f_reshape(-1)?, None::<&Tensor>, reduction, ignored, 0.0)?)
}

/// The cross-entropy in nats of each position, `[n, s]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn cross_entropies(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let log_probs = logits.f_log_softmax(-1, Kind::Float)?;
    Ok(log_probs.f_gather(-1, &targets.f_unsqueeze(-1)?, false)?.f_squeeze_dim(-1)?.f_neg()?)
}
