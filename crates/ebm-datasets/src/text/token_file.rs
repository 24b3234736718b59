//! Token files: corpora that are too large for memory, mapped and read in place.
//!
//! Everything is little-endian, every number unsigned.
//!
//! | from byte | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `EBMTOKEN` |
//! | 8 | 4 | version: 1 |
//! | 12 | 4 | `w`, the bytes of a token: 2 when the vocabulary is at most 65,536, else 4 |
//! | 16 | 8 | vocabulary: every token is below it |
//! | 24 | 8 | `d`, the number of documents |
//! | 32 | 8 | `n`, the number of tokens |
//! | 40 | `n w` | the tokens, document after document; then zeros up to a multiple of 8 |
//! | | `8 (d + 1)` | the offsets, in tokens: document `i` is `offsets[i]..offsets[i + 1]`, the last offset is `n` |
//!
//! The header, the length of the file and the offsets are checked when it is opened, tokens when they are read. A
//! mapped file must not be changed or cut by anybody while it is open: what is read then is undefined, and a file that
//! has become shorter ends the program (`SIGBUS`). Written files appear under their name only when complete.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ebm_core::write_atomically_with;
use ebm_core::{Error, Result};
use memmap2::Mmap;

use super::tokenizer::check_tokens;

const MAGIC: &[u8; 8] = b"EBMTOKEN";
const VERSION: u32 = 1;
const HEADER: usize = 40;

/// An open token file.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    map: Mmap,
    layout: Layout,
}

impl TokenFile {
    /// Maps a file and checks its header and offsets.
    ///
    /// # Errors
    /// When it cannot be opened, is no token file, of another version, truncated, longer than its header says, or has
    /// offsets that are out of order; with the place.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        // SAFETY: the map is only read, and the module's docs ask that nobody changes the file meanwhile, which is the
        // one thing that a map cannot guard against.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        let layout = Layout::parse(&map, path)?;
        Ok(Self { path: path.to_owned(), map, layout })
    }

    /// Writes a file document by document: `fill` pushes them. Only their offsets are kept in memory.
    ///
    /// # Errors
    /// When the vocabulary is 0 or above 2^32, a token is outside it, `fill` fails, or the file cannot be written;
    /// `path` is then as it was.
    pub fn write(
        path: &Path,
        vocabulary: usize,
        fill: impl FnOnce(&mut TokenWriter<'_>) -> Result<()>,
    ) -> Result<()> {
        if vocabulary == 0 || vocabulary as u64 > 1 << 32 {
            return Err(Error::bad_value("vocabulary", vocabulary, "in 1..=2^32", ""));
        }
        let width = if vocabulary <= 1 << 16 { 2 } else { 4 };
        write_atomically_with(path, |file| {
            let out = BufWriter::new(file);
            let mut writer = TokenWriter { path, out, vocabulary, width, offsets: vec![0] };
            writer.bytes(&[0; HEADER])?;
            fill(&mut writer)?;
            writer.finish()
        })
    }

    /// Every token is below this.
    pub fn vocabulary(&self) -> usize {
        self.layout.vocabulary
    }

    /// The number of documents.
    pub fn n_documents(&self) -> usize {
        self.layout.n_documents
    }

    /// The tokens of all documents together.
    pub fn n_tokens(&self) -> usize {
        self.layout.n_tokens
    }

    /// Where document `index` stands among the tokens; `None` past the last.
    pub fn document(&self, index: usize) -> Option<Range<usize>> {
        if index >= self.n_documents() {
            return None;
        }
        Some(self.layout.offset(&self.map, index)..self.layout.offset(&self.map, index + 1))
    }

    /// Fills `out` with the tokens from number `first` on.
    ///
    /// # Errors
    /// When the file ends before, or a token is outside the vocabulary (with its position and place in the file).
    pub fn read(&self, first: usize, out: &mut [u32]) -> Result<()> {
        self.layout.read(&self.map, first, out, &self.path)
    }
}

/// Writes the documents of [`TokenFile::write`].
pub struct TokenWriter<'a> {
    path: &'a Path,
    out: BufWriter<&'a mut File>,
    vocabulary: usize,
    width: usize,
    offsets: Vec<u64>,
}

impl TokenWriter<'_> {
    /// The next document.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, or the disk refuses.
    pub fn push(&mut self, tokens: &[u32]) -> Result<()> {
        let number = self.offsets.len() - 1;
        check_tokens(tokens, self.vocabulary, &format!("document {number} of {}", self.path.display()))?;
        for token in tokens {
            self.bytes(&token.to_le_bytes()[..self.width])?;
        }
        self.offsets.push(self.offsets[number] + tokens.len() as u64);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let n_documents = self.offsets.len() - 1;
        let n_tokens = self.offsets[n_documents];
        self.bytes(&[0; 8][..padding(n_tokens as usize * self.width)])?;
        for offset in std::mem::take(&mut self.offsets) {
            self.bytes(&offset.to_le_bytes())?;
        }
        self.out.seek(SeekFrom::Start(0)).map_err(|e| Error::io(self.path, e))?;
        self.bytes(MAGIC)?;
        self.bytes(&VERSION.to_le_bytes())?;
        self.bytes(&(self.width as u32).to_le_bytes())?;
        for number in [self.vocabulary as u64, n_documents as u64, n_tokens] {
            self.bytes(&number.to_le_bytes())?;
        }
        self.out.flush().map_err(|e| Error::io(self.path, e))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(self.path, e))
    }
}

