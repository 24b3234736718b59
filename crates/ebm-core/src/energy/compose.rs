//! The algebra of energies: sum, scaling, tempering, mixture, product of experts, ensemble, conditioning.
//!
//! With `p_i` proportional to `exp(-E_i)`: a [`Sum`] or [`Product`] is the product of the densities, a
//! [`Tempered`] one is `p^beta`, a [`Mixture`] is `sum_i w_i exp(-E_i)`, an [`Ensemble`] the average energy. All
//! work on every point; scratch comes from the thread's pool, so nothing is allocated per step.

use crate::{ChainMask, Energy, Error, GradEnergy, Point, Result, Scalar};

/// `E = A + B`: the density is the product of the two.
#[derive(Clone, Debug)]
pub struct Sum<A, B>(pub A, pub B);

/// `E = factor * E0`.
#[derive(Clone, Debug)]
pub struct Scaled<E> {
    energy: E,
    factor: f64,
}

/// `E = beta * E0`, the density `p^beta` at inverse temperature `beta`: [`Scaled`] by its usual name.
pub type Tempered<E> = Scaled<E>;

/// `E = sum_i w_i E_i`: a product of experts, each raised to its weight.
#[derive(Clone, Debug)]
pub struct Product<E> {
    experts: Vec<(f64, E)>,
}

/// `E = mean_i E_i`: the geometric mean of the members' densities.
pub type Ensemble<E> = Product<E>;

/// `E = -ln sum_i w_i exp(-E_i)`: a mixture. The weights act on the unnormalised densities.
#[derive(Clone, Debug)]
pub struct Mixture<E> {
    components: Vec<(f64, E)>,
}

/// Composition as methods of every energy.
pub trait EnergyExt: Sized {
    /// `self + other`: the product of the two densities.
    fn plus<B>(self, other: B) -> Sum<Self, B> {
        Sum(self, other)
    }

    /// `factor * self`.
    fn scaled(self, factor: f64) -> Scaled<Self> {
        Scaled { energy: self, factor }
    }

    /// The density to the power `beta` (1: unchanged; towards 0: flat).
    fn tempered(self, beta: f64) -> Tempered<Self> {
        self.scaled(beta)
    }

    /// Fix the condition of a conditional energy for as long as it is borrowed: `net.given(&label)`.
    fn given<'a, C: ?Sized>(&'a self, condition: &'a C) -> Given<'a, Self, C> {
        Given { energy: self, condition }
    }
}

impl<E> EnergyExt for E {}

fn check_weights<E>(name: &str, parts: &[(f64, E)], positive: bool) -> Result<()> {
    if parts.is_empty() {
        return Err(Error::bad_value(name, "empty", "at least one part", ""));
    }
    for (weight, _) in parts {
        if !weight.is_finite() || (positive && *weight <= 0.0) {
            let limit = if positive { "finite and above 0" } else { "finite" };
            return Err(Error::bad_value(format!("weight of a {name}"), weight, limit, ""));
        }
    }
    Ok(())
}

impl<E> Product<E> {
    /// `sum_i w_i E_i` from pairs `(w_i, E_i)`.
    ///
    /// # Errors
    /// When there is no expert or a weight is not finite.
    pub fn new(experts: Vec<(f64, E)>) -> Result<Self> {
        check_weights("product", &experts, false)?;
        Ok(Self { experts })
    }

    /// The average of the members' energies.
    ///
    /// # Errors
    /// When there is no member.
    pub fn mean(members: Vec<E>) -> Result<Self> {
        let weight = 1.0 / members.len() as f64;
        Self::new(members.into_iter().map(|e| (weight, e)).collect())
    }
}

impl<E> Mixture<E> {
    /// `-ln sum_i w_i exp(-E_i)` from pairs `(w_i, E_i)`.
    ///
    /// # Errors
    /// When there is no component or a weight is not above 0.
    pub fn new(components: Vec<(f64, E)>) -> Result<Self> {
        check_weights("mixture", &components, true)?;
        Ok(Self { components })
    }
}

