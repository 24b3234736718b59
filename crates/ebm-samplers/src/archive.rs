//! The file of a saved sampler: named lists of numbers and counters, and a text that says what they belong to.
//!
//! A safetensors file: every list is a vector of f64 (which holds f32 exactly), counters and text stand in its
//! metadata. Written whole under another name and then renamed, so that a kill leaves the old file or the new one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ebm_core::{Error, Point, Result, Scalar, write_atomically};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// What is in the file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Archive {
    lists: BTreeMap<String, Vec<f64>>,
    counts: BTreeMap<String, u64>,
    /// What the numbers belong to; a restore refuses another.
    pub(crate) settings: String,
}

const FORMAT: &str = "ebm sampler 1";

impl Archive {
    pub(crate) fn of(settings: String) -> Self {
        Self { settings, ..Self::default() }
    }

    pub(crate) fn put(&mut self, name: impl Into<String>, values: Vec<f64>) {
        self.lists.insert(name.into(), values);
    }

    pub(crate) fn put_count(&mut self, name: impl Into<String>, value: u64) {
        self.counts.insert(name.into(), value);
    }

    pub(crate) fn take(&mut self, name: &str) -> Result<Vec<f64>> {
        self.lists.remove(name).ok_or_else(|| missing(name))
    }

    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        self.counts.get(name).copied().ok_or_else(|| missing(name))
    }

    /// One number per chain: a single one where the chains share it, which is not the same as equal ones (a shared
    /// number is computed with in f64, a tensor's in the tensor's kind).
    pub(crate) fn put_scalar<S: Scalar>(&mut self, name: &str, scalar: &S, n_chains: usize) -> Result<()> {
        match scalar.shared() {
            Some(value) => self.put(format!("{name}.shared"), vec![value]),
            None => self.put(name, scalar.to_host(n_chains)?),
        }
        Ok(())
    }

    pub(crate) fn take_scalar<X: Point>(&mut self, name: &str, x: &X) -> Result<X::Scalar> {
        match self.lists.remove(&format!("{name}.shared")).as_deref() {
            Some([value]) => Ok(X::Scalar::same(*value)),
            _ => x.scalar(&self.take(name)?),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let bytes: Vec<(&String, Vec<u8>)> = self
            .lists
            .iter()
            .map(|(name, v)| (name, v.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, bytes) in &bytes {
            views.push((
                *name,
                TensorView::new(Dtype::F64, vec![bytes.len() / 8], bytes).map_err(Error::user)?,
            ));
        }
        let counts = serde_json::to_string(&self.counts).map_err(Error::user)?;
        let text = [("format", FORMAT), ("settings", &self.settings), ("counts", &counts)];
        let metadata: HashMap<String, String> =
            text.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        write_atomically(path, &safetensors::serialize(views, Some(metadata)).map_err(Error::user)?)
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bad = |found: String| {
            let fix = "give the file that a sampler was saved to";
            Error::bad_value(path.display().to_string(), found, "a saved sampler", fix)
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(e.to_string()))?;
        let mut metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(bad("another kind of file".to_owned()));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        let number = |b: &[u8]| f64::from_le_bytes(std::array::from_fn(|i| b[i]));
        let lists = tensors
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, view.data().chunks_exact(8).map(number).collect()))
            .collect();
        let counts = serde_json::from_str(&metadata.remove("counts").unwrap_or_default())
            .map_err(|e| bad(e.to_string()))?;
        Ok(Self { lists, counts, settings: metadata.remove("settings").unwrap_or_default() })
    }
}

fn missing(name: &str) -> Error {
    Error::bad_value(
        name,
        "missing",
        "in the saved sampler",
        "it was saved by another version or other settings",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_back_and_torn_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sampler");
        let mut archive = Archive { settings: "Hmc { .. }".to_owned(), ..Default::default() };
        archive.put("x", vec![0.1, f64::MIN_POSITIVE / 3.0, -0.0, f64::INFINITY]);
        archive.put("none", vec![]);
        archive.put_count("steps", u64::MAX);
        archive.write(&path).unwrap();
        assert_eq!(Archive::read(&path).unwrap(), archive);
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 7, 40, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let text = Archive::read(&path).unwrap_err().to_string();
            assert!(text.contains("a saved sampler"), "{text}");
        }
        assert!(archive.take("y").unwrap_err().to_string().starts_with("y = missing"));
    }
}
