//! The observed stream of one sequence: each layer's `[q, k, v]`, and the derivative by its input and the weights.

use ebm_core::simd::Dispatched;

use super::candidates::turn_rows;
use super::heads::{Qkv, Shape, observe, observe_adjoint, scratch_len};
use super::product::{Into, Part, product};
use super::rows::{Normed, gate, gate_adjoint, norm, weigh};
use super::weights::{Gradients, Weights};

#[derive(Debug, Default)]
struct Layer {
    n1: Vec<f32>,
    r1: Vec<f32>,
    weights: Vec<f32>,
    out: Vec<f32>,
    n2: Vec<f32>,
    r2: Vec<f32>,
    h: Vec<f32>,
}

/// What a pass over one sequence leaves; reused from pass to pass.
#[derive(Debug, Default)]
pub struct ObservedTrace {
    layers: Vec<Layer>,
    /// Each layer's `[q, k, v]`, turned, rows `3 width` apart; the last layer's queries are not computed.
    pub qkv: Vec<Vec<f32>>,
    /// The adjoints that the candidates left on them.
    pub qkv_bar: Vec<Vec<f32>>,
}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub struct ObservedWork {
    x: Vec<f32>,
    a: Vec<f32>,
    m: Vec<f32>,
    bar_m: Vec<f32>,
    bar_h: Vec<f32>,
    bar: Vec<f32>,
    bar_out: Vec<f32>,
    attention: Vec<f32>,
}

impl ObservedWork {
    fn fit(&mut self, shape: &Shape, weights: &Weights) {
        let (d, f) = (shape.s * shape.width, shape.s * weights.hidden);
        for buffer in [&mut self.x, &mut self.a, &mut self.bar, &mut self.bar_out] {
            buffer.resize(d, 0.0);
        }
        self.m.resize(f, 0.0);
        self.bar_m.resize(f, 0.0);
        self.bar_h.resize(2 * f, 0.0);
        self.attention.resize(scratch_len(shape), 0.0);
    }
}

/// Pass the stream forward over `x` `[t, width]`; `shape.s` is `t` and `shape.prefix` 0.
pub struct ObservePass<'a> {
    pub weights: &'a Weights,
    pub shape: Shape,
    pub x: &'a [f32],
    pub trace: &'a mut ObservedTrace,
    pub work: &'a mut ObservedWork,
}

impl Dispatched for ObservePass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { weights, shape, x: input, trace, work } = self;
        let (t, width, hidden) = (shape.s, shape.width, weights.hidden);
        let n_layers = weights.blocks.len();
        work.fit(&shape, weights);
        trace.layers.resize_with(n_layers, Layer::default);
        for all in [&mut trace.qkv, &mut trace.qkv_bar] {
            all.resize_with(n_layers, Vec::new);
            all.iter_mut().for_each(|x| x.resize(3 * t * width, 0.0));
        }
        trace.qkv_bar.iter_mut().for_each(|x| x.fill(0.0));
        let ObservedWork { x, a, m, .. } = work;
        x.copy_from_slice(input);
        for (i, (l, qkv)) in trace.layers.iter_mut().zip(&mut trace.qkv).enumerate() {
            let (own, tr) = (&weights.blocks[i], &weights.transposed[i]);
            let is_last = i + 1 == n_layers;
            l.n1.resize(t * width, 0.0);
            l.r1.resize(t, 0.0);
            norm(x, &own.g1, weights.eps, &mut l.n1, &mut l.r1, a);
            // Nobody looks through the last layer's queries.
            let skip = if is_last { width } else { 0 };
            let size = [t, width, 3 * width - skip];
            product(
                &mut qkv[skip..],
                3 * width,
                Into::Set,
                size,
                Part::rows(a, width),
                Part::rows(&tr.qkv[skip..], 3 * width),
            );
            turn_rows(weights, &shape, qkv, 0, false);
            if is_last {
                break;
            }
            l.weights.resize(shape.n_weights(), 0.0);
            l.h.resize(2 * t * hidden, 0.0);
            l.r2.resize(t, 0.0);
            for buffer in [&mut l.out, &mut l.n2] {
                buffer.resize(t * width, 0.0);
            }
            observe(&shape, Qkv::new(qkv, &shape), &mut l.weights, &mut l.out);
            product(
                x,
                width,
                Into::Add,
                [t, width, width],
                Part::rows(&l.out, width),
                Part::rows(&tr.wo, width),
            );
            norm(x, &own.g2, weights.eps, &mut l.n2, &mut l.r2, a);
            let size = [t, width, 2 * hidden];
            product(
                &mut l.h,
                2 * hidden,
                Into::Set,
                size,
                Part::rows(a, width),
                Part::rows(&tr.w13, 2 * hidden),
            );
            gate(&l.h, hidden, m);
            product(
                x,
                width,
                Into::Add,
                [t, hidden, width],
                Part::rows(m, hidden),
                Part::rows(&tr.w2, width),
            );
        }
    }
}

