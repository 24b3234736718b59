//! Against numbers of the released model classes (`tests/fixtures/make_ebt_parity.py` says how they were made).

use std::path::Path;

use ebm_core::random::Purpose;
use ebm_core::torch::{Params, TensorRng};
use ebm_samplers::descent::{Landscape, LossOn};
use ebm_train::optim::Named;
use ebm_train::tensors;
use tch::{Device, Kind, Tensor};

use super::weights::{config_of, load_released, released};
use super::*;

fn fixture() -> Named {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ebt_parity.safetensors");
    tensors::load(&path).unwrap()
}

fn part(all: &Named, prefix: &str) -> Named {
    let own = |(n, t): &(String, Tensor)| Some((n.strip_prefix(prefix)?.to_owned(), t.shallow_clone()));
    all.iter().filter_map(own).collect()
}

fn get(all: &Named, name: &str) -> Tensor {
    all.iter().find(|(n, _)| n == name).unwrap().1.shallow_clone()
}

fn agree(found: &Tensor, trusted: &Tensor, what: &str) {
    let scale = trusted.abs().max().double_value(&[]);
    let error = (found.detach().reshape_as(trusted) - trusted).abs().max().double_value(&[]);
    assert!(error <= 1e-4 * scale, "{what}: {error} of {scale}");
}

fn check(landscape: &dyn Landscape, alpha: &Tensor, all: &Named, what: &str) {
    let descent = ebm_samplers::descent::Descent { loss_on: LossOn::EveryStep, ..s1(2).prediction(2, false) };
    let mut rng = TensorRng::new(0, Purpose::User);
    let run = descent.run(landscape, &get(all, "y_0"), alpha, &mut rng).unwrap();
    for step in 0..2 {
        agree(
            &run.energies[step],
            &get(all, &format!("energy_{step}")),
            &format!("{what}: energies of step {step}"),
        );
        agree(
            &run.kept[step],
            &get(all, &format!("logits_{step}")),
            &format!("{what}: logits of step {step}"),
        );
    }
}

#[test]
fn energies_and_logits_are_those_of_the_released_code() {
    let all = fixture();
    let tokens = get(&all, "tokens");
    for (name, variant) in [("default", Variant::Default), ("time_embed", Variant::TimeEmbedding(2))] {
        let all = part(&all, &format!("{name}/"));
        let weights = part(&all, "weights/");
        let config = config_of(&weights, 2, 8).unwrap();
        assert_eq!((config.variant, config.vocabulary, config.transformer.hidden), (variant, 32, 16));
        let mut params = Params::new(0, Device::Cpu);
        let net = EbtText::new(&config, &mut params).unwrap();
        assert_eq!(load_released(&params, &weights).unwrap(), Some(0.0));
        assert_eq!(net.alpha().double_value(&[]), 500.0);
        let alpha = net.alpha().detach();

        let observed = net.observe(&tokens).unwrap();
        check(&net.landscape(&observed), &alpha, &all, name);
        check(&net.recomputing_landscape(&tokens), &alpha, &all, name);
        let fused = FusedText::new(&net).unwrap();
        check(&fused.landscape(&net, &tokens).unwrap(), &alpha, &all, name);

        // Back under the same names: nothing lost, nothing added.
        let back = released(&params, Some(0.0)).unwrap();
        let sorted = |named: &Named| {
            let mut names: Vec<String> = named.iter().map(|(n, t)| format!("{n} {:?}", t.size())).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&back), sorted(&weights));
    }
}

#[test]
fn the_baseline_is_that_of_the_released_code() {
    let fixture = fixture();
    let all = part(&fixture, "transformer/");
    let transformer = crate::nn::TransformerConfig::new(2, 16, 2, 8);
    let mut params = Params::new(0, Device::Cpu);
    let net = Baseline::new(&BaselineConfig { vocabulary: 32, transformer }, &mut params).unwrap();
    load_released(&params, &part(&all, "weights/")).unwrap();
    let logits = net.logits(&get(&fixture, "tokens")).unwrap();
    assert_eq!(logits.kind(), Kind::Float);
    agree(&logits, &get(&all, "logits"), "logits");
}
