//! Named tensors as safetensors files, written so that a kill leaves either the old file or the new one.

use std::fs;
use std::path::Path;

use ebm_core::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Kind, Tensor};

pub use ebm_core::write_atomically;

use crate::optim::Named;

fn dtype(kind: Kind) -> Result<(Dtype, usize)> {
    Ok(match kind {
        Kind::Float => (Dtype::F32, 4),
        Kind::Double => (Dtype::F64, 8),
        Kind::Int64 => (Dtype::I64, 8),
        Kind::Half => (Dtype::F16, 2),
        Kind::BFloat16 => (Dtype::BF16, 2),
        Kind::Uint8 => (Dtype::U8, 1),
        other => return Err(Error::user(format!("tensors of kind {other:?} cannot be saved"))),
    })
}

/// The file's bytes. The same tensors give the same bytes: no time, host or path enters.
///
/// # Errors
/// A kind of tensor that has no safetensors type.
pub fn to_bytes(tensors: &Named) -> Result<Vec<u8>> {
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
        let (dtype, width) = dtype(tensor.kind())?;
        let n_bytes = tensor.numel() * width;
        let mut bytes = vec![0; n_bytes];
        if n_bytes > 0 {
            // SAFETY: a contiguous CPU tensor holds `numel` elements of `width` bytes at its data pointer, and
            // `tensor` keeps them alive during the copy.
            let memory = unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), n_bytes) };
            bytes.copy_from_slice(memory);
        }
        let shape: Vec<usize> = tensor.size().iter().map(|n| *n as usize).collect();
        parts.push((name.clone(), dtype, shape, bytes));
    }
    let mut views = Vec::with_capacity(parts.len());
    for (name, dtype, shape, bytes) in &parts {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(Error::user)?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(Error::user)
}

/// Read a file's bytes; `path` is for messages.
///
/// # Errors
/// A truncated or foreign file, or a type that LibTorch lacks.
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Named> {
    let problem = |e| Error::data(path, None, format!("not a readable safetensors file: {e}"));
    let file = SafeTensors::deserialize(bytes).map_err(problem)?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::I64 => Kind::Int64,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::U8 => Kind::Uint8,
            other => return Err(Error::data(path, None, format!("'{name}' has the type {other:?}"))),
        };
        let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
        tensors.push((name, Tensor::f_from_data_size(view.data(), &shape, kind)?));
    }
    Ok(tensors)
}

/// Save named tensors.
///
/// # Errors
/// As [`to_bytes`] and [`write_atomically`].
pub fn save(path: &Path, tensors: &Named) -> Result<()> {
    write_atomically(path, &to_bytes(tensors)?)
}

/// Load named tensors, on the CPU.
///
/// # Errors
/// A file that is missing, truncated or of another format.
pub fn load(path: &Path) -> Result<Named> {
    from_bytes(path, &fs::read(path).map_err(|e| Error::io(path, e))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_the_trip_and_a_cut_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensors = vec![
            ("b.weight".to_owned(), Tensor::from_slice(&[1f32, -2.5, 3.0, 4.0]).view([2, 2]).transpose(0, 1)),
            ("a".to_owned(), Tensor::from_slice(&[1f64]).view([] as [i64; 0])),
            ("n".to_owned(), Tensor::from_slice(&[7i64, 8])),
            ("empty".to_owned(), Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu))),
        ];
        save(&path, &tensors).unwrap();
        let mut read = load(&path).unwrap();
        assert_eq!(read.len(), 4);
        for (name, tensor) in &tensors {
            let at = read.iter().position(|(n, _)| n == name).unwrap();
            let (_, value) = read.remove(at);
            assert!(value == *tensor && value.kind() == tensor.kind());
        }
        assert_eq!(to_bytes(&tensors).unwrap(), to_bytes(&tensors).unwrap());
        let bytes = fs::read(&path).unwrap();
        for cut in [0, 7, 20, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            assert!(load(&path).unwrap_err().to_string().contains("safetensors"));
        }
        assert!(save(&folder.path().join("no/such/folder"), &tensors).is_err());
    }
}
