//! A density written as a closure, sampled by Hamiltonian Monte Carlo, without LibTorch.

use ebm_core::{Host, Result};
use ebm_samplers::{Hmc, SampleConfig, sample};

fn main() -> Result<()> {
    // A ring of radius 3: E(x) = 10 (|x| - 3)^2, and its gradient.
    let ring = Host::value_grad(2, |x: &[f64], grad: &mut [f64]| {
        let r = x[0].hypot(x[1]);
        grad[0] = 20.0 * (r - 3.0) * x[0] / r;
        grad[1] = 20.0 * (r - 3.0) * x[1] / r;
        10.0 * (r - 3.0).powi(2)
    });
    let starts = vec![vec![3.0, 0.0]; 8];
    let config = SampleConfig { n_draws: 2000, burn_in: 500, target_accept: Some(0.8), ..Default::default() };
    let run = sample(&Hmc::new(0.1, 20), &ring, starts, &config)?;

    let draws = run.draws.array();
    let mean_radius = draws.rows().into_iter().map(|x| x[0].hypot(x[1])).sum::<f64>() / 16_000.0;
    println!("mean radius {mean_radius:.3} (exact: 3 + 1/60 = 3.017)");
    println!("{}", run.summary);
    assert!((mean_radius - (3.0 + 1.0 / 60.0)).abs() < 0.01);
    Ok(())
}
