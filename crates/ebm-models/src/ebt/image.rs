//! EBT on images: an energy of whole images whose descent takes a noisy image to a clean one.
//!
//! `E(y) = mean over patches of w . h(y)`, `h` the trunk of DiT under *one learned condition* in place of the time;
//! `y_{i+1} = y_i - alpha dE/dy`, from the noisy image itself, `alpha` learned. Trunk's gates and `w` start at 0, so the
//! gradient is 0 before the first training step. Source: EBT (arXiv 2507.02092), released code alexiglad/EBT at 0ad3628.
//! There the paper speaks of a sum over patches and the code takes the mean; so do we. How the condition starts is not
//! known to us: here normal with standard deviation 1.

use ebm_core::random::Purpose;
use ebm_core::torch::{Init, Params, TensorRng};
use ebm_core::{Error, GraphEnergy, Result, TrainableEnergy, tensor_energy};
use ebm_samplers::descent::Descent;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::nn::{Linear, LinearInit, LinearSpec, PatchTransformer, PatchTransformerConfig};

/// The name of the step size among the parameters: it has an optimiser group of its own (no weight decay, a learning
/// rate that is larger by about three times `alpha`, by the authors' rule of thumb).
pub const ALPHA: &str = "alpha";

/// The whole network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEbtConfig {
    /// The trunk.
    pub trunk: PatchTransformerConfig,
    /// Where alpha starts. It grows with the number of pixels and patches, for the energy is a mean.
    pub step_size: f64,
}

impl ImageEbtConfig {
    /// The paper's network for denoising COCO at 128 x 128: "large", patches of 16, step size 3000.
    pub fn paper() -> Self {
        let trunk = PatchTransformerConfig {
            channels: 3,
            side: 128,
            patch: 16,
            n_layers: 24,
            width: 1536,
            n_heads: 16,
            mlp_ratio: 1,
        };
        Self { trunk, step_size: 3000.0 }
    }

    /// Whether the sizes make a network.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        if !(self.step_size > 0.0 && self.step_size.is_finite()) {
            return Err(Error::bad_value("model.step_size", self.step_size, "above 0 and finite", "try 300"));
        }
        self.trunk.check()
    }

    fn head(&self) -> LinearSpec {
        LinearSpec::new(self.trunk.width, 1).without_bias().init(LinearInit::Zero)
    }

    /// Trainable numbers, without allocating them: the step size among them.
    pub fn n_parameters(&self) -> u64 {
        self.trunk.n_parameters() + self.trunk.width as u64 + self.head().parameters() + 1
    }

    fn head_macs(&self) -> u64 {
        self.trunk.patches().count() as u64 * self.head().macs()
    }

    /// Multiply-accumulates of one energy for one image: a forward pass.
    pub fn macs(&self) -> u64 {
        self.trunk.macs() + self.head_macs()
    }

    /// Multiply-accumulates of one step of the descent for one image: forward, and backward to the image.
    pub fn step_macs(&self) -> u64 {
        self.macs() + self.trunk.input_gradient_macs() + self.head_macs()
    }
}

/// See [`ImageEbtConfig`]. As an energy: `[n, channels, side, side] -> [n]`.
#[derive(Debug)]
pub struct ImageEbt {
    trunk: PatchTransformer,
    condition: Tensor,
    head: Linear,
    alpha: Tensor,
    parameters: Vec<Tensor>,
}

impl ImageEbt {
    /// A fresh network whose parameters join `params`.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &ImageEbtConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let mut root = params.root();
        let trunk = PatchTransformer::new(&config.trunk, &mut root)?;
        let condition = root.parameter("condition", &[1, config.trunk.width as i64], Init::Normal(1.0))?;
        let head = config.head().build(root.sub("final_layer.linear"))?;
        let alpha = root.parameter(ALPHA, &[], Init::Constant(config.step_size))?;
        Ok(Self { trunk, condition, head, alpha, parameters: params.tensors() })
    }

    /// The step size alpha, 0-d.
    pub fn alpha(&self) -> &Tensor {
        &self.alpha
    }

    /// `n_steps` steps down from noisy images `[n, ..]`; detached. Steps follow one another without memory: two
    /// steps are one step taken twice.
    ///
    /// # Errors
    /// Images of another size, or no step.
    pub fn denoise(&self, noisy: &Tensor, n_steps: usize) -> Result<Tensor> {
        // No random number is drawn: the policy has no noise.
        let mut rng = TensorRng::new(0, Purpose::Evaluation);
        let descent = Descent::default().prediction(n_steps, false);
        Ok(descent.run(self, noisy, &self.alpha.f_detach()?, &mut rng)?.last)
    }
}

impl GraphEnergy for ImageEbt {
    fn energy_graph(&self, y: &Tensor) -> Result<Tensor> {
        let tokens = self.trunk.forward(y, &self.condition)?;
        let energies = self.head.forward(&tokens)?;
        Ok(energies.f_flatten(1, -1)?.f_mean_dim([1i64].as_slice(), false, energies.kind())?)
    }
}

