//! An [`EnergyTransformer`] without autograd: energies, their gradient and the second derivatives that training
//! through a descent needs, derived by hand, on slices, in f32 on the CPU.
//!
//! Autograd differentiates the graph of a gradient; here a tangent pass and the tangent of the backward pass give the
//! same numbers (the tests hold them against autograd) with fewer passes over memory, half of the attention's products,
//! and products that use the processor's widest vectors. One sequence at a time, so that its rows stay in the caches;
//! sequences are shared out to as many groups as LibTorch has threads, and the groups' gradients are added in order.

mod candidates;
mod growing;
mod heads;
mod observed;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::Mutex;

use ebm_core::simd::dispatch;
use ebm_core::{Error, Result};
use rayon::prelude::*;
use tch::Tensor;

use self::candidates::{SecondPass, SlopePass, Trace, Work};
pub use self::growing::FusedStream;
use self::heads::Shape;
use self::observed::{ObserveBack, ObservePass, ObservedTrace, ObservedWork};
use self::weights::{Gradients, Weights, values};
use super::{EnergyTransformer, TransformerConfig};

/// The network's weights as slices, and memory that is reused from step to step.
#[derive(Debug)]
pub struct FusedTransformer {
    weights: Weights,
    n_heads: usize,
    work: Mutex<Vec<GroupWork>>,
    traces: Mutex<Vec<Trace>>,
    observed: Mutex<Vec<ObservedTrace>>,
}

#[derive(Debug, Default)]
struct GroupWork {
    candidates: Work,
    observed: ObservedWork,
}

/// The observed stream of a batch.
#[derive(Debug)]
pub struct FusedObserved {
    traces: Vec<ObservedTrace>,
    shape: Shape,
}

/// What an evaluation of energies and gradient leaves for the second derivative.
#[derive(Debug)]
pub struct FusedTrace(Vec<Trace>);

/// The parameters' gradients, one part per group until they are read.
#[derive(Debug)]
pub struct FusedGradients(Vec<Gradients>);

fn taken<T: Default>(pool: &Mutex<Vec<T>>, n: usize) -> Vec<T> {
    let mut pool = pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let kept = pool.len().saturating_sub(n);
    let mut out = pool.split_off(kept);
    out.resize_with(n, T::default);
    out
}

fn put_back<T>(pool: &Mutex<Vec<T>>, items: Vec<T>) {
    pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(items);
}

/// Sequences per group.
fn per_group(n: usize) -> usize {
    let groups = usize::try_from(tch::get_num_threads()).unwrap_or(1).clamp(1, n.max(1));
    n.div_ceil(groups).max(1)
}

fn tensor(values: &[f32], size: &[i64]) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(values)?.f_view(size)?)
}

impl FusedTransformer {
    /// The present weights of `net`; call [`FusedTransformer::refresh`] when they changed.
    ///
    /// # Errors
    /// A network that is not in f32 on the CPU.
    pub fn new(net: &EnergyTransformer, config: &TransformerConfig) -> Result<Self> {
        Ok(Self {
            weights: Weights::of(net, config.norm_eps)?,
            n_heads: config.n_heads,
            work: Mutex::default(),
            traces: Mutex::default(),
            observed: Mutex::default(),
        })
    }

    /// Read the weights again.
    ///
    /// # Errors
    /// As [`FusedTransformer::new`].
    pub fn refresh(&mut self, net: &EnergyTransformer) -> Result<()> {
        self.weights = Weights::of(net, f64::from(self.weights.eps))?;
        Ok(())
    }

