//! The command from its arguments to its exit code and its files.

// The helpers below are test code too, which clippy does not see.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{report, reproduce, toy};

/// Every file under a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_complete_run_writes_everything_the_contract_names() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("a/b");
    let ran = toy(&out, &["--seed", "7", "--set", "sampler.step_size=0.2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("held") && ran.out.contains("report.html"), "{}", ran.out);
    for name in ["report.html", "plots/loss.svg", "metrics.jsonl", "tensorboard", "config.json"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let r = report(&out);
    let keys: Vec<&str> = r.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = vec![
        "schema",
        "experiment",
        "preset",
        "preset_sha256",
        "overrides",
        "seed",
        "seeds",
        "status",
        "config",
        "gates",
        "controls",
        "metrics",
        "events",
        "wall_s",
        "peak_rss_bytes",
        "device",
        "threads",
        "cpu",
        "versions",
    ];
    wanted.sort();
    assert_eq!(keys, wanted);
    assert_eq!(r["schema"], 1);
    assert_eq!(
        (&r["experiment"], &r["preset"], &r["status"]),
        (&json!("toy"), &json!("cpu"), &json!("complete"))
    );
    assert_eq!((&r["seed"], &r["seeds"]), (&json!(7), &json!([7])));
    assert_eq!(r["overrides"], json!({"sampler.step_size": "0.2"}));
    assert_eq!(r["config"]["sampler"]["step_size"], 0.2);
    assert_eq!(r["preset_sha256"].as_str().unwrap().len(), 64);
    let gate = r["gates"][0].as_object().unwrap();
    let keys: Vec<&str> = gate.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["ci", "ci_level", "claim", "control", "name", "op", "pass", "scope", "threshold", "value"]
    );
    assert_eq!((&gate["op"], &gate["pass"], &gate["control"]), (&json!(">="), &json!(true), &json!("twin")));
    assert!((gate["threshold"].as_f64().unwrap() - 0.965).abs() < 1e-12);
    // One seed is too few for a gate over seeds.
    assert_eq!((&r["gates"][1]["pass"], &r["gates"][1]["control"]), (&Value::Null, &Value::Null));
    assert_eq!(r["controls"], json!([{"name": "twin", "metrics": {"accuracy": 0.985}}]));
    assert!(r["peak_rss_bytes"].as_u64().unwrap() > 0 && r["threads"].as_u64().unwrap() > 0);
    assert_eq!(r["versions"]["libtorch"], "2.13.0");
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("modified preset") && html.contains("unverified"));
    assert!(!html.contains("<script") && !html.contains("http://") || html.contains("xmlns"));
}

#[test]
fn a_finished_run_is_shown_again_and_nothing_is_written() {
    let out = tempfile::tempdir().unwrap();
    let first = toy(out.path(), &["--set", "model.ending=fail"]);
    assert_eq!(first.code, 3);
    assert!(first.out.contains("NOT HELD"));
    let before = contents(out.path());
    for words in [&["--set", "model.ending=fail"][..], &["--set", "model.ending=fail", "--resume"]] {
        let again = toy(out.path(), words);
        assert_eq!((again.code, &again.out), (3, &first.out));
        assert!(again.err.contains("is finished"));
    }
    assert_eq!(contents(out.path()), before);
    let again = toy(out.path(), &["--set", "model.ending=fail", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&again.out).unwrap(), report(out.path()));
    assert!(again.err.contains("NOT HELD"));
    assert_eq!(toy(out.path(), &["--set", "model.ending=fail", "--overwrite"]).code, 3);
    assert_ne!(contents(out.path()), before);
}

