//! Llama-style transformer blocks (RMSNorm before each part, rotary positions, SwiGLU, no biases) in two uses that
//! share them: [`CausalTransformer`], and [`EnergyTransformer`], which gives one energy to each candidate.
//!
//! Sources: Llama 2 (arXiv 2307.09288) for the block; EBWM (arXiv 2406.08862) and EBT (arXiv 2507.02092) for the
//! energy form. Parameters are named as in EBT's released code.

use ebm_core::torch::Path;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::attention::{KeysValues, attend, attend_with_self, causal_mask, merge_heads, split_heads};
use super::{Linear, LinearInit, LinearSpec, RmsNorm, Rope, SwiGlu};

/// Sizes of the blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads; the width is a multiple, and each head has an even number of coordinates.
    pub n_heads: usize,
    /// Hidden width of SwiGLU; EBT's is the width itself.
    pub hidden: usize,
    /// Longest sequence.
    pub context: usize,
    /// Added to the mean square.
    #[serde(default = "default_norm_eps")]
    pub norm_eps: f64,
    /// Base of the rotary positions.
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f64,
}

fn default_norm_eps() -> f64 {
    1e-5
}

fn default_rope_theta() -> f64 {
    10_000.0
}

impl TransformerConfig {
    /// Blocks with EBT's defaults: SwiGLU as wide as the stream, `eps` 1e-5, `theta` 10,000.
    pub fn new(n_layers: usize, width: usize, n_heads: usize, context: usize) -> Self {
        let (norm_eps, rope_theta) = (default_norm_eps(), default_rope_theta());
        Self { n_layers, width, n_heads, hidden: width, context, norm_eps, rope_theta }
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("model.n_layers", self.n_layers),
            ("model.width", self.width),
            ("model.n_heads", self.n_heads),
            ("model.hidden", self.hidden),
            ("model.context", self.context),
        ];
        for (name, value) in sizes {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if !self.width.is_multiple_of(2 * self.n_heads) {
            let limit = format!("a multiple of 2 n_heads = {}", 2 * self.n_heads);
            return Err(Error::bad_value("model.width", self.width, limit, ""));
        }
        if !(self.norm_eps > 0.0 && self.rope_theta > 1.0) {
            let found = format!("{} and {}", self.norm_eps, self.rope_theta);
            return Err(Error::bad_value("model.norm_eps and rope_theta", found, "above 0, and above 1", ""));
        }
        Ok(())
    }

    /// Coordinates of a head.
    pub fn head_dim(&self) -> usize {
        self.width / self.n_heads
    }

    /// Trainable numbers of the blocks and the last norm.
    pub fn n_parameters(&self) -> u64 {
        let block = 4 * self.width * self.width + 3 * self.width * self.hidden + 2 * self.width;
        (self.n_layers * block + self.width) as u64
    }

    /// Multiply-accumulates of one position's products with weights, all blocks.
    pub fn weight_macs(&self) -> u64 {
        (self.n_layers * (4 * self.width * self.width + 3 * self.width * self.hidden)) as u64
    }

    /// Multiply-accumulates of one position's attention over `n_keys` keys, all blocks: scores and values.
    pub fn attention_macs(&self, n_keys: usize) -> u64 {
        (self.n_layers * 2 * n_keys * self.width) as u64
    }
}

/// One block. Public fields are for code that computes with its weights directly.
#[derive(Debug)]
pub struct Block {
    /// Before attention.
    pub attention_norm: RmsNorm,
    /// Queries.
    pub wq: Linear,
    /// Keys.
    pub wk: Linear,
    /// Values.
    pub wv: Linear,
    /// Out of attention.
    pub wo: Linear,
    /// Before the feed-forward layer.
    pub ffn_norm: RmsNorm,
    /// The feed-forward layer.
    pub feed_forward: SwiGlu,
    n_heads: usize,
}

