//! Tests of preset parsing, overrides and messages.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const TEXT: &str = r#"
[experiment]
title = "A test"
paper = "none"
feature = "toy"
minutes = 1
[model]
hidden = [64, 64]
name = "mlp"
bias = true
[sampler]
step_size = 0.1
n_steps = 20
[[controls]]
name = "twin"
n_steps = 5
[[gates]]
name = "accuracy"
claim = "c"
op = ">="
threshold = 0.9
[smoke]
sampler.n_steps = 2
"model.hidden" = [4]
"#;

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sampler {
    step_size: f64,
    n_steps: u32,
}

fn preset() -> Preset {
    Preset::parse("test", Kind::Cpu, TEXT).unwrap()
}

fn set_error(argument: &str) -> String {
    preset().set(argument).unwrap_err().to_string()
}

#[test]
fn overrides_change_values_and_are_remembered() {
    let mut p = preset();
    assert!(!p.is_modified());
    p.set("sampler.step_size=1").unwrap();
    p.set("sampler.n_steps = 1e2").unwrap();
    p.set("model.name=conv net").unwrap();
    p.set("model.hidden=[8]").unwrap();
    p.set("controls.twin.n_steps=7").unwrap();
    p.set("data.path=/tmp/my.csv").unwrap();
    assert!(p.is_modified());
    assert_eq!(p.section::<Sampler>("sampler").unwrap(), Sampler { step_size: 1.0, n_steps: 100 });
    let config = p.config_json();
    assert_eq!(config["model"]["name"], "conv net");
    assert_eq!(config["controls"][0]["n_steps"], 7);
    assert_eq!(p.data_path().unwrap().to_str(), Some("/tmp/my.csv"));
    assert_eq!(p.overrides()["sampler.step_size"], "1");
    assert_eq!(p.sha256(), preset().sha256());
    assert!(config.get("gates").is_none() && p.identity_json()["gates"].is_array());
}

#[test]
fn wrong_overrides_name_the_way_out() {
    let text = set_error("sampler.stepsize=0.1");
    assert!(text.contains("near are sampler.step_size") && text.contains("n_steps"), "{text}");
    assert!(set_error("nothing.at=1").contains("[sampler]"));
    assert!(set_error("sampler=1").contains("table.key=value"));
    assert!(set_error("sampler.step_size").contains("table.key=value"));
    assert!(set_error("sampler.step_size=fast").contains("expected a number"));
    assert!(set_error("sampler.step_size=nan").contains("not nan"));
    assert!(set_error("model.bias=1").contains("true or false"));
    assert!(set_error("model.hidden=[\"a\"]").contains("expected a whole number"));
    assert!(set_error("gates.accuracy.threshold=0").contains("fixed"));
    assert!(set_error("smoke.sampler=0").contains("smoke"));
    let mut p = preset();
    p.set("sampler.n_steps=0.5").unwrap();
    let text = p.section::<Sampler>("sampler").unwrap_err().to_string();
    assert!(text.contains("test.cpu.toml") && text.contains("n_steps") && text.contains("u32"), "{text}");
    assert!(text.contains("--set sampler.n_steps=0.5"), "{text}");
}

#[test]
fn smoke_shrinks_without_marking_the_preset_as_modified() {
    let mut p = preset();
    p.apply_smoke().unwrap();
    assert_eq!(p.section::<Sampler>("sampler").unwrap().n_steps, 2);
    assert_eq!(p.config_json()["model"]["hidden"], serde_json::json!([4]));
    assert!(!p.is_modified());
}

#[test]
fn faults_in_a_file_are_named() {
    let fault = |text: &str| Preset::parse("test", Kind::Cpu, text).unwrap_err().to_string();
    assert!(fault("[experiment\n").contains("line 1"));
    assert!(fault(&format!("{TEXT}\n[extra]")).contains("[extra]"));
    assert!(fault("[experiment]\ntitle='a'").contains("paper"));
    assert!(fault(&TEXT.replace("threshold = 0.9", "treshold = 0.9")).contains("treshold"));
    assert!(fault(&TEXT.replace("threshold = 0.9", "threshold = inf")).contains("finite"));
    assert!(fault(&TEXT.replace("sampler.n_steps = 2", "sampler.steps = 2")).contains("[smoke]"));
    assert!(fault(&TEXT.replace("[[controls]]\nname = \"twin\"", "[[controls]]")).contains("`name`"));
    assert!(fault(&TEXT.replace("[[gates]]", "[gates]")).contains("[[gates]]"));
}

