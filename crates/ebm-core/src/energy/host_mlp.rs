//! A small neural network as an energy of host chains, without LibTorch: `E(x)` is the one output of a stack of dense
//! layers with an activation between them.
//!
//! Forward `z_l = W_l a_(l-1) + b_l`, `a_l = f(z_l)`; backward `d_l = (W_(l+1)^T d_(l+1)) f'(z_l)`, `dE/dx = W_1^T d_1`.
//! A block of 64 chains is turned once so that chains lie side by side; then both directions are matrix products in
//! registers (`simd/affine.rs`). Nothing is allocated in a step: scratch comes from the thread's pool.

use serde::{Deserialize, Serialize};

use super::host_activation::HostActivation;
use super::{Energy, GradEnergy, check_dim};
use crate::point::{give, take};
use crate::simd::{Dispatched, Level, Panels, affine_block, affine_one, dispatch_at, level};
use crate::{BLOCK_CHAINS, Block, BlockScalar, Error, HostPoint, Result};

/// One dense layer, `z = W a + b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLayer {
    /// `W`, `[outputs * inputs]`, row by row (the layout of `weight` in PyTorch's `Linear`).
    pub weight: Vec<f32>,
    /// `b`, `[outputs]`.
    pub bias: Vec<f32>,
}

/// A multi-layer perceptron as an energy of `Vec<f32>` and `Block<f32>`.
///
/// It is meant for blocks: a single chain reads every weight for itself alone. On blocks, products and sums are fused
/// where the processor can. So, unlike those of other host energies, results depend in their last digits on the
/// vector level ([`crate::simd::level`]), which a run's manifest records and `EBM_CPU_LEVEL` fixes.
///
/// ```
/// use ebm_core::{GradEnergy, HostActivation, HostLayer, HostMlp};
/// // E(x) = relu(x_0 - x_1) + 2 relu(x_1) + 0.5
/// let hidden = HostLayer { weight: vec![1.0, -1.0, 0.0, 1.0], bias: vec![0.0, 0.0] };
/// let output = HostLayer { weight: vec![1.0, 2.0], bias: vec![0.5] };
/// let energy = HostMlp::new(2, HostActivation::Relu, vec![hidden, output])?;
/// let mut grad = vec![0.0f32; 2];
/// assert_eq!(energy.energy_grad(&vec![3.0, 1.0], &mut grad)?, 4.5);
/// assert_eq!(grad, [1.0, 1.0]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostMlp {
    dim: usize,
    activation: HostActivation,
    hidden: Vec<Hidden>,
    /// The last layer: one output.
    output: Vec<f32>,
    output_bias: f32,
    level: Level,
}

/// A layer with an activation after it. Its rows of scratch: activations from `at` on, then as many for slopes.
#[derive(Clone, Debug)]
struct Hidden {
    forward: Panels,
    backward: Panels,
    at: usize,
}

