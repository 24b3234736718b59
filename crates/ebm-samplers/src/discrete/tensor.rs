//! The gradient-guided kernels on tensors, for neural energies: all chains in lock step.
//!
//! A point is a float tensor of bits `[chains, n]`, each 0 or 1, or of one-hot rows `[chains, n, k]`; an energy is any
//! [`GradEnergy`] of such a tensor (`Torch::module`, say), and its gradient is the relaxed gradient of the host
//! kernels: for a bit `g[i, 1] - g[i, 0] = dE / dx_i`. The formulas of the proposals stand in `gwg.rs` and `dula.rs`.
//! Draws are made by adding Gumbel noise to log weights and taking the largest.

use ebm_core::torch::TensorRng;
use ebm_core::{Error, GradEnergy, Point, Result, Scalar, Schedule, TensorScalar};
use tch::{Kind, Tensor};

use super::{Dmala, Dula, GibbsWithGradients};
use crate::kernel::{Info, Kernel, State, check_step_size};
use crate::metropolis;

/// What a tensor's last axes mean.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// `[chains, n]`, each 0 or 1.
    Bits,
    /// `[chains, n, k]`, each row one 1 and else 0.
    OneHot,
}

impl Form {
    pub(super) fn of(x: &Tensor) -> Result<Self> {
        match x.dim() {
            2 => Ok(Self::Bits),
            3 => Ok(Self::OneHot),
            _ => Err(Error::shape("discrete start points", "[chains, n] or [chains, n, k]", x.size())),
        }
    }
}

/// Whether `x` holds bits or one-hot rows. Waits for the device; for the start.
pub(super) fn check_point(x: &Tensor) -> Result<()> {
    let form = Form::of(x)?;
    let is_bit = x.f_eq(0.0)?.f_logical_or(&x.f_eq(1.0)?)?.f_all()?;
    let fine = match form {
        Form::Bits => is_bit,
        Form::OneHot => {
            let ones = x.f_sum_dim_intlist([2i64].as_slice(), false, None::<Kind>)?;
            is_bit.f_logical_and(&ones.f_eq(1.0)?.f_all()?)?
        }
    };
    // host read: once, at the start
    if bool::try_from(&fine)? {
        return Ok(());
    }
    let (what, limit) = match form {
        Form::Bits => ("start points [chains, n]", "0 or 1 everywhere"),
        Form::OneHot => ("start points [chains, n, k]", "one 1 in every row, else 0"),
    };
    Err(Error::bad_value(what, "other numbers", limit, "see Tensor::one_hot"))
}

fn start<E: GradEnergy<Tensor> + ?Sized>(
    energy: &E,
    x: Tensor,
    step_size: &Schedule,
) -> Result<State<Tensor, ()>> {
    check_point(&x)?;
    let mut state = State::new(x, step_size, ())?;
    state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
    Ok(state)
}

fn refresh<E: GradEnergy<Tensor> + ?Sized>(energy: &E, state: &mut State<Tensor, ()>) -> Result<()> {
    state.energy = energy.energy_grad(&state.x, &mut state.grad)?;
    Ok(())
}

/// `-ln(-ln u)` of a uniform `u`, in the shape of `like`.
pub(super) fn gumbel(like: &Tensor, rng: &mut TensorRng) -> Result<Tensor> {
    // A u of 0 gives -inf, which is never the largest.
    let u = rng.uniform(&like.size(), 0.0, 1.0, like.kind(), like.device())?;
    Ok(u.f_log()?.f_neg()?.f_log()?.f_neg()?)
}

/// Logarithms of weights of changes, `-d / 2`: of flips `[chains, n]`, or of every state `[chains, n, k]` (0 for the
/// current one).
fn log_weights(form: Form, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    Ok(match form {
        Form::Bits => grad.f_mul(&x.f_sub_scalar(0.5)?)?,
        Form::OneHot => {
            let current = grad.f_mul(x)?.f_sum_dim_intlist([2i64].as_slice(), true, None::<Kind>)?;
            grad.f_sub(&current)?.f_mul_scalar(-0.5)?
        }
    })
}

