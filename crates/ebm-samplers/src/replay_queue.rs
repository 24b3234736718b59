//! A queue of (context, candidate) pairs for training through descents: first in, first out.
//!
//! A batch is fresh rows, then replayed ones; only the fresh rows' ends are added, so that a candidate is continued
//! at most once. Source: EBT (arXiv 2507.02092); rows are drawn without replacement (which rows the released code
//! takes is not known to us).

use ebm_core::random::{Purpose, Stream, StreamState};
use ebm_core::{Error, Result};
use tch::Tensor;

/// Up to `capacity` pairs, on the device of the first that was added.
#[derive(Debug)]
pub struct ReplayQueue {
    capacity: usize,
    pairs: Option<(Tensor, Tensor)>,
    rows: Stream,
}

impl ReplayQueue {
    /// An empty queue.
    ///
    /// # Errors
    /// A capacity of 0.
    pub fn new(capacity: usize, seed: u64) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::bad_value(
                "replay.capacity",
                0,
                "at least 1",
                "leave replay out to do without",
            ));
        }
        Ok(Self { capacity, pairs: None, rows: Stream::new(seed, Purpose::Replay, 0) })
    }

    /// Pairs in the queue.
    pub fn len(&self) -> usize {
        self.pairs.as_ref().map_or(0, |(context, _)| context.size()[0] as usize)
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `n` pairs `[n, ..]` at random, each at most once; none from an empty queue.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn draw(&mut self, n: usize) -> Result<Option<(Tensor, Tensor)>> {
        let stored = self.len();
        let Some((context, candidate)) = &self.pairs else { return Ok(None) };
        let n = n.min(stored);
        if n == 0 {
            return Ok(None);
        }
        // The first n of a Fisher-Yates shuffle.
        let mut order: Vec<i64> = (0..stored as i64).collect();
        for i in 0..n {
            order.swap(i, i + self.rows.below(stored - i));
        }
        let index = Tensor::f_from_slice(&order[..n])?.f_to_device(context.device())?;
        Ok(Some((context.f_index_select(0, &index)?, candidate.f_index_select(0, &index)?)))
    }

    /// Add pairs `[n, ..]`; the oldest go where there are more than the capacity.
    ///
    /// # Errors
    /// As many contexts as candidates are needed, of the shapes that are already here.
    pub fn push(&mut self, context: &Tensor, candidate: &Tensor) -> Result<()> {
        if context.size().first() != candidate.size().first() {
            return Err(Error::shape("candidates to keep", context.size().first(), candidate.size().first()));
        }
        let (mut context, mut candidate) = (context.f_detach()?, candidate.f_detach()?);
        if let Some((old_context, old_candidate)) = &self.pairs {
            context = Tensor::f_cat(&[old_context, &context], 0)?;
            candidate = Tensor::f_cat(&[old_candidate, &candidate], 0)?;
        }
        let surplus = context.size()[0] - self.capacity as i64;
        if surplus > 0 {
            context = context.f_narrow(0, surplus, self.capacity as i64)?;
            candidate = candidate.f_narrow(0, surplus, self.capacity as i64)?;
        }
        // A narrowed view would keep the dropped rows in memory.
        self.pairs = Some((context.copy(), candidate.copy()));
        Ok(())
    }

    /// The pairs and the stream's place: the whole state.
    pub fn state(&self) -> (Option<(&Tensor, &Tensor)>, StreamState) {
        (self.pairs.as_ref().map(|(context, candidate)| (context, candidate)), self.rows.state())
    }

    /// Go on from a saved state.
    pub fn restore(&mut self, pairs: Option<(Tensor, Tensor)>, rows: StreamState) {
        self.pairs = pairs;
        self.rows = Stream::from_state(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn numbers(from: i64, to: i64) -> Tensor {
        Tensor::arange_start(from, to, (Kind::Float, Device::Cpu)).view([-1, 1])
    }

    fn values(t: &Tensor) -> Vec<f64> {
        Vec::try_from(&t.to_kind(Kind::Double).view(-1)).unwrap()
    }

    #[test]
    fn the_oldest_go_first_and_pairs_stay_together() {
        let mut queue = ReplayQueue::new(4, 0).unwrap();
        assert!(queue.draw(2).unwrap().is_none());
        queue.push(&numbers(0, 3), &(numbers(0, 3) * 10.0)).unwrap();
        let (context, candidate) = queue.draw(5).unwrap().unwrap();
        let mut seen = values(&context);
        assert_eq!(values(&candidate), seen.iter().map(|c| c * 10.0).collect::<Vec<_>>());
        seen.sort_by(f64::total_cmp);
        assert_eq!(seen, [0.0, 1.0, 2.0]);
        queue.push(&numbers(3, 6), &(numbers(3, 6) * 10.0)).unwrap();
        let ((context, _), _) = (queue.state().0.unwrap(), ());
        assert_eq!(values(context), [2.0, 3.0, 4.0, 5.0]);
        assert!(queue.push(&numbers(0, 2), &numbers(0, 1)).is_err());
        assert!(ReplayQueue::new(0, 0).is_err());
    }

    #[test]
    fn every_row_is_drawn_as_often_and_a_restored_queue_draws_the_same() {
        let mut queue = ReplayQueue::new(8, 1).unwrap();
        queue.push(&numbers(0, 8), &numbers(0, 8)).unwrap();
        let mut counts = [0.0; 8];
        for _ in 0..4000 {
            let drawn = values(&queue.draw(2).unwrap().unwrap().0);
            assert!(drawn[0] != drawn[1]);
            drawn.iter().for_each(|row| counts[*row as usize] += 1.0);
        }
        // 4,000 draws of a row at probability 1/4: standard deviation 27.4.
        assert!(counts.iter().all(|c: &f64| (c - 1000.0).abs() < 4.5 * 27.4), "{counts:?}");
        let (pairs, rows) = queue.state();
        let pairs = pairs.map(|(a, b)| (a.copy(), b.copy()));
        let mut again = ReplayQueue::new(8, 99).unwrap();
        again.restore(pairs, rows);
        assert!(queue.draw(3).unwrap().unwrap().0 == again.draw(3).unwrap().unwrap().0);
    }
}
