//! The text model against finite differences in f64, and its streams against leakage.

use ebm_core::Result;
use ebm_core::random::Purpose;
use ebm_core::torch::{Params, TensorRng};
use ebm_samplers::descent::{At, Descent, Graph, Landscape, LossOn, Slope, Steps};
use ebm_train::{Batch, Objective};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::nn::TransformerConfig;

pub(super) const VOCABULARY: i64 = 7;
pub(super) const CONTEXT: i64 = 5;

pub(super) fn tiny(variant: Variant, kind: Kind) -> (EbtText, Params) {
    let config = EbtTextConfig {
        vocabulary: VOCABULARY as usize,
        variant,
        step_size: 3.0,
        transformer: TransformerConfig { hidden: 12, ..TransformerConfig::new(2, 8, 2, CONTEXT as usize) },
    };
    let mut params = Params::new(5, Device::Cpu).with_kind(kind);
    let net = EbtText::new(&config, &mut params).unwrap();
    assert_eq!(params.count() as u64, config.n_parameters());
    (net, params)
}

pub(super) fn rng() -> TensorRng {
    TensorRng::new(11, Purpose::User)
}

pub(super) fn tokens(n: i64, length: i64) -> Tensor {
    let all: Vec<i64> = (0..n * length).map(|i| (i * i + 3 * i + 1) % VOCABULARY).collect();
    Tensor::from_slice(&all).view([n, length])
}

fn value(t: &Tensor) -> f64 {
    t.double_value(&[])
}

fn energies(net: &EbtText, tokens: &Tensor, p: &Tensor, step: usize) -> Tensor {
    let observed = net.observe(tokens).unwrap();
    net.landscape(&observed).energy(p, &mut At { step, noise_std: 0.0, rng: &mut rng() }).unwrap()
}

const VARIANTS: [Variant; 2] = [Variant::Default, Variant::TimeEmbedding(2)];

/// A changed token leaves the energies before it exactly as they were; a changed candidate changes its own alone.
#[test]
fn nothing_leaks_from_the_future_or_between_candidates() {
    for variant in VARIANTS {
        let (net, _params) = tiny(variant, Kind::Double);
        let p = rng().normal(&[2, CONTEXT, VOCABULARY], 1.0, Kind::Double, Device::Cpu).unwrap();
        let before = energies(&net, &tokens(2, CONTEXT), &p, 1);
        for j in 0..CONTEXT {
            let other = tokens(2, CONTEXT);
            let _ = other.get(0).get(j).fill_((other.int64_value(&[0, j]) + 1) % VOCABULARY);
            let after = energies(&net, &other, &p, 1);
            for i in 0..CONTEXT {
                let same = before.double_value(&[0, i]) == after.double_value(&[0, i]);
                assert_eq!(same, i < j, "{variant:?}: token {j}, energy {i}");
            }
            assert_eq!(before.get(1), after.get(1));
            let changed = p.copy();
            let _ = changed.get(0).get(j).get(2).fill_(0.5);
            let after = energies(&net, &tokens(2, CONTEXT), &changed, 1);
            for i in 0..CONTEXT {
                let same = before.double_value(&[0, i]) == after.double_value(&[0, i]);
                assert_eq!(same, i != j, "{variant:?}: candidate {j}, energy {i}");
            }
        }
    }
}

