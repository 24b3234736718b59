//! The engine against closed forms: on a quadratic energy every policy's descent, and its derivative by the
//! parameters, is a formula.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{GraphEnergy, Result};
use tch::{Device, Kind, Tensor};

use super::*;

/// `E(y) = a y^2 / 2 + c` per item of one coordinate, `a` a parameter.
struct Bowl {
    a: Tensor,
    constant: f64,
}

impl Bowl {
    fn new(a: f64) -> Self {
        Self { a: scalar(a).set_requires_grad(true), constant: 0.0 }
    }
}

impl GraphEnergy for Bowl {
    fn energy_graph(&self, y: &Tensor) -> Result<Tensor> {
        let squares = y.square().sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
        Ok(squares * &self.a * 0.5 + self.constant)
    }
}

fn scalar(x: f64) -> Tensor {
    Tensor::from_slice(&[x]).view([] as [i64; 0])
}

fn rng() -> TensorRng {
    TensorRng::new(3, Purpose::User)
}

fn items(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).view([values.len() as i64, 1])
}

fn values(x: &Tensor) -> Vec<f64> {
    Vec::try_from(&x.detach().to_kind(Kind::Double).reshape(-1)).unwrap()
}

/// `d loss / d a` with `loss = mean over kept of sum y^2`.
fn loss_and_slope(descent: &Descent, a: f64, y: &Tensor, step_size: f64) -> (f64, f64) {
    let bowl = Bowl::new(a);
    let run = descent.run(&bowl, y, &scalar(step_size), &mut rng()).unwrap();
    let loss = run.loss(|y| Ok(y.square().sum(Kind::Double))).unwrap();
    let slope = Tensor::run_backward(&[&loss], &[&bowl.a], false, false);
    (loss.double_value(&[]), slope[0].double_value(&[]))
}

/// After `k` steps `y = (1 - s a)^k y0`. Through every step `dy/da = -k s (1 - s a)^(k-1) y0`; through the last one
/// alone `-s (1 - s a)^(k-1) y0`.
#[test]
fn each_policy_differentiates_through_the_steps_that_it_names() {
    let (a, s, y0, k) = (0.7, 0.5, 1.3, 4);
    let shrink: f64 = 1.0 - s * a;
    let at = |i: i32| shrink.powi(i) * y0;
    let base = Descent { n_steps: Steps::Fixed(k), ..Descent::default() };
    let last = Descent { loss_on: LossOn::LastStep, ..base };
    let y = items(&[y0]);
    let one_step = |i: i32| 2.0 * at(i) * (-s * at(i - 1));

    let (loss, slope) = loss_and_slope(&base, a, &y, s);
    let k = k as i32;
    assert!((loss - (1..=k).map(|i| at(i).powi(2)).sum::<f64>() / f64::from(k)).abs() < 1e-14);
    assert!((slope - (1..=k).map(one_step).sum::<f64>() / f64::from(k)).abs() < 1e-14);

    let (loss, slope) = loss_and_slope(&Descent { graph: Graph::LastStep, ..last }, a, &y, s);
    assert!((loss - at(k).powi(2)).abs() < 1e-14 && (slope - one_step(k)).abs() < 1e-14);

    let (_, slope) = loss_and_slope(&Descent { graph: Graph::Full, ..last }, a, &y, s);
    assert!((slope - 2.0 * at(k) * f64::from(k) * -s * at(k - 1)).abs() < 1e-14, "{slope}");
}

/// S2 says "no detach" and "truncate". With only the last step in the graph, detaching the earlier candidates or not
/// is the same: here by hand, without any detach, against the engine.
#[test]
fn truncation_makes_detaching_moot() {
    let (a, s) = (0.7, 0.5);
    let bowl = Bowl::new(a);
    let mut y = items(&[1.3, -0.4]);
    for _ in 0..2 {
        // Gradients without a graph: what follows cannot depend on `a` through them, though nothing is detached.
        let point = if y.requires_grad() { y } else { y.set_requires_grad(true) };
        let gradient = gradient_of(&bowl.energy_graph(&point).unwrap(), &point, false).unwrap();
        y = &point - gradient * s;
    }
    let point = y;
    let gradient = gradient_of(&bowl.energy_graph(&point).unwrap(), &point, true).unwrap();
    let loss = (&point - gradient * s).square().sum(Kind::Double);
    let by_hand = Tensor::run_backward(&[&loss], &[&bowl.a], false, false)[0].double_value(&[]);
    let descent = Descent {
        n_steps: Steps::Fixed(3),
        graph: Graph::LastStep,
        loss_on: LossOn::LastStep,
        ..Descent::default()
    };
    let (found, slope) = loss_and_slope(&descent, a, &items(&[1.3, -0.4]), s);
    assert!((found - loss.double_value(&[])).abs() < 1e-14 && (slope - by_hand).abs() < 1e-14);
}

