//! What an inner step costs: the time of a training step over the number of inner steps, as a straight line, and
//! against our own path that passes the observed stream anew at every step.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_models::ebt::{Gradients, Variant, cross_entropy, s1};
use tch::{Device, Kind, Tensor};

use crate::harness::{Bench, Figure, Rival, seconds};
use crate::step::{Sizes, Training};

const COUNTS: [usize; 5] = [1, 2, 4, 8, 16];

pub fn run(bench: &mut Bench) {
    let sizes = Sizes {
        n_layers: 2,
        width: 128,
        n_heads: 2,
        hidden: 512,
        vocabulary: 256,
        context: if bench.smoke { 16 } else { 256 },
        batch: if bench.smoke { 2 } else { 8 },
        variant: Variant::Default,
    };
    for gradients in [Gradients::Fused, Gradients::Autograd] {
        let times: Vec<f64> = COUNTS.iter().map(|k| time(bench, &sizes, *k, gradients)).collect();
        let (a, b, worst) = line(&times);
        let name = format!("{gradients:?}").to_lowercase();
        let note = format!(
            "default variant; times at K = {COUNTS:?}: {times:.4?} s; the line a + b K has a = {a:.4}, b = {b:.4}, the worst point is off by {:.1}%",
            100.0 * worst
        );
        let figure = Figure::lower(format!("S1 training step at K = 16, {name}"), "s", &note);
        let last = *times.last().unwrap();
        let anew = recomputing(bench, &sizes);
        let rival = Rival::in_process("16 times our recomputing path at K = 1", "this commit", move |_| {
            vec![16.0 * anew]
        })
        .note(&format!("{:.2} of it (bound 0.65)", last / (16.0 * anew)));
        bench.compare_long(1, &[figure], |_| vec![last], vec![rival]);
    }
}

fn time(bench: &Bench, sizes: &Sizes, n_steps: usize, gradients: Gradients) -> f64 {
    let mut training = Training::new(sizes, s1(n_steps), gradients);
    median(bench, || training.step())
}

fn median(bench: &Bench, mut work: impl FnMut()) -> f64 {
    work();
    let rounds = if bench.smoke { 1 } else { 7 };
    let mut times: Vec<f64> = (0..rounds).map(|_| seconds(&mut work)).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// One inner step and its backward pass on the doubled sequence, by autograd.
fn recomputing(bench: &Bench, sizes: &Sizes) -> f64 {
    let training = Training::new(sizes, s1(1), Gradients::Autograd);
    let (n, s, v) = (sizes.batch as i64, sizes.context as i64, sizes.vocabulary as i64);
    let tokens = Tensor::zeros([n, s], (Kind::Int64, Device::Cpu));
    let mut rng = TensorRng::new(0, Purpose::Objective);
    let start = rng.normal(&[n, s, v], 1.0, Kind::Float, Device::Cpu).unwrap();
    let parameters: Vec<Tensor> = training.parameters();
    median(bench, || {
        let landscape = training.net.recomputing_landscape(&tokens);
        let run = s1(1).run(&landscape, &start, training.net.alpha(), &mut rng).unwrap();
        let loss = run.loss(|logits| cross_entropy(logits, &tokens, None)).unwrap();
        drop(Tensor::run_backward(&[&loss], &parameters, false, false));
    })
}

/// Least squares of the relative errors of `a + b K`, and the worst of them.
fn line(times: &[f64]) -> (f64, f64, f64) {
    // Weights 1 / t^2.
    let (mut s, mut sx, mut sxx, mut sy, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (k, t) in COUNTS.iter().zip(times) {
        let (x, w) = (*k as f64, 1.0 / (t * t));
        s += w;
        sx += w * x;
        sxx += w * x * x;
        sy += w * t;
        sxy += w * x * t;
    }
    let b = (s * sxy - sx * sy) / (s * sxx - sx * sx);
    let a = (sy - b * sx) / s;
    let errors = COUNTS.iter().zip(times).map(|(k, t)| ((a + b * *k as f64) / t - 1.0).abs());
    (a, b, errors.fold(0.0, f64::max))
}