#[test]
fn the_inner_gradient_is_the_finite_difference() {
    for variant in VARIANTS {
        let (net, _params) = tiny(variant, Kind::Double);
        let observed = net.observe(&tokens(1, CONTEXT)).unwrap();
        let landscape = net.landscape(&observed);
        let p = rng().normal(&[1, CONTEXT, VOCABULARY], 1.0, Kind::Double, Device::Cpu).unwrap();
        let (mut noise, h) = (rng(), 1e-5);
        let mut at = At { step: 1, noise_std: 0.0, rng: &mut noise };
        let slope = landscape.slope(&p, &mut at, false).unwrap();
        for i in 0..CONTEXT {
            for c in 0..VOCABULARY {
                let moved = |by: f64| {
                    let p = p.copy();
                    let mut entry = p.get(0).get(i).get(c);
                    let _ = entry.g_add_scalar_(by);
                    value(&energies(&net, &tokens(1, CONTEXT), &p, 1).sum(Kind::Double))
                };
                let expected = (moved(h) - moved(-h)) / (2.0 * h);
                let found = slope.gradient.double_value(&[0, i, c]);
                assert!((found - expected).abs() < 1e-8, "{variant:?} {i} {c}: {found} {expected}");
            }
        }
    }
}

/// A landscape told that the descent began some steps earlier.
struct Later<'a>(TextLandscape<'a>, usize);

impl Landscape for Later<'_> {
    fn energy(&self, y: &Tensor, at: &mut At<'_>) -> Result<Tensor> {
        at.step += self.1;
        self.0.energy(y, at)
    }
    fn slope(&self, y: &Tensor, at: &mut At<'_>, graph: bool) -> Result<Slope> {
        at.step += self.1;
        self.0.slope(y, at, graph)
    }
}

/// The loss of a policy as a plain function of the parameters: what is detached in training is held fixed, which
/// leaves one step from each of the recorded candidates (S1: all of them; S2: the last).
fn loss_of(net: &EbtText, descent: &Descent, starts: &[(usize, Tensor)], tokens: &Tensor) -> f64 {
    let (context, targets) = (tokens.narrow(1, 0, CONTEXT), tokens.narrow(1, 1, CONTEXT));
    let observed = net.observe(&context).unwrap();
    let mean = |(from, start): &(usize, Tensor)| {
        let later = Later(net.landscape(&observed), *from);
        let run = descent.run(&later, start, &net.alpha().detach(), &mut rng()).unwrap();
        value(&cross_entropy(&run.last, &targets, None).unwrap())
    };
    starts.iter().map(mean).sum::<f64>() / starts.len() as f64
}

#[test]
fn gradients_of_the_parameters_are_finite_differences() {
    let tokens = tokens(2, CONTEXT + 1);
    let size = [2, CONTEXT, VOCABULARY];
    let start = TensorRng::new(1, Purpose::Objective).normal(&size, 1.0, Kind::Double, Device::Cpu).unwrap();
    let n_steps = 3;
    for variant in VARIANTS {
        for (graph, loss_on) in [
            (Graph::PerStep, LossOn::EveryStep),
            (Graph::LastStep, LossOn::LastStep),
            (Graph::Full, LossOn::LastStep),
        ] {
            let (net, params) = tiny(variant, Kind::Double);
            let descent = Descent { n_steps: Steps::Fixed(n_steps), graph, loss_on, ..s1(n_steps) };
            let mut objective = EbtObjective::new(descent, true, 1).unwrap();
            let batch = Batch { x: tokens.shallow_clone(), labels: None };
            let loss = objective.loss(&net, &batch, 0).unwrap().loss;
            let grads = Tensor::run_backward(&[&loss], &params.tensors(), false, false);

            // Candidates on the way, at the unchanged parameters.
            let observed = net.observe(&tokens.narrow(1, 0, CONTEXT)).unwrap();
            let mut path = vec![(0, start.shallow_clone())];
            for i in 0..n_steps - 1 {
                let later = Later(net.landscape(&observed), i);
                let one = s1(1).prediction(1, false);
                let next = one.run(&later, &path[i].1, &net.alpha().detach(), &mut rng()).unwrap().last;
                path.push((i + 1, next));
            }
            let one = s1(1).prediction(1, false);
            let (starts, steps) = match graph {
                Graph::PerStep => (path, one),
                Graph::LastStep => (path.split_off(n_steps - 1), one),
                _ => (vec![path.swap_remove(0)], s1(1).prediction(n_steps, false)),
            };
            assert!((loss_of(&net, &steps, &starts, &tokens) - value(&loss)).abs() < 1e-12);
            // A direction per parameter tensor.
            for ((name, parameter), grad) in params.named().iter().zip(&grads) {
                let direction = rng().normal(&parameter.size(), 1.0, Kind::Double, Device::Cpu).unwrap();
                let found = if grad.defined() { value(&(grad * &direction).sum(Kind::Double)) } else { 0.0 };
                let h = 1e-6;
                let moved = |by: f64| {
                    tch::no_grad(|| {
                        let _ = parameter.shallow_clone().g_add_(&(&direction * by));
                    });
                    let loss = loss_of(&net, &steps, &starts, &tokens);
                    tch::no_grad(|| {
                        let _ = parameter.shallow_clone().g_sub_(&(&direction * by));
                    });
                    loss
                };
                // Five points: the losses' third derivatives reach 1e6, and two points would see them.
                let expected =
                    (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h);
                let error = (found - expected).abs();
                assert!(
                    error < 2e-8 * (1.0 + expected.abs()),
                    "{variant:?} {graph:?} {name}: {found} {expected}"
                );
            }
        }
    }
}

