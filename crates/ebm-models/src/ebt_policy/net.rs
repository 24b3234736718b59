//! The network of all three policies: observations in, a chunk of actions in, one number for each number of the chunk.
//!
//! Observations: a two-layer embedding plus sines of the frame's number, then blocks causal over the frames. Chunk: the
//! same kind of embedding, then blocks of attention within the chunk, attention to the observations (action `t` sees
//! frame `j` if `t >= j`), and a feed-forward layer; a norm and two layers end it. RMSNorm before each part, GELU (tanh),
//! weights Xavier-uniform, biases 0. The energy of a chunk is the mean of the numbers; there is no embedding of the step.

use ebm_core::torch::{Params, Path};
use ebm_core::{Error, Result};
use ebm_samplers::descent::{At, Landscape};
use tch::{Kind, Tensor};

use super::attention::{Attention, FeedForward, NORM_EPS};
use super::config::PolicyNetConfig;
use crate::nn::attention::{KeysValues, causal_mask};
use crate::nn::{LinearInit, LinearSpec, RmsNorm, sin_cos_time};

pub(super) fn layer(inputs: usize, outputs: usize) -> LinearSpec {
    LinearSpec::new(inputs, outputs).init(LinearInit::XavierUniform)
}

#[derive(Debug)]
struct EncoderBlock {
    attention_norm: RmsNorm,
    attention: Attention,
    ffn_norm: RmsNorm,
    feed_forward: FeedForward,
}

