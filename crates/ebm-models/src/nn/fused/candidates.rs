//! The predicted stream of one sequence: energies, their gradient, and the derivative of `v . gradient` by everything.
//!
//! With `delta = dE/de` and a direction `v`, `d/dtheta (v . delta)` is the change of `dE/dtheta` along `v`: a tangent
//! pass forward (`d` before a name) and the tangent of the backward pass (`dbar`), instead of differentiating a graph
//! of the gradient.

use ebm_core::simd::Dispatched;

use super::heads::{Qkv, Second, Shape, predict, predict_adjoint, predict_tangent, scratch_len};
use super::product::{Into, Part, product};
use super::rows::{GateSecond, Normed, Turns, dot, gate, gate_adjoint, gate_tangent, norm, weigh};
use super::weights::{Gradients, Weights};

/// What one layer leaves for the second derivative.
#[derive(Debug, Default)]
struct Layer {
    n1: Vec<f32>,
    r1: Vec<f32>,
    qkv: Vec<f32>,
    weights: Vec<f32>,
    out: Vec<f32>,
    n2: Vec<f32>,
    r2: Vec<f32>,
    h: Vec<f32>,
    /// Adjoints: of the block's output, the gated layer, its norm, the stream between, the heads, `[q, k, v]`, the norm.
    bar_end: Vec<f32>,
    bar_m: Vec<f32>,
    bar_b: Vec<f32>,
    bar_y: Vec<f32>,
    bar_out: Vec<f32>,
    spread: Vec<f32>,
    bar_qkv: Vec<f32>,
    bar_a: Vec<f32>,
}

/// What a pass over one sequence leaves; reused from pass to pass.
#[derive(Debug, Default)]
pub struct Trace {
    layers: Vec<Layer>,
    n: Vec<f32>,
    r: Vec<f32>,
}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub struct Work {
    x: Vec<f32>,
    a: Vec<f32>,
    m: Vec<f32>,
    h: Vec<f32>,
    attention: Vec<f32>,
    dx: Vec<f32>,
    da: Vec<f32>,
    dm: Vec<f32>,
    bar_h: Vec<f32>,
    dbar_h: Vec<f32>,
    dbar_m: Vec<f32>,
    dbar_b: Vec<f32>,
    dbar_out: Vec<f32>,
    dbar_qkv: Vec<f32>,
    tangents: Vec<Tangent>,
    dn: Vec<f32>,
    t: Vec<f32>,
}

#[derive(Debug, Default)]
struct Tangent {
    dn1: Vec<f32>,
    t1: Vec<f32>,
    d_qkv: Vec<f32>,
    d_weights: Vec<f32>,
    d_out: Vec<f32>,
    dn2: Vec<f32>,
    t2: Vec<f32>,
    dh: Vec<f32>,
}

fn fit<const N: usize>(n: usize, buffers: [&mut Vec<f32>; N]) {
    buffers.into_iter().for_each(|buffer| buffer.resize(n, 0.0));
}

impl Trace {
    /// Each layer's `[q, k, v]` of the rows.
    pub fn qkv(&self) -> impl Iterator<Item = &[f32]> {
        self.layers.iter().map(|l| &l.qkv[..])
    }

    fn fit(&mut self, shape: &Shape, weights: &Weights) {
        let (rows, d, f) = (shape.s, shape.s * shape.width, shape.s * weights.hidden);
        self.layers.resize_with(weights.blocks.len(), Layer::default);
        for l in &mut self.layers {
            fit(rows, [&mut l.r1, &mut l.r2]);
            fit(d, [&mut l.n1, &mut l.n2, &mut l.out, &mut l.bar_end, &mut l.bar_b, &mut l.bar_y]);
            fit(d, [&mut l.bar_out, &mut l.bar_a]);
            fit(3 * d, [&mut l.qkv, &mut l.bar_qkv]);
            fit(f, [&mut l.bar_m]);
            fit(2 * f, [&mut l.h]);
            fit(shape.n_weights(), [&mut l.weights, &mut l.spread]);
        }
        fit(d, [&mut self.n]);
        fit(rows, [&mut self.r]);
    }
}

impl Work {
    fn fit(&mut self, shape: &Shape, weights: &Weights) {
        let (rows, d, f) = (shape.s, shape.s * shape.width, shape.s * weights.hidden);
        self.tangents.resize_with(weights.blocks.len(), Tangent::default);
        for l in &mut self.tangents {
            fit(rows, [&mut l.t1, &mut l.t2]);
            fit(d, [&mut l.dn1, &mut l.dn2, &mut l.d_out]);
            fit(3 * d, [&mut l.d_qkv]);
            fit(2 * f, [&mut l.dh]);
            fit(shape.n_weights(), [&mut l.d_weights]);
        }
        fit(rows, [&mut self.t]);
        fit(d, [&mut self.x, &mut self.a, &mut self.dx, &mut self.da, &mut self.dbar_b, &mut self.dbar_out]);
        fit(d, [&mut self.dn]);
        fit(3 * d, [&mut self.dbar_qkv]);
        fit(f, [&mut self.m, &mut self.dm, &mut self.dbar_m]);
        fit(2 * f, [&mut self.h, &mut self.bar_h, &mut self.dbar_h]);
        fit(scratch_len(shape), [&mut self.attention]);
    }
}

