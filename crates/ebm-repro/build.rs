//! Writes two things that only the build knows: the table of embedded presets, and the compiler's version.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=presets");
    println!("cargo:rerun-if-changed=build.rs");
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let mut rows = Vec::new();
    for entry in fs::read_dir(Path::new(&root).join("presets")).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (name, kind) = match stem.rsplit_once('.') {
            Some((name, kind @ ("cpu" | "long" | "paper"))) => (name, kind),
            _ => panic!("presets/{stem}.toml: the name must be <experiment>.<cpu|long|paper>.toml"),
        };
        rows.push(format!("({name:?}, {kind:?}, include_str!({:?})),\n", path.display().to_string()));
    }
    rows.sort();
    let table = format!("&[\n{}]\n", rows.concat());
    fs::write(Path::new(&out).join("presets.rs"), table).expect("OUT_DIR can be written");

    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.ok().and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    // "rustc 1.95.0 (hash date)": the number is enough.
    let number = version.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=EBM_RUSTC={number}");
}
