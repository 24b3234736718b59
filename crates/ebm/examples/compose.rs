//! Two energies composed and sampled: a banana, and a wall that keeps one coordinate above -1.

#![allow(clippy::print_stdout)]

use ebm::core::analytic::Rosenbrock;
use ebm::prelude::*;

fn main() -> Result<()> {
    let banana = Rosenbrock::standard(2)?;
    let wall = Host::value_grad(2, |x: &[f64], g: &mut [f64]| {
        let beyond = (-1.0 - x[0]).max(0.0);
        g.copy_from_slice(&[-100.0 * beyond, 0.0]);
        50.0 * beyond * beyond
    });
    // A sum of energies is a product of densities; tempering flattens it.
    let energy = banana.plus(wall).tempered(0.5);

    let starts = vec![vec![1.0, 1.0]; 8];
    let config =
        SampleConfig { n_draws: 2000, burn_in: 1000, target_accept: Some(0.9), ..Default::default() };
    let run = sample(&Hmc::new(0.05, 20), &energy, starts, &config)?;

    println!("{}", run.summary);
    let lowest = run.draws.array().iter().step_by(2).copied().fold(f64::INFINITY, f64::min);
    println!("lowest first coordinate: {lowest:.2}");
    Ok(())
}