/// Energies of the candidates `e` `[s, width]` and their gradient `delta`, given each layer's observed `[q, k, v]`.
pub struct SlopePass<'a> {
    pub weights: &'a Weights,
    pub shape: Shape,
    pub seen: &'a [Vec<f32>],
    pub e: &'a [f32],
    pub energy: &'a mut [f32],
    pub delta: &'a mut [f32],
    pub trace: &'a mut Trace,
    pub work: &'a mut Work,
}

/// What a block's turns and products share.
#[inline(always)]
fn turns<'a>(weights: &'a Weights, shape: &Shape) -> (Turns<'a>, f32) {
    let pairs = shape.head_dim() / 2;
    (Turns { cos: &weights.cos, sin: &weights.sin, pairs }, 1.0 / (shape.head_dim() as f32).sqrt())
}

/// Turn queries (and scale them) and keys of rows `[q, k, v]`; backwards for their adjoints.
#[inline(always)]
pub fn turn_rows(weights: &Weights, shape: &Shape, qkv: &mut [f32], first: usize, backwards: bool) {
    let (turns, scale) = turns(weights, shape);
    let (stride, heads) = (3 * shape.width, shape.n_heads);
    turns.turn(qkv, [stride, 0, heads], first, scale, backwards);
    turns.turn(qkv, [stride, shape.width, heads], first, 1.0, backwards);
}

impl Dispatched for SlopePass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { weights, shape, seen, e, energy, delta, trace, work } = self;
        trace.fit(&shape, weights);
        work.fit(&shape, weights);
        let (s, width, hidden) = (shape.s, shape.width, weights.hidden);
        let first = shape.prefix + 1;
        work.x.copy_from_slice(e);
        let Work { x, a, m, h: bar_h, attention, .. } = work;
        for (i, l) in trace.layers.iter_mut().enumerate() {
            let (own, t) = (&weights.blocks[i], &weights.transposed[i]);
            norm(x, &own.g1, weights.eps, &mut l.n1, &mut l.r1, a);
            let size = [s, width, 3 * width];
            product(
                &mut l.qkv,
                3 * width,
                Into::Set,
                size,
                Part::rows(a, width),
                Part::rows(&t.qkv, 3 * width),
            );
            turn_rows(weights, &shape, &mut l.qkv, first, false);
            let (qkv, seen) = (Qkv::new(&l.qkv, &shape), Qkv::new(&seen[i], &shape));
            predict(&shape, qkv, seen, &mut l.weights, &mut l.out);
            product(
                x,
                width,
                Into::Add,
                [s, width, width],
                Part::rows(&l.out, width),
                Part::rows(&t.wo, width),
            );
            norm(x, &own.g2, weights.eps, &mut l.n2, &mut l.r2, a);
            let size = [s, width, 2 * hidden];
            product(
                &mut l.h,
                2 * hidden,
                Into::Set,
                size,
                Part::rows(a, width),
                Part::rows(&t.w13, 2 * hidden),
            );
            gate(&l.h, hidden, m);
            product(x, width, Into::Add, [s, hidden, width], Part::rows(m, hidden), Part::rows(&t.w2, width));
        }
        norm(x, &weights.norm, weights.eps, &mut trace.n, &mut trace.r, a);
        for (i, n) in trace.n.chunks_exact(width).enumerate() {
            energy[i] = dot(n, &weights.reading);
            let (r, p) = (trace.r[i], energy[i] / width as f32);
            for (c, x) in x[i * width..(i + 1) * width].iter_mut().enumerate() {
                *x = r * (weights.reading[c] - n[c] * p);
            }
        }
        // From here on `x` is the adjoint of the stream.
        for (i, l) in trace.layers.iter_mut().enumerate().rev() {
            let own = &weights.blocks[i];
            l.bar_end.copy_from_slice(x);
            product(
                &mut l.bar_m,
                hidden,
                Into::Set,
                [s, width, hidden],
                Part::rows(x, width),
                Part::rows(&own.w2, hidden),
            );
            gate_adjoint(&l.h, hidden, &l.bar_m, bar_h);
            let size = [s, 2 * hidden, width];
            product(
                &mut l.bar_b,
                width,
                Into::Set,
                size,
                Part::rows(bar_h, 2 * hidden),
                Part::rows(&own.w13, width),
            );
            Normed { n: &l.n2, r: &l.r2, weight: &own.g2 }.adjoint(&l.bar_b, x);
            l.bar_y.copy_from_slice(x);
            product(
                &mut l.bar_out,
                width,
                Into::Set,
                [s, width, width],
                Part::rows(x, width),
                Part::rows(&own.wo, width),
            );
            let (qkv, seen) = (Qkv::new(&l.qkv, &shape), Qkv::new(&seen[i], &shape));
            let three = [&l.weights[..], &l.out, &l.bar_out];
            predict_adjoint(&shape, qkv, seen, three, &mut l.spread, &mut l.bar_qkv, attention);
            turn_rows(weights, &shape, &mut l.bar_qkv, first, true);
            let size = [s, 3 * width, width];
            product(
                &mut l.bar_a,
                width,
                Into::Set,
                size,
                Part::rows(&l.bar_qkv, 3 * width),
                Part::rows(&own.qkv, width),
            );
            Normed { n: &l.n1, r: &l.r1, weight: &own.g1 }.adjoint(&l.bar_a, x);
        }
        delta.copy_from_slice(x);
    }
}

