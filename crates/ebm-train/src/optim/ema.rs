//! Exponential moving average of the weights: `a <- decay a + (1 - decay) p` after each step.

use ebm_core::torch::Params;
use ebm_core::{Error, Result};
use tch::Tensor;

use super::{Named, copy_state, handles};

/// Averaged weights beside the trained ones.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    average: Named,
}

impl Ema {
    /// Starts at the parameters' values.
    ///
    /// # Errors
    /// When `decay` is outside `[0, 1)`.
    pub fn new(decay: f64, params: &Params) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::bad_value("ema_decay", decay, "in [0, 1)", "0.999 is usual"));
        }
        let copy = |(name, p): &(String, Tensor)| (format!("ema.{name}"), p.detach().copy());
        Ok(Self { decay, average: params.named().iter().map(copy).collect() })
    }

    /// Take in the parameters after a step.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        tch::no_grad(|| {
            for ((_, a), (_, p)) in self.average.iter_mut().zip(params.named()) {
                let _ = a.f_lerp_(p, 1.0 - self.decay)?;
            }
            Ok(())
        })
    }

    /// The averages, named `ema.<parameter>`: shared handles.
    pub fn state(&self) -> Named {
        handles(&self.average)
    }

    /// Go on from saved averages.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn restore(&mut self, saved: &Named) -> Result<()> {
        copy_state(&self.average, saved)
    }

    /// The averages under the parameters' own names, to load into a model for evaluation.
    pub fn weights(&self) -> Named {
        let own = |(name, t): &(String, Tensor)| {
            (name.strip_prefix("ema.").unwrap_or(name).to_owned(), t.shallow_clone())
        };
        self.average.iter().map(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::torch::Init;
    use tch::{Device, Kind};

    #[test]
    fn the_average_is_geometric() {
        let mut params = Params::new(0, Device::Cpu).with_kind(Kind::Double);
        let mut p = params.root().parameter("w", &[1], Init::Constant(1.0)).unwrap();
        let mut ema = Ema::new(0.9, &params).unwrap();
        let _ = tch::no_grad(|| p.fill_(2.0));
        for _ in 0..3 {
            ema.update(&params).unwrap();
        }
        let expected = 2.0 - 0.9f64.powi(3);
        assert!((ema.weights()[0].1.double_value(&[0]) - expected).abs() < 1e-14);
        assert_eq!(ema.weights()[0].0, "w");
        assert!(Ema::new(1.0, &params).is_err());
    }
}
