//! The NumPy format 1.0, as far as draws need it: a header of fixed length, then rows.
//!
//! `\x93NUMPY`, the version, the length of a Python dictionary, the dictionary (padded with spaces), the numbers,
//! little-endian, the last axis fastest. The format is described in `numpy.lib.format`. Because the header has room
//! for any number of rows, a file grows by appending rows and then writing the new number over the old one: whoever
//! reads it in between sees a whole file of fewer rows.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use ebm_core::{Error, Result};

/// Bytes of a header: every shape that fits into 64 bits has room.
pub(super) const HEADER: usize = 128;

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `<f8`.
    Real,
    /// `<i8`, a 64-bit integer: counts.
    Whole,
    /// `|b1`: yes or no.
    Flag,
}

impl Kind {
    /// Statistics are real numbers, except for those that ArviZ knows as counts and flags.
    pub fn of_statistic(name: &str) -> Self {
        match name {
            "tree_depth" | "n_steps" => Self::Whole,
            "diverging" | "reached_max_treedepth" => Self::Flag,
            _ => Self::Real,
        }
    }

    /// NumPy's name.
    pub fn descr(self) -> &'static str {
        match self {
            Self::Real => "<f8",
            Self::Whole => "<i8",
            Self::Flag => "|b1",
        }
    }

    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::Real | Self::Whole => 8,
            Self::Flag => 1,
        }
    }

    /// Append a number. A flag is 0 or 1, a count a whole number: what would be changed by storing it is refused.
    #[inline]
    pub fn encode(self, name: &str, value: f64, out: &mut Vec<u8>) -> Result<()> {
        let fits = match self {
            Self::Real => true,
            Self::Whole => value.fract() == 0.0 && value.abs() <= 9e15,
            Self::Flag => value == 0.0 || value == 1.0,
        };
        if !fits {
            let limit = if self == Self::Flag { "0 or 1" } else { "a whole number" };
            return Err(Error::bad_value(name, value, limit, "another kind of number needs another name"));
        }
        match self {
            Self::Real => out.extend_from_slice(&value.to_le_bytes()),
            Self::Whole => out.extend_from_slice(&(value as i64).to_le_bytes()),
            Self::Flag => out.push(u8::from(value == 1.0)),
        }
        Ok(())
    }
}

/// The header of an array.
pub(super) fn header(kind: Kind, shape: &[usize]) -> [u8; HEADER] {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        kind.descr(),
        axes.join(", ")
    );
    let mut header = [b' '; HEADER];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    for (to, from) in header[10..HEADER - 1].iter_mut().zip(text.bytes()) {
        *to = from;
    }
    header[HEADER - 1] = b'\n';
    header
}

/// Kind and shape of a header that [`header`] made; `None` for any other.
fn parse(found: &[u8; HEADER]) -> Option<(Kind, Vec<usize>)> {
    let text = std::str::from_utf8(&found[10..]).ok()?;
    let kind = [Kind::Real, Kind::Whole, Kind::Flag]
        .into_iter()
        .find(|kind| text.starts_with(&format!("{{'descr': '{}'", kind.descr())))?;
    let axes = text.split_once('(')?.1.split_once(')')?.0;
    let shape: Option<Vec<usize>> = axes
        .split(',')
        .map(str::trim)
        .filter(|axis| !axis.is_empty())
        .map(|axis| axis.parse().ok())
        .collect();
    let shape = shape?;
    (header(kind, &shape) == *found).then_some((kind, shape))
}

/// One growing array `[rows]` or `[rows, width]`. No file stays open: there may be thousands.
#[derive(Debug)]
pub(super) struct GrowingFile {
    pub path: PathBuf,
    pub kind: Kind,
    /// Numbers of a row, for an array of two axes.
    pub width: Option<usize>,
    pub rows: usize,
}

