//! Host points: one task each, over all cores.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, HostPoint, Result};
use rayon::prelude::*;

use super::Starts;

impl<X: HostPoint, K: Sync, E: Sync + ?Sized> Starts<K, E> for Vec<X> {
    type Point = X;
    const PATIENCE: usize = 0;

    fn into_points(self) -> Result<Vec<X>> {
        let Some(first) = self.first() else {
            return Err(Error::bad_value("chains", 0, "at least 1", "give one start point per chain"));
        };
        let dim = first.dim();
        if dim == 0 {
            return Err(Error::bad_value("coordinates of a start point", 0, "at least 1", ""));
        }
        for (i, x) in self.iter().enumerate() {
            if x.dim() != dim {
                return Err(Error::shape(format!("start point {i}"), dim, x.dim()));
            }
            if !x.all_finite() {
                return Err(Error::bad_value(format!("start point {i}"), "NaN or infinite", "finite", ""));
            }
        }
        Ok(self)
    }

    fn rng(seed: u64, i: usize) -> Stream {
        Stream::new(seed, Purpose::Chain, i as u64)
    }

    fn for_each<T: Send>(kernel: &K, energy: &E, points: &mut [T], work: impl Fn(&K, &E, &mut T) + Sync) {
        points.par_iter_mut().for_each(|point| work(kernel, energy, point));
    }
}
