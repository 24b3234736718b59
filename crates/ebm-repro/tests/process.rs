//! What only a process of its own can show: Ctrl-C, kill -9, and two writers at once.

#![cfg(unix)]
// The helpers below are test code too, which clippy does not see.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ebm_repro::{cli, stop_on_interrupt};
use support::{registry, report, toy};

const WORDS: &str = "EBM_TEST_WORDS";

/// Not a test: what the child processes of the tests below run.
#[test]
fn child() {
    let Ok(words) = std::env::var(WORDS) else { return };
    let stop = stop_on_interrupt().unwrap();
    let args = ["ebm-repro", "reproduce"].into_iter().chain(words.split(' ')).map(Into::into);
    let code = cli::main(args, &registry(), &stop, &mut std::io::stdout(), &mut std::io::stderr());
    std::process::exit(code.into());
}

const SLOW: [&str; 4] = ["--set", "trainer.n_steps=100", "--set", "trainer.pause_ms=20"];

/// Starts a slow run and waits until it has written some steps.
fn start(out: &Path) -> Child {
    let words = format!("toy --out {} {}", out.display(), SLOW.join(" "));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(WORDS, words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |t| t.lines().count()) < 5 {
        assert!(start.elapsed() < Duration::from_secs(60), "the run did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn finishes_when_resumed(out: &Path) {
    let words: Vec<&str> = SLOW.iter().copied().chain(["--resume"]).collect();
    let ran = toy(out, &words);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let rows = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 100);
    assert_eq!(report(out)["status"], "complete");
}

#[test]
fn ctrl_c_saves_and_the_run_goes_on() {
    let out = tempfile::tempdir().unwrap();
    let mut child = start(out.path());
    // SAFETY: a signal to a process that we started and still hold.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(report(out.path())["status"], "interrupted");
    finishes_when_resumed(out.path());
    // Both parts count.
    assert!(report(out.path())["wall_s"].as_f64().unwrap() > 2.0);
}

#[test]
fn a_second_writer_is_refused_and_kill_9_leaves_a_run_that_resumes() {
    let out = tempfile::tempdir().unwrap();
    let mut child = start(out.path());
    for words in [&["--resume"][..], &["--overwrite"]] {
        let ran = toy(out.path(), &[&SLOW[..], words].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("another process"), "{}", ran.err);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!out.path().join("report.json").exists());
    finishes_when_resumed(out.path());
}
