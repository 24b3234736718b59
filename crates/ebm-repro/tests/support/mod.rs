//! A tiny experiment that ends in every way an experiment can end, and a way to run the command line on it.

// Each test binary uses its own part of this, and clippy does not see that it is all test code.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ebm_repro::{Experiment, Plan, Preset, Registry, Run, Status, cli};
use ebm_train::logs::LogSink;
use serde::Deserialize;
use serde_json::Value;

pub const PRESET: &str = r#"
[experiment]
title = "A toy that counts"
paper = "none"
feature = "jem"
minutes = 0.1
unverified = ["sampler.step_size"]
[model]
ending = "complete"
[sampler]
step_size = 0.1
[trainer]
n_steps = 4
pause_ms = 0
[[controls]]
name = "twin"
[[gates]]
name = "accuracy"
claim = "the accuracy is at least the twin's less 2 points"
op = ">="
control = "twin"
margin = -0.02
[[gates]]
name = "over-seeds"
claim = "the lower end of the 95% interval over seeds is above 0.5"
op = ">"
threshold = 0.5
scope = "seeds"
seeds_needed = 3
unfavourable_end = true
[smoke]
trainer.n_steps = 1
"#;

const NEEDS_DATA: &str = r#"
[experiment]
title = "A toy that needs data"
paper = "none"
feature = "jem"
minutes = 1
data = ["no-such-set"]
"#;

const NOT_BUILT: &str = "[experiment]\ntitle='t'\npaper='p'\nfeature='other'\nminutes=1\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    ending: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sampler {
    step_size: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trainer {
    n_steps: u64,
    pause_ms: u64,
}

pub struct Toy(&'static str);

impl Experiment for Toy {
    fn name(&self) -> &'static str {
        self.0
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        if self.0 == "needs-data" {
            return Ok(Plan::default());
        }
        let sampler: Sampler = preset.section("sampler")?;
        if sampler.step_size <= 0.0 {
            return Err(ebm_core::Error::bad_value("step_size", sampler.step_size, "above 0", "").into());
        }
        preset.section::<Model>("model")?;
        let trainer: Trainer = preset.section("trainer")?;
        Ok(Plan { parameters: 10, macs: 100, memory_bytes: 1_000_000, steps: trainer.n_steps, minutes: 0.1 })
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let model: Model = run.section("model")?;
        let trainer: Trainer = run.section("trainer")?;
        let checkpoint = run.checkpoints_dir().join("step");
        let first = if run.resume() {
            fs::read_to_string(&checkpoint).map_or(0, |text| text.parse().unwrap())
        } else {
            0
        };
        let mut logs = run.open_loggers(run.resume().then_some(first))?;
        let mut progress = run.progress("counting", trainer.n_steps, first);
        for step in first + 1..=trainer.n_steps {
            std::thread::sleep(std::time::Duration::from_millis(trainer.pause_ms));
            logs.scalars(step, &[("loss", 1.0 / step as f64)])?;
            progress.update(step, Some(1.0 / step as f64));
            fs::create_dir_all(run.checkpoints_dir())?;
            ebm_train::tensors::write_atomically(&checkpoint, step.to_string().as_bytes())?;
            if model.ending == "interrupted" && step == 2 && !run.resume() {
                run.stop_flag().store(true, Ordering::Relaxed);
            }
            if run.should_stop() {
                return Ok(Status::Interrupted);
            }
        }
        match model.ending.as_str() {
            "diverged" => return Ok(Status::Diverged),
            "crash" => anyhow::bail!("the disk burns"),
            "panic" => panic!("a bug"),
            "bad-file" => return Err(ebm_core::Error::data("images.idx", Some(4), "wrong magic").into()),
            "stopped" => return Err(ebm_core::Error::stopped().into()),
            _ => {}
        }
        let accuracy = if model.ending == "fail" { 0.5 } else { 0.98 + 0.001 * run.seed() as f64 };
        let r = &mut run.report;
        r.metric("accuracy", accuracy);
        r.control("twin", &[("accuracy", 0.985)]);
        r.judge_against("accuracy", accuracy, Some((accuracy - 0.01, accuracy + 0.01)), 0.985)?;
        r.judge("over-seeds", accuracy, None)?;
        r.figure_svg("loss", "Loss", "A curve.", "<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>".into());
        Ok(Status::Complete)
    }
}

static TOY: Toy = Toy("toy");
static DATA: Toy = Toy("needs-data");

pub fn registry() -> Registry {
    Registry {
        experiments: vec![&TOY, &DATA],
        presets: vec![
            ("needs-data", "cpu", NEEDS_DATA),
            ("not-built", "cpu", NOT_BUILT),
            ("toy", "cpu", PRESET),
        ],
        quickstart: "toy",
    }
}

/// What a command line gave: exit code, stdout, stderr.
pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

/// `reproduce` with these words.
pub fn reproduce(words: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["ebm-repro", "reproduce"].iter().chain(words).map(|w| (*w).into());
    let stop = Arc::new(AtomicBool::new(false));
    let code = cli::main(args, &registry(), &stop, &mut out, &mut err);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// `reproduce toy --out <out>` with more words.
pub fn toy(out: &Path, words: &[&str]) -> Ran {
    let mut all = vec!["toy", "--out", out.to_str().unwrap()];
    all.extend(words);
    reproduce(&all)
}

pub fn report(out: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap()
}
