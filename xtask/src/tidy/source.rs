//! Rust sources: module docs, reads of device values, prints, unwraps, ignored tests.

use std::collections::HashSet;

use super::Finding;
use super::files::File;

/// Excuses a line that waits for a device.
const HOST_READ: &str = "// host read:";

/// All checks of one Rust file.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !opens_with_docs(text) && (is_library(path) || path.starts_with("xtask/src/")) {
        findings.push(Finding::new(path, 1, "the file does not open with //! docs"));
    }
    let ignore = concat!("#[", "ignore");
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with(ignore) {
            findings.push(Finding::new(
                path,
                index + 1,
                "an ignored test is no test; make it fast or delete it",
            ));
        }
    }
    if !is_library(path) {
        return findings;
    }
    let mut previous = "";
    for (index, line) in library_lines(path, text) {
        let code = without_comment(line);
        let excused = |word: &str| line.contains(word) || previous.trim_start().starts_with(word);
        // The experiments evaluate and draw; only what runs inside a step must not wait.
        let inside_steps = !path.starts_with("crates/ebm-repro/");
        if inside_steps && reads_device(code) && !excused(HOST_READ) {
            let message =
                format!("waits for a device; if it must, say why in a comment `{HOST_READ} <reason>`");
            findings.push(Finding::new(path, index + 1, message));
        }
        if let Some(what) = printed(code) {
            let message = format!("{what} in a library: use tracing, an observer, or Display");
            findings.push(Finding::new(path, index + 1, message));
        }
        if code.contains(".unwrap()") {
            findings.push(Finding::new(path, index + 1, "unwrap() in a library: return an error"));
        }
        previous = line;
    }
    findings
}

/// The sources of the library crates, less the program of `ebm-repro`.
fn is_library(path: &str) -> bool {
    let Some((name, file)) = path.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/")) else {
        return false;
    };
    !(name == "ebm-repro" && (file == "main.rs" || file.starts_with("bin/")))
}

/// Blank lines and ordinary attributes aside, docs come first.
fn opens_with_docs(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("//!") || line.starts_with("/*!"))
}

/// The lines up to the tests, with their index; none at all in a file that holds only tests.
pub fn library_lines<'a>(path: &str, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let tests_only = path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/");
    let end = if tests_only { 0 } else { tests_start(text) };
    text.lines().enumerate().take(end)
}

/// The files of modules that are declared behind `#[cfg(test)]` in another file.
pub fn test_modules(files: &[File]) -> HashSet<String> {
    let mut found = HashSet::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let mut behind_cfg = false;
        for line in file.text().unwrap_or_default().lines().map(str::trim) {
            let declared =
                line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name);
            if let Some(name) = declared.filter(|_| behind_cfg) {
                let folder = module_folder(&file.path);
                found.insert(format!("{folder}/{name}.rs"));
                found.insert(format!("{folder}/{name}/mod.rs"));
            }
            behind_cfg = is_test_cfg(line) || (behind_cfg && line.starts_with("#["));
        }
    }
    found
}

/// The folder in which a file's modules are looked for.
fn module_folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder,
        _ => path.strip_suffix(".rs").unwrap_or(path),
    }
}

fn is_test_cfg(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")
}

/// The index of the line that opens the test module at the end of a file.
fn tests_start(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens = |index: usize| {
        let mut rest =
            lines[index + 1..].iter().map(|line| line.trim()).filter(|line| !line.starts_with("#["));
        rest.next().is_some_and(|line| {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            line.starts_with("mod ") && line.ends_with('{')
        })
    };
    (0..lines.len()).find(|index| is_test_cfg(lines[*index]) && opens(*index)).unwrap_or(lines.len())
}

/// A line up to its `//` comment; a `//` within a string is not one.
pub fn without_comment(line: &str) -> &str {
    let bytes = line.as_bytes();
    let (mut in_string, mut i) = (false, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'\\' if in_string => i += 1,
            b'"' if !(i > 0 && bytes[i - 1] == b'\'') => in_string = !in_string,
            b'/' if !in_string && bytes.get(i + 1) == Some(&b'/') => return &line[..i],
            _ => {}
        }
        i += 1;
    }
    line
}

/// Calls that copy a number from a tensor to the host.
fn reads_device(code: &str) -> bool {
    let calls = ["double_value(", "int64_value(", "f64::try_from(", "f32::try_from(", "::try_from(&"];
    calls.iter().any(|call| code.contains(call)) || (code.contains("Vec::<") && code.contains(">::try_from("))
}