#[test]
fn another_run_is_refused_unless_overwritten() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(toy(out.path(), &[]).code, 0);
    fs::write(out.path().join("notes.txt"), "mine").unwrap();
    let before = contents(out.path());
    for words in [
        &["--seed", "1"][..],
        &["--set", "sampler.step_size=0.3"],
        &["--smoke"],
        &["--seed", "1", "--resume"],
    ] {
        let ran = toy(out.path(), words);
        assert_eq!(ran.code, 2, "{words:?}");
        assert!(ran.err.contains("another run is there") && ran.err.contains("--overwrite"), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1);
    }
    let ran = toy(out.path(), &["--set", "sampler.step_size=0.3"]);
    assert!(ran.err.contains("sampler.step_size: 0.1 there, 0.3 asked"), "{}", ran.err);
    assert_eq!(contents(out.path()), before);
    assert_eq!(toy(out.path(), &["--seed", "1", "--overwrite"]).code, 0);
    assert_eq!(report(out.path())["seed"], 1);
    assert_eq!(fs::read_to_string(out.path().join("notes.txt")).unwrap(), "mine");
    let foreign = tempfile::tempdir().unwrap();
    fs::create_dir(foreign.path().join("checkpoints")).unwrap();
    for words in [&[][..], &["--overwrite"], &["--resume"]] {
        assert_eq!(toy(foreign.path(), words).code, 2);
    }
    assert!(foreign.path().join("checkpoints").exists());
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_goes_on() {
    let out = tempfile::tempdir().unwrap();
    let set = ["--set", "model.ending=interrupted"];
    let ran = toy(out.path(), &set);
    assert_eq!(ran.code, 130);
    assert!(ran.err.contains("cargo xtask reproduce toy") && ran.err.contains("--resume"), "{}", ran.err);
    assert_eq!(report(out.path())["status"], "interrupted");
    assert!(report(out.path())["gates"].as_array().unwrap().iter().all(|g| g["pass"].is_null()));
    let ran = toy(out.path(), &set);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("unfinished") && ran.err.contains("--resume"), "{}", ran.err);
    assert_eq!(toy(out.path(), &["--set", "model.ending=interrupted", "--resume"]).code, 0);
    assert_eq!(report(out.path())["status"], "complete");
    let rows = fs::read_to_string(out.path().join("metrics.jsonl")).unwrap();
    let steps: Vec<Value> =
        rows.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["step"].clone()).collect();
    assert_eq!(steps, [json!(1), json!(2), json!(3), json!(4)]);
    // Nothing there yet: --resume starts from the beginning.
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(toy(fresh.path(), &["--resume"]).code, 0);
    let stopped = tempfile::tempdir().unwrap();
    assert_eq!(toy(stopped.path(), &["--set", "model.ending=stopped"]).code, 130);
}

#[test]
fn divergence_fails_every_gate_and_crashes_are_crashes() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(toy(out.path(), &["--set", "model.ending=diverged"]).code, 3);
    let r = report(out.path());
    assert_eq!(r["status"], "diverged");
    assert!(r["gates"].as_array().unwrap().iter().all(|g| g["pass"] == false));
    for ending in ["crash", "panic"] {
        let out = tempfile::tempdir().unwrap();
        let ran = toy(out.path(), &["--set", &format!("model.ending={ending}")]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(!out.path().join("report.json").exists());
    }
}

#[test]
fn a_smoke_run_judges_nothing_and_gives_way_to_a_real_one() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(toy(out.path(), &["--smoke", "--set", "model.ending=fail"]).code, 0);
    let r = report(out.path());
    assert_eq!((&r["status"], &r["config"]["trainer"]["n_steps"]), (&json!("smoke"), &json!(1)));
    assert!(r["gates"].as_array().unwrap().iter().all(|g| g["pass"].is_null()));
    assert_eq!(toy(out.path(), &[]).code, 0);
    assert_eq!(report(out.path())["status"], "complete");
    // Data is needed for a real run only.
    let out = tempfile::tempdir().unwrap();
    let ran = reproduce(&["needs-data", "--out", out.path().to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("cargo xtask data fetch no-such-set"), "{}", ran.err);
    assert!(contents(out.path()).is_empty());
}

#[test]
fn several_seeds_make_one_report() {
    let out = tempfile::tempdir().unwrap();
    let ran = toy(out.path(), &["--seeds", "3", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let r = report(out.path());
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), r);
    assert_eq!((&r["seed"], &r["seeds"]), (&json!(0), &json!([0, 1, 2])));
    assert!(r["gates"].as_array().unwrap().iter().all(|g| g["pass"] == true));
    assert!((r["gates"][0]["value"].as_f64().unwrap() - 0.981).abs() < 1e-12);
    for seed in 0..3 {
        assert_eq!(report(&out.path().join(format!("seed-{seed}")))["seed"], seed);
    }
    assert!(fs::read_to_string(out.path().join("report.html")).unwrap().contains("seed-2/report.html"));
    // One seed that is missing is all that a resume runs.
    fs::remove_file(out.path().join("report.json")).unwrap();
    fs::remove_dir_all(out.path().join("seed-1")).unwrap();
    let kept = contents(&out.path().join("seed-0"));
    assert_eq!(toy(out.path(), &["--seeds", "3"]).code, 2);
    assert_eq!(toy(out.path(), &["--seeds", "3", "--resume"]).code, 0);
    assert_eq!(contents(&out.path().join("seed-0")), kept);
    assert_eq!(toy(out.path(), &[]).code, 2);
    assert_eq!(toy(out.path(), &["--overwrite"]).code, 0);
    assert!(!out.path().join("seed-0").exists());
    let out = tempfile::tempdir().unwrap();
    assert_eq!(toy(out.path(), &["--seeds", "2", "--set", "model.ending=interrupted"]).code, 130);
    assert!(!out.path().join("seed-1").exists());
}