tensor_energy!(ImageEbt);

impl TrainableEnergy for ImageEbt {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters.iter().map(Tensor::shallow_clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::image_testing::{double, random, stir, tiny};
    use super::*;
    use ebm_core::GradEnergy;
    use tch::Kind;

    /// Derived by hand, D = 1536: block 12 D^2 + 12 D (qkv 3, projection 1, mlp 2, modulation 6); embedding 768 D + D;
    /// last modulation 2 D^2 + 2 D; condition D; head D; alpha.
    #[test]
    fn the_papers_network_has_the_derived_size() {
        let d = 1536u64;
        let expected = 24 * (12 * d * d + 12 * d) + 769 * d + (2 * d * d + 2 * d) + 2 * d + 1;
        assert_eq!(ImageEbtConfig::paper().n_parameters(), expected);
        ImageEbtConfig::paper().check().unwrap();
        assert!(
            ImageEbtConfig { step_size: 0.0, ..tiny() }
                .check()
                .unwrap_err()
                .to_string()
                .contains("step_size")
        );
        let mut params = double();
        ImageEbt::new(&tiny(), &mut params).unwrap();
        assert_eq!(params.count() as u64, tiny().n_parameters());
        // 4 patches, width 8: the trunk's counts (see there), and twice the head.
        assert_eq!(tiny().step_macs(), tiny().trunk.macs() + tiny().trunk.input_gradient_macs() + 2 * 32);
    }

    #[test]
    fn a_fresh_energy_is_flat() {
        let net = ImageEbt::new(&tiny(), &mut double()).unwrap();
        let y = random(&[3, 1, 4, 4], 1.0, 0);
        let mut grad = y.zeros_like();
        drop(net.energy_grad(&y, &mut grad).unwrap());
        assert_eq!(grad.abs().max().double_value(&[]), 0.0);
        assert_eq!(net.denoise(&y, 1).unwrap(), y);
    }

    #[test]
    fn an_images_energy_is_the_mean_over_its_patches_and_its_own() {
        let mut params = double();
        let net = ImageEbt::new(&tiny(), &mut params).unwrap();
        stir(&params);
        let y = random(&[3, 1, 4, 4], 1.0, 0);
        let energies = net.energy_graph(&y).unwrap();
        assert_eq!(energies.size(), [3]);
        let tokens = net.trunk.forward(&y, &net.condition).unwrap();
        for i in 0..3 {
            let sum: f64 =
                (0..4).map(|p| tokens.get(i).get(p).dot(&net.head.weight().get(0)).double_value(&[])).sum();
            assert!((energies.double_value(&[i]) - sum / 4.0).abs() < 1e-12);
        }
        let alone = net.energy_graph(&y.narrow(0, 1, 1)).unwrap().double_value(&[0]);
        assert!((energies.double_value(&[1]) - alone).abs() < 1e-12);
        assert!(net.energy_graph(&y.narrow(2, 0, 2)).is_err());
    }

    #[test]
    fn the_gradient_is_the_difference_quotient() {
        let mut params = double();
        let net = ImageEbt::new(&tiny(), &mut params).unwrap();
        stir(&params);
        let y = random(&[1, 1, 4, 4], 1.0, 0);
        let mut grad = y.zeros_like();
        drop(net.energy_grad(&y, &mut grad).unwrap());
        assert!(grad.abs().max().double_value(&[]) > 1e-3);
        let energy = |y: &Tensor| net.energy_graph(y).unwrap().double_value(&[0]);
        let h = 1e-5;
        for pixel in 0..16 {
            let shift = Tensor::zeros([16], (Kind::Double, tch::Device::Cpu));
            let _ = shift.get(pixel).fill_(h);
            let shift = shift.view([1, 1, 4, 4]);
            let quotient = (energy(&(&y + &shift)) - energy(&(&y - &shift))) / (2.0 * h);
            let found = grad.view(-1).double_value(&[pixel]);
            assert!((found - quotient).abs() < 1e-8 * (1.0 + quotient.abs()), "{pixel}: {found} {quotient}");
        }
    }

    #[test]
    fn steps_follow_one_another_without_memory() {
        let mut params = double();
        let net = ImageEbt::new(&tiny(), &mut params).unwrap();
        stir(&params);
        let y = random(&[2, 1, 4, 4], 1.0, 0);
        let mut grad = y.zeros_like();
        drop(net.energy_grad(&y, &mut grad).unwrap());
        let once = net.denoise(&y, 1).unwrap();
        assert!((&once - (&y - grad * 0.7)).abs().max().double_value(&[]) < 1e-14);
        assert_eq!(net.denoise(&once, 2).unwrap(), net.denoise(&y, 3).unwrap());
        assert!(!once.requires_grad() && net.denoise(&y, 0).is_err());
    }
}
