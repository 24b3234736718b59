//! A tensor `[chains, ..]`: all chains in one point, the step loop outside.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Point, Result};
use tch::{Kind, Tensor};

use super::Starts;

impl<K, E: ?Sized> Starts<K, E> for Tensor {
    type Point = Tensor;
    const PATIENCE: usize = 64;

    fn into_points(self) -> Result<Vec<Tensor>> {
        if self.n_chains() == 0 || self.numel() == 0 {
            return Err(Error::bad_value("chains", 0, "at least 1", "give a tensor [chains, ..]"));
        }
        if !matches!(self.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            return Err(Error::bad_value(
                "kind of the start",
                format!("{:?}", self.kind()),
                "a float kind",
                "",
            ));
        }
        if !bool::try_from(self.f_isfinite()?.f_all()?)? {
            return Err(Error::bad_value("start points", "NaN or infinite", "finite", ""));
        }
        Ok(vec![self.f_detach()?])
    }

    fn rng(seed: u64, _i: usize) -> TensorRng {
        TensorRng::new(seed, Purpose::Chain)
    }

    fn for_each<T: Send>(kernel: &K, energy: &E, points: &mut [T], work: impl Fn(&K, &E, &mut T) + Sync) {
        points.iter_mut().for_each(|point| work(kernel, energy, point));
    }
}