impl<X: Point, A: Energy<X>, B: Energy<X>> Energy<X> for Sum<A, B> {
    fn energy(&self, x: &X) -> Result<X::Scalar> {
        Scalar::linear([(1.0, &self.0.energy(x)?), (1.0, &self.1.energy(x)?)])
    }
}

impl<X: Point, A: GradEnergy<X>, B: GradEnergy<X>> GradEnergy<X> for Sum<A, B> {
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
        let a = self.0.energy_grad(x, grad)?;
        let mut other = x.take_scratch()?;
        let b = self.1.energy_grad(x, &mut other)?;
        grad.add_scaled(&X::Scalar::same(1.0), &other)?;
        other.give_back();
        Scalar::linear([(1.0, &a), (1.0, &b)])
    }

    fn grad(&self, x: &X, grad: &mut X) -> Result<()> {
        self.0.grad(x, grad)?;
        let mut other = x.take_scratch()?;
        self.1.grad(x, &mut other)?;
        grad.add_scaled(&X::Scalar::same(1.0), &other)?;
        other.give_back();
        Ok(())
    }
}

impl<X: Point, E: Energy<X>> Energy<X> for Scaled<E> {
    fn energy(&self, x: &X) -> Result<X::Scalar> {
        Scalar::linear([(self.factor, &self.energy.energy(x)?)])
    }
}

impl<X: Point, E: GradEnergy<X>> GradEnergy<X> for Scaled<E> {
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
        let value = self.energy.energy_grad(x, grad)?;
        grad.scale_by(&X::Scalar::same(self.factor))?;
        Scalar::linear([(self.factor, &value)])
    }

    fn grad(&self, x: &X, grad: &mut X) -> Result<()> {
        self.energy.grad(x, grad)?;
        grad.scale_by(&X::Scalar::same(self.factor))
    }
}

impl<X: Point, E: Energy<X>> Energy<X> for Product<E> {
    fn energy(&self, x: &X) -> Result<X::Scalar> {
        let mut sum = X::Scalar::same(0.0);
        for (weight, expert) in &self.experts {
            sum = Scalar::linear([(1.0, &sum), (*weight, &expert.energy(x)?)])?;
        }
        Ok(sum)
    }
}

impl<X: Point, E: GradEnergy<X>> GradEnergy<X> for Product<E> {
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
        let mut sum = X::Scalar::same(0.0);
        let mut part = x.take_scratch()?;
        for (i, (weight, expert)) in self.experts.iter().enumerate() {
            let target = if i == 0 { &mut *grad } else { &mut part };
            let value = expert.energy_grad(x, target)?;
            sum = Scalar::linear([(1.0, &sum), (*weight, &value)])?;
            if i == 0 {
                grad.scale_by(&X::Scalar::same(*weight))?;
            } else {
                grad.add_scaled(&X::Scalar::same(*weight), &part)?;
            }
        }
        part.give_back();
        Ok(sum)
    }
}

/// `ln(e^a + e^b)`, exact where one of them is minus infinity.
fn ln_add_exp<S: Scalar>(a: &S, b: &S) -> Result<S> {
    let a_is_less = a.less_than(b)?;
    let larger = S::select(&a_is_less, b, a)?;
    let smaller = S::select(&a_is_less, a, b)?;
    let difference = S::linear([(1.0, &smaller), (-1.0, &larger)])?;
    let tail = S::linear([(1.0, &S::same(1.0)), (1.0, &difference.exp_each()?)])?.ln_each()?;
    let sum = S::linear([(1.0, &larger), (1.0, &tail)])?;
    // Both minus infinity: their difference is NaN, the sum is still minus infinity.
    let none = S::same(f64::NEG_INFINITY).less_than(&larger)?.negate()?;
    S::select(&none, &larger, &sum)
}

impl<X: Point, E: Energy<X>> Energy<X> for Mixture<E> {
    fn energy(&self, x: &X) -> Result<X::Scalar> {
        let mut total = X::Scalar::same(f64::NEG_INFINITY);
        for (weight, component) in &self.components {
            let value = component.energy(x)?;
            let log_term = Scalar::linear([(-1.0, &value), (weight.ln(), &X::Scalar::same(1.0))])?;
            total = ln_add_exp(&total, &log_term)?;
        }
        Scalar::linear([(-1.0, &total)])
    }
}

