//! Random tensors from our counter-based streams: on the CPU written straight into the tensor's memory.
//!
//! LibTorch's own CPU generator is one per process, serial, and its state cannot be saved. Ours is positioned by
//! (seed, purpose, step, call). On CUDA the device's generator is seeded from those four under one lock (this
//! path was never run here).

use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::random::philox::{LANES, philox4x32};
use crate::random::{CHUNK_F32, CHUNK_F64, Domain, Purpose, counter_words, key_words};
use crate::simd::{Generator, Position};
use crate::{Error, Result, StepRng};

/// Chunks of normals made at a time.
const BATCH: usize = 4;

/// One stream per (seed, purpose) for a whole batch, positioned by (step, call).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRng {
    seed: u64,
    purpose: Purpose,
    first_step: u64,
    step: u64,
    call: u32,
}

impl TensorRng {
    /// The stream of `purpose` under `seed`, at step 0.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose, first_step: 0, step: 0, call: 0 }
    }

    /// The same stream with every step counted from `first_step`: short chains inside training step `i` take
    /// `from_step(i * n_steps)` and never see the same numbers twice.
    pub fn from_step(mut self, first_step: u64) -> Self {
        self.first_step = first_step;
        self.step = first_step;
        self
    }

    /// Normals with standard deviation `sigma`, of `size`. `kind` is Float or Double (others go through Float).
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn normal(&mut self, size: &[i64], sigma: f64, kind: Kind, device: Device) -> Result<Tensor> {
        if device != Device::Cpu {
            return self.on_device(|| Ok(Tensor::f_randn(size, (kind, device))?.f_mul_scalar(sigma)?));
        }
        let make_kind = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let tensor = Tensor::f_empty(size, (make_kind, Device::Cpu))?;
        let counter = self.next_call(Domain::TensorNormal);
        let at = |batch: usize| Position {
            counter: u64::from(counter[1]) << 32 | (batch * BATCH * LANES) as u64,
            stream: [counter[2], counter[3]],
            key: key_words(self.seed),
        };
        let generator = Generator::get();
        if make_kind == Kind::Double {
            fill(
                &tensor,
                |batch, out: &mut [f64]| {
                    let mut values = [[0.0; CHUNK_F64]; BATCH];
                    let n_chunks = out.len().div_ceil(CHUNK_F64);
                    (generator.normals_f64)(at(batch), &mut values[..n_chunks]);
                    out.iter_mut().zip(values.as_flattened()).for_each(|(o, z)| *o = sigma * z);
                },
                BATCH * CHUNK_F64,
            );
        } else {
            let sigma = sigma as f32;
            fill(
                &tensor,
                |batch, out: &mut [f32]| {
                    let mut values = [[0.0; CHUNK_F32]; BATCH];
                    let n_chunks = out.len().div_ceil(CHUNK_F32);
                    (generator.normals_f32)(at(batch), &mut values[..n_chunks]);
                    out.iter_mut().zip(values.as_flattened()).for_each(|(o, z)| *o = sigma * z);
                },
                BATCH * CHUNK_F32,
            );
        }
        Ok(if kind == make_kind { tensor } else { tensor.f_to_kind(kind)? })
    }

    /// Uniform numbers on `[low, high)`, of `size`; 24 random bits in Float, 53 in Double.
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn uniform(
        &mut self,
        size: &[i64],
        low: f64,
        high: f64,
        kind: Kind,
        device: Device,
    ) -> Result<Tensor> {
        let width = high - low;
        if device != Device::Cpu {
            return self.on_device(|| {
                Ok(Tensor::f_rand(size, (kind, device))?.f_mul_scalar(width)?.f_add_scalar(low)?)
            });
        }
        let make_kind = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let tensor = Tensor::f_empty(size, (make_kind, Device::Cpu))?;
        let counter = self.next_call(Domain::TensorUniform);
        let key = key_words(self.seed);
        let words = |chunk| philox4x32([chunk as u32, counter[1], counter[2], counter[3]], key);
        if make_kind == Kind::Double {
            fill(
                &tensor,
                |chunk, out: &mut [f64]| {
                    let w = words(chunk);
                    for (o, pair) in out.iter_mut().zip(w.chunks_exact(2)) {
                        let bits = u64::from(pair[0]) << 32 | u64::from(pair[1]);
                        *o = low + width * ((bits >> 11) as f64 * 2f64.powi(-53));
                    }
                },
                2,
            );
        } else {
            let (low, width) = (low as f32, width as f32);
            fill(
                &tensor,
                |chunk, out: &mut [f32]| {
                    for (o, w) in out.iter_mut().zip(words(chunk)) {
                        *o = low + width * ((w >> 8) as f32 * 2f32.powi(-24));
                    }
                },
                4,
            );
        }
        Ok(if kind == make_kind { tensor } else { tensor.f_to_kind(kind)? })
    }

    /// Philox's counter for the next call; its first word is left 0, for the position within the tensor.
    fn next_call(&mut self, domain: Domain) -> [u32; 4] {
        let counter = counter_words(u64::from(self.call) << 32, self.step, domain, self.purpose);
        self.call += 1;
        counter
    }

    fn on_device(&mut self, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let counter = self.next_call(Domain::TensorNormal);
        let words = philox4x32(counter, key_words(self.seed));
        let _guard =
            ONE_AT_A_TIME.lock().map_err(|_| Error::user("another thread panicked while drawing"))?;
        tch::manual_seed(i64::from(words[0]) << 31 | i64::from(words[1] >> 1));
        make()
    }
}

