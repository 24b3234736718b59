//! The licences of all dependencies, against a list of those that we take.
//!
//! `deny.toml` holds the same list for those who have cargo-deny.

use super::Finding;
use crate::metadata::Metadata;

/// Licences of what may be linked.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks every package that is not ours.
pub fn check(metadata: &Metadata) -> Vec<Finding> {
    let others = metadata.packages.iter().filter(|package| package.source.is_some());
    others
        .filter_map(|package| {
            let problem = match &package.license {
                None => Some("states no licence".to_owned()),
                Some(text) => match allowed(text) {
                    Some(true) => None,
                    Some(false) => Some(format!("has the licence `{text}`, which is not on our list")),
                    None => Some(format!("has a licence text that cannot be read: `{text}`")),
                },
            }?;
            Some(Finding::new("Cargo.lock", 0, format!("{} {} {problem}", package.name, package.version)))
        })
        .collect()
}

/// Whether an SPDX expression can be met with what is allowed; `None` when it is not an expression.
fn allowed(expression: &str) -> Option<bool> {
    // The old way to write OR.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let value = either(&mut words)?;
    words.next().is_none().then_some(value)
}

type Words<'a, 'b> = &'a mut std::iter::Peekable<std::str::SplitWhitespace<'b>>;

/// `a OR b`, which binds less than AND.
fn either(words: Words) -> Option<bool> {
    let mut value = both(words)?;
    while words.next_if_eq(&"OR").is_some() {
        value |= both(words)?;
    }
    Some(value)
}

fn both(words: Words) -> Option<bool> {
    let mut value = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        value &= one(words)?;
    }
    Some(value)
}

fn one(words: Words) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let value = either(words)?;
        return words.next_if_eq(&")").map(|_| value);
    }
    if matches!(word, ")" | "OR" | "AND" | "WITH") {
        return None;
    }
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next()?;
        // An exception only gives more rights.
        return Some(
            ALLOWED.contains(&word) || ALLOWED.contains(&format!("{word} WITH {exception}").as_str()),
        );
    }
    Some(ALLOWED.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (text, expected) in [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("MIT OR GPL-3.0", Some(true)),
            ("MIT AND GPL-3.0", Some(false)),
            ("MIT/Apache-2.0", Some(true)),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", Some(true)),
            ("(MIT OR Apache-2.0) AND GPL-2.0", Some(false)),
            ("GPL-2.0 OR MIT AND ISC", Some(true)),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", Some(true)),
            ("MPL-2.0", Some(false)),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT MIT", None),
            ("", None),
        ] {
            assert_eq!(allowed(text), expected, "{text}");
        }
    }

    #[test]
    fn findings() {
        let text = r#"{"packages": [
            {"name": "ours", "version": "1", "source": null, "license": null, "dependencies": [], "targets": [], "features": {}},
            {"name": "a", "version": "1", "source": "registry", "license": null, "dependencies": [], "targets": [], "features": {}},
            {"name": "b", "version": "2", "source": "registry", "license": "GPL-3.0", "dependencies": [], "targets": [], "features": {}}
        ], "target_directory": "/t"}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let found: Vec<String> = check(&metadata).iter().map(|finding| finding.message.clone()).collect();
        assert_eq!(
            found,
            ["a 1 states no licence", "b 2 has the licence `GPL-3.0`, which is not on our list"]
        );
    }
}
