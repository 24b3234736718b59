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

#[test]
fn zz_deep() {
    let d: usize = std::env::var("D").unwrap().parse().unwrap();
    let key = ["a"; 79].join(".");
    let mut v = "1".to_owned();
    for _ in 0..d {
        v = format!("{{{key}={v}}}");
    }
    let r = Preset::parse("test", Kind::Cpu, &format!("{TEXT}\n[eval]\nx = {v}\n"));
    eprintln!("{} {:?}", v.len(), r.map(|p| p.identity_json().to_string().len()));
}
