//! The presets inside the binary: every `presets/<name>.<kind>.toml`, listed by the build script.

/// Name, kind and text of one preset file.
pub type PresetSource = (&'static str, &'static str, &'static str);

/// All preset files, sorted by name.
pub const EMBEDDED: &[PresetSource] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::preset::{Kind, Preset};

    #[test]
    fn every_embedded_preset_is_sound() {
        for (name, kind, text) in EMBEDDED {
            let preset = Preset::parse(name, Kind::from_str(kind, false).unwrap(), text).unwrap();
            assert!(preset.info().minutes > 0.0, "{}", preset.file());
        }
    }
}
