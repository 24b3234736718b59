//! Windowed warm-up: step size all the way, the metric at the end of windows that double.
//!
//! The first 15 % of the burn-in (at most 75 steps) move the chains to where the mass is, the last 15 % (at least 50
//! steps, where there are that many) settle the step size; between them windows of 25, 50, 100, ... steps each end with
//! a new metric from their own draws. Source: the schedule of Stan's warm-up (Stan reference manual, "HMC algorithm
//! parameters"), with a longer end. The step size is one [`DualAveraging`] from the first step to the last, carried over
//! to each new metric: started over at each window, as Stan does, it ended a few percent too short (on the targets of
//! the bench of samplers; the acceptance came out above its target), and draws cost 5 to 15 % more gradients.
//!
//! A diagonal metric is `M^-1_i = sqrt(var(x_i) / E[g_i^2])` with `g` the gradient: of all diagonal ones it brings the
//! whitened gradients nearest to the whitened positions (Fisher divergence); for independent coordinates it is the
//! variance, which is also what kernels without gradients get. A dense one is the covariance. Both are pulled a little
//! towards small, as in Stan.

use ebm_core::{Error, Point, Result, Scalar};

use crate::archive::Archive;
use crate::dual_averaging::DualAveraging;
use crate::kernel::{Observer, State, StepInfo};
use crate::metric::Metric;

/// What a warm-up does about the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapt {
    /// Leave it.
    Nothing,
    Diagonal,
    Dense,
}

/// Ends of the windows (steps counted from 1), each with a new metric; the first starts after `start`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Windows {
    start: u64,
    ends: Vec<u64>,
}

/// Fewer steps than this are not enough to learn a metric from.
const LEAST_BURN_IN: u64 = 20;

fn windows(burn_in: u64) -> Windows {
    if burn_in < LEAST_BURN_IN {
        return Windows { start: burn_in, ends: Vec::new() };
    }
    let (start, base, last) = if burn_in < 150 {
        let (start, last) = (burn_in * 15 / 100, burn_in / 10);
        (start, burn_in - start - last, last)
    } else {
        (75, 25, (burn_in * 15 / 100).max(50))
    };
    let (mut end, mut width, mut ends) = (start, base, Vec::new());
    let limit = burn_in - last;
    while end < limit {
        // A window whose successor would not fit takes the rest.
        end = if end + 3 * width > limit { limit } else { end + width };
        ends.push(end);
        width *= 2;
    }
    Windows { start, ends }
}

/// Sums over one window, per coordinate and chain, about a fixed centre so that squares do not cancel.
struct Moments<X: Point> {
    n: u64,
    centre: X,
    sum: X,
    /// Squares of positions and of gradients, or the outer products of positions.
    squares: Squares<X>,
    /// Scratch: position less centre.
    shifted: X,
}

enum Squares<X: Point> {
    Diagonal { positions: X, gradients: X },
    Dense(X::Matrix),
}

impl<X: Point> Moments<X> {
    fn new(x: &X, adapt: Adapt) -> Result<Self> {
        let rows = x.to_rows()?;
        let dim = x.dim_of_chain();
        let mut centre = vec![0.0; dim];
        rows.chunks_exact(dim).for_each(|row| centre.iter_mut().zip(row).for_each(|(c, x)| *c += x));
        centre.iter_mut().for_each(|c| *c /= x.n_chains() as f64);
        let squares = match adapt {
            Adapt::Dense => Squares::Dense(x.matrix(&vec![0.0; dim * dim])?),
            _ => Squares::Diagonal { positions: x.zeros_like()?, gradients: x.zeros_like()? },
        };
        Ok(Self { n: 0, centre: x.filled(&centre)?, sum: x.zeros_like()?, squares, shifted: x.zeros_like()? })
    }

    fn add(&mut self, x: &X, grad: &X) -> Result<()> {
        let one = X::Scalar::same(1.0);
        self.n += 1;
        self.shifted.set_from(x)?;
        self.shifted.add_scaled(&X::Scalar::same(-1.0), &self.centre)?;
        self.sum.add_scaled(&one, &self.shifted)?;
        match &mut self.squares {
            Squares::Diagonal { positions, gradients } => {
                positions.add_scaled_each(&one, &self.shifted, &self.shifted)?;
                gradients.add_scaled_each(&one, grad, grad)
            }
            Squares::Dense(sum) => self.shifted.add_outer_to(sum),
        }
    }

