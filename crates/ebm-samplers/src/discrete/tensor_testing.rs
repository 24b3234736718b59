//! What the tests of discrete kernels on tensors share: a small network, and its law by enumeration.

use ebm_core::exact::Enumeration;
use ebm_core::random::{Purpose, Stream};
use ebm_core::torch::TensorRng;
use ebm_core::{Energy, GradEnergy, TensorScalar, Torch};
use tch::{Device, Kind, Tensor, nn};

use super::testing::{assert_counts, assert_mean, index, probabilities, states};
use crate::kernel::Kernel;
use crate::{SampleConfig, sample, sample_batch};

/// A small network of `n` inputs in double precision, with weights of our own, so that the test is the same always.
pub fn network(n: i64) -> impl GradEnergy<Tensor> {
    let mut rng = TensorRng::new(5, Purpose::Init);
    let mut normal = |size: &[i64], sigma| rng.normal(size, sigma, Kind::Double, Device::Cpu).unwrap();
    let (w1, b1, w2) = (normal(&[n, 8], 0.8), normal(&[8], 0.5), normal(&[8, 1], 1.2));
    Torch::module(nn::func(move |x: &Tensor| (x.flatten(1, -1).matmul(&w1) + &b1).tanh().matmul(&w2)))
}

/// States as the tensor that the network takes: bits, or one-hot rows for `k` above 2.
pub fn point(states: &[Vec<u8>], k: usize) -> Tensor {
    tch::set_num_threads(1);
    let (chains, n) = (states.len() as i64, states[0].len() as i64);
    let flat: Vec<i64> = states.iter().flatten().map(|v| i64::from(*v)).collect();
    let x = Tensor::from_slice(&flat).view([chains, n]);
    if k == 2 { x.to_kind(Kind::Double) } else { x.one_hot(k as i64).to_kind(Kind::Double) }
}

pub fn values(x: &Tensor) -> Vec<u8> {
    let x = if x.dim() == 3 { x.argmax(2, false) } else { x.shallow_clone() };
    Vec::<i64>::try_from(x.to_kind(Kind::Int64).view(-1)).unwrap().into_iter().map(|v| v as u8).collect()
}

pub fn enumerate<E: Energy<Tensor>>(energy: &E, n: usize, k: usize) -> Enumeration {
    let all = states(n, k);
    let TensorScalar::Each(energies) = energy.energy(&point(&all, k)).unwrap() else { panic!("one each") };
    let energies = Vec::<f64>::try_from(energies).unwrap();
    Enumeration::new(n, k, |x| energies[index(x, k)]).unwrap()
}

/// From 20,000 exact draws a few steps lead to draws of the same law.
pub fn check_stationary<K: Kernel<Tensor, E>, E: GradEnergy<Tensor>>(
    kernel: &K,
    energy: &E,
    n: usize,
    k: usize,
) {
    let law = enumerate(energy, n, k);
    let mut stream = Stream::new(3, Purpose::Start, 0);
    let starts: Vec<Vec<u8>> = (0..20_000).map(|_| law.sample(&mut stream)).collect();
    let x = sample_batch(kernel, energy, point(&starts, k), 6, 4, &mut ()).unwrap();
    let mut counts = vec![0; k.pow(n as u32)];
    values(&x).chunks_exact(n).for_each(|x| counts[index(x, k)] += 1);
    assert_counts(&counts, &probabilities(&law));
}

/// Long runs from one corner have the right means.
pub fn check_moments<K: Kernel<Tensor, E>, E: GradEnergy<Tensor>>(
    kernel: &K,
    energy: &E,
    n: usize,
    k: usize,
) {
    let law = enumerate(energy, n, k);
    let config = SampleConfig { n_draws: 200, burn_in: 100, seed: 6, ..Default::default() };
    let run = sample(kernel, energy, point(&vec![vec![0; n]; 128], k), &config).unwrap();
    let width = if k == 2 { 1 } else { k };
    for i in 0..n {
        for state in 1..k {
            let at = if k == 2 { i } else { i * width + state };
            let chain = |c: ndarray::ArrayView2<f64>| c.column(at).mean().unwrap();
            let means: Vec<f64> = run.draws.array().outer_iter().map(chain).collect();
            let exact = law.expectation(|x| f64::from(u8::from(usize::from(x[i]) == state)));
            assert_mean(&means, exact, &format!("P(x_{i} = {state})"));
        }
    }
}
