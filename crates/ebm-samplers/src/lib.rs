//! Markov-chain kernels, written once for host chains, blocks of host chains and tensors.
//!
//! * [`sample`]: the entry for users; [`SampleConfig`] says how much, [`Run`] is what comes out.
//! * Kernels, one file each: [`Ula`] (SGLD), [`Mala`], [`Baoab`] (underdamped Langevin), [`Sghmc`], [`Hmc`], [`Mclmc`] and
//!   [`MclmcAdjusted`] (microcanonical); on host chains and tensors [`Nuts`]; on host chains alone [`Rmhmc`] with a metric
//!   of the position, and [`Slice`] and [`EllipticalSlice`] (a normal prior times a likelihood),
//!   which need no gradient.
//! * [`AnnealedLangevin`]: Langevin through a sequence of energies, from the noisiest to the cleanest.
//! * [`sample_discrete`], or [`DiscreteSampler`] in pieces: chains of discrete variables. Its kernels: [`Gibbs`],
//!   [`BlockGibbs`], [`RbmGibbs`], [`Checkerboard`], [`GibbsWithGradients`], [`Dula`], [`Dmala`], [`SwendsenWang`],
//!   [`Wolff`]; [`DiscreteKernel`] for your own. By themselves: [`PackedIsing`], [`PackedRbm`], 64 to a word.
//! * [`Kernel`], [`State`], [`Observer`]: what a kernel is, for those who write one or need their own loop
//!   ([`sample_host`], `sample_batch`).
//! * [`DrawFolder`]: draws on disk while the sampler runs; packed for NumPy and ArviZ (feature `npz`), as Arrow
//!   (feature `arrow`), plotted (feature `plots`).
//! * [`Ais`]: log Z by annealed importance sampling, from below and above, along a [`Bridge`] between two energies.
//! * [`Smc`]: weighted particles from one energy to another, log Z on the way.
//! * [`Nested`]: nested sampling, `log Z` and weighted draws from a prior inwards, without gradients.
//! * [`Svgd`]: Stein variational gradient descent, particles that approximate a law without drawing from it.
//! * [`Tempering`]: non-reversible parallel tempering, for modes far apart.
//! * `NutsRs` (feature `nuts-rs`): the crate nuts-rs on our energies, to check a result by another implementation.
//! * [`RungEnergies`]: log Z from the rungs of a path; [`Wham`]: samples of several ensembles as one of any other.
//! * `descent` (feature `torch`): prediction by descending an energy, and training through the descent.
//! * `ReplayBuffer` (feature `torch`): persistent chains for training; `ReplayQueue`: pairs of a context and a candidate.

mod ais;
mod annealed_langevin;
mod archive;
mod baoab;
mod bridge;
#[cfg(feature = "torch")]
pub mod descent;
mod discrete;
mod draws;
mod drive;
mod dual_averaging;
mod elliptical_slice;
mod guard;
mod hamiltonian;
mod hmc;
mod isokinetic;
mod kernel;
mod ladder;
mod mala;
mod mclmc;
mod mclmc_adjusted;
mod metric;
mod metropolis;
mod nested;
mod nuts;
#[cfg(feature = "torch")]
mod nuts_batch;
#[cfg(feature = "nuts-rs")]
mod nuts_rs;
#[cfg(feature = "torch")]
mod replay_buffer;
#[cfg(feature = "torch")]
mod replay_queue;
mod rmhmc;
mod sample;
mod sghmc;
mod slice;
mod smc;
mod start_points;
mod svgd;
mod tempering;
mod thermodynamic;
mod ula;
mod warm_up;
mod wham;

#[cfg(feature = "nuts-rs")]
pub use self::nuts_rs::{NutsRs, NutsRsRun};
pub use ais::{Ais, AisRun, Bracket};
pub use annealed_langevin::AnnealedLangevin;
pub use baoab::{Baoab, BaoabWork};
pub use bridge::{Bridge, Flat};
#[cfg(feature = "torch")]
pub use discrete::GibbsInfo;
pub use discrete::{
    BlockGibbs, Checkerboard, ClusterWork, DiscreteInfo, DiscreteKernel, DiscreteRun, DiscreteSampler, Dmala,
    Dula, DulaWork, Gibbs, GibbsWithGradients, GuidedWork, GwgWork, PackedIsing, PackedRbm, PottsWork,
    RbmGibbs, RbmWork, Scan, SwendsenWang, Wolff, sample_discrete,
};
#[cfg(feature = "arrow")]
pub use draws::pack_arrow;
#[cfg(feature = "npz")]
pub use draws::pack_npz;
pub use draws::{DrawArrays, DrawFolder, NpySink};
#[cfg(any(feature = "npz", feature = "arrow"))]
pub use draws::{DrawInfo, Packing};
#[cfg(feature = "torch")]
pub use drive::sample_batch;
pub use drive::sample_host;
pub use dual_averaging::DualAveraging;
pub use elliptical_slice::{EllipticalSlice, EllipticalSliceWork};
pub use hamiltonian::HamiltonianWork;
pub use hmc::Hmc;
pub use isokinetic::{IsokineticWork, Splitting};
pub use kernel::{Clip, Info, Kernel, Observer, State, StepInfo};
pub use ladder::Verdict;
pub use mala::Mala;
pub use mclmc::{Mclmc, MclmcInfo, MclmcWork};
pub use mclmc_adjusted::MclmcAdjusted;
pub use metric::Metric;
pub use metropolis::metropolis;
pub use nested::{Nested, NestedRun};
pub use nuts::{Nuts, NutsInfo, NutsWork};
#[cfg(feature = "torch")]
pub use replay_buffer::{Replay, ReplayBuffer, ReplayConfig, ReplayState};
#[cfg(feature = "torch")]
pub use replay_queue::ReplayQueue;
pub use rmhmc::{Rmhmc, RmhmcWork};
pub use sample::{
    Divergence, DrawSink, Draws, Failure, MetricChoice, NoSink, Progress, Run, SampleConfig, Sampler, Starts,
    Summary, Warning, sample, sample_into,
};
pub use sghmc::{Sghmc, SghmcWork};
pub use slice::{Directions, Slice, SliceInfo, SliceWork};
pub use smc::{Smc, SmcRun};
pub use start_points::StartPoints;
pub use svgd::{SteinKernel, Svgd, SvgdRun};
pub use tempering::{RungSteps, TemperedRun, Tempering};
pub use thermodynamic::{LogRatio, RungEnergies};
pub use ula::{Sgld, Ula};
pub use wham::{ReweightedBin, Wham};

/// The page's examples are compiled.
#[cfg(all(doctest, feature = "npz", feature = "plots"))]
#[doc = include_str!("../../../docs/draws.md")]
struct DrawsPage;
