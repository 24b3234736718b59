//! Peak memory of training steps, each in a process of its own.

use std::process::Command;

use ebm_models::ebt::{Gradients, Variant, s1, s2};
use ebm_samplers::descent::{Descent, Steps};

use crate::harness::{Bench, Figure, Rival};
use crate::step::{Sizes, Training};

/// The environment variable that names a child's case.
pub const CHILD: &str = "EBM_BENCH_EBT_MEMORY";

pub fn run(bench: &mut Bench) {
    // glibc's heap keeps holes between blocks, more or fewer as the sizes fall; blocks straight from the system show
    // what is alive.
    for (allocator, direct) in [("", false), (", large blocks from the system", true)] {
        for gradients in ["autograd", "fused"] {
            let few = peak(bench, &format!("s2 2 {gradients}"), direct);
            let many = peak(bench, &format!("s2 16 {gradients}"), direct);
            let rival = Rival::in_process("the same at K = 2", "this commit", move |_| vec![few])
                .note(&format!("{:.3} of it (bound 1.05)", many / few));
            let name = format!("peak memory, S2 policy at K = 16, {gradients}{allocator}");
            bench.compare_long(1, &[Figure::lower(name, "bytes", "")], |_| vec![many], vec![rival]);
        }
    }
    for stage in ["S1", "S2"] {
        let bytes = peak(bench, &format!("xxs {stage} autograd"), false);
        let note = "6 layers, width 384, vocabulary 50,277, batch 4, context 256 (bound 6e9)";
        bench.compare_long(
            1,
            &[Figure::lower(format!("peak memory, xxs, {stage}"), "bytes", note)],
            |_| vec![bytes],
            vec![],
        );
    }
}

/// `direct`: blocks above 500 kB are asked of the system, one by one.
fn peak(bench: &Bench, case: &str, direct: bool) -> f64 {
    let smoke = if bench.smoke { " smoke" } else { "" };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, format!("{case}{smoke}")).env("EBM_BENCH_THREADS", bench.threads.to_string());
    if direct {
        command.env("MALLOC_MMAP_THRESHOLD_", "500000");
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().parse().unwrap_or(f64::NAN)
}

/// Take two training steps and print the process's peak memory in bytes.
pub fn child(case: &str) {
    let threads = std::env::var("EBM_BENCH_THREADS").ok().and_then(|v| v.parse().ok()).unwrap_or(2);
    tch::set_num_threads(threads);
    let words: Vec<&str> = case.split(' ').collect();
    let smoke = words.last() == Some(&"smoke");
    let gradients = if words[2] == "fused" { Gradients::Fused } else { Gradients::Autograd };
    let last_step = Descent { n_steps: Steps::Fixed(words[1].parse().unwrap_or(3)), ..s2(3.0) };
    let small = Sizes {
        n_layers: 2,
        width: 128,
        n_heads: 2,
        hidden: 512,
        vocabulary: 256,
        context: if smoke { 16 } else { 256 },
        batch: 8,
        variant: Variant::TimeEmbedding(1),
    };
    let (sizes, descent) = match words[0] {
        "s2" => (small, last_step),
        _ if smoke => (small, s1(2)),
        _ => {
            let (n_layers, width, n_heads, hidden) = (6, 384, 6, 384);
            let n = if words[1] == "S1" { 2 } else { 1 };
            let variant = Variant::TimeEmbedding(n);
            let sizes =
                Sizes { n_layers, width, n_heads, hidden, vocabulary: 50_277, batch: 4, variant, ..small };
            (sizes, if words[1] == "S1" { s1(2) } else { last_step })
        }
    };
    let mut training = Training::new(&sizes, descent, gradients);
    training.step();
    training.step();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    println!("{}", 1024.0 * kilobytes);
}
