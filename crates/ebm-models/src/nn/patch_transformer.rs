//! The trunk of image transformers: patches to tokens, fixed places, blocks of full attention and a GELU layer under
//! adaptive layer norm, and a last modulated norm. What stands on it is a head per token.
//!
//! Source: DiT (arXiv 2212.09748), block for block: `x + gate attention(norm)`, `x + gate mlp(norm)`; biases
//! everywhere; Xavier-uniform weights. The attention is ours: explicit, so that it can be differentiated twice.

use ebm_core::torch::Path;
use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::attention::{attend, merge_heads, split_heads};
use super::{Activation, Linear, LinearInit, LinearSpec, Modulation, Patches, modulated_norm, sin_cos_grid};

/// Sizes of the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchTransformerConfig {
    /// Channels of the images.
    pub channels: usize,
    /// Side of the square images.
    pub side: usize,
    /// Side of the square patches; divides the images' side.
    pub patch: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Width of the tokens: a multiple of 4 and of the heads.
    pub width: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Hidden width of the GELU layer, in widths: 4 in DiT, 1 in the released EBT scripts.
    pub mlp_ratio: usize,
}

/// The layers of a block.
struct BlockSpec {
    qkv: LinearSpec,
    out: LinearSpec,
    up: LinearSpec,
    down: LinearSpec,
}

impl PatchTransformerConfig {
    /// How images are cut.
    pub fn patches(&self) -> Patches {
        Patches { channels: self.channels, side: self.side, patch: self.patch }
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        self.patches().check()?;
        let sizes = [
            ("model.n_layers", self.n_layers),
            ("model.width", self.width),
            ("model.n_heads", self.n_heads),
            ("model.mlp_ratio", self.mlp_ratio),
        ];
        for (name, value) in sizes {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if !self.width.is_multiple_of(self.n_heads) || !self.width.is_multiple_of(4) {
            let limit = format!("a multiple of 4 and of n_heads = {}", self.n_heads);
            return Err(Error::bad_value("model.width", self.width, limit, ""));
        }
        Ok(())
    }

    fn embed(&self) -> LinearSpec {
        LinearSpec::new(self.patches().len(), self.width).init(LinearInit::XavierUniform)
    }

    fn block(&self) -> BlockSpec {
        let (width, hidden) = (self.width, self.width * self.mlp_ratio);
        let layer = |i, o| LinearSpec::new(i, o).init(LinearInit::XavierUniform);
        BlockSpec {
            qkv: layer(width, 3 * width),
            out: layer(width, width),
            up: layer(width, hidden),
            down: layer(hidden, width),
        }
    }

    fn block_layers(&self) -> [LinearSpec; 4] {
        let BlockSpec { qkv, out, up, down } = self.block();
        [qkv, out, up, down]
    }

    /// Trainable numbers.
    pub fn n_parameters(&self) -> u64 {
        let layers: u64 = self.block_layers().iter().map(LinearSpec::parameters).sum();
        let block = layers + Modulation::<6>::spec(self.width).parameters();
        self.embed().parameters()
            + self.n_layers as u64 * block
            + Modulation::<2>::spec(self.width).parameters()
    }

    /// Multiply-accumulates of one image: products with weights, the modulation's among them.
    fn weight_macs(&self) -> u64 {
        let layers: u64 = self.block_layers().iter().map(LinearSpec::macs).sum();
        let tokens = self.patches().count() as u64 * (self.embed().macs() + self.n_layers as u64 * layers);
        tokens + self.modulation_macs()
    }

    fn modulation_macs(&self) -> u64 {
        self.n_layers as u64 * Modulation::<6>::spec(self.width).macs()
            + Modulation::<2>::spec(self.width).macs()
    }

    fn attention_macs(&self) -> u64 {
        let n = self.patches().count();
        (self.n_layers * 2 * n * n * self.width) as u64
    }

    /// Multiply-accumulates of one forward pass for one image.
    pub fn macs(&self) -> u64 {
        self.weight_macs() + self.attention_macs()
    }

    /// Multiply-accumulates of the backward pass to the image alone, after a forward pass: one product per weight, two
    /// per product of attention, none for the modulation.
    pub fn input_gradient_macs(&self) -> u64 {
        self.weight_macs() - self.modulation_macs() + 2 * self.attention_macs()
    }
}

#[derive(Debug)]
struct Block {
    modulation: Modulation<6>,
    qkv: Linear,
    out: Linear,
    up: Linear,
    down: Linear,
    n_heads: usize,
}

impl Block {
    fn new(config: &PatchTransformerConfig, mut path: Path<'_>) -> Result<Self> {
        let spec = config.block();
        let mut attention = path.sub("attn");
        let (qkv, out) = (spec.qkv.build(attention.sub("qkv"))?, spec.out.build(attention.sub("proj"))?);
        let mut mlp = path.sub("mlp");
        Ok(Self {
            qkv,
            out,
            up: spec.up.build(mlp.sub("fc1"))?,
            down: spec.down.build(mlp.sub("fc2"))?,
            modulation: Modulation::new(config.width, path.sub("adaLN_modulation.1"))?,
            n_heads: config.n_heads,
        })
    }