impl Block {
    fn new(config: &TransformerConfig, mut path: Path<'_>) -> Result<Self> {
        let TransformerConfig { width, hidden, n_heads, norm_eps, .. } = *config;
        let square = LinearSpec::new(width, width).without_bias().init(LinearInit::XavierNormal);
        let mut attention = path.sub("attention");
        Ok(Self {
            wq: square.build(attention.sub("wq"))?,
            wk: square.build(attention.sub("wk"))?,
            wv: square.build(attention.sub("wv"))?,
            wo: square.build(attention.sub("wo"))?,
            feed_forward: SwiGlu::new(width, hidden, path.sub("feed_forward"))?,
            attention_norm: RmsNorm::new(width, norm_eps, path.sub("attention_norm"))?,
            ffn_norm: RmsNorm::new(width, norm_eps, path.sub("ffn_norm"))?,
            n_heads,
        })
    }

    fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            attention_norm: self.attention_norm.shallow_clone(),
            wq: self.wq.cast(kind)?,
            wk: self.wk.cast(kind)?,
            wv: self.wv.cast(kind)?,
            wo: self.wo.cast(kind)?,
            ffn_norm: self.ffn_norm.shallow_clone(),
            feed_forward: self.feed_forward.cast(kind)?,
            n_heads: self.n_heads,
        })
    }

    /// Queries, keys (both turned to the positions from `first`) and values of `x` `[n, s, width]`.
    fn project(&self, x: &Tensor, rope: &Rope, first: usize) -> Result<(Tensor, KeysValues)> {
        let x = self.attention_norm.forward(x)?;
        let heads = |w: &Linear| split_heads(&w.forward(&x)?, self.n_heads);
        let q = rope.rotate(&heads(&self.wq)?, first)?;
        Ok((q, KeysValues { keys: rope.rotate(&heads(&self.wk)?, first)?, values: heads(&self.wv)? }))
    }

    fn finish(&self, x: &Tensor, attended: &Tensor) -> Result<Tensor> {
        let x = x.f_add(&self.wo.forward(&merge_heads(attended)?)?)?;
        Ok(x.f_add(&self.feed_forward.forward(&self.ffn_norm.forward(&x)?)?)?)
    }
}

/// The stack that both uses share.
#[derive(Debug)]
struct Stack {
    blocks: Vec<Block>,
    norm: RmsNorm,
    rope: Rope,
    mask: Tensor,
}

impl Stack {
    /// `n_positions` is the longest position that a rotation is asked for.
    fn new(config: &TransformerConfig, n_positions: usize, path: &mut Path<'_>) -> Result<Self> {
        config.check()?;
        let mut blocks = Vec::new();
        for i in 0..config.n_layers {
            blocks.push(Block::new(config, path.sub("layers").sub(i))?);
        }
        let norm = RmsNorm::new(config.width, config.norm_eps, path.sub("norm"))?;
        let (kind, device) = (norm.weight().kind(), norm.weight().device());
        Ok(Self {
            blocks,
            rope: Rope::new(config.head_dim(), n_positions, config.rope_theta, kind, device)?,
            mask: causal_mask(n_positions, n_positions, 0, kind, device)?,
            norm,
        })
    }

    fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            blocks: self.blocks.iter().map(|b| b.cast(kind)).collect::<Result<_>>()?,
            norm: self.norm.shallow_clone(),
            rope: self.rope.cast(kind)?,
            mask: self.mask.f_to_kind(kind)?,
        })
    }

    /// Row `i` of `rows` may look at column `j <= i + offset`.
    fn mask(&self, rows: i64, columns: i64, offset: i64) -> Result<Tensor> {
        Ok(self.mask.f_narrow(0, offset, rows)?.f_narrow(1, 0, columns)?)
    }

    /// Ordinary causal attention over `x` `[n, s, width]` at the positions after those in `before`; gives the output
    /// of the last block (where asked for) and adds the keys and values to `before`.
    fn causal(&self, x: &Tensor, before: &mut Vec<KeysValues>, wants_output: bool) -> Result<Option<Tensor>> {
        let first = before.first().map_or(0, |kv| kv.keys.size()[2]);
        let s = x.size()[1];
        let mask = self.mask(s, first + s, first)?;
        let mut x = x.shallow_clone();
        for (i, block) in self.blocks.iter().enumerate() {
            let (q, new) = block.project(&x, &self.rope, first as usize)?;
            let all = match before.get(i) {
                None => new,
                Some(old) => KeysValues {
                    keys: Tensor::f_cat(&[&old.keys, &new.keys], 2)?,
                    values: Tensor::f_cat(&[&old.values, &new.values], 2)?,
                },
            };
            let is_last = i + 1 == self.blocks.len();
            if !is_last || wants_output {
                let attended = attend(&q, &all.keys, &all.values, (s > 1).then_some(&mask))?;
                x = block.finish(&x, &attended)?;
            }
            match before.get_mut(i) {
                None => before.push(all),
                Some(old) => *old = all,
            }
        }
        Ok(wants_output.then_some(x))
    }
}

