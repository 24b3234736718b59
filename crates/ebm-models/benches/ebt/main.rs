//! `cargo xtask bench ebt`: training steps, generation, inner steps and memory of EBT on tokens; with `--rivals` a
//! plain PyTorch rewrite of the training step (`benches/rivals/ebt_rewrite.py`) in turn with ours.
//!
//! Words after `--` choose parts: `train`, `generate`, `inner_steps`, `memory`.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

mod generate;
// Each bench program uses a part of it.
#[allow(dead_code)]
#[path = "../../../ebm-samplers/benches/harness/mod.rs"]
mod harness;
mod inner_steps;
mod memory;
mod step;
mod train;

use harness::Bench;

const PARTS: &[(&str, fn(&mut Bench))] = &[
    ("train", train::run),
    ("generate", generate::run),
    ("inner_steps", inner_steps::run),
    ("memory", memory::run),
];

fn main() {
    if let Ok(case) = std::env::var(memory::CHILD) {
        memory::child(&case);
        return;
    }
    let Some(mut bench) = Bench::from_environment("ebt") else { return };
    // As the docs advise for tensors on the processor.
    ebm_core::torch::keep_freed_memory();
    tch::set_num_threads(bench.threads as i32);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, run) in PARTS {
        if words.is_empty() || words.iter().any(|word| word == *name) {
            run(&mut bench);
        }
    }
    bench.finish();
}
