//! Stein variational gradient descent: particles moved together until they stand for the law.
//!
//! `x_i += h phi(x_i)`, `phi(x) = (1 / n) sum_j (-k(x_j, x) grad E(x_j) + grad_{x_j} k(x_j, x))`: the first term pulls towards
//! low energies, the second pushes particles apart. Of all directions of a given length in the kernel's space it lowers the
//! Kullback-Leibler divergence fastest, by the square of the kernelised Stein discrepancy. Source: Liu and Wang 2016 (arXiv
//! 1608.04471). The discrepancy: Liu, Lee and Jordan 2016 (arXiv 1602.03253).
//!
//! This is no Markov chain. It draws nothing at random, and what it ends at is an approximation: `n` dependent points. In
//! many coordinates the Gaussian kernel makes their variances too small.

use ebm_core::{Error, GradEnergy, Result, Schedule};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::kernel::check_step_size;
use crate::start_points::check_points;

/// Added to the root of the mean square of a direction before it divides it.
const SMALL: f64 = 1e-6;

/// Settings of Stein variational gradient descent, on host points in f64.
///
/// Use it for a few dozen points that stand for a law. Not for exact expectations, nor for many coordinates:
/// variances come out too small.
///
/// ```
/// use ebm_core::analytic::Gaussian;
/// use ebm_samplers::{StartPoints, Svgd};
/// let law = Gaussian::standard(2)?;
/// let starts = StartPoints::default().draw(&law, 2, 50)?;
/// let svgd = Svgd::new(0.1, 200);
/// let run = svgd.run(&law, starts.clone())?;
/// assert!(run.discrepancy < svgd.discrepancy(&law, &starts)?);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Svgd {
    /// `h`, above 0: of the scaled direction where there is a `decay`, otherwise of `phi` itself.
    pub step_size: Schedule,
    /// Steps of all particles; at least 1.
    pub n_steps: usize,
    /// How particles act on each other.
    #[serde(default)]
    pub kernel: SteinKernel,
    /// Where given, each number of `phi` is divided by the root of the running mean of its squares, which keeps this share
    /// of its past in each step; in `[0, 1)`. Steps of constant size then never quite settle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
}

/// `k(x, y)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SteinKernel {
    /// Gaussian, `s^2 = m^2 / (2 ln(n + 1))` with `m` the median distance of the particles, anew in each step: the forces
    /// of all others on a particle add up to about that of itself.
    #[default]
    Median,
    /// `exp(-|x - y|^2 / (2 s^2))`.
    Gaussian {
        /// `s`, above 0.
        bandwidth: f64,
    },
    /// `1 + x . y`. It sees means and covariances alone; on a normal law both are exact where it has settled, with more
    /// particles than coordinates. Source: Liu and Wang 2018 (arXiv 1810.11693).
    Linear,
}

/// What came out of a descent.
#[derive(Clone, Debug)]
pub struct SvgdRun {
    /// Where the particles ended.
    pub points: Vec<Vec<f64>>,
    /// Their kernelised Stein discrepancy, by the kernel of the last step.
    pub discrepancy: f64,
    /// How often a particle's gradient was not finite. It then pulls nothing, and is still pushed.
    pub n_not_finite: u64,
}

/// The kernel at the present particles.
#[derive(Clone, Copy)]
enum Pair {
    /// `1 / s^2`.
    Gaussian(f64),
    Linear,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

impl Pair {
    /// Add to `out` what the particle at `y` with gradient `grad` does to one at `x`.
    fn add_force(self, x: &[f64], y: &[f64], grad: &[f64], out: &mut [f64]) {
        match self {
            Self::Gaussian(precision) => {
                let k = (-0.5 * precision * square_distance(x, y)).exp();
                for i in 0..x.len() {
                    out[i] += k * (precision * (x[i] - y[i]) - grad[i]);
                }
            }
            Self::Linear => {
                let k = 1.0 + dot(x, y);
                for i in 0..x.len() {
                    out[i] += x[i] - k * grad[i];
                }
            }
        }
    }