impl GrowingFile {
    /// A new file without rows. One that is there already is left alone: an error.
    pub fn create(path: PathBuf, kind: Kind, width: Option<usize>) -> Result<Self> {
        let new = Self { path, kind, width, rows: 0 };
        let mut file = File::create_new(&new.path).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Error::data(
                &new.path,
                None,
                "is there already: two points of a run may not share a chain's number",
            ),
            _ => new.io(e),
        })?;
        file.write_all(&new.header()).map_err(|e| new.io(e))?;
        Ok(new)
    }

    /// A file that is there.
    pub fn open(path: PathBuf) -> Result<Self> {
        let mut found = [0; HEADER];
        let io = |e| Error::io(&path, e);
        let mut file = File::open(&path).map_err(io)?;
        match file.read_exact(&mut found) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {}
            other => other.map_err(io)?,
        }
        let bytes = file.metadata().map_err(io)?.len();
        let (kind, rows, width) = match parse(&found) {
            Some((kind, shape)) if shape.len() == 1 => (kind, shape[0], None),
            Some((kind, shape)) if shape.len() == 2 => (kind, shape[0], Some(shape[1])),
            _ => return Err(Error::data(&path, Some(0), "not the header of a growing array of draws")),
        };
        let growing = Self { path, kind, width, rows };
        let expected = growing.end();
        if bytes < expected {
            let problem = format!("{rows} draws need {expected} bytes, the file has {bytes}");
            return Err(Error::data(&growing.path, None, problem));
        }
        Ok(growing)
    }

    /// A file that is there, to go on after its first `rows` rows: those beyond are dropped.
    pub fn reopen(path: PathBuf, kind: Kind, width: Option<usize>, rows: usize) -> Result<Self> {
        let mut growing = Self::open(path)?;
        if (growing.kind, growing.width) != (kind, width) {
            let shape = |width: Option<usize>| width.map_or("[draw]".into(), |w| format!("[draw, {w}]"));
            let expected = (shape(width), kind.descr());
            return Err(Error::shape(
                growing.path.display().to_string(),
                expected,
                (shape(growing.width), growing.kind.descr()),
            ));
        }
        if growing.rows < rows {
            let problem = format!("holds {} draws, the run is to go on after {rows}", growing.rows);
            return Err(Error::data(&growing.path, None, problem));
        }
        growing.rows = rows;
        let cut = || {
            let mut file = OpenOptions::new().write(true).open(&growing.path)?;
            file.write_all(&growing.header())?;
            file.set_len(growing.end())
        };
        cut().map_err(|e| growing.io(e))?;
        Ok(growing)
    }

    /// Append whole rows; with `sync` they are on the disk when this returns.
    pub fn append(&mut self, rows: &[u8], sync: bool) -> Result<()> {
        let n_rows = rows.len() / self.row_bytes();
        let end = self.end();
        self.rows += n_rows;
        let write = || {
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.seek(SeekFrom::Start(end))?;
            file.write_all(rows)?;
            file.rewind()?;
            file.write_all(&self.header())?;
            if sync { file.sync_data() } else { Ok(()) }
        };
        write().map_err(|e| {
            // The rows that were there still are.
            let error = self.io(e);
            self.rows -= n_rows;
            error
        })
    }

    pub fn row_bytes(&self) -> usize {
        self.width.unwrap_or(1) * self.kind.bytes()
    }

    fn header(&self) -> [u8; HEADER] {
        match self.width {
            None => header(self.kind, &[self.rows]),
            Some(width) => header(self.kind, &[self.rows, width]),
        }
    }

    /// Where the rows end, in bytes.
    fn end(&self) -> u64 {
        HEADER as u64 + self.rows as u64 * self.row_bytes() as u64
    }

    fn io(&self, e: std::io::Error) -> Error {
        Error::io(&self.path, e)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `numpy.lib.format.write_array_header_1_0` of this shape, but for the number of spaces.
    #[test]
    fn the_header_is_numpys() {
        let found = header(Kind::Real, &[3, 2]);
        assert_eq!(&found[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let text = std::str::from_utf8(&found[10..]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }");
        assert!(text.ends_with(" \n"));
        assert!(header(Kind::Flag, &[7]).windows(6).any(|w| w == b"(7,), "));
        let longest = header(Kind::Whole, &[usize::MAX, usize::MAX]);
        assert_eq!(parse(&longest), Some((Kind::Whole, vec![usize::MAX, usize::MAX])));
    }

    #[test]
    fn only_our_headers_are_read() {
        for (kind, shape) in [(Kind::Real, vec![0]), (Kind::Whole, vec![12, 3]), (Kind::Flag, vec![1, 2, 3])]
        {
            assert_eq!(parse(&header(kind, &shape)), Some((kind, shape)));
        }
        for (at, byte) in [(0, b'x'), (6, 2), (22, b'>'), (127, b' '), (60, 200)] {
            let mut damaged = header(Kind::Real, &[5]);
            damaged[at] = byte;
            assert_eq!(parse(&damaged), None, "{at}");
        }
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut file = GrowingFile::create(path.clone(), Kind::Real, None).unwrap();
        file.append(&[0; 24], true).unwrap();
        assert!(GrowingFile::create(path.clone(), Kind::Real, None).is_err());
        assert_eq!(GrowingFile::open(path.clone()).unwrap().rows, 3);
        // What a kill in the midst of writing leaves: rows that the header does not count.
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([1; 5]);
        fs::write(&path, &bytes).unwrap();
        let mut file = GrowingFile::reopen(path.clone(), Kind::Real, None, 3).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 128 + 24);
        file.append(&[0; 8], false).unwrap();
        let asked = [(Kind::Real, None, 5), (Kind::Flag, None, 3), (Kind::Real, Some(1), 3)];
        for (kind, width, rows) in asked {
            let text = GrowingFile::reopen(path.clone(), kind, width, rows).unwrap_err().to_string();
            assert!(text.contains("a.npy"), "{text}");
        }
        for length in [0, 127, 128 + 23] {
            fs::write(&path, &bytes[..length]).unwrap();
            let text = GrowingFile::open(path.clone()).unwrap_err().to_string();
            assert!(text.contains("a.npy"), "{text}");
        }
    }

    #[test]
    fn numbers_that_would_change_are_refused() {
        let mut out = Vec::new();
        Kind::Whole.encode("n_steps", -3.0, &mut out).unwrap();
        Kind::Flag.encode("diverging", 1.0, &mut out).unwrap();
        Kind::Real.encode("lp", f64::NAN, &mut out).unwrap();
        assert_eq!(&out[..9], [253, 255, 255, 255, 255, 255, 255, 255, 1]);
        for (kind, value) in [(Kind::Whole, 0.5), (Kind::Whole, f64::NAN), (Kind::Flag, 2.0)] {
            assert!(kind.encode("a", value, &mut out).is_err());
        }
    }
}
