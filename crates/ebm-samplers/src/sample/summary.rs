//! What a run says about itself: a table, and a plain sentence for everything that is wrong with it.

use std::fmt;

use ebm_core::{Error, Result};
use ebm_metrics::chains::{ParameterSummary, Summary as Diagnostics, summary};
use ndarray::{ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use super::observe::{Counts, Kept};

/// A divergence: an energy error that was not finite or above 1000.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The chain, counted over the run.
    pub chain: usize,
    /// The draw, counted from 0, that followed it.
    pub draw: usize,
    /// Where the chain stood at that draw, `[dim]`: for kernels that reject, the place it could not leave.
    pub position: Vec<f64>,
}

/// A point whose chains ended early.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its chains, counted over the run.
    pub chains: std::ops::Range<usize>,
    /// The run's seed.
    pub seed: u64,
    /// Steps that it had taken.
    pub step: u64,
    /// What went wrong: the error's or the panic's own words.
    pub message: String,
}

impl Failure {
    /// The error of a saved sampler with this failure.
    pub(crate) fn not_saved(&self) -> Error {
        let fix = "finish the sampler: its draws are whole, and the failure is in the summary";
        Error::bad_value("a point to save", self, "one that did not fail", fix)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chains, seed, step, message } = self;
        match chains.len() {
            1 => write!(f, "chain {}", chains.start)?,
            _ => write!(f, "chains {} to {}", chains.start, chains.end - 1)?,
        }
        write!(f, " (seed {seed}) ended after {step} steps: {message}")
    }
}

/// Something wrong with a run; prints as a sentence with what to do about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Steps with an energy error that was not finite or above 1000.
    Divergences {
        /// How many, over all chains.
        n: u64,
        /// Their share of the steps after burn-in.
        share: f64,
    },
    /// Steps of discrete variables that met an energy which is no number, or was out of reach.
    NotReached {
        /// How many, over all chains.
        n: u64,
        /// Their share of the steps after burn-in.
        share: f64,
    },
    /// Paths of NUTS that were cut off at the largest depth.
    Saturated {
        /// How many, over all chains.
        n: u64,
        /// Their share of the steps after burn-in.
        share: f64,
    },
    /// Chains whose energy hardly changes between momenta.
    LowBfmi {
        /// How many.
        n_chains: usize,
        /// The worst of them.
        chain: usize,
        /// Its E-BFMI.
        e_bfmi: f64,
    },
    /// Chains that do not agree.
    RHat {
        /// The worst coordinate.
        coordinate: usize,
        /// Its R-hat.
        r_hat: f64,
    },
    /// Too few independent draws.
    Ess {
        /// The worst coordinate.
        coordinate: usize,
        /// Its effective sample size, of bulk or tails.
        ess: f64,
    },
    /// The energy of discrete draws, by which the chains do not agree, or of which there are too few independent values.
    Energy {
        /// Its R-hat.
        r_hat: f64,
        /// Its effective sample size, of bulk or tails.
        ess: f64,
    },
    /// A coordinate that never moved.
    Constant {
        /// The first such coordinate.
        coordinate: usize,
    },
    /// Chains with draws that are not numbers.
    NotFinite {
        /// How many chains.
        n_chains: usize,
        /// How many draws, over all chains.
        n: u64,
    },
    /// Chains that accept next to nothing.
    Stuck {
        /// How many.
        n_chains: usize,
        /// The worst of them.
        chain: usize,
        /// Its mean acceptance.
        acceptance: f64,
    },
    /// Chains that ended early; their draws are left out.
    Failed {
        /// How many points (chains, blocks) did.
        n: usize,
        /// The first.
        first: Failure,
    },
    /// The run was stopped; these are the draws so far.
    Interrupted {
        /// Draws per chain that there are.
        n_draws: usize,
        /// Draws per chain that were asked for.
        of: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divergences { n, share } => write!(
                f,
                "{n} steps ({:.2} %) diverged: the step is too long where the energy is steep, and draws there are \
                 missing. Raise target_accept (0.9, 0.95), or give the target other coordinates.",
                100.0 * share
            ),
            Self::NotReached { n, share } => write!(
                f,
                "{n} steps ({:.2} %) met an energy that is no number or out of reach, and stayed. That is right at the \
                 walls of what is allowed; anywhere else, check the energy.",
                100.0 * share
            ),
            Self::Saturated { n, share } => write!(
                f,
                "{n} paths ({:.2} %) were cut off at max_depth: draws are right but costly. Adapt the metric, warm up \
                 longer, or raise max_depth.",
                100.0 * share
            ),
            Self::LowBfmi { n_chains, chain, e_bfmi } => write!(
                f,
                "{n_chains} chains have an E-BFMI below 0.3 (chain {chain}: {e_bfmi:.2}): fresh momenta change their \
                 energy too little to reach the tails. Give the target other coordinates (a funnel without its centre)."
            ),
            Self::RHat { coordinate, r_hat } => write!(
                f,
                "R-hat of coordinate {coordinate} is {r_hat:.3}, above 1.01: the chains do not agree. Run longer; if it \
                 stays, modes are separated: try Tempering."
            ),
            Self::Ess { coordinate, ess } => write!(
                f,
                "coordinate {coordinate} has an effective sample size of {ess:.0}, below 400: its quantiles and errors \
                 are not to be trusted. Run longer, or more chains."
            ),
            Self::Energy { r_hat, ess } => write!(
                f,
                "the energy of the draws has an R-hat of {r_hat:.3} and an effective sample size of {ess:.0}; wanted are at \
                 most 1.01 and at least 400. Run longer; if it stays, take a kernel that changes more at a time."
            ),
            Self::Constant { coordinate } => write!(
                f,
                "coordinate {coordinate} never moved: nothing was accepted, or (discrete) its other values are too \
                 improbable for so few draws. Lower the step size, or check the gradient."
            ),
            Self::NotFinite { n_chains, n } => write!(
                f,
                "{n} draws of {n_chains} chains are not finite: a step was too long for a kernel that rejects nothing. \
                 Lower the step size, clip the gradient, or use MALA or HMC."
            ),
            Self::Stuck { n_chains, chain, acceptance } => write!(
                f,
                "{n_chains} chains hardly move (chain {chain} accepts {acceptance:.4} of its steps). Lower the step size, or let \
                 target_accept find one; check the gradient. A kernel without a step size: take another."
            ),
            Self::Failed { n, first } => write!(
                f,
                "{n} points failed and their draws are left out; the others are whole. The first: {first}. Run it \
                 again with that seed to see it."
            ),
            Self::Interrupted { n_draws, of } => {
                write!(f, "stopped after {n_draws} of {of} draws per chain. Save the sampler to go on later.")
            }
        }
    }
}

