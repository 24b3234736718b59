//! Writing a report's files: each to a temporary name, synced, then renamed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use ebm_train::tensors::write_atomically;

use super::schema::ReportFile;
use super::{Item, html};
use crate::preset::ExperimentInfo;

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
    Ok(write_atomically(&folder.join("report.json"), report.to_json().as_bytes())?)
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
    Ok(write_atomically(&folder.join("report.json"), report.to_json().as_bytes())?)
}
