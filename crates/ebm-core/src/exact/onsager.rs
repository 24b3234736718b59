//! The infinite square Ising lattice without a field: energy and spontaneous magnetisation in closed form.
//!
//! With `K` the coupling and `k' = 2 tanh^2 2K - 1`, the energy per site of `E = -K sum_edges s_i s_j` is
//! `-K coth 2K (1 + k' (2 / pi) K_1(kappa))`, `kappa = 2 sinh 2K / cosh^2 2K`. As `kappa^2 + k'^2 = 1`, the complete
//! elliptic integral is `K_1 = pi / (2 agm(1, |k'|))`, and the bracket is `1 + k' / agm(1, |k'|)`. The lattice is
//! critical at `K = ln(1 + sqrt 2) / 2 = 0.440687`, where `k' = 0`. Below that temperature each spin has the mean
//! `(1 - sinh^-4 2K)^(1/8)`.
//!
//! Source: L. Onsager, Physical Review 65 (1944), DOI 10.1103/PhysRev.65.117; the magnetisation C. N. Yang, Physical
//! Review 85 (1952), DOI 10.1103/PhysRev.85.808.

/// The mean energy per site of the infinite lattice, `E = -coupling * sum_edges s_i s_j`, without a field.
///
/// A torus of side `L` off the critical point differs by an amount that falls exponentially with `L` over the
/// correlation length; for couplings below the critical one that length is `1 / (ln coth K - 2 K)`.
///
/// ```
/// let critical = 0.5 * (1.0 + 2f64.sqrt()).ln();
/// let per_edge = ebm_core::exact::onsager_energy(critical) / (-2.0 * critical);
/// assert!((per_edge - 0.5f64.sqrt()).abs() < 1e-12);
/// ```
pub fn onsager_energy(coupling: f64) -> f64 {
    let tanh = (2.0 * coupling).tanh();
    if tanh == 0.0 {
        return 0.0;
    }
    let complement = 2.0 * tanh * tanh - 1.0;
    // k' / agm(1, |k'|) tends to 0 with k', if slowly: near the critical point the slope is infinite.
    let ratio = if complement == 0.0 { 0.0 } else { complement / agm(1.0, complement.abs()) };
    -coupling / tanh * (1.0 + ratio)
}

/// The mean of a spin of the infinite lattice deep inside a phase; 0 at and above the critical temperature.
///
/// ```
/// assert_eq!(ebm_core::exact::onsager_magnetisation(0.4), 0.0);
/// assert!((ebm_core::exact::onsager_magnetisation(0.5) - 0.911319).abs() < 1e-6);
/// ```
pub fn onsager_magnetisation(coupling: f64) -> f64 {
    let sinh = (2.0 * coupling).sinh();
    if sinh <= 1.0 { 0.0 } else { (1.0 - sinh.powi(-4)).powf(0.125) }
}

/// The arithmetic-geometric mean of two positive numbers.
fn agm(mut a: f64, mut b: f64) -> f64 {
    // Converges quadratically; the bound only guards against a last bit that flips for ever.
    for _ in 0..60 {
        if (a - b).abs() <= 1e-16 * a {
            break;
        }
        (a, b) = (0.5 * (a + b), (a * b).sqrt());
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Boundary, IsingLattice, TransferMatrix};

    fn torus_energy(width: usize, length: usize, coupling: f64) -> f64 {
        let lattice = IsingLattice::new(width, length, Boundary::Torus, coupling, 0.0).unwrap();
        TransferMatrix::new(lattice).unwrap().mean_energy() / (width * length) as f64
    }

    /// Tori of growing width come nearer by a factor `exp(-1 / xi)` a row, if not more (a power of the width goes
    /// with it): hot, `1 / xi = ln coth K - 2 K`; cold, of the dual coupling, `2 K - ln coth K`, and walls come in
    /// pairs unless they wind, so that factor is an upper bound.
    #[test]
    fn wide_tori_approach_it() {
        for coupling in [0.2f64, -0.2, 0.25, 0.7] {
            let exact = onsager_energy(coupling);
            let errors = [4, 6, 8].map(|width| (torus_energy(width, 24, coupling) - exact).abs());
            let decay = (-(2.0 * coupling.abs() + coupling.abs().tanh().ln()).abs()).exp();
            assert!(errors[1] < decay * decay * errors[0], "{coupling}: {errors:?}");
            assert!(
                errors[2] < decay * decay * errors[1] && errors[2] < decay.powi(8),
                "{coupling}: {errors:?}"
            );
        }
    }

    #[test]
    fn symmetries() {
        assert_eq!(onsager_energy(0.0), 0.0);
        for coupling in [0.1, 0.44, 0.441, 0.8] {
            // On a bipartite lattice turning every second spin round turns the sign of the coupling.
            assert!((onsager_energy(coupling) - onsager_energy(-coupling)).abs() < 1e-12);
        }
        // Hot: E = -2 K tanh K to second order. Cold: every bond satisfied.
        assert!((onsager_energy(1e-3) + 2e-6).abs() < 1e-11);
        assert!((onsager_energy(5.0) + 10.0).abs() < 1e-10);
    }
}
