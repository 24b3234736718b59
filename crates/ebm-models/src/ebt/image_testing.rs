//! What the tests of the image models share.

use ebm_core::random::Purpose;
use ebm_core::torch::{Params, TensorRng};

use tch::{Device, Kind, Tensor};

use super::image::{ALPHA, ImageEbtConfig};
use crate::nn::PatchTransformerConfig;

pub fn tiny() -> ImageEbtConfig {
    let trunk = PatchTransformerConfig {
        channels: 1,
        side: 4,
        patch: 2,
        n_layers: 2,
        width: 8,
        n_heads: 2,
        mlp_ratio: 1,
    };
    ImageEbtConfig { trunk, step_size: 0.7 }
}

pub fn random(size: &[i64], std: f64, call: u64) -> Tensor {
    let mut rng = TensorRng::new(11, Purpose::User).from_step(call);
    rng.normal(size, std, Kind::Double, Device::Cpu).unwrap()
}

/// Every parameter but the step size away from its start.
pub fn stir(params: &Params) {
    let named = params.named().iter().enumerate();
    let value = |(i, (name, p)): (usize, &(String, Tensor))| {
        let value = if name == ALPHA { p.detach().copy() } else { random(&p.size(), 0.4, 100 + i as u64) };
        (name.clone(), value)
    };
    params.load(&named.map(value).collect::<Vec<_>>()).unwrap();
}

pub fn double() -> Params {
    Params::new(0, Device::Cpu).with_kind(Kind::Double)
}
