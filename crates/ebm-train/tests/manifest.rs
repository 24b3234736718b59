//! A checkpoint's manifest comes back as it was written, to the last bit of its numbers.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use ebm_train::Manifest;
use proptest::prelude::*;
use serde_json::json;

/// The text of a manifest with this learning-rate factor, whose objective keeps the same number.
fn text(number: f64) -> Vec<u8> {
    let environment =
        json!({"ebm": "0.1.0", "libtorch": "2", "threads": 2, "vector_level": "avx2", "device": "Cpu"});
    let manifest = json!({
        "schema": 1, "step": 3, "seed": 1, "config_sha256": "c", "environment": environment,
        "optimizer_steps": 3, "lr_factor": number, "rollbacks": 0, "objective": [number], "events": [],
        "tensors_sha256": "t",
    });
    serde_json::to_vec(&manifest).unwrap()
}

fn read(text: &[u8]) -> Manifest {
    Manifest::parse(Path::new("m.json"), text).unwrap()
}

proptest! {
    #[test]
    fn numbers_keep_every_bit(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
        let manifest = read(&text(number));
        prop_assert_eq!(manifest.lr_factor.to_bits(), number.to_bits());
        prop_assert_eq!(&read(&serde_json::to_vec_pretty(&manifest).unwrap()), &manifest);
    }
}

/// What many halvings leave: an exact number with many digits.
#[test]
fn the_factor_of_many_roll_backs_is_exact() {
    for rollbacks in 0..1000 {
        let factor = 0.5f64.powi(rollbacks);
        assert_eq!(read(&text(factor)).lr_factor.to_bits(), factor.to_bits(), "{rollbacks} roll-backs");
    }
}
