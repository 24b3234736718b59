//! The No-U-Turn Sampler on a tensor `[chains, ..]`: the law of [`Nuts`] on host chains, all chains in lock step.
//!
//! All paths double together, so that the next leaf has the same number in every chain: one gradient call per
//! leapfrog, for all of them. A chain whose path has ended is masked; when few are left they go on alone. Between two
//! leaves the momentum is half a kick further than at either, and those sum to the trapezoid sum of the leaves'
//! momenta up to a multiple of the gradient at its two ends,
//! `(p_a + p_b) / 2 + p_(a+1) + .. + p_(b-1) = sum of half-way p + (h / 4) (grad_a - grad_b)`: what the generalised
//! U-turn criterion needs of a stretch of path.
//!
//! Sources: those of [`Nuts`] on host chains; for many chains in step, Phan, Pradhan and Jankowiak 2019
//! (arXiv 1912.11554).

use ebm_core::torch::TensorRng;
use ebm_core::{GradEnergy, Result, Schedule, TensorMask, TensorScalar};
use tch::{Device, Kind, Tensor};

use crate::kernel::{Kernel, State};
use crate::metric::Metric;
use crate::nuts::{DIVERGENCE, Nuts, NutsInfo};

/// Leapfrogs between two looks at how many chains go on.
const CHECK_EVERY: u32 = 8;

/// Positions `[n, dim]` with gradient and energy `[n]`: nothing is evaluated twice.
struct Drawn {
    x: Tensor,
    grad: Tensor,
    energy: Tensor,
}

impl Drawn {
    /// Its own memory, to be written in place.
    fn copy(&self) -> Result<Self> {
        Ok(Self {
            x: self.x.f_alias_copy()?,
            grad: self.grad.f_alias_copy()?,
            energy: self.energy.f_alias_copy()?,
        })
    }

    /// The rows `from` of `other` into the rows `to`, in place.
    fn set_rows(&mut self, to: &Tensor, other: &Self, from: &Tensor) -> Result<()> {
        let new = other.rows(from)?;
        let _ = self.x.f_index_copy_(0, to, &new.x)?;
        let _ = self.grad.f_index_copy_(0, to, &new.grad)?;
        let _ = self.energy.f_index_copy_(0, to, &new.energy)?;
        Ok(())
    }

    /// Take `other` where `mask` holds.
    fn set_where(&mut self, mask: &Tensor, other: &Self) -> Result<()> {
        if self.x.device() == Device::Cpu {
            // Reading the mask waits for nothing here, and mostly few chains move.
            let moving = mask.f_nonzero()?.f_view(-1)?;
            return self.set_rows(&moving, other, &moving);
        }
        let wide = mask.f_unsqueeze(1)?;
        self.x = other.x.f_where_self(&wide, &self.x)?;
        self.grad = other.grad.f_where_self(&wide, &self.grad)?;
        self.energy = other.energy.f_where_self(mask, &self.energy)?;
        Ok(())
    }

    fn rows(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self {
            x: self.x.f_index_select(0, rows)?,
            grad: self.grad.f_index_select(0, rows)?,
            energy: self.energy.f_index_select(0, rows)?,
        })
    }
}

/// The metric, prepared for one step: `S` as factors of the step size, or as a matrix.
enum Whitening {
    Unit,
    /// `[1, dim]`.
    Diagonal(Tensor),
    /// Lower triangular.
    Dense(Tensor),
}

impl Whitening {
    fn new(metric: &Metric<Tensor>) -> Result<Self> {
        Ok(match metric {
            Metric::Unit => Self::Unit,
            Metric::Diagonal(scale) => Self::Diagonal(scale.f_narrow(0, 0, 1)?.f_reshape([1, -1])?),
            Metric::Dense(lower) => Self::Dense(lower.f_tril(0)?),
        })
    }