/// As deep as the TOML parser allows: far more than its own recursion stands.
fn deep(levels: usize) -> String {
    let key = ["a"; 79].join(".");
    (0..levels).fold("1".to_owned(), |value, _| format!("{{{key}={value}}}"))
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let fault = |text: &str| Preset::parse("test", Kind::Cpu, text).unwrap_err().to_string();
    for value in [deep(60), "[".repeat(500_000), "{a=".repeat(500_000), deep(60).replace("=", ",=")] {
        let whole = format!("{TEXT}\n[eval]\nx = {value}");
        let (text, line) = (fault(&whole), format!("line {}:", whole.lines().count()));
        assert!(text.contains("nested") && text.contains(&line), "{text}");
        assert!(set_error(&format!("sampler.step_size={value}")).contains("nested"));
    }
    // Nor piece by piece: in a header and in its keys, or by one change after the other.
    assert!(fault(&format!("{TEXT}\n[eval.a.b.c.d.e]\nf.g.h = 1")).contains("nested"));
    let mut p = preset();
    let mut path = "sampler.step_size".to_owned();
    while p.set(&format!("{path}={{a=1}}")).is_ok() {
        path += ".a";
        assert!(path.len() < 100, "{path}");
    }
    // A path is only a text.
    p.set("data.path=../../../../../a[[[[[[[[[").unwrap();
}

#[test]
fn infinities_and_nan_are_different_settings() {
    let with = |x: &str| {
        let text = format!("{TEXT}\n[eval]\nlimits = [{x}]");
        Preset::parse("test", Kind::Cpu, &text).unwrap().identity_json()
    };
    assert_eq!(with("inf")["eval"]["limits"], serde_json::json!(["inf"]));
    assert!(with("inf") != with("-inf") && with("inf") != with("nan") && with("nan") == with("+nan"));
}

#[test]
fn a_control_keeps_a_name() {
    for argument in ["controls.twin=5", "controls.twin={n_steps=5}"] {
        let text = set_error(argument);
        assert!(text.contains(argument) && text.contains("needs a `name`"), "{text}");
    }
    let text = TEXT.replace("sampler.n_steps = 2", "controls.twin = 2");
    let text = Preset::parse("test", Kind::Cpu, &text).unwrap_err().to_string();
    assert!(text.contains("[smoke]") && text.contains("needs a `name`"), "{text}");
    preset().set("controls.twin={name=\"twin\",n_steps=5}").unwrap();
}

#[test]
fn a_refused_override_changes_nothing() {
    let mut p = preset();
    for argument in ["experiment.minutes={a=1}", "controls.twin=5", "data.path.x=1", "model.bias=1"] {
        p.set(argument).unwrap_err();
        assert!(p.identity_json() == preset().identity_json() && !p.is_modified(), "{argument}");
    }
}

proptest! {
    #[test]
    fn any_text_is_an_error_or_a_preset(text in "\\PC*") {
        let _ = Preset::parse("test", Kind::Cpu, &text);
    }

    #[test]
    fn a_spoilt_preset_never_panics(cut in 0..TEXT.len(), insert in "[\\[\\]=.\"'a-z0-9\n{}]{0,6}") {
        let text = format!("{}{insert}{}", &TEXT[..cut], &TEXT[cut..]);
        let _ = Preset::parse("test", Kind::Cpu, &text);
    }

    #[test]
    fn any_override_is_an_error_or_applied(argument in "\\PC*") {
        let _ = preset().set(&argument);
    }

    #[test]
    fn any_value_of_a_known_key_never_panics(
        key in prop::sample::select(vec!["sampler.step_size", "model.hidden", "model.name", "experiment.data", "data.path"]),
        value in "[\\[\\]=.,\"'a-z0-9\\-{} \n]{0,12}",
    ) {
        let mut p = preset();
        if p.set(&format!("{key}={value}")).is_ok() {
            let _ = p.section::<Sampler>("sampler");
            let _ = p.config_json();
        }
    }
}