    /// Stein's kernel `s . s' k + s . grad_y k + s' . grad_x k + tr grad_x grad_y k`, with the scores `s = -grad E`.
    fn stein(self, x: &[f64], grad_x: &[f64], y: &[f64], grad_y: &[f64]) -> f64 {
        let (dim, scores) = (x.len() as f64, dot(grad_x, grad_y));
        match self {
            Self::Gaussian(precision) => {
                let square = square_distance(x, y);
                let along: f64 =
                    (0..x.len()).map(|i| (grad_y[i] - grad_x[i]) * (x[i] - y[i])).sum::<f64>() * precision;
                (-0.5 * precision * square).exp() * (scores + along + precision * (dim - precision * square))
            }
            Self::Linear => scores * (1.0 + dot(x, y)) - dot(grad_x, x) - dot(grad_y, y) + dim,
        }
    }
}

impl SteinKernel {
    fn at(self, particles: &[Vec<f64>]) -> Pair {
        match self {
            Self::Linear => Pair::Linear,
            Self::Gaussian { bandwidth } => Pair::Gaussian(bandwidth.powi(-2)),
            Self::Median => {
                let n = particles.len();
                let mut squares: Vec<f64> = (0..n)
                    .into_par_iter()
                    .flat_map_iter(|i| (0..i).map(move |j| (i, j)))
                    .map(|(i, j)| square_distance(&particles[i], &particles[j]))
                    .collect();
                let middle = squares.len() / 2;
                let median = if squares.is_empty() {
                    0.0
                } else {
                    *squares.select_nth_unstable_by(middle, f64::total_cmp).1
                };
                // Particles that coincide do not push each other at any bandwidth.
                let precision = 2.0 * (n as f64 + 1.0).ln() / median;
                Pair::Gaussian(if precision.is_finite() { precision } else { 1.0 })
            }
        }
    }
}

impl Svgd {
    /// The Gaussian kernel by the median, and directions scaled with `decay` 0.9.
    pub fn new(step_size: impl Into<Schedule>, n_steps: usize) -> Self {
        Self { step_size: step_size.into(), n_steps, kernel: SteinKernel::default(), decay: Some(0.9) }
    }

    /// Set [`Svgd::kernel`].
    pub fn kernel(mut self, kernel: SteinKernel) -> Self {
        self.kernel = kernel;
        self
    }

    /// Plain steps `x += h phi(x)`.
    pub fn plain(mut self) -> Self {
        self.decay = None;
        self
    }

    /// From these particles, `n_steps` steps.
    ///
    /// # Errors
    /// Impossible settings, no particles or of different lengths, a particle that ran away to where numbers end; and
    /// whatever the energy returns.
    pub fn run<E>(&self, energy: &E, mut particles: Vec<Vec<f64>>) -> Result<SvgdRun>
    where
        E: GradEnergy<Vec<f64>> + Sync,
    {
        self.check(&particles)?;
        let dim = particles[0].len();
        let mut squares = vec![vec![0.0; dim]; particles.len()];
        let mut n_not_finite = 0;
        for step in 0..self.n_steps as u64 {
            let (grads, not_finite) = gradients(energy, &particles)?;
            n_not_finite += not_finite;
            let pair = self.kernel.at(&particles);
            let mut directions = directions(pair, &particles, &grads);
            if let Some(decay) = self.decay {
                let keep = if step == 0 { 0.0 } else { decay };
                for (square, phi) in squares.iter_mut().flatten().zip(directions.iter_mut().flatten()) {
                    *square = keep * *square + (1.0 - keep) * *phi * *phi;
                    *phi /= SMALL + square.sqrt();
                }
            }
            let h = self.step_size.at(step);
            for (x, phi) in particles.iter_mut().flatten().zip(directions.iter().flatten()) {
                *x += h * phi;
            }
            if !particles.iter().flatten().all(|x| x.is_finite()) {
                let fix = "take a smaller step_size, or plain steps with a schedule";
                let name = format!("a particle after step {step}");
                return Err(Error::bad_value(name, "NaN or infinite", "finite", fix));
            }
        }
        let discrepancy = self.discrepancy(energy, &particles)?;
        Ok(SvgdRun { points: particles, discrepancy, n_not_finite })
    }

    /// `phi` at each particle.
    ///
    /// # Errors
    /// As [`Svgd::run`].
    pub fn direction<E>(&self, energy: &E, particles: &[Vec<f64>]) -> Result<Vec<Vec<f64>>>
    where
        E: GradEnergy<Vec<f64>> + Sync,
    {
        self.check(particles)?;
        let (grads, _) = gradients(energy, particles)?;
        Ok(directions(self.kernel.at(particles), particles, &grads))
    }

