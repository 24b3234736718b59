//! The file of a saved sampler: named lists of numbers and counters, and a text that says what they belong to.
//!
//! A safetensors file: every list is a vector of f64 (which holds f32 exactly) or of bytes, counters and text stand in
//! its metadata. Written whole under another name and then renamed, so that a kill leaves the old file or the new one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ebm_core::{Error, Point, Result, Scalar, write_atomically};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::Divergence;

/// What is in the file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Archive {
    lists: BTreeMap<String, Vec<f64>>,
    bytes: BTreeMap<String, Vec<u8>>,
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

    pub(crate) fn put_bytes(&mut self, name: impl Into<String>, values: Vec<u8>) {
        self.bytes.insert(name.into(), values);
    }

    pub(crate) fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        self.bytes.remove(name).ok_or_else(|| missing(name))
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

    /// Where a random stream is: [`StepRng::position`](ebm_core::StepRng::position).
    pub(crate) fn put_position(&mut self, prefix: &str, position: [u64; 3]) {
        for (i, count) in position.into_iter().enumerate() {
            self.put_count(format!("{prefix}.rng.{i}"), count);
        }
    }

    pub(crate) fn position(&self, prefix: &str) -> Result<[u64; 3]> {
        let mut position = [0; 3];
        for (i, count) in position.iter_mut().enumerate() {
            *count = self.count(&format!("{prefix}.rng.{i}"))?;
        }
        Ok(position)
    }

    pub(crate) fn put_divergences(&mut self, prefix: &str, divergences: &[Divergence]) {
        self.put_count(format!("{prefix}.n_divergences"), divergences.len() as u64);
        for (i, Divergence { chain, draw, position }) in divergences.iter().enumerate() {
            let numbers = [*chain as f64, *draw as f64].into_iter().chain(position.iter().copied()).collect();
            self.put(format!("{prefix}.divergence.{i}"), numbers);
        }
    }

    pub(crate) fn take_divergences(&mut self, prefix: &str) -> Result<Vec<Divergence>> {
        let mut divergences = Vec::new();
        for i in 0..self.count(&format!("{prefix}.n_divergences"))? {
            if let [chain, draw, position @ ..] = self.take(&format!("{prefix}.divergence.{i}"))?.as_slice() {
                let (chain, draw) = (*chain as usize, *draw as usize);
                divergences.push(Divergence { chain, draw, position: position.to_vec() });
            }
        }
        Ok(divergences)
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
        for (name, bytes) in &self.bytes {
            views.push((name, TensorView::new(Dtype::U8, vec![bytes.len()], bytes).map_err(Error::user)?));
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
        let (mut lists, mut bytes) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in tensors.tensors() {
            if view.dtype() == Dtype::U8 {
                bytes.insert(name, view.data().to_vec());
            } else {
                lists.insert(name, view.data().chunks_exact(8).map(number).collect());
            }
        }
        let counts = serde_json::from_str(&metadata.remove("counts").unwrap_or_default())
            .map_err(|e| bad(e.to_string()))?;
        Ok(Self { lists, bytes, counts, settings: metadata.remove("settings").unwrap_or_default() })
    }

    /// [`Archive::read`], refusing what was saved with other settings.
    pub(crate) fn read_for(path: &Path, settings: &str) -> Result<Self> {
        let archive = Self::read(path)?;
        if archive.settings != settings {
            let fix = "restore it with the settings that it was saved with";
            return Err(Error::bad_value("settings of the saved sampler", archive.settings, settings, fix));
        }
        Ok(archive)
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
        archive.put_bytes("bits", vec![0, 255, 1]);
        archive.put_bytes("no bits", vec![]);
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