    /// How far a step of `h`, `[n, 1]`, goes: broadcasts over `[n, dim]`.
    fn stride(&self, h: Tensor) -> Result<Tensor> {
        match self {
            Self::Diagonal(scale) => Ok(h.f_mul(scale)?),
            _ => Ok(h),
        }
    }

    /// `S p` of a dense metric.
    fn velocity(&self, momentum: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(lower) => Ok(momentum.f_matmul(&lower.f_transpose(0, 1)?)?),
            _ => Ok(momentum.shallow_clone()),
        }
    }

    /// `S^T grad` of a dense metric.
    fn slope(&self, grad: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(lower) => Ok(grad.f_matmul(lower)?),
            _ => Ok(grad.shallow_clone()),
        }
    }
}

/// Dot product of each row, `[n]`.
fn dots(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(a.f_mul(b)?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
}

/// Squared length of each row, `[n]`.
fn squares(a: &Tensor) -> Result<Tensor> {
    Ok(a.f_norm_scalaropt_dim(2, [1i64].as_slice(), false)?.f_square()?)
}

/// Whether a stretch turns: the sum of its momenta points against one of its ends.
fn turns(sum: &Tensor, first: &Tensor, last: &Tensor) -> Result<Tensor> {
    Ok(dots(sum, first)?.f_minimum(&dots(sum, last)?)?.f_le(0.0)?)
}

/// The left end of an unfinished binary subtree of at least two leaves.
struct Mark {
    momentum: Tensor,
    norm2: Tensor,
    /// Where the trapezoid sum stood; kept for ends of more than two leaves.
    reached: Option<Tensor>,
}

impl Mark {
    fn rows(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self {
            momentum: self.momentum.f_index_select(0, rows)?,
            norm2: self.norm2.f_index_select(0, rows)?,
            reached: self.reached.as_ref().map(|r| r.f_index_select(0, rows)).transpose()?,
        })
    }
}

/// The new half of some chains' paths while it is walked; all tensors `[n]` or `[n, dim]`.
struct Half {
    /// The chains it belongs to, and the rows of [`Paths`] where the ends that it starts from stand.
    rows: Tensor,
    end: Tensor,
    /// Step sizes, negative backwards, times the diagonal metric: how far a drift goes.
    stride: Tensor,
    kick: Tensor,
    /// `-stride / 4`: what the gradient counts for in a trapezoid sum.
    trapezoid: Tensor,
    x: Tensor,
    momentum: Tensor,
    norm2: Tensor,
    /// The gradient, whitened by a dense metric.
    slope: Tensor,
    /// Sum of the half-way momenta, less a quarter of a kick at the start: with [`Half::trapezoid`] at a leaf added,
    /// the trapezoid sum from the end where it started to that leaf.
    sum: Tensor,
    marks: Vec<Mark>,
    hamiltonian: Tensor,
    /// Drawn from the leaves so far, and the logarithm of their weight.
    drawn: Drawn,
    log_weight: Tensor,
    /// Chains whose leaves are all legal and do not turn.
    alive: Tensor,
    diverged: Tensor,
    accept_sum: Tensor,
    n_leapfrogs: Tensor,
}

impl Half {
    fn n(&self) -> i64 {
        self.rows.size()[0]
    }

    /// Go on with the chains that are still alive.
    fn drop_the_ended(&mut self) -> Result<()> {
        let keep = self.alive.f_nonzero()?.f_view(-1)?;
        for t in [
            &mut self.rows,
            &mut self.end,
            &mut self.stride,
            &mut self.kick,
            &mut self.trapezoid,
            &mut self.x,
            &mut self.momentum,
            &mut self.norm2,
            &mut self.slope,
            &mut self.sum,
            &mut self.hamiltonian,
            &mut self.log_weight,
            &mut self.alive,
            &mut self.diverged,
            &mut self.accept_sum,
            &mut self.n_leapfrogs,
        ] {
            *t = t.f_index_select(0, &keep)?;
        }
        self.drawn = self.drawn.rows(&keep)?;
        self.marks = self.marks.iter().map(|m| m.rows(&keep)).collect::<Result<_>>()?;
        Ok(())
    }

