//! Prediction by descending an energy, and training through the descent: the one engine behind EBWM, EBT and
//! EBT-Policy.
//!
//! One step, in this order (`sg` cuts the graph where the policy says so):
//! `y <- sg(y)`; noise and normaliser give the base `b`; look ahead, `b + mu v`; energies `E` and gradient `g` there;
//! step size `a = alpha u exp(E) / tau` (the last two factors where asked for); `v <- mu v - a g`; `y <- b + v`.
//! `E[i]` belongs to the candidate that step `i` starts from. Sources: EBWM (arXiv 2406.08862), EBT (arXiv
//! 2507.02092), EBT-Policy (arXiv 2510.27545).

mod config;
mod curvature;
mod landscape;
mod select;
#[cfg(test)]
mod tests;

pub use config::{Descent, Graph, LossOn, Noise, NoisePlace, Normaliser, StepFactor, Steps, Stop};
pub use curvature::largest_curvature;
pub use landscape::{At, Landscape, Slope, gradient_of, leaf};
pub use select::{BestOf, Criterion};

use ebm_core::torch::TensorRng;
use ebm_core::{Result, StepRng};
use tch::{Kind, Tensor};

/// Step sizes are held above this, as in the released code.
pub const MIN_STEP_SIZE: f64 = 1e-4;

/// What a descent leaves behind. Energies, norms and shares are detached and stay on the device.
#[derive(Debug)]
pub struct Descended {
    /// The candidates after every step, or the last alone (`loss_on`), with the policy's graph: what the loss belongs on.
    pub kept: Vec<Tensor>,
    /// The last candidate, detached.
    pub last: Tensor,
    /// The energies of the candidates that the steps started from: one tensor of items per step.
    pub energies: Vec<Tensor>,
    /// The gradients' norms, one tensor of items per step.
    pub gradient_norms: Vec<Tensor>,
    /// Share of numbers in the gradients that were not finite, 0-d.
    pub non_finite: Tensor,
    /// Evaluations of the energy that each item used (items that stopped early used fewer).
    pub n_evaluations: Tensor,
}

impl Descended {
    /// The mean of `loss` over the candidates that it belongs on.
    ///
    /// # Errors
    /// What `loss` returns.
    pub fn loss(&self, mut loss: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let losses: Vec<Tensor> = self.kept.iter().map(&mut loss).collect::<Result<_>>()?;
        Ok(Tensor::f_stack(&losses, 0)?.f_mean(losses[0].kind())?)
    }

    /// What a run should log: mean energy of the first and of the last step's start, their difference, the share of
    /// items whose energy fell, the mean gradient norm of the first and of the last step, the share not finite.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn metrics(&self) -> Result<Vec<(&'static str, Tensor)>> {
        let (Some(first), Some(last)) = (self.energies.first(), self.energies.last()) else {
            return Ok(Vec::new());
        };
        let mean = |t: &Tensor| t.f_to_kind(Kind::Float)?.f_mean(Kind::Float);
        let mut all = vec![
            ("energy_first", mean(first)?),
            ("energy_last", mean(last)?),
            ("energy_drop", mean(&first.f_sub(last)?)?),
            ("energy_fell", mean(&last.f_lt_tensor(first)?)?),
            ("not_finite", self.non_finite.shallow_clone()),
        ];
        if let (Some(first), Some(last)) = (self.gradient_norms.first(), self.gradient_norms.last()) {
            all.extend([("slope_first", mean(first)?), ("slope_last", mean(last)?)]);
        }
        Ok(all)
    }
}

/// Per-item numbers `[items]` made to multiply candidates `[items, ..]`.
fn over_items(per_item: &Tensor, like: &Tensor) -> Result<Tensor> {
    let mut shape = per_item.size();
    shape.resize(like.dim(), 1);
    Ok(per_item.f_view(shape.as_slice())?)
}

/// Euclidean norm of each item of `x`, where an item is one entry of the first `n_axes` axes.
fn item_norms(x: &Tensor, n_axes: usize) -> Result<Tensor> {
    let squares = x.f_square()?;
    let axes: Vec<i64> = (n_axes..x.dim()).map(|axis| axis as i64).collect();
    let sums = if axes.is_empty() { squares } else { squares.f_sum_dim_intlist(axes, false, x.kind())? };
    Ok(sums.f_sqrt()?)
}

impl Descent {
    /// The number of steps of a batch.
    pub fn draw_n_steps(&self, rng: &mut TensorRng) -> usize {
        match self.n_steps {
            Steps::Fixed(n) => n,
            Steps::Between { from, to } => {
                let n = (rng.shared_uniform() * (to - from + 1) as f64) as usize;
                from + n.min(to - from)
            }
        }
    }

