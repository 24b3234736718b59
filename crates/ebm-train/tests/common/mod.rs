//! A model whose optimum is known: a diagonal Gaussian with trainable mean and log precision.

use ebm_core::random::Purpose;
use ebm_core::torch::{Init, Params, TensorRng};
use ebm_core::{GraphEnergy, Result, StepRng, TrainableEnergy, tensor_energy};
use ebm_train::{Batch, BatchSource};
use tch::{Device, Kind, Tensor};

/// `E(x) = sum_i exp(s_i) (x_i - m_i)^2 / 2`.
pub struct GaussianModel {
    pub mean: Tensor,
    pub log_precision: Tensor,
}

impl GaussianModel {
    pub fn new(params: &mut Params, dim: i64) -> Self {
        let mut root = params.root();
        Self {
            mean: root.parameter("mean", &[dim], Init::Constant(0.0)).unwrap(),
            log_precision: root.parameter("log_precision", &[dim], Init::Constant(0.0)).unwrap(),
        }
    }

    #[allow(dead_code)]
    pub fn found(&self) -> (Vec<f64>, Vec<f64>) {
        let host = |t: &Tensor| Vec::<f64>::try_from(&t.detach().to_kind(Kind::Double)).unwrap();
        (host(&self.mean), host(&self.log_precision).iter().map(|s| (-s).exp()).collect())
    }
}

impl GraphEnergy for GaussianModel {
    fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
        let d = x.f_sub(&self.mean)?;
        let e = d.f_square()?.f_mul(&self.log_precision.f_exp()?)?.f_mul_scalar(0.5)?;
        Ok(e.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
    }
}

tensor_energy!(GaussianModel);

impl TrainableEnergy for GaussianModel {
    fn parameters(&self) -> Vec<Tensor> {
        vec![self.mean.shallow_clone(), self.log_precision.shallow_clone()]
    }
}

/// Fresh draws from N(mean, variance) at every step.
pub struct GaussianData {
    pub mean: [f32; 2],
    pub variance: [f32; 2],
    pub n: i64,
}

impl BatchSource for GaussianData {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let mut rng = TensorRng::new(5, Purpose::Synthetic);
        rng.begin_step(step);
        let z = rng.normal(&[self.n, 2], 1.0, Kind::Float, Device::Cpu)?;
        let scale = Tensor::from_slice(&self.variance).sqrt();
        Ok(Batch { x: z * scale + Tensor::from_slice(&self.mean), labels: None })
    }
}
