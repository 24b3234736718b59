//! Attention of one sequence on slices: observed rows on observed rows, and candidates on observed rows and
//! themselves; with adjoint, tangent, and tangent of the adjoint.
//!
//! Rows are taken in blocks, and a block only meets the columns that its last row may look at: about half of the
//! products that a full square takes. Queries come scaled by `1 / sqrt(d)`.

use ebm_core::simd::exp_f32;

use super::product::{Into, Part, product};
use super::rows::dot;

const BLOCK: usize = 64;

/// Sizes of one sequence: candidates `s`, observed rows `t = s + prefix`, width `d`, heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub s: usize,
    pub prefix: usize,
    pub width: usize,
    pub n_heads: usize,
}

impl Shape {
    #[inline(always)]
    pub fn t(&self) -> usize {
        self.s + self.prefix
    }

    #[inline(always)]
    pub fn head_dim(&self) -> usize {
        self.width / self.n_heads
    }

    /// Numbers in the weights of all heads: rows of `t` observed columns and one of its own.
    pub fn n_weights(&self) -> usize {
        self.n_heads * self.s * (self.t() + 1)
    }

    /// Row blocks, with the number of columns that a block's last row may look at.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { s, prefix, .. } = *self;
        (0..s).step_by(BLOCK).map(move |from| {
            let to = (from + BLOCK).min(s);
            (from, to, to + prefix)
        })
    }
}

/// Rows of `[q, k, v]`, `3 width` apart.
#[derive(Clone, Copy)]
pub struct Qkv<'a> {
    data: &'a [f32],
    width: usize,
    d: usize,
}

impl<'a> Qkv<'a> {
    #[inline(always)]
    pub fn new(data: &'a [f32], shape: &Shape) -> Self {
        Self { data, width: shape.width, d: shape.head_dim() }
    }

    /// Head `h` of queries (0), keys (1) or values (2) of row `i`, and on.
    #[inline(always)]
    fn part(&self, which: usize, h: usize, i: usize) -> Part<'a> {
        Part::rows(&self.data[i * 3 * self.width + which * self.width + h * self.d..], 3 * self.width)
    }

    #[inline(always)]
    fn row(&self, which: usize, h: usize, i: usize) -> &'a [f32] {
        let from = i * 3 * self.width + which * self.width + h * self.d;
        &self.data[from..from + self.d]
    }
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;

#[inline(always)]
fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}

/// Softmax over the first `seen` entries of `w` and, where there is one, its last; what lies between is set to 0 up to
/// `columns`.
#[inline(always)]
fn softmax(w: &mut [f32], seen: usize, columns: usize, own: Option<f32>) -> f32 {
    let mut most = own.unwrap_or(f32::NEG_INFINITY);
    for x in &w[..seen] {
        most = if *x > most { *x } else { most };
    }
    let mut own = own.map_or(0.0, |own| exp_f32(own - most));
    for x in &mut w[..seen] {
        *x = exp_f32(*x - most);
    }
    let ones = [1.0f32; BLOCK];
    let mut sum = own;
    for part in w[..seen].chunks(BLOCK) {
        sum += dot(part, &ones[..part.len()]);
    }
    let scale = 1.0 / sum;
    w[..seen].iter_mut().for_each(|x| *x *= scale);
    w[seen..columns].fill(0.0);
    own *= scale;
    own
}

/// Candidates: `weights` and the output `out` `[s, width]` from their own `own` and the observed `seen`.
#[inline(always)]
pub fn predict(shape: &Shape, own: Qkv<'_>, seen: Qkv<'_>, weights: &mut [f32], out: &mut [f32]) {
    let (d, ld, width) = (shape.head_dim(), shape.t() + 1, shape.width);
    for h in 0..shape.n_heads {
        let w = &mut weights[h * shape.s * ld..(h + 1) * shape.s * ld];
        for (from, to, columns) in shape.blocks() {
            let n = to - from;
            product(
                &mut w[from * ld..],
                ld,
                Into::Set,
                [n, d, columns],
                own.part(Q, h, from),
                seen.part(K, h, 0).t(),
            );
            for i in from..to {
                let row = &mut w[i * ld..(i + 1) * ld];
                let score = dot(own.row(Q, h, i), own.row(K, h, i));
                row[ld - 1] = softmax(row, i + 1 + shape.prefix, columns, Some(score));
            }
            let out = &mut out[from * width + h * d..];
            product(
                out,
                width,
                Into::Set,
                [n, columns, d],
                Part::rows(&w[from * ld..], ld),
                seen.part(V, h, 0),
            );
            for i in from..to {
                add_scaled(&mut out[(i - from) * width..][..d], w[i * ld + ld - 1], own.row(V, h, i));
            }
        }
    }
}

