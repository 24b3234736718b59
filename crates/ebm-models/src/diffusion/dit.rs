//! DiT: a transformer over patches that sees noise, its blocks modulated by the step in time (arXiv 2212.09748).
//!
//! Without classes: the condition is the time alone. With `learn_variance` the head gives the variance of the step
//! back beside the noise. What differs from the released code: none of the conditioning on classes; the numbers of a
//! patch leave the head channel by channel, as they enter (there: pixel by pixel). Gates and head start at 0.

use ebm_core::Result;
use ebm_core::torch::Params;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::predictor::{NoisePrediction, NoisePredictor};
use crate::nn::{Linear, LinearInit, LinearSpec, PatchTransformer, PatchTransformerConfig, TimeEmbedding};

/// The whole network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DitConfig {
    /// The trunk.
    pub trunk: PatchTransformerConfig,
    /// Whether the network gives the variance of the step back too.
    pub learn_variance: bool,
}

impl DitConfig {
    /// The paper's sizes, for latents of 4 x 32 x 32 (images of 256 x 256), with patches of this side.
    fn named(n_layers: usize, width: usize, n_heads: usize, patch: usize) -> Self {
        let trunk =
            PatchTransformerConfig { channels: 4, side: 32, patch, n_layers, width, n_heads, mlp_ratio: 4 };
        Self { trunk, learn_variance: true }
    }

    /// DiT-S: 12 layers, width 384, 6 heads.
    pub fn small(patch: usize) -> Self {
        Self::named(12, 384, 6, patch)
    }

    /// DiT-B: 12 layers, width 768, 12 heads.
    pub fn base(patch: usize) -> Self {
        Self::named(12, 768, 12, patch)
    }

    /// DiT-L: 24 layers, width 1024, 16 heads.
    pub fn large(patch: usize) -> Self {
        Self::named(24, 1024, 16, patch)
    }

    /// DiT-XL: 28 layers, width 1152, 16 heads.
    pub fn extra_large(patch: usize) -> Self {
        Self::named(28, 1152, 16, patch)
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        self.trunk.check()
    }

    fn head(&self) -> LinearSpec {
        let numbers = self.trunk.patches().len() * if self.learn_variance { 2 } else { 1 };
        LinearSpec::new(self.trunk.width, numbers).init(LinearInit::Zero)
    }

    /// Trainable numbers, without allocating them.
    pub fn n_parameters(&self) -> u64 {
        self.trunk.n_parameters() + TimeEmbedding::parameters(self.trunk.width) + self.head().parameters()
    }

    /// Multiply-accumulates of one forward pass for one image.
    pub fn macs(&self) -> u64 {
        let head = self.trunk.patches().count() as u64 * self.head().macs();
        self.trunk.macs() + TimeEmbedding::macs(self.trunk.width) + head
    }
}

/// See [`DitConfig`].
#[derive(Debug)]
pub struct Dit {
    trunk: PatchTransformer,
    time: TimeEmbedding,
    head: Linear,
    learn_variance: bool,
}

impl Dit {
    /// A fresh network whose parameters join `params`.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &DitConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let mut root = params.root();
        let trunk = PatchTransformer::new(&config.trunk, &mut root)?;
        let time = TimeEmbedding::new(config.trunk.width, root.sub("t_embedder.mlp"))?;
        let head = config.head().build(root.sub("final_layer.linear"))?;
        Ok(Self { trunk, time, head, learn_variance: config.learn_variance })
    }
}