/// The derivative by the input (`dx`, overwritten) and the weights (added), from the adjoints in `trace.qkv_bar`.
pub struct ObserveBack<'a> {
    pub weights: &'a Weights,
    pub shape: Shape,
    pub trace: &'a mut ObservedTrace,
    pub work: &'a mut ObservedWork,
    pub gradients: &'a mut Gradients,
    pub dx: &'a mut [f32],
}

impl Dispatched for ObserveBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { weights, shape, trace, work, gradients, dx } = self;
        work.fit(&shape, weights);
        let (t, width, hidden) = (shape.s, shape.width, weights.hidden);
        let n_layers = trace.layers.len();
        dx.fill(0.0);
        let ObservedWork { a, m, bar_m, bar_h, bar, bar_out, attention, .. } = work;
        for i in (0..n_layers).rev() {
            let (own, l, g) = (&weights.blocks[i], &trace.layers[i], &mut gradients.blocks[i]);
            let qkv_bar = &mut trace.qkv_bar[i];
            if i + 1 < n_layers {
                product(
                    bar_m,
                    hidden,
                    Into::Set,
                    [t, width, hidden],
                    Part::rows(dx, width),
                    Part::rows(&own.w2, hidden),
                );
                gate(&l.h, hidden, m);
                gate_adjoint(&l.h, hidden, bar_m, bar_h);
                product(
                    &mut g.w2,
                    hidden,
                    Into::Add,
                    [width, t, hidden],
                    Part::rows(dx, width).t(),
                    Part::rows(m, hidden),
                );
                weigh(&l.n2, &own.g2, a);
                let wide = Part::rows(bar_h, 2 * hidden);
                product(&mut g.w13, width, Into::Add, [2 * hidden, t, width], wide.t(), Part::rows(a, width));
                product(bar, width, Into::Set, [t, 2 * hidden, width], wide, Part::rows(&own.w13, width));
                let norm = Normed { n: &l.n2, r: &l.r2, weight: &own.g2 };
                norm.weight_gradient(bar, &mut g.g2);
                norm.adjoint(bar, dx);
                product(
                    &mut g.wo,
                    width,
                    Into::Add,
                    [width, t, width],
                    Part::rows(dx, width).t(),
                    Part::rows(&l.out, width),
                );
                product(
                    bar_out,
                    width,
                    Into::Set,
                    [t, width, width],
                    Part::rows(dx, width),
                    Part::rows(&own.wo, width),
                );
                let three = [&l.weights[..], &l.out, bar_out];
                observe_adjoint(&shape, Qkv::new(&trace.qkv[i], &shape), three, qkv_bar, attention);
            }
            turn_rows(weights, &shape, qkv_bar, 0, true);
            weigh(&l.n1, &own.g1, a);
            let wide = Part::rows(qkv_bar, 3 * width);
            product(&mut g.qkv, width, Into::Add, [3 * width, t, width], wide.t(), Part::rows(a, width));
            product(bar, width, Into::Set, [t, 3 * width, width], wide, Part::rows(&own.qkv, width));
            let norm = Normed { n: &l.n1, r: &l.r1, weight: &own.g1 };
            norm.weight_gradient(bar, &mut g.g1);
            norm.adjoint(bar, dx);
        }
    }
}