#[test]
fn the_worst_exit_code_of_several_names_is_returned() {
    let out = tempfile::tempdir().unwrap();
    let words = ["toy", "needs-data", "--smoke", "--out", out.path().to_str().unwrap(), "--json"];
    // needs-data has no [model]: its run is a usage error.
    let ran = reproduce(&words);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 1);
    assert!(out.path().join("toy-cpu-0/report.json").exists());
    assert!(!out.path().join("needs-data-cpu-0").exists());
}

#[test]
fn wrong_use_is_one_line_and_leaves_no_trace() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("run");
    let cases: &[(&[&str], &str)] = &[
        (&["--set", "sampler.stepsize=1"], "near are sampler.step_size"),
        (&["--set", "sampler.step_size=fast"], "expected a number"),
        (&["--set", "sampler.step_size=-1"], "step_size = -1"),
        (&["--set", "trainer.n_steps=0.5"], "n_steps"),
        (&["--set", "gates.accuracy.margin=-1"], "fixed in the preset"),
        (&["--preset", "paper"], "has no paper preset"),
        (&["--preset", "huge"], "huge"),
        (&["--seeds", "0"], "0"),
        (&["--seed", "-1"], "-1"),
        (&["--seed", "18446744073709551615"], "too large"),
        (&["--resume", "--overwrite"], "--overwrite"),
        (&["--device", "tpu"], "--device tpu"),
        (&["--weights", "/no/such/file"], "--weights /no/such/file"),
        (&["--set", "data.path=/no/such/file"], "/no/such/file"),
        (&["--nonsense"], "--nonsense"),
    ];
    for (words, text) in cases {
        let ran = toy(&out, words);
        assert_eq!(ran.code, 2, "{words:?}: {}", ran.err);
        assert!(ran.err.contains(text), "{words:?}: {}", ran.err);
        assert_eq!((ran.err.lines().count(), ran.out.as_str()), (1, ""), "{words:?}: {}", ran.err);
        assert!(!out.exists(), "{words:?}");
    }
    let ran = reproduce(&["tou"]);
    assert!(ran.code == 2 && ran.err.contains("toy"), "{}", ran.err);
    let ran = reproduce(&["not-built"]);
    assert!(ran.code == 2 && ran.err.contains("feature `other`"), "{}", ran.err);
    // A bad file found after the first checkpoint: the work stays, and can be resumed.
    let late = temporary.path().join("late");
    let ran = toy(&late, &["--set", "model.ending=bad-file"]);
    assert!(ran.code == 2 && ran.err.contains("images.idx at byte 4"), "{}", ran.err);
    assert!(late.join("checkpoints").exists());
    if !tch::Cuda::is_available() {
        let ran = toy(&out, &["--device", "cuda:0"]);
        assert!(ran.code == 2 && ran.err.contains("no CUDA device"), "{}", ran.err);
    }
    let file = temporary.path().join("file");
    fs::write(&file, "mine").unwrap();
    for out in [file.as_path(), Path::new("/proc/no-folder-here")] {
        let ran = toy(out, &["--overwrite"]);
        assert!(ran.code == 2 && ran.err.contains("cannot be written"), "{}", ran.err);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn list_and_dry_run_only_speak() {
    let list = reproduce(&["--list"]);
    assert_eq!((list.code, list.err.as_str()), (0, ""));
    assert!(list.out.contains("toy") && list.out.contains("A toy that counts"));
    let list = reproduce(&["--list", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&list.out).unwrap().as_array().unwrap().len(), 3);
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("run");
    let plan = toy(&out, &["--dry-run"]);
    assert_eq!(plan.code, 0);
    assert!(plan.out.contains("parameters  10") && plan.out.contains("steps       4"), "{}", plan.out);
    let plan = toy(&out, &["--dry-run", "--json", "--set", "trainer.n_steps=9"]);
    assert_eq!(serde_json::from_str::<Value>(&plan.out).unwrap()["plan"]["steps"], 9);
    assert!(!out.exists());
}
