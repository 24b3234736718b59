//! The IDX parser: never panics, never takes memory that the bytes do not justify, and what it accepts survives a
//! round trip.

#![no_main]

use ebm_datasets::idx::parse_idx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(idx) = parse_idx(bytes, "fuzz") {
        let written = idx.to_bytes().expect("accepted, so it can be written");
        assert_eq!(parse_idx(&written, "written").expect("just written"), idx);
    }
});
