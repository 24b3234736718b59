//! Energies of LibTorch tensors: gradients by autograd, modules of `tch` as energies.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{Tensor, nn::Module};

use crate::{Error, GradEnergy, Result, TensorScalar};

/// An energy whose graph LibTorch records; `tensor_energy!(MyEnergy);` makes it a [`GradEnergy`] by autograd.
pub trait GraphEnergy {
    /// `E(x)`: `[chains, ..] -> [chains]`, with the graph to `x` and to the parameters.
    fn energy_graph(&self, x: &Tensor) -> Result<Tensor>;

    /// The energy `[chains]` and `dE/dx`, both with graph: for score matching, energy descent, penalties.
    fn energy_grad_graph(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = if x.requires_grad() { x.shallow_clone() } else { x.f_detach()?.set_requires_grad(true) };
        let energy = self.energy_graph(&x)?;
        let grads = Tensor::f_run_backward(&[&energy], &[&x], true, true)?;
        let grad = defined_or_zeros(grads, &x)?;
        Ok((energy, grad))
    }
}

/// An energy with parameters to train.
pub trait TrainableEnergy: GraphEnergy + GradEnergy<Tensor> {
    /// The trainable parameters: shared handles, always in the same order.
    fn parameters(&self) -> Vec<Tensor>;
}

fn defined_or_zeros(grads: Vec<Tensor>, x: &Tensor) -> Result<Tensor> {
    // An input on which the energy does not depend comes back undefined.
    match grads.into_iter().next() {
        Some(grad) if grad.defined() => Ok(grad),
        _ => Ok(x.f_zeros_like()?),
    }
}

/// `E(x)`, `[chains]`, without a graph.
pub fn value_of(energy: &(impl GraphEnergy + ?Sized), x: &Tensor) -> Result<TensorScalar> {
    tch::no_grad(|| Ok(TensorScalar::Each(energy.energy_graph(x)?)))
}

/// `E(x)`, `[chains]`, and `dE/dx`, shape of `x`: both detached. Leaves no gradient on any parameter.
pub fn value_and_grad_of(energy: &(impl GraphEnergy + ?Sized), x: &Tensor) -> Result<(Tensor, Tensor)> {
    let x = x.f_detach()?.set_requires_grad(true);
    let value = tch::with_grad(|| energy.energy_graph(&x))?;
    if !value.requires_grad() {
        return Ok((value, x.f_detach()?.f_zeros_like()?));
    }
    // Backward starts from ones, one per chain: chains do not mix, so no sum is needed.
    let grads = Tensor::f_run_backward(&[&value], &[&x], false, false)?;
    Ok((value.f_detach()?, defined_or_zeros(grads, &x)?))
}

/// Make types that implement [`GraphEnergy`] energies of tensors, with gradients by autograd.
#[macro_export]
macro_rules! tensor_energy {
    ([$($generic:ident: $bound:path),*] $name:ty) => {
        impl<$($generic: $bound),*> $crate::Energy<$crate::torch::Tensor> for $name {
            fn energy(&self, x: &$crate::torch::Tensor) -> $crate::Result<$crate::TensorScalar> {
                $crate::value_of(self, x)
            }
        }
        impl<$($generic: $bound),*> $crate::GradEnergy<$crate::torch::Tensor> for $name {
            fn energy_grad(
                &self,
                x: &$crate::torch::Tensor,
                grad: &mut $crate::torch::Tensor,
            ) -> $crate::Result<$crate::TensorScalar> {
                let (value, gradient) = $crate::value_and_grad_of(self, x)?;
                *grad = gradient;
                Ok($crate::TensorScalar::Each(value))
            }
        }
    };
    ($name:ty) => { $crate::tensor_energy!([] $name); };
}

/// A user's LibTorch code as an energy.
///
/// ```
/// use ebm_core::{GradEnergy, Torch};
/// use tch::{Device, Kind, Tensor, nn};
/// let vs = nn::VarStore::new(Device::Cpu);
/// let energy = Torch::module(nn::linear(vs.root() / "out", 2, 1, Default::default()))
///     .with_parameters(vs.trainable_variables());
/// let x = Tensor::randn([5, 2], (Kind::Float, Device::Cpu));
/// let mut grad = x.zeros_like();
/// energy.energy_grad(&x, &mut grad)?;
/// assert_eq!(grad.size(), [5, 2]);
/// # Ok::<(), ebm_core::Error>(())
/// ```
pub struct Torch;