impl HostMlp {
    /// A network on points of `dim` coordinates. No activation follows the last layer, which has one output.
    ///
    /// # Errors
    /// When there is no layer, a layer's numbers do not fit the outputs of the one before, the last has another number
    /// of outputs than one, or a number is not finite.
    pub fn new(dim: usize, activation: HostActivation, mut layers: Vec<HostLayer>) -> Result<Self> {
        if dim == 0 {
            return Err(Error::bad_value("dim", 0, "at least 1", ""));
        }
        let mut inputs = dim;
        for (i, layer) in layers.iter().enumerate() {
            layer.check(i, inputs)?;
            inputs = layer.bias.len();
        }
        let Some(HostLayer { weight: output, bias }) = layers.pop() else {
            return Err(Error::bad_value("layers", 0, "at least 1", "give the output layer too"));
        };
        let [output_bias] = bias[..] else {
            return Err(Error::bad_value(
                "outputs of the last layer",
                bias.len(),
                "1",
                "an energy is one number",
            ));
        };
        let mut hidden: Vec<Hidden> = Vec::with_capacity(layers.len());
        let (mut inputs, mut at) = (dim, Panels::rows(dim));
        for HostLayer { weight, bias } in layers {
            let outputs = bias.len();
            let forward = Panels::new(inputs, &bias, |to, from| weight[to * inputs + from]);
            let backward = Panels::new(outputs, &vec![0.0; inputs], |to, from| weight[from * inputs + to]);
            hidden.push(Hidden { forward, backward, at });
            at += 2 * Panels::rows(outputs);
            inputs = outputs;
        }
        Ok(Self { dim, activation, hidden, output, output_bias, level: level() })
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Multiply-adds of the matrix products in one chain's energy and gradient.
    pub fn macs(&self) -> usize {
        self.hidden.iter().map(|l| 2 * l.forward.inputs() * l.forward.outputs()).sum::<usize>()
            + 2 * self.output.len()
    }

    fn n_rows(&self) -> usize {
        self.hidden.last().map_or(Panels::rows(self.dim), |l| l.at + 2 * Panels::rows(l.forward.outputs()))
    }

    /// Energies of `CHAINS` chains side by side. The first rows hold their coordinates, and with `backward` their
    /// gradient at the end.
    #[inline(always)]
    fn evaluate<const CHAINS: usize>(
        &self,
        rows: &mut [[f32; CHAINS]],
        affine: impl Fn(&Panels, &[[f32; CHAINS]], &mut [[f32; CHAINS]]),
        backward: bool,
    ) -> [f32; CHAINS] {
        let mut below = 0;
        for Hidden { forward, at, .. } in &self.hidden {
            let (before, rest) = rows.split_at_mut(*at);
            let (activations, slopes) = rest.split_at_mut(Panels::rows(forward.outputs()));
            affine(forward, &before[below..below + forward.inputs()], activations);
            let n = forward.outputs();
            self.activation.apply(activations[..n].as_flattened_mut(), slopes[..n].as_flattened_mut());
            below = *at;
        }
        let mut energies = [self.output_bias; CHAINS];
        for (w, a) in self.output.iter().zip(&rows[below..]) {
            for c in 0..CHAINS {
                energies[c] += w * a[c];
            }
        }
        if backward {
            self.back(rows, affine);
        }
        energies
    }

    #[inline(always)]
    fn back<const CHAINS: usize>(
        &self,
        rows: &mut [[f32; CHAINS]],
        affine: impl Fn(&Panels, &[[f32; CHAINS]], &mut [[f32; CHAINS]]),
    ) {
        // The slope of E against the activations of the layer above: of the last one first.
        let top = self.hidden.last().map_or(0, |l| l.at);
        for (row, w) in rows[top..].iter_mut().zip(&self.output) {
            row.fill(*w);
        }
        for (i, Hidden { backward, at, .. }) in self.hidden.iter().enumerate().rev() {
            let (before, rest) = rows.split_at_mut(*at);
            let (activations, slopes) = rest.split_at_mut(Panels::rows(backward.inputs()));
            let slopes = &mut slopes[..backward.inputs()];
            for (slope, g) in slopes.as_flattened_mut().iter_mut().zip(activations.as_flattened()) {
                *slope *= g;
            }
            let below = if i == 0 { 0 } else { self.hidden[i - 1].at };
            affine(backward, slopes, &mut before[below..]);
        }
    }

    /// Energies of a block, and its gradient where a place is given for it.
    fn block(&self, x: &[f32], grad: Option<&mut [f32]>) -> BlockScalar {
        let energies = dispatch_at(self.level, OnBlock { net: self, x, grad });
        BlockScalar::Each(energies.map(f64::from))
    }

    /// The same of one chain.
    fn one(&self, x: &[f32], grad: Option<&mut [f32]>) -> f64 {
        f64::from(dispatch_at(self.level, OnOne { net: self, x, grad }))
    }
}

impl HostLayer {
    fn check(&self, index: usize, inputs: usize) -> Result<()> {
        let outputs = self.bias.len();
        if outputs == 0 {
            return Err(Error::bad_value(format!("outputs of layer {index}"), 0, "at least 1", ""));
        }
        if self.weight.len() != outputs * inputs {
            let n = outputs * inputs;
            let expected = format_args!("{outputs} x {inputs} = {n} numbers");
            return Err(Error::shape(format!("weight of layer {index}"), expected, self.weight.len()));
        }
        match self.weight.iter().chain(&self.bias).find(|w| !w.is_finite()) {
            Some(w) => Err(Error::bad_value(format!("a weight of layer {index}"), w, "finite", "")),
            None => Ok(()),
        }
    }
}

struct OnBlock<'a> {
    net: &'a HostMlp,
    x: &'a [f32],
    grad: Option<&'a mut [f32]>,
}