impl EncoderBlock {
    fn new(config: &PolicyNetConfig, mut path: Path<'_>) -> Result<Self> {
        let d = config.width;
        Ok(Self {
            attention_norm: RmsNorm::new(d, NORM_EPS, path.sub("attention_norm"))?,
            attention: Attention::new(config, path.sub("attention"))?,
            ffn_norm: RmsNorm::new(d, NORM_EPS, path.sub("ffn_norm"))?,
            feed_forward: FeedForward::new(d, d, d, path.sub("feed_forward"))?,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let normed = self.attention_norm.forward(x)?;
        let seen = self.attention.keys_values(&normed)?;
        let x = x.f_add(&self.attention.ask(&normed, &seen, Some(mask))?)?;
        Ok(x.f_add(&self.feed_forward.forward(&self.ffn_norm.forward(&x)?)?)?)
    }
}

#[derive(Debug)]
struct ChunkBlock {
    own_norm: RmsNorm,
    own: Attention,
    cross_norm: RmsNorm,
    cross: Attention,
    ffn_norm: RmsNorm,
    feed_forward: FeedForward,
}

impl ChunkBlock {
    fn new(config: &PolicyNetConfig, mut path: Path<'_>) -> Result<Self> {
        let d = config.width;
        Ok(Self {
            own_norm: RmsNorm::new(d, NORM_EPS, path.sub("own_norm"))?,
            own: Attention::new(config, path.sub("own"))?,
            cross_norm: RmsNorm::new(d, NORM_EPS, path.sub("cross_norm"))?,
            cross: Attention::new(config, path.sub("cross"))?,
            ffn_norm: RmsNorm::new(d, NORM_EPS, path.sub("ffn_norm"))?,
            feed_forward: FeedForward::new(d, d, d, path.sub("feed_forward"))?,
        })
    }

    fn forward(&self, x: &Tensor, seen: &KeysValues, mask: &Tensor) -> Result<Tensor> {
        let normed = self.own_norm.forward(x)?;
        let x = x.f_add(&self.own.ask(&normed, &self.own.keys_values(&normed)?, None)?)?;
        let x = x.f_add(&self.cross.ask(&self.cross_norm.forward(&x)?, seen, Some(mask))?)?;
        Ok(x.f_add(&self.feed_forward.forward(&self.ffn_norm.forward(&x)?)?)?)
    }
}

/// Encoded observations: what each block over the chunk looks at. Computed once for all evaluations.
#[derive(Debug)]
pub struct Condition(Vec<KeysValues>);

/// See the file's first lines.
#[derive(Debug)]
pub struct PolicyNet {
    config: PolicyNetConfig,
    observation_embedding: FeedForward,
    encoder: Vec<EncoderBlock>,
    encoder_norm: RmsNorm,
    action_embedding: FeedForward,
    time_embedding: Option<FeedForward>,
    blocks: Vec<ChunkBlock>,
    norm: RmsNorm,
    head: FeedForward,
    frames: Tensor,
    places: Tensor,
    encoder_mask: Tensor,
    cross_mask: Tensor,
}

impl PolicyNet {
    /// A fresh network whose parameters join `params`; with `timed`, one that is told a time too.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &PolicyNetConfig, timed: bool, params: &mut Params) -> Result<Self> {
        config.check()?;
        let PolicyNetConfig { observation, n_observations, action, n_actions, width, .. } = *config;
        let mut root = params.root();
        let observation_embedding =
            FeedForward::new(observation, width, width, root.sub("observation_embedding"))?;
        let action_embedding = FeedForward::new(action, width, width, root.sub("action_embedding"))?;
        let time_embedding =
            timed.then(|| FeedForward::new(width, width, width, root.sub("time_embedding"))).transpose()?;
        let (mut encoder, mut blocks) = (Vec::new(), Vec::new());
        for i in 0..config.n_encoder_layers {
            encoder.push(EncoderBlock::new(config, root.sub("encoder").sub(i))?);
        }
        for i in 0..config.n_layers {
            blocks.push(ChunkBlock::new(config, root.sub("blocks").sub(i))?);
        }
        let norm = RmsNorm::new(width, NORM_EPS, root.sub("norm"))?;
        let (kind, device) = (norm.weight().kind(), norm.weight().device());
        let numbered = |n: usize| -> Result<Tensor> {
            let numbers = Tensor::f_arange(n as i64, (Kind::Int64, device))?;
            sin_cos_time(&numbers, width, kind)
        };
        Ok(Self {
            observation_embedding,
            encoder,
            encoder_norm: RmsNorm::new(width, NORM_EPS, root.sub("encoder_norm"))?,
            action_embedding,
            time_embedding,
            blocks,
            head: FeedForward::new(width, width, action, root.sub("head"))?,
            frames: numbered(n_observations)?,
            places: numbered(n_actions)?,
            encoder_mask: causal_mask(n_observations, n_observations, 0, kind, device)?,
            cross_mask: causal_mask(n_actions, n_observations, 0, kind, device)?,
            norm,
            config: config.clone(),
        })
    }

    /// The sizes.
    pub fn config(&self) -> &PolicyNetConfig {
        &self.config
    }

    /// Encode observations `[n, n_observations, observation]`.
    ///
    /// # Errors
    /// Another shape.
    pub fn encode(&self, observations: &Tensor) -> Result<Condition> {
        let expected = [self.config.n_observations, self.config.observation].map(|n| n as i64);
        let size = observations.size();
        if size.len() != 3 || size[1..] != expected {
            return Err(Error::shape("observations", format!("[n, {}, {}]", expected[0], expected[1]), size));
        }
        let mut x = self.observation_embedding.forward(observations)?.f_add(&self.frames)?;
        for block in &self.encoder {
            x = block.forward(&x, &self.encoder_mask)?;
        }
        let x = self.encoder_norm.forward(&x)?;
        Ok(Condition(self.blocks.iter().map(|b| b.cross.keys_values(&x)).collect::<Result<_>>()?))
    }

    /// One number for each of chunks `y` `[n, n_actions, action]`; `time` `[n]`, i64, where the network is told one.
    ///
    /// # Errors
    /// Another shape; a time that is missing or too much.
    pub fn forward(&self, y: &Tensor, condition: &Condition, time: Option<&Tensor>) -> Result<Tensor> {
        let expected = [self.config.n_actions, self.config.action].map(|n| n as i64);
        let size = y.size();
        if size.len() != 3 || size[1..] != expected {
            return Err(Error::shape(
                "chunks of actions",
                format!("[n, {}, {}]", expected[0], expected[1]),
                size,
            ));
        }
        let mut x = self.action_embedding.forward(y)?.f_add(&self.places)?;
        match (&self.time_embedding, time) {
            (Some(embedding), Some(time)) => {
                let waves = sin_cos_time(time, self.config.width, y.kind())?;
                x = x.f_add(&embedding.forward(&waves)?.f_unsqueeze(1)?)?;
            }
            (None, None) => {}
            (found, _) => {
                let found = if found.is_some() { "missing" } else { "given" };
                return Err(Error::bad_value("time", found, "given to a timed network, and to no other", ""));
            }
        }
        for (block, seen) in self.blocks.iter().zip(&condition.0) {
            x = block.forward(&x, seen, &self.cross_mask)?;
        }
        self.head.forward(&self.norm.forward(&x)?)
    }
}

/// The energies of chunks under encoded observations.
#[derive(Debug)]
pub struct ChunkLandscape<'a> {
    /// The network, not timed.
    pub net: &'a PolicyNet,
    /// One row per chunk.
    pub condition: &'a Condition,
}

