//! The restricted Boltzmann machine with bits on both sides, its hidden units summed out.
//!
//! `F(v) = -b' v - sum_j softplus(c_j + sum_i v_i W_ij)`, so that `exp(-F(v)) = sum_h exp(-E(v, h))` with
//! `E(v, h) = -b' v - c' h - v' W h`; `dF / dv_i = -b_i - sum_j W_ij sigmoid(c_j + sum_i v_i W_ij)`.
//!
//! Source: Hinton 2002 (DOI 10.1162/089976602760128018), where the machine is trained by contrastive divergence.

use super::{DiscreteEnergy, RelaxedEnergy};
use crate::{Error, Result};

/// A restricted Boltzmann machine; as a [`DiscreteEnergy`] it is the free energy of the visible bits.
///
/// ```
/// use ebm_core::{DiscreteEnergy, Rbm};
/// // Two visible units, one hidden.
/// let rbm = Rbm::new(vec![1.0, -2.0], vec![0.5, 0.0], vec![0.0])?;
/// let softplus = |a: f64| a.exp().ln_1p();
/// assert!((rbm.energy(&[1, 1]) - (-0.5 - softplus(-1.0))).abs() < 1e-12);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rbm {
    /// `W`, `[n_visible * n_hidden]`.
    by_visible: Vec<f64>,
    /// `W` transposed, `[n_hidden * n_visible]`: either way sums run along a row.
    by_hidden: Vec<f64>,
    visible_bias: Vec<f64>,
    hidden_bias: Vec<f64>,
}

impl Rbm {
    /// Weights `[n_visible * n_hidden]`, visible unit by visible unit, and the biases of either side.
    ///
    /// # Errors
    /// When a side has no unit, the number of weights is not the product of both, or a number is not finite.
    pub fn new(weights: Vec<f64>, visible_bias: Vec<f64>, hidden_bias: Vec<f64>) -> Result<Self> {
        let (n_visible, n_hidden) = (visible_bias.len(), hidden_bias.len());
        for (name, n) in [("visible units", n_visible), ("hidden units", n_hidden)] {
            if n == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if weights.len() != n_visible * n_hidden {
            return Err(Error::shape("weights of an RBM", n_visible * n_hidden, weights.len()));
        }
        check_finite("weights", &weights)?;
        check_finite("visible_bias", &visible_bias)?;
        check_finite("hidden_bias", &hidden_bias)?;
        let mut by_hidden = Vec::with_capacity(weights.len());
        for j in 0..n_hidden {
            by_hidden.extend(weights.iter().skip(j).step_by(n_hidden));
        }
        Ok(Self { by_visible: weights, by_hidden, visible_bias, hidden_bias })
    }

    /// The number of visible units, which are the variables.
    pub fn n_visible(&self) -> usize {
        self.visible_bias.len()
    }

    /// The number of hidden units.
    pub fn n_hidden(&self) -> usize {
        self.hidden_bias.len()
    }

    /// `W`, `[n_visible * n_hidden]`, visible unit by visible unit.
    pub fn weights(&self) -> &[f64] {
        &self.by_visible
    }

    /// `b`, `[n_visible]`.
    pub fn visible_bias(&self) -> &[f64] {
        &self.visible_bias
    }

    /// `c`, `[n_hidden]`.
    pub fn hidden_bias(&self) -> &[f64] {
        &self.hidden_bias
    }

    /// `c + W' v`, `[n_hidden]`: given the visible bits, hidden unit `j` is on with probability `sigmoid(out[j])`.
    ///
    /// ```
    /// let rbm = ebm_core::Rbm::new(vec![1.0, -2.0], vec![0.5, 0.0], vec![0.25])?;
    /// let mut out = [0.0];
    /// rbm.hidden_activations(&[1, 1], &mut out);
    /// assert_eq!(out, [0.25 + 1.0 - 2.0]);
    /// # Ok::<(), ebm_core::Error>(())
    /// ```
    pub fn hidden_activations(&self, visible: &[u8], out: &mut [f64]) {
        add_rows(&self.hidden_bias, &self.by_visible, visible, out);
    }

    /// `b + W h`, `[n_visible]`: given the hidden bits, visible unit `i` is on with probability `sigmoid(out[i])`.
    pub fn visible_activations(&self, hidden: &[u8], out: &mut [f64]) {
        add_rows(&self.visible_bias, &self.by_hidden, hidden, out);
    }

    /// `F` with the visible units given by a function, which need not be 0 or 1.
    pub(super) fn free_energy_by(&self, visible: impl Fn(usize) -> f64) -> f64 {
        let mut sum: f64 = self.visible_bias.iter().enumerate().map(|(i, b)| b * visible(i)).sum();
        for (bias, weights) in self.units() {
            sum += softplus(bias + weights.iter().enumerate().map(|(i, w)| w * visible(i)).sum::<f64>());
        }
        -sum
    }

    /// Each hidden unit's bias and weights `[n_visible]`.
    fn units(&self) -> impl Iterator<Item = (f64, &[f64])> {
        self.hidden_bias.iter().copied().zip(self.by_hidden.chunks_exact(self.n_visible()))
    }
}

impl DiscreteEnergy for Rbm {
    fn n_variables(&self) -> usize {
        self.n_visible()
    }

    fn n_states(&self) -> usize {
        2
    }

    fn energy(&self, x: &[u8]) -> f64 {
        self.free_energy_by(|i| f64::from(x[i]))
    }

    fn local_energies(&self, x: &mut [u8], i: usize, out: &mut [f64]) {
        let (mut off, mut on) = (0.0, -self.visible_bias[i]);
        for (bias, weights) in self.units() {
            let rest = activation(bias, weights, x) - f64::from(x[i]) * weights[i];
            off -= softplus(rest);
            on -= softplus(rest + weights[i]);
        }
        (out[0], out[1]) = (off, on);
    }
}

impl RelaxedEnergy for Rbm {
    fn relaxed_gradient(&self, x: &[u8], out: &mut [f64]) {
        for (pair, bias) in out.chunks_exact_mut(2).zip(&self.visible_bias) {
            (pair[0], pair[1]) = (0.0, -bias);
        }
        for (bias, weights) in self.units() {
            let active = 1.0 / (1.0 + (-activation(bias, weights, x)).exp());
            for (pair, weight) in out.chunks_exact_mut(2).zip(weights) {
                pair[1] -= weight * active;
            }
        }
    }
}

/// The biases and the rows whose bit is set.
fn add_rows(biases: &[f64], rows: &[f64], bits: &[u8], out: &mut [f64]) {
    out.copy_from_slice(biases);
    for (row, _) in rows.chunks_exact(out.len()).zip(bits).filter(|(_, bit)| **bit == 1) {
        out.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
    }
}

fn activation(bias: f64, weights: &[f64], x: &[u8]) -> f64 {
    bias + weights.iter().zip(x).map(|(w, x)| w * f64::from(*x)).sum::<f64>()
}

/// `ln(1 + exp(a))`, without overflow.
fn softplus(a: f64) -> f64 {
    a.max(0.0) + (-a.abs()).exp().ln_1p()
}

fn check_finite(name: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(Error::bad_value(format!("{name}[{i}]"), values[i], "finite", "")),
    }
}