    fn forward(&self, x: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let [shift_1, scale_1, gate_1, shift_2, scale_2, gate_2] = self.modulation.forward(condition)?;
        let qkv = self.qkv.forward(&modulated_norm(x, &shift_1, &scale_1)?)?;
        let heads: Vec<Tensor> =
            qkv.f_chunk(3, -1)?.iter().map(|part| split_heads(part, self.n_heads)).collect::<Result<_>>()?;
        let attended = self.out.forward(&merge_heads(&attend(&heads[0], &heads[1], &heads[2], None)?)?)?;
        let x = x.f_add(&attended.f_mul(&gate_1)?)?;
        let hidden = self.up.forward(&modulated_norm(&x, &shift_2, &scale_2)?)?;
        let out = self.down.forward(&Activation::GeluTanh.forward(&hidden)?)?;
        Ok(x.f_add(&out.f_mul(&gate_2)?)?)
    }
}

/// See [`PatchTransformerConfig`].
#[derive(Debug)]
pub struct PatchTransformer {
    patches: Patches,
    embed: Linear,
    places: Tensor,
    blocks: Vec<Block>,
    last: Modulation<2>,
}

impl PatchTransformer {
    /// A fresh network below `path`, its parameters named as in DiT's released code.
    ///
    /// # Errors
    /// Impossible sizes, a name that is taken, or no memory.
    pub fn new(config: &PatchTransformerConfig, path: &mut Path<'_>) -> Result<Self> {
        config.check()?;
        let embed = config.embed().build(path.sub("x_embedder.proj"))?;
        let mut blocks = Vec::new();
        for i in 0..config.n_layers {
            blocks.push(Block::new(config, path.sub("blocks").sub(i))?);
        }
        let last = Modulation::new(config.width, path.sub("final_layer.adaLN_modulation.1"))?;
        let (kind, device) = (embed.weight().kind(), embed.weight().device());
        let patches = config.patches();
        let places = sin_cos_grid(patches.grid(), config.width, kind, device)?;
        Ok(Self { patches, embed, places, blocks, last })
    }

    /// How images are cut.
    pub fn patches(&self) -> &Patches {
        &self.patches
    }