/// `ln q` of every single change, `[chains, n]` or `[chains, n * k]`.
fn log_changes(form: Form, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let weights = log_weights(form, x, grad)?;
    let weights = match form {
        Form::Bits => weights,
        Form::OneHot => {
            weights.f_masked_fill(&x.f_to_kind(Kind::Bool)?, f64::NEG_INFINITY)?.f_flatten(1, 2)?
        }
    };
    Ok(weights.f_log_softmax(1, None::<Kind>)?)
}

/// The point after a change `[chains, 1]`, and the change back.
fn apply(form: Form, x: &Tensor, change: &Tensor) -> Result<(Tensor, Tensor)> {
    if form == Form::Bits {
        let flipped = x.f_gather(1, change, false)?.f_neg()?.f_add_scalar(1.0)?;
        return Ok((x.f_scatter(1, change, &flipped)?, change.shallow_clone()));
    }
    let (chains, k) = (x.size()[0], x.size()[2]);
    let variable = change.f_div_scalar_mode(k, "floor")?;
    let row = variable.f_view([chains, 1, 1])?.f_expand([chains, 1, k], false)?;
    let old = x.f_gather(1, &row, false)?.f_argmax(2, false)?;
    let new = change.f_remainder(k)?.f_one_hot(k)?.f_to_kind(x.kind())?;
    Ok((x.f_scatter(1, &row, &new)?, variable.f_mul_scalar(k)?.f_add(&old)?))
}

/// Exact; see the host's implementation.
impl<E: GradEnergy<Tensor> + ?Sized> Kernel<Tensor, E> for GibbsWithGradients {
    type Work = ();
    type Info = Info<Tensor>;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// There is none: always 1.
    fn step_size(&self) -> &Schedule {
        static ONE: Schedule = Schedule::Constant(1.0);
        &ONE
    }

    fn init(&self, energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
        start(energy, x, Kernel::<Tensor, E>::step_size(self))
    }

    fn refresh(&self, energy: &E, state: &mut State<Tensor, ()>) -> Result<()> {
        refresh(energy, state)
    }

    fn step(&self, energy: &E, state: &mut State<Tensor, ()>, rng: &mut TensorRng) -> Result<Info<Tensor>> {
        let form = Form::of(&state.x)?;
        let forward = log_changes(form, &state.x, &state.grad)?;
        let change = forward.f_add(&gumbel(&forward, rng)?)?.f_argmax(1, true)?;
        let (x, back) = apply(form, &state.x, &change)?;
        let chosen = |all: &Tensor, change: &Tensor| -> Result<TensorScalar> {
            Ok(TensorScalar::Each(all.f_gather(1, change, false)?.f_squeeze_dim(1)?))
        };
        let forward = chosen(&forward, &change)?;
        decide(energy, state, x, &forward, rng, |x, grad| chosen(&log_changes(form, x, grad)?, &back))
    }
}

/// Accept or reject `x`: `backward` gives `ln q` of the way back, given `x` and its gradient.
fn decide<E: GradEnergy<Tensor> + ?Sized>(
    energy: &E,
    state: &mut State<Tensor, ()>,
    x: Tensor,
    forward: &TensorScalar,
    rng: &mut TensorRng,
    backward: impl FnOnce(&Tensor, &Tensor) -> Result<TensorScalar>,
) -> Result<Info<Tensor>> {
    let mut grad = x.f_zeros_like()?;
    let value = energy.energy_grad(&x, &mut grad)?;
    let backward = backward(&x, &grad)?;
    let terms = [(1.0, &state.energy), (-1.0, &value), (1.0, &backward), (-1.0, forward)];
    let info = metropolis(&x, &TensorScalar::linear(terms)?, rng)?;
    let old_x = std::mem::replace(&mut state.x, x);
    state.x.restore_unless(&info.accepted, &old_x)?;
    let old_grad = std::mem::replace(&mut state.grad, grad);
    state.grad.restore_unless(&info.accepted, &old_grad)?;
    state.energy = TensorScalar::select(&info.accepted, &value, &state.energy)?;
    Ok(info)
}

