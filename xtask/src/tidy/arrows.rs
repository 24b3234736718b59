//! The order of the crates: who may depend on whom, and who never sees LibTorch unasked.

use super::Finding;
use crate::ci::HOST_CRATES;
use crate::metadata::Metadata;

/// Each crate and those of ours that it may use. Tests (dev-dependencies) are free.
const ARROWS: &[(&str, &[&str])] = &[
    ("ebm-core", &[]),
    ("ebm-metrics", &["ebm-core"]),
    ("ebm-datasets", &["ebm-core"]),
    ("ebm-samplers", &["ebm-core", "ebm-metrics"]),
    ("ebm-train", &["ebm-core", "ebm-metrics", "ebm-datasets", "ebm-samplers"]),
    ("ebm-models", &["ebm-core", "ebm-metrics", "ebm-datasets", "ebm-samplers", "ebm-train"]),
    ("ebm-repro", &["ebm-core", "ebm-metrics", "ebm-datasets", "ebm-samplers", "ebm-train", "ebm-models"]),
    ("ebm", &["ebm-core", "ebm-metrics", "ebm-datasets", "ebm-samplers", "ebm-train", "ebm-models"]),
    ("xtask", &[]),
];

/// Checks the crates of the workspace.
pub fn check(metadata: &Metadata) -> Vec<Finding> {
    let ours = |name: &str| ARROWS.iter().any(|(have, _)| *have == name);
    let mut findings = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.source.is_none()) {
        let manifest = match package.name.as_str() {
            "xtask" => "xtask/Cargo.toml".to_owned(),
            name => format!("crates/{name}/Cargo.toml"),
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(Finding::new(
                &manifest,
                0,
                "a new crate: give it its place in xtask's table of arrows",
            ));
            continue;
        };
        let used = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for dependency in used {
            let name = dependency.name.as_str();
            if ours(name) && !allowed.contains(&name) {
                findings.push(Finding::new(
                    &manifest,
                    0,
                    format!("{} may not depend on {name}", package.name),
                ));
            }
            if package.name == "xtask" && (name == "tch" || name == "torch-sys") {
                findings.push(Finding::new(&manifest, 0, "xtask installs LibTorch, so it cannot need it"));
            }
        }
        let defaults = package.features.get("default").is_some_and(|features| !features.is_empty());
        if defaults && HOST_CRATES.contains(&package.name.as_str()) {
            findings.push(Finding::new(&manifest, 0, "a host crate has no default features"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, dependency: &str, kind: &str, default: &str) -> Vec<String> {
        let text = format!(
            r#"{{"packages": [{{"name": "{name}", "version": "1", "source": null, "license": null,
                "dependencies": [{{"name": "{dependency}", "kind": {kind}}}], "targets": [],
                "features": {{"default": [{default}]}}}}], "target_directory": "/t"}}"#
        );
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        check(&metadata).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn the_table_has_no_way_back() {
        for (index, (_, allowed)) in ARROWS.iter().enumerate() {
            for name in *allowed {
                assert!(ARROWS[..index].iter().any(|(before, _)| before == name), "{name} comes later");
            }
        }
    }

    #[test]
    fn arrows() {
        assert!(findings("ebm-train", "ebm-samplers", "null", "").is_empty());
        assert_eq!(
            findings("ebm-core", "ebm-samplers", "null", ""),
            ["crates/ebm-core/Cargo.toml: ebm-core may not depend on ebm-samplers"]
        );
        assert!(findings("ebm-core", "ebm-samplers", "\"dev\"", "").is_empty());
        assert_eq!(findings("ebm-metrics", "ebm-datasets", "null", "").len(), 1);
        assert_eq!(findings("ebm-core", "serde", "null", "\"torch\"").len(), 1);
        assert_eq!(findings("xtask", "tch", "null", "").len(), 1);
        assert_eq!(findings("ebm-new", "serde", "null", "").len(), 1);
    }
}