fn printed(code: &str) -> Option<&'static str> {
    let names = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    names.into_iter().find(|name| {
        code.match_indices(name).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            code[at + name.len()..].starts_with('(')
                && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "crates/ebm-samplers/src/ula.rs";

    fn messages(path: &str, text: &str) -> Vec<(usize, String)> {
        check(path, text).into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn a_tidy_file() {
        let text = "//! Docs.\n\n/// ```\n/// x.unwrap(); println!(\"{x}\");\n/// ```\nfn f() {} // .unwrap() is not used\n\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap(); println!(\"\"); t.double_value(&[]); }\n}\n";
        assert_eq!(messages(LIB, text), []);
    }

    #[test]
    fn module_docs() {
        assert_eq!(messages(LIB, "fn f() {}\n")[0].1, "the file does not open with //! docs");
        assert_eq!(messages("crates/ebm-core/tests/a.rs", "fn f() {}\n"), []);
        assert_eq!(messages("xtask/src/a.rs", "fn f() {}\n").len(), 1);
        assert!(opens_with_docs("\n//! Docs\n"));
    }

    #[test]
    fn reads_of_device_values() {
        let found = |code: &str| !messages(LIB, &format!("//! D.\n{code}\n")).is_empty();
        assert!(found("let e = t.double_value(&[]);"));
        assert!(found("let e = f64::try_from(&t)?;"));
        assert!(found("let e = Vec::<f32>::try_from(t.flatten(0, -1))?;"));
        assert!(found("let e: f64 = <f64>::try_from(&t)?;"));
        assert!(!found("let e = t.double_value(&[]); // host read: the guard, every 20 steps"));
        assert!(!found("// host read: once, at the end\nlet e = t.double_value(&[]);"));
        assert!(!found("let n = i64::try_from(n)?;"));
        assert_eq!(messages("crates/ebm-repro/src/report.rs", "//! D.\nt.double_value(&[]);\n"), []);
    }

    #[test]
    fn prints() {
        assert_eq!(printed("println!(\"x\")"), Some("println!"));
        assert_eq!(printed("eprintln!(\"x\")"), Some("eprintln!"));
        assert_eq!(printed("my_println!(\"x\")"), None);
        assert_eq!(printed("debug_print!(\"x\")"), None);
        assert_eq!(messages(LIB, "//! D.\nfn f() { dbg!(1); }\n").len(), 1);
        assert_eq!(messages("crates/ebm-repro/src/bin/x.rs", "//! D.\nprintln!(\"\");\n"), []);
    }

    #[test]
    fn unwraps_and_ignored_tests() {
        assert_eq!(messages(LIB, "//! D.\nlet x = y.unwrap();\n")[0].0, 2);
        let ignored = format!("//! D.\n{}]\nfn t() {{}}\n", concat!("#[", "ignore"));
        assert_eq!(messages("crates/ebm-core/tests/a.rs", &ignored).len(), 1);
    }

    #[test]
    fn comments_and_strings() {
        assert_eq!(without_comment("a // b"), "a ");
        assert_eq!(without_comment("let u = \"a//b\"; // c"), "let u = \"a//b\"; ");
        assert_eq!(without_comment("let q = '\"'; // c"), "let q = '\"'; ");
        assert_eq!(without_comment(r#"let e = "\" // x"; y"#), r#"let e = "\" // x"; y"#);
    }

    #[test]
    fn modules_of_tests_alone() {
        let files = [
            File::of("crates/a/src/lib.rs", "#[cfg(test)]\nmod testing;\nmod other;\n"),
            File::of("crates/a/src/b.rs", "#[cfg(test)]\n#[allow(x)]\npub(crate) mod kit;\n"),
        ];
        let found = test_modules(&files);
        assert!(found.contains("crates/a/src/testing.rs") && found.contains("crates/a/src/b/kit.rs"));
        assert!(!found.contains("crates/a/src/other.rs"));
    }

    #[test]
    fn where_the_tests_start() {
        assert_eq!(tests_start("a\n#[cfg(test)]\nmod tests {\n}\n"), 1);
        assert_eq!(tests_start("a\n#[cfg(test)]\n#[allow(x)]\npub mod tests {\n}\n"), 1);
        assert_eq!(tests_start("#[cfg(test)]\nmod tests;\nfn f() {}\n"), 3);
        assert_eq!(tests_start("#[cfg(test)]\nuse x;\nb\n"), 3);
    }
}