/// `1 / (2 h)` that broadcasts over the point.
fn stay(step_size: &TensorScalar, x: &Tensor) -> Result<Tensor> {
    Ok(match step_size {
        TensorScalar::Same(h) => Tensor::f_full([1i64].as_slice(), 0.5 / h, (x.kind(), x.device()))?,
        TensorScalar::Each(h) => {
            let mut shape = vec![1; x.dim()];
            shape[0] = -1;
            h.f_to_kind(x.kind())?.f_reciprocal()?.f_mul_scalar(0.5)?.f_view(shape.as_slice())?
        }
    })
}

/// Discrete Langevin's law: bits' log odds of a flip `[chains, n]`, or log probabilities of states `[chains, n, k]`.
fn law(form: Form, x: &Tensor, grad: &Tensor, stay: &Tensor) -> Result<Tensor> {
    let weights = log_weights(form, x, grad)?;
    Ok(match form {
        Form::Bits => weights.f_sub(stay)?,
        Form::OneHot => {
            let changes = x.f_neg()?.f_add_scalar(1.0)?;
            weights.f_sub(&changes.f_mul(stay)?)?.f_log_softmax(2, None::<Kind>)?
        }
    })
}

/// A draw from the law. Where it is not a number the variable stays.
fn draw(form: Form, x: &Tensor, law: &Tensor, rng: &mut TensorRng) -> Result<Tensor> {
    if form == Form::Bits {
        let u = rng.uniform(&x.size(), 0.0, 1.0, x.kind(), x.device())?;
        // A NaN compares false.
        let flip = u.f_lt_tensor(&law.f_sigmoid()?)?.f_to_kind(x.kind())?;
        return Ok(x.f_sub(&flip)?.f_abs()?);
    }
    let largest = law.f_add(&gumbel(law, rng)?)?.f_argmax(2, false)?;
    let drawn = largest.f_one_hot(x.size()[2])?.f_to_kind(x.kind())?;
    Ok(x.f_where_self(&law.f_isnan()?.f_any_dim(2, true)?, &drawn)?)
}

/// `ln q(to | from)` per chain, `law` being that at `from`.
fn log_prob(form: Form, law: &Tensor, from: &Tensor, to: &Tensor) -> Result<TensorScalar> {
    let each = match form {
        // ln sigmoid(a) of a flip, ln sigmoid(-a) of none.
        Form::Bits => {
            let sign = to.f_sub(from)?.f_abs()?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?;
            law.f_mul(&sign)?.f_log_sigmoid()?
        }
        // Selected, not multiplied: an infinite logarithm times 0 would be NaN.
        Form::OneHot => law.f_masked_fill(&to.f_eq(0.0)?, 0.0)?,
    };
    Ok(TensorScalar::Each(each.f_flatten(1, -1)?.f_sum_dim_intlist(
        [1i64].as_slice(),
        false,
        None::<Kind>,
    )?))
}

/// Biased; see the host's implementation.
impl<E: GradEnergy<Tensor> + ?Sized> Kernel<Tensor, E> for Dula {
    type Work = ();
    type Info = ();

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    /// Evaluates nothing: the first step needs the gradient at the start only then.
    fn init(&self, _energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
        check_point(&x)?;
        State::new(x, &self.step_size, ())
    }

    fn step(&self, energy: &E, state: &mut State<Tensor, ()>, rng: &mut TensorRng) -> Result<()> {
        let form = Form::of(&state.x)?;
        energy.grad(&state.x, &mut state.grad)?;
        let law = law(form, &state.x, &state.grad, &stay(&state.step_size, &state.x)?)?;
        state.x = draw(form, &state.x, &law, rng)?;
        Ok(())
    }
}

/// Exact; see the host's implementation. The step size may adapt to a target acceptance, one per chain.
impl<E: GradEnergy<Tensor> + ?Sized> Kernel<Tensor, E> for Dmala {
    type Work = ();
    type Info = Info<Tensor>;

    fn check(&self) -> Result<()> {
        check_step_size(&self.step_size)
    }

    fn step_size(&self) -> &Schedule {
        &self.step_size
    }

    fn init(&self, energy: &E, x: Tensor) -> Result<State<Tensor, ()>> {
        start(energy, x, &self.step_size)
    }

    fn refresh(&self, energy: &E, state: &mut State<Tensor, ()>) -> Result<()> {
        refresh(energy, state)
    }