/// A causal transformer: the ordinary way to predict the next position.
#[derive(Debug)]
pub struct CausalTransformer {
    stack: Stack,
}

impl CausalTransformer {
    /// A fresh network below `path`.
    ///
    /// # Errors
    /// Impossible sizes, a name that is taken, or no memory.
    pub fn new(config: &TransformerConfig, mut path: Path<'_>) -> Result<Self> {
        Ok(Self { stack: Stack::new(config, config.context, &mut path)? })
    }

    /// The same network computed in `kind`: products and sums in it, norms, softmax and what comes out in the type of
    /// the weights, which are cast in the graph (see [`Linear::cast`]).
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self { stack: self.stack.cast(kind)? })
    }

    /// `[n, s, width] -> [n, s, width]`, normalised: row `i` knows rows `0..=i`.
    ///
    /// # Errors
    /// A sequence longer than the context, or another width.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_after(x, &mut Vec::new())
    }

    /// The same for rows that come after those whose keys and values are in `cache`, which grows by theirs.
    ///
    /// # Errors
    /// As [`CausalTransformer::forward`].
    pub fn forward_after(&self, x: &Tensor, cache: &mut Vec<KeysValues>) -> Result<Tensor> {
        match self.stack.causal(x, cache, true)? {
            Some(x) => self.stack.norm.forward(&x.f_to_kind(self.stack.norm.weight().kind())?),
            None => Err(Error::user("a causal pass without an output")),
        }
    }
}

/// What the observed stream leaves for the predictions: keys and values of each block. Computed once, it serves every
/// inner step of a descent.
#[derive(Debug, Default)]
pub struct Observed {
    layers: Vec<KeysValues>,
    /// Positions before the first observed token: 1 with a step token.
    prefix: usize,
}

impl Observed {
    /// Observed positions, a step token included.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |kv| kv.keys.size()[2] as usize)
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys and values of each block, `[n, h, t, d]`.
    pub fn layers(&self) -> &[KeysValues] {
        &self.layers
    }
}

/// A transformer over an observed and a predicted stream: candidate `i` stands where position `i + 1` stands, looks at
/// the observed positions `0..=i` and at itself, and gets an energy. Observed positions never see a candidate.
#[derive(Debug)]
pub struct EnergyTransformer {
    stack: Stack,
    head: Linear,
    context: usize,
}

impl EnergyTransformer {
    /// A fresh network below `path`. A step token takes one position more than the context.
    ///
    /// # Errors
    /// Impossible sizes, a name that is taken, or no memory.
    pub fn new(config: &TransformerConfig, mut path: Path<'_>) -> Result<Self> {
        let head = LinearSpec::new(config.width, 1).without_bias().init(LinearInit::XavierNormal);
        // Positions 0..=context + 1: a step token, the observed ones, and the last candidate.
        let stack = Stack::new(config, config.context + 2, &mut path)?;
        Ok(Self { stack, head: head.build(path.sub("final_layer"))?, context: config.context })
    }

