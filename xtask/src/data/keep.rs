//! Which files of a package's folder belong to a set.

use serde::Deserialize;
use std::fmt;
use std::path::Path;

/// A pattern of paths and a limit of size.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Path in the folder; `*` stands for any text within one name, and may come once a name.
    pub path: String,
    /// Only files of fewer bytes.
    pub below: Option<u64>,
}

impl Keep {
    /// Whether the file of this path and size belongs to the set.
    pub fn takes(&self, path: &Path, bytes: u64) -> bool {
        let (mut patterns, mut names) = (self.path.split('/'), path.iter());
        loop {
            match (patterns.next(), names.next()) {
                (None, None) => return self.below.is_none_or(|below| bytes < below),
                (Some(pattern), Some(name)) if matches(pattern, &name.to_string_lossy()) => {}
                _ => return false,
            }
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the files {}", self.path)?;
        self.below.map_or(Ok(()), |below| write!(f, " below {below} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_one_by_one() {
        let keep = Keep { path: "*/lib/a*.js".into(), below: Some(10) };
        let takes = |path: &str, bytes| keep.takes(Path::new(path), bytes);
        assert!(takes("x/lib/a.js", 9) && takes("y/lib/abc.js", 0));
        assert!(!takes("x/lib/a.js", 10) && !takes("x/lib/b.js", 1) && !takes("x/lib/a.json", 1));
        assert!(!takes("lib/a.js", 1) && !takes("x/y/lib/a.js", 1) && !takes("x/lib/a.js/more", 1));
        assert!(!matches("aa*aa", "aaa"), "start and end do not overlap");
        assert!(Keep { path: "*".into(), below: None }.takes(Path::new("anything"), u64::MAX));
    }
}
