//! The text in `docs/draws.md` opens our draws in ArviZ, and ArviZ's diagnostics of them are ours.
//!
//! Needs a Python with ArviZ 0.23: the one named in `EBM_ARVIZ_PYTHON` (which `cargo xtask test` installs and names), or
//! else `python3`. Without one the test says so
//! and passes; nothing is installed or fetched.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use ebm_core::analytic::Gaussian;
use ebm_metrics::chains::{e_bfmi, ess_bulk, ess_tail, mcse_mean, r_hat};
use ebm_samplers::{DrawArrays, DrawFolder, DrawInfo, Nuts, Packing, SampleConfig, pack_npz, sample_into};
use ndarray::Axis;

/// A Python that imports ArviZ.
fn python() -> Option<String> {
    let asked = std::env::var("EBM_ARVIZ_PYTHON").ok();
    let program = asked.clone().unwrap_or_else(|| "python3".into());
    let output = Command::new(&program).args(["-c", "import arviz; print(arviz.__version__)"]).output();
    let found = match &output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::new(),
    };
    // A Python that was asked for must do; one that happens to be there may be too old or too new.
    assert!(
        asked.is_none() || found.starts_with("0.23"),
        "EBM_ARVIZ_PYTHON={program}: ArviZ is {found:?}, not 0.23"
    );
    found.starts_with("0.23").then_some(program)
}

/// The Python text of the docs, so that it cannot drift from this test.
fn snippet() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/draws.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let blocks: Vec<&str> = text.split("```python\n").skip(1).collect();
    assert_eq!(blocks.len(), 1, "the docs show one way");
    blocks[0].split("```").next().unwrap().to_owned()
}

const QUESTIONS: &str = r#"
assert list(data.posterior["x"].dims) == ["chain", "draw", "coordinate"]
assert data.sample_stats["diverging"].dtype == bool and data.sample_stats["tree_depth"].dtype == np.int64
print(json.dumps({
    "version": az.__version__,
    "shape": list(data.posterior["x"].shape),
    "names": [str(name) for name in data.posterior["coordinate"].values],
    "r_hat": az.rhat(data)["x"].values.tolist(),
    "ess_bulk": az.ess(data, method="bulk")["x"].values.tolist(),
    "ess_tail": az.ess(data, method="tail")["x"].values.tolist(),
    "mcse_mean": az.mcse(data, method="mean")["x"].values.tolist(),
    "bfmi": az.bfmi(data).tolist(),
    "diverging": int(data.sample_stats["diverging"].sum()),
}))
"#;

#[test]
fn arviz_agrees() {
    let Some(python) = python() else {
        eprintln!("left out: no Python with ArviZ 0.23 (name one in EBM_ARVIZ_PYTHON)");
        return;
    };
    // Correlated draws of four chains, streamed with their statistics.
    let target = Gaussian::new(vec![0.0; 3], vec![1.0, 0.9, 0.0, 0.9, 1.0, 0.0, 0.0, 0.0, 25.0]).unwrap();
    let starts: Vec<Vec<f64>> = (0..4).map(|c| vec![f64::from(c), -1.0, 3.0]).collect();
    let config = SampleConfig { n_draws: 400, burn_in: 20, seed: 7, ..SampleConfig::default() };
    let folder = tempfile::tempdir().unwrap();
    let sinks = DrawFolder::create(folder.path(), 3).unwrap();
    sample_into(&Nuts::new(0.2).max_depth(3), &target, starts, &config, |i| sinks.sink(i)).unwrap();
    let coordinates = ["mu", "tau", "sigma"].map(String::from).to_vec();
    let info = DrawInfo { seeds: vec![7], kernel: "Nuts".into(), coordinates, ..DrawInfo::default() };
    pack_npz(folder.path(), &info, &Packing::default()).unwrap();
    let (draws, _) = DrawArrays::read_npz(folder.path()).unwrap();

    let program = snippet() + QUESTIONS;
    let output = Command::new(python).args(["-c", &program]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["shape"], serde_json::json!([4, 400, 3]));
    assert_eq!(found["names"], serde_json::json!(["mu", "tau", "sigma"]));
    assert_eq!(found["diverging"], draws.get("diverging").unwrap().sum() as u64);

    let close = |what: &str, theirs: &serde_json::Value, ours: f64| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() <= 1e-9 * theirs.abs(), "{what}: ours {ours}, ArviZ {theirs}");
    };
    for (d, chains) in draws.positions().axis_iter(Axis(2)).enumerate() {
        close("R-hat", &found["r_hat"][d], r_hat(chains).unwrap());
        close("bulk ESS", &found["ess_bulk"][d], ess_bulk(chains).unwrap());
        close("tail ESS", &found["ess_tail"][d], ess_tail(chains).unwrap());
        close("MCSE", &found["mcse_mean"][d], mcse_mean(chains).unwrap());
    }
    for (c, ours) in e_bfmi(draws.get("energy").unwrap()).unwrap().into_iter().enumerate() {
        close("E-BFMI", &found["bfmi"][c], ours);
    }
}