    /// One leapfrog of every chain; `log_uniform` decides which are drawn.
    fn leap<E: GradEnergy<Tensor> + ?Sized>(
        &mut self,
        energy: &E,
        shape: &[i64],
        whitening: &Whitening,
        log_uniform: &Tensor,
    ) -> Result<()> {
        let half_way = self.momentum.f_addcmul(&self.kick, &self.slope)?;
        self.x = self.x.f_addcmul(&self.stride, &whitening.velocity(&half_way)?)?;
        let leaf = evaluate(energy, &self.x, shape)?;
        self.slope = whitening.slope(&leaf.grad)?;
        self.momentum = half_way.f_addcmul(&self.kick, &self.slope)?;
        self.sum = self.sum.f_add(&half_way)?;
        self.weigh(&leaf, log_uniform)
    }

    fn weigh(&mut self, leaf: &Drawn, log_uniform: &Tensor) -> Result<()> {
        self.norm2 = squares(&self.momentum)?;
        let gain = self.hamiltonian.f_sub(&leaf.energy)?.f_sub(&self.norm2.f_mul_scalar(0.5)?)?;
        self.n_leapfrogs = self.n_leapfrogs.f_add(&self.alive)?;
        // A NaN compares false.
        let legal = gain.f_gt(-DIVERGENCE)?;
        self.diverged = self.diverged.f_logical_or(&self.alive.f_gt_tensor(&legal)?)?;
        self.alive = self.alive.f_logical_and(&legal)?;
        let gain = gain.f_where_scalarother(&self.alive, f64::NEG_INFINITY)?;
        // 2 e / (1 + e) with e = exp(-|gain|), as in `NutsInfo::accept_prob`.
        self.accept_sum = self.accept_sum.f_add(&gain.f_abs()?.f_neg()?.f_sigmoid()?.f_mul_scalar(2.0)?)?;
        self.log_weight = self.log_weight.f_logaddexp(&gain)?;
        if self.marks.is_empty() {
            self.drawn = leaf.copy()?; // The first leaf: whoever is alive takes it.
            return Ok(());
        }
        let moves = gain.f_sub(&self.log_weight)?.f_gt_tensor(log_uniform)?;
        self.drawn.set_where(&moves, leaf)
    }

    /// The trapezoid sum from the start to the last leaf.
    fn reached(&self) -> Result<Tensor> {
        Ok(self.sum.f_addcmul(&self.trapezoid, &self.slope)?)
    }

    /// Keep an even leaf as the left end of the subtrees that begin with it; end the chains of whose subtrees that
    /// end with an odd leaf one turns.
    fn look_back(&mut self, leaf: u32) -> Result<()> {
        if leaf.is_multiple_of(2) {
            // The left ends of the subtrees that this leaf lies in, besides its own, stay.
            self.marks.truncate(leaf.count_ones() as usize);
            let reached = if leaf.is_multiple_of(4) { Some(self.reached()?) } else { None };
            let mark =
                Mark { momentum: self.momentum.shallow_clone(), norm2: self.norm2.shallow_clone(), reached };
            self.marks.push(mark);
            return Ok(());
        }
        let n_subtrees = leaf.trailing_ones() as usize;
        let Some(first) = self.marks.last() else { return Ok(()) };
        // Of two leaves the trapezoid sum is half of p_a + p_b.
        let smaller = first.norm2.f_minimum(&self.norm2)?;
        let mut goes_on = dots(&first.momentum, &self.momentum)?.f_add(&smaller)?.f_gt(0.0)?;
        if n_subtrees > 1 {
            let reached = self.reached()?;
            for mark in self.marks.iter().rev().take(n_subtrees) {
                let Some(from) = &mark.reached else { continue };
                let turned = turns(&reached.f_sub(from)?, &mark.momentum, &self.momentum)?;
                goes_on = goes_on.f_gt_tensor(&turned)?;
            }
        }
        self.alive = self.alive.f_logical_and(&goes_on)?;
        Ok(())
    }
}