    /// The kernelised Stein discrepancy of the particles from the law, by this kernel: the root of the mean of Stein's kernel
    /// over all pairs, a particle with itself included. 0 for the law itself; of `n` exact draws it falls as one over the root
    /// of `n`.
    ///
    /// # Errors
    /// As [`Svgd::run`].
    pub fn discrepancy<E>(&self, energy: &E, particles: &[Vec<f64>]) -> Result<f64>
    where
        E: GradEnergy<Vec<f64>> + Sync,
    {
        self.check(particles)?;
        let (grads, _) = gradients(energy, particles)?;
        let (pair, n) = (self.kernel.at(particles), particles.len());
        let row = |i: usize| -> f64 {
            (0..n).map(|j| pair.stein(&particles[i], &grads[i], &particles[j], &grads[j])).sum()
        };
        let rows: Vec<f64> = (0..n).into_par_iter().map(row).collect();
        Ok((rows.iter().sum::<f64>().max(0.0)).sqrt() / n as f64)
    }

    fn check(&self, particles: &[Vec<f64>]) -> Result<()> {
        check_step_size(&self.step_size)?;
        if self.n_steps == 0 {
            return Err(Error::bad_value("n_steps", 0, "at least 1", ""));
        }
        if let Some(decay) = self.decay
            && !(0.0..1.0).contains(&decay)
        {
            return Err(Error::bad_value("decay", decay, "in [0, 1)", "0.9 is usual"));
        }
        if let SteinKernel::Gaussian { bandwidth } = self.kernel
            && !(bandwidth > 0.0 && bandwidth.is_finite())
        {
            let fix = "SteinKernel::Median finds one";
            return Err(Error::bad_value("bandwidth", bandwidth, "above 0 and finite", fix));
        }
        check_points(particles)
    }
}

/// Gradients of the energy, and how many particles have none that is finite: zeros there.
fn gradients<E>(energy: &E, particles: &[Vec<f64>]) -> Result<(Vec<Vec<f64>>, u64)>
where
    E: GradEnergy<Vec<f64>> + Sync,
{
    let one = |x: &Vec<f64>| {
        let mut grad = vec![0.0; x.len()];
        energy.grad(x, &mut grad)?;
        let finite = grad.iter().all(|g| g.is_finite());
        if !finite {
            grad.fill(0.0);
        }
        Ok((grad, u64::from(!finite)))
    };
    let found: Vec<(Vec<f64>, u64)> = particles.par_iter().map(one).collect::<Result<_>>()?;
    let not_finite = found.iter().map(|(_, n)| n).sum();
    Ok((found.into_iter().map(|(grad, _)| grad).collect(), not_finite))
}

fn directions(pair: Pair, particles: &[Vec<f64>], grads: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let one = |x: &Vec<f64>| {
        let mut phi = vec![0.0; x.len()];
        particles.iter().zip(grads).for_each(|(y, grad)| pair.add_force(x, y, grad, &mut phi));
        phi.iter_mut().for_each(|phi| *phi /= particles.len() as f64);
        phi
    };
    particles.par_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::analytic::{Exact, Gaussian, Rosenbrock};
    use ebm_core::random::{Purpose, Stream};
    use ebm_core::{Energy, Host};

    fn spread(n: usize, dim: usize) -> Vec<Vec<f64>> {
        let mut stream = Stream::new(0, Purpose::Start, 0);
        (0..n).map(|_| (0..dim).map(|_| 2.0 * stream.normal() - 1.0).collect()).collect()
    }

    /// The kernels once more, as they are written.
    fn value(kernel: SteinKernel, particles: &[Vec<f64>], x: &[f64], y: &[f64]) -> f64 {
        let gaussian = |s2: f64| (-square_distance(x, y) / (2.0 * s2)).exp();
        match kernel {
            SteinKernel::Linear => 1.0 + dot(x, y),
            SteinKernel::Gaussian { bandwidth } => gaussian(bandwidth * bandwidth),
            SteinKernel::Median => {
                let n = particles.len();
                let mut distances: Vec<f64> = (0..n)
                    .flat_map(|i| (0..i).map(move |j| (i, j)))
                    .map(|(i, j)| square_distance(&particles[i], &particles[j]).sqrt())
                    .collect();
                distances.sort_by(f64::total_cmp);
                assert_eq!(distances.len() % 2, 1);
                gaussian(distances[distances.len() / 2].powi(2) / (2.0 * (n as f64 + 1.0).ln()))
            }
        }
    }

    /// The direction and the discrepancy against their formulas, the kernel's derivatives by finite differences.
    #[test]
    fn direction_and_discrepancy_are_those_of_the_formulas() {
        let law = Rosenbrock::new(2, 1.0, 0.5, 1.0).unwrap();
        let (particles, h) = (spread(7, 2), 1e-4);
        let grad = |x: &Vec<f64>| {
            let mut grad = vec![0.0; 2];
            law.energy_grad(x, &mut grad).unwrap();
            grad
        };
        let moved = |x: &[f64], i: usize, by: f64| {
            let mut x = x.to_vec();
            x[i] += by;
            x
        };
        for kernel in [SteinKernel::Median, SteinKernel::Gaussian { bandwidth: 1.3 }, SteinKernel::Linear] {
            let svgd = Svgd::new(0.1, 1).kernel(kernel);
            let k = |x: &[f64], y: &[f64]| value(kernel, &particles, x, y);
            let slope =
                |x: &[f64], y: &[f64], i| (k(&moved(x, i, h), y) - k(&moved(x, i, -h), y)) / (2.0 * h);
            let directions = svgd.direction(&law, &particles).unwrap();
            let mut stein = 0.0;
            for (x, phi) in particles.iter().zip(&directions) {
                for i in 0..2 {
                    let pull = |y: &Vec<f64>| slope(y, x, i) - k(y, x) * grad(y)[i];
                    let exact = particles.iter().map(pull).sum::<f64>() / 7.0;
                    assert!((phi[i] - exact).abs() < 1e-7 * (1.0 + exact.abs()), "{} {exact}", phi[i]);
                }
                for y in &particles {
                    let (gx, gy) = (grad(x), grad(y));
                    stein += k(x, y) * dot(&gx, &gy);
                    for i in 0..2 {
                        stein -= gx[i] * slope(y, x, i) + gy[i] * slope(x, y, i);
                        let at = |by: f64| slope(x, &moved(y, i, by), i);
                        stein += (at(h) - at(-h)) / (2.0 * h);
                    }
                }
            }
            let found = svgd.discrepancy(&law, &particles).unwrap();
            assert!((found - stein.sqrt() / 7.0).abs() < 1e-5 * found, "{found} {stein}");
        }
    }

    /// One particle: the discrepancy is `|grad E|^2 + dim / s^2`, and the descent is that of the gradient.
    #[test]
    fn one_particle_goes_downhill() {
        let law = Gaussian::diagonal(vec![1.0, -1.0], vec![1.0, 4.0]).unwrap();
        let svgd = Svgd::new(0.1, 1).kernel(SteinKernel::Gaussian { bandwidth: 0.5 }).plain();
        let x = vec![vec![3.0, 3.0]];
        assert!((svgd.discrepancy(&law, &x).unwrap() - (4.0 + 1.0 + 8.0f64).sqrt()).abs() < 1e-12);
        let moved = svgd.run(&law, x).unwrap().points;
        assert!((moved[0][0] - 2.8).abs() < 1e-12 && (moved[0][1] - 2.9).abs() < 1e-12);
        let mode = Svgd::new(0.1, 2000).plain().run(&law, vec![vec![3.0, 3.0]]).unwrap().points;
        assert!((mode[0][0] - 1.0).abs() < 1e-9 && (mode[0][1] + 1.0).abs() < 1e-9);
    }

    /// Where the linear kernel settles, mean and covariance of a normal law are exact.
    #[test]
    fn the_linear_kernel_settles_at_mean_and_covariance() {
        let law = Gaussian::new(vec![1.0, -0.5], vec![1.0, 0.4, 0.4, 0.6]).unwrap();
        let svgd = Svgd::new(0.05, 5000).kernel(SteinKernel::Linear).plain();
        let run = svgd.run(&law, spread(6, 2)).unwrap();
        assert!(run.discrepancy < 1e-7, "{}", run.discrepancy);
        let mean: Vec<f64> = (0..2).map(|i| run.points.iter().map(|x| x[i] / 6.0).sum()).collect();
        for i in 0..2 {
            assert!((mean[i] - law.mean()[i]).abs() < 1e-8);
            for j in 0..2 {
                let product = |x: &Vec<f64>| (x[i] - mean[i]) * (x[j] - mean[j]) / 6.0;
                let covariance: f64 = run.points.iter().map(product).sum();
                assert!((covariance - law.covariance()[2 * i + j]).abs() < 1e-8);
            }
        }
    }

    /// The discrepancy falls all the way, below that of as many independent exact draws.
    #[test]
    fn the_discrepancy_falls_below_that_of_exact_draws() {
        let law = Rosenbrock::new(2, 0.0, 0.5, 0.5).unwrap();
        let kernel = SteinKernel::Gaussian { bandwidth: 0.7 };
        let svgd = |n| Svgd::new(0.05, n).kernel(kernel).plain();
        let mut last = svgd(1).discrepancy(&law, &spread(50, 2)).unwrap();
        for n in [10, 100, 1000] {
            let run = svgd(n).run(&law, spread(50, 2)).unwrap();
            assert!(run.discrepancy < last && run.n_not_finite == 0, "{n}: {} {last}", run.discrepancy);
            last = run.discrepancy;
        }
        let scaled = Svgd::new(Schedule::exponential(0.1, 1e-3, 1000), 1000).kernel(kernel);
        let scaled = scaled.run(&law, spread(50, 2)).unwrap().discrepancy;
        let mut stream = Stream::new(1, Purpose::User, 0);
        for _ in 0..20 {
            let draws: Vec<Vec<f64>> = (0..50).map(|_| law.sample(&mut stream)).collect();
            let of_draws = svgd(1).discrepancy(&law, &draws).unwrap();
            assert!(last < of_draws && scaled < of_draws, "{last} {scaled} {of_draws}");
        }
    }

    /// A particle without a gradient pulls nothing, and is counted.
    #[test]
    fn what_is_not_finite_stays_where_it_is() {
        let half = Host::value_grad(1, |x: &[f64], g: &mut [f64]| {
            g[0] = if x[0] < -5.0 { f64::NAN } else { x[0] };
            0.5 * x[0] * x[0]
        });
        let run = Svgd::new(0.05, 500).run(&half, vec![vec![-6.0], vec![0.5], vec![2.0]]).unwrap();
        assert!(run.n_not_finite > 0 && run.points.iter().all(|x| half.energy(x).unwrap().is_finite()));
        assert!(run.points[1..].iter().all(|x| x[0].abs() < 3.0), "{:?}", run.points);
    }

    #[test]
    fn threads_do_not_matter() {
        let law = Gaussian::standard(3).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Svgd::new(0.1, 20).run(&law, spread(40, 3)).unwrap().points)
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn bad_settings_are_errors() {
        let law = Gaussian::standard(2).unwrap();
        let text = |svgd: Svgd, x: Vec<Vec<f64>>| svgd.run(&law, x).unwrap_err().to_string();
        let (good, x) = (|| Svgd::new(0.1, 10), || vec![vec![0.0; 2]; 3]);
        assert!(text(good(), vec![]).starts_with("coordinates of a start point = 0"));
        assert!(
            text(good(), vec![vec![0.0; 2], vec![0.0]]).starts_with("start point 1: expected 2, found 1")
        );
        assert!(text(Svgd::new(0.0, 10), x()).starts_with("step_size = 0"));
        assert!(text(Svgd::new(0.1, 0), x()).starts_with("n_steps = 0"));
        assert!(text(Svgd { decay: Some(1.0), ..good() }, x()).starts_with("decay = 1: must be in [0, 1)"));
        let narrow = good().kernel(SteinKernel::Gaussian { bandwidth: 0.0 });
        assert!(text(narrow, x()).starts_with("bandwidth = 0: must be above 0"));
        assert!(text(Svgd::new(1e200, 500).plain(), spread(3, 2)).starts_with("a particle after step"));
        // Particles that coincide go on together.
        let run = good().run(&law, vec![vec![1.0; 2]; 3]).unwrap();
        assert!(run.points.iter().all(|x| *x == run.points[0]));
    }
}
