//! Training throughput: S1, two inner steps, against the rewrite and against our own autograd path.

use ebm_models::ebt::{Gradients, Variant, s1};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, Rival, seconds};
use crate::step::{Sizes, Training};

const INNER_STEPS: u64 = 2;

pub fn run(bench: &mut Bench) {
    let base = Sizes {
        n_layers: 2,
        width: 128,
        n_heads: 2,
        hidden: 512,
        vocabulary: 256,
        context: 256,
        batch: 8,
        variant: Variant::Default,
    };
    let cases = [
        ("A: width 128, default", base),
        ("B: width 128, time embedding", Sizes { variant: Variant::TimeEmbedding(2), ..base }),
        ("C: width 64, default", Sizes { width: 64, n_heads: 4, hidden: 256, batch: 16, ..base }),
    ];
    let mut program =
        Program::start(bench, "plain PyTorch rewrite", "torch 2.13.0", "TORCHEBM", "ebt_rewrite.py");
    for (name, sizes) in cases {
        let sizes = if bench.smoke { Sizes { context: 16, batch: 2, ..sizes } } else { sizes };
        let n_steps: u64 = if bench.smoke { 1 } else { 4 };
        let tokens = sizes.tokens_per_step() * n_steps as f64;
        let rate = product_rate(bench.smoke);
        let macs = sizes.config().training_macs(INNER_STEPS, INNER_STEPS);
        let mut fused = Training::new(&sizes, s1(INNER_STEPS as usize), Gradients::Fused);
        let mut autograd = Training::new(&sizes, s1(INNER_STEPS as usize), Gradients::Autograd);
        let mut ours = || tokens / seconds(|| (0..n_steps).for_each(|_| fused.step()));
        ours();
        let reached = ours() * macs as f64;
        let note = format!(
            "one optimiser step counted; {macs} MACs per token counted by the code, {reached:.2e} MAC/s; LibTorch's 1024^3 product {rate:.2e} MAC/s in the same minute: {:.2} of it",
            reached / rate
        );
        let landscapes = match sizes.variant {
            Variant::Default => 0,
            Variant::TimeEmbedding(n) => n,
        };
        let settings = json!({
            "case": "train", "layers": sizes.n_layers, "width": sizes.width, "heads": sizes.n_heads,
            "hidden": sizes.hidden, "vocabulary": sizes.vocabulary, "context": sizes.context, "batch": sizes.batch,
            "landscapes": landscapes, "inner_steps": INNER_STEPS, "steps": n_steps, "step_size": 100.0,
        });
        let mut rivals = vec![Rival::in_process("our autograd path", "this commit", |_| {
            vec![tokens / seconds(|| (0..n_steps).for_each(|_| autograd.step()))]
        })];
        if let Some(program) = &mut program {
            rivals.push(
                program.rival(settings, "", |answer| vec![tokens / answer["seconds"].as_f64().unwrap()]),
            );
        }
        let figure = Figure::higher(format!("S1 training step, {name}"), "tokens/s", &note);
        bench.compare(&[figure], |_| vec![ours()], rivals);
    }
}

/// Multiply-accumulates a second of LibTorch's own product of two 1024 x 1024 matrices.
fn product_rate(smoke: bool) -> f64 {
    let n: i64 = if smoke { 64 } else { 1024 };
    let [a, b] = [0; 2].map(|_| Tensor::ones([n, n], (Kind::Float, Device::Cpu)));
    let mut times: Vec<f64> = (0..9).map(|_| seconds(|| a.matmul(&b))).collect();
    times.sort_by(f64::total_cmp);
    (n * n * n) as f64 / times[times.len() / 2]
}