/// Nesterov on a quadratic: `v <- mu v - s a (y + mu v)`, `y <- y + v`.
#[test]
fn momentum_looks_ahead() {
    let (a, s, mu) = (0.7, 0.5, 0.9);
    let descent =
        Descent { n_steps: Steps::Fixed(5), momentum: mu, graph: Graph::None, ..Descent::default() };
    let run = descent.run(&Bowl::new(a), &items(&[1.0]), &scalar(s), &mut rng()).unwrap();
    let (mut y, mut v) = (1.0, 0.0);
    for i in 0..5 {
        let ahead: f64 = y + mu * v;
        assert!((values(&run.energies[i])[0] - 0.5 * a * ahead * ahead).abs() < 1e-14);
        v = mu * v - s * a * ahead;
        y += v;
    }
    assert!((values(&run.last)[0] - y).abs() < 1e-14);
}

/// `s = alpha exp(E) / tau`, and the energy inside the step is differentiated.
#[test]
fn steps_scaled_by_the_energy() {
    let (a, alpha, tau, y0) = (0.7f64, 0.3, 2.0, 0.9);
    let descent = Descent { tau: Some(tau), ..Descent::default() };
    let after = |a: f64| y0 - alpha * (0.5 * a * y0 * y0).exp() / tau * a * y0;
    let (loss, slope) = loss_and_slope(&descent, a, &items(&[y0]), alpha);
    assert!((loss - after(a).powi(2)).abs() < 1e-14);
    let h = 1e-5;
    let expected = (after(a + h).powi(2) - after(a - h).powi(2)) / (2.0 * h);
    assert!((slope - expected).abs() < 1e-9);
}

#[test]
fn a_constant_in_the_energy_changes_nothing() {
    let descent = Descent { n_steps: Steps::Fixed(3), momentum: 0.5, ..Descent::default() };
    let run = |constant| {
        let bowl = Bowl { constant, ..Bowl::new(0.7) };
        values(&descent.run(&bowl, &items(&[1.0, 2.0]), &scalar(0.4), &mut rng()).unwrap().last)
    };
    assert_eq!(run(0.0), run(5.0));
}

/// With graphs switched off around it, a descent and the curvature are the same.
#[test]
fn predictions_work_where_graphs_are_off() {
    let descent = Descent { graph: Graph::None, ..Descent::default() };
    let run =
        || values(&descent.run(&Bowl::new(0.7), &items(&[1.0]), &scalar(0.4), &mut rng()).unwrap().last);
    assert_eq!(tch::no_grad(run), run());
    let bowl = Bowl::new(0.7);
    let curvature = tch::no_grad(|| largest_curvature(&bowl, &items(&[1.0]), 0, 2, &mut rng())).unwrap();
    assert!((values(&curvature)[0] - 0.7).abs() < 1e-14);
}

#[test]
fn noise_and_normaliser_come_in_their_order() {
    // A step size at its floor and a flat energy leave the base as it is.
    let flat = Bowl::new(0.0);
    let run = |descent: Descent, y: &Tensor| {
        let descent = Descent { graph: Graph::None, ..descent };
        descent.run(&flat, y, &scalar(1.0), &mut rng()).unwrap().last
    };
    let y = Tensor::from_slice(&[1.0, 2.0, 3.0, -1.0]).view([2, 2]);
    let noise = rng().normal(&[2, 2], 0.5, Kind::Double, Device::Cpu).unwrap();
    let std = |place| Noise { std: 0.5, place, ..Noise::default() };
    let text = Descent {
        normaliser: Normaliser::Softmax,
        noise: std(NoisePlace::BeforeNormaliser),
        ..Descent::default()
    };
    assert_eq!(run(text, &y), (&y + &noise).softmax(-1, Kind::Double));
    let rms = |y: &Tensor| y / y.square().mean_dim([-1i64].as_slice(), true, Kind::Double).sqrt();
    let policy = Descent {
        normaliser: Normaliser::RmsSample,
        noise: std(NoisePlace::AfterNormaliser),
        ..Descent::default()
    };
    assert!((run(policy, &y) - (rms(&y) + &noise)).abs().max().double_value(&[]) < 1e-14);
    let batch = Descent { normaliser: Normaliser::RmsBatch, ..Descent::default() };
    let expected = &y / y.square().mean(Kind::Double).sqrt();
    assert!((run(batch, &y) - expected).abs().max().double_value(&[]) < 1e-14);
    // Inside: the candidate itself is not noised.
    let inside = Descent { noise: std(NoisePlace::Inside), ..Descent::default() };
    assert_eq!(run(inside, &y), y);
    let fall = Noise { std: 0.2, to: Some(0.002), ..Noise::default() };
    assert!((fall.at(0, 6) - 0.2).abs() < 1e-15 && (fall.at(3, 6) - 0.101).abs() < 1e-15);
}