    /// Pass the observed stream over `x` `[n, s, width]`; where given, `step_token` `[width]` stands before it.
    ///
    /// # Errors
    /// Another width, or a tensor that is not in f32 on the CPU.
    pub fn observe(&self, x: &Tensor, step_token: Option<&Tensor>) -> Result<FusedObserved> {
        let (n, s, width) = x.size3()?;
        let (n, s, width) = (n as usize, s as usize, width as usize);
        let prefix = usize::from(step_token.is_some());
        let shape = Shape { s, prefix, width: self.weights.width, n_heads: self.n_heads };
        let n_positions = self.weights.cos.len() / (shape.head_dim() / 2);
        if width != shape.width || s + 2 > n_positions {
            let fits = [n, n_positions - 2, shape.width];
            return Err(Error::shape("observed rows", fits, x.size()));
        }
        let mut rows = values(x)?;
        if let Some(token) = step_token {
            let token = values(token)?;
            rows = rows.chunks_exact(s * width).flat_map(|x| token.iter().chain(x)).copied().collect();
        }
        let square = Shape { s: shape.t(), prefix: 0, ..shape };
        let mut traces = taken(&self.observed, n);
        let per = per_group(n);
        let mut work = taken(&self.work, n.div_ceil(per));
        let groups = traces.chunks_mut(per).zip(rows.chunks(per * square.s * width)).zip(&mut work);
        groups.collect::<Vec<_>>().into_par_iter().for_each(|((traces, rows), work)| {
            for (trace, x) in traces.iter_mut().zip(rows.chunks_exact(square.s * width)) {
                let work = &mut work.observed;
                dispatch(ObservePass { weights: &self.weights, shape: square, x, trace, work });
            }
        });
        put_back(&self.work, work);
        Ok(FusedObserved { traces, shape })
    }

    /// Energies `[n, s]` of candidates `e` `[n, s, width]` and the gradient `[n, s, width]` of their sum.
    ///
    /// # Errors
    /// Another shape than was observed.
    pub fn slope(&self, observed: &FusedObserved, e: &Tensor) -> Result<(Tensor, Tensor, FusedTrace)> {
        let shape = observed.shape;
        let (n, rows) = (observed.traces.len(), shape.s * shape.width);
        let size = [n as i64, shape.s as i64, shape.width as i64];
        if e.size() != size {
            return Err(Error::shape("candidates", size, e.size()));
        }
        let e = values(e)?;
        let (mut energy, mut delta) = (vec![0.0; n * shape.s], vec![0.0; n * rows]);
        let mut traces = taken(&self.traces, n);
        let per = per_group(n);
        let mut work = taken(&self.work, n.div_ceil(per));
        let inputs = observed.traces.chunks(per).zip(e.chunks(per * rows));
        let outputs =
            energy.chunks_mut(per * shape.s).zip(delta.chunks_mut(per * rows)).zip(traces.chunks_mut(per));
        let groups = inputs.zip(outputs).zip(&mut work);
        groups.collect::<Vec<_>>().into_par_iter().for_each(
            |(((seen, e), ((energy, delta), traces)), work)| {
                let outputs = energy.chunks_exact_mut(shape.s).zip(delta.chunks_exact_mut(rows)).zip(traces);
                for ((seen, e), ((energy, delta), trace)) in
                    seen.iter().zip(e.chunks_exact(rows)).zip(outputs)
                {
                    let (weights, seen, work) = (&self.weights, &seen.qkv[..], &mut work.candidates);
                    dispatch(SlopePass { weights, shape, seen, e, energy, delta, trace, work });
                }
            },
        );
        put_back(&self.work, work);
        Ok((tensor(&energy, &size[..2])?, tensor(&delta, &size)?, FusedTrace(traces)))
    }

    /// No gradients yet, for a batch of `n` sequences.
    pub fn gradients(&self, n: usize) -> FusedGradients {
        FusedGradients((0..n.div_ceil(per_group(n))).map(|_| Gradients::zeros(&self.weights)).collect())
    }

