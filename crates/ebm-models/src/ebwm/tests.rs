//! EBWM as a whole: nothing leaks from the future, gradients are those of finite differences, and a descent on a film
//! learns it.

use ebm_core::random::Purpose;
use ebm_core::torch::{Params, TensorRng};
use ebm_samplers::descent::{Descent, Graph, LossOn, Steps, gradient_of, leaf};
use ebm_train::optim::{AdamW, AdamWConfig, Optimizer, ParamGroup};
use ebm_train::{Batch, Objective};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::nn::TransformerConfig;

const STEPS: usize = 3;

fn config() -> EbwmConfig {
    EbwmConfig { transformer: TransformerConfig::new(2, 8, 2, 4), step_size: 0.7, start: Start::Noise }
}

fn net() -> (Params, Ebwm) {
    let mut params = Params::new(5, Device::Cpu).with_kind(Kind::Double);
    let net = Ebwm::new(&config(), &mut params).unwrap();
    (params, net)
}

fn random(call: u64, size: &[i64]) -> Tensor {
    let mut rng = TensorRng::new(call, Purpose::User);
    rng.normal(size, 1.0, Kind::Double, Device::Cpu).unwrap()
}

fn descent(graph: Graph, loss_on: LossOn) -> Descent {
    Descent { n_steps: Steps::Fixed(STEPS), graph, loss_on, ..Descent::default() }
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

#[test]
fn sizes_are_those_of_the_config() {
    let (params, _) = net();
    assert_eq!(params.count() as u64, config().n_parameters());
    let control = FrameTransformerConfig { transformer: config().transformer };
    let mut params = Params::new(0, Device::Cpu);
    let transformer = FrameTransformer::new(&control, &mut params).unwrap();
    assert_eq!(params.count() as u64, control.n_parameters());
    let frames = Tensor::zeros([3, 4, 8], (Kind::Float, Device::Cpu));
    assert_eq!(transformer.predict(&frames).unwrap().size(), [3, 4, 8]);
    // Two layers of 7 x 64 weights over 4 places, keys of 2 places (half the context) twice 8 wide, and the head's 64.
    assert_eq!(control.prediction_macs(), 4 * (2 * (7 * 64 + 2 * 2 * 8) + 64));
    assert_eq!(control.training_macs(), 3 * control.prediction_macs());
}

#[test]
fn energies_know_the_past_and_their_own_candidate_only() {
    let (_, net) = net();
    let (frames, candidates) = (random(1, &[2, 4, 8]), random(2, &[2, 4, 8]));
    let energies = net.after(&frames).unwrap().energies(&candidates).unwrap();
    for j in 0..4 {
        let with_other = |x: &Tensor| {
            let other = x.copy();
            other.narrow(1, j, 1).copy_(&random(3, &[2, 1, 8]));
            other
        };
        let frame = net.after(&with_other(&frames)).unwrap().energies(&candidates).unwrap();
        let candidate = net.after(&frames).unwrap().energies(&with_other(&candidates)).unwrap();
        for i in 0..4 {
            let changed = |new: &Tensor| largest(&(new - &energies).narrow(1, i, 1)) > 0.0;
            assert_eq!(changed(&frame), i >= j, "frame {j}, energy {i}");
            assert_eq!(changed(&candidate), i == j, "candidate {j}, energy {i}");
        }
    }
    assert!(net.after(&frames).unwrap().energies(&candidates.narrow(1, 0, 3)).is_err());
    assert!(net.after(&frames).unwrap().energies(&candidates.get(0)).is_err());
    assert!(net.after(&random(4, &[2, 7, 8])).is_err(), "longer than the context");
}

#[test]
fn the_inner_gradient_is_that_of_finite_differences() {
    let (_, net) = net();
    let landscape = net.after(&random(1, &[1, 3, 8])).unwrap();
    let y = leaf(&random(2, &[1, 3, 8])).unwrap();
    let gradient = gradient_of(&landscape.energies(&y).unwrap(), &y, false).unwrap();
    let h = 1e-6;
    for (i, c) in [(0, 0), (1, 3), (2, 7)] {
        let energy = |shift: f64| {
            let moved = y.detach().copy();
            let _ = moved.get(0).get(i).get(c).fill_(y.double_value(&[0, i, c]) + shift);
            landscape.energies(&moved).unwrap().double_value(&[0, i])
        };
        let expected = (energy(h) - energy(-h)) / (2.0 * h);
        assert!((gradient.double_value(&[0, i, c]) - expected).abs() < 1e-7);
    }
}

/// The loss of full unrolling is a plain function of the parameters. Of the other two policies only the last step (of a
/// descent of one step, all of it) is, which is what they differentiate.
#[test]
fn parameter_gradients_are_those_of_finite_differences() {
    let (params, net) = net();
    let batch = Batch { x: random(1, &[2, 4, 8]), labels: None };
    let cases = [
        Descent { n_steps: Steps::Fixed(2), ..descent(Graph::Full, LossOn::EveryStep) },
        Descent { n_steps: Steps::Fixed(1), ..Descent::default() },
        Descent { n_steps: Steps::Fixed(1), ..descent(Graph::LastStep, LossOn::LastStep) },
    ];
    for descent in cases {
        let mut objective = EbwmObjective::new(descent, 1.0, 7).unwrap();
        let loss = objective.loss(&net, &batch, 3).unwrap();
        let gradients = Tensor::run_backward(&[&loss.loss], &params.tensors(), false, false);
        for ((name, parameter), gradient) in params.named().iter().zip(gradients) {
            let flat = parameter.detach().view(-1);
            let at = flat.size()[0] / 2;
            let value = flat.double_value(&[at]);
            let h = 1e-5;
            let mut moved = |shift: f64| {
                let _ = flat.get(at).fill_(value + shift);
                objective.loss(&net, &batch, 3).unwrap().loss.double_value(&[])
            };
            let expected = (moved(h) - moved(-h)) / (2.0 * h);
            moved(0.0);
            let found = gradient.view(-1).double_value(&[at]);
            assert!((found - expected).abs() < 1e-6, "{name}: {found} {expected}");
        }
    }
}

#[test]
fn per_step_training_is_the_mean_of_single_steps() {
    let (params, net) = net();
    let films = random(1, &[2, 4, 8]);
    let (frames, next) = observed_and_next(&films).unwrap();
    let mut objective = EbwmObjective::new(descent(Graph::PerStep, LossOn::EveryStep), 1.0, 7).unwrap();
    let loss = objective.loss(&net, &Batch { x: films, labels: None }, 3).unwrap();
    let found = Tensor::run_backward(&[&loss.loss], &params.tensors(), false, false);
    // By hand: one descent of one step after the other, each with its own loss.
    let mut rng = TensorRng::new(7, Purpose::Objective).from_step(3);
    let mut y = net.start(&frames, &mut rng).unwrap();
    let mut sum = Tensor::zeros([], (Kind::Double, Device::Cpu));
    for _ in 0..STEPS {
        let landscape = net.after(&frames).unwrap();
        let run = Descent::default().run(&landscape, &y, net.step_size(), &mut rng).unwrap();
        sum += run.loss(|y| Ok(frame_errors(y, &next, 1.0)?.mean(Kind::Double))).unwrap() / STEPS as f64;
        y = run.last;
    }
    assert!((sum.double_value(&[]) - loss.loss.double_value(&[])).abs() < 1e-12);
    let expected = Tensor::run_backward(&[&sum], &params.tensors(), false, false);
    for (found, expected) in found.iter().zip(&expected) {
        assert!(largest(&(found - expected)) < 1e-12);
    }
}

#[test]
fn a_film_is_learned_and_its_energy_falls() {
    let mut params = Params::new(5, Device::Cpu);
    let net = Ebwm::new(&EbwmConfig { step_size: 5.0, ..config() }, &mut params).unwrap();
    let films = random(1, &[4, 4, 8]).to_kind(Kind::Float);
    let mut objective =
        EbwmObjective::new(Descent { n_steps: Steps::Fixed(2), ..Descent::default() }, 1.0, 0)
            .unwrap()
            .with_validation(films.shallow_clone());
    let group = ParamGroup { names: vec!["alpha".into()], lr_factor: 10.0, weight_decay: 0.0 };
    let config = AdamWConfig { groups: vec![group], ..AdamWConfig::default() };
    let mut optimizer = AdamW::new(config, &params).unwrap();
    let batch = Batch { x: films, labels: None };
    let named = |all: &[(&'static str, Tensor)], name: &str| {
        all.iter().find(|(n, _)| *n == name).unwrap().1.double_value(&[])
    };
    let before = named(&objective.diagnostics(&net).unwrap(), "validation_loss");
    let mut fell = 0.0;
    for step in 0..150 {
        let loss = objective.loss(&net, &batch, step).unwrap();
        let gradients = Tensor::run_backward(&[&loss.loss], &params.tensors(), false, false);
        optimizer.step(&gradients, 3e-3).unwrap();
        fell = named(&loss.metrics, "energy_fell");
    }
    let after = objective.diagnostics(&net).unwrap();
    assert!(named(&after, "validation_loss") < 0.3 * before, "{before} {after:?}");
    assert!(fell > 0.9 && named(&after, "curvature") > 0.0);
}

#[test]
fn mistakes_are_named() {
    let error = |descent, beta| EbwmObjective::new(descent, beta, 0).unwrap_err().to_string();
    assert!(error(Descent::default().prediction(1, false), 1.0).contains("graph"));
    assert!(error(Descent { n_steps: Steps::Fixed(0), ..Descent::default() }, 1.0).contains("n_steps"));
    assert!(error(Descent::default(), 0.0).contains("beta"));
    assert!(NextFrameObjective::new(f64::NAN).is_err());
    assert!(observed_and_next(&random(0, &[2, 1, 8])).is_err());
    assert!(observed_and_next(&random(0, &[2, 8])).is_err());
    assert!(frame_errors(&random(0, &[2, 3, 8]), &random(0, &[2, 2, 8]), 1.0).is_err());
}
