//! A metric that changes with the position: what Riemannian samplers ask of a model besides its energy.

/// A symmetric positive definite matrix `G(x)` and its derivatives. Best is near the Hessian of the energy: the Fisher
/// information plus the prior's precision, for a Bayesian model. Source: Girolami and Calderhead 2011 (DOI
/// 10.1111/j.1467-9868.2010.00765.x).
///
/// ```
/// use ebm_core::RiemannianMetric;
/// /// `G = diag(1, e^-x_0)`.
/// struct Scale;
/// impl RiemannianMetric for Scale {
///     fn metric(&self, x: &[f64], g: &mut [f64]) {
///         g.copy_from_slice(&[1.0, 0.0, 0.0, (-x[0]).exp()]);
///     }
///     fn metric_derivatives(&self, x: &[f64], dg: &mut [f64]) {
///         dg.fill(0.0);
///         dg[3] = -(-x[0]).exp();
///     }
/// }
/// let mut g = [0.0; 4];
/// Scale.metric(&[0.0, 5.0], &mut g);
/// assert_eq!(g, [1.0, 0.0, 0.0, 1.0]);
/// ```
pub trait RiemannianMetric {
    /// `G(x)` into `g`, `[dim * dim]` row by row.
    fn metric(&self, x: &[f64], g: &mut [f64]);

    /// `dG / dx_k` for every `k` into `dg`, `[k, row, column]`.
    fn metric_derivatives(&self, x: &[f64], dg: &mut [f64]);
}

impl<M: RiemannianMetric + ?Sized> RiemannianMetric for &M {
    fn metric(&self, x: &[f64], g: &mut [f64]) {
        (**self).metric(x, g);
    }
    fn metric_derivatives(&self, x: &[f64], dg: &mut [f64]) {
        (**self).metric_derivatives(x, dg);
    }
}