    /// The same network computed in `kind`: products and sums in it, norms, softmax and what comes out in the type of
    /// the weights, which are cast in the graph (see [`Linear::cast`]).
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn cast(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            stack: self.stack.cast(kind)?,
            head: self.head.cast(self.head.weight().kind())?,
            context: self.context,
        })
    }

    /// Run the observed stream over `x` `[n, s, width]`; where given, `step_token` `[width]` is put before it.
    ///
    /// # Errors
    /// A sequence longer than the context, or another width.
    pub fn observe(&self, x: &Tensor, step_token: Option<&Tensor>) -> Result<Observed> {
        self.check_length(x.size()[1] as usize)?;
        let mut observed = Observed { layers: Vec::new(), prefix: usize::from(step_token.is_some()) };
        let x = match step_token {
            None => x.shallow_clone(),
            Some(token) => {
                let (n, _, width) = x.size3()?;
                let token = token.f_view([1, 1, width])?.f_expand([n, 1, width], false)?;
                Tensor::f_cat(&[&token, x], 1)?
            }
        };
        self.stack.causal(&x, &mut observed.layers, false)?;
        Ok(observed)
    }

    /// Observe further positions `x` `[n, s, width]` after those in `observed`, which grows by them.
    ///
    /// # Errors
    /// As [`EnergyTransformer::observe`].
    pub fn observe_more(&self, x: &Tensor, observed: &mut Observed) -> Result<()> {
        self.check_length(observed.len() - observed.prefix + x.size()[1] as usize)?;
        self.stack.causal(x, &mut observed.layers, false)?;
        Ok(())
    }

    fn check_length(&self, n: usize) -> Result<()> {
        if n <= self.context {
            return Ok(());
        }
        let limit = format!("at most the context {}", self.context);
        Err(Error::bad_value(
            "observed positions",
            n,
            limit,
            "shorten the sequence or train with a longer context",
        ))
    }

    /// Energies `[n, s]` of candidates `[n, s, width]`, one for every observed position, with graph to the candidates,
    /// the observed stream and the parameters.
    ///
    /// # Errors
    /// Another number of candidates than observed positions.
    pub fn energies(&self, candidates: &Tensor, observed: &Observed) -> Result<Tensor> {
        let s = candidates.size()[1] as usize;
        if s + observed.prefix != observed.len() {
            return Err(Error::shape("candidates", observed.len() - observed.prefix, s));
        }
        let mask = self.stack.mask(s as i64, observed.len() as i64, observed.prefix as i64)?;
        self.energies_at(candidates, observed, observed.prefix + 1, Some(&mask))
    }

    /// Energies `[n, 1]` of candidates `[n, 1, width]` for the position after all that was observed.
    ///
    /// # Errors
    /// Candidates for more than one position.
    pub fn energy_of_next(&self, candidate: &Tensor, observed: &Observed) -> Result<Tensor> {
        if candidate.size()[1] != 1 {
            return Err(Error::shape("candidates for the next position", 1, candidate.size()[1]));
        }
        self.energies_at(candidate, observed, observed.len(), None)
    }

    fn energies_at(
        &self,
        candidates: &Tensor,
        observed: &Observed,
        first: usize,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut x = candidates.shallow_clone();
        for (block, seen) in self.stack.blocks.iter().zip(&observed.layers) {
            let (q, own) = block.project(&x, &self.stack.rope, first)?;
            let attended = attend_with_self(&q, &own.keys, &own.values, seen, mask)?;
            x = block.finish(&x, &attended)?;
        }
        let x = x.f_to_kind(self.head.weight().kind())?;
        Ok(self.head.forward(&self.stack.norm.forward(&x)?)?.f_squeeze_dim(-1)?)
    }

    /// The blocks, for code that computes with their weights directly.
    pub fn blocks(&self) -> &[Block] {
        &self.stack.blocks
    }

    /// The last norm's weight `[width]` and the head's `[1, width]`.
    pub fn final_weights(&self) -> (&Tensor, &Tensor) {
        (self.stack.norm.weight(), self.head.weight())
    }

    /// Tables of the rotary positions.
    pub fn rope(&self) -> &Rope {
        &self.stack.rope
    }
}