/// Adjoint of [`predict`] to the candidates: `bar` `[q, k, v]` from `bar_out`, and `spread`, the adjoints of the weights
/// less their mean under the weights, which the second derivative needs again.
#[inline(always)]
pub fn predict_adjoint(
    shape: &Shape,
    own: Qkv<'_>,
    seen: Qkv<'_>,
    [weights, out, bar_out]: [&[f32]; 3],
    spread: &mut [f32],
    bar: &mut [f32],
    scratch: &mut [f32],
) {
    let (d, ld, width) = (shape.head_dim(), shape.t() + 1, shape.width);
    for h in 0..shape.n_heads {
        let w = &weights[h * shape.s * ld..];
        let spread = &mut spread[h * shape.s * ld..(h + 1) * shape.s * ld];
        for (from, to, columns) in shape.blocks() {
            let n = to - from;
            let at = from * width + h * d;
            let (bar_rows, size) = (Part::rows(&bar_out[at..], width), [n, d, columns]);
            product(&mut spread[from * ld..], ld, Into::Set, size, bar_rows, seen.part(V, h, 0).t());
            for i in from..to {
                let (at, row) = (i * width + h * d, i * ld..(i + 1) * ld);
                let (w, spread) = (&w[row.clone()], &mut spread[row]);
                let (out, bar_out) = (&out[at..at + d], &bar_out[at..at + d]);
                let mean = dot(out, bar_out);
                let s_bar = &mut scratch[(i - from) * ld..][..columns];
                for ((s_bar, spread), w) in s_bar.iter_mut().zip(&mut spread[..columns]).zip(w) {
                    *spread -= mean;
                    *s_bar = *spread * w;
                }
                spread[ld - 1] = dot(bar_out, own.row(V, h, i)) - mean;
                let (own_weight, own_bar) = (w[ld - 1], w[ld - 1] * spread[ld - 1]);
                let row = &mut bar[i * 3 * width..][..3 * width];
                let (q, k) = (own.row(Q, h, i), own.row(K, h, i));
                for c in 0..d {
                    row[h * d + c] = own_bar * k[c];
                    row[width + h * d + c] = own_bar * q[c];
                    row[2 * width + h * d + c] = own_weight * bar_out[c];
                }
            }
            let bar = &mut bar[from * 3 * width + h * d..];
            product(bar, 3 * width, Into::Add, [n, columns, d], Part::rows(scratch, ld), seen.part(K, h, 0));
        }
    }
}