#[test]
fn random_factors_and_step_counts_stay_in_their_range_and_average_to_the_middle() {
    let n = 20_000;
    let y = Tensor::ones([n, 1], (Kind::Double, Device::Cpu));
    let factor = Some(StepFactor { low: 0.5, high: 2.0 });
    let descent = Descent { step_factor: factor, ..Descent::default() };
    let run = descent.run(&Bowl::new(1.0), &y, &scalar(0.1), &mut rng()).unwrap();
    let factors: Tensor = (1.0 - run.last) / 0.1;
    assert!(factors.min().double_value(&[]) >= 0.5 && factors.max().double_value(&[]) < 2.0);
    let error = factors.mean(Kind::Double).double_value(&[]) - 1.25;
    assert!(error.abs() < 4.5 * (1.5 / 12f64.sqrt()) / (n as f64).sqrt(), "{error}");
    let steps = Descent { n_steps: Steps::Between { from: 2, to: 3 }, ..Descent::default() };
    let mut rng = rng();
    let threes = (0..4000).filter(|_| steps.draw_n_steps(&mut rng) == 3).count() as f64;
    assert!((threes - 2000.0).abs() < 4.5 * 1000f64.sqrt());
}

/// `g = a y`: items stop one step after `|a y|` fell to the limit, at the earliest after two.
#[test]
fn items_stop_by_themselves() {
    let stop = Stop::GradientNorm(0.3);
    let descent = Descent { n_steps: Steps::Fixed(20), stop, graph: Graph::None, ..Descent::default() };
    let y = items(&[0.1, 1.0, 8.0]);
    let run = descent.run(&Bowl::new(1.0), &y, &scalar(0.5), &mut rng()).unwrap();
    // 1.0 halves: below 0.3 at the third point (0.25), so 4 evaluations; 8.0: 0.25 is the sixth point, so 7.
    assert_eq!(values(&run.n_evaluations), [2.0, 4.0, 7.0]);
    assert_eq!(values(&run.last), [0.1 / 4.0, 1.0 / 16.0, 8.0 / 128.0]);
    assert_eq!(run.energies.len(), 7);
    let change = Descent { stop: Stop::EnergyChange(0.1), ..descent };
    let run = change.run(&Bowl::new(1.0), &items(&[1.0]), &scalar(0.5), &mut rng()).unwrap();
    // Energies 1/2, 1/8, 1/32: the change into the third is below 0.1; one more step.
    assert_eq!(values(&run.n_evaluations), [4.0]);
}

#[test]
fn steps_that_raise_the_energy_are_refused_where_asked() {
    let descent = Descent { graph: Graph::None, accept_if_lower: true, ..Descent::default() };
    // Step 2.5 on curvature 1 overshoots to -1.5 y; on curvature 0.1 (the same energy in other units) it does not.
    let run = |a: f64| {
        values(&descent.run(&Bowl::new(a), &items(&[1.0]), &scalar(2.5), &mut rng()).unwrap().last)[0]
    };
    assert!((run(1.0) - 1.0).abs() < 1e-15 && (run(0.1) - 0.75).abs() < 1e-15);
}

#[test]
fn moves_are_clamped_and_gradients_that_are_not_numbers_are_counted() {
    let descent = Descent { max_change: Some(0.2), graph: Graph::None, ..Descent::default() };
    let run = descent.run(&Bowl::new(1.0), &items(&[5.0, 0.1]), &scalar(1.0), &mut rng()).unwrap();
    assert_eq!(values(&run.last), [4.8, 0.0]);
    let run =
        Descent::default().run(&Bowl::new(1.0), &items(&[f64::NAN, 1.0, 2.0, 3.0]), &scalar(0.1), &mut rng());
    assert_eq!(values(&run.unwrap().non_finite), [0.25]);
}