    /// The metric, its `M^-1` and the square roots of its diagonal.
    fn metric(&self, x: &X) -> Result<(Metric<X>, Vec<f64>)> {
        let dim = x.dim_of_chain();
        let total = (self.n * x.n_chains() as u64) as f64;
        let over_chains = |point: &X| -> Result<Vec<f64>> {
            let mut sums = vec![0.0; dim];
            for row in point.to_rows()?.chunks_exact(dim) {
                sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
            }
            Ok(sums)
        };
        let means: Vec<f64> = over_chains(&self.sum)?.iter().map(|sum| sum / total).collect();
        let (keep, small) = (total / (total + 5.0), 1e-3 * 5.0 / (total + 5.0));
        match &self.squares {
            Squares::Diagonal { positions, gradients } => {
                let (positions, gradients) = (over_chains(positions)?, over_chains(gradients)?);
                let one = |i: usize| {
                    let variance = positions[i] / total - means[i] * means[i];
                    // Kernels without gradients leave zeros: the variance itself.
                    let inverse_mass = if gradients[i] == 0.0 {
                        variance
                    } else {
                        (variance / (gradients[i] / total)).sqrt()
                    };
                    // A coordinate that did not move says nothing.
                    if inverse_mass.is_finite() && inverse_mass > 0.0 {
                        keep * inverse_mass + small
                    } else {
                        1.0
                    }
                };
                let inverse_mass: Vec<f64> = (0..dim).map(one).collect();
                let scales = inverse_mass.iter().map(|v| v.sqrt()).collect();
                Ok((Metric::diagonal(x, &inverse_mass)?, scales))
            }
            Squares::Dense(sum) => {
                let mut covariance = X::matrix_entries(sum)?;
                for i in 0..dim {
                    for j in 0..dim {
                        let entry = covariance[dim * i + j] / total - means[i] * means[j];
                        covariance[dim * i + j] = keep * entry + if i == j { small } else { 0.0 };
                    }
                }
                let scales = (0..dim).map(|i| covariance[dim * i + i].sqrt()).collect();
                Ok((Metric::dense(x, dim, &covariance)?, scales))
            }
        }
    }
}

/// Adapts step size and metric of one point during the burn-in.
pub(crate) struct WarmUp<X: Point> {
    burn_in: u64,
    adapt: Adapt,
    windows: Windows,
    next_window: usize,
    step_size: DualAveraging<X::Scalar>,
    moments: Option<Moments<X>>,
    /// Square roots of the diagonal of `M^-1`, to carry the step size over to the next metric.
    scales: Vec<f64>,
}

impl<X: Point> WarmUp<X> {
    pub(crate) fn new(x: &X, target: f64, burn_in: u64, adapt: Adapt) -> Result<Self> {
        let step_size = DualAveraging::new(target, burn_in)?;
        let windows = if adapt == Adapt::Nothing { windows(LEAST_BURN_IN - 1) } else { windows(burn_in) };
        let scales = vec![1.0; x.dim_of_chain()];
        Ok(Self { burn_in, adapt, windows, next_window: 0, step_size, moments: None, scales })
    }

    /// The end of a window: a new metric, and step sizes carried over to it, so that no coordinate moves less far than before.
    fn close_window<W>(&mut self, state: &mut State<X, W>) -> Result<()> {
        let Some(moments) = self.moments.take() else { return Ok(()) };
        let (metric, scales) = moments.metric(&state.x)?;
        let carry = self.scales.iter().zip(&scales).map(|(old, new)| old / new).fold(0.0, f64::max);
        state.metric = metric;
        self.scales = scales;
        self.next_window += 1;
        state.step_size = self.step_size.rescale(carry)?;
        Ok(())
    }

    pub(crate) fn save(&self, prefix: &str, n_chains: usize, archive: &mut Archive) -> Result<()> {
        archive.put_count(format!("{prefix}.window"), self.next_window as u64);
        archive.put(format!("{prefix}.scales"), self.scales.clone());
        self.step_size.save(&format!("{prefix}.step_size"), n_chains, archive)?;
        let Some(moments) = &self.moments else { return Ok(()) };
        archive.put_count(format!("{prefix}.moments.n"), moments.n);
        archive.put(format!("{prefix}.moments.centre"), moments.centre.to_rows()?);
        archive.put(format!("{prefix}.moments.sum"), moments.sum.to_rows()?);
        match &moments.squares {
            Squares::Diagonal { positions, gradients } => {
                archive.put(format!("{prefix}.moments.positions"), positions.to_rows()?);
                archive.put(format!("{prefix}.moments.gradients"), gradients.to_rows()?);
            }
            Squares::Dense(sum) => archive.put(format!("{prefix}.moments.outer"), X::matrix_entries(sum)?),
        }
        Ok(())
    }

    pub(crate) fn restore(&mut self, prefix: &str, x: &X, archive: &mut Archive) -> Result<()> {
        self.next_window = archive.count(&format!("{prefix}.window"))? as usize;
        self.scales = archive.take(&format!("{prefix}.scales"))?;
        self.step_size.restore(&format!("{prefix}.step_size"), x, archive)?;
        self.moments = None;
        let Ok(n) = archive.count(&format!("{prefix}.moments.n")) else { return Ok(()) };
        let mut moments = Moments::new(x, self.adapt)?;
        let mut point = |name: &str| x.with_rows(&archive.take(&format!("{prefix}.moments.{name}"))?);
        moments.n = n;
        moments.centre = point("centre")?;
        moments.sum = point("sum")?;
        moments.squares = match moments.squares {
            Squares::Diagonal { .. } => {
                Squares::Diagonal { positions: point("positions")?, gradients: point("gradients")? }
            }
            Squares::Dense(_) => {
                Squares::Dense(x.matrix(&archive.take(&format!("{prefix}.moments.outer"))?)?)
            }
        };
        self.moments = Some(moments);
        Ok(())
    }
}