impl StepRng for TensorRng {
    fn begin_step(&mut self, step: u64) {
        self.step = self.first_step + step;
        self.call = 0;
    }

    fn shared_uniform(&mut self) -> f64 {
        let words = philox4x32(self.next_call(Domain::Uniform), key_words(self.seed));
        f64::from(words[0]) * 2f64.powi(-32)
    }

    fn position(&self) -> [u64; 3] {
        [0; 3]
    }

    fn go_to(&mut self, _position: [u64; 3]) {}
}

/// Call `write(chunk number, its part of the memory)` over a fresh contiguous CPU tensor.
fn fill<T>(tensor: &Tensor, write: impl Fn(usize, &mut [T]), chunk: usize) {
    let n = tensor.numel();
    if n == 0 {
        return;
    }
    // SAFETY: the tensor was allocated here, contiguous, on the CPU, with `n` elements of the size of `T` (the
    // callers pair Float with f32 and Double with f64); nobody else has a handle to it yet.
    let memory = unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), n) };
    for (i, part) in memory.chunks_mut(chunk).enumerate() {
        write(i, part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> TensorRng {
        TensorRng::new(9, Purpose::User)
    }

    #[test]
    fn moments_and_bounds() {
        for kind in [Kind::Float, Kind::Double] {
            let n = 200_000;
            let z = rng().normal(&[n], 2.0, kind, Device::Cpu).unwrap();
            let se = 2.0 / (n as f64).sqrt();
            assert!(z.mean(Kind::Double).double_value(&[]).abs() < 5.0 * se);
            let variance = z.square().mean(Kind::Double).double_value(&[]);
            assert!((variance - 4.0).abs() < 5.0 * 4.0 * (2.0 / n as f64).sqrt());
            let u = rng().uniform(&[n], -1.0, 3.0, kind, Device::Cpu).unwrap();
            assert!(u.min().double_value(&[]) >= -1.0 && u.max().double_value(&[]) < 3.0);
            let mean = u.mean(Kind::Double).double_value(&[]);
            assert!((mean - 1.0).abs() < 5.0 * 4.0 / (12.0 * n as f64).sqrt());
        }
    }

    #[test]
    fn numbers_depend_on_step_and_call_and_on_nothing_else() {
        let draw = |rng: &mut TensorRng| rng.normal(&[70], 1.0, Kind::Float, Device::Cpu).unwrap();
        let (mut a, mut b) = (rng(), rng());
        a.begin_step(5);
        b.begin_step(4);
        let (a1, a2, b1) = (draw(&mut a), draw(&mut a), draw(&mut b));
        assert!(a1 != a2 && a1 != b1);
        // Back to the same place: the same numbers; a longer tensor begins with them.
        b.begin_step(5);
        assert_eq!(draw(&mut b), a1);
        b.begin_step(5);
        let longer = b.normal(&[3, 50], 1.0, Kind::Float, Device::Cpu).unwrap();
        assert_eq!(longer.view(-1).narrow(0, 0, 70), a1);
        let u = a.shared_uniform();
        assert!((0.0..1.0).contains(&u) && u != a.shared_uniform());
    }
}