/// Energy and gradient at `x`, `[n, dim]`, handed over in the shape of a point of `n` chains.
fn evaluate<E: GradEnergy<Tensor> + ?Sized>(energy: &E, x: &Tensor, shape: &[i64]) -> Result<Drawn> {
    let n = x.size()[0];
    let mut point_shape = shape.to_vec();
    point_shape[0] = n;
    let point = x.f_view(point_shape.as_slice())?;
    let mut grad = point.shallow_clone();
    let value = energy.energy_grad(&point, &mut grad)?;
    Ok(Drawn { x: x.shallow_clone(), grad: grad.f_reshape([n, -1])?, energy: each(&value, x)? })
}

/// A scalar as a tensor `[n]` in the kind of `x`, `[n, ..]`.
fn each(scalar: &TensorScalar, x: &Tensor) -> Result<Tensor> {
    let n = x.size()[0];
    Ok(match scalar {
        TensorScalar::Same(v) => Tensor::f_full([n], *v, (x.kind(), x.device()))?,
        TensorScalar::Each(v) => v.f_to_kind(x.kind())?.f_expand([n], false)?,
    })
}

/// The paths of all chains, `[chains]` or `[chains, dim]`. Its tensors are its own and written in place.
struct Paths {
    n_chains: i64,
    /// The backward ends of all chains, then the forward ones, `[2 chains, dim]`.
    end_x: Tensor,
    end_momentum: Tensor,
    end_slope: Tensor,
    /// Trapezoid sum of the momenta from end to end.
    sum: Tensor,
    step_size: Tensor,
    hamiltonian: Tensor,
    /// The draw so far, and the logarithm of the path's weight.
    drawn: Drawn,
    log_weight: Tensor,
    accept_sum: Tensor,
    n_leapfrogs: Tensor,
    diverged: Tensor,
    depth: Tensor,
}

impl Paths {
    fn new(start: Drawn, step_size: Tensor, whitening: &Whitening, rng: &mut TensorRng) -> Result<Self> {
        let momentum = rng.normal(start.x.size().as_slice(), 1.0, start.x.kind(), start.x.device())?;
        let hamiltonian = start.energy.f_add(&squares(&momentum)?.f_mul_scalar(0.5)?)?;
        let twice = |t: &Tensor| Tensor::f_cat(&[t, t], 0);
        let zero = start.energy.f_zeros_like()?;
        Ok(Self {
            n_chains: start.x.size()[0],
            end_x: twice(&start.x)?,
            end_momentum: twice(&momentum)?,
            end_slope: twice(&whitening.slope(&start.grad)?)?,
            sum: momentum.f_zeros_like()?,
            step_size,
            hamiltonian,
            log_weight: zero.f_zeros_like()?,
            accept_sum: zero.f_zeros_like()?,
            n_leapfrogs: zero.f_zeros_like()?,
            diverged: zero.f_zeros_like()?.f_to_kind(Kind::Bool)?,
            depth: zero,
            drawn: start.copy()?,
        })
    }