/// Tangent of [`predict`] along `d_own`: `d_weights` and `d_out`.
#[inline(always)]
pub fn predict_tangent(
    shape: &Shape,
    [own, d_own, seen]: [Qkv<'_>; 3],
    weights: &[f32],
    d_weights: &mut [f32],
    d_out: &mut [f32],
) {
    let (d, ld, width) = (shape.head_dim(), shape.t() + 1, shape.width);
    for h in 0..shape.n_heads {
        let w = &weights[h * shape.s * ld..];
        let dw = &mut d_weights[h * shape.s * ld..(h + 1) * shape.s * ld];
        for (from, to, columns) in shape.blocks() {
            let n = to - from;
            let size = [n, d, columns];
            product(
                &mut dw[from * ld..],
                ld,
                Into::Set,
                size,
                d_own.part(Q, h, from),
                seen.part(K, h, 0).t(),
            );
            for i in from..to {
                let (w, dw) = (&w[i * ld..(i + 1) * ld], &mut dw[i * ld..(i + 1) * ld]);
                let own_score =
                    dot(d_own.row(Q, h, i), own.row(K, h, i)) + dot(own.row(Q, h, i), d_own.row(K, h, i));
                let mean = dot(&w[..columns], &dw[..columns]) + w[ld - 1] * own_score;
                for (dw, w) in dw[..columns].iter_mut().zip(w) {
                    *dw = w * (*dw - mean);
                }
                dw[ld - 1] = w[ld - 1] * (own_score - mean);
            }
            let out = &mut d_out[from * width + h * d..];
            product(
                out,
                width,
                Into::Set,
                [n, columns, d],
                Part::rows(&dw[from * ld..], ld),
                seen.part(V, h, 0),
            );
            for i in from..to {
                let out = &mut out[(i - from) * width..][..d];
                add_scaled(out, dw[i * ld + ld - 1], own.row(V, h, i));
                add_scaled(out, w[i * ld + ld - 1], d_own.row(V, h, i));
            }
        }
    }
}

/// What the first derivative and the tangent left of one layer's attention.
pub struct Second<'a> {
    pub own: Qkv<'a>,
    pub d_own: Qkv<'a>,
    pub seen: Qkv<'a>,
    pub weights: &'a [f32],
    pub d_weights: &'a [f32],
    pub spread: &'a [f32],
    pub out: &'a [f32],
    pub d_out: &'a [f32],
    pub bar_out: &'a [f32],
    pub dbar_out: &'a [f32],
}

impl Second<'_> {
    /// Tangent of the adjoint: `dbar` `[q, k, v]` of the candidates, and added to `seen_bar` what the observed keys and
    /// values get.
    #[inline(always)]
    pub fn run(&self, shape: &Shape, dbar: &mut [f32], seen_bar: &mut [f32], scratch: &mut [f32]) {
        let (d, ld, width) = (shape.head_dim(), shape.t() + 1, shape.width);
        let (own, d_own, seen) = (self.own, self.d_own, self.seen);
        let (s_bar, ds_bar) = scratch.split_at_mut(BLOCK * ld);
        for h in 0..shape.n_heads {
            let head = h * shape.s * ld;
            for (from, to, columns) in shape.blocks() {
                let n = to - from;
                let at = from * width + h * d;
                let dbar_rows = Part::rows(&self.dbar_out[at..], width);
                product(ds_bar, ld, Into::Set, [n, d, columns], dbar_rows, seen.part(V, h, 0).t());
                for i in from..to {
                    let (at, row) = (i * width + h * d, head + i * ld..head + (i + 1) * ld);
                    let (w, dw) = (&self.weights[row.clone()], &self.d_weights[row.clone()]);
                    let spread = &self.spread[row];
                    let (out, d_out) = (&self.out[at..at + d], &self.d_out[at..at + d]);
                    let (bar_out, dbar_out) = (&self.bar_out[at..at + d], &self.dbar_out[at..at + d]);
                    let d_mean = dot(dbar_out, out) + dot(bar_out, d_out);
                    let block = (i - from) * ld..(i - from) * ld + columns;
                    let (s_bar, ds_bar) = (&mut s_bar[block.clone()], &mut ds_bar[block]);
                    for j in 0..columns {
                        s_bar[j] = w[j] * spread[j];
                        ds_bar[j] = dw[j] * spread[j] + w[j] * (ds_bar[j] - d_mean);
                    }
                    let (v, dv) = (own.row(V, h, i), d_own.row(V, h, i));
                    let (u, du) = (w[ld - 1], dw[ld - 1]);
                    let own_bar = u * spread[ld - 1];
                    let d_own_bar = du * spread[ld - 1] + u * (dot(dbar_out, v) + dot(bar_out, dv) - d_mean);
                    let (q, k) = (own.row(Q, h, i), own.row(K, h, i));
                    let (dq, dk) = (d_own.row(Q, h, i), d_own.row(K, h, i));
                    let row = &mut dbar[i * 3 * width..][..3 * width];
                    for c in 0..d {
                        row[h * d + c] = d_own_bar * k[c] + own_bar * dk[c];
                        row[width + h * d + c] = d_own_bar * q[c] + own_bar * dq[c];
                        row[2 * width + h * d + c] = du * bar_out[c] + u * dbar_out[c];
                    }
                }
                let (s_bar, ds_bar) = (Part::rows(s_bar, ld), Part::rows(ds_bar, ld));
                let dbar = &mut dbar[from * 3 * width + h * d..];
                product(dbar, 3 * width, Into::Add, [n, columns, d], ds_bar, seen.part(K, h, 0));
                let size = [columns, n, d];
                let keys = &mut seen_bar[width + h * d..];
                product(keys, 3 * width, Into::Add, size, ds_bar.t(), own.part(Q, h, from));
                product(keys, 3 * width, Into::Add, size, s_bar.t(), d_own.part(Q, h, from));
                let values = &mut seen_bar[2 * width + h * d..];
                let (w, dw) = (&self.weights[head + from * ld..], &self.d_weights[head + from * ld..]);
                product(
                    values,
                    3 * width,
                    Into::Add,
                    size,
                    Part::rows(dw, ld).t(),
                    Part::rows(&self.bar_out[at..], width),
                );
                product(values, 3 * width, Into::Add, size, Part::rows(w, ld).t(), dbar_rows);
            }
        }
    }
}

