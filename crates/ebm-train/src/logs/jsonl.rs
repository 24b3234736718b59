//! `metrics.jsonl`: one JSON object a line, `{"step": 20, "wall_s": 1.5, "loss": 0.7}`.
//!
//! Numbers that are not finite are written as null. Every line is handed to the system at once, so that a
//! killed process loses no row; a row torn by the kill is dropped on resume.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ebm_core::{Error, Result};
use serde_json::{Map, Value};

use super::LogSink;

/// Appends rows to one JSON-lines file.
pub struct JsonlWriter {
    path: PathBuf,
    file: File,
    start: Instant,
    earlier_s: f64,
}

impl JsonlWriter {
    /// Starts a new file; one that is there is emptied.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io(path, e))?;
        Ok(Self { path: path.to_owned(), file, start: Instant::now(), earlier_s: 0.0 })
    }

    /// Goes on with a file after a resume: rows after `step`, and rows that cannot be read, are cut; `wall_s`
    /// counts on from the last row kept. A missing file is started.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io(path, e)),
        };
        let (mut kept, mut earlier_s) = (Vec::new(), 0.0);
        // A last line without its newline was torn by a kill, even where it happens to parse.
        for line in bytes.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n")) {
            let Ok(row) = serde_json::from_slice::<Value>(line) else { continue };
            if row["step"].as_u64().is_some_and(|s| s <= step) {
                kept.extend(line);
                earlier_s = row["wall_s"].as_f64().unwrap_or(earlier_s);
            }
        }
        // Written aside and renamed: a second kill must not lose the rows.
        let aside = path.with_extension("jsonl.tmp");
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(&kept)?;
            file.sync_all()?;
            fs::rename(&aside, path)?;
            OpenOptions::new().append(true).open(path)
        };
        let file = write().map_err(|e| Error::io(path, e))?;
        Ok(Self { path: path.to_owned(), file, start: Instant::now(), earlier_s })
    }
}

impl LogSink for JsonlWriter {
    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let wall_s = self.earlier_s + self.start.elapsed().as_secs_f64();
        let wall_s = (wall_s * 1e3).round() / 1e3;
        let rest: Map<String, Value> = values.iter().map(|(n, v)| ((*n).to_owned(), (*v).into())).collect();
        // Step and time first, whatever the order of the map.
        let rest = Value::Object(rest).to_string();
        let comma = if values.is_empty() { "" } else { "," };
        let line = format!("{{\"step\":{step},\"wall_s\":{wall_s}{comma}{}\n", &rest[1..]);
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io(&self.path, e))
    }

    fn rewind(&mut self, step: u64) -> Result<()> {
        *self = Self::resume(&self.path.clone(), step)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["step"].as_u64().unwrap()).collect()
    }

    #[test]
    fn rows_are_json_with_null_for_what_is_not_finite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = JsonlWriter::create(&path).unwrap();
        writer.scalars(3, &[("loss", 0.25), ("a \"quoted\" name", f64::NAN)]).unwrap();
        writer.scalars(4, &[]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(rows[0]["step"], 3);
        assert_eq!(rows[0]["loss"], 0.25);
        assert!(rows[0]["a \"quoted\" name"].is_null());
        assert!(rows[1]["wall_s"].is_number());
        assert!(text.starts_with("{\"step\":3,\"wall_s\":"));
    }

    #[test]
    fn a_roll_back_forgets_the_rows_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = JsonlWriter::create(&path).unwrap();
        for step in [10, 20, 30] {
            writer.scalars(step, &[("loss", 1.0)]).unwrap();
        }
        writer.rewind(20).unwrap();
        writer.scalars(30, &[("loss", 2.0)]).unwrap();
        assert_eq!(steps(&path), [10, 20, 30]);
        assert!(fs::read_to_string(&path).unwrap().ends_with("\"loss\":2.0}\n"));
    }

    #[test]
    fn resume_cuts_later_rows_and_a_torn_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(
            &path,
            "{\"step\":1,\"wall_s\":5}\n{\"step\":2,\"wall_s\":50}\nrubbish\n{\"step\":3,\"wall_s\":60}\n{\"step\":2}",
        )
        .unwrap();
        let mut writer = JsonlWriter::resume(&path, 2).unwrap();
        writer.scalars(3, &[("loss", 1.0)]).unwrap();
        assert_eq!(steps(&path), [1, 2, 3]);
        let last = fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
        assert!(serde_json::from_str::<Value>(&last).unwrap()["wall_s"].as_f64().unwrap() >= 50.0);
        JsonlWriter::resume(&folder.path().join("new.jsonl"), 0).unwrap();
    }
}
