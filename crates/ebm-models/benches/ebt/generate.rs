//! Generation: time per token with the cache against our own path that computes the doubled sequence anew.

use ebm_core::random::Purpose;
use ebm_core::torch::{Params, TensorRng};
use ebm_models::ebt::{EbtText, GenerateConfig, Generator, Variant, s1};
use ebm_samplers::descent::{At, Landscape};
use tch::{Device, Kind, Tensor};

use crate::harness::{Bench, Figure, Rival, seconds};
use crate::step::Sizes;

pub fn run(bench: &mut Bench) {
    for (name, variant) in [("default", Variant::Default), ("time embedding", Variant::TimeEmbedding(2))] {
        let context = if bench.smoke { 32 } else { 256 };
        let sizes = Sizes {
            n_layers: 2,
            width: 128,
            n_heads: 2,
            hidden: 128,
            vocabulary: 256,
            context: context + 64,
            batch: 1,
            variant,
        };
        let mut params = Params::new(0, Device::Cpu);
        let net = EbtText::new(&sizes.config(), &mut params).unwrap();
        let text: Vec<i64> = (0..context as i64).map(|i| (i * 37 + i * i) % 256).collect();
        let config = GenerateConfig { temperature: 0.0, ..GenerateConfig::default() };
        let difference = agreement(&net, &text, &config);
        assert!(difference < 1e-5, "cached and parallel energies differ by {difference}");
        let note =
            format!("2 inner steps, batch 1, at context {context}; energies agree to {difference:.1e}");
        let tokens = if bench.smoke { 2 } else { 32 };
        let figure = Figure::lower(format!("generation, {name}"), "s/token", &note);
        bench.compare(
            &[figure],
            |_| {
                let mut generator = Generator::new(&net, &text, config.clone()).unwrap();
                vec![
                    seconds(|| {
                        (0..tokens).for_each(|_| {
                            let _ = generator.next_token().unwrap();
                        })
                    }) / tokens as f64,
                ]
            },
            vec![Rival::in_process("our path without a cache", "this commit", |_| {
                vec![seconds(|| (0..2).for_each(|_| drop(doubled(&net, &text)))) / 2.0]
            })],
        );
    }
}

/// One token by the doubled sequence: every position is descended, the observed stream anew at every step.
fn doubled(net: &EbtText, text: &[i64]) -> (Tensor, f64) {
    let s = text.len() as i64;
    let tokens = Tensor::from_slice(text).view([1, s]);
    let mut rng = TensorRng::new(0, Purpose::Evaluation);
    let one = rng.normal(&[1, 1, 256], 1.0, Kind::Float, Device::Cpu).unwrap();
    let landscape = net.recomputing_landscape(&tokens);
    let alpha = net.alpha().detach();
    let run = s1(2).prediction(2, false).run(&landscape, &one.repeat([1, s, 1]), &alpha, &mut rng).unwrap();
    let p = run.last.softmax(-1, Kind::Float);
    let energy = landscape.energy(&p, &mut At { step: 2, noise_std: 0.0, rng: &mut rng }).unwrap();
    let energy = energy.double_value(&[0, s - 1]);
    (run.last, energy)
}

/// Relative difference of the energies of the next token by both paths.
fn agreement(net: &EbtText, text: &[i64], config: &GenerateConfig) -> f64 {
    let token = Generator::new(net, text, config.clone()).unwrap().next_token().unwrap();
    let (_, energy) = doubled(net, text);
    (token.energy - energy).abs() / energy.abs().max(1.0)
}