/// Hand-derived gradients against autograd's, for both published policies and both variants.
#[test]
fn fused_gradients_are_those_of_autograd() {
    for variant in VARIANTS {
        for (descent, learned) in [(s1(3), true), (s2(0.7), false)] {
            let (net, params) = tiny(variant, Kind::Float);
            let share = ReplayShare { capacity: 4, share: 0.5 };
            let make = |gradients| {
                let objective = EbtObjective::new(descent, learned, 4).unwrap().with_replay(share).unwrap();
                objective.with_gradients(gradients).unwrap()
            };
            let (mut autograd, mut fused) = (make(Gradients::Autograd), make(Gradients::Fused));
            for step in 0..3 {
                let batch = Batch { x: tokens(2, CONTEXT + 1), labels: None };
                let trusted = autograd.loss(&net, &batch, step).unwrap();
                let found = fused.loss(&net, &batch, step).unwrap();
                assert!((value(&trusted.loss) - value(&found.loss)).abs() < 1e-4);
                let trusted = Tensor::run_backward(&[&trusted.loss], &params.tensors(), false, false);
                for ((found, trusted), (name, _)) in
                    found.gradients.unwrap().iter().zip(&trusted).zip(params.named())
                {
                    if !trusted.defined() {
                        assert_eq!(value(&found.abs().max()), 0.0, "{name}");
                        continue;
                    }
                    let scale = value(&trusted.abs().max());
                    let error = value(&(found - trusted).abs().max());
                    assert!(error < 1e-4 * scale, "{variant:?} {name}: {error} of {scale}");
                }
            }
        }
    }
    let full = Descent { graph: Graph::Full, ..s1(2) };
    assert!(EbtObjective::new(full, true, 0).unwrap().with_gradients(Gradients::Fused).is_err());
}

/// The shared observed stream against the released code's way, anew at each step.
#[test]
fn recomputing_the_observed_stream_changes_nothing() {
    for variant in VARIANTS {
        let (net, _params) = tiny(variant, Kind::Double);
        let tokens = tokens(2, CONTEXT);
        let p = rng().normal(&[2, CONTEXT, VOCABULARY], 1.0, Kind::Double, Device::Cpu).unwrap();
        let descent = s1(3).prediction(3, false);
        let observed = net.observe(&tokens).unwrap();
        let alpha = net.alpha().detach();
        let once = descent.run(&net.landscape(&observed), &p, &alpha, &mut rng()).unwrap().last;
        let anew = descent.run(&net.recomputing_landscape(&tokens), &p, &alpha, &mut rng()).unwrap().last;
        assert_eq!(once, anew);
    }
}

