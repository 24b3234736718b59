//! Where batches come from: a function of the step, so that a resumed or rolled-back run sees the same ones.

use std::sync::Arc;

use ebm_core::Result;
use ebm_datasets::text::Windows;
use ebm_datasets::{BatchConfig, Batches, Dataset};
use ndarray::Array2;
use tch::{Device, Tensor};

use crate::objectives::Batch;

/// Gives the batch of any step.
pub trait BatchSource {
    /// The batch of `step`, on the model's device.
    ///
    /// # Errors
    /// When the data cannot be read or moved.
    fn batch(&mut self, step: u64) -> Result<Batch>;
}

/// Batches of a data set, cut on a background thread.
pub struct DatasetSource {
    data: Arc<Dataset>,
    config: BatchConfig,
    device: Device,
    running: Option<Batches>,
}

impl DatasetSource {
    /// Batches of `data` as `[n, ..shape]`, f32, on `device`.
    pub fn new(data: Arc<Dataset>, config: BatchConfig, device: Device) -> Self {
        Self { data, config, device, running: None }
    }
}

impl BatchSource for DatasetSource {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let batches = match &mut self.running {
            Some(batches) if batches.step() == step => batches,
            other => other.insert(Batches::from_step(Arc::clone(&self.data), &self.config, step)?),
        };
        let batch = batches.next_batch()?;
        let n = batch.x.nrows() as i64;
        let shape: Vec<i64> = std::iter::once(n).chain(self.data.shape().iter().map(|s| *s as i64)).collect();
        let x = tensor_of(batch.x.as_slice().unwrap_or_default(), &shape, self.device)?;
        let labels = if batch.labels.is_empty() {
            None
        } else {
            Some(Tensor::f_from_slice(&batch.labels)?.f_to_device(self.device)?)
        };
        Ok(Batch { x, labels })
    }
}

/// Random windows of a text as token batches `[n, context + 1]`, i64.
pub struct TokenSource {
    windows: Arc<Windows>,
    batch_size: usize,
    seed: u64,
    device: Device,
}

impl TokenSource {
    /// `batch_size` windows a step, a function of (`seed`, step).
    pub fn new(windows: Arc<Windows>, batch_size: usize, seed: u64, device: Device) -> Self {
        Self { windows, batch_size, seed, device }
    }
}

impl BatchSource for TokenSource {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let rows = self.windows.tokens(&self.windows.random(self.seed, step, self.batch_size))?;
        Ok(Batch { x: token_tensor(&rows, self.device)?, labels: None })
    }
}

/// Rows of tokens as a tensor, i64, on `device`.
///
/// # Errors
/// When LibTorch cannot allocate.
pub fn token_tensor(rows: &Array2<i64>, device: Device) -> Result<Tensor> {
    let size = [rows.nrows() as i64, rows.ncols() as i64];
    let tokens: Vec<i64> = rows.iter().copied().collect();
    Ok(Tensor::f_from_slice(&tokens)?.f_view(size)?.f_to_device(device)?)
}

/// Numbers from the host as a tensor of `shape` on `device`.
///
/// # Errors
/// When the shape does not hold that many numbers.
pub fn tensor_of(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)?)
}