    /// The derivative of `sum v delta` for the `delta` of [`FusedTransformer::slope`]: by the candidates (returned,
    /// `[n, s, width]`), by the weights (added to `gradients`) and by the observed stream (kept in `observed`).
    ///
    /// # Errors
    /// Another shape than was observed.
    pub fn second(
        &self,
        observed: &mut FusedObserved,
        trace: &FusedTrace,
        v: &Tensor,
        gradients: &mut FusedGradients,
    ) -> Result<Tensor> {
        let shape = observed.shape;
        let (n, rows) = (observed.traces.len(), shape.s * shape.width);
        let size = [n as i64, shape.s as i64, shape.width as i64];
        if v.size() != size {
            return Err(Error::shape("directions", size, v.size()));
        }
        let (v, mut de) = (values(v)?, vec![0.0; n * rows]);
        let per = per_group(n);
        let mut work = taken(&self.work, n.div_ceil(per));
        let inputs = observed.traces.chunks_mut(per).zip(trace.0.chunks(per)).zip(v.chunks(per * rows));
        let outputs = de.chunks_mut(per * rows).zip(&mut gradients.0);
        let groups = inputs.zip(outputs).zip(&mut work);
        groups.collect::<Vec<_>>().into_par_iter().for_each(|(((seen, v), (de, gradients)), work)| {
            let (seen, traces) = seen;
            let sequences =
                seen.iter_mut().zip(traces).zip(v.chunks_exact(rows)).zip(de.chunks_exact_mut(rows));
            for (((seen, trace), v), de) in sequences {
                let ObservedTrace { qkv, qkv_bar: seen_bar, .. } = seen;
                let (weights, work) = (&self.weights, &mut work.candidates);
                let seen = &qkv[..];
                dispatch(SecondPass { weights, shape, seen, v, trace, work, gradients, seen_bar, de });
            }
        });
        put_back(&self.work, work);
        tensor(&de, &size)
    }

    /// The derivative by the observed rows `[n, s, width]` and by the step token `[width]`, where there is one; the
    /// weights' is added to `gradients`. It uses up what [`FusedTransformer::second`] kept in `observed`.
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn observe_back(
        &self,
        observed: &mut FusedObserved,
        gradients: &mut FusedGradients,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let shape = observed.shape;
        let square = Shape { s: shape.t(), prefix: 0, ..shape };
        let (n, rows) = (observed.traces.len(), square.s * shape.width);
        let mut dx = vec![0.0; n * rows];
        let per = per_group(n);
        let mut work = taken(&self.work, n.div_ceil(per));
        let outputs = dx.chunks_mut(per * rows).zip(&mut gradients.0);
        let groups = observed.traces.chunks_mut(per).zip(outputs).zip(&mut work);
        groups.collect::<Vec<_>>().into_par_iter().for_each(|((traces, (dx, gradients)), work)| {
            for (trace, dx) in traces.iter_mut().zip(dx.chunks_exact_mut(rows)) {
                let (weights, work) = (&self.weights, &mut work.observed);
                dispatch(ObserveBack { weights, shape: square, trace, work, gradients, dx });
            }
        });
        put_back(&self.work, work);
        let dx = tensor(&dx, &[n as i64, square.s as i64, shape.width as i64])?;
        if shape.prefix == 0 {
            return Ok((dx, None));
        }
        let token = dx.f_select(1, 0)?.f_sum_dim_intlist([0i64].as_slice(), false, dx.kind())?;
        Ok((dx.f_narrow(1, 1, shape.s as i64)?, Some(token)))
    }

    /// The sums of the groups' gradients, named as the network's parameters below its path.
    ///
    /// # Errors
    /// When LibTorch cannot allocate.
    pub fn named(&self, gradients: FusedGradients) -> Result<Vec<(String, Tensor)>> {
        let mut parts = gradients.0.into_iter();
        let mut sum = parts.next().unwrap_or_else(|| Gradients::zeros(&self.weights));
        parts.for_each(|mut part| sum.add(&mut part));
        sum.named(&self.weights)
    }

    /// Give memory back for the next step.
    pub fn reuse(&self, trace: FusedTrace) {
        put_back(&self.traces, trace.0);
    }

    /// Give memory back for the next step.
    pub fn reuse_observed(&self, observed: FusedObserved) {
        put_back(&self.observed, observed.traces);
    }
}
