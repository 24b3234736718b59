//! The elementwise parts of a block over rows of one sequence: normalisation, rotation, the gated layer; each with
//! its adjoint, its tangent along a direction, and the tangent of its adjoint.
//!
//! Normalisation: with `r = (mean x^2 + eps)^(-1/2)` and `n = r x`, the adjoint of `z` is `r (z - n (n.z) / D)`, the
//! tangent of `dx` the same map, and `dr = -r^2 (n.dx) / D`.

use ebm_core::simd::exp_f32;

const LANES: usize = 16;

/// `sum a b`, in sixteen sums side by side.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Normalise rows `x` of width `d`: `n`, `r`, and `a = n * weight`.
#[inline(always)]
pub fn norm(x: &[f32], weight: &[f32], eps: f32, n: &mut [f32], r: &mut [f32], a: &mut [f32]) {
    let d = weight.len();
    for (((x, n), a), r) in x.chunks_exact(d).zip(n.chunks_exact_mut(d)).zip(a.chunks_exact_mut(d)).zip(r) {
        *r = 1.0 / (dot(x, x) / d as f32 + eps).sqrt();
        for i in 0..d {
            n[i] = x[i] * *r;
            a[i] = n[i] * weight[i];
        }
    }
}

/// `out = n * weight`, row by row.
#[inline(always)]
pub fn weigh(n: &[f32], weight: &[f32], out: &mut [f32]) {
    let d = weight.len();
    for (n, out) in n.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
        for i in 0..d {
            out[i] = n[i] * weight[i];
        }
    }
}

/// Rows that a normalisation left: `n` and `r`.
#[derive(Clone, Copy)]
pub struct Normed<'a> {
    pub n: &'a [f32],
    pub r: &'a [f32],
    pub weight: &'a [f32],
}

impl Normed<'_> {
    /// Tangent along `dx`: `dn`, `t = (n.dx) / D` (from which `dr = -r^2 t`), and `da = dn * weight`.
    #[inline(always)]
    pub fn tangent(self, dx: &[f32], dn: &mut [f32], t: &mut [f32], da: &mut [f32]) {
        let d = self.weight.len();
        let rows = self.n.chunks_exact(d).zip(self.r).zip(dx.chunks_exact(d)).zip(t);
        for ((((n, r), dx), t), (dn, da)) in rows.zip(dn.chunks_exact_mut(d).zip(da.chunks_exact_mut(d))) {
            *t = dot(n, dx) / d as f32;
            for i in 0..d {
                dn[i] = r * (dx[i] - n[i] * *t);
                da[i] = dn[i] * self.weight[i];
            }
        }
    }

    /// Adjoint: adds to `out` what the adjoint `bar` of `a` gives.
    #[inline(always)]
    pub fn adjoint(self, bar: &[f32], out: &mut [f32]) {
        let d = self.weight.len();
        let rows = self.n.chunks_exact(d).zip(self.r).zip(bar.chunks_exact(d)).zip(out.chunks_exact_mut(d));
        for (((n, r), bar), out) in rows {
            let mut product = [0.0f32; LANES];
            let mut p = 0.0;
            let whole = d - d % LANES;
            for c in (0..whole).step_by(LANES) {
                for i in 0..LANES {
                    product[i] += n[c + i] * bar[c + i] * self.weight[c + i];
                }
            }
            for i in whole..d {
                p += n[i] * bar[i] * self.weight[i];
            }
            p = (p + product.iter().sum::<f32>()) / d as f32;
            for i in 0..d {
                out[i] += r * (bar[i] * self.weight[i] - n[i] * p);
            }
        }
    }

    /// Adds to the weight's gradient what `bar` gives: `sum bar n`.
    #[inline(always)]
    pub fn weight_gradient(self, bar: &[f32], gradient: &mut [f32]) {
        let d = self.weight.len();
        for (n, bar) in self.n.chunks_exact(d).zip(bar.chunks_exact(d)) {
            for i in 0..d {
                gradient[i] += bar[i] * n[i];
            }
        }
    }

    /// Tangent of the adjoint: adds to `out` the change of what [`Normed::adjoint`] adds, where `dn` and `t` are the
    /// tangent of the rows and `dbar` that of `bar`; and to `gradient` the change of the weight's gradient.
    #[inline(always)]
    pub fn adjoint_tangent(
        self,
        [bar, dbar]: [&[f32]; 2],
        [dn, t]: [&[f32]; 2],
        out: &mut [f32],
        gradient: &mut [f32],
    ) {
        let d = self.weight.len();
        for (row, out) in out.chunks_exact_mut(d).enumerate() {
            let at = row * d..(row + 1) * d;
            let (n, dn, bar, dbar) = (&self.n[at.clone()], &dn[at.clone()], &bar[at.clone()], &dbar[at]);
            let (r, t) = (self.r[row], t[row]);
            let (mut p_sums, mut q_sums) = ([0.0f32; LANES], [0.0f32; LANES]);
            let whole = d - d % LANES;
            for c in (0..whole).step_by(LANES) {
                for i in 0..LANES {
                    let w = self.weight[c + i];
                    p_sums[i] += n[c + i] * bar[c + i] * w;
                    q_sums[i] += (dn[c + i] * bar[c + i] + n[c + i] * dbar[c + i]) * w;
                }
            }
            let (mut p, mut q) = (p_sums.iter().sum::<f32>(), q_sums.iter().sum::<f32>());
            for i in whole..d {
                p += n[i] * bar[i] * self.weight[i];
                q += (dn[i] * bar[i] + n[i] * dbar[i]) * self.weight[i];
            }
            let (p, q, dr) = (p / d as f32, q / d as f32, -r * r * t);
            for i in 0..d {
                let w = self.weight[i];
                out[i] += dr * (bar[i] * w - n[i] * p) + r * (dbar[i] * w - dn[i] * p - n[i] * q);
                gradient[i] += dbar[i] * n[i] + bar[i] * dn[i];
            }
        }
    }
}