    /// Descend from `y`, `[items, ..]`. `step_size` is alpha, 0-d: with a gradient it is learned. `rng` stands where
    /// the batch's noise begins.
    ///
    /// # Errors
    /// What the landscape returns; settings that do not make sense.
    pub fn run(
        &self,
        landscape: &(impl Landscape + ?Sized),
        y: &Tensor,
        step_size: &Tensor,
        rng: &mut TensorRng,
    ) -> Result<Descended> {
        self.check()?;
        let n_steps = self.draw_n_steps(rng);
        let step_size = step_size.f_clamp_min(MIN_STEP_SIZE)?;
        let mut y = y.shallow_clone();
        let mut velocity: Option<Tensor> = None;
        let mut running = Running { n_steps, ..Running::default() };
        let mut kept = Vec::new();
        for i in 0..n_steps {
            let graph = match self.graph {
                Graph::None => false,
                Graph::PerStep | Graph::Full => true,
                Graph::LastStep => i + 1 == n_steps,
            };
            if self.graph != Graph::Full {
                y = y.f_detach()?;
                velocity = velocity.map(|v| v.f_detach()).transpose()?;
            }
            let noise_std = self.noise.at(i, n_steps);
            let base = self.base(&y, noise_std, rng)?;
            let point = match &velocity {
                Some(v) => base.f_add(&v.f_mul_scalar(self.momentum)?)?,
                None => base.shallow_clone(),
            };
            let inside = if self.noise.place == NoisePlace::Inside { noise_std } else { 0.0 };
            let slope = landscape.slope(&point, &mut At { step: i, noise_std: inside, rng }, graph)?;
            let change = self.change(&slope, &point, &step_size, velocity.as_ref(), rng)?;
            let mut next = base.f_add(&change)?;
            if self.momentum > 0.0 {
                velocity = Some(change);
            }
            if self.accept_if_lower {
                let mut at = At { step: i, noise_std: 0.0, rng };
                let there = tch::no_grad(|| landscape.energy(&next, &mut at))?;
                let lower = over_items(&there.f_lt_tensor(&slope.energy)?, &next)?;
                next = next.f_where_self(&lower, &y)?;
            }
            let all_stopped = running.record(self, &slope, &y, &mut next)?;
            y = next;
            let wanted = self.loss_on == LossOn::EveryStep || i + 1 == n_steps || all_stopped;
            if wanted && (graph || self.graph == Graph::None) {
                kept.push(y.shallow_clone());
            }
            if all_stopped {
                break;
            }
        }
        running.finish(kept, &y)
    }

    /// Noise and normaliser, in the policy's order.
    fn base(&self, y: &Tensor, noise_std: f64, rng: &mut TensorRng) -> Result<Tensor> {
        let noisy = |y: &Tensor, place: NoisePlace, rng: &mut TensorRng| -> Result<Tensor> {
            if self.noise.place != place || noise_std == 0.0 {
                return Ok(y.shallow_clone());
            }
            Ok(y.f_add(&rng.normal(&y.size(), noise_std, y.kind(), y.device())?)?)
        };
        let y = noisy(y, NoisePlace::BeforeNormaliser, rng)?;
        let y = match self.normaliser {
            Normaliser::None => y,
            Normaliser::Softmax => y.f_softmax(-1, y.kind())?,
            Normaliser::RmsSample => {
                let n = y.numel() as f64 / y.size()[0] as f64;
                let rms = item_norms(&y, 1)?.f_mul_scalar(1.0 / n.sqrt())?;
                y.f_div(&over_items(&rms, &y)?)?
            }
            Normaliser::RmsBatch => y.f_div(&y.f_square()?.f_mean(y.kind())?.f_sqrt()?)?,
        };
        noisy(&y, NoisePlace::AfterNormaliser, rng)
    }

    /// `mu v - a g`.
    fn change(
        &self,
        slope: &Slope,
        point: &Tensor,
        step_size: &Tensor,
        velocity: Option<&Tensor>,
        rng: &mut TensorRng,
    ) -> Result<Tensor> {
        let mut step = step_size.f_to_kind(point.kind())?;
        if let Some(StepFactor { low, high }) = self.step_factor {
            let items = slope.energy.size();
            let factor = rng.uniform(&items, low, high, point.kind(), point.device())?;
            step = over_items(&factor, point)?.f_mul(&step)?;
        }
        if let Some(tau) = self.tau {
            let scale = slope.energy.f_exp()?.f_div_scalar(tau)?;
            step = over_items(&scale, point)?.f_mul(&step)?;
        }
        let mut change = slope.gradient.f_mul(&step)?.f_neg()?;
        if let Some(most) = self.max_change {
            change = change.f_clamp(-most, most)?;
        }
        Ok(match velocity {
            Some(v) => change.f_add(&v.f_mul_scalar(self.momentum)?)?,
            None => change,
        })
    }
}

