//! Energies of the NUTS cases that `ebm_core::analytic` does not hold; those of `rivals/targets.py`.

use ebm_core::random::{Purpose, Stream};

// Rubin (1981): effects and standard errors of coaching in eight schools.
const EFFECTS: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const ERRORS: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// `mu ~ N(0, 5)`, `tau ~` half-Cauchy(0, 5) as its logarithm: the energy, its gradient in `grad[..2]`, and `tau`.
fn prior(x: &[f64], grad: &mut [f64]) -> (f64, f64) {
    let (mu, log_tau) = (x[0], x[1]);
    let tau = log_tau.exp();
    let ratio = (tau / 5.0).powi(2);
    grad[0] = mu / 25.0;
    grad[1] = 2.0 * ratio / (1.0 + ratio) - 1.0;
    (0.5 * (mu / 5.0).powi(2) + ratio.ln_1p() - log_tau, tau)
}

/// `x = (mu, ln tau, theta)`.
pub fn eight_schools_centred(x: &[f64], grad: &mut [f64]) -> f64 {
    let (mut energy, tau) = prior(x, grad);
    energy += 8.0 * x[1];
    grad[1] += 8.0;
    for i in 0..8 {
        let z = (x[2 + i] - x[0]) / tau;
        let residual = (x[2 + i] - EFFECTS[i]) / ERRORS[i];
        energy += 0.5 * (z * z + residual * residual);
        grad[0] -= z / tau;
        grad[1] -= z * z;
        grad[2 + i] = residual / ERRORS[i] + z / tau;
    }
    energy
}

/// `x = (mu, ln tau, z)` with `theta = mu + tau z`.
pub fn eight_schools_non_centred(x: &[f64], grad: &mut [f64]) -> f64 {
    let (mut energy, tau) = prior(x, grad);
    for i in 0..8 {
        let z = x[2 + i];
        let residual = (x[0] + tau * z - EFFECTS[i]) / ERRORS[i];
        let slope = residual / ERRORS[i];
        energy += 0.5 * (z * z + residual * residual);
        grad[0] += slope;
        grad[1] += slope * tau * z;
        grad[2 + i] = z + slope * tau;
    }
    energy
}

pub const FEATURES: usize = 24;
pub const PRIOR_SCALE: f64 = 1.0;

/// 1,000 rows of standard normal features and, last, a label drawn with standard normal weights.
pub fn logistic_rows() -> Vec<f64> {
    let mut rng = Stream::new(0, Purpose::Synthetic, 0);
    let weights: Vec<f64> = (0..FEATURES).map(|_| rng.normal()).collect();
    let mut rows = Vec::new();
    for _ in 0..1000 {
        let features: Vec<f64> = (0..FEATURES).map(|_| rng.normal()).collect();
        let logit: f64 = features.iter().zip(&weights).map(|(f, w)| f * w).sum();
        let label = f64::from(u8::from(rng.uniform() < 1.0 / (1.0 + (-logit).exp())));
        rows.extend(features);
        rows.push(label);
    }
    rows
}

/// `sum_n ln(1 + e^l_n) - y_n l_n + |x|^2 / 2 scale^2`, `l = features x`.
pub fn logistic(rows: &[f64], x: &[f64], grad: &mut [f64]) -> f64 {
    let precision = PRIOR_SCALE.powi(-2);
    let mut energy = 0.0;
    for (g, x) in grad.iter_mut().zip(x) {
        energy += 0.5 * precision * x * x;
        *g = precision * x;
    }
    for row in rows.chunks_exact(FEATURES + 1) {
        let (features, label) = row.split_at(FEATURES);
        let logit: f64 = features.iter().zip(x).map(|(f, x)| f * x).sum();
        let small = (-logit.abs()).exp();
        energy += logit.max(0.0) + small.ln_1p() - label[0] * logit;
        let probability = if logit > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
        for (g, f) in grad.iter_mut().zip(features) {
            *g += (probability - label[0]) * f;
        }
    }
    energy
}
