//! IDX files: the format of MNIST and its kin, of unsigned bytes, plain or gzipped.
//!
//! Layout: two zero bytes, the element type (only 0x08, unsigned byte), the number of dimensions, each dimension
//! as a big-endian 32-bit number, then the elements, the last dimension fastest. Offsets in errors count the
//! unpacked bytes. The header is never trusted with an allocation: memory grows with the bytes that are there.

use std::io::Read;
use std::path::Path;

use ebm_core::{Error, Result};
use flate2::bufread::GzDecoder;

/// The contents of an IDX file of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The dimensions, slowest first: `[n, height, width]` for images, `[n]` for labels.
    pub dims: Vec<usize>,
    /// The elements; as many as the product of `dims`.
    pub data: Vec<u8>,
}

/// Dimensions that a file may have.
const MAX_DIMS: u8 = 4;

impl Idx {
    /// Read and check a file, gzipped (by its first two bytes, whatever its name) or plain.
    ///
    /// # Errors
    /// When the file cannot be read, or as for [`Idx::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::parse(&bytes, path)
    }

    /// Check the bytes of a file; `name` is for the errors.
    ///
    /// # Errors
    /// With the byte offset: a wrong magic number or element type, a truncated or damaged file, fewer or more
    /// bytes than the header says.
    pub fn parse(bytes: &[u8], name: &Path) -> Result<Self> {
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return parse_plain(bytes, name);
        }
        let mut unpacked = GzDecoder::new(bytes);
        let idx = parse_plain(&mut unpacked, name)?;
        let rest = unpacked.into_inner().len();
        if rest > 0 {
            return Err(Error::data(
                name,
                Some((bytes.len() - rest) as u64),
                format!("{rest} bytes follow the gzipped data (offset in the packed file)"),
            ));
        }
        Ok(idx)
    }

    /// The file's bytes, plain.
    ///
    /// # Errors
    /// When the dimensions do not fit the format or the data.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let n_elements = self.dims.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if self.dims.is_empty()
            || self.dims.len() > usize::from(MAX_DIMS)
            || n_elements != Some(self.data.len())
        {
            return Err(Error::shape("IDX data", &self.dims, self.data.len()));
        }
        let mut bytes = vec![0, 0, 0x08, self.dims.len() as u8];
        for &n in &self.dims {
            let n = u32::try_from(n).map_err(|_| Error::bad_value("IDX dimension", n, "below 2^32", ""))?;
            bytes.extend(n.to_be_bytes());
        }
        bytes.extend(&self.data);
        Ok(bytes)
    }
}

fn parse_plain(mut reader: impl Read, name: &Path) -> Result<Idx> {
    let mut offset = 0;
    let magic: [u8; 4] = header_word(&mut reader, &mut offset, name)?;
    let [zero_a, zero_b, element, n_dims] = magic;
    if [zero_a, zero_b] != [0, 0] {
        let found = format!("{zero_a:02x} {zero_b:02x}");
        return Err(Error::data(
            name,
            Some(0),
            format!("not an IDX file: starts with {found}, expected 00 00"),
        ));
    }
    if element != 0x08 {
        let problem = format!("element type 0x{element:02x}, expected 0x08 (unsigned byte)");
        return Err(Error::data(name, Some(2), problem));
    }
    if n_dims == 0 || n_dims > MAX_DIMS {
        return Err(Error::data(name, Some(3), format!("{n_dims} dimensions, expected 1 to {MAX_DIMS}")));
    }
    let mut dims = Vec::new();
    for _ in 0..n_dims {
        dims.push(u32::from_be_bytes(header_word(&mut reader, &mut offset, name)?) as usize);
    }
    let expected = dims.iter().try_fold(1u64, |product, &n| product.checked_mul(n as u64));
    let Some(expected) = expected.filter(|&n| n < u64::MAX) else {
        return Err(Error::data(name, Some(4), format!("dimensions {dims:?} are more than 2^64 bytes")));
    };
    // One byte more than expected, to see whether the file goes on; a gzipped bomb is cut off there.
    let mut data = Vec::new();
    let read = reader.take(expected + 1).read_to_end(&mut data);
    let found = data.len() as u64;
    if let Err(e) = read {
        return Err(Error::data(name, Some(offset + found), format!("truncated or damaged: {e}")));
    }
    if found < expected {
        let problem = format!("truncated: {found} bytes of data, the header says {dims:?} = {expected}");
        return Err(Error::data(name, Some(offset + found), problem));
    }
    if found > expected {
        let problem = format!("more data than the header says ({dims:?} = {expected} bytes)");
        return Err(Error::data(name, Some(offset + expected), problem));
    }
    Ok(Idx { dims, data })
}

/// The next four bytes of the header.
fn header_word(reader: &mut impl Read, offset: &mut u64, name: &Path) -> Result<[u8; 4]> {
    let mut word = [0; 4];
    reader
        .read_exact(&mut word)
        .map_err(|e| Error::data(name, Some(*offset), format!("truncated or damaged in the header: {e}")))?;
    *offset += 4;
    Ok(word)
}

/// What the fuzz target calls: never panics, and whatever it accepts survives a round trip.
#[doc(hidden)]
pub fn parse_idx(bytes: &[u8], name: &str) -> Result<Idx> {
    Idx::parse(bytes, Path::new(name))
}
