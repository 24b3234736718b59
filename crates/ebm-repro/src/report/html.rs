//! `report.html`: one file that holds everything.

use super::Item;
use super::schema::ReportFile;
use crate::preset::ExperimentInfo;

/// Renders a report.
pub fn render(_report: &ReportFile, _items: &[Item], _info: &ExperimentInfo, _runs: &[ReportFile]) -> String {
    String::new()
}