    /// Images `[n, channels, side, side]` under a condition `[n, width]`, or `[1, width]` for all alike, to tokens
    /// `[n, patches, width]`.
    ///
    /// # Errors
    /// Images of another size, or another number of conditions.
    pub fn forward(&self, x: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let mut tokens = self.embed.forward(&self.patches.cut(x)?)?.f_add(&self.places)?;
        for block in &self.blocks {
            tokens = block.forward(&tokens, condition)?;
        }
        let [shift, scale] = self.last.forward(condition)?;
        modulated_norm(&tokens, &shift, &scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::layer_norm;
    use ebm_core::random::Purpose;
    use ebm_core::torch::{Params, TensorRng};
    use tch::{Device, Kind};

    fn config() -> PatchTransformerConfig {
        PatchTransformerConfig {
            channels: 1,
            side: 4,
            patch: 2,
            n_layers: 2,
            width: 8,
            n_heads: 2,
            mlp_ratio: 1,
        }
    }

    fn build(config: &PatchTransformerConfig) -> (PatchTransformer, Params) {
        let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
        let net = PatchTransformer::new(config, &mut params.root()).unwrap();
        (net, params)
    }

    fn random(size: &[i64], call: u64) -> Tensor {
        let mut rng = TensorRng::new(5, Purpose::User).from_step(call);
        rng.normal(size, 1.0, Kind::Double, Device::Cpu).unwrap()
    }

    #[test]
    fn the_size_is_what_the_config_says() {
        let (net, params) = build(&config());
        assert_eq!(params.count() as u64, config().n_parameters());
        let tokens = net.forward(&random(&[3, 1, 4, 4], 0), &random(&[3, 8], 1)).unwrap();
        assert_eq!(tokens.size(), [3, 4, 8]);
        assert!(net.forward(&random(&[3, 1, 6, 6], 0), &random(&[3, 8], 1)).is_err());
        assert!(PatchTransformerConfig { n_heads: 3, ..config() }.check().is_err());
        assert!(PatchTransformerConfig { n_layers: 0, ..config() }.check().is_err());
    }

    /// Blocks start as the identity: only the embedding, the places and the last norm are left.
    #[test]
    fn blocks_start_as_the_identity() {
        let (net, _) = build(&config());
        let x = random(&[2, 1, 4, 4], 0);
        let tokens = net.embed.forward(&net.patches.cut(&x).unwrap()).unwrap() + &net.places;
        assert_eq!(net.forward(&x, &random(&[1, 8], 1)).unwrap(), layer_norm(&tokens, 1e-6).unwrap());
    }

    /// Block by block in the order of the paper, written out with plain tensor operations.
    #[test]
    fn a_block_is_the_papers() {
        let (net, params) = build(&config());
        // Away from zero, so that every part counts.
        let values: Vec<(String, Tensor)> = params
            .named()
            .iter()
            .enumerate()
            .map(|(i, (name, p))| (name.clone(), random(&p.size(), 10 + i as u64) * 0.3))
            .collect();
        params.load(&values).unwrap();
        let get = |name: &str| values.iter().find(|(n, _)| n == name).unwrap().1.shallow_clone();
        let (x, c) = (random(&[2, 4, 8], 2), random(&[2, 8], 3));
        let linear =
            |x: &Tensor, at: &str| x.matmul(&get(&format!("{at}.weight")).tr()) + get(&format!("{at}.bias"));
        let norm = |x: &Tensor| {
            let mean = x.mean_dim([-1i64].as_slice(), true, Kind::Double);
            let centred = x - mean;
            let variance = centred.square().mean_dim([-1i64].as_slice(), true, Kind::Double);
            centred / (variance + 1e-6).sqrt()
        };
        let modulation = linear(&(&c * c.sigmoid()), "blocks.1.adaLN_modulation.1").unsqueeze(1).chunk(6, -1);
        let [b1, s1, g1, b2, s2, g2] = &modulation[..] else { panic!("six parts") };
        let qkv = linear(&(norm(&x) * (s1 + 1.0) + b1), "blocks.1.attn.qkv");
        let mut heads = Vec::new();
        for head in 0..2 {
            let part = |i: i64| qkv.narrow(2, i * 8 + head * 4, 4);
            let weights = (part(0).matmul(&part(1).transpose(1, 2)) / 2.0).softmax(-1, Kind::Double);
            heads.push(weights.matmul(&part(2)));
        }
        let x1 = &x + g1 * linear(&Tensor::cat(&heads, 2), "blocks.1.attn.proj");
        let hidden = linear(&(norm(&x1) * (s2 + 1.0) + b2), "blocks.1.mlp.fc1");
        let inner: Tensor =
            (&hidden + hidden.pow_tensor_scalar(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
        let gelu = &hidden * 0.5 * (inner.tanh() + 1.0);
        let expected = &x1 + g2 * linear(&gelu, "blocks.1.mlp.fc2");
        let found = net.blocks[1].forward(&x, &c).unwrap();
        assert!((found - expected).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn macs_are_counted_by_hand() {
        // 4 tokens, width 8: embedding 4 * 8; block 3 * 64 + 64 + 2 * 64 = 384; attention 2 * 16 * 8 = 256 a layer;
        // modulation 2 * 6 * 64 + 2 * 64 = 896.
        assert_eq!(config().macs(), 4 * (32 + 2 * 384) + 2 * 256 + 896);
        assert_eq!(config().input_gradient_macs(), 4 * (32 + 2 * 384) + 4 * 256);
    }
}
