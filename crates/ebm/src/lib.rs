//! Energy-based models in Rust on LibTorch: one energy trait, and every sampler, training objective, metric and
//! published model written against it.
//!
//! This crate only re-exports; depend on the crate behind it if you need just one part:
//!
//! | I want to … | depend on | LibTorch? |
//! |---|---|---|
//! | sample a density that I can write as a closure | `ebm-core` + `ebm-samplers` | no |
//! | diagnose chains, compare samples, score outliers | `ebm-metrics` | no |
//! | read digits, Fashion-MNIST, 2-D toys | `ebm-datasets` | no |
//! | train an energy-based model of my own | `ebm` (or `ebm-train`) | yes |
//! | use a published model | `ebm` (or `ebm-models`) | yes |
//!
//! ```
//! use ebm::prelude::*;
//! let ring = Host::value_grad(2, |x: &[f64], g: &mut [f64]| {
//!     let r = x[0].hypot(x[1]);
//!     g[0] = 20.0 * (r - 3.0) * x[0] / r;
//!     g[1] = 20.0 * (r - 3.0) * x[1] / r;
//!     10.0 * (r - 3.0).powi(2)
//! });
//! let config = SampleConfig { target_accept: Some(0.8), ..Default::default() };
//! let run = sample(&Hmc::new(0.1, 10), &ring, vec![vec![3.0, 0.0]; 4], &config)?;
//! assert_eq!(run.draws.array().dim(), (4, 1000, 2));
//! # Ok::<(), ebm::Error>(())
//! ```

pub use ebm_core as core;
#[cfg(feature = "datasets")]
pub use ebm_datasets as datasets;
#[cfg(feature = "metrics")]
pub use ebm_metrics as metrics;
#[cfg(feature = "models")]
pub use ebm_models as models;
#[cfg(feature = "samplers")]
pub use ebm_samplers as samplers;
#[cfg(feature = "train")]
pub use ebm_train as train;

pub use ebm_core::{Error, Result};

/// What most programs need: `use ebm::prelude::*;`.
pub mod prelude {
    pub use ebm_core::random::{Purpose, Stream};
    pub use ebm_core::{
        Block, Energy, EnergyExt, Ensemble, Error, GradEnergy, Host, HostEnergy, Mixture, Product, Result,
        Schedule, host_energy,
    };
    #[cfg(feature = "torch")]
    pub use ebm_core::{GraphEnergy, Torch, TrainableEnergy, tensor_energy, torch::Params};
    #[cfg(feature = "samplers")]
    pub use ebm_samplers::{Baoab, Hmc, Kernel, Mala, Run, SampleConfig, Ula, sample, sample_into};
    #[cfg(all(feature = "samplers", feature = "torch"))]
    pub use ebm_samplers::{ReplayBuffer, ReplayConfig};
    #[cfg(feature = "train")]
    pub use ebm_train::{
        Batch, BatchSource, Checkpoints, Limits, Objective, Outcome, TrainObserver, Trainer, TrainerConfig,
    };
}
