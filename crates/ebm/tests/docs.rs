//! The README shows the three examples as they are in their files.

use std::fs;
use std::path::Path;

const EXAMPLES: [&str; 3] =
    ["examples/host-only/src/main.rs", "crates/ebm/examples/train_pcd.rs", "crates/ebm/examples/compose.rs"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Line ends as git may have made them on another system.
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}")).replace("\r\n", "\n")
}

/// The bodies of the fenced blocks whose language is Rust.
fn rust_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Vec<&str>)> = None;
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.starts_with("rust"), Vec::new())),
            (Some((is_rust, lines)), Some(_)) => {
                if *is_rust {
                    blocks.push(lines.join("\n"));
                }
                open = None;
            }
            (Some((_, lines)), None) => lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_readme_quotes_the_examples() {
    let blocks = rust_blocks(&read("README.md"));
    assert_eq!(blocks.len(), EXAMPLES.len(), "README.md has {} Rust blocks", blocks.len());
    for (block, path) in blocks.iter().zip(EXAMPLES) {
        assert!(
            block.trim() == read(path).trim(),
            "README.md differs from {path}: copy the file into its block"
        );
    }
}