/// One tensor of numbers per step, as views of one tensor of all steps: small tensors that outlive a step would lie
/// between the large ones that do not, and memory would grow with the steps.
#[derive(Default)]
struct Record {
    all: Option<Tensor>,
    rows: Vec<Tensor>,
}

impl Record {
    fn push(&mut self, n_steps: usize, x: &Tensor) -> Result<()> {
        let all = match self.all.take() {
            Some(all) => all,
            None => {
                let size: Vec<i64> = std::iter::once(n_steps as i64).chain(x.size()).collect();
                Tensor::f_empty(size, (x.kind(), x.device()))?
            }
        };
        let mut row = all.f_select(0, self.rows.len() as i64)?;
        tch::no_grad(|| row.f_copy_(x))?;
        self.rows.push(row);
        self.all = Some(all);
        Ok(())
    }
}

/// What accumulates over the steps.
#[derive(Default)]
struct Running {
    n_steps: usize,
    energies: Record,
    norms: Record,
    non_finite: Option<Tensor>,
    /// Items that still move, where a stop rule is on, and those that take their last step.
    active: Option<Tensor>,
    last_step: Option<Tensor>,
    n_evaluations: Option<Tensor>,
}

impl Running {
    /// Takes in a step from `y` to `next`; holds the items that stopped before it where they were. True when no item
    /// moves any more.
    fn record(&mut self, descent: &Descent, slope: &Slope, y: &Tensor, next: &mut Tensor) -> Result<bool> {
        let energy = slope.energy.f_detach()?;
        let gradient = slope.gradient.f_detach()?;
        let norm = item_norms(&gradient, energy.dim())?;
        let finite = gradient.f_isfinite()?.f_to_kind(Kind::Float)?.f_mean(Kind::Float)?;
        let share = finite.f_neg()?.f_add_scalar(1.0)?;
        self.non_finite = Some(match &self.non_finite {
            Some(sum) => sum.f_add(&share)?,
            None => share,
        });
        let mut all_stopped = false;
        if descent.stop != Stop::Never {
            all_stopped = self.hold_stopped(descent.stop, &energy, &norm, y, next)?;
        }
        self.energies.push(self.n_steps, &energy)?;
        self.norms.push(self.n_steps, &norm)?;
        Ok(all_stopped)
    }

    fn hold_stopped(
        &mut self,
        stop: Stop,
        energy: &Tensor,
        norm: &Tensor,
        y: &Tensor,
        next: &mut Tensor,
    ) -> Result<bool> {
        let active = match self.active.take() {
            Some(active) => active,
            None => energy.f_ones_like()?.f_to_kind(Kind::Bool)?,
        };
        *next = next.f_where_self(&over_items(&active, y)?, y)?;
        let count = active.f_to_kind(Kind::Int64)?;
        self.n_evaluations = Some(match self.n_evaluations.take() {
            Some(sum) => sum.f_add(&count)?,
            None => count,
        });
        // Items whose rule was met in an earlier step have just taken their last one.
        let done = match self.last_step.take() {
            Some(last) => last,
            None => active.f_logical_not()?,
        };
        let met = match (stop, self.energies.rows.last()) {
            (Stop::GradientNorm(limit), _) => norm.f_le(limit)?,
            (Stop::EnergyChange(limit), Some(before)) => energy.f_sub(before)?.f_abs()?.f_lt(limit)?,
            _ => active.f_logical_not()?,
        };
        let active = active.f_logical_and(&done.f_logical_not()?)?;
        self.last_step = Some(done.f_logical_or(&met)?);
        let any = active.f_any()?.f_int64_value(&[])?; // host read: the stop rule is asked for
        self.active = Some(active);
        Ok(any == 0)
    }

    fn finish(self, kept: Vec<Tensor>, y: &Tensor) -> Result<Descended> {
        let n = self.energies.rows.len() as f64;
        let zero = || Tensor::f_zeros([] as [i64; 0], (Kind::Float, y.device()));
        let non_finite = match self.non_finite {
            Some(sum) => sum.f_div_scalar(n.max(1.0))?,
            None => zero()?,
        };
        let n_evaluations = match (self.n_evaluations, self.energies.rows.last()) {
            (Some(counted), _) => counted,
            (None, Some(energy)) => energy.f_full_like(n)?.f_to_kind(Kind::Int64)?,
            (None, None) => zero()?,
        };
        Ok(Descended {
            kept,
            last: y.f_detach()?,
            energies: self.energies.rows,
            gradient_norms: self.norms.rows,
            non_finite,
            n_evaluations,
        })
    }
}
