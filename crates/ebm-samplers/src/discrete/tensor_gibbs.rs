//! Gibbs and block Gibbs on tensors, for neural energies: all chains in lock step, by [`sample`](crate::sample).
//!
//! Points are those of `tensor.rs`: bits `[chains, n]` or one-hot rows `[chains, n, k]`. A conditional
//! `p(x_i = s | rest)`, proportional to `exp(-E(x with x_i = s))`, takes the energies of the `k - 1` other states of the
//! variable, which are evaluated together in one call; that of the current state is known from the step before. A class
//! of `m` variables that do not interact takes one call of `m (k - 1)` points per chain in place of `m` calls.
//!
//! Source: Geman and Geman 1984 (DOI 10.1109/TPAMI.1984.4767596).

use ebm_core::torch::TensorRng;
use ebm_core::{Energy, Error, Mask, Result, Schedule, TensorMask, TensorScalar};
use tch::{Kind, Tensor};

use super::tensor::{Form, check_point, gumbel};
use super::{BlockGibbs, Gibbs, Scan};
use crate::kernel::{Kernel, State, StepInfo};

/// What [`Gibbs`] and [`BlockGibbs`] report of a step on tensors: nothing is ever rejected.
pub struct GibbsInfo {
    /// Chains in which a conditional was not a number; that variable stayed.
    pub diverged: Mask<Tensor>,
}

impl StepInfo<Tensor> for GibbsInfo {
    fn accept_prob(&self) -> Option<&TensorScalar> {
        None
    }
    fn diverged(&self) -> Option<&Mask<Tensor>> {
        Some(&self.diverged)
    }
}

/// Numbers of the points that one call of the energy gets at most, where a single state of each chain is not more.
const MOST_NUMBERS: i64 = 1 << 24;

/// There is none: always 1.
static NO_STEP_SIZE: Schedule = Schedule::Constant(1.0);

fn start<E: Energy<Tensor> + ?Sized>(energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
    check_point(&x)?;
    let mut state = State::new(x, &NO_STEP_SIZE, ())?;
    state.energy = energy.energy(&state.x)?;
    Ok(state)
}

/// `[chains]` in double precision.
fn each(scalar: &TensorScalar, x: &Tensor) -> Result<Tensor> {
    Ok(match scalar {
        TensorScalar::Same(value) => {
            Tensor::f_full([x.size()[0]].as_slice(), *value, (Kind::Double, x.device()))?
        }
        TensorScalar::Each(values) => values.f_to_kind(Kind::Double)?,
    })
}