/// Observed rows on observed rows: here `s` is the number of observed rows and `prefix` is 0; weights have a last
/// column that is not used.
#[inline(always)]
pub fn observe(shape: &Shape, rows: Qkv<'_>, weights: &mut [f32], out: &mut [f32]) {
    let (d, ld, width) = (shape.head_dim(), shape.t() + 1, shape.width);
    for h in 0..shape.n_heads {
        let w = &mut weights[h * shape.s * ld..(h + 1) * shape.s * ld];
        for (from, to, columns) in shape.blocks() {
            let n = to - from;
            product(
                &mut w[from * ld..],
                ld,
                Into::Set,
                [n, d, columns],
                rows.part(Q, h, from),
                rows.part(K, h, 0).t(),
            );
            for i in from..to {
                let row = &mut w[i * ld..(i + 1) * ld];
                row[ld - 1] = softmax(row, i + 1, columns, None);
            }
            let out = &mut out[from * width + h * d..];
            product(
                out,
                width,
                Into::Set,
                [n, columns, d],
                Part::rows(&w[from * ld..], ld),
                rows.part(V, h, 0),
            );
        }
    }
}

/// Adjoint of [`observe`]: adds to `bar` `[q, k, v]` what `bar_out` gives.
#[inline(always)]
pub fn observe_adjoint(
    shape: &Shape,
    rows: Qkv<'_>,
    [weights, out, bar_out]: [&[f32]; 3],
    bar: &mut [f32],
    scratch: &mut [f32],
) {
    let (d, ld, width) = (shape.head_dim(), shape.t() + 1, shape.width);
    for h in 0..shape.n_heads {
        let w = &weights[h * shape.s * ld..];
        for (from, to, columns) in shape.blocks() {
            let n = to - from;
            let at = from * width + h * d;
            let bar_rows = Part::rows(&bar_out[at..], width);
            product(scratch, ld, Into::Set, [n, d, columns], bar_rows, rows.part(V, h, 0).t());
            for i in from..to {
                let at = i * width + h * d;
                let mean = dot(&out[at..at + d], &bar_out[at..at + d]);
                let s_bar = &mut scratch[(i - from) * ld..][..columns];
                for (s_bar, w) in s_bar.iter_mut().zip(&w[i * ld..]) {
                    *s_bar = w * (*s_bar - mean);
                }
            }
            let (s_bar, size) = (Part::rows(scratch, ld), [columns, n, d]);
            let queries = &mut bar[from * 3 * width + h * d..];
            product(queries, 3 * width, Into::Add, [n, columns, d], s_bar, rows.part(K, h, 0));
            product(&mut bar[width + h * d..], 3 * width, Into::Add, size, s_bar.t(), rows.part(Q, h, from));
            let w = Part::rows(&w[from * ld..], ld).t();
            product(&mut bar[2 * width + h * d..], 3 * width, Into::Add, size, w, bar_rows);
        }
    }
}

/// Numbers of scratch that the functions here need.
pub fn scratch_len(shape: &Shape) -> usize {
    2 * BLOCK * (shape.t() + 1)
}
