//! An energy's constants as tensors, made once for every (kind, device) that a point arrives with.
//!
//! Copying them at every step would make the step wait for a device. A `Tensor` is `Send` but not `Sync`; behind
//! a lock that is held for the lookup alone, the energy stays `Sync` and works on host threads as before.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::Result;

/// See the module. A clone starts empty.
#[derive(Default)]
pub(super) struct Constants(Mutex<Vec<(Kind, Device, Vec<Tensor>)>>);

impl Constants {
    /// The tensors that `make` gives (f64, on the CPU), in the kind and on the device of `x`.
    pub(super) fn like<const N: usize>(
        &self,
        x: &Tensor,
        make: impl FnOnce() -> Result<[Tensor; N]>,
    ) -> Result<[Tensor; N]> {
        let (kind, device) = (x.kind(), x.device());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match known.iter().position(|(k, d, _)| (*k, *d) == (kind, device)) {
            Some(at) => at,
            None => {
                let tensors: Result<Vec<_>> =
                    make()?.iter().map(|t| Ok(t.f_to_device(device)?.f_to_kind(kind)?)).collect();
                known.push((kind, device, tensors?));
                known.len() - 1
            }
        };
        Ok(std::array::from_fn(|i| known[at].2[i].shallow_clone()))
    }
}

/// Numbers as a f64 tensor of `shape` on the CPU.
pub(super) fn tensor(numbers: &[f64], shape: &[i64]) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(numbers)?.f_reshape(shape)?)
}

impl Clone for Constants {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Constants")
    }
}
