//! The cargo features that the commands build with: those of the whole workspace, less a few that cost much to build.
//!
//! One set for all commands, so that LibTorch's bindings are built once for them. `--all-features` would be that
//! set, had it a way to leave one out.

use crate::metadata::Metadata;

/// Built only where they are asked for, as `package/feature`. `nuts-rs` brings a linear algebra library that takes
/// more than a minute to compile.
const ON_DEMAND: &[&str] = &["ebm-samplers/nuts-rs"];

/// A value for cargo's `--features`: all features of the workspace's packages but those built on demand.
pub fn usual(metadata: &Metadata) -> String {
    of_packages(metadata, |_| true)
}

/// The same, of the packages alone whose names `chosen` takes: cargo refuses features of others.
pub fn of_packages(metadata: &Metadata, chosen: impl Fn(&str) -> bool) -> String {
    let mut names = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.source.is_none() && chosen(&p.name)) {
        let all = package.features.keys().map(|feature| format!("{}/{feature}", package.name));
        names.extend(all.filter(|name| !ON_DEMAND.contains(&name.as_str())));
    }
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        serde_json::from_str(
            r#"{"target_directory": "target", "packages": [
                {"name": "ebm-core", "version": "0", "source": null, "license": null, "dependencies": [],
                 "targets": [], "features": {"default": [], "torch": []}},
                {"name": "ebm-samplers", "version": "0", "source": null, "license": null, "dependencies": [],
                 "targets": [], "features": {"nuts-rs": [], "torch": []}},
                {"name": "rand", "version": "0", "source": "registry", "license": null, "dependencies": [],
                 "targets": [], "features": {"std": []}}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn all_but_those_on_demand() {
        assert_eq!(usual(&metadata()), "ebm-core/default,ebm-core/torch,ebm-samplers/torch");
        assert_eq!(of_packages(&metadata(), |name| name == "ebm-samplers"), "ebm-samplers/torch");
    }
}