impl<X: Point, E: GradEnergy<X>> GradEnergy<X> for Mixture<E> {
    /// `grad E = sum_i r_i grad E_i`, `r_i` the responsibilities, accumulated in one pass: with each component
    /// the old sum is scaled by its share of the new total.
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
        let mut total = X::Scalar::same(f64::NEG_INFINITY);
        let mut part = x.take_scratch()?;
        for (i, (weight, component)) in self.components.iter().enumerate() {
            let target = if i == 0 { &mut *grad } else { &mut part };
            let value = component.energy_grad(x, target)?;
            let log_term = Scalar::linear([(-1.0, &value), (weight.ln(), &X::Scalar::same(1.0))])?;
            if i == 0 {
                total = log_term;
                continue;
            }
            let next = ln_add_exp(&total, &log_term)?;
            grad.scale_by(&X::Scalar::linear([(1.0, &total), (-1.0, &next)])?.exp_each()?)?;
            grad.add_scaled(&X::Scalar::linear([(1.0, &log_term), (-1.0, &next)])?.exp_each()?, &part)?;
            total = next;
        }
        part.give_back();
        Scalar::linear([(-1.0, &total)])
    }
}

/// An energy of `x` given a condition `c`: a label, a context, a noise level. Written once per model; with
/// [`EnergyExt::given`] it is again a plain energy, so no kernel knows about conditions.
pub trait Conditional<X: Point, C: ?Sized> {
    /// `E(x; c)`, one number per chain.
    fn energy_given(&self, x: &X, condition: &C) -> Result<X::Scalar>;
    /// `E(x; c)`, and its gradient in `x`.
    fn energy_grad_given(&self, x: &X, condition: &C, grad: &mut X) -> Result<X::Scalar>;
}

/// A conditional energy with its condition fixed; see [`EnergyExt::given`].
#[derive(Debug)]
pub struct Given<'a, E, C: ?Sized> {
    energy: &'a E,
    condition: &'a C,
}

impl<X: Point, C: ?Sized, E: Conditional<X, C>> Energy<X> for Given<'_, E, C> {
    fn energy(&self, x: &X) -> Result<X::Scalar> {
        self.energy.energy_given(x, self.condition)
    }
}

