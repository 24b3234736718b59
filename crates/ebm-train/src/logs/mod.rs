//! Where a training run writes what it measures: JSON lines, TensorBoard events, image grids.
//!
//! Host code only: nothing here knows tensors. A run that is killed and resumed keeps one clean record:
//! both writers forget what lies after the resumed step.

mod crc32c;
pub mod image;
mod jsonl;
mod proto;
mod tensorboard;

pub use image::ImageGrid;
pub use jsonl::JsonlWriter;
pub use tensorboard::TensorBoardWriter;

use ebm_core::Result;

/// Something that takes the numbers and pictures of a run.
///
/// Every method has a default that ignores what it is given, so that a sink implements what it can show.
pub trait LogSink {
    /// Named numbers at a step.
    ///
    /// # Errors
    /// The sink could not write.
    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()>;

    /// A picture at a step, as the bytes of a PNG file.
    ///
    /// # Errors
    /// The sink could not write, or the bytes are not a PNG file.
    fn image(&mut self, _step: u64, _tag: &str, _png: &[u8]) -> Result<()> {
        Ok(())
    }

    /// The distribution of some numbers at a step.
    ///
    /// # Errors
    /// The sink could not write.
    fn histogram(&mut self, _step: u64, _tag: &str, _values: &[f64]) -> Result<()> {
        Ok(())
    }

    /// Forgets what was logged after `step`: training went back to it.
    ///
    /// # Errors
    /// The sink could not write.
    fn rewind(&mut self, _step: u64) -> Result<()> {
        Ok(())
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// The sink could not write.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Several sinks that act as one. With none, logging is a no-op.
#[derive(Default)]
pub struct Loggers(pub Vec<Box<dyn LogSink>>);

impl LogSink for Loggers {
    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        self.0.iter_mut().try_for_each(|sink| sink.scalars(step, values))
    }

    fn image(&mut self, step: u64, tag: &str, png: &[u8]) -> Result<()> {
        self.0.iter_mut().try_for_each(|sink| sink.image(step, tag, png))
    }

    fn histogram(&mut self, step: u64, tag: &str, values: &[f64]) -> Result<()> {
        self.0.iter_mut().try_for_each(|sink| sink.histogram(step, tag, values))
    }

    fn rewind(&mut self, step: u64) -> Result<()> {
        self.0.iter_mut().try_for_each(|sink| sink.rewind(step))
    }

    fn flush(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(|sink| sink.flush())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Count(Rc<Cell<usize>>);

    impl LogSink for Count {
        fn scalars(&mut self, _step: u64, values: &[(&str, f64)]) -> Result<()> {
            self.0.set(self.0.get() + values.len());
            Ok(())
        }
    }

    #[test]
    fn every_sink_gets_everything_and_defaults_ignore() {
        let seen = Rc::new(Cell::new(0));
        let mut loggers = Loggers(vec![Box::new(Count(seen.clone())), Box::new(Count(seen.clone()))]);
        loggers.scalars(1, &[("loss", 0.5), ("energy", 1.0)]).unwrap();
        loggers.image(1, "samples", &[]).unwrap();
        loggers.histogram(1, "energy", &[1.0]).unwrap();
        loggers.flush().unwrap();
        assert_eq!(seen.get(), 4);
    }
}