#[test]
fn the_step_size_is_learned_and_held_above_its_floor() {
    let alpha = scalar(0.5).set_requires_grad(true);
    let run = Descent::default().run(&Bowl::new(0.7), &items(&[1.3]), &alpha, &mut rng()).unwrap();
    let loss = run.loss(|y| Ok(y.square().sum(Kind::Double))).unwrap();
    let slope = Tensor::run_backward(&[&loss], &[&alpha], false, false)[0].double_value(&[]);
    let after = 1.3 * (1.0 - 0.35);
    assert!((slope - 2.0 * after * (-0.7 * 1.3)).abs() < 1e-14);
    let low = Descent::default().run(&Bowl::new(1.0), &items(&[1.0]), &scalar(-3.0), &mut rng()).unwrap();
    assert_eq!(values(&low.last), [1.0 - MIN_STEP_SIZE]);
}

/// Curvatures per item: `E = (y0^2 b0 + y1^2 b1) / 2` has the eigenvalues `b`.
#[test]
fn power_iteration_finds_the_largest_curvature_with_its_sign() {
    struct Axes(Tensor);
    impl GraphEnergy for Axes {
        fn energy_graph(&self, y: &Tensor) -> Result<Tensor> {
            Ok((y.square() * &self.0).sum_dim_intlist([-1i64].as_slice(), false, Kind::Double) * 0.5)
        }
    }
    let axes = Axes(Tensor::from_slice(&[4.0, 0.5, -1.0, 0.2, 0.3, -6.0]).view([2, 3]));
    let y = Tensor::ones([2, 3], (Kind::Double, Device::Cpu));
    let found = values(&largest_curvature(&axes, &y, 0, 30, &mut rng()).unwrap());
    assert!((found[0] - 4.0).abs() < 1e-9 && (found[1] + 6.0).abs() < 1e-9, "{found:?}");
    assert!(largest_curvature(&axes, &y, 0, 0, &mut rng()).is_err());
}

#[test]
fn the_best_of_several_wins_item_by_item() {
    let candidates = [[1.0, 5.0], [3.0, 2.0], [2.0, f64::NAN]];
    let winner = |criterion| {
        let mut best = BestOf::new(criterion);
        for (i, energy) in candidates.iter().enumerate() {
            let first = items(&[4.0, 9.0]).view(-1);
            let y = items(&[i as f64, 10.0 + i as f64]);
            best.offer(&y, &first, &Tensor::from_slice(energy)).unwrap();
        }
        let (y, energy, index) = best.finish().unwrap();
        (values(&y), values(&energy), values(&index))
    };
    let (y, energy, index) = winner(Criterion::LowestEnergy);
    assert_eq!((y, energy, index), (vec![0.0, 11.0], vec![1.0, 2.0], vec![0.0, 1.0]));
    assert_eq!(winner(Criterion::HighestEnergy).2, [1.0, 0.0]);
    assert_eq!(winner(Criterion::LargestDrop).2, [0.0, 1.0]);
    assert!(BestOf::default().finish().is_err());
}

#[test]
fn impossible_settings_are_named() {
    let fails = |descent: Descent, name: &str| {
        let text = descent.check().unwrap_err().to_string();
        assert!(text.starts_with(name), "{text}");
    };
    let plain = Descent::default();
    fails(Descent { n_steps: Steps::Fixed(0), ..plain }, "n_steps = 0");
    fails(Descent { n_steps: Steps::Between { from: 3, to: 2 }, ..plain }, "n_steps = 3 to 2");
    fails(Descent { momentum: 1.0, ..plain }, "momentum");
    fails(Descent { tau: Some(0.0), ..plain }, "tau");
    fails(Descent { noise: Noise { std: f64::NAN, ..Noise::default() }, ..plain }, "noise.std");
    fails(Descent { step_factor: Some(StepFactor { low: 0.0, high: 1.0 }), ..plain }, "step_factor");
    fails(Descent { stop: Stop::GradientNorm(1e-3), ..plain }, "stop");
    fails(Descent { graph: Graph::LastStep, ..plain }, "loss_on");
    assert!(plain.prediction(3, false).check().is_ok());
}
