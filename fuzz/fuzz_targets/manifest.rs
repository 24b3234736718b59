//! A checkpoint's manifest: never panics, and what it accepts is the same after it was written and read again.

#![no_main]

use std::path::Path;

use ebm_train::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(Path::new("fuzz.json"), bytes) {
        // As `Checkpoints::save` writes it.
        let written = serde_json::to_vec_pretty(&manifest).expect("accepted, so it can be written");
        let again = Manifest::parse(Path::new("written.json"), &written).expect("just written");
        assert_eq!(again, manifest);
    }
});
