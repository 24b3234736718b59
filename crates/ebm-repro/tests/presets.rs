//! Every shipped preset is read whole; the paper's network has its size and takes a step.

#![allow(clippy::unwrap_used)]

#[cfg(any(
    feature = "ebt-denoise",
    feature = "ebt-policy",
    feature = "ebt-text",
    feature = "ebwm",
    feature = "jem"
))]
use std::process::Command;

use clap::ValueEnum;
use ebm_repro::Registry;
use ebm_repro::preset::{EMBEDDED, Kind, Preset};

#[test]
fn every_preset_is_read_and_planned() {
    let registry = Registry::built_in();
    for (name, kind, text) in EMBEDDED {
        let kind = Kind::from_str(kind, false).unwrap();
        let preset = Preset::parse(name, kind, text).unwrap();
        // A preset is there whatever was built; its experiment only with its feature.
        let built = match preset.info().feature.as_str() {
            "ebt-policy" => cfg!(feature = "ebt-policy"),
            "ebt-denoise" => cfg!(feature = "ebt-denoise"),
            "ebt-text" => cfg!(feature = "ebt-text"),
            "ebwm" => cfg!(feature = "ebwm"),
            "jem" => cfg!(feature = "jem"),
            "samplers" => cfg!(feature = "samplers"),
            "toy" => cfg!(feature = "toy"),
            other => panic!("{}: name the feature {other} here", preset.file()),
        };
        if !built {
            continue;
        }
        let experiment = registry.experiment(name).unwrap();
        let plan = experiment.plan(&preset).unwrap();
        // The gallery of samplers trains nothing.
        let trains = preset.info().feature != "samplers";
        assert_eq!((plan.parameters > 0, plan.macs > 0), (trains, trains), "{}", preset.file());
        assert!(plan.steps > 0, "{}", preset.file());
        if kind == Kind::Paper {
            let expected = match *name {
                // Worked out term by term in a test of ebm-models.
                "ebt-policy" => 8_635_650,
                // Two embeddings, 7 D^2 and two norms a block, the last norm, the head, two step tokens, alpha.
                "ebt-text" => 2 * 50_277 * 384 + 6 * (7 * 384 * 384 + 2 * 384) + 4 * 384 + 1,
                // Derived in ebm-models: 12 blocks of 7 x 768^2 + 2 x 768, the last norm, the head, alpha.
                "ebwm" => 49_565_185,
                // Blocks 12 D^2 + 12 D, embedding 769 D, last modulation 2 D^2 + 2 D, condition, head and step size.
                "ebt-denoise" => 24 * (12 * 1536 * 1536 + 12 * 1536) + 2 * 1536 * 1536 + 773 * 1536 + 1,
                // One channel in instead of three: 288 weights fewer than the count derived in ebm-models.
                "jem-fashion" => 36_471_338 - 288,
                other => panic!("derive the size of {other} here"),
            };
            assert_eq!(plan.parameters, expected, "{}", preset.file());
        }
    }
}

/// One optimiser step of the paper's width at little depth and batch 1, through the whole experiment; one after the
/// other, for memory.
#[cfg(any(
    feature = "ebt-denoise",
    feature = "ebt-policy",
    feature = "ebt-text",
    feature = "ebwm",
    feature = "jem"
))]
#[test]
fn the_papers_presets_take_a_step() {
    let built = [
        #[cfg(feature = "ebt-denoise")]
        "ebt-denoise",
        #[cfg(feature = "ebt-policy")]
        "ebt-policy",
        #[cfg(feature = "ebt-text")]
        "ebt-text",
        #[cfg(feature = "ebwm")]
        "ebwm",
        #[cfg(feature = "jem")]
        "jem-fashion",
    ];
    for name in built {
        let out = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_ebm-repro"))
            .args(["reproduce", name, "--preset", "paper", "--smoke", "--out"])
            .arg(out.path().join("run"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