impl<X: Point, C: ?Sized, E: Conditional<X, C>> GradEnergy<X> for Given<'_, E, C> {
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
        self.energy.energy_grad_given(x, self.condition, grad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Host};

    type Point1 = Vec<f64>;

    /// `0.5 k (x - m)^2` summed over coordinates.
    fn spring(k: f64, m: f64) -> impl GradEnergy<Point1> + GradEnergy<Block<f64>> {
        Host::value_grad(2, move |x: &[f64], grad: &mut [f64]| {
            for (g, x) in grad.iter_mut().zip(x) {
                *g = k * (x - m);
            }
            x.iter().map(|x| 0.5 * k * (x - m).powi(2)).sum()
        })
    }

    fn value_grad(energy: &impl GradEnergy<Point1>, x: [f64; 2]) -> (f64, Vec<f64>) {
        let mut grad = vec![f64::NAN; 2];
        let x = x.to_vec();
        let value = energy.energy_grad(&x, &mut grad).unwrap();
        assert!((value - energy.energy(&x).unwrap()).abs() < 1e-12);
        let mut alone = vec![f64::NAN; 2];
        energy.grad(&x, &mut alone).unwrap();
        assert_eq!(grad, alone);
        (value, grad)
    }

    #[test]
    fn sums_scales_products_and_ensembles_are_linear() {
        let (x, a, b) = ([0.3, -1.2], spring(1.0, 0.0), spring(2.0, 1.0));
        let ((ea, ga), (eb, gb)) = (value_grad(&a, x), value_grad(&b, x));
        let check = |(e, g): (f64, Vec<f64>), ca: f64, cb: f64| {
            assert!((e - (ca * ea + cb * eb)).abs() < 1e-12);
            for i in 0..2 {
                assert!((g[i] - (ca * ga[i] + cb * gb[i])).abs() < 1e-12);
            }
        };
        check(value_grad(&Sum(&a, &b), x), 1.0, 1.0);
        check(value_grad(&(&a).plus((&b).scaled(-0.5)), x), 1.0, -0.5);
        check(value_grad(&(&a).tempered(0.25), x), 0.25, 0.0);
        let (a, b): (Box<dyn GradEnergy<Point1>>, Box<dyn GradEnergy<Point1>>) = (Box::new(a), Box::new(b));
        check(value_grad(&Product::new(vec![(2.0, &a), (3.0, &b)]).unwrap(), x), 2.0, 3.0);
        check(value_grad(&Ensemble::mean(vec![a, b]).unwrap(), x), 0.5, 0.5);
    }

    /// The mixture against its definition, far out too, where `exp` alone would underflow.
    #[test]
    fn a_mixture_is_the_log_of_the_weighted_sum() {
        let parts = || vec![(0.2, spring(1.0, 0.0)), (0.5, spring(1.0, 4.0)), (0.3, spring(1.0, -4.0))];
        let mixture = Mixture::new(parts()).unwrap();
        for x in [[0.0, 0.0], [1.0, 3.0], [-5.0, 2.0]] {
            let (mut z, mut g) = (0.0, [0.0; 2]);
            for (w, part) in parts() {
                let (e, ge) = value_grad(&part, x);
                z += w * (-e).exp();
                for i in 0..2 {
                    g[i] += w * (-e).exp() * ge[i];
                }
            }
            let (value, grad) = value_grad(&mixture, x);
            assert!((value + z.ln()).abs() < 1e-12);
            assert!((grad[0] - g[0] / z).abs() < 1e-12 && (grad[1] - g[1] / z).abs() < 1e-12);
        }
        let (value, grad) = value_grad(&mixture, [104.0, 104.0]);
        assert!((value - (10_000.0 - 0.5f64.ln())).abs() < 1e-9, "{value}");
        assert!((grad[0] - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_block_gives_the_numbers_of_its_chains() {
        let mixture = Mixture::new(vec![(0.2, spring(1.0, 0.0)), (0.8, spring(3.0, 1.0))]).unwrap();
        let rows = [0.1, 0.2, -3.0, 1.0, 50.0, 60.0];
        let block = Block::new(2, rows.to_vec()).unwrap();
        let mut grad = block.clone();
        let values = mixture.energy_grad(&block, &mut grad).unwrap();
        for (i, row) in rows.chunks(2).enumerate() {
            let (e, g) = value_grad(&mixture, [row[0], row[1]]);
            assert!((values.of_chain(i) - e).abs() < 1e-12 * e.abs().max(1.0));
            for j in 0..2 {
                assert!((grad.as_slice()[2 * i + j] - g[j]).abs() < 1e-12 * g[j].abs().max(1.0));
            }
        }
    }

    #[test]
    fn a_condition_is_borrowed() {
        struct Shift;
        impl Conditional<Point1, f64> for Shift {
            fn energy_given(&self, x: &Point1, c: &f64) -> Result<f64> {
                Ok(x.iter().map(|x| 0.5 * (x - c).powi(2)).sum())
            }
            fn energy_grad_given(&self, x: &Point1, c: &f64, grad: &mut Point1) -> Result<f64> {
                grad.iter_mut().zip(x).for_each(|(g, x)| *g = x - c);
                self.energy_given(x, c)
            }
        }
        assert_eq!(value_grad(&Shift.given(&1.0), [1.0, 3.0]), (2.0, vec![0.0, 2.0]));
    }

    #[test]
    fn weights_are_checked() {
        assert!(Mixture::new(vec![(0.0, spring(1.0, 0.0))]).is_err());
        assert!(Mixture::<f64>::new(vec![]).is_err());
        assert!(Product::new(vec![(f64::NAN, ())]).is_err());
        assert!(Ensemble::<()>::mean(vec![]).is_err());
    }
}
