//! The token file's parser: never panics, and never takes memory that the bytes do not justify.

#![no_main]

use ebm_datasets::text::token_file::parse_tokens;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_tokens(bytes, "fuzz");
});