    fn step(&self, energy: &E, state: &mut State<Tensor, ()>, rng: &mut TensorRng) -> Result<Info<Tensor>> {
        let form = Form::of(&state.x)?;
        let stay = stay(&state.step_size, &state.x)?;
        let there = law(form, &state.x, &state.grad, &stay)?;
        let x = draw(form, &state.x, &there, rng)?;
        let forward = log_prob(form, &there, &state.x, &x)?;
        let old = state.x.shallow_clone();
        decide(energy, state, x, &forward, rng, |x, grad| {
            log_prob(form, &law(form, x, grad, &stay)?, x, &old)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::tensor_testing::{check_moments, check_stationary, network, point, values};
    use crate::discrete::testing::assert_counts;
    use crate::{SampleConfig, sample, sample_batch};
    use ebm_core::Torch;
    use ebm_core::random::{Purpose, Stream};
    use tch::{Device, nn};

    #[test]
    fn bits_of_a_network_have_their_exact_law() {
        let net = network(10);
        check_stationary(&GibbsWithGradients, &net, 10, 2);
        check_stationary(&Dmala::new(0.6), &net, 10, 2);
        check_moments(&GibbsWithGradients, &net, 10, 2);
        check_moments(&Dmala::new(0.6), &net, 10, 2);
    }

    #[test]
    fn categories_of_a_network_have_their_exact_law() {
        let net = network(15);
        check_stationary(&GibbsWithGradients, &net, 5, 3);
        check_stationary(&Dmala::new(1.0), &net, 5, 3);
        check_moments(&GibbsWithGradients, &net, 5, 3);
        check_moments(&Dmala::new(1.0), &net, 5, 3);
    }

    /// The tensors' formulas are the host's, number by number: bits are compared as two states with gradients 0 and g.
    #[test]
    fn proposals_are_those_of_the_host() {
        let (chains, n, k, h) = (20, 4, 3, 1.3);
        let mut stream = Stream::new(8, Purpose::User, 0);
        let mut random = |k: usize| -> Vec<Vec<u8>> {
            (0..chains).map(|_| (0..n).map(|_| stream.below(k) as u8).collect()).collect()
        };
        let (from, to, bits_from, bits_to) = (random(k), random(k), random(2), random(2));
        let mut rng = TensorRng::new(2, Purpose::User);
        let mut check = |form, k: usize, from: &[Vec<u8>], to: &[Vec<u8>]| {
            let (x, y) = (point(from, k), point(to, k));
            let grad = rng.normal(&x.size(), 1.0, Kind::Double, Device::Cpu).unwrap();
            let stay = stay(&TensorScalar::Same(h), &x).unwrap();
            let found = log_prob(form, &law(form, &x, &grad, &stay).unwrap(), &x, &y).unwrap();
            let found = found.to_host(chains).unwrap();
            let grad = Vec::<f64>::try_from(grad.view(-1)).unwrap();
            let proposal = crate::discrete::dula::Proposal { n_states: k, step_size: h };
            for (chain, found) in found.iter().enumerate() {
                let gradient: Vec<f64> = match form {
                    Form::OneHot => grad[chain * n * k..(chain + 1) * n * k].to_vec(),
                    Form::Bits => grad[chain * n..(chain + 1) * n].iter().flat_map(|g| [0.0, *g]).collect(),
                };
                let exact = proposal.log_prob(&gradient, &from[chain], &to[chain], &mut vec![0.0; k]);
                assert!((found - exact).abs() < 1e-12, "{found} {exact}");
            }
        };
        check(Form::OneHot, k, &from, &to);
        check(Form::Bits, 2, &bits_from, &bits_to);
    }

    /// One bit and one variable of three states: DULA's chains end in the law of its own matrix, not in the target's.
    #[test]
    fn dula_has_its_known_bias() {
        let (h, d): (f64, f64) = (1.0, 0.8);
        let c = (-0.5 / h).exp();
        let odds = (-d).exp() * (1.0 + c * (0.5 * d).exp()) / (1.0 + c * (-0.5 * d).exp());
        let bit = Torch::module(nn::func(move |x: &Tensor| x * d));
        let x = point(&vec![vec![0]; 20_000], 2);
        let end = values(&sample_batch(&Dula::new(h), &bit, x, 60, 4, &mut ()).unwrap());
        let ones = end.iter().filter(|x| **x == 1).count() as u64;
        assert_counts(&[20_000 - ones, ones], &[1.0 / (1.0 + odds), odds / (1.0 + odds)]);

        let energies = [0.0, 0.5, -0.7];
        let three = Torch::module(nn::func(move |x: &Tensor| {
            x.flatten(1, -1).matmul(&Tensor::from_slice(&energies).view([3, 1]))
        }));
        let proposal = crate::discrete::dula::Proposal { n_states: 3, step_size: h };
        let step = |law: [f64; 3]| -> [f64; 3] {
            let p = |a: usize, b: usize| {
                proposal.log_prob(&energies, &[a as u8], &[b as u8], &mut [0.0; 3]).exp()
            };
            std::array::from_fn(|b| (0..3).map(|a| law[a] * p(a, b)).sum())
        };
        let law = (0..200).fold([1.0, 0.0, 0.0], |law, _| step(law));
        let x = point(&vec![vec![0]; 20_000], 3);
        let end = values(&sample_batch(&Dula::new(h), &three, x, 60, 5, &mut ()).unwrap());
        let count = |k: u8| end.iter().filter(|x| **x == k).count() as u64;
        assert_counts(&[count(0), count(1), count(2)], &law);
    }

    /// A run is a function of its seed; draws stay bits; DMALA's step size adapts chain by chain.
    #[test]
    fn runs_adapt_and_repeat() {
        let net = network(10);
        let config = |seed| SampleConfig {
            n_draws: 40,
            burn_in: 300,
            seed,
            target_accept: Some(0.57),
            ..Default::default()
        };
        let run =
            |seed| sample(&Dmala::new(0.3), &net, point(&vec![vec![1; 10]; 8], 2), &config(seed)).unwrap();
        let first = run(1);
        assert_eq!(first.draws, run(1).draws);
        assert_ne!(first.draws, run(2).draws);
        assert!(first.draws.array().iter().all(|x| *x == 0.0 || *x == 1.0));
        assert!(first.summary.acceptance.iter().all(|a| *a > 0.3), "{:?}", first.summary.acceptance);
    }

    #[test]
    fn what_is_no_number_is_rejected_and_bad_starts_are_errors() {
        let nan = Torch::module(nn::func(|x: &Tensor| {
            x.flatten(1, -1).sum_dim_intlist([1i64].as_slice(), true, None) * f64::NAN
        }));
        for (states, k) in [(vec![vec![1, 0, 1]; 4], 2), (vec![vec![1, 0, 2]; 4], 3)] {
            let x = point(&states, k);
            let stays = |end: Tensor| assert_eq!(values(&end), states.concat());
            stays(sample_batch(&GibbsWithGradients, &nan, x.shallow_clone(), 5, 0, &mut ()).unwrap());
            stays(sample_batch(&Dmala::new(1.0), &nan, x.shallow_clone(), 5, 0, &mut ()).unwrap());
            stays(sample_batch(&Dula::new(1.0), &nan, x.shallow_clone(), 5, 0, &mut ()).unwrap());
            let config = SampleConfig { n_draws: 5, burn_in: 0, ..Default::default() };
            let run = sample(&GibbsWithGradients, &nan, x, &config).unwrap();
            assert_eq!(run.summary.n_diverged, [5; 4]);
        }
        let net = network(3);
        let text = |x: Tensor| sample_batch(&Dula::new(1.0), &net, x, 1, 0, &mut ()).unwrap_err().to_string();
        let half = Tensor::from_slice(&[0.0, 0.5, 1.0]).view([1, 3]);
        assert!(text(half).starts_with("start points [chains, n] = other numbers: must be 0 or 1"));
        let two_ones = Tensor::from_slice(&[1.0, 1.0, 0.0]).view([1, 1, 3]);
        assert!(text(two_ones).contains("one 1 in every row"));
        let images = Tensor::zeros([1, 1, 2, 2], (Kind::Double, Device::Cpu));
        assert!(text(images).contains("[chains, n] or [chains, n, k]"));
    }
}