/// The next token's landscape after a cache grown token by token is the last row of the parallel form.
#[test]
fn a_growing_cache_gives_the_parallel_energies() {
    for variant in VARIANTS {
        let (net, _params) = tiny(variant, Kind::Double);
        let tokens = tokens(1, CONTEXT);
        let p = rng().normal(&[1, CONTEXT, VOCABULARY], 1.0, Kind::Double, Device::Cpu).unwrap();
        let parallel = energies(&net, &tokens, &p, 1);
        let mut observed = net.observe(&tokens.narrow(1, 0, 1)).unwrap();
        for i in 0..CONTEXT {
            if i > 0 {
                net.observe_more(&tokens.narrow(1, i, 1), &mut observed).unwrap();
            }
            let mut noise = rng();
            let mut at = At { step: 1, noise_std: 0.0, rng: &mut noise };
            let energy = net.next_landscape(&observed).energy(&p.narrow(1, i, 1), &mut at).unwrap();
            let difference = energy.double_value(&[0, 0]) - parallel.double_value(&[0, i]);
            assert!(difference.abs() < 1e-12, "{variant:?} {i}: {difference}");
        }
        assert!(net.observe_more(&tokens.narrow(1, 0, 1).repeat([1, 2]), &mut observed).is_err());
    }
}

/// Replayed rows join after the fresh ones and are never added again.
#[test]
fn only_fresh_rows_are_kept_for_replay() {
    let (net, _params) = tiny(Variant::TimeEmbedding(1), Kind::Double);
    let share = ReplayShare { capacity: 6, share: 0.5 };
    let mut objective = EbtObjective::new(s2(0.3), false, 2).unwrap().with_replay(share).unwrap();
    let mut stored = Vec::new();
    for step in 0..4 {
        let x = (tokens(2, CONTEXT + 1) + step).remainder(VOCABULARY);
        let batch = Batch { x, labels: None };
        let _ = objective.loss(&net, &batch, step as u64).unwrap();
        stored.push(batch.x);
    }
    let (state, rows) = objective.state().unwrap();
    let kept = &state[0].1;
    assert_eq!(*kept, Tensor::cat(&stored[1..], 0));
    assert_eq!(state[1].1.size(), [6, CONTEXT, VOCABULARY]);
    let batch = Batch { x: tokens(2, CONTEXT + 1), labels: None };
    let mut again = EbtObjective::new(s2(0.3), false, 2).unwrap().with_replay(share).unwrap();
    again.restore(&state, &rows).unwrap();
    let a = objective.loss(&net, &batch, 9).unwrap().loss;
    assert_eq!(value(&a), value(&again.loss(&net, &batch, 9).unwrap().loss));
    let mut other = EbtObjective::new(s2(0.3), false, 2).unwrap();
    assert!(value(&a) != value(&other.loss(&net, &batch, 9).unwrap().loss));
}

#[test]
fn what_is_logged() {
    let (net, _params) = tiny(Variant::Default, Kind::Double);
    let mut objective = EbtObjective::new(s1(2), true, 2).unwrap();
    let batch = Batch { x: tokens(2, CONTEXT + 1), labels: None };
    let loss = objective.loss(&net, &batch, 0).unwrap();
    let names: Vec<&str> = loss.metrics.iter().map(|(name, _)| *name).collect();
    for name in
        ["energy_drop", "energy_fell", "slope_first", "not_finite", "alpha", "loss_first", "loss_last"]
    {
        assert!(names.contains(&name), "{name}");
    }
    let diagnostics = objective.diagnostics(&net).unwrap();
    assert!(diagnostics[0].0 == "alpha_curvature" && value(&diagnostics[0].1) > 0.0);
}

