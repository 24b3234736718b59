//! `W a + b` for a block of chains that lie side by side: the matrix product of [`crate::HostMlp`].
//!
//! Four outputs of a few registers of chains are summed at a time, so that each number loaded is used four times and
//! enough sums run side by side to hide the latency of a fused multiply-add.

use super::level::Level;
use crate::BLOCK_CHAINS;

/// Outputs per panel.
pub(super) const PANEL: usize = 16;

/// Outputs summed at a time.
pub(super) const TILE: usize = 4;

/// A matrix cut into panels of 16 outputs (zeros fill the last), `[panel][input][16]`, and the bias.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    pub(super) weights: Vec<[f32; PANEL]>,
    pub(super) bias: Vec<[f32; PANEL]>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Panels {
    /// `weight(output, input)` and the bias of every output.
    pub fn new(inputs: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let outputs = bias.len();
        let of_panel = |panel: usize, f: &dyn Fn(usize) -> f32| {
            std::array::from_fn(|k| if panel * PANEL + k < outputs { f(panel * PANEL + k) } else { 0.0 })
        };
        let n_panels = outputs.div_ceil(PANEL);
        let bias = (0..n_panels).map(|p| of_panel(p, &|to| bias[to])).collect();
        let weights =
            (0..n_panels * inputs).map(|i| of_panel(i / inputs, &|to| weight(to, i % inputs))).collect();
        Self { weights, bias, inputs, outputs }
    }

    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many rows of scratch hold `n` numbers: whole panels.
    pub fn rows(n: usize) -> usize {
        n.next_multiple_of(PANEL)
    }
}

/// `out = W input + b`. `input` has a row per input; `out` at least [`Panels::rows`] of the outputs. The level is the
/// machine's when that is lower.
#[inline(always)]
pub(crate) fn affine_block(
    level: Level,
    panels: &Panels,
    input: &[[f32; BLOCK_CHAINS]],
    out: &mut [[f32; BLOCK_CHAINS]],
) {
    match level.min(Level::of_machine()) {
        // SAFETY: the machine has this level, hence every feature that the function is compiled for.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { super::avx2::affine(panels, input, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { super::avx512::affine(panels, input, out) },
        _ => portable::affine(panels, input, out),
    }
}

/// The same for one chain: a panel's outputs side by side. Not fused, so the same bits at every level.
#[inline(always)]
pub(crate) fn affine_one(panels: &Panels, input: &[f32], out: &mut [f32]) {
    let input = &input[..panels.inputs];
    let by_panel = panels.weights.chunks_exact(panels.inputs).zip(&panels.bias);
    for ((weights, bias), out) in by_panel.zip(out.as_chunks_mut::<PANEL>().0) {
        let mut sums = *bias;
        for (w, a) in weights.iter().zip(input) {
            for k in 0..PANEL {
                sums[k] += w[k] * a;
            }
        }
        *out = sums;
    }
}

/// Define `affine` in a module that brings `F32s` of `WIDTH` numbers, `splat_f32`, `load_f32`, `store_f32`,
/// `multiply_add` and `AFFINE_REGISTERS`, the registers of chains at a time.
macro_rules! affine_function {
    ($($attribute:meta)?) => {
        $(#[$attribute])?
        pub(super) fn affine(
            panels: &crate::simd::Panels,
            input: &[[f32; crate::BLOCK_CHAINS]],
            out: &mut [[f32; crate::BLOCK_CHAINS]],
        ) {
            use crate::simd::affine::{PANEL, TILE};
            let input = &input[..panels.inputs];
            for (panel, out) in out.chunks_exact_mut(PANEL).take(panels.bias.len()).enumerate() {
                let weights = &panels.weights[panel * panels.inputs..(panel + 1) * panels.inputs];
                let outputs = panels.outputs - panel * PANEL;
                for (tile, out) in out.chunks_exact_mut(TILE).take(outputs.div_ceil(TILE)).enumerate() {
                    let bias = &panels.bias[panel][tile * TILE..(tile + 1) * TILE];
                    for from in (0..crate::BLOCK_CHAINS).step_by(AFFINE_REGISTERS * WIDTH) {
                        let mut sums = [[splat_f32(0.0); AFFINE_REGISTERS]; TILE];
                        for r in 0..TILE {
                            sums[r] = [splat_f32(bias[r]); AFFINE_REGISTERS];
                        }
                        for (w, a) in weights.iter().zip(input) {
                            let w = &w.as_chunks::<TILE>().0[tile];
                            let mut inputs = [splat_f32(0.0); AFFINE_REGISTERS];
                            for v in 0..AFFINE_REGISTERS {
                                inputs[v] = load_f32(a, from + v * WIDTH);
                            }
                            for r in 0..TILE {
                                let w = splat_f32(w[r]);
                                for v in 0..AFFINE_REGISTERS {
                                    sums[r][v] = multiply_add(w, inputs[v], sums[r][v]);
                                }
                            }
                        }
                        for r in 0..TILE {
                            for v in 0..AFFINE_REGISTERS {
                                store_f32(&mut out[r], from + v * WIDTH, sums[r][v]);
                            }
                        }
                    }
                }
            }
        }
    };
}

pub(super) use affine_function;

/// Registers as arrays, for machines without the instructions above. Not fused: without the instruction that would be
/// a function call.
mod portable {
    type F32s = [f32; WIDTH];
    const WIDTH: usize = 8;
    const AFFINE_REGISTERS: usize = 1;

    #[inline(always)]
    fn splat_f32(x: f32) -> F32s {
        [x; WIDTH]
    }

    #[inline(always)]
    fn load_f32<const N: usize>(from: &[f32; N], at: usize) -> F32s {
        std::array::from_fn(|k| from[at + k])
    }

    #[inline(always)]
    fn store_f32<const N: usize>(out: &mut [f32; N], at: usize, value: F32s) {
        out[at..at + WIDTH].copy_from_slice(&value);
    }

    #[inline(always)]
    fn multiply_add(a: F32s, b: F32s, c: F32s) -> F32s {
        std::array::from_fn(|k| c[k] + a[k] * b[k])
    }

    super::affine_function!();
}