/// Draw the variables `sites` `[chains, m]` of each chain given all others; they must not interact. The mask of the
/// chains in which a conditional was not a number, `[chains]`.
fn update<E: Energy<Tensor> + ?Sized>(
    energy: &E,
    state: &mut State<Tensor, ()>,
    sites: &Tensor,
    rng: &mut TensorRng,
) -> Result<Tensor> {
    let form = Form::of(&state.x)?;
    let size = state.x.size();
    let (chains, n, m) = (size[0], size[1], sites.size()[1]);
    // Rows of one number for bits, of k for one-hot variables; k states either way.
    let (width, k) = if form == Form::Bits { (1, 2) } else { (size[2], size[2]) };
    let x = state.x.f_view([chains, n, width])?;
    let index = sites.f_unsqueeze(-1)?.f_expand([chains, m, width], false)?;
    let current = x.f_gather(1, &index, false)?;
    // The state s further on, for every s: [k, chains, m, width].
    let rows: Vec<Tensor> = (0..k)
        .map(|s| match form {
            Form::Bits if s == 0 => Ok(current.shallow_clone()),
            Form::Bits => Ok(current.f_neg()?.f_add_scalar(1.0)?),
            Form::OneHot => Ok(current.f_roll([s].as_slice(), [2i64].as_slice())?),
        })
        .collect::<Result<_>>()?;
    let rows = Tensor::f_stack(&rows, 0)?;

    // The energies of one change each, [(k - 1) m, chains], as many at a time as memory allows.
    let n_changes = (k - 1) * m;
    let changed = rows.f_narrow(0, 1, k - 1)?.f_permute([0, 2, 1, 3])?;
    let changed = changed.f_reshape([n_changes, chains, 1, width])?;
    let at = index.f_permute([1, 0, 2])?.f_unsqueeze(0)?.f_expand([k - 1, m, chains, width], false)?;
    let at = at.f_reshape([n_changes, chains, 1, width])?;
    let at_once = (MOST_NUMBERS / (chains * n * width)).clamp(1, n_changes);
    let mut energies = vec![each(&state.energy, &state.x)?.f_expand([m, chains], false)?];
    let mut from = 0;
    while from < n_changes {
        let count = at_once.min(n_changes - from);
        let points = x.f_unsqueeze(0)?.f_expand([count, chains, n, width], false)?;
        let points =
            points.f_scatter(2, &at.f_narrow(0, from, count)?, &changed.f_narrow(0, from, count)?)?;
        let mut many = size.clone();
        many[0] = count * chains;
        let points = points.f_reshape(many.as_slice())?;
        energies.push(each(&energy.energy(&points)?, &points)?.f_view([count, chains])?);
        from += count;
    }
    let energies = Tensor::f_cat(&energies, 0)?.f_view([k, m, chains])?;

    // As on the host: a conditional with a NaN or a -inf, or with nothing finite, leaves the variable as it is.
    let least = energies.f_amin([0i64].as_slice(), false)?;
    let trouble = least.f_isfinite()?.f_logical_not()?;
    let drawn = gumbel(&energies, rng)?.f_sub(&energies)?.f_argmax(0, false)?;
    let drawn = drawn.f_masked_fill(&trouble, 0)?;
    let choice = drawn.f_tr()?.f_view([1, chains, m, 1])?.f_expand([1, chains, m, width], false)?;
    let new = rows.f_gather(0, &choice, false)?.f_squeeze_dim(0)?;
    state.x = x.f_scatter(1, &index, &new)?.f_view(size.as_slice())?;
    state.energy = if m == 1 {
        let energy = energies.f_gather(0, &drawn.f_unsqueeze(0)?, false)?;
        TensorScalar::Each(energy.f_view([chains])?.f_to_kind(state.x.kind())?)
    } else {
        energy.energy(&state.x)?
    };
    Ok(trouble.f_any_dim(0, false)?)
}

/// The mask of any of these.
fn any(masks: Vec<Tensor>, x: &Tensor) -> Result<GibbsInfo> {
    let none = Tensor::f_zeros([x.size()[0]].as_slice(), (Kind::Bool, x.device()))?;
    let all = masks.iter().try_fold(none, |all, mask| all.f_logical_or(mask))?;
    Ok(GibbsInfo { diverged: TensorMask(all) })
}

/// Exact; see the host's implementation. A random scan draws another variable in each chain. The energy is called with
/// more points than there are chains, so it must not hold a condition per chain.
impl<E: Energy<Tensor> + ?Sized> Kernel<Tensor, E> for Gibbs {
    type Work = ();
    type Info = GibbsInfo;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// There is none: always 1.
    fn step_size(&self) -> &Schedule {
        &NO_STEP_SIZE
    }

    fn init(&self, energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
        start(energy, x)
    }

    fn refresh(&self, energy: &E, state: &mut State<Tensor, ()>) -> Result<()> {
        state.energy = energy.energy(&state.x)?;
        Ok(())
    }

    fn step(&self, energy: &E, state: &mut State<Tensor, ()>, rng: &mut TensorRng) -> Result<GibbsInfo> {
        let (chains, n, device) = (state.x.size()[0], state.x.size()[1], state.x.device());
        let mut masks = Vec::new();
        match self.0 {
            Scan::Systematic => {
                for i in 0..n {
                    let sites = Tensor::f_full([chains, 1].as_slice(), i, (Kind::Int64, device))?;
                    masks.push(update(energy, state, &sites, rng)?);
                }
            }
            Scan::Random => {
                // In double precision, where rounding reaches n for no uniform number.
                let u = rng.uniform(&[chains, 1], 0.0, 1.0, Kind::Double, device)?;
                let sites = u.f_mul_scalar(n as f64)?.f_to_kind(Kind::Int64)?.f_clamp(0, n - 1)?;
                masks.push(update(energy, state, &sites, rng)?);
            }
        }
        any(masks, &state.x)
    }
}

