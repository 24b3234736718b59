//! Running the chosen experiments, seed after seed, and writing what they found.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::anyhow;

use super::select::Job;
use super::{Reproduce, say};
use crate::experiment::Status;
use crate::report::{self, Report, ReportFile, SCHEMA, Summary};
use crate::run::folder::{Identity, Policy, RunFolder, Start};
use crate::run::{Run, device, machine};
use crate::usage::{is_stopped, is_usage};

/// Runs all jobs and returns the worst exit code: a crash, then 2, then 3, then 0. An interrupt ends them all.
pub fn run_all(
    args: &Reproduce,
    jobs: &[Job],
    stop: &Arc<AtomicBool>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let badness = |code: u8| [0, 3, 2, 1].iter().position(|c| *c == code);
    let mut worst = 0;
    for job in jobs {
        let done = catch_unwind(AssertUnwindSafe(|| run_job(args, job, stop, err)));
        let done = done.unwrap_or_else(|_| Err(anyhow!("{} panicked", job.experiment.name())));
        let code = match done {
            Ok(report) => {
                show(args, job, &report, jobs.len() > 1, out, err);
                report.exit_code()
            }
            Err(e) => say(&e, err),
        };
        if code == 130 {
            return Ok(code);
        }
        if badness(code) > badness(worst) {
            worst = code;
        }
    }
    Ok(worst)
}

fn show(
    args: &Reproduce,
    job: &Job,
    report: &ReportFile,
    several: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) {
    // A closed pipe must not turn a finished run into a crash.
    let summary = Summary { report, folder: &job.out };
    let _ = if args.json { writeln!(err, "{summary}") } else { writeln!(out, "{summary}") };
    if args.json {
        let compact = serde_json::to_string(report).unwrap_or_default() + "\n";
        let text = if several { compact } else { report.to_json() };
        let _ = out.write_all(text.as_bytes());
    }
    let _ = out.flush();
    if report.status == Status::Interrupted {
        let _ = writeln!(err, "to go on: {}", resume_command(args, job));
    }
}

fn resume_command(args: &Reproduce, job: &Job) -> String {
    let mut words = vec!["cargo xtask reproduce".to_owned(), job.experiment.name().to_owned()];
    words.push(format!("--preset {} --seed {}", args.preset, args.seed));
    if args.seeds > 1 {
        words.push(format!("--seeds {}", args.seeds));
    }
    words.extend(args.set.iter().map(|s| format!("--set '{s}'")));
    if args.device != "cpu" {
        words.push(format!("--device {}", args.device));
    }
    words.extend(args.weights.iter().map(|w| format!("--weights '{}'", w.display())));
    words.extend(args.smoke.then(|| "--smoke".to_owned()));
    words.push(format!("--out '{}' --resume", job.out.display()));
    words.join(" ")
}

fn run_job(
    args: &Reproduce,
    job: &Job,
    stop: &Arc<AtomicBool>,
    err: &mut dyn Write,
) -> anyhow::Result<ReportFile> {
    let policy = match (args.resume, args.overwrite) {
        (true, _) => Policy::Resume,
        (_, true) => Policy::Overwrite,
        _ => Policy::Refuse,
    };
    if args.seeds == 1 {
        return run_seed(args, job, args.seed, &job.out, policy, stop, err);
    }
    let seeds: Vec<u64> = (args.seed..args.seed + args.seeds).collect();
    let (folder, start) = RunFolder::open(&job.out, &identity(args, job, seeds.clone()), policy)?;
    if let Start::Finished(report) = start {
        let _ = writeln!(err, "{}: this run is finished", job.out.display());
        return Ok(*report);
    }
    let mut runs = Vec::new();
    for seed in seeds {
        let own = job.out.join(format!("seed-{seed}"));
        let report = match run_seed(args, job, seed, &own, policy, stop, err) {
            Ok(report) => report,
            Err(e) => {
                // A first seed that a mistake ended leaves nothing behind that a second try would trip over.
                if matches!(start, Start::Fresh) && runs.is_empty() && is_usage(&e) {
                    folder.discard();
                }
                return Err(e);
            }
        };
        if report.status == Status::Interrupted {
            return Ok(report);
        }
        let _ = writeln!(err, "{}", Summary { report: &report, folder: &own });
        runs.push(report);
    }
    let report = report::combine(&runs, job.preset.gates());
    report::write_combined(folder.path(), &report, &runs, job.preset.info())?;
    Ok(report)
}

fn run_seed(
    args: &Reproduce,
    job: &Job,
    seed: u64,
    out: &Path,
    policy: Policy,
    stop: &Arc<AtomicBool>,
    err: &mut dyn Write,
) -> anyhow::Result<ReportFile> {
    let (folder, start) = RunFolder::open(out, &identity(args, job, vec![seed]), policy)?;
    let resume = match start {
        Start::Finished(report) => {
            let _ = writeln!(err, "{}: this run is finished", out.display());
            return Ok(*report);
        }
        Start::Fresh => false,
        Start::Resume => true,
    };
    let earlier_s = if resume { folder.earlier_seconds() } else { 0.0 };
    let began = Instant::now();
    let mut run = Run {
        report: Report::new(job.preset.gates()),
        preset: job.preset.clone(),
        seed,
        device: job.device,
        smoke: args.smoke,
        resume,
        force: args.force,
        weights: job.weights.as_ref().map(|(path, _)| path.clone()),
        out: out.to_owned(),
        data_dir: job.data_dir.clone(),
        stop: stop.clone(),
    };
    if let Some((path, sha256)) = &job.weights {
        run.report.event(0, "weights", &format!("{}, sha256 {sha256}", path.display()));
    }
    let status = match job.experiment.run(&mut run) {
        // A smoke run can diverge or be stopped; only one that came through is called smoke.
        Ok(Status::Complete) if args.smoke => Status::Smoke,
        Ok(status) => status,
        Err(e) if is_stopped(&e) => Status::Interrupted,
        Err(e) => {
            if !resume && is_usage(&e) {
                folder.discard();
            }
            return Err(e);
        }
    };
    let findings = run.report.finish(status);
    let report = ReportFile {
        schema: SCHEMA,
        experiment: job.experiment.name().to_owned(),
        preset: job.preset.kind().to_string(),
        preset_sha256: job.preset.sha256().to_owned(),
        overrides: job.preset.overrides().clone(),
        seed,
        seeds: vec![seed],
        status,
        config: job.preset.config_json(),
        gates: findings.gates,
        controls: findings.controls,
        metrics: findings.metrics,
        events: findings.events,
        wall_s: ((earlier_s + began.elapsed().as_secs_f64()) * 1e3).round() / 1e3,
        peak_rss_bytes: machine::peak_rss_bytes(),
        device: device::name(job.device),
        threads: u32::try_from(tch::get_num_threads()).unwrap_or(0),
        cpu: machine::cpu_name(),
        versions: machine::versions(),
    };
    report::write_run(folder.path(), &report, &findings.items, job.preset.info())?;
    if status == Status::Interrupted {
        // Whoever runs several seeds or names must see it too, however the experiment was stopped.
        stop.store(true, Ordering::Relaxed);
    }
    Ok(report)
}

fn identity(args: &Reproduce, job: &Job, seeds: Vec<u64>) -> Identity {
    Identity {
        experiment: job.experiment.name().to_owned(),
        preset: args.preset.to_string(),
        seeds,
        smoke: args.smoke,
        device: device::name(job.device),
        weights_sha256: job.weights.as_ref().map(|(_, sha256)| sha256.clone()).unwrap_or_default(),
        config: job.preset.identity_json(),
    }
}
