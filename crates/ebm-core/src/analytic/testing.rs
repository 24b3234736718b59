//! The checks that every analytic energy passes, and quadrature.

use super::Exact;
use crate::random::{Purpose, Stream};
use crate::{Block, GradEnergy, HostEnergy, Result};

/// Simpson's rule with `n` (even) intervals.
pub(super) fn simpson(f: impl Fn(f64) -> f64, low: f64, high: f64, n: usize) -> f64 {
    let h = (high - low) / n as f64;
    let weight = |i| if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
    (0..=n).map(|i| weight(i) * f(low + h * i as f64)).sum::<f64>() * h / 3.0
}

/// `ln Z` of a law in two dimensions by Simpson's rule over a rectangle.
pub(super) fn log_partition_2d(law: &dyn Exact, x: (f64, f64), y: (f64, f64), n: usize) -> f64 {
    let row = |a| simpson(|b| (-law.value(&[a, b])).exp(), y.0, y.1, n);
    simpson(row, x.0, x.1, n).ln()
}

/// What the checks below ask of an energy.
pub(super) trait Law:
    HostEnergy<f64>
    + HostEnergy<f32>
    + GradEnergy<Vec<f64>>
    + GradEnergy<Vec<f32>>
    + GradEnergy<Block<f64>>
    + GradEnergy<Block<f32>>
    + Tensors
    + Clone
    + Sync
{
}
impl<E> Law for E where
    E: HostEnergy<f64>
        + HostEnergy<f32>
        + GradEnergy<Vec<f64>>
        + GradEnergy<Vec<f32>>
        + GradEnergy<Block<f64>>
        + GradEnergy<Block<f32>>
        + Tensors
        + Clone
        + Sync
{
}

pub(super) fn check_all<E: Law + Exact>(law: &E, n_draws: usize) {
    let dim = law.mean().len();
    // Exact draws, moved by normals: near the mass, but not only at it.
    let mut stream = Stream::new(3, Purpose::User, 0);
    let mut rows = vec![];
    for _ in 0..9 {
        let x = law.sample(&mut stream);
        rows.extend(x.iter().map(|x| x + 0.5 * stream.normal()));
    }
    check_energy(law, dim, &rows);
    check_draws(law, n_draws);
    let wrong = vec![0.5; dim + 1];
    let text = format!("coordinates of a point: expected {dim}, found {}", dim + 1);
    assert_eq!(law.log_density(&wrong).unwrap_err().to_string(), text);
    let density = law.log_density(&rows[..dim]).unwrap();
    assert_eq!(density, -HostEnergy::<f64>::value(law, &rows[..dim]) - law.log_partition());
}

/// What needs no exact answers, at the points `rows`, `[points * dim]`.
pub(super) fn check_energy<E: Law>(law: &E, dim: usize, rows: &[f64]) {
    check_gradient(law, dim, rows);
    check_host(law, dim, rows).unwrap();
    check_tensors(law, dim, rows);
    let text = format!("coordinates of a point: expected {dim}, found {}", dim + 1);
    assert_eq!(law.energy(&vec![0.5; dim + 1]).unwrap_err().to_string(), text);
}

/// Central differences (fourth order) in f64.
fn check_gradient<E: HostEnergy<f64>>(law: &E, dim: usize, rows: &[f64]) {
    for x in rows.chunks(dim) {
        let mut grad = vec![f64::NAN; dim];
        law.value_grad(x, &mut grad);
        let scale = grad.iter().fold(1.0f64, |s, g| s.max(g.abs()));
        for i in 0..dim {
            let at = |step: f64| {
                let mut moved = x.to_vec();
                moved[i] += step;
                law.value(&moved)
            };
            let h = 1e-3;
            let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert!((slope - grad[i]).abs() < 1e-6 * scale, "coordinate {i}: {slope} {}", grad[i]);
        }
    }
}

/// Chains, blocks and both precisions agree; `grad` alone and `energy` alone are `energy_grad`'s.
fn check_host<E: Law>(law: &E, dim: usize, rows: &[f64]) -> Result<()> {
    let single: Vec<f32> = rows.iter().map(|x| *x as f32).collect();
    let (wide, narrow) = (Block::new(dim, rows.to_vec())?, Block::new(dim, single.clone())?);
    let (mut grads, mut alone) = (wide.clone(), wide.clone());
    let (mut grads32, mut alone32) = (narrow.clone(), narrow.clone());
    let (values, values32) = (law.energy_grad(&wide, &mut grads)?, law.energy_grad(&narrow, &mut grads32)?);
    law.grad(&wide, &mut alone)?;
    law.grad(&narrow, &mut alone32)?;
    assert_eq!((&grads, &grads32), (&alone, &alone32));
    let (energies, energies32) = (law.energy(&wide)?, law.energy(&narrow)?);
    for (i, (x, x32)) in rows.chunks(dim).zip(single.chunks(dim)).enumerate() {
        let (x, x32) = (x.to_vec(), x32.to_vec());
        let (mut grad, mut grad32) = (vec![f64::NAN; dim], vec![f32::NAN; dim]);
        assert_eq!(law.energy_grad(&x, &mut grad)?, values.of_chain(i));
        assert_eq!(law.energy_grad(&x32, &mut grad32)?, values32.of_chain(i));
        assert_eq!((law.energy(&x)?, law.energy(&x32)?), (energies.of_chain(i), energies32.of_chain(i)));
        assert_eq!(energies.of_chain(i), values.of_chain(i));
        assert_eq!(energies32.of_chain(i), values32.of_chain(i));
        assert_eq!(grad, &grads.as_slice()[i * dim..][..dim]);
        assert_eq!(grad32, &grads32.as_slice()[i * dim..][..dim]);
        // f32 against f64 at the same, rounded, point.
        let rounded: Vec<f64> = x32.iter().map(|x| f64::from(*x)).collect();
        let value = law.energy_grad(&rounded, &mut grad)?;
        close(energies32.of_chain(i), value, value.abs().max(1.0), 1e-4);
        let scale = grad.iter().fold(1.0f64, |s, g| s.max(g.abs()));
        for (a, b) in grad32.iter().zip(&grad) {
            close(f64::from(*a), *b, scale, 1e-4);
        }
    }
    Ok(())
}