/// Exact; see the host's implementation. Which variables of a tensor's energy interact is the user's to know: unlike the
/// host's energies it cannot say, so only the number of variables is checked.
impl<E: Energy<Tensor> + ?Sized> Kernel<Tensor, E> for BlockGibbs {
    type Work = ();
    type Info = GibbsInfo;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// There is none: always 1.
    fn step_size(&self) -> &Schedule {
        &NO_STEP_SIZE
    }

    fn init(&self, energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
        let state = start(energy, x)?;
        let n = state.x.size()[1] as usize;
        if self.colouring.n_variables() != n {
            return Err(Error::shape("variables of a colouring", n, self.colouring.n_variables()));
        }
        Ok(state)
    }

    fn refresh(&self, energy: &E, state: &mut State<Tensor, ()>) -> Result<()> {
        state.energy = energy.energy(&state.x)?;
        Ok(())
    }

    fn step(&self, energy: &E, state: &mut State<Tensor, ()>, rng: &mut TensorRng) -> Result<GibbsInfo> {
        let (chains, device) = (state.x.size()[0], state.x.device());
        let mut masks = Vec::new();
        for class in self.colouring.classes() {
            let sites: Vec<i64> = class.iter().map(|i| *i as i64).collect();
            let sites = Tensor::f_from_slice(&sites)?.f_to_device(device)?;
            let sites = sites.f_expand([chains, class.len() as i64], false)?;
            masks.push(update(energy, state, &sites, rng)?);
        }
        any(masks, &state.x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::tensor_testing::{check_moments, check_stationary, network, point, values};
    use crate::{SampleConfig, Sampler, sample, sample_batch};
    use ebm_core::random::Purpose;
    use ebm_core::{Colouring, GradEnergy, Torch};
    use tch::{Device, nn};

    #[test]
    fn networks_have_their_exact_law() {
        let bits = network(10);
        let categories = network(15);
        for scan in [Scan::Systematic, Scan::Random] {
            check_stationary(&Gibbs(scan), &bits, 10, 2);
            check_stationary(&Gibbs(scan), &categories, 5, 3);
        }
        check_moments(&Gibbs(Scan::Systematic), &bits, 10, 2);
        check_moments(&Gibbs(Scan::Systematic), &categories, 5, 3);
    }

    /// `sum_i W_i[x_i, x_{i+1}]` on a line of `n` variables of `k` states: every second variable is of one class.
    fn line(n: i64, k: i64) -> (impl GradEnergy<Tensor>, BlockGibbs) {
        let weights = TensorRng::new(9, Purpose::Init).normal(&[n - 1, k, k], 1.0, Kind::Double, Device::Cpu);
        let weights = weights.unwrap();
        let energy = Torch::module(nn::func(move |x: &Tensor| {
            let rows =
                if k == 2 { Tensor::stack(&[1.0 - x, x.shallow_clone()], 2) } else { x.shallow_clone() };
            let pairs = rows.narrow(1, 0, n - 1).unsqueeze(2).matmul(&weights).squeeze_dim(2);
            (pairs * rows.narrow(1, 1, n - 1)).flatten(1, -1).sum_dim_intlist([1i64].as_slice(), true, None)
        }));
        let edges: Vec<_> = (1..n as usize).map(|i| (i - 1, i)).collect();
        (energy, BlockGibbs::new(Colouring::greedy(n as usize, &edges).unwrap()))
    }

    #[test]
    fn classes_that_do_not_interact_have_the_exact_law() {
        for (n, k) in [(8, 2), (5, 3)] {
            let (energy, kernel) = line(n, k);
            assert_eq!(kernel.colouring.classes().len(), 2);
            check_stationary(&kernel, &energy, n as usize, k as usize);
            check_moments(&kernel, &energy, n as usize, k as usize);
        }
    }

    /// Saved in the middle, restored and run to the end: the same draws as in one go.
    #[test]
    fn runs_resume_to_the_same_draws() {
        fn check<K: Kernel<Tensor, E> + std::fmt::Debug, E: GradEnergy<Tensor>>(
            kernel: &K,
            energy: &E,
            n: usize,
            k: usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sampler");
            let config = SampleConfig { n_draws: 20, burn_in: 10, thin: 2, seed: 3, ..Default::default() };
            let starts = || point(&vec![vec![1; n]; 4], k);
            let whole = sample(kernel, energy, starts(), &config).unwrap();
            for cut in [0, 5, 21] {
                let mut first = Sampler::new(kernel, energy, starts(), &config).unwrap();
                first.run_to(cut);
                first.save(&path).unwrap();
                let mut second = Sampler::new(kernel, energy, starts(), &config).unwrap();
                second.restore(&path).unwrap();
                second.run();
                assert!(second.finish().unwrap().draws == whole.draws, "{kernel:?} cut at {cut}");
            }
        }
        let (bits, categories) = (network(6), network(12));
        for scan in [Scan::Systematic, Scan::Random] {
            check(&Gibbs(scan), &bits, 6, 2);
            check(&Gibbs(scan), &categories, 4, 3);
        }
        let (energy, kernel) = line(5, 3);
        check(&kernel, &energy, 5, 3);
        check(&crate::GibbsWithGradients, &bits, 6, 2);
        check(&crate::Dula::new(0.5), &bits, 6, 2);
        check(&crate::Dmala::new(0.5), &categories, 4, 3);
    }

    #[test]
    fn what_is_no_number_stays_and_is_counted() {
        let nan = Torch::module(nn::func(|x: &Tensor| {
            x.flatten(1, -1).sum_dim_intlist([1i64].as_slice(), true, None) * f64::NAN
        }));
        for (states, k) in [(vec![vec![1, 0, 1]; 4], 2), (vec![vec![1, 0, 2]; 4], 3)] {
            let x = point(&states, k);
            let end = sample_batch(&Gibbs(Scan::Systematic), &nan, x.shallow_clone(), 5, 0, &mut ()).unwrap();
            assert_eq!(values(&end), states.concat());
            let config = SampleConfig { n_draws: 5, burn_in: 0, ..Default::default() };
            let run = sample(&Gibbs(Scan::Random), &nan, x.shallow_clone(), &config).unwrap();
            assert_eq!(run.summary.n_diverged, [5; 4]);
            let (_, kernel) = line(4, 2);
            let text = sample(&kernel, &nan, x, &config).unwrap_err().to_string();
            assert!(text.contains("variables of a colouring: expected 3, found 4"), "{text}");
        }
        // A wall: two ones side by side are out of reach, and never drawn.
        let wall = Torch::module(nn::func(|x: &Tensor| {
            let both = (x.narrow(1, 0, 2) * x.narrow(1, 1, 2)).sum_dim_intlist([1i64].as_slice(), true, None);
            both.zeros_like().masked_fill(&both.gt(0.0), f64::INFINITY)
        }));
        let config = SampleConfig { n_draws: 200, burn_in: 0, ..Default::default() };
        let run = sample(&Gibbs(Scan::Systematic), &wall, point(&vec![vec![0; 3]; 4], 2), &config).unwrap();
        let draws = run.draws.array();
        assert!(draws.rows().into_iter().all(|x| x[0] * x[1] == 0.0 && x[1] * x[2] == 0.0));
        assert!((0..3).all(|i| draws.index_axis(ndarray::Axis(2), i).sum() > 0.0));
        assert_eq!(run.summary.n_diverged, [0; 4]);
    }
}
