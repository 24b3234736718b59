//! Training batches, made on a background thread in an order that is a function of seed and step alone.
//!
//! Step `k` is batch `k % batches_per_epoch` of epoch `k / batches_per_epoch`; each epoch has its own order. So a
//! run resumes by starting at its step: no state of this type needs saving.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::augment::{Augment, item_stream};
use crate::dataset::Dataset;

/// How to cut a data set into batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Items in a batch.
    pub batch_size: usize,
    /// Seed of the order and of the augmentation.
    pub seed: u64,
    /// Leave out the last batch of an epoch when it is smaller than the others.
    pub drop_last: bool,
    /// A new random order in each epoch; otherwise always the order of the data set.
    pub shuffle: bool,
    /// Random changes of each item.
    pub augment: Augment,
    /// Batches made ahead.
    pub prefetch: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        let augment = Augment::default();
        Self { batch_size: 64, seed: 0, drop_last: true, shuffle: true, augment, prefetch: 4 }
    }
}

/// One batch: plain numbers that belong to the receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The items, `[items, features]`, row-major.
    pub x: Array2<f32>,
    /// Their labels; empty for a data set without labels.
    pub labels: Vec<i64>,
    /// Their places in the data set.
    pub indices: Vec<usize>,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step, from 0: the number of this batch over all epochs.
    pub step: u64,
}

/// The order of `n` items in `epoch`: a permutation from stream `Shuffle`, index `epoch`.
pub fn epoch_order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    Stream::new(seed, Purpose::Shuffle, epoch).permutation(n)
}

/// The endless sequence of batches; dropping it ends its thread.
///
/// ```
/// use ebm_datasets::{BatchConfig, Batches};
/// let digits = std::sync::Arc::new(ebm_datasets::digits()?);
/// let mut batches = Batches::from_step(digits, &BatchConfig::default(), 0)?;
/// let batch = batches.next_batch()?;
/// assert_eq!(batch.x.dim(), (64, 64));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Batches {
    receiver: Option<Receiver<Result<Batch>>>,
    worker: Option<JoinHandle<()>>,
    batches_per_epoch: u64,
    step: u64,
}

impl Batches {
    /// Start with the batch of `step`: 0 for a new run, the number of steps made for a resumed one.
    ///
    /// # Errors
    /// When the settings are impossible for these data, or no thread can be started.
    pub fn from_step(data: Arc<Dataset>, config: &BatchConfig, step: u64) -> Result<Self> {
        let batches_per_epoch = config.batches_per_epoch(data.len())?;
        config.augment.check(&data)?;
        if config.prefetch == 0 {
            return Err(Error::bad_value("prefetch", 0, "at least 1", "4 is usual"));
        }
        if step >= 1 << 50 {
            return Err(Error::bad_value("step", step, "below 2^50", "it is the number of steps made"));
        }
        let (sender, receiver) = sync_channel(config.prefetch);
        let config = config.clone();
        let worker = std::thread::Builder::new()
            .name("ebm batches".to_owned())
            .spawn(move || work(&data, &config, step, batches_per_epoch, &sender))
            .map_err(Error::user)?;
        Ok(Self { receiver: Some(receiver), worker: Some(worker), batches_per_epoch, step })
    }

    /// The next batch; waits until it is made.
    ///
    /// # Errors
    /// When the background thread is gone, which it only is after an error.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let gone = || Error::user("the thread that makes batches has stopped");
        let batch = self.receiver.as_ref().ok_or_else(gone)?.recv().map_err(|_| gone())??;
        self.step = batch.step + 1;
        Ok(batch)
    }

    /// The step of the next batch: what [`Batches::from_step`] needs to go on here.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The batches in an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches_per_epoch
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    /// [`Batches::next_batch`]; never `None`.
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_batch())
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver the worker's next send fails and it returns.
        self.receiver = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl BatchConfig {
    /// The batches that `n_items` give in an epoch.
    ///
    /// # Errors
    /// When that would be none.
    pub fn batches_per_epoch(&self, n_items: usize) -> Result<u64> {
        let too_large = self.drop_last && self.batch_size > n_items;
        if self.batch_size == 0 || n_items == 0 || too_large {
            let limit = format!("in 1..={n_items}, the number of items");
            return Err(Error::bad_value("batch_size", self.batch_size, limit, "or keep the last batch"));
        }
        let n = if self.drop_last { n_items / self.batch_size } else { n_items.div_ceil(self.batch_size) };
        Ok(n as u64)
    }
}

