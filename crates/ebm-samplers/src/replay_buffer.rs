//! Persistent chains for training: a buffer of points, drawn in batches, a share of them started anew.
//!
//! Each draw takes random slots (with replacement), starts a draw over with probability `reinit`, and the chains'
//! ends go back to the same slots (where a slot was drawn twice, the last one wins). Sources: Du and Mordatch
//! 2019 (arXiv 1903.08689), JEM (arXiv 1912.03263).

use ebm_core::random::{Purpose, Stream, StreamState};
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Settings of a [`ReplayBuffer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayConfig {
    /// Slots in the buffer.
    pub capacity: usize,
    /// Probability with which a drawn chain starts anew, in `[0, 1]`.
    pub reinit: f64,
    /// New chains start uniform on `[low, high)`, each coordinate.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Persistent chains `[capacity, ..]` on one device.
#[derive(Debug)]
pub struct ReplayBuffer {
    config: ReplayConfig,
    points: Tensor,
    slots: Stream,
    starts: TensorRng,
    draws: u64,
}

/// A batch drawn from the buffer: run chains from `x`, then [`ReplayBuffer::write_back`].
#[derive(Debug)]
pub struct Replay {
    /// Where the chains start, `[n, ..]`.
    pub x: Tensor,
    slots: Vec<usize>,
}

/// Where a buffer's random numbers stand; with the points, its whole state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayState {
    slots: StreamState,
    draws: u64,
}

impl ReplayBuffer {
    /// A buffer of fresh chains; one point has the shape `size`.
    ///
    /// # Errors
    /// An empty buffer, a probability outside `[0, 1]`, an empty range, or no memory.
    pub fn new(config: ReplayConfig, size: &[i64], seed: u64, device: Device) -> Result<Self> {
        let ReplayConfig { capacity, reinit, low, high } = config;
        if capacity == 0 {
            return Err(Error::bad_value("capacity", 0, "at least 1", ""));
        }
        if !(0.0..=1.0).contains(&reinit) {
            return Err(Error::bad_value("reinit", reinit, "a probability, in [0, 1]", ""));
        }
        if !(low < high && low.is_finite() && high.is_finite()) {
            return Err(Error::bad_value("low and high", format!("{low} and {high}"), "low below high", ""));
        }
        let mut starts = TensorRng::new(seed, Purpose::Replay);
        let shape: Vec<i64> = std::iter::once(capacity as i64).chain(size.iter().copied()).collect();
        let points = starts.uniform(&shape, low, high, Kind::Float, device)?;
        Ok(Self { config, points, slots: Stream::new(seed, Purpose::Replay, 0), starts, draws: 0 })
    }

    /// All points, `[capacity, ..]`.
    pub fn points(&self) -> &Tensor {
        &self.points
    }

    /// Draw `n` chains' starts.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn draw(&mut self, n: usize) -> Result<Replay> {
        let slots: Vec<usize> = (0..n).map(|_| self.slots.below(self.config.capacity)).collect();
        let anew: Vec<bool> = (0..n).map(|_| self.slots.uniform() < self.config.reinit).collect();
        let device = self.points.device();
        let index: Vec<i64> = slots.iter().map(|s| *s as i64).collect();
        let old = self.points.f_index_select(0, &Tensor::f_from_slice(&index)?.f_to_device(device)?)?;
        self.draws += 1;
        self.starts.begin_step(self.draws);
        let fresh =
            self.starts.uniform(&old.size(), self.config.low, self.config.high, old.kind(), device)?;
        let mut shape = vec![1; old.dim()];
        shape[0] = n as i64;
        let anew = Tensor::f_from_slice(&anew)?.f_to_device(device)?.f_view(shape.as_slice())?;
        Ok(Replay { x: fresh.f_where_self(&anew, &old)?, slots })
    }

    /// Put the chains' ends `x`, `[n, ..]`, into the slots they came from.
    ///
    /// # Errors
    /// When `x` has another shape than what was drawn.
    pub fn write_back(&mut self, replay: &Replay, x: &Tensor) -> Result<()> {
        if x.size() != replay.x.size() {
            return Err(Error::shape("chains to write back", replay.x.size(), x.size()));
        }
        // The last draw of a slot wins; with every slot once, the copy has one order on every device.
        let mut last = std::collections::BTreeMap::new();
        for (row, slot) in replay.slots.iter().enumerate() {
            last.insert(*slot as i64, row as i64);
        }
        let (slots, rows): (Vec<i64>, Vec<i64>) = last.into_iter().unzip();
        let device = self.points.device();
        let (slots, rows) = (Tensor::f_from_slice(&slots)?, Tensor::f_from_slice(&rows)?);
        let ends = x.f_detach()?.f_index_select(0, &rows.f_to_device(device)?)?;
        let _ = self.points.f_index_copy_(0, &slots.f_to_device(device)?, &ends)?;
        Ok(())
    }

    /// What to save beside [`ReplayBuffer::points`].
    pub fn state(&self) -> ReplayState {
        ReplayState { slots: self.slots.state(), draws: self.draws }
    }

    /// Go on from saved points and state.
    ///
    /// # Errors
    /// When the points have another shape than this buffer's.
    pub fn restore(&mut self, points: &Tensor, state: &ReplayState) -> Result<()> {
        if points.size() != self.points.size() {
            return Err(Error::shape("saved replay buffer", self.points.size(), points.size()));
        }
        self.points.f_copy_(points)?;
        self.slots = Stream::from_state(state.slots);
        self.draws = state.draws;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(reinit: f64) -> ReplayBuffer {
        let config = ReplayConfig { capacity: 50, reinit, low: 2.0, high: 3.0 };
        ReplayBuffer::new(config, &[2, 2], 1, Device::Cpu).unwrap()
    }

    fn values(t: &Tensor) -> Vec<f64> {
        Vec::try_from(&t.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    #[test]
    fn ends_go_back_to_their_slots_and_the_last_wins() {
        let mut buffer = buffer(0.0);
        let replay = buffer.draw(200).unwrap();
        let ends =
            Tensor::arange(200, (Kind::Float, Device::Cpu)).view([200, 1, 1]).expand([200, 2, 2], false);
        buffer.write_back(&replay, &ends).unwrap();
        let points = values(buffer.points());
        for slot in 0..50 {
            match replay.slots.iter().rposition(|s| *s == slot) {
                Some(row) => assert_eq!(points[4 * slot..4 * slot + 4], [row as f64; 4]),
                None => assert!(points[4 * slot] >= 2.0 && points[4 * slot] < 3.0),
            }
        }
        assert!(buffer.write_back(&replay, &ends.narrow(0, 0, 10)).is_err());
    }

    #[test]
    fn the_share_started_anew_is_the_probability() {
        let mut buffer = buffer(0.05);
        let _ = buffer.points.fill_(7.0);
        let mut anew = 0;
        for _ in 0..100 {
            let x = values(&buffer.draw(100).unwrap().x);
            anew += x.chunks(4).filter(|x| x[0] != 7.0).count();
        }
        // 10,000 draws at 0.05: standard deviation 21.8.
        assert!((anew as f64 - 500.0).abs() < 5.0 * 21.8, "{anew}");
    }

    #[test]
    fn a_restored_buffer_draws_the_same() {
        let (mut a, mut b) = (buffer(0.3), buffer(0.3));
        let replay = a.draw(20).unwrap();
        a.write_back(&replay, &replay.x.neg()).unwrap();
        b.restore(&a.points().copy(), &a.state()).unwrap();
        assert!(a.draw(20).unwrap().x == b.draw(20).unwrap().x);
    }

    #[test]
    fn impossible_settings_are_errors() {
        for (capacity, reinit, low, high) in
            [(0, 0.1, 0.0, 1.0), (1, 1.1, 0.0, 1.0), (1, f64::NAN, 0.0, 1.0), (1, 0.1, 1.0, 1.0)]
        {
            let config = ReplayConfig { capacity, reinit, low, high };
            assert!(ReplayBuffer::new(config, &[1], 0, Device::Cpu).is_err());
        }
    }
}
