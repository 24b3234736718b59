//! Sizes: lines of sources, bytes of everything that is tracked.

use super::Finding;
use super::files::File;
use super::source::library_lines;

/// Lines before the tests above which a source is worth a thought, and above which it is split.
const WARN_LINES: usize = 500;
const MAX_LINES: usize = 1_000;

const MEGABYTE: u64 = 1_000_000;
const MAX_WEIGHT_BYTES: u64 = 5 * MEGABYTE;
const MAX_WEIGHTS_BYTES: u64 = 60 * MEGABYTE;
const MAX_FILE_BYTES: u64 = 2 * MEGABYTE;

/// Data that a crate ships, and that may be larger than a source.
const LARGE_FILES: &[&str] = &[];

/// Lines of one source, tests not counted.
pub fn lines(path: &str, text: &str) -> Option<Finding> {
    let count = library_lines(path, text).count();
    if count > MAX_LINES {
        Some(Finding::new(path, 0, format!("{count} lines before the tests; split it (at most {MAX_LINES})")))
    } else if count > WARN_LINES {
        Some(Finding::warning(path, 0, format!("{count} lines before the tests; aim for {WARN_LINES}")))
    } else {
        None
    }
}

/// Bytes of each file, and of the weights together.
pub fn bytes(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut weights = 0;
    for file in files {
        let is_weight = file.path.starts_with("weights/");
        let limit = if is_weight { MAX_WEIGHT_BYTES } else { MAX_FILE_BYTES };
        if is_weight {
            weights += file.bytes;
        }
        if file.bytes > limit && !LARGE_FILES.contains(&file.path.as_str()) {
            let message = format!("{} bytes; at most {limit} are tracked here", file.bytes);
            findings.push(Finding::new(&file.path, 0, message));
        }
    }
    if weights > MAX_WEIGHTS_BYTES {
        let message = format!("{weights} bytes together; at most {MAX_WEIGHTS_BYTES}");
        findings.push(Finding::new("weights/", 0, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, bytes: u64) -> File {
        let mut file = File::of(path, "");
        file.bytes = bytes;
        file
    }

    #[test]
    fn long_sources() {
        let long = |n: usize| "x\n".repeat(n);
        assert_eq!(lines("a.rs", &long(500)), None);
        assert!(lines("a.rs", &long(501)).unwrap().warning);
        assert!(!lines("a.rs", &long(1001)).unwrap().warning);
        let tests = format!("x\n#[cfg(test)]\nmod tests {{\n{}}}\n", long(2000));
        assert_eq!(lines("a.rs", &tests), None);
    }

    #[test]
    fn large_files() {
        assert!(bytes(&[of("a.md", 2_000_000), of("weights/a", 5_000_000)]).is_empty());
        assert_eq!(bytes(&[of("a.md", 2_000_001)]).len(), 1);
        assert_eq!(bytes(&[of("weights/a", 5_000_001)]).len(), 1);
        let many: Vec<File> = (0..13).map(|i| of(&format!("weights/{i}"), 5_000_000)).collect();
        assert_eq!(bytes(&many)[0].path, "weights/");
    }
}
