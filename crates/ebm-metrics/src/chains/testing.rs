//! Chains made by a formula, the same in Python, for the golden numbers of the tests.
//!
//! ```python
//! import numpy as np, arviz as az                                     # arviz 0.23.4, scipy 1.17.1
//! def noise(n):                                                       # splitmix64 of the index
//!     out, full = np.empty(n), 2**64 - 1
//!     for i in range(n):
//!         z = (i + 1) * 0x9E3779B97F4A7C15 & full
//!         z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & full
//!         z = (z ^ (z >> 27)) * 0x94D049BB133111EB & full
//!         out[i] = (z ^ (z >> 31)) / 2**64 - 0.5
//!     return out
//! def chains(m, n, rho):
//!     e, x = noise(m * n).reshape(m, n), np.zeros((m, n))
//!     for c in range(m):
//!         last = 0.0
//!         for t in range(n):
//!             last = rho * last + e[c, t]; x[c, t] = last
//!     return x
//! a = chains(4, 100, 0.6); b = chains(3, 101, -0.4); b[1] += 0.3; c = np.round(4 * chains(2, 50, 0.9))
//! d = chains(2, 7, 0.3); e = chains(2, 4, 0.3)
//! for x in (a, b, c, d, e):
//!     print(az.rhat(x), [az.ess(x, method=m) for m in ("bulk", "tail", "mean", "sd")],
//!           az.ess(x, method="quantile", prob=0.3), az.mcse(x, method="mean"), az.mcse(x, method="sd"),
//!           az.mcse(x, method="quantile", prob=0.3))
//! print(az.bfmi(a))
//! ```

use ndarray::{Array2, s};

/// Autoregressive chains `[chain, draw]` over splitmix64 noise.
pub(crate) fn formula_chains(n_chains: usize, n_draws: usize, rho: f64) -> Array2<f64> {
    let mut x = Array2::zeros((n_chains, n_draws));
    for c in 0..n_chains {
        let mut last = 0.0;
        for t in 0..n_draws {
            last = rho * last + noise((c * n_draws + t) as u64);
            x[[c, t]] = last;
        }
    }
    x
}

fn noise(i: u64) -> f64 {
    let z = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / 2f64.powi(64) - 0.5
}

/// The five golden inputs a to e.
pub(crate) fn golden_inputs() -> [Array2<f64>; 5] {
    let mut b = formula_chains(3, 101, -0.4);
    b.slice_mut(s![1, ..]).mapv_inplace(|x| x + 0.3);
    let c = formula_chains(2, 50, 0.9).mapv(|x| (4.0 * x).round_ties_even());
    [formula_chains(4, 100, 0.6), b, c, formula_chains(2, 7, 0.3), formula_chains(2, 4, 0.3)]
}

/// Compare a diagnostic with its golden numbers, to 1e-10 of their size.
pub(crate) fn assert_golden(
    diagnostic: impl Fn(ndarray::ArrayView2<f64>) -> ebm_core::Result<f64>,
    golden: [f64; 5],
) {
    for (k, (x, gold)) in golden_inputs().iter().zip(golden).enumerate() {
        let found = diagnostic(x.view()).unwrap();
        assert!((found - gold).abs() <= 1e-10 * gold.abs(), "input {k}: {found} against {gold}");
    }
}
