//! Weights in and out under the parameter names of EBT's released code (alexiglad/EBT at 0ad3628).
//!
//! Our parameters have those names already: `embeddings.weight` `[V, D]`, `vocab_to_embed.weight` `[D, V]`, `alpha`,
//! `transformer.layers.{i}.attention.{wq,wk,wv,wo}.weight`, `….feed_forward.{w1,w2,w3}.weight`,
//! `….{attention_norm,ffn_norm}.weight`, `transformer.norm.weight`, `transformer.final_layer.weight` `[1, D]`, with step
//! tokens `transformer.time_embeddings.weight` `[K, D]`; the baseline `output.weight` `[V, D]`. What differs: checkpoints
//! of its trainer put `model.` before each name, and EBT's hold `langevin_dynamics_noise_std`, which is a setting here.

use ebm_core::torch::Params;
use ebm_core::{Error, Result};
use ebm_train::optim::Named;
use tch::{Kind, Tensor};

use super::config::{EbtTextConfig, Variant};
use crate::nn::TransformerConfig;

const NOISE: &str = "langevin_dynamics_noise_std";

/// Overwrite `params` by a checkpoint's tensors, with or without `model.` before their names, in any float type. Returns
/// the checkpoint's noise standard deviation, where it has one.
///
/// # Errors
/// Names every tensor that is missing, is not the model's, or has another shape; then nothing was changed.
pub fn load_released(params: &Params, tensors: &Named) -> Result<Option<f64>> {
    let plain = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_owned();
    let mut own: Named = tensors.iter().map(|(name, t)| (plain(name), t.shallow_clone())).collect();
    let noise = match own.iter().position(|(name, _)| name == NOISE) {
        None => None,
        Some(at) => Some(own.swap_remove(at).1.f_double_value(&[])?), // host read: a setting
    };
    let mut problems = Vec::new();
    for (name, parameter) in params.named() {
        match own.iter().find(|(n, _)| n == name) {
            None => problems.push(format!("'{name}' is missing")),
            Some((_, t)) if t.size() != parameter.size() => {
                problems.push(format!(
                    "'{name}' has the shape {:?} instead of {:?}",
                    t.size(),
                    parameter.size()
                ));
            }
            Some(_) => {}
        }
    }
    let unknown = own.iter().filter(|(name, _)| !params.named().iter().any(|(n, _)| n == name));
    problems.extend(unknown.map(|(name, _)| format!("'{name}' is not one of this model's")));
    if problems.is_empty() {
        params.load(&own)?;
        return Ok(noise);
    }
    problems.sort();
    Err(Error::user(format!("the weights do not fit this model: {}", problems.join("; "))))
}

/// The parameters as the released code names them, to be read there; `noise_std` for an EBT.
///
/// # Errors
/// When LibTorch cannot allocate.
pub fn released(params: &Params, noise_std: Option<f64>) -> Result<Named> {
    let mut named = Vec::new();
    for (name, tensor) in params.named() {
        named.push((name.clone(), tensor.f_detach()?));
    }
    if let Some(std) = noise_std {
        let value = Tensor::f_from_slice(&[std])?.f_to_kind(Kind::Float)?.f_view([] as [i64; 0])?;
        named.push((NOISE.to_owned(), value));
    }
    Ok(named)
}

/// The sizes that a checkpoint's shapes tell; heads and context are in no shape.
///
/// # Errors
/// Names a tensor without which there is no telling.
pub fn config_of(tensors: &Named, n_heads: usize, context: usize) -> Result<EbtTextConfig> {
    let size = |name: &str| -> Result<Vec<usize>> {
        let with_prefix = format!("model.{name}");
        let found = tensors.iter().find(|(n, _)| n == name || *n == with_prefix);
        let (_, t) =
            found.ok_or_else(|| Error::user(format!("the weights do not hold '{name}': is this an EBT?")))?;
        Ok(t.size().iter().map(|n| *n as usize).collect())
    };
    let [vocabulary, width] = size("embeddings.weight")?[..] else {
        return Err(Error::user("'embeddings.weight' is no matrix"));
    };
    let hidden = size("transformer.layers.0.feed_forward.w1.weight")?[0];
    let n_layers =
        (0..).take_while(|i| size(&format!("transformer.layers.{i}.ffn_norm.weight")).is_ok()).count();
    let variant = match size("transformer.time_embeddings.weight") {
        Ok(size) => Variant::TimeEmbedding(size[0]),
        Err(_) => Variant::Default,
    };
    let transformer =
        TransformerConfig { hidden, ..TransformerConfig::new(n_layers, width, n_heads, context) };
    let config = EbtTextConfig { vocabulary, variant, step_size: 1.0, transformer };
    config.check()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::super::tests::tiny;
    use super::*;

    #[test]
    fn weights_make_the_round_trip_and_tell_their_sizes() {
        for variant in [Variant::Default, Variant::TimeEmbedding(3)] {
            let (net, params) = tiny(variant, Kind::Float);
            let saved = released(&params, Some(3.0)).unwrap();
            let prefixed: Named = saved.iter().map(|(n, t)| (format!("model.{n}"), t.copy())).collect();
            let (_, other) = tiny(variant, Kind::Float);
            other.tensors().iter().for_each(|p| tch::no_grad(|| drop(p.shallow_clone().zero_())));
            assert_eq!(load_released(&other, &prefixed).unwrap(), Some(3.0));
            for (a, b) in params.tensors().iter().zip(other.tensors()) {
                assert!(*a == b);
            }
            let config = config_of(&prefixed, 2, net.config().transformer.context).unwrap();
            let expected = EbtTextConfig { step_size: 1.0, ..net.config().clone() };
            assert_eq!(config, expected);
        }
    }

    #[test]
    fn everything_that_does_not_fit_is_named_and_nothing_is_changed() {
        let (_, params) = tiny(Variant::Default, Kind::Float);
        let mut wrong = released(&params, None).unwrap();
        wrong.retain(|(name, _)| name != "transformer.norm.weight");
        wrong.push(("transformer.extra".into(), Tensor::zeros([1], (Kind::Float, tch::Device::Cpu))));
        wrong[0].1 = wrong[0].1.narrow(0, 0, 2);
        let before = params.tensors()[1].copy();
        wrong[1].1 = &wrong[1].1 + 1.0;
        let error = load_released(&params, &wrong).unwrap_err().to_string();
        for text in [
            "'transformer.norm.weight' is missing",
            "'transformer.extra' is not one of this model's",
            "'embeddings.weight' has the shape [2, 8] instead of [7, 8]",
        ] {
            assert!(error.contains(text), "{error}");
        }
        assert!(params.tensors()[1] == before);
        assert!(config_of(&Vec::new(), 2, 4).unwrap_err().to_string().contains("embeddings.weight"));
    }
}
