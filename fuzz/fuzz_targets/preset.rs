//! Presets and `--set`: no text makes them panic, and whatever they accept is the same preset after it was written
//! out and read again.
//!
//! An input is a preset and then `--set` arguments, each after a NUL, which no TOML file may hold. An empty preset
//! stands for the first that the program ships.

#![no_main]

use std::str;

use ebm_repro::preset::{EMBEDDED, Kind, Preset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(input) = str::from_utf8(bytes) else { return };
    let mut parts = input.split('\0');
    let text = parts.next().filter(|own| !own.is_empty()).unwrap_or(EMBEDDED[0].2);
    let Ok(mut preset) = Preset::parse("fuzz", Kind::Cpu, text) else { return };
    survives_writing(&preset);
    let mut small = preset.clone();
    small.apply_smoke().expect("tried when the preset was read");
    survives_writing(&small);
    // The program applies [smoke] first.
    // A few are enough, and more would only take time.
    for argument in parts.take(4) {
        for changed in [&mut preset, &mut small] {
            let before = changed.identity_json();
            match changed.set(argument) {
                Ok(()) => assert!(changed.is_modified()),
                Err(_) => assert_eq!(changed.identity_json(), before, "{argument}"),
            }
        }
    }
    survives_writing(&preset);
    survives_writing(&small);
});

/// Its identity, written as TOML, is a preset of the same identity.
fn survives_writing(preset: &Preset) {
    let identity = preset.identity_json();
    let text = toml::to_string(&identity).expect("what was read as TOML can be written as TOML");
    let again = Preset::parse(preset.name(), preset.kind(), &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(again.identity_json(), identity, "{text}");
}