/// What a run says about itself. Prints as a table of the coordinates (the first 20), a line on the chains, and a
/// sentence per warning.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Mean, spread, R-hat and effective sample sizes of each coordinate; `None` when draws went to a sink or
    /// [`SampleConfig::diagnostics`](crate::SampleConfig::diagnostics) is off.
    pub coordinates: Option<Diagnostics>,
    /// The same of `lp`, minus the energy of each draw; discrete variables only.
    pub lp: Option<ParameterSummary>,
    /// Whether the variables are discrete, which changes what is worth a warning.
    pub discrete: bool,
    /// Mean acceptance probability after burn-in, per chain; NaN for kernels that accept everything.
    pub acceptance: Vec<f64>,
    /// Diverged steps after burn-in, per chain.
    pub n_diverged: Vec<u64>,
    /// Paths cut off at the largest depth after burn-in, per chain.
    pub n_saturated: Vec<u64>,
    /// E-BFMI of the draws, per chain; NaN for kernels without momentum.
    pub e_bfmi: Vec<f64>,
    /// Draws with a coordinate that is not finite, per chain.
    pub n_not_finite: Vec<u64>,
    /// The step size of the first step after burn-in, per chain: the adapted one, or where a schedule stood. NaN for
    /// discrete variables on the host.
    pub step_size: Vec<f64>,
    /// Steps per chain after burn-in.
    pub n_steps: u64,
    /// The first divergences (at most 100 of each point), with where the chain stood.
    pub divergences: Vec<Divergence>,
    /// Points whose chains ended early.
    pub failures: Vec<Failure>,
    /// What is wrong.
    pub warnings: Vec<Warning>,
}

/// R-hat above this is a warning (Vehtari et al. 2021, arXiv 1903.08008).
const HIGH_R_HAT: f64 = 1.01;
/// An effective sample size below this is a warning (the same source).
const LOW_ESS: f64 = 400.0;
/// An E-BFMI below this is a warning (Betancourt 2016, arXiv 1604.00695).
const LOW_BFMI: f64 = 0.3;
/// An acceptance below this is a warning.
const STUCK: f64 = 0.01;

impl Summary {
    /// Take over what one point counted; its chains follow those already there.
    pub(crate) fn add(&mut self, counts: Counts, kept: Kept) {
        let first = self.acceptance.len();
        let n = counts.acceptance.len();
        self.acceptance.extend(counts.acceptance);
        self.n_diverged.extend(counts.n_diverged);
        self.n_saturated.extend(counts.n_saturated);
        self.step_size.extend(counts.step_size);
        self.e_bfmi.extend(kept.e_bfmi(n));
        self.n_not_finite.extend(kept.n_not_finite);
        let shifted = |d: Divergence| Divergence { chain: first + d.chain, ..d };
        self.divergences.extend(kept.divergences.into_iter().map(shifted));
    }

    /// Work out the diagnostics of draws `[chain, draw, dim]`.
    pub(crate) fn diagnose(&mut self, draws: ArrayView3<f64>) -> Result<()> {
        self.take_diagnostics(summary(draws)?, draws.dim().1);
        Ok(())
    }

