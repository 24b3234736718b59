//! One attention layer with norms on queries and keys, and the feed-forward layer: what both stacks are made of.

use ebm_core::Result;
use ebm_core::torch::Path;
use tch::Tensor;

use super::config::PolicyNetConfig;
use crate::nn::attention::{KeysValues, attend, merge_heads, split_heads};
use crate::nn::{Linear, RmsNorm};

/// Added to mean squares.
pub(super) const NORM_EPS: f64 = 1e-6;

/// Queries of one sequence on keys and values of another or the same, each head's queries and keys normalised.
#[derive(Debug)]
pub(super) struct Attention {
    wq: Linear,
    wk: Linear,
    wv: Linear,
    wo: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    n_heads: usize,
}

impl Attention {
    pub fn new(config: &PolicyNetConfig, mut path: Path<'_>) -> Result<Self> {
        let head = config.width / config.n_heads;
        Ok(Self {
            wq: config.square().build(path.sub("wq"))?,
            wk: config.square().build(path.sub("wk"))?,
            wv: config.square().build(path.sub("wv"))?,
            wo: config.square().build(path.sub("wo"))?,
            q_norm: RmsNorm::new(head, NORM_EPS, path.sub("q_norm"))?,
            k_norm: RmsNorm::new(head, NORM_EPS, path.sub("k_norm"))?,
            n_heads: config.n_heads,
        })
    }

    /// What `seen` `[n, t, width]` offers.
    pub fn keys_values(&self, seen: &Tensor) -> Result<KeysValues> {
        let heads = |w: &Linear| split_heads(&w.forward(seen)?, self.n_heads);
        Ok(KeysValues { keys: self.k_norm.forward(&heads(&self.wk)?)?, values: heads(&self.wv)? })
    }

    /// `x` `[n, s, width]` asks; `mask` `[s, t]` is added to the scores.
    pub fn ask(&self, x: &Tensor, seen: &KeysValues, mask: Option<&Tensor>) -> Result<Tensor> {
        let q = self.q_norm.forward(&split_heads(&self.wq.forward(x)?, self.n_heads)?)?;
        self.wo.forward(&merge_heads(&attend(&q, &seen.keys, &seen.values, mask)?)?)
    }
}

/// `second(gelu(first(x)))`, with the GELU's tanh form.
#[derive(Debug)]
pub(super) struct FeedForward {
    first: Linear,
    second: Linear,
}

impl FeedForward {
    /// From `inputs` through the width to `outputs`.
    pub fn new(inputs: usize, width: usize, outputs: usize, mut path: Path<'_>) -> Result<Self> {
        Ok(Self {
            first: super::net::layer(inputs, width).build(path.sub("first"))?,
            second: super::net::layer(width, outputs).build(path.sub("second"))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.first.forward(x)?.f_gelu("tanh")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;
    use ebm_core::torch::{Params, TensorRng};
    use tch::{Device, Kind};

    /// Cross-attention where query `t` may look at observation `j` if `t >= j`, one query and head at a time.
    #[test]
    fn attention_with_the_mask_of_observations_is_the_naive_loop() {
        let config = PolicyNetConfig { width: 8, n_heads: 2, ..PolicyNetConfig::small(3, 2) };
        let mut params = Params::new(3, Device::Cpu).with_kind(Kind::Double);
        let attention = Attention::new(&config, params.root()).unwrap();
        let mut rng = TensorRng::new(1, Purpose::User);
        let mut random = |size: &[i64]| rng.normal(size, 1.0, Kind::Double, Device::Cpu).unwrap();
        let (x, seen) = (random(&[2, 4, 8]), random(&[2, 3, 8]));
        let mask = crate::nn::attention::causal_mask(4, 3, 0, Kind::Double, Device::Cpu).unwrap();
        let found = attention.ask(&x, &attention.keys_values(&seen).unwrap(), Some(&mask)).unwrap();

        let weights = |name: &str| {
            params.named().iter().find(|(n, _)| n == &format!("{name}.weight")).unwrap().1.copy()
        };
        let of = |t: &Tensor, at: &[i64]| t.double_value(at);
        let product = |w: &Tensor, x: &Tensor, b: i64, t: i64| -> Vec<f64> {
            (0..8).map(|o| (0..8).map(|i| of(w, &[o, i]) * of(x, &[b, t, i])).sum()).collect()
        };
        let normalised = |v: &[f64]| -> Vec<f64> {
            let mean = v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64;
            v.iter().map(|x| x / (mean + NORM_EPS).sqrt()).collect()
        };
        for b in 0..2 {
            for t in 0..4i64 {
                let q = product(&weights("wq"), &x, b, t);
                let mut joined = [0.0; 8];
                for head in 0..2 {
                    let part = |v: &[f64]| v[4 * head..4 * head + 4].to_vec();
                    let q = normalised(&part(&q));
                    let score = |j: i64| -> f64 {
                        let k = normalised(&part(&product(&weights("wk"), &seen, b, j)));
                        q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() / 2.0
                    };
                    let visible: Vec<i64> = (0..3).filter(|j| t >= *j).collect();
                    let total: f64 = visible.iter().map(|j| score(*j).exp()).sum();
                    for j in visible {
                        let v = part(&product(&weights("wv"), &seen, b, j));
                        (0..4).for_each(|i| joined[4 * head + i] += score(j).exp() / total * v[i]);
                    }
                }
                for o in 0..8 {
                    let expected: f64 =
                        (0..8).map(|i| of(&weights("wo"), &[o, i]) * joined[i as usize]).sum();
                    assert!((of(&found, &[b, t, o]) - expected).abs() < 1e-12);
                }
            }
        }
    }
}