#[test]
fn foreign_tokens_and_long_texts_are_named() {
    let (net, _params) = tiny(Variant::Default, Kind::Float);
    let says = |tokens: &Tensor, text: &str| {
        let error = net.check_tokens(tokens).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(
        &Tensor::from_slice(&[1i64, 9]).view([1, 2]),
        "token = 9: must be below the vocabulary's 7 (position 1)",
    );
    says(&tokens(1, CONTEXT + 1), "at most the context 5");
    says(&tokens(1, 1).narrow(1, 0, 0), "empty");
    net.check_tokens(&tokens(2, CONTEXT)).unwrap();
}

/// Computed in bf16 the loss and its gradient are those of f32 up to bf16's 8 bits, and arrive as f32.
#[test]
fn bf16_computes_with_the_weights_in_f32() {
    let flat = |tensors: &[Tensor]| {
        let parts: Vec<Tensor> = tensors.iter().filter(|t| t.defined()).map(|t| t.reshape(-1)).collect();
        Tensor::cat(&parts, 0).to_kind(Kind::Double)
    };
    let cosine = |a: &Tensor, b: &Tensor| value(&(a.dot(b) / (a.norm() * b.norm())));
    for variant in VARIANTS {
        for (descent, learned) in [(s1(2), true), (s2(0.3), false)] {
            let (net, params) = tiny(variant, Kind::Float);
            let batch = Batch { x: tokens(3, CONTEXT + 1), labels: None };
            let found = [Compute::Full, Compute::Bf16].map(|compute| {
                let objective = EbtObjective::new(descent, learned, 4).unwrap();
                let loss = objective.with_compute(compute).unwrap().loss(&net, &batch, 0).unwrap().loss;
                let gradients = Tensor::run_backward(&[&loss], &params.tensors(), false, false);
                assert!(gradients.iter().all(|g| !g.defined() || g.kind() == Kind::Float));
                (value(&loss), flat(&gradients))
            });
            let [(full, full_gradient), (bf16, bf16_gradient)] = found;
            assert!((full / bf16 - 1.0).abs() < 0.03 && full != bf16, "{variant:?} {full} {bf16}");
            let found = cosine(&full_gradient, &bf16_gradient);
            assert!(found > 0.98, "{variant:?} {learned}: {found}");
        }
    }
    let fused = EbtObjective::new(s1(2), true, 0).unwrap().with_gradients(Gradients::Fused).unwrap();
    assert!(fused.with_compute(Compute::Bf16).is_err());
}

/// A cast is the same function: f64 weights computed in f32 give f32's numbers, in f64.
#[test]
fn a_cast_network_is_the_same_function() {
    for variant in VARIANTS {
        let (net, _params) = tiny(variant, Kind::Double);
        let context = tokens(2, CONTEXT);
        let p = rng().normal(&[2, CONTEXT, VOCABULARY], 1.0, Kind::Double, Device::Cpu).unwrap();
        let p = p.softmax(-1, Kind::Double);
        let slope = |net: &EbtText| {
            let observed = net.observe(&context).unwrap();
            let mut rng = rng();
            let mut at = At { step: 0, noise_std: 0.0, rng: &mut rng };
            net.landscape(&observed).slope(&p, &mut at, true).unwrap()
        };
        let (wide, narrow) = (slope(&net), slope(&net.cast(Kind::Float).unwrap()));
        for (a, b) in [(wide.energy, narrow.energy), (wide.gradient, narrow.gradient)] {
            assert_eq!(b.kind(), Kind::Double);
            let error = value(&((&a - &b).abs().max() / a.abs().max()));
            assert!(error < 1e-5 && error > 0.0, "{variant:?} {error}");
        }
    }
    let config = BaselineConfig { vocabulary: 7, transformer: TransformerConfig::new(2, 8, 2, 5) };
    let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
    let net = Baseline::new(&config, &mut params).unwrap();
    let tokens = Tensor::from_slice(&[1i64, 4, 2, 0, 6]).view([1, 5]);
    let (wide, narrow) =
        (net.logits(&tokens).unwrap(), net.cast(Kind::Float).unwrap().logits(&tokens).unwrap());
    let error = value(&((&wide - &narrow).abs().max() / wide.abs().max()));
    assert!(narrow.kind() == Kind::Double && error < 1e-5 && error > 0.0, "{error}");
}