impl<X: Point, W, I: StepInfo<X>> Observer<X, W, I> for WarmUp<X> {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
        if state.step > self.burn_in {
            return Ok(());
        }
        self.step_size.after_step(state, info)?;
        let Some(end) = self.windows.ends.get(self.next_window).copied() else { return Ok(()) };
        if state.step <= self.windows.start {
            return Ok(());
        }
        if self.moments.is_none() {
            self.moments = Some(Moments::new(&state.x, self.adapt)?);
        }
        if let Some(moments) = &mut self.moments {
            moments.add(&state.x, &state.grad)?;
        }
        if state.step == end { self.close_window(state) } else { Ok(()) }
    }
}

impl Adapt {
    /// Whether a burn-in of this length can do it.
    pub(crate) fn check(self, burn_in: usize) -> Result<()> {
        if self != Self::Nothing && (burn_in as u64) < LEAST_BURN_IN {
            let fix = "give the warm-up a few hundred steps, or the metric by hand";
            return Err(Error::bad_value("burn_in", burn_in, "at least 20 to adapt the metric", fix));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Info;
    use ebm_core::random::{Purpose, Stream};
    use ebm_core::{Block, Schedule};

    #[test]
    fn windows_double_and_the_last_takes_the_rest() {
        let ends = |burn_in| windows(burn_in).ends;
        assert_eq!(ends(1000), [100, 150, 250, 450, 850]);
        assert_eq!(ends(500), [100, 150, 425]);
        assert_eq!(ends(150), [100]);
        assert_eq!((windows(100).start, ends(100)), (15, vec![90]));
        assert_eq!(ends(19), [0u64; 0]);
    }

    /// Feed independent draws of a known law: the metric is the closed form within Monte-Carlo error. With
    /// `E = x^T A x / 2` the gradient is `A x`, so `E[g_i^2] = A_ii` and `var(x_i) = (A^-1)_ii`.
    #[test]
    fn the_metric_is_that_of_the_draws() {
        let (a, covariance) = ([2.0, -1.2, -1.2, 1.0], [1.0 / 0.56, 1.2 / 0.56, 1.2 / 0.56, 2.0 / 0.56]);
        let l = ebm_core::cholesky("covariance", 2, &covariance).unwrap();
        for adapt in [Adapt::Diagonal, Adapt::Dense] {
            let n_chains = 8;
            let x = Block::new(2, vec![100.0f64; 2 * n_chains]).unwrap();
            let mut state = State::new(x, &Schedule::from(0.1), ()).unwrap();
            let mut warm_up = WarmUp::new(&state.x, 0.8, 3000, adapt).unwrap();
            let mut rng = Stream::new(5, Purpose::User, 0);
            let mut last = 0;
            for step in 1..=3000 {
                for (x, g) in state.x.rows_mut().zip(state.grad.rows_mut()) {
                    let z = [rng.normal(), rng.normal()];
                    let centred = [l[0] * z[0], l[2] * z[0] + l[3] * z[1]];
                    x.copy_from_slice(&[100.0 + centred[0], centred[1] - 50.0]);
                    for i in 0..2 {
                        g[i] = a[2 * i] * centred[0] + a[2 * i + 1] * centred[1];
                    }
                }
                state.step = step;
                let mask = ebm_core::BlockMask(0);
                let info = Info {
                    accept_prob: ebm_core::BlockScalar::Same(0.8),
                    accepted: mask,
                    diverged: mask,
                    hamiltonian: None,
                    n_leapfrogs: 1,
                };
                warm_up.after_step(&mut state, &info).unwrap();
                if warm_up.next_window > last {
                    last = warm_up.next_window;
                }
            }
            assert_eq!(last, windows(3000).ends.len());
            // The last window has more than a thousand steps of eight chains: 1.5 % standard errors.
            let close =
                |found: f64, exact: f64| assert!((found / exact - 1.0).abs() < 0.06, "{found} {exact}");
            match &state.metric {
                Metric::Diagonal(scale) => {
                    for i in 0..2 {
                        let exact = (covariance[3 * i] / a[3 * i]).sqrt();
                        close(scale.as_slice()[i].powi(2), exact);
                        assert_eq!(scale.as_slice()[i], scale.as_slice()[2 + i]);
                    }
                }
                Metric::Dense(lower) => {
                    close(lower[0] * lower[0], covariance[0]);
                    close(lower[2] * lower[0], covariance[1]);
                    close(lower[2] * lower[2] + lower[3] * lower[3], covariance[3]);
                }
                Metric::Unit => panic!("no metric"),
            }
        }
    }
}