    /// Work out the diagnostics of discrete draws `[chain, draw, variable]` and of `lp` `[chain, draw]`.
    pub(crate) fn diagnose_discrete(&mut self, draws: ArrayView3<u8>, lp: ArrayView2<f64>) -> Result<()> {
        // One variable at a time: all of them as f64 would be eight times the draws.
        let of = |i| ParameterSummary::of(draws.index_axis(Axis(2), i).mapv(f64::from).view());
        let parameters = (0..draws.dim().2).into_par_iter().map(of).collect::<Result<_>>()?;
        self.take_diagnostics(Diagnostics { parameters }, draws.dim().1);
        let lp = ParameterSummary::of(lp)?;
        let ess = lp.ess_bulk.min(lp.ess_tail);
        if lp.r_hat > HIGH_R_HAT || ess < LOW_ESS {
            self.warnings.push(Warning::Energy { r_hat: lp.r_hat, ess });
        }
        self.lp = Some(lp);
        Ok(())
    }

    /// Keep the diagnostics, and warn of the worst coordinates.
    fn take_diagnostics(&mut self, found: Diagnostics, n_draws: usize) {
        let worst = |value: &dyn Fn(usize) -> f64| {
            let finite = (0..found.parameters.len()).filter(|i| value(*i).is_finite());
            finite.max_by(|a, b| value(*a).total_cmp(&value(*b)))
        };
        if n_draws >= 4 {
            let parameters = &found.parameters;
            if let Some(coordinate) = parameters.iter().position(|p| p.sd == 0.0) {
                self.warnings.push(Warning::Constant { coordinate });
            }
            if let Some(i) = worst(&|i| parameters[i].r_hat).filter(|i| parameters[*i].r_hat > HIGH_R_HAT) {
                self.warnings.push(Warning::RHat { coordinate: i, r_hat: parameters[i].r_hat });
            }
            let ess = |i: usize| parameters[i].ess_bulk.min(parameters[i].ess_tail);
            if let Some(i) = worst(&|i| -ess(i)).filter(|i| ess(*i) < LOW_ESS) {
                self.warnings.push(Warning::Ess { coordinate: i, ess: ess(i) });
            }
        }
        self.coordinates = Some(found);
    }

    /// Add the warnings that need no draws, and log each once.
    pub(crate) fn warn(&mut self) {
        let steps = (self.n_steps * self.acceptance.len() as u64).max(1) as f64;
        let (n, saturated) = (self.n_diverged.iter().sum::<u64>(), self.n_saturated.iter().sum::<u64>());
        let mut found = Vec::new();
        if n > 0 {
            let share = n as f64 / steps;
            let discrete = self.discrete;
            found.push(if discrete {
                Warning::NotReached { n, share }
            } else {
                Warning::Divergences { n, share }
            });
        }
        if saturated > 0 {
            found.push(Warning::Saturated { n: saturated, share: saturated as f64 / steps });
        }
        let worst = |values: &[f64], limit: f64| {
            let below = values.iter().enumerate().filter(|(_, v)| **v < limit);
            let chain = below.clone().min_by(|a, b| a.1.total_cmp(b.1));
            chain.map(|(chain, value)| (below.count(), chain, *value))
        };
        if let Some((n_chains, chain, e_bfmi)) = worst(&self.e_bfmi, LOW_BFMI) {
            found.push(Warning::LowBfmi { n_chains, chain, e_bfmi });
        }
        if let Some((n_chains, chain, acceptance)) = worst(&self.acceptance, STUCK) {
            found.push(Warning::Stuck { n_chains, chain, acceptance });
        }
        let n: u64 = self.n_not_finite.iter().sum();
        if n > 0 {
            let n_chains = self.n_not_finite.iter().filter(|n| **n > 0).count();
            found.push(Warning::NotFinite { n_chains, n });
        }
        if let Some(first) = self.failures.first() {
            found.push(Warning::Failed { n: self.failures.len(), first: first.clone() });
        }
        self.warnings.splice(..0, found);
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Mean over the chains of what there is a number of.
    fn mean(values: &[f64]) -> Option<f64> {
        let known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

/// Lines of the table that are printed.
const SHOWN: usize = 20;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(coordinates) = &self.coordinates {
            let all = coordinates.parameters.len();
            let shown =
                Diagnostics { parameters: coordinates.parameters.iter().take(SHOWN).copied().collect() };
            writeln!(f, "{shown}")?;
            if all > SHOWN {
                writeln!(f, "... and {} more coordinates", all - SHOWN)?;
            }
        }
        if let Some(lp) = &self.lp {
            writeln!(f, "   lp {lp}")?;
        }
        write!(f, "{} chains of {} steps after burn-in", self.acceptance.len(), self.n_steps)?;
        if let Some(acceptance) = Self::mean(&self.acceptance) {
            write!(f, ", acceptance {acceptance:.3}")?;
            if let Some(step_size) = Self::mean(&self.step_size) {
                write!(f, ", step size {step_size:.4}")?;
            }
        }
        if let Some(e_bfmi) = Self::mean(&self.e_bfmi) {
            write!(f, ", E-BFMI {e_bfmi:.2}")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}