fn work(
    data: &Dataset,
    config: &BatchConfig,
    first_step: u64,
    per_epoch: u64,
    sender: &SyncSender<Result<Batch>>,
) {
    let mut order: Option<(u64, Vec<usize>)> = None;
    for step in first_step.. {
        let (epoch, number) = (step / per_epoch, (step % per_epoch) as usize);
        let (_, items) = match order.take() {
            Some(known) if known.0 == epoch => order.insert(known),
            _ if config.shuffle => order.insert((epoch, epoch_order(data.len(), config.seed, epoch))),
            _ => order.insert((epoch, (0..data.len()).collect())),
        };
        let start = number * config.batch_size;
        let indices = &items[start..data.len().min(start + config.batch_size)];
        let batch = make(data, config, indices, epoch, step);
        let failed = batch.is_err();
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}

fn make(data: &Dataset, config: &BatchConfig, indices: &[usize], epoch: u64, step: u64) -> Result<Batch> {
    let mut values = Vec::with_capacity(indices.len() * data.n_features());
    for &item in indices {
        let start = values.len();
        values.extend_from_slice(data.item(item).unwrap_or_default());
        let mut stream = item_stream(config.seed, epoch, item, data.len());
        config.augment.apply(&mut values[start..], data.shape(), &mut stream)?;
    }
    let x = Array2::from_shape_vec((indices.len(), data.n_features()), values)
        .map_err(|e| Error::shape("batch", indices.len(), e.to_string()))?;
    let labels = data.labels().map_or_else(Vec::new, |labels| indices.iter().map(|&i| labels[i]).collect());
    Ok(Batch { x, labels, indices: indices.to_vec(), epoch, step })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: usize) -> Arc<Dataset> {
        let x = Array2::from_shape_fn((n, 4), |(i, j)| ((i + j) % 17) as f32 / 16.0);
        let set = Dataset::new("numbers", x, &[1, 2, 2]).unwrap();
        Arc::new(set.with_labels((0..n as i64).collect(), n).unwrap())
    }

    fn take(data: &Arc<Dataset>, config: &BatchConfig, step: u64, n: usize) -> Vec<Batch> {
        Batches::from_step(data.clone(), config, step).unwrap().take(n).map(|b| b.unwrap()).collect()
    }

    #[test]
    fn an_epoch_holds_every_item_once() {
        let data = numbered(10);
        let config = BatchConfig { batch_size: 4, drop_last: false, ..BatchConfig::default() };
        let batches = take(&data, &config, 0, 6);
        assert_eq!(batches.iter().map(|b| b.indices.len()).collect::<Vec<_>>(), [4, 4, 2, 4, 4, 2]);
        for epoch in 0..2 {
            let part = &batches[3 * epoch..3 * epoch + 3];
            let items: Vec<usize> = part.iter().flat_map(|b| b.indices.clone()).collect();
            assert_eq!(items, epoch_order(10, 0, epoch as u64));
            assert!(part.iter().all(|b| b.epoch == epoch as u64));
            let mut sorted = items;
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(epoch_order(10, 0, 0), epoch_order(10, 0, 1));
        for batch in &batches {
            assert_eq!(batch.labels, batch.indices.iter().map(|&i| i as i64).collect::<Vec<_>>());
            assert_eq!(batch.x, data.take(&batch.indices).unwrap().x());
        }
    }

    #[test]
    fn resuming_at_any_step_goes_on_with_the_same_batches() {
        let data = numbered(11);
        let augment = Augment { pad: 1, flip: true, dequantise_levels: Some(17), noise_sd: 0.1 };
        for drop_last in [true, false] {
            let config = BatchConfig {
                batch_size: 3,
                seed: 9,
                drop_last,
                augment: augment.clone(),
                ..BatchConfig::default()
            };
            let whole = take(&data, &config, 0, 12);
            for step in 0..12 {
                assert_eq!(take(&data, &config, step, 12 - step as usize), whole[step as usize..]);
            }
            let mut one = Batches::from_step(data.clone(), &config, 5).unwrap();
            assert_eq!(one.step(), 5);
            one.next_batch().unwrap();
            assert_eq!((one.step(), one.batches_per_epoch()), (6, if drop_last { 3 } else { 4 }));
        }
    }

    #[test]
    fn without_shuffling_the_order_is_the_data_sets() {
        let config = BatchConfig { batch_size: 2, shuffle: false, ..BatchConfig::default() };
        let batches = take(&numbered(5), &config, 0, 3);
        assert_eq!(batches.iter().map(|b| b.indices.clone()).collect::<Vec<_>>(), [[0, 1], [2, 3], [0, 1]]);
    }

    #[test]
    fn dropping_ends_the_thread() {
        let data = numbered(100);
        for taken in 0..3 {
            let mut batches = Batches::from_step(data.clone(), &BatchConfig::default(), 0).unwrap();
            for _ in 0..taken {
                batches.next_batch().unwrap();
            }
            drop(batches);
            assert_eq!(Arc::strong_count(&data), 1, "the thread still holds the data");
        }
    }

    #[test]
    fn impossible_settings_are_errors() {
        let start = |n: usize, config: BatchConfig| Batches::from_step(numbered(n), &config, 0).map(|_| ());
        let of = |batch_size, drop_last| BatchConfig { batch_size, drop_last, ..BatchConfig::default() };
        assert!(start(5, of(6, true)).unwrap_err().to_string().contains("1..=5"));
        assert!(start(5, of(6, false)).is_ok());
        assert!(start(5, of(0, false)).is_err());
        assert!(start(0, of(1, false)).is_err());
        assert!(Batches::from_step(numbered(5), &of(1, false), u64::MAX).is_err());
        assert!(start(5, BatchConfig { prefetch: 0, ..of(1, false) }).is_err());
    }
}