fn close(a: f64, b: f64, scale: f64, relative: f64) {
    assert!((a - b).abs() <= relative * scale, "{a} {b}");
}

/// Means and covariances of exact draws within five standard errors, these estimated from the draws.
pub(super) fn check_draws<E: Exact>(law: &E, n: usize) {
    let (mean, covariance) = (law.mean(), law.covariance());
    let dim = mean.len();
    let mut stream = Stream::new(7, Purpose::User, 1);
    let draws: Vec<Vec<f64>> = (0..n).map(|_| law.sample(&mut stream)).collect();
    let check = |what: String, expected: f64, values: &mut dyn Iterator<Item = f64>| {
        let (mut sum, mut squares) = (0.0, 0.0);
        for v in values {
            sum += v;
            squares += v * v;
        }
        let average = sum / n as f64;
        let error = ((squares / n as f64 - average * average) / n as f64).sqrt();
        assert!((average - expected).abs() <= 5.0 * error, "{what}: {average} +- {error}, {expected}");
    };
    for i in 0..dim {
        check(format!("mean {i}"), mean[i], &mut draws.iter().map(|x| x[i]));
        for j in 0..=i {
            let products = &mut draws.iter().map(|x| (x[i] - mean[i]) * (x[j] - mean[j]));
            check(format!("covariance {i} {j}"), covariance[i * dim + j], products);
            assert_eq!(covariance[i * dim + j], covariance[j * dim + i]);
        }
    }
}

#[cfg(feature = "torch")]
mod tensors {
    use super::close;
    use crate::{GradEnergy, GraphEnergy, HostEnergy, TensorScalar};
    use tch::{Device, Kind, Tensor};

    /// The tensor side of an energy.
    pub trait Tensors: GradEnergy<Tensor> + GraphEnergy {}
    impl<E: GradEnergy<Tensor> + GraphEnergy> Tensors for E {}

    fn numbers(t: &Tensor) -> Vec<f64> {
        Vec::try_from(&t.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    /// Tensors give what host chains give, in closed form and with graph.
    pub fn check_tensors<E: HostEnergy<f64> + Tensors>(law: &E, dim: usize, rows: &[f64]) {
        for (kind, relative) in [(Kind::Float, 1e-5), (Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
            let x = Tensor::from_slice(rows).view([-1, dim as i64]).to_kind(kind);
            let (mut grad, mut alone) = (x.zeros_like(), x.zeros_like());
            let TensorScalar::Each(values) = law.energy_grad(&x, &mut grad).unwrap() else { panic!() };
            let TensorScalar::Each(energies) = law.energy(&x).unwrap() else { panic!() };
            law.grad(&x, &mut alone).unwrap();
            assert!(values == energies && grad == alone);
            assert!(!values.requires_grad() && !grad.requires_grad() && grad.kind() == kind);
            let (with_graph, grad_graph) = law.energy_grad_graph(&x).unwrap();
            assert!(grad_graph.requires_grad());
            let (values, grads, rounded) = (numbers(&values), numbers(&grad), numbers(&x));
            let (with_graph, grad_graph) = (numbers(&with_graph), numbers(&grad_graph));
            for (i, x) in rounded.chunks(dim).enumerate() {
                let mut host = vec![f64::NAN; dim];
                let value = law.value_grad(x, &mut host);
                // Terms that cancel in the energy are as large as the gradient times the point.
                let slope = host.iter().fold(1.0f64, |s, g| s.max(g.abs()));
                let size = x.iter().fold(value.abs().max(slope), |s, x| s.max(slope * x.abs()));
                close(values[i], value, size, relative);
                close(with_graph[i], value, size, relative);
                for (j, g) in host.iter().enumerate() {
                    close(grads[i * dim + j], *g, size, relative);
                    close(grad_graph[i * dim + j], *g, size, relative);
                }
            }
        }
        let wrong = Tensor::zeros([3, dim as i64 + 1], (Kind::Float, Device::Cpu));
        let text = format!("points [chains, dim]: expected [_, {dim}], found [3, {}]", dim + 1);
        assert_eq!(law.energy(&wrong).unwrap_err().to_string(), text);
        assert_eq!(law.energy_grad(&wrong, &mut wrong.zeros_like()).unwrap_err().to_string(), text);
        assert_eq!(law.grad(&wrong, &mut wrong.zeros_like()).unwrap_err().to_string(), text);
        assert!(law.energy(&wrong.flatten(0, -1)).is_err());
    }
}

#[cfg(feature = "torch")]
use tensors::{Tensors, check_tensors};

#[cfg(not(feature = "torch"))]
pub(super) trait Tensors {}
#[cfg(not(feature = "torch"))]
impl<E> Tensors for E {}
#[cfg(not(feature = "torch"))]
fn check_tensors<E>(_: &E, _: usize, _: &[f64]) {}
