//! Tests of the report builder, the judging of gates, and reports over seeds.

use super::*;
use crate::gate::Op;

fn spec(name: &str, extra: &str) -> GateSpec {
    let text = format!("name = \"{name}\"\nclaim = \"a claim\"\nop = \">=\"\n{extra}");
    let spec: GateSpec = toml::from_str(&text).unwrap();
    assert_eq!(spec.problem(), None);
    spec
}

fn gates() -> Vec<GateSpec> {
    vec![
        spec("fixed", "threshold = 0.5"),
        spec("relative", "control = \"twin\"\nmargin = -0.02"),
        spec("seeds", "threshold = 0.5\nscope = \"seeds\"\nseeds_needed = 3\nunfavourable_end = true"),
    ]
}

fn file(seed: u64, status: Status, fill: impl FnOnce(&mut Report)) -> ReportFile {
    let mut report = Report::new(&gates());
    fill(&mut report);
    let f = report.finish(status);
    ReportFile {
        schema: SCHEMA,
        experiment: "test".into(),
        preset: "cpu".into(),
        preset_sha256: "00".into(),
        overrides: BTreeMap::new(),
        seed,
        seeds: vec![seed],
        status,
        config: serde_json::json!({}),
        gates: f.gates,
        controls: f.controls,
        metrics: f.metrics,
        events: f.events,
        wall_s: 1.0,
        peak_rss_bytes: 1_000_000 * (seed + 1),
        device: "cpu".into(),
        threads: 2,
        cpu: "unknown".into(),
        versions: crate::run::machine::versions(),
    }
}

fn passes(file: &ReportFile) -> Vec<Option<bool>> {
    file.gates.iter().map(|g| g.pass).collect()
}

#[test]
fn gates_are_judged_by_value_threshold_and_status() {
    let fill = |r: &mut Report| {
        r.judge("fixed", 0.6, Some((0.55, 0.65))).unwrap();
        r.judge_against("relative", 0.95, None, 0.98).unwrap();
        r.judge("seeds", 0.9, None).unwrap();
    };
    let complete = file(0, Status::Complete, fill);
    assert_eq!(passes(&complete), [Some(true), Some(false), None]);
    assert!((complete.gates[1].threshold.unwrap() - 0.96).abs() < 1e-12);
    assert_eq!(complete.exit_code(), 3);
    assert_eq!(passes(&file(0, Status::Smoke, fill)), [None; 3]);
    assert_eq!(passes(&file(0, Status::Diverged, |_| {})), [Some(false); 3]);
    let silent = file(0, Status::Complete, |_| {});
    assert_eq!((passes(&silent), silent.exit_code()), (vec![None; 3], 0));
    assert!(silent.verdict().contains("No gate was judged"));
}

#[test]
fn a_value_that_is_not_finite_is_null_and_fails() {
    let f = file(0, Status::Complete, |r| {
        r.judge("fixed", f64::INFINITY, Some((f64::NAN, 1.0))).unwrap();
        r.judge_against("relative", 1.0, None, f64::NAN).unwrap();
        r.metric("loss", f64::NAN);
    });
    assert_eq!(passes(&f)[..2], [Some(false), Some(false)]);
    let json: serde_json::Value = serde_json::from_str(&f.to_json()).unwrap();
    assert!(json["gates"][0]["value"].is_null() && json["gates"][0]["ci"].is_null());
    assert!(json["metrics"]["loss"].is_null());
}

#[test]
fn misuse_of_gates_is_an_error() {
    let mut r = Report::new(&gates());
    assert!(r.judge("accuracy", 1.0, None).unwrap_err().to_string().contains("fixed, relative"));
    assert!(r.judge("relative", 1.0, None).is_err());
    assert!(r.judge_against("fixed", 1.0, None, 1.0).is_err());
    r.judge("fixed", 1.0, None).unwrap();
    assert!(r.judge("fixed", 1.0, None).is_err());
}

fn three(values: [f64; 3]) -> Vec<ReportFile> {
    let each = |(seed, v): (u64, f64)| {
        file(seed, Status::Complete, |r| {
            r.judge("fixed", v, None).unwrap();
            r.judge_against("relative", v, None, v).unwrap();
            r.judge("seeds", v, None).unwrap();
            r.metric("accuracy", v);
            r.control("twin", &[("accuracy", v)]);
            r.event(seed, "rollback", "");
        })
    };
    (0..).zip(values).map(each).collect()
}

#[test]
fn seeds_are_combined_by_scope() {
    let all = combine(&three([0.6, 0.7, 0.8]), &gates());
    assert_eq!(passes(&all), [Some(true), Some(true), Some(false)]);
    assert!((all.gates[0].value.unwrap() - 0.7).abs() < 1e-12);
    // mean 0.7, s = 0.1, n = 3: 0.7 -+ t(0.975; 2) 0.1 / sqrt(3), t = 4.302652729911275
    let half = 4.302_652_729_911_275 * 0.1 / 3f64.sqrt();
    let [low, high] = all.gates[2].ci.unwrap();
    assert!((low - (0.7 - half)).abs() < 1e-9 && (high - (0.7 + half)).abs() < 1e-9);
    // The bad end of the interval, 0.4516, is what is judged.
    assert!((all.gates[2].value.unwrap() - low).abs() < 1e-12);
    assert_eq!((all.seeds.clone(), all.seed, all.exit_code()), (vec![0, 1, 2], 0, 3));
    assert_eq!(all.events[2].seed, Some(2));
    assert_eq!(all.controls[0].metrics["accuracy"], all.metrics["accuracy"]);
    assert_eq!((all.wall_s, all.peak_rss_bytes), (3.0, 3_000_000));
    assert_eq!(passes(&combine(&three([0.69, 0.7, 0.71]), &gates())), [Some(true); 3]);
    assert_eq!(passes(&combine(&three([0.6, 0.4, 0.8]), &gates()))[0], Some(false));
}

#[test]
fn too_few_seeds_a_missing_value_and_a_diverged_seed() {
    let two = three([0.9, 0.9, 0.9])[..2].to_vec();
    assert_eq!(passes(&combine(&two, &gates())), [Some(true), Some(true), None]);
    let nan = combine(&three([0.9, f64::NAN, 0.9]), &gates());
    assert_eq!(passes(&nan), [Some(false); 3]);
    assert_eq!((nan.gates[0].value, nan.metrics["accuracy"]), (None, None));
    let mut runs = three([0.9; 3]);
    runs[1] = file(1, Status::Diverged, |_| {});
    let all = combine(&runs, &gates());
    assert_eq!((all.status, passes(&all)), (Status::Diverged, vec![Some(false); 3]));
}

#[test]
fn a_report_reads_back_as_it_was_written() {
    let f = file(3, Status::Complete, |r| {
        r.judge("fixed", 0.1 + 0.2, None).unwrap();
        r.event(5, "rollback", "loss not finite");
    });
    let text = f.to_json();
    assert_eq!(serde_json::from_str::<ReportFile>(&text).unwrap(), f);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["gates"][0]["op"], Op::AtLeast.symbol());
    assert_eq!(json["gates"][0]["scope"], "run");
    assert_eq!(json["status"], "complete");
    assert_eq!(
        json["events"][0],
        serde_json::json!({"step": 5, "kind": "rollback", "detail": "loss not finite"})
    );
    assert_eq!(file_stem("a b/../c"), "a-b----c");
}