impl Torch {
    /// Any `tch` module `[chains, ..] -> [chains]` or `[chains, 1]`. A panic of the module (a wrong shape, say)
    /// becomes an error. If the module draws from LibTorch's global generator (dropout), runs are not reproducible.
    pub fn module<M: Module>(module: M) -> ModuleEnergy<M> {
        ModuleEnergy { module, parameters: Vec::new() }
    }
}

/// See [`Torch::module`].
#[derive(Debug)]
pub struct ModuleEnergy<M> {
    module: M,
    parameters: Vec<Tensor>,
}

impl<M: Module> ModuleEnergy<M> {
    /// The parameters that training may change, for instance `vs.trainable_variables()`.
    pub fn with_parameters(mut self, parameters: Vec<Tensor>) -> Self {
        self.parameters = parameters;
        self
    }

    /// The module itself.
    pub fn module(&self) -> &M {
        &self.module
    }
}

impl<M: Module> GraphEnergy for ModuleEnergy<M> {
    fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
        let out = catch_unwind(AssertUnwindSafe(|| self.module.forward(x))).map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Error::user(format!("the module failed on an input of shape {:?}: {text}", x.size()))
        })?;
        let chains = x.size().first().copied().unwrap_or(0);
        if out.size() != [chains] && out.size() != [chains, 1] {
            return Err(Error::shape("energies of a module", [chains, 1], out.size()));
        }
        Ok(out.f_view([chains])?)
    }
}

crate::tensor_energy!([M: Module] ModuleEnergy<M>);

impl<M: Module> TrainableEnergy for ModuleEnergy<M> {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters.iter().map(Tensor::shallow_clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Energy;
    use tch::{Device, Kind, nn};

    #[test]
    fn input_gradients_leave_nothing_on_parameters_and_wrong_shapes_are_errors() {
        let vs = nn::VarStore::new(Device::Cpu);
        let net = nn::seq()
            .add(nn::linear(vs.root() / 0, 3, 8, Default::default()))
            .add_fn(Tensor::silu)
            .add(nn::linear(vs.root() / 1, 8, 1, Default::default()));
        let energy = Torch::module(net).with_parameters(vs.trainable_variables());
        let x = Tensor::randn([4, 3], (Kind::Float, Device::Cpu));
        let mut grad = x.zeros_like();
        let TensorScalar::Each(value) = energy.energy_grad(&x, &mut grad).unwrap() else {
            panic!("one each")
        };
        assert!(!grad.requires_grad() && !value.requires_grad());
        assert!(energy.parameters().iter().all(|p| !p.grad().defined()));
        // Against a central difference in one coordinate.
        let step = Tensor::from_slice(&[0f32, 1e-2, 0.0]);
        let e = |x: &Tensor| energy.energy_graph(x).unwrap();
        let difference = (e(&(&x + &step)) - e(&(&x - &step))) / 2e-2;
        assert!((difference - grad.select(1, 1)).abs().max().double_value(&[]) < 1e-3);
        // Wrong shapes: an error, not a panic.
        assert!(energy.energy(&Tensor::zeros([4, 2], (Kind::Float, Device::Cpu))).is_err());
        let wide = Torch::module(nn::linear(vs.root() / 2, 3, 2, Default::default()));
        assert!(wide.energy(&x).unwrap_err().to_string().contains("[4, 1]"));
    }

    #[test]
    fn gradients_with_graph_can_be_differentiated_again() {
        struct Quartic;
        impl GraphEnergy for Quartic {
            fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
                Ok(x.pow_tensor_scalar(4).flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None))
            }
        }
        let x = Tensor::from_slice(&[1f64, 2.0]).view([2, 1]).set_requires_grad(true);
        let (_, grad) = Quartic.energy_grad_graph(&x).unwrap();
        assert_eq!(Vec::<f64>::try_from(grad.view(-1)).unwrap(), [4.0, 32.0]);
        let second = Tensor::run_backward(&[grad], &[&x], false, false);
        assert_eq!(Vec::<f64>::try_from(second[0].view(-1)).unwrap(), [12.0, 48.0]);
    }

    #[test]
    fn an_energy_that_ignores_its_input_has_gradient_zero() {
        struct Flat;
        impl GraphEnergy for Flat {
            fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
                Ok(Tensor::zeros([x.size()[0]], (Kind::Float, Device::Cpu)))
            }
        }
        let (_, grad) = value_and_grad_of(&Flat, &Tensor::ones([2, 2], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(grad.abs().sum(Kind::Float).double_value(&[]), 0.0);
    }
}
