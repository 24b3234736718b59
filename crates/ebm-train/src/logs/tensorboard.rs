//! TensorBoard event files, written by hand: TFRecord framing around protocol-buffer events.
//!
//! A record is the length (u64), its masked CRC-32C, the bytes, and their masked CRC-32C, all little-endian.
//! The first record is the file version, without which readers refuse the rest. Each start of a run opens a
//! new file; a resumed run writes a session start, upon which TensorBoard drops what it had read from that
//! step on.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ebm_core::{Error, Result};

use super::LogSink;
use super::crc32c::masked_crc32c;
use super::proto::{self, Message};

const N_BINS: usize = 64;

/// Writes one event file.
pub struct TensorBoardWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl TensorBoardWriter {
    /// Opens a new event file in `folder` (made when missing); `resumed_after` is the last step that a resumed
    /// run keeps.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(folder: &Path, resumed_after: Option<u64>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let now = wall_time();
        let seconds = now as u64;
        let (path, file) = (0..1000)
            .map(|n| folder.join(format!("events.out.tfevents.{seconds:010}.{n}.ebm")))
            .find_map(|path| match File::create_new(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => None,
                other => Some((path, other)),
            })
            .ok_or_else(|| Error::data(folder, None, "holds too many event files of this second"))?;
        let file = file.map_err(|e| Error::io(&path, e))?;
        let mut writer = Self { path, file: BufWriter::new(file) };
        writer.record(proto::file_version(now))?;
        if let Some(step) = resumed_after {
            writer.record(proto::session_start(now, step + 1))?;
        }
        writer.flush()?;
        Ok(writer)
    }

    /// The file written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn record(&mut self, event: Message) -> Result<()> {
        let bytes = event.into_bytes();
        let length = (bytes.len() as u64).to_le_bytes();
        let mut framed = Vec::with_capacity(bytes.len() + 16);
        framed.extend(length);
        framed.extend(masked_crc32c(&length).to_le_bytes());
        framed.extend(&bytes);
        framed.extend(masked_crc32c(&bytes).to_le_bytes());
        self.file.write_all(&framed).map_err(|e| Error::io(&self.path, e))
    }
}

impl LogSink for TensorBoardWriter {
    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let values = values.iter().map(|(tag, v)| proto::scalar(tag, *v)).collect();
        self.record(proto::summary(wall_time(), step, values))?;
        self.flush()
    }

    fn image(&mut self, step: u64, tag: &str, png: &[u8]) -> Result<()> {
        let (width, height, color_space) = png_header(png)
            .ok_or_else(|| Error::data(format!("image {tag}"), None, "these bytes are not a PNG file"))?;
        let value = proto::image(tag, width, height, color_space, png);
        self.record(proto::summary(wall_time(), step, vec![value]))?;
        self.flush()
    }

    fn histogram(&mut self, step: u64, tag: &str, values: &[f64]) -> Result<()> {
        let value = proto::histogram(tag, values, N_BINS);
        self.record(proto::summary(wall_time(), step, vec![value]))
    }

    fn rewind(&mut self, step: u64) -> Result<()> {
        self.record(proto::session_start(wall_time(), step + 1))
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::io(&self.path, e))
    }
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Width, height and TensorBoard's colour space, from the header chunk.
fn png_header(png: &[u8]) -> Option<(u32, u32, u32)> {
    if png.get(..8)? != b"\x89PNG\r\n\x1a\n" || png.get(12..16)? != b"IHDR" {
        return None;
    }
    let number = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    let color_space = match png.get(25)? {
        0 => 1,
        4 => 2,
        6 => 4,
        _ => 3,
    };
    Some((number(16)?, number(20)?, color_space))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::ImageGrid;

    /// Splits a file into its records, checking lengths and both CRCs.
    fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            let crc = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap());
            assert_eq!(crc(at + 8), masked_crc32c(&bytes[at..at + 8]));
            let body = &bytes[at + 12..at + 12 + length];
            assert_eq!(crc(at + 12 + length), masked_crc32c(body));
            found.push(body.to_vec());
            at += 16 + length;
        }
        found
    }

    fn holds(record: &[u8], needle: &[u8]) -> bool {
        record.windows(needle.len()).any(|w| w == needle)
    }

    /// The file that this test writes was also read once with the Python package `tensorboard` 2.21.0
    /// (`EventAccumulator(folder).Reload()`; scalars, histogram and image came back as written):
    /// run this test with `EBM_TENSORBOARD_SAMPLE=<folder>` to write it for that purpose.
    #[test]
    fn records_parse_back() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = std::env::var_os("EBM_TENSORBOARD_SAMPLE")
            .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
        let mut writer = TensorBoardWriter::create(&folder, None).unwrap();
        writer.scalars(1, &[("loss", 0.5), ("energy", -2.0)]).unwrap();
        writer.scalars(300, &[("loss", f64::NAN)]).unwrap();
        let png = ImageGrid::default().png(&[0.5; 16], [1, 1, 4, 4]).unwrap();
        writer.image(2, "samples", &png).unwrap();
        writer.histogram(2, "energies", &[1.0, 2.0, 2.5, 7.0]).unwrap();
        writer.flush().unwrap();
        let records = records(&fs::read(writer.path()).unwrap());
        assert_eq!(records.len(), 5);
        assert!(holds(&records[0], b"brain.Event:2"));
        assert!(holds(&records[1], b"loss") && holds(&records[1], &0.5f32.to_le_bytes()));
        assert!(holds(&records[2], &[0x10, 0xAC, 0x02]));
        assert!(holds(&records[3], &png));
        assert!(writer.image(3, "samples", b"not a picture").is_err());
    }

    #[test]
    fn a_resumed_run_gets_its_own_file_with_a_session_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = TensorBoardWriter::create(folder.path(), None).unwrap();
        let second = TensorBoardWriter::create(folder.path(), Some(299)).unwrap();
        assert_ne!(first.path(), second.path());
        let records = records(&fs::read(second.path()).unwrap());
        assert!(holds(&records[1], &[0x10, 0xAC, 0x02, 0x3A, 2, 0x08, 1]));
    }
}