/// The derivative of `v . delta` by the weights (added to `gradients`), the observed keys and values (added to
/// `seen_bar`) and the candidates (`de`, overwritten), after a [`SlopePass`] that left `trace`.
pub struct SecondPass<'a> {
    pub weights: &'a Weights,
    pub shape: Shape,
    pub seen: &'a [Vec<f32>],
    pub v: &'a [f32],
    pub trace: &'a Trace,
    pub work: &'a mut Work,
    pub gradients: &'a mut Gradients,
    pub seen_bar: &'a mut [Vec<f32>],
    pub de: &'a mut [f32],
}

impl SecondPass<'_> {
    /// The stream along the direction, layer by layer.
    #[inline(always)]
    fn tangent(&mut self) {
        let (weights, shape) = (self.weights, self.shape);
        let (s, width, hidden) = (shape.s, shape.width, weights.hidden);
        let Work { dx, da, dm, tangents, .. } = &mut *self.work;
        dx.copy_from_slice(self.v);
        for (i, (l, d)) in self.trace.layers.iter().zip(tangents).enumerate() {
            let (own, t) = (&weights.blocks[i], &weights.transposed[i]);
            Normed { n: &l.n1, r: &l.r1, weight: &own.g1 }.tangent(dx, &mut d.dn1, &mut d.t1, da);
            let size = [s, width, 3 * width];
            product(
                &mut d.d_qkv,
                3 * width,
                Into::Set,
                size,
                Part::rows(da, width),
                Part::rows(&t.qkv, 3 * width),
            );
            turn_rows(weights, &shape, &mut d.d_qkv, shape.prefix + 1, false);
            let three = [&l.qkv, &d.d_qkv, &self.seen[i]].map(|x| Qkv::new(x, &shape));
            predict_tangent(&shape, three, &l.weights, &mut d.d_weights, &mut d.d_out);
            product(
                dx,
                width,
                Into::Add,
                [s, width, width],
                Part::rows(&d.d_out, width),
                Part::rows(&t.wo, width),
            );
            Normed { n: &l.n2, r: &l.r2, weight: &own.g2 }.tangent(dx, &mut d.dn2, &mut d.t2, da);
            let size = [s, width, 2 * hidden];
            product(
                &mut d.dh,
                2 * hidden,
                Into::Set,
                size,
                Part::rows(da, width),
                Part::rows(&t.w13, 2 * hidden),
            );
            gate_tangent(&l.h, hidden, &d.dh, dm);
            product(
                dx,
                width,
                Into::Add,
                [s, hidden, width],
                Part::rows(dm, hidden),
                Part::rows(&t.w2, width),
            );
        }
    }

    /// The last norm and the head: turns the stream's tangent into the tangent of its adjoint.
    #[inline(always)]
    fn read(&mut self) {
        let (weights, width) = (self.weights, self.shape.width);
        let Work { dx, da, dn, t, .. } = &mut *self.work;
        let last = Normed { n: &self.trace.n, r: &self.trace.r, weight: &weights.reading };
        last.tangent(dx, dn, t, da);
        for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
            let at = i * width..(i + 1) * width;
            let (n, dn, r) = (&self.trace.n[at.clone()], &dn[at], self.trace.r[i]);
            let p = dot(n, &weights.reading) / width as f32;
            let q = dot(dn, &weights.reading) / width as f32;
            let dr = -r * r * t[i];
            for c in 0..width {
                dx[c] = dr * (weights.reading[c] - n[c] * p) - r * (dn[c] * p + n[c] * q);
                self.gradients.reading[c] += dn[c];
            }
        }
    }

    /// The tangent of the backward pass through layer `i`; `dx` is the tangent of the stream's adjoint.
    #[inline(always)]
    fn back(&mut self, i: usize) {
        let (weights, shape) = (self.weights, self.shape);
        let (s, width, hidden) = (shape.s, shape.width, weights.hidden);
        let (own, l, g) = (&weights.blocks[i], &self.trace.layers[i], &mut self.gradients.blocks[i]);
        let Work {
            a,
            da,
            m,
            dm,
            attention,
            dx,
            bar_h,
            dbar_h,
            dbar_m,
            dbar_b,
            dbar_out,
            dbar_qkv,
            tangents,
            ..
        } = &mut *self.work;
        let d = &tangents[i];

        product(
            dbar_m,
            hidden,
            Into::Set,
            [s, width, hidden],
            Part::rows(dx, width),
            Part::rows(&own.w2, hidden),
        );
        let second = GateSecond { h: &l.h, dh: &d.dh, bar_m: &l.bar_m, dbar_m };
        second.run(hidden, m, dm, bar_h, dbar_h);
        let size = [width, s, hidden];
        product(&mut g.w2, hidden, Into::Add, size, Part::rows(dx, width).t(), Part::rows(m, hidden));
        product(
            &mut g.w2,
            hidden,
            Into::Add,
            size,
            Part::rows(&l.bar_end, width).t(),
            Part::rows(dm, hidden),
        );
        weigh(&l.n2, &own.g2, a);
        weigh(&d.dn2, &own.g2, da);
        let size = [2 * hidden, s, width];
        product(&mut g.w13, width, Into::Add, size, Part::rows(dbar_h, 2 * hidden).t(), Part::rows(a, width));
        product(&mut g.w13, width, Into::Add, size, Part::rows(bar_h, 2 * hidden).t(), Part::rows(da, width));
        product(
            dbar_b,
            width,
            Into::Set,
            [s, 2 * hidden, width],
            Part::rows(dbar_h, 2 * hidden),
            Part::rows(&own.w13, width),
        );
        let norm = Normed { n: &l.n2, r: &l.r2, weight: &own.g2 };
        norm.adjoint_tangent([&l.bar_b, dbar_b], [&d.dn2, &d.t2], dx, &mut g.g2);

        let size = [width, s, width];
        product(&mut g.wo, width, Into::Add, size, Part::rows(dx, width).t(), Part::rows(&l.out, width));
        product(
            &mut g.wo,
            width,
            Into::Add,
            size,
            Part::rows(&l.bar_y, width).t(),
            Part::rows(&d.d_out, width),
        );
        product(
            dbar_out,
            width,
            Into::Set,
            [s, width, width],
            Part::rows(dx, width),
            Part::rows(&own.wo, width),
        );
        let [own_rows, d_own, seen] = [&l.qkv, &d.d_qkv, &self.seen[i]].map(|x| Qkv::new(x, &shape));
        let second = Second {
            own: own_rows,
            d_own,
            seen,
            weights: &l.weights,
            d_weights: &d.d_weights,
            spread: &l.spread,
            out: &l.out,
            d_out: &d.d_out,
            bar_out: &l.bar_out,
            dbar_out,
        };
        second.run(&shape, dbar_qkv, &mut self.seen_bar[i], attention);
        turn_rows(weights, &shape, dbar_qkv, shape.prefix + 1, true);
        weigh(&l.n1, &own.g1, a);
        weigh(&d.dn1, &own.g1, da);
        let size = [3 * width, s, width];
        product(
            &mut g.qkv,
            width,
            Into::Add,
            size,
            Part::rows(dbar_qkv, 3 * width).t(),
            Part::rows(a, width),
        );
        product(
            &mut g.qkv,
            width,
            Into::Add,
            size,
            Part::rows(&l.bar_qkv, 3 * width).t(),
            Part::rows(da, width),
        );
        product(
            dbar_b,
            width,
            Into::Set,
            [s, 3 * width, width],
            Part::rows(dbar_qkv, 3 * width),
            Part::rows(&own.qkv, width),
        );
        let norm = Normed { n: &l.n1, r: &l.r1, weight: &own.g1 };
        norm.adjoint_tangent([&l.bar_a, dbar_b], [&d.dn1, &d.t1], dx, &mut g.g1);
    }
}

impl Dispatched for SecondPass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        self.work.fit(&self.shape, self.weights);
        self.tangent();
        self.read();
        for i in (0..self.trace.layers.len()).rev() {
            self.back(i);
        }
        self.de.copy_from_slice(&self.work.dx);
    }
}