/// Cosines and sines of positions, one row of `d / 2` pairs each.
#[derive(Clone, Copy)]
pub struct Turns<'a> {
    pub cos: &'a [f32],
    pub sin: &'a [f32],
    pub pairs: usize,
}

impl Turns<'_> {
    /// Turn the pairs of `n_heads` heads that begin at `offset` in rows `stride` apart, and scale them; backwards for
    /// the adjoint. Row `i` has the position `first + i`.
    #[inline(always)]
    pub fn turn(
        self,
        x: &mut [f32],
        [stride, offset, n_heads]: [usize; 3],
        first: usize,
        scale: f32,
        backwards: bool,
    ) {
        let sign = if backwards { -scale } else { scale };
        for (row, x) in x.chunks_exact_mut(stride).enumerate() {
            let at = (first + row) * self.pairs..(first + row + 1) * self.pairs;
            let (cos, sin) = (&self.cos[at.clone()], &self.sin[at]);
            for head in x[offset..offset + n_heads * 2 * self.pairs].chunks_exact_mut(2 * self.pairs) {
                for ((pair, c), s) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                    let [a, b] = *pair;
                    *pair = [a * (c * scale) - b * (s * sign), a * (s * sign) + b * (c * scale)];
                }
            }
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp_f32(-x))
}

/// `m = silu(h1) h3`, where a row of `h` is `[h1, h3]`, `f` each.
#[inline(always)]
pub fn gate(h: &[f32], f: usize, m: &mut [f32]) {
    for (h, m) in h.chunks_exact(2 * f).zip(m.chunks_exact_mut(f)) {
        let (h1, h3) = h.split_at(f);
        for i in 0..f {
            m[i] = h1[i] * sigmoid(h1[i]) * h3[i];
        }
    }
}

/// Adjoint of [`gate`]: `bar_h` from the adjoint `bar_m`.
#[inline(always)]
pub fn gate_adjoint(h: &[f32], f: usize, bar_m: &[f32], bar_h: &mut [f32]) {
    for ((h, bar_m), bar_h) in
        h.chunks_exact(2 * f).zip(bar_m.chunks_exact(f)).zip(bar_h.chunks_exact_mut(2 * f))
    {
        let (h1, h3) = h.split_at(f);
        let (bar_1, bar_3) = bar_h.split_at_mut(f);
        for i in 0..f {
            let s = sigmoid(h1[i]);
            bar_3[i] = bar_m[i] * h1[i] * s;
            bar_1[i] = bar_m[i] * h3[i] * s * (1.0 + h1[i] * (1.0 - s));
        }
    }
}

/// Tangent of [`gate`] along `dh`.
#[inline(always)]
pub fn gate_tangent(h: &[f32], f: usize, dh: &[f32], dm: &mut [f32]) {
    for ((h, dh), dm) in h.chunks_exact(2 * f).zip(dh.chunks_exact(2 * f)).zip(dm.chunks_exact_mut(f)) {
        let ((h1, h3), (d1, d3)) = (h.split_at(f), dh.split_at(f));
        for i in 0..f {
            let s = sigmoid(h1[i]);
            dm[i] = s * (1.0 + h1[i] * (1.0 - s)) * d1[i] * h3[i] + h1[i] * s * d3[i];
        }
    }
}

/// Everything that the second derivative needs of the gated layer, in one pass: its value `m` and tangent `dm`, its
/// adjoint `bar_h` from `bar_m`, and that adjoint's tangent `dbar_h`.
pub struct GateSecond<'a> {
    pub h: &'a [f32],
    pub dh: &'a [f32],
    pub bar_m: &'a [f32],
    pub dbar_m: &'a [f32],
}

impl GateSecond<'_> {
    #[inline(always)]
    pub fn run(&self, f: usize, m: &mut [f32], dm: &mut [f32], bar_h: &mut [f32], dbar_h: &mut [f32]) {
        for (row, (m, dm)) in m.chunks_exact_mut(f).zip(dm.chunks_exact_mut(f)).enumerate() {
            let (wide, narrow) = (row * 2 * f..(row + 1) * 2 * f, row * f..(row + 1) * f);
            let (h1, h3) = self.h[wide.clone()].split_at(f);
            let (d1, d3) = self.dh[wide.clone()].split_at(f);
            let (bar, dbar) = (&self.bar_m[narrow.clone()], &self.dbar_m[narrow]);
            let (bar_1, bar_3) = bar_h[wide.clone()].split_at_mut(f);
            let (dbar_1, dbar_3) = dbar_h[wide].split_at_mut(f);
            for i in 0..f {
                let s = sigmoid(h1[i]);
                let value = h1[i] * s;
                let first = s * (1.0 + h1[i] * (1.0 - s));
                let second = s * (1.0 - s) * (2.0 + h1[i] * (1.0 - 2.0 * s));
                m[i] = value * h3[i];
                dm[i] = first * d1[i] * h3[i] + value * d3[i];
                bar_3[i] = bar[i] * value;
                bar_1[i] = bar[i] * h3[i] * first;
                dbar_3[i] = dbar[i] * value + bar[i] * first * d1[i];
                dbar_1[i] = dbar[i] * h3[i] * first + bar[i] * (d3[i] * first + h3[i] * second * d1[i]);
            }
        }
    }
}
