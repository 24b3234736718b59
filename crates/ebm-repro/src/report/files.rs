//! Writing a report's files: each to a temporary name, synced, then renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::schema::ReportFile;
use super::{Item, html};
use crate::preset::ExperimentInfo;

/// Writes a file so that a kill at any moment leaves the old one or the new one, never half of one.
///
/// # Errors
/// The file cannot be written; the text names it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = path.with_file_name(format!(".{name}.tmp"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the plots, `report.html` and, last, `report.json` of one run: a run with a `report.json` is whole.
///
/// # Errors
/// A file cannot be written.
pub fn write_run(
    folder: &Path,
    report: &ReportFile,
    items: &[Item],
    info: &ExperimentInfo,
) -> anyhow::Result<()> {
    let plots = folder.join("plots");
    for item in items {
        let (name, bytes) = match item {
            Item::Figure { id, svg, .. } => (format!("{id}.svg"), svg.as_bytes()),
            Item::Image { id, png, .. } => (format!("{id}.png"), png.as_slice()),
            _ => continue,
        };
        fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
        write_atomically(&plots.join(name), bytes)?;
    }
    write_atomically(&folder.join("report.html"), html::render(report, items, info, &[]).as_bytes())?;
    write_atomically(&folder.join("report.json"), report.to_json().as_bytes())
}

/// Writes `report.html` and `report.json` over several seeds.
///
/// # Errors
/// A file cannot be written.
pub fn write_combined(
    folder: &Path,
    report: &ReportFile,
    runs: &[ReportFile],
    info: &ExperimentInfo,
) -> anyhow::Result<()> {
    write_atomically(&folder.join("report.html"), html::render(report, &[], info, runs).as_bytes())?;
    write_atomically(&folder.join("report.json"), report.to_json().as_bytes())
}
