//! `draws.npz` with `draws.json`: what NumPy and ArviZ open. Written in constant memory.
//!
//! An npz is a zip archive of `.npy` files. `x` is `[chain, draw, dim]`, each statistic `[chain, draw]`; the json
//! says which is which, with names, shapes, seeds and the kernel.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ebm_core::{Error, Result, write_atomically, write_atomically_with};
use ndarray::{Array2, Array3};
use ndarray_npy::{NpzReader, ReadNpzError};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::arrays::DrawArrays;
use super::info::{DrawInfo, Packing};
use super::npy::{Kind, header};
use super::source::{ArraySource, FolderSource, Source, Variable};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 18;

/// Name, shape and NumPy type of one array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ArrayInfo {
    shape: Vec<usize>,
    dtype: String,
}

/// `draws.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    schema: u32,
    /// The positions alone; named as ArviZ names this group.
    posterior: BTreeMap<String, ArrayInfo>,
    sample_stats: BTreeMap<String, ArrayInfo>,
    #[serde(flatten)]
    info: DrawInfo,
    versions: BTreeMap<String, String>,
}

/// Pack the growing files of a folder into `draws.npz` and `draws.json` in the same folder; memory does not grow
/// with the number of draws. The growing files stay unless [`Packing::remove_growing`] says otherwise.
///
/// # Errors
/// The folder holds no draws, chains of different lengths (see [`Packing::shortest`]) or files that are damaged; it
/// is packed already (see [`Packing::overwrite`]); the file system refuses. The growing files are then untouched.
pub fn pack_npz(folder: impl AsRef<Path>, info: &DrawInfo, packing: &Packing) -> Result<PathBuf> {
    let folder = folder.as_ref();
    let mut source = FolderSource::new(folder, packing.shortest)?;
    let path = write(folder, &mut source, info, packing)?;
    if packing.remove_growing {
        source.remove()?;
    }
    Ok(path)
}

impl DrawArrays {
    /// Write `draws.npz` and `draws.json` into a folder, made if it is not there. See [`pack_npz`] for draws that
    /// were streamed.
    ///
    /// # Errors
    /// It is there already (see [`Packing::overwrite`]), a `diverging` that is not 0 or 1, or the file system refuses.
    pub fn write_npz(&self, folder: impl AsRef<Path>, info: &DrawInfo, packing: &Packing) -> Result<PathBuf> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        write(folder, &mut ArraySource::new(self), info, packing)
    }

    /// Read `draws.npz` and `draws.json` of a folder back.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn read_npz(folder: impl AsRef<Path>) -> Result<(Self, DrawInfo)> {
        let (npz, json) = (folder.as_ref().join("draws.npz"), folder.as_ref().join("draws.json"));
        let text = fs::read(&json).map_err(|e| Error::io(&json, e))?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|e| Error::data(&json, None, e.to_string()))?;
        let file = File::open(&npz).map_err(|e| Error::io(&npz, e))?;
        let damaged = |e: ReadNpzError| Error::data(&npz, None, e.to_string());
        let mut reader = NpzReader::new(file).map_err(damaged)?;
        let Some(name) = document.posterior.keys().next() else {
            return Err(Error::data(&json, None, "names no positions"));
        };
        let positions: Array3<f64> = reader.by_name(name).map_err(damaged)?;
        let mut arrays = Self::new(positions).name(name)?;
        for name in document.sample_stats.keys() {
            let values: Array2<f64> = match Kind::of_statistic(name) {
                Kind::Real => reader.by_name(name).map_err(damaged)?,
                Kind::Whole => {
                    let counts: Array2<i64> = reader.by_name(name).map_err(damaged)?;
                    counts.mapv(|n| n as f64)
                }
                Kind::Flag => {
                    let flags: Array2<bool> = reader.by_name(name).map_err(damaged)?;
                    flags.mapv(|yes| f64::from(u8::from(yes)))
                }
            };
            arrays = arrays.statistic(name, values)?;
        }
        Ok((arrays, document.info))
    }
}

fn shape(source: &impl Source, variable: &Variable) -> Vec<usize> {
    let mut shape = vec![source.n_chains(), source.n_draws()];
    shape.extend(variable.width);
    shape
}

fn write(folder: &Path, source: &mut impl Source, info: &DrawInfo, packing: &Packing) -> Result<PathBuf> {
    let path = folder.join("draws.npz");
    super::info::check_is_new(&path, packing)?;
    let arrays = |variables: &[Variable]| {
        let one = |v: &Variable| {
            let array = ArrayInfo { shape: shape(source, v), dtype: v.kind.descr().into() };
            (v.name.clone(), array)
        };
        variables.iter().map(one).collect()
    };
    let (positions, statistics) = source.variables().split_at(1);
    let document = Document {
        schema: 1,
        posterior: arrays(positions),
        sample_stats: arrays(statistics),
        info: info.complete(positions[0].width.unwrap_or(0))?,
        versions: BTreeMap::from([("ebm-samplers".into(), env!("CARGO_PKG_VERSION").into())]),
    };
    let mut text = serde_json::to_vec_pretty(&document).map_err(Error::user)?;
    text.push(b'\n');
    // The npz last: where it stands, its json does.
    write_atomically(&folder.join("draws.json"), &text)?;
    write_atomically_with(&path, |file| write_archive(file, &path, source, packing))?;
    Ok(path)
}

fn write_archive(file: &mut File, path: &Path, source: &mut impl Source, packing: &Packing) -> Result<()> {
    let io = |e: std::io::Error| Error::io(path, e);
    let mut archive = ZipWriter::new(BufWriter::with_capacity(PIECE, file));
    let mut piece = Vec::new();
    for v in 0..source.variables().len() {
        let variable = source.variables()[v].clone();
        let shape = shape(source, &variable);
        let row = variable.row_bytes();
        let bytes = source.n_chains() as u64 * source.n_draws() as u64 * row as u64;
        let method = if packing.deflate { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        // Above 4 GiB an entry needs the longer form of its record.
        let options = SimpleFileOptions::default().compression_method(method).large_file(bytes >= 1 << 31);
        archive.start_file(format!("{}.npy", variable.name), options).map_err(|e| io(e.into()))?;
        archive.write_all(&header(variable.kind, &shape)).map_err(io)?;
        let step = (PIECE / row.max(1)).max(1);
        for chain in 0..source.n_chains() {
            for start in (0..source.n_draws()).step_by(step) {
                source.read(v, chain, start..(start + step).min(source.n_draws()), &mut piece)?;
                archive.write_all(&piece).map_err(io)?;
            }
        }
    }
    let mut buffered = archive.finish().map_err(|e| io(e.into()))?;
    buffered.flush().map_err(io)
}