impl Landscape for ChunkLandscape<'_> {
    fn energy(&self, y: &Tensor, _at: &mut At<'_>) -> Result<Tensor> {
        let numbers = self.net.forward(y, self.condition, None)?;
        Ok(numbers.f_mean_dim([1i64, 2].as_slice(), false, y.kind())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;
    use ebm_core::torch::TensorRng;
    use tch::Device;

    fn tiny() -> PolicyNetConfig {
        PolicyNetConfig {
            width: 8,
            n_heads: 2,
            n_encoder_layers: 1,
            n_layers: 2,
            n_observations: 3,
            n_actions: 5,
            ..PolicyNetConfig::small(4, 2)
        }
    }

    fn energies(net: &PolicyNet, seen: &Tensor, y: &Tensor) -> Vec<f64> {
        let condition = net.encode(seen).unwrap();
        let mut rng = TensorRng::new(0, Purpose::User);
        let mut at = At { step: 0, noise_std: 0.0, rng: &mut rng };
        let landscape = ChunkLandscape { net, condition: &condition };
        Vec::try_from(&landscape.energy(y, &mut at).unwrap()).unwrap()
    }

    #[test]
    fn counts_are_those_of_the_config() {
        for timed in [false, true] {
            let mut params = Params::new(0, Device::Cpu);
            PolicyNet::new(&tiny(), timed, &mut params).unwrap();
            assert_eq!(params.count() as u64, tiny().n_parameters(timed));
        }
    }

    /// Derived by hand: the paper's table of sizes is not known to us.
    #[test]
    fn the_released_sizes_have_the_parameters_worked_out_here() {
        let config = PolicyNetConfig::paper(6, 2);
        let square = 256 * 256 + 256;
        let attention = 4 * square + 2 * 64;
        let encoder = 8 * (attention + 2 * square + 2 * 256) + 256;
        let chunk = 8 * (2 * attention + 2 * square + 3 * 256) + 256;
        let embeddings = (6 * 256 + 256 + square) + (2 * 256 + 256 + square);
        let head = square + 2 * 256 + 2;
        let by_hand = embeddings + encoder + chunk + head;
        assert_eq!(config.n_parameters(false), by_hand);
        assert_eq!(by_hand, 8_635_650);
        assert_eq!(config.n_parameters(true), by_hand + 2 * square);
    }

    #[test]
    fn an_energy_depends_on_its_own_chunk_and_observations_alone() {
        let mut params = Params::new(1, Device::Cpu).with_kind(Kind::Double);
        let net = PolicyNet::new(&tiny(), false, &mut params).unwrap();
        let mut rng = TensorRng::new(2, Purpose::User);
        let mut random = |size: &[i64]| rng.normal(size, 1.0, Kind::Double, Device::Cpu).unwrap();
        let (seen, y) = (random(&[3, 3, 4]), random(&[3, 5, 2]));
        let all = energies(&net, &seen, &y);
        // Row by row, and in another order, the same numbers.
        for i in 0..3 {
            let one = energies(&net, &seen.narrow(0, i, 1), &y.narrow(0, i, 1));
            assert!((one[0] - all[i as usize]).abs() < 1e-13);
        }
        let turned = energies(&net, &seen.flip([0]), &y.flip([0]));
        assert!(turned.iter().rev().zip(&all).all(|(a, b)| (a - b).abs() < 1e-13));
        // Another observation or another action gives another energy.
        let moved = |x: &Tensor, at: i64| {
            let x = x.copy();
            let _ = x.get(0).get(at).get(0).fill_(3.0);
            x
        };
        for at in 0..3 {
            let other = energies(&net, &moved(&seen, at), &y);
            assert!((other[0] - all[0]).abs() > 1e-9 && other[1] == all[1]);
        }
        let other = energies(&net, &seen, &moved(&y, 4));
        assert!((other[0] - all[0]).abs() > 1e-9 && other[1] == all[1]);
    }

    #[test]
    fn wrong_shapes_and_times_are_errors() {
        let mut params = Params::new(1, Device::Cpu);
        let net = PolicyNet::new(&tiny(), false, &mut params).unwrap();
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        assert!(net.encode(&zeros(&[2, 2, 4])).is_err());
        let condition = net.encode(&zeros(&[2, 3, 4])).unwrap();
        assert!(net.forward(&zeros(&[2, 5, 3]), &condition, None).is_err());
        let time = Tensor::from_slice(&[1i64, 2]);
        let error = net.forward(&zeros(&[2, 5, 2]), &condition, Some(&time)).unwrap_err().to_string();
        assert!(error.starts_with("time = given"), "{error}");
        let narrow = PolicyNetConfig { width: 7, ..tiny() };
        assert!(narrow.check().unwrap_err().to_string().starts_with("model.width = 7"));
        assert!(PolicyNetConfig { n_actions: 0, ..tiny() }.check().is_err());
    }
}
