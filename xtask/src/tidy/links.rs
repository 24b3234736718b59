//! Relative links in Markdown: the file is there, and so is the heading.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::Finding;
use super::files::File;

/// Checks every Markdown file.
pub fn check(root: &Path, files: &[File]) -> Vec<Finding> {
    let markdown = |file: &&File| file.path.ends_with(".md");
    let anchors: HashMap<&str, HashSet<String>> = files
        .iter()
        .filter(markdown)
        .map(|file| (file.path.as_str(), anchors(file.text().unwrap_or_default())))
        .collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(markdown) {
        for (line, target) in links(file.text().unwrap_or_default()) {
            if let Some(problem) = problem(root, &file.path, &target, &anchors) {
                findings.push(Finding::new(&file.path, line, problem));
            }
        }
    }
    findings
}

fn problem(
    root: &Path,
    from: &str,
    target: &str,
    anchors: &HashMap<&str, HashSet<String>>,
) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        PathBuf::from(from)
    } else if let Some(from_root) = path.strip_prefix('/') {
        PathBuf::from(from_root)
    } else {
        normal(&Path::new(from).parent()?.join(path.replace("%20", " ")))
    };
    if !root.join(&file).exists() && !anchors.contains_key(file.to_str()?) {
        return Some(format!("the link to `{target}` leads nowhere"));
    }
    let known = anchors.get(file.to_str()?)?;
    if !anchor.is_empty() && !known.contains(anchor) {
        return Some(format!("the link to `{target}`: {} has no heading for #{anchor}", file.display()));
    }
    None
}

/// Takes `..` and `.` out of a relative path.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<Component> = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(parts.last(), Some(Component::Normal(_))) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.iter().collect()
}

/// The lines outside fenced code, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| start.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, None) => return Some((index + 1, line)),
            _ => {}
        }
        None
    })
}

/// Targets of links and pictures that are neither addresses nor in code, with their line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        let mut add = |target: &str| {
            let target = target.trim().trim_start_matches('<').trim_end_matches('>');
            let target = target.split_whitespace().next().unwrap_or_default();
            if !target.is_empty() && !has_scheme(target) {
                found.push((number, target.to_owned()));
            }
        };
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            add(&rest[..closing(rest)]);
        }
        // `[name]: target`
        if line.starts_with('[')
            && !line.starts_with("[^")
            && let Some((_, target)) = line.split_once("]: ")
        {
            add(target);
        }
    }
    found
}

/// The length up to the bracket that closes the link.
fn closing(rest: &str) -> usize {
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    rest.len()
}

fn has_scheme(target: &str) -> bool {
    target
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+'))
}

/// Blanks out `code`.
fn without_code(line: &str) -> String {
    let mut inside = false;
    line.chars()
        .map(|c| {
            if c == '`' {
                inside = !inside;
            }
            if inside || c == '`' { ' ' } else { c }
        })
        .collect()
}

/// The anchors that GitHub and mdBook give to headings.
fn anchors(text: &str) -> HashSet<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut found = HashSet::new();
    for (_, line) in prose(text) {
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if (1..=6).contains(&level) && line[level..].starts_with(' ') {
            let slug = slug(line[level..].trim());
            let count = counts.entry(slug.clone()).or_insert(0);
            found.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
            *count += 1;
        }
        // <a id="name"> and <a name="name">
        for key in ["id=\"", "name=\""] {
            for (at, _) in line.match_indices(key) {
                found.extend(line[at + key.len()..].split('"').next().map(str::to_owned));
            }
        }
    }
    found
}

fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> = files.iter().map(|(path, text)| File::of(path, text)).collect();
        check(Path::new("/nowhere"), &files).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn good_links() {
        let readme = "# Start here\n[docs](docs/a.md#the-why) and [self](#start-here), [web](https://x.org/a(b)), `[code](gone.md)`\n```\n[fenced](gone.md)\n```\n[ref]: docs/a.md\n";
        let docs = "# A\n## The why?\nBack to [the start](../README.md) or [the start](/README.md).\n";
        assert_eq!(problems(&[("README.md", readme), ("docs/a.md", docs)]), Vec::<String>::new());
    }

    #[test]
    fn broken_links() {
        let found = problems(&[("a.md", "x\n[gone](b.md)\n[gone](#nowhere)\n![p](p.png)\n")]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], "a.md:2: the link to `b.md` leads nowhere");
        assert!(found[1].contains("no heading for #nowhere"), "{}", found[1]);
    }

    #[test]
    fn slugs() {
        assert_eq!(slug("Why `E(x)`, and how?"), "why-ex-and-how");
        let twice = anchors("# A b\n# A b\n<a id=\"here\"></a>\n");
        assert!(twice.contains("a-b") && twice.contains("a-b-1") && twice.contains("here"));
    }

    #[test]
    fn paths() {
        assert_eq!(normal(Path::new("docs/../a/./b.md")), Path::new("a/b.md"));
        assert_eq!(normal(Path::new("../b.md")), Path::new("../b.md"));
    }

    #[test]
    fn link_targets() {
        let found = links("[a](b.md \"title\") ![c](<d e.png>) [f](g(h).md)\n");
        let targets: Vec<&str> = found.iter().map(|(_, target)| target.as_str()).collect();
        assert_eq!(targets, ["b.md", "d", "g(h).md"]);
    }
}
