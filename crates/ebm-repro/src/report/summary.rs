//! A report as a few lines of text, for the terminal.

use std::fmt;
use std::path::Path;

use super::number::{bytes, duration, maybe};
use super::schema::ReportFile;

/// `Display` of a report, with the folder that holds it.
pub struct Summary<'a> {
    /// The report.
    pub report: &'a ReportFile,
    /// Its folder.
    pub folder: &'a Path,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.report;
        let seeds: Vec<String> = r.seeds.iter().map(u64::to_string).collect();
        let plural = if seeds.len() == 1 { "seed" } else { "seeds" };
        writeln!(f, "{} ({} preset, {plural} {})", r.experiment, r.preset, seeds.join(", "))?;
        if r.is_modified() {
            let set: Vec<String> = r.overrides.iter().map(|(k, v)| format!("{k}={v}")).collect();
            writeln!(f, "  modified preset: {}", set.join(" "))?;
        }
        let width = r.gates.iter().map(|g| g.name.chars().count()).max().unwrap_or(0);
        for gate in &r.gates {
            let mark = match gate.pass {
                Some(true) => "held      ",
                Some(false) => "NOT HELD  ",
                None => "not judged",
            };
            write!(f, "  {mark}  {:width$}  {}", gate.name, maybe(gate.value))?;
            if let Some([low, high]) = gate.ci {
                write!(f, " [{}, {}]", maybe(Some(low)), maybe(Some(high)))?;
            }
            writeln!(f, " {} {}", gate.op.symbol(), maybe(gate.threshold))?;
        }
        writeln!(f, "  {} {}, peak memory {}.", r.verdict(), duration(r.wall_s), bytes(r.peak_rss_bytes))?;
        write!(f, "  {}", self.folder.join("report.html").display())
    }
}