    /// The start of a new half for the chains `rows`, forwards where `forward`, `[n]`, holds.
    fn half(&self, rows: Tensor, forward: &Tensor, whitening: &Whitening) -> Result<Half> {
        let end = rows.f_add(&forward.f_mul_scalar(self.n_chains)?)?;
        let of_chain = |t: &Tensor| t.f_index_select(0, &rows);
        let h = of_chain(&self.step_size)?;
        let stride = whitening.stride(h.f_where_self(forward, &h.f_neg()?)?.f_unsqueeze(1)?)?;
        let x = self.end_x.f_index_select(0, &end)?;
        let slope = self.end_slope.f_index_select(0, &end)?;
        let momentum = self.end_momentum.f_index_select(0, &end)?;
        let hamiltonian = of_chain(&self.hamiltonian)?;
        Ok(Half {
            kick: stride.f_mul_scalar(-0.5)?,
            trapezoid: stride.f_mul_scalar(-0.25)?,
            sum: stride.f_mul_scalar(0.25)?.f_mul(&slope)?,
            norm2: hamiltonian.shallow_clone(),
            marks: Vec::new(),
            log_weight: hamiltonian.f_full_like(f64::NEG_INFINITY)?,
            alive: hamiltonian.f_ones_like()?.f_to_kind(Kind::Bool)?,
            diverged: of_chain(&self.diverged)?,
            accept_sum: of_chain(&self.accept_sum)?,
            n_leapfrogs: of_chain(&self.n_leapfrogs)?,
            // Until the first legal leaf is drawn only the shapes count.
            drawn: Drawn {
                x: x.shallow_clone(),
                grad: slope.shallow_clone(),
                energy: hamiltonian.shallow_clone(),
            },
            rows,
            end,
            stride,
            x,
            slope,
            momentum,
            hamiltonian,
        })
    }

    /// What the new half's leaves add to the report.
    fn report(&mut self, half: &Half) -> Result<()> {
        let _ = self.accept_sum.f_index_copy_(0, &half.rows, &half.accept_sum)?;
        let _ = self.n_leapfrogs.f_index_copy_(0, &half.rows, &half.n_leapfrogs)?;
        let _ = self.diverged.f_index_copy_(0, &half.rows, &half.diverged)?;
        Ok(())
    }

    /// Append the complete ones of the new halves; returns the chains whose paths go on. `log_uniform`, `[chains]`,
    /// decides whether the draw moves to the new half.
    fn append(&mut self, half: &Half, log_uniform: &Tensor) -> Result<Tensor> {
        self.report(half)?;
        let Half { rows, end, alive, .. } = half;
        let _ = self.depth.f_index_add_(0, rows, &alive.f_to_kind(self.depth.kind())?)?;

        let old_weight = self.log_weight.f_index_select(0, rows)?;
        let moves = half.log_weight.f_sub(&old_weight)?.f_gt_tensor(&log_uniform.f_index_select(0, rows)?)?;
        let moving = moves.f_logical_and(alive)?.f_nonzero()?.f_view(-1)?;
        let to = rows.f_index_select(0, &moving)?;
        self.drawn.set_rows(&to, &half.drawn, &moving)?;
        let _ = self.log_weight.f_index_copy_(0, rows, &old_weight.f_logaddexp(&half.log_weight)?)?;

        // Of a chain that is not alive nothing below is used again.
        let _ = self.end_x.f_index_copy_(0, end, &half.x)?;
        let _ = self.end_momentum.f_index_copy_(0, end, &half.momentum)?;
        let _ = self.end_slope.f_index_copy_(0, end, &half.slope)?;
        let sum = self.sum.f_index_select(0, rows)?.f_add(&half.reached()?)?;
        let _ = self.sum.f_index_copy_(0, rows, &sum)?;
        let other_end = rows.f_mul_scalar(2)?.f_add_scalar(self.n_chains)?.f_sub(end)?;
        let other_momentum = self.end_momentum.f_index_select(0, &other_end)?;
        let goes_on = alive.f_gt_tensor(&turns(&sum, &half.momentum, &other_momentum)?)?;
        Ok(rows.f_index_select(0, &goes_on.f_nonzero()?.f_view(-1)?)?)
    }
}

