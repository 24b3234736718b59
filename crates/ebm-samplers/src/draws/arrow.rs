//! `draws.arrow`: an Arrow IPC file, which pandas, Polars, DuckDB and R open. Written in constant memory.
//!
//! One row per draw: `chain` and `draw` (int64), the positions (`x`, a fixed-size list of f64) and the statistics. A
//! record batch holds draws of one chain. Seeds, kernel and names of coordinates are in the schema's metadata.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, FixedSizeListArray, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use ebm_core::{Error, Result, write_atomically_with};

use super::arrays::DrawArrays;
use super::info::{DrawInfo, Packing, check_is_new};
use super::npy::Kind;
use super::source::{ArraySource, FolderSource, Source, Variable};

/// Pack the growing files of a folder into `draws.arrow` in the same folder; memory does not grow with the number of
/// draws. The growing files stay unless [`Packing::remove_growing`] says otherwise.
///
/// # Errors
/// The folder holds no draws, chains of different lengths (see [`Packing::shortest`]) or files that are damaged; it
/// is packed already (see [`Packing::overwrite`]); the file system refuses. The growing files are then untouched.
pub fn pack_arrow(folder: impl AsRef<Path>, info: &DrawInfo, packing: &Packing) -> Result<PathBuf> {
    let folder = folder.as_ref();
    let mut source = FolderSource::new(folder, packing.shortest)?;
    let path = write(folder, &mut source, info, packing)?;
    if packing.remove_growing {
        source.remove()?;
    }
    Ok(path)
}

impl DrawArrays {
    /// Write `draws.arrow` into a folder, made if it is not there. See [`pack_arrow`] for draws that were streamed.
    ///
    /// # Errors
    /// It is there already (see [`Packing::overwrite`]), a `diverging` that is not 0 or 1, or the file system refuses.
    pub fn write_arrow(
        &self,
        folder: impl AsRef<Path>,
        info: &DrawInfo,
        packing: &Packing,
    ) -> Result<PathBuf> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        write(folder, &mut ArraySource::new(self), info, packing)
    }
}

fn write(folder: &Path, source: &mut impl Source, info: &DrawInfo, packing: &Packing) -> Result<PathBuf> {
    let path = folder.join("draws.arrow");
    check_is_new(&path, packing)?;
    if packing.batch_draws == 0 {
        return Err(Error::bad_value("batch_draws", 0, "at least 1", "1024 is usual"));
    }
    let schema = Arc::new(schema(source.variables(), info)?);
    write_atomically_with(&path, |file| write_batches(file, &path, &schema, source, packing.batch_draws))?;
    Ok(path)
}

fn write_batches(
    file: &mut File,
    path: &Path,
    schema: &Arc<Schema>,
    source: &mut impl Source,
    batch_draws: usize,
) -> Result<()> {
    let failed = |e| match e {
        ArrowError::IoError(_, e) => Error::io(path, e),
        other => Error::data(path, None, other.to_string()),
    };
    let mut writer = FileWriter::try_new(BufWriter::new(file), schema).map_err(failed)?;
    for chain in 0..source.n_chains() {
        for start in (0..source.n_draws()).step_by(batch_draws) {
            let end = (start + batch_draws).min(source.n_draws());
            let columns = columns(source, chain, start..end)?;
            let batch = RecordBatch::try_new(Arc::clone(schema), columns).map_err(failed)?;
            writer.write(&batch).map_err(failed)?;
        }
    }
    writer.finish().map_err(failed)
}

fn schema(variables: &[Variable], info: &DrawInfo) -> Result<Schema> {
    let mut fields =
        vec![Field::new("chain", DataType::Int64, false), Field::new("draw", DataType::Int64, false)];
    for Variable { name, kind, width } in variables {
        if name == "chain" || name == "draw" {
            return Err(Error::bad_value("name of an array", name, "another: it is a column already", ""));
        }
        let one = match kind {
            Kind::Real => DataType::Float64,
            Kind::Whole => DataType::Int64,
            Kind::Flag => DataType::Boolean,
        };
        let of_column = match width {
            None => one,
            Some(width) => DataType::FixedSizeList(item(), list_len(*width)?),
        };
        fields.push(Field::new(name, of_column, false));
    }
    let info = info.complete(variables[0].width.unwrap_or(0))?;
    let text = serde_json::to_string(&info).map_err(Error::user)?;
    Ok(Schema::new_with_metadata(fields, HashMap::from([("ebm".into(), text)])))
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, false))
}

fn list_len(width: usize) -> Result<i32> {
    i32::try_from(width)
        .map_err(|_| Error::bad_value("coordinates of a draw", width, "below 2^31 in an Arrow file", ""))
}

/// The columns of some draws of one chain.
fn columns(source: &mut impl Source, chain: usize, draws: std::ops::Range<usize>) -> Result<Vec<ArrayRef>> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(chain as i64, draws.len())),
        Arc::new(Int64Array::from_iter_values(draws.clone().map(|t| t as i64))),
    ];
    let mut bytes = Vec::new();
    for v in 0..source.variables().len() {
        source.read(v, chain, draws.clone(), &mut bytes)?;
        let Variable { kind, width, .. } = source.variables()[v];
        let words = || bytes.as_chunks::<8>().0.iter();
        let column: ArrayRef = match (kind, width) {
            (Kind::Real, None) => {
                Arc::new(Float64Array::from_iter_values(words().map(|w| f64::from_le_bytes(*w))))
            }
            (Kind::Real, Some(width)) => {
                let values = Float64Array::from_iter_values(words().map(|w| f64::from_le_bytes(*w)));
                let lists = FixedSizeListArray::try_new(item(), list_len(width)?, Arc::new(values), None);
                Arc::new(lists.map_err(Error::user)?)
            }
            (Kind::Whole, _) => {
                Arc::new(Int64Array::from_iter_values(words().map(|w| i64::from_le_bytes(*w))))
            }
            (Kind::Flag, _) => Arc::new(BooleanArray::from_iter(bytes.iter().map(|b| Some(*b == 1)))),
        };
        columns.push(column);
    }
    Ok(columns)
}