impl Dispatched for OnBlock<'_> {
    type Output = [f32; BLOCK_CHAINS];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { net, x, grad } = self;
        // A register read across two cache lines costs twice: begin at a whole one.
        const LINE: usize = 64;
        let mut scratch = take::<f32>(net.n_rows() * BLOCK_CHAINS + LINE / size_of::<f32>());
        let skip = scratch.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
        let rows = scratch[skip..].as_chunks_mut::<BLOCK_CHAINS>().0;
        for (k, row) in rows[..net.dim].iter_mut().enumerate() {
            row.fill(0.0);
            for (to, from) in row.iter_mut().zip(x[k..].iter().step_by(net.dim)) {
                *to = *from;
            }
        }
        let affine =
            |panels: &Panels, input: &[_], out: &mut [_]| affine_block(net.level, panels, input, out);
        let energies = net.evaluate(rows, affine, grad.is_some());
        if let Some(grad) = grad {
            for (k, row) in rows[..net.dim].iter().enumerate() {
                for (from, to) in row.iter().zip(grad[k..].iter_mut().step_by(net.dim)) {
                    *to = *from;
                }
            }
        }
        give(scratch);
        energies
    }
}

struct OnOne<'a> {
    net: &'a HostMlp,
    x: &'a [f32],
    grad: Option<&'a mut [f32]>,
}

impl Dispatched for OnOne<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let Self { net, x, grad } = self;
        let mut scratch = take::<f32>(net.n_rows());
        scratch[..net.dim].copy_from_slice(x);
        let rows = scratch.as_chunks_mut::<1>().0;
        let affine = |panels: &Panels, input: &[[f32; 1]], out: &mut [[f32; 1]]| {
            affine_one(panels, input.as_flattened(), out.as_flattened_mut());
        };
        let [energy] = net.evaluate(rows, affine, grad.is_some());
        if let Some(grad) = grad {
            grad.copy_from_slice(&scratch[..net.dim]);
        }
        give(scratch);
        energy
    }
}

impl Energy<Vec<f32>> for HostMlp {
    fn energy(&self, x: &Vec<f32>) -> Result<f64> {
        check_dim(Some(self.dim), x.len())?;
        Ok(self.one(x, None))
    }
}

impl GradEnergy<Vec<f32>> for HostMlp {
    fn energy_grad(&self, x: &Vec<f32>, grad: &mut Vec<f32>) -> Result<f64> {
        check_dim(Some(self.dim), x.len())?;
        Ok(self.one(x, Some(grad)))
    }
}

impl Energy<Block<f32>> for HostMlp {
    fn energy(&self, x: &Block<f32>) -> Result<BlockScalar> {
        check_dim(Some(self.dim), x.dim())?;
        Ok(self.block(x.as_slice(), None))
    }
}

impl GradEnergy<Block<f32>> for HostMlp {
    fn energy_grad(&self, x: &Block<f32>, grad: &mut Block<f32>) -> Result<BlockScalar> {
        check_dim(Some(self.dim), x.dim())?;
        Ok(self.block(x.as_slice(), Some(grad.as_mut_slice())))
    }
}

#[cfg(test)]
#[path = "host_mlp_tests.rs"]
mod tests;
