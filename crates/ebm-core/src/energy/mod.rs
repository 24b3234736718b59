//! An energy is one trait: `E(x)`, unnormalised negative log-density, one number per chain.
//!
//! `log p(x) = -E(x) - log Z`. Everything else in the workspace is written against [`Energy`] and
//! [`GradEnergy`], so any sampler works with any energy on any [`Point`].

mod compose;
mod host;
mod host_activation;
mod host_mlp;
mod metric;
#[cfg(feature = "torch")]
mod tensor;

pub use compose::{Conditional, EnergyExt, Ensemble, Given, Mixture, Product, Scaled, Sum, Tempered};
pub use host::{Host, HostEnergy, Value, ValueGrad, check_dim};
pub use host_activation::HostActivation;
pub use host_mlp::{HostLayer, HostMlp};
pub use metric::RiemannianMetric;
#[cfg(feature = "torch")]
pub use tensor::{GraphEnergy, ModuleEnergy, Torch, TrainableEnergy, value_and_grad_of, value_of};

use std::sync::Arc;

use crate::{Point, Result};

/// An energy over points of type `X`.
pub trait Energy<X: Point> {
    /// `E(x)`, one number per chain. A non-finite energy is data (the chain diverged), not an error.
    fn energy(&self, x: &X) -> Result<X::Scalar>;
}

/// An energy with its gradient.
pub trait GradEnergy<X: Point>: Energy<X> {
    /// `E(x)`, and `dE/dx` written into `grad` (a tensor energy may replace `*grad`). Both are detached.
    fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar>;

    /// `dE/dx` alone, for kernels that need no energy; override where that is cheaper.
    fn grad(&self, x: &X, grad: &mut X) -> Result<()> {
        self.energy_grad(x, grad)?;
        Ok(())
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<X: Point, E: Energy<X> + ?Sized> Energy<X> for $pointer {
            #[inline(always)]
            fn energy(&self, x: &X) -> Result<X::Scalar> {
                (**self).energy(x)
            }
        }

        impl<X: Point, E: GradEnergy<X> + ?Sized> GradEnergy<X> for $pointer {
            #[inline(always)]
            fn energy_grad(&self, x: &X, grad: &mut X) -> Result<X::Scalar> {
                (**self).energy_grad(x, grad)
            }
            #[inline(always)]
            fn grad(&self, x: &X, grad: &mut X) -> Result<()> {
                (**self).grad(x, grad)
            }
        }
    )*};
}

forward!(&E, Box<E>, Arc<E>);
