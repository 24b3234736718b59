//! The weights of an [`EnergyTransformer`] as slices, stacked so that a block takes four products, and their
//! gradients in the same order.

use ebm_core::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::nn::EnergyTransformer;

/// One block: `qkv` `[3 width, width]`, `wo` `[width, width]`, `w13` `[2 hidden, width]`, `w2` `[width, hidden]`.
#[derive(Debug, Default)]
pub struct BlockWeights {
    pub g1: Vec<f32>,
    pub qkv: Vec<f32>,
    pub wo: Vec<f32>,
    pub g2: Vec<f32>,
    pub w13: Vec<f32>,
    pub w2: Vec<f32>,
}

impl BlockWeights {
    fn zeros(width: usize, hidden: usize) -> Self {
        let zeros = |n: usize| vec![0.0; n];
        Self {
            g1: zeros(width),
            qkv: zeros(3 * width * width),
            wo: zeros(width * width),
            g2: zeros(width),
            w13: zeros(2 * hidden * width),
            w2: zeros(width * hidden),
        }
    }

    fn parts_mut(&mut self) -> [&mut Vec<f32>; 6] {
        [&mut self.g1, &mut self.qkv, &mut self.wo, &mut self.g2, &mut self.w13, &mut self.w2]
    }
}

/// All weights, the transposes that the forward products read, and sizes.
#[derive(Debug)]
pub struct Weights {
    pub width: usize,
    pub hidden: usize,
    pub eps: f32,
    pub blocks: Vec<BlockWeights>,
    /// Transposes: `[width, 3 width]` and so on; the norms' are left empty.
    pub transposed: Vec<BlockWeights>,
    /// The last norm's weight and the head's.
    pub norm: Vec<f32>,
    pub head: Vec<f32>,
    /// Their product.
    pub reading: Vec<f32>,
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// The values of a CPU tensor.
///
/// # Errors
/// Another device or type.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.device() != Device::Cpu || tensor.kind() != Kind::Float {
        let found = format!("{:?} on {:?}", tensor.kind(), tensor.device());
        let fix = "use the autograd path there";
        return Err(Error::bad_value("fused gradients", found, "f32 on the CPU", fix));
    }
    let mut out = vec![0.0; tensor.numel()];
    let n = out.len();
    tensor.f_detach()?.f_contiguous()?.f_copy_data(&mut out, n)?;
    Ok(out)
}

fn transpose(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    for i in 0..rows {
        for j in 0..columns {
            out[j * rows + i] = x[i * columns + j];
        }
    }
    out
}

impl Weights {
    /// A copy of the network's present weights.
    ///
    /// # Errors
    /// A network that is not in f32 on the CPU.
    pub fn of(net: &EnergyTransformer, eps: f64) -> Result<Self> {
        let mut blocks = Vec::new();
        let mut transposed = Vec::new();
        let (mut width, mut hidden) = (0, 0);
        for block in net.blocks() {
            let stack = |parts: &[&Tensor]| -> Result<Vec<f32>> {
                let parts: Vec<_> = parts.iter().map(|p| values(p)).collect::<Result<_>>()?;
                Ok(parts.concat())
            };
            let (attention, ffn) = ([&block.wq, &block.wk, &block.wv], &block.feed_forward);
            let own = BlockWeights {
                g1: values(block.attention_norm.weight())?,
                qkv: stack(&attention.map(|l| l.weight()))?,
                wo: values(block.wo.weight())?,
                g2: values(block.ffn_norm.weight())?,
                w13: stack(&[ffn.w1.weight(), ffn.w3.weight()])?,
                w2: values(ffn.w2.weight())?,
            };
            width = own.g1.len();
            hidden = own.w2.len() / width;
            transposed.push(BlockWeights {
                qkv: transpose(&own.qkv, 3 * width, width),
                wo: transpose(&own.wo, width, width),
                w13: transpose(&own.w13, 2 * hidden, width),
                w2: transpose(&own.w2, width, hidden),
                ..BlockWeights::default()
            });
            blocks.push(own);
        }
        let (norm, head) = net.final_weights();
        let (norm, head) = (values(norm)?, values(head)?);
        let reading = norm.iter().zip(&head).map(|(n, h)| n * h).collect();
        let rope = net.rope();
        let (cos, sin) = rope.tables(0, rope.n_positions())?;
        let (cos, sin) = (values(&cos)?, values(&sin)?);
        Ok(Self { width, hidden, eps: eps as f32, blocks, transposed, norm, head, reading, cos, sin })
    }
}

/// Gradients of the same weights.
#[derive(Debug)]
pub struct Gradients {
    pub blocks: Vec<BlockWeights>,
    /// Of the product of the last norm's weight and the head's.
    pub reading: Vec<f32>,
}

impl Gradients {
    /// All 0.
    pub fn zeros(weights: &Weights) -> Self {
        let blocks =
            weights.blocks.iter().map(|_| BlockWeights::zeros(weights.width, weights.hidden)).collect();
        Self { blocks, reading: vec![0.0; weights.width] }
    }

    /// Add another thread's.
    pub fn add(&mut self, other: &mut Self) {
        let add = |a: &mut [f32], b: &[f32]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        for (own, other) in self.blocks.iter_mut().zip(&mut other.blocks) {
            for (own, other) in own.parts_mut().into_iter().zip(other.parts_mut()) {
                add(own, other);
            }
        }
        add(&mut self.reading, &other.reading);
    }

    /// As named tensors, as the parameters of an [`EnergyTransformer`] are named below its path.
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn named(&self, weights: &Weights) -> Result<Vec<(String, Tensor)>> {
        let (w, f) = (weights.width as i64, weights.hidden as i64);
        let mut named = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let mut push = |name: &str, values: &[f32], size: &[i64]| -> Result<()> {
                let tensor = Tensor::f_from_slice(values)?.f_view(size)?;
                named.push((format!("layers.{i}.{name}.weight"), tensor));
                Ok(())
            };
            let square = (w * w) as usize;
            for (name, part) in ["wq", "wk", "wv"].iter().zip(block.qkv.chunks_exact(square)) {
                push(&format!("attention.{name}"), part, &[w, w])?;
            }
            push("attention.wo", &block.wo, &[w, w])?;
            for (name, part) in ["w1", "w3"].iter().zip(block.w13.chunks_exact((f * w) as usize)) {
                push(&format!("feed_forward.{name}"), part, &[f, w])?;
            }
            push("feed_forward.w2", &block.w2, &[w, f])?;
            push("attention_norm", &block.g1, &[w])?;
            push("ffn_norm", &block.g2, &[w])?;
        }
        let times =
            |other: &[f32]| -> Vec<f32> { self.reading.iter().zip(other).map(|(a, b)| a * b).collect() };
        named.push(("norm.weight".to_owned(), Tensor::f_from_slice(&times(&weights.head))?));
        let head = Tensor::f_from_slice(&times(&weights.norm))?.f_view([1, w])?;
        named.push(("final_layer.weight".to_owned(), head));
        Ok(named)
    }
}