/// What the header says, checked against the file's length and offsets.
#[derive(Clone, Copy, Debug)]
struct Layout {
    width: usize,
    vocabulary: usize,
    n_documents: usize,
    n_tokens: usize,
}

impl Layout {
    fn parse(bytes: &[u8], name: &Path) -> Result<Self> {
        let problem = |at: usize, text: String| Err(Error::data(name, Some(at as u64), text));
        if !bytes.starts_with(MAGIC) {
            let found = bytes[..bytes.len().min(8)].escape_ascii();
            return problem(0, format!("not a token file: starts with \"{found}\", expected \"EBMTOKEN\""));
        }
        if bytes.len() < HEADER {
            return problem(bytes.len(), format!("truncated in the header of {HEADER} bytes"));
        }
        let [version, width] = [8, 12].map(|at| u64::from(u32_at(bytes, at)));
        if version != u64::from(VERSION) {
            return problem(8, format!("version {version}, expected {VERSION}"));
        }
        let [vocabulary, n_documents, n_tokens] = [16, 24, 32].map(|at| u64_at(bytes, at));
        if vocabulary == 0 || vocabulary > 1 << 32 {
            return problem(16, format!("a vocabulary of {vocabulary}, expected 1 to 2^32"));
        }
        let right = if vocabulary <= 1 << 16 { 2 } else { 4 };
        if width != right {
            return problem(
                12,
                format!("tokens of {width} bytes, expected {right} for a vocabulary of {vocabulary}"),
            );
        }
        let expected = length(n_documents, n_tokens, width);
        if expected != Some(bytes.len() as u64) {
            let says = expected.map_or_else(|| "more than 2^64".to_owned(), |n| n.to_string());
            let how = if expected.is_none_or(|n| n > bytes.len() as u64) { "truncated" } else { "too long" };
            let text = format!(
                "{how}: the header says {n_documents} documents and {n_tokens} tokens, which makes {says} bytes"
            );
            return problem(bytes.len(), text);
        }
        // The length is right, so these numbers are below the file's and fit.
        let layout = Self {
            width: width as usize,
            vocabulary: vocabulary as usize,
            n_documents: n_documents as usize,
            n_tokens: n_tokens as usize,
        };
        let mut last = 0;
        for index in 0..=layout.n_documents {
            let offset = u64_at(bytes, layout.offsets_start() + 8 * index);
            let out_of_order = if index == 0 { offset != 0 } else { offset < last };
            if out_of_order || offset > n_tokens || (index == layout.n_documents && offset != n_tokens) {
                let text = format!("offset {index} is {offset}: they must rise from 0 to {n_tokens}");
                return problem(layout.offsets_start() + 8 * index, text);
            }
            last = offset;
        }
        Ok(layout)
    }

    fn offsets_start(&self) -> usize {
        let tokens = self.n_tokens * self.width;
        HEADER + tokens + padding(tokens)
    }

    fn offset(&self, bytes: &[u8], index: usize) -> usize {
        u64_at(bytes, self.offsets_start() + 8 * index) as usize
    }

    fn read(&self, bytes: &[u8], first: usize, out: &mut [u32], name: &Path) -> Result<()> {
        if first.checked_add(out.len()).is_none_or(|end| end > self.n_tokens) {
            let found = format!("{} from number {first} on", out.len());
            return Err(Error::bad_value("tokens", found, format!("within {}", self.n_tokens), ""));
        }
        let start = HEADER + first * self.width;
        for (at, token) in (start..).step_by(self.width).zip(out) {
            *token = match self.width {
                2 => u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])),
                _ => u32_at(bytes, at),
            };
            if *token as usize >= self.vocabulary {
                let number = (at - HEADER) / self.width;
                let text =
                    format!("token {number} is {token}, outside the vocabulary of {}", self.vocabulary);
                return Err(Error::data(name, Some(at as u64), text));
            }
        }
        Ok(())
    }
}

/// The bytes of a whole file; `None` when they overflow.
fn length(n_documents: u64, n_tokens: u64, width: u64) -> Option<u64> {
    let tokens = n_tokens.checked_mul(width)?.checked_next_multiple_of(8)?;
    let offsets = n_documents.checked_add(1)?.checked_mul(8)?;
    (HEADER as u64).checked_add(tokens)?.checked_add(offsets)
}

fn padding(bytes: usize) -> usize {
    bytes.next_multiple_of(8) - bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// What the fuzz target and tests call: all documents of a file in memory, or its error.
#[doc(hidden)]
pub fn parse_tokens(bytes: &[u8], name: &str) -> Result<Vec<Vec<u32>>> {
    let layout = Layout::parse(bytes, Path::new(name))?;
    (0..layout.n_documents)
        .map(|index| {
            let range = layout.offset(bytes, index)..layout.offset(bytes, index + 1);
            let mut tokens = vec![0; range.len()];
            layout.read(bytes, range.start, &mut tokens, Path::new(name))?;
            Ok(tokens)
        })
        .collect()
}
