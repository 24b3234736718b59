//! All text files: no trailing whitespace, no names of package registries' hosts.
//!
//! Data and packages come through package clients with the user's own settings, so no tracked file names a host.

use super::Finding;

/// Put together here so that this file does not name them either.
const HOSTS: [&str; 6] = [
    concat!("py", "pi.org"),
    concat!("files.", "pythonhosted"),
    concat!("registry.", "npmjs"),
    concat!("deb.", "debian.org"),
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
];

/// All checks of one text file.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let written_by_hand = !path.ends_with(".lock") && !path.ends_with(".snap") && !path.ends_with(".svg");
    for (index, line) in text.lines().enumerate() {
        if written_by_hand && line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::new(path, index + 1, "trailing whitespace"));
        }
        if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("names the host {host}; use the package client"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace() {
        assert!(check("a.md", "a\n\nb\n").is_empty());
        assert_eq!(check("a.md", "a \nb\t\n").len(), 2);
        assert!(check("a.snap", "a \n").is_empty());
    }

    #[test]
    fn hosts() {
        let line = format!("get it from https://{}/simple\n", HOSTS[0]);
        assert_eq!(check("a.md", &line).len(), 1);
        assert!(check("a.md", "see https://docs.rs and https://crates.io\n").is_empty());
    }
}
