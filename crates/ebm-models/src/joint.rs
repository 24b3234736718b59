//! A classifier's logits read as energies: what JEM and its relatives share.
//!
//! With logits `f(x)`: `E(x, y) = -f(x)[y]`, `E(x) = -ln sum_y exp f(x)[y]`, `p(y | x) = softmax f(x)`, and the
//! cross-entropy is `E(x, y) - E(x)`. Source: JEM (arXiv 1912.03263).

use ebm_core::{Conditional, Error, GraphEnergy, Result, TensorScalar, value_and_grad_of};
use tch::Tensor;

/// A network whose logits are energies.
pub trait JointEnergy {
    /// `f(x)`: `[n, ..] -> [n, classes]`, with graph.
    ///
    /// # Errors
    /// A shape that does not fit.
    fn logits(&self, x: &Tensor) -> Result<Tensor>;
}

/// `E(x) = -ln sum_y exp f(x)[y]` of logits `[n, classes]`, `[n]`.
///
/// # Errors
/// When LibTorch fails.
pub fn marginal_energy(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.f_logsumexp([1i64].as_slice(), false)?.f_neg()?)
}

/// `E(x, y) = -f(x)[y]` of logits `[n, classes]` and labels `[n]` (i64), `[n]`.
///
/// # Errors
/// Labels of another length or outside the classes.
pub fn joint_energy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(logits.f_gather(1, &labels.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?.f_neg()?)
}

/// The mean cross-entropy of logits `[n, classes]` against labels `[n]`, 0-d.
///
/// # Errors
/// Labels of another length or outside the classes.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(joint_energy(logits, labels)?.f_sub(&marginal_energy(logits)?)?.f_mean(None::<tch::Kind>)?)
}

/// `E(., y)` of a joint energy for fixed labels `[n]`: class-conditional sampling by `net.given(&labels)`.
pub struct Joint<'a, N: ?Sized>(pub &'a N);

impl<N: JointEnergy + ?Sized> Conditional<Tensor, Tensor> for Joint<'_, N> {
    fn energy_given(&self, x: &Tensor, labels: &Tensor) -> Result<TensorScalar> {
        tch::no_grad(|| Ok(TensorScalar::Each(joint_energy(&self.0.logits(x)?, labels)?)))
    }

    fn energy_grad_given(&self, x: &Tensor, labels: &Tensor, grad: &mut Tensor) -> Result<TensorScalar> {
        struct Fixed<'a, N: ?Sized>(&'a N, &'a Tensor);
        impl<N: JointEnergy + ?Sized> GraphEnergy for Fixed<'_, N> {
            fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
                if x.size().first() != self.1.size().first() {
                    return Err(Error::shape("labels", x.size().first(), self.1.size().first()));
                }
                joint_energy(&self.0.logits(x)?, self.1)
            }
        }
        let (value, gradient) = value_and_grad_of(&Fixed(self.0, labels), x)?;
        *grad = gradient;
        Ok(TensorScalar::Each(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::{EnergyExt, GradEnergy};
    use tch::{Device, Kind};

    fn close(a: &Tensor, b: &Tensor) {
        assert!((a - b).abs().max().double_value(&[]) < 1e-12);
    }

    fn logits() -> (Tensor, Tensor) {
        tch::manual_seed(0);
        (Tensor::randn([6, 4], (Kind::Double, Device::Cpu)), Tensor::from_slice(&[0i64, 1, 2, 3, 0, 1]))
    }

    /// A function added to all logits moves both energies by its negative and leaves the classifier alone.
    #[test]
    fn a_shift_of_the_logits_is_invisible_to_the_classifier() {
        let (f, y) = logits();
        let a = Tensor::randn([6, 1], (Kind::Double, Device::Cpu));
        let g = &f + &a;
        close(&cross_entropy(&g, &y).unwrap(), &cross_entropy(&f, &y).unwrap());
        close(&g.softmax(1, Kind::Double), &f.softmax(1, Kind::Double));
        let a = a.view(-1);
        close(&marginal_energy(&g).unwrap(), &(marginal_energy(&f).unwrap() - &a));
        close(&joint_energy(&g, &y).unwrap(), &(joint_energy(&f, &y).unwrap() - &a));
        let expected = f.log_softmax(1, Kind::Double).nll_loss(&y);
        close(&cross_entropy(&f, &y).unwrap(), &expected);
        // The definition itself, by hand, for one row.
        let row: Vec<f64> = Vec::try_from(f.get(0)).unwrap();
        let by_hand = -row.iter().map(|l| l.exp()).sum::<f64>().ln();
        assert!((marginal_energy(&f).unwrap().double_value(&[0]) - by_hand).abs() < 1e-12);
    }

    /// A linear classifier: `grad E(x) = -sum_y p(y|x) w_y`, `grad E(x, y) = -w_y`.
    struct Classifier(Tensor);

    impl JointEnergy for Classifier {
        fn logits(&self, x: &Tensor) -> Result<Tensor> {
            Ok(x.f_matmul(&self.0)?)
        }
    }

    impl GraphEnergy for Classifier {
        fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
            marginal_energy(&self.logits(x)?)
        }
    }

    #[test]
    fn gradients_are_the_identities() {
        tch::manual_seed(1);
        let net = Classifier(Tensor::randn([3, 4], (Kind::Double, Device::Cpu)));
        let (x, y) = (Tensor::randn([6, 3], (Kind::Double, Device::Cpu)), logits().1);
        let (_, marginal) = value_and_grad_of(&net, &x).unwrap();
        let p = net.logits(&x).unwrap().softmax(1, Kind::Double);
        close(&marginal, &p.matmul(&net.0.transpose(0, 1)).neg());
        let mut joint = x.shallow_clone();
        Joint(&net).given(&y).energy_grad(&x, &mut joint).unwrap();
        close(&joint, &net.0.transpose(0, 1).index_select(0, &y).neg());
        assert!(Joint(&net).given(&y.narrow(0, 0, 2)).energy_grad(&x, &mut joint).is_err());
    }
}