impl Nuts {
    /// Walk `2^depth` leaves of a new half, as far as any chain goes. Looks every [`CHECK_EVERY`] leaves at how many
    /// chains are left: waits for the device.
    fn walk<E: GradEnergy<Tensor> + ?Sized>(
        &self,
        energy: &E,
        paths: &mut Paths,
        half: &mut Half,
        shape: &[i64],
        whitening: &Whitening,
        depth: u32,
        rng: &mut TensorRng,
    ) -> Result<()> {
        let n_leaves = 1u32 << depth;
        let (kind, device) = (half.x.kind(), half.x.device());
        let mut log_uniform = Tensor::new();
        for leaf in 0..n_leaves {
            let round = i64::from(leaf % CHECK_EVERY);
            if round == 0 {
                if leaf > 0 {
                    let alive = half.alive.f_sum(Kind::Int64)?.f_int64_value(&[])?; // host read: who goes on
                    if alive * 4 <= half.n() * 3 {
                        paths.report(half)?;
                        half.drop_the_ended()?;
                    }
                    if alive == 0 {
                        return Ok(());
                    }
                }
                // Numbers for all chains: whose path goes on does not change what another draws.
                let size = [i64::from(n_leaves.min(CHECK_EVERY)), paths.n_chains];
                log_uniform = rng.uniform(&size, 0.0, 1.0, kind, device)?.f_log()?;
                if half.n() < paths.n_chains {
                    log_uniform = log_uniform.f_index_select(1, &half.rows)?;
                }
            }
            half.leap(energy, shape, whitening, &log_uniform.f_select(0, round)?)?;
            half.look_back(leaf)?;
        }
        Ok(())
    }
}

impl<E: GradEnergy<Tensor> + ?Sized> Kernel<Tensor, E> for Nuts {
    type Work = ();
    type Info = NutsInfo<Tensor>;

    fn check(&self) -> Result<()> {
        self.check_settings()
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn has_metric(&self) -> bool {
        true
    }

    fn init(&self, energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
        let mut state = State::new(x, &self.step_size, ())?;
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<Tensor, ()>) -> Result<()> {
        state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
        Ok(())
    }

    /// Waits for the device to learn which chains go on: after each doubling, and every 8 leapfrogs within one.
    fn step(
        &self,
        energy: &E,
        state: &mut State<Tensor, ()>,
        rng: &mut TensorRng,
    ) -> Result<NutsInfo<Tensor>> {
        let shape = state.x.size();
        let n_chains = shape.first().copied().unwrap_or(0);
        let (kind, device) = (state.x.kind(), state.x.device());
        let whitening = Whitening::new(&state.metric)?;
        let start = Drawn {
            x: state.x.f_reshape([n_chains, -1])?,
            grad: state.grad.f_reshape([n_chains, -1])?,
            energy: each(&state.energy, &state.x)?,
        };
        let mut paths = Paths::new(start, each(&state.step_size, &state.x)?, &whitening, rng)?;
        let mut rows = Tensor::f_arange(n_chains, (Kind::Int64, device))?;
        for depth in 0..self.max_depth {
            let uniform = rng.uniform(&[2, n_chains], 0.0, 1.0, kind, device)?;
            let forward = uniform.f_select(0, 0)?.f_lt(0.5)?.f_index_select(0, &rows)?;
            let mut half = paths.half(rows, &forward, &whitening)?;
            self.walk(energy, &mut paths, &mut half, &shape, &whitening, depth, rng)?;
            rows = paths.append(&half, &uniform.f_select(0, 1)?.f_log()?)?;
            if rows.size()[0] == 0 {
                break;
            }
        }
        let mut saturated = Tensor::f_zeros([n_chains], (Kind::Bool, device))?;
        let _ = saturated.f_index_fill_(0, &rows, 1)?;
        state.x = paths.drawn.x.f_view(shape.as_slice())?;
        state.grad = paths.drawn.grad.f_view(shape.as_slice())?;
        state.energy = TensorScalar::Each(paths.drawn.energy);
        Ok(NutsInfo {
            accept_prob: TensorScalar::Each(paths.accept_sum.f_div(&paths.n_leapfrogs.f_clamp_min(1.0)?)?),
            diverged: TensorMask(paths.diverged),
            depth: TensorScalar::Each(paths.depth),
            saturated: TensorMask(saturated),
            n_leapfrogs: TensorScalar::Each(paths.n_leapfrogs),
            hamiltonian: TensorScalar::Each(paths.hamiltonian),
        })
    }
}

#[cfg(test)]
#[path = "nuts_batch_tests.rs"]
mod tests;
