//! Host points: one task each, over all cores.

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, HostPoint, Result};
use rayon::prelude::*;

use super::Starts;
use crate::start_points::check_points;

impl<X: HostPoint, K: Sync, E: Sync + ?Sized> Starts<K, E> for Vec<X> {
    type Point = X;
    const PATIENCE: usize = 0;

    fn into_points(self) -> Result<Vec<X>> {
        if self.is_empty() {
            return Err(Error::bad_value("chains", 0, "at least 1", "give one start point per chain"));
        }
        check_points(&self)?;
        Ok(self)
    }

    fn rng(seed: u64, i: usize) -> Stream {
        Stream::new(seed, Purpose::Chain, i as u64)
    }

    fn for_each<T: Send>(kernel: &K, energy: &E, points: &mut [T], work: impl Fn(&K, &E, &mut T) + Sync) {
        points.par_iter_mut().for_each(|point| work(kernel, energy, point));
    }
}