impl NoisePredictor for Dit {
    fn predict(&self, x: &Tensor, t: &Tensor) -> Result<NoisePrediction> {
        let out = self.head.forward(&self.trunk.forward(x, &self.time.forward(t)?)?)?;
        let image = |part: &Tensor| self.trunk.patches().join(part);
        if !self.learn_variance {
            return Ok(NoisePrediction { noise: image(&out)?, variance: None });
        }
        let n = self.trunk.patches().len() as i64;
        let (noise, variance) = (out.f_narrow(-1, 0, n)?, out.f_narrow(-1, n, n)?);
        Ok(NoisePrediction { noise: image(&noise)?, variance: Some(image(&variance)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{DiffusionLoss, NoiseScheduleConfig, VarianceLoss};
    use ebm_core::random::Purpose;
    use ebm_core::torch::TensorRng;
    use tch::{Device, Kind};

    fn tiny() -> DitConfig {
        let trunk = PatchTransformerConfig {
            channels: 2,
            side: 4,
            patch: 2,
            n_layers: 1,
            width: 8,
            n_heads: 2,
            mlp_ratio: 2,
        };
        DitConfig { trunk, learn_variance: true }
    }

    /// Derived by hand from the paper's layers, D = 1152: block 18 D^2 + 15 D (qkv 3, projection 1, mlp 8, modulation 6
    /// squares); patch embedding 16 D + D; time 256 D + D + D^2 + D; last modulation 2 D^2 + 2 D; head 32 D + 32. The
    /// paper's sizes (33, 130, 458 and 675 M, recalled) count 1001 classes and the 256 fixed places as well.
    #[test]
    fn the_largest_has_the_derived_size() {
        let d = 1152u64;
        let blocks = 28 * (18 * d * d + 15 * d);
        let rest = 17 * d + (258 * d + d * d) + (2 * d * d + 2 * d) + (32 * d + 32);
        let found = DitConfig::extra_large(2).n_parameters();
        assert_eq!(found, blocks + rest);
        assert_eq!(found + 1001 * d + 256 * d, 675_129_632);
        for (config, millions) in
            [(DitConfig::small(2), 33), (DitConfig::base(2), 130), (DitConfig::large(2), 458)]
        {
            let width = config.trunk.width as u64;
            let all = config.n_parameters() + (1001 + 256) * width;
            assert!(all.abs_diff(millions * 1_000_000) < 600_000);
            config.check().unwrap();
        }
    }

    #[test]
    fn a_fresh_network_says_nothing_and_both_heads_learn() {
        let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
        let net = Dit::new(&tiny(), &mut params).unwrap();
        assert_eq!(params.count() as u64, tiny().n_parameters());
        let mut rng = TensorRng::new(0, Purpose::User);
        let x = rng.normal(&[3, 2, 4, 4], 1.0, Kind::Double, Device::Cpu).unwrap();
        let t = Tensor::from_slice(&[0i64, 5, 999]);
        let found = net.predict(&x, &t).unwrap();
        assert_eq!((found.noise.size(), found.noise.abs().max().double_value(&[])), (x.size(), 0.0));
        assert_eq!(found.variance.unwrap().size(), x.size());
        let schedule = NoiseScheduleConfig::ddpm().build().unwrap();
        let loss = DiffusionLoss::new(schedule).with_variance(VarianceLoss::default()).unwrap();
        let loss = loss.loss_at(&net, &x, &t, &x).unwrap().loss;
        let grads = Tensor::run_backward(&[loss], &params.tensors(), false, false);
        let at = params.named().iter().position(|(n, _)| n == "final_layer.linear.bias").unwrap();
        assert!(Vec::<f64>::try_from(&grads[at]).unwrap().iter().all(|g| g.abs() > 0.0));
    }

    /// Points of a batch do not see each other, and each is modulated by its own time.
    #[test]
    fn each_point_has_its_own_time() {
        let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
        let net = Dit::new(&tiny(), &mut params).unwrap();
        let mut rng = TensorRng::new(1, Purpose::User);
        let values: Vec<(String, Tensor)> = params
            .named()
            .iter()
            .map(|(n, p)| (n.clone(), rng.normal(&p.size(), 0.3, Kind::Double, Device::Cpu).unwrap()))
            .collect();
        params.load(&values).unwrap();
        let x = rng.normal(&[2, 2, 4, 4], 1.0, Kind::Double, Device::Cpu).unwrap();
        let both = net.predict(&x, &Tensor::from_slice(&[3i64, 70])).unwrap().noise;
        let alone = |i: i64, t: i64| {
            net.predict(&x.narrow(0, i, 1), &Tensor::from_slice(&[t])).unwrap().noise.squeeze_dim(0)
        };
        let far = |a: Tensor, b: Tensor| (a - b).abs().max().double_value(&[]);
        assert!(far(both.get(0), alone(0, 3)) < 1e-12 && far(both.get(1), alone(1, 70)) < 1e-12);
        assert!(far(both.get(0), alone(0, 70)) > 1e-3);
    }
}
