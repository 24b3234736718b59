//! An observed stream that grows by a row at a time, and the one candidate after it: what generation needs.
//!
//! A token's row looks at the observed rows and at itself, from the place after them, and so does a candidate: the
//! pass is the same, and the keys and values that it leaves are those that join the stream.

use ebm_core::simd::dispatch;
use ebm_core::{Error, Result};
use tch::Tensor;

use super::candidates::{SlopePass, Trace};
use super::heads::Shape;
use super::weights::values;
use super::{FusedTransformer, put_back, taken, tensor};

/// Keys and values of one sequence that grows.
#[derive(Debug)]
pub struct FusedStream {
    /// Each layer's `[q, k, v]`, rows `3 width` apart; nobody reads the queries.
    seen: Vec<Vec<f32>>,
    rows: usize,
}

impl FusedStream {
    /// Observed rows, with the step token.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl FusedTransformer {
    /// Pass the observed stream over `x` `[1, s, width]`; where given, `step_token` `[width]` stands before it.
    ///
    /// # Errors
    /// As [`FusedTransformer::observe`]; no row, or more than one sequence.
    pub fn stream(&self, x: &Tensor, step_token: Option<&Tensor>) -> Result<FusedStream> {
        let (n, s, _) = x.size3()?;
        if n != 1 || s == 0 {
            return Err(Error::shape("one sequence of at least one row", [1, 1], [n, s]));
        }
        let mut observed = self.observe(x, step_token)?;
        let seen = observed.traces.first_mut().map(|trace| std::mem::take(&mut trace.qkv));
        let stream = FusedStream { seen: seen.unwrap_or_default(), rows: observed.shape.t() };
        self.reuse_observed(observed);
        Ok(stream)
    }

    /// Energy `[1, 1]` of the candidate `e` `[1, 1, width]` after all rows, and its gradient `[1, 1, width]`.
    ///
    /// # Errors
    /// Another shape, or a stream that fills the positions.
    pub fn slope_after(&self, stream: &FusedStream, e: &Tensor) -> Result<(Tensor, Tensor)> {
        let (energy, delta, trace) = self.row_after(stream, e)?;
        put_back(&self.traces, vec![trace]);
        Ok((tensor(&[energy], &[1, 1])?, tensor(&delta, &e.size())?))
    }

    /// Let the stream grow by the row `x` `[1, 1, width]`.
    ///
    /// # Errors
    /// As [`FusedTransformer::slope_after`].
    pub fn observe_more(&self, stream: &mut FusedStream, x: &Tensor) -> Result<()> {
        let (_, _, trace) = self.row_after(stream, x)?;
        for (seen, row) in stream.seen.iter_mut().zip(trace.qkv()) {
            seen.extend_from_slice(row);
        }
        stream.rows += 1;
        put_back(&self.traces, vec![trace]);
        Ok(())
    }

    fn row_after(&self, stream: &FusedStream, e: &Tensor) -> Result<(f32, Vec<f32>, Trace)> {
        let width = self.weights.width;
        // One candidate that looks at all rows.
        let shape = Shape { s: 1, prefix: stream.rows - 1, width, n_heads: self.n_heads };
        let n_positions = self.weights.cos.len() / (shape.head_dim() / 2);
        if e.size() != [1, 1, width as i64] {
            return Err(Error::shape("a row after the stream", [1, 1, width], e.size()));
        }
        if stream.rows >= n_positions {
            let most = format!("at most {}", n_positions - 1);
            return Err(Error::bad_value("rows of a stream", stream.rows, most, "begin it anew"));
        }
        let (e, mut energy, mut delta) = (values(e)?, [0.0], vec![0.0; width]);
        let mut trace = taken(&self.traces, 1).pop().unwrap_or_default();
        let mut work = taken(&self.work, 1);
        if let Some(work) = work.first_mut() {
            let (weights, seen, work) = (&self.weights, &stream.seen[..], &mut work.candidates);
            let (energy, delta, trace) = (&mut energy[..], &mut delta[..], &mut trace);
            dispatch(SlopePass { weights, shape, seen, e: &e, energy, delta, trace, work });
        }
        put_back(&self.work, work);
        Ok((energy[0], delta, trace))
    }
}
