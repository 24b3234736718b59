//! What is kept of a discrete chain: its draws with their statistics, and counts.

use ebm_core::Result;

use super::DiscreteInfo;
use crate::Divergence;
use crate::archive::Archive;
use crate::sample::SampleConfig;
use crate::sample::observe::{Counts, KEPT_DIVERGENCES, Kept};

/// One chain's draws and counts.
#[derive(Debug, Default)]
pub(super) struct Record {
    burn_in: u64,
    thin: u64,
    /// `[draw][variable]`.
    pub(super) draws: Vec<u8>,
    /// By draw, in the order of [`STATISTICS`].
    pub(super) statistics: [Vec<f64>; STATISTICS.len()],
    /// Summed acceptance of the steps after burn-in that have one, and how many those are.
    accepted: f64,
    n_accepted: u64,
    n_diverged: u64,
    /// Whether a step since the last draw diverged.
    diverged: bool,
    divergences: Vec<Divergence>,
}

/// The statistics of a draw, named as those of [`Draws`](crate::Draws::statistic).
pub(super) const STATISTICS: [&str; 3] = ["lp", "acceptance_rate", "diverging"];

impl Record {
    pub(super) fn new(config: &SampleConfig, n_variables: usize) -> Self {
        let n = config.n_draws;
        Self {
            burn_in: config.burn_in as u64,
            thin: config.thin as u64,
            draws: Vec::with_capacity(n * n_variables),
            statistics: std::array::from_fn(|_| Vec::with_capacity(n)),
            ..Self::default()
        }
    }

    pub(super) fn n_draws(&self) -> usize {
        self.statistics[0].len()
    }

    /// Take in step number `step`, counted from 1, which led to `x`; `energy` gives its energy.
    #[inline(always)]
    pub(super) fn after_step(
        &mut self,
        step: u64,
        x: &[u8],
        info: DiscreteInfo,
        energy: impl FnOnce() -> f64,
    ) {
        if step <= self.burn_in {
            return;
        }
        if !info.accept_prob.is_nan() {
            self.accepted += info.accept_prob;
            self.n_accepted += 1;
        }
        self.n_diverged += u64::from(info.diverged);
        self.diverged |= info.diverged;
        if !(step - self.burn_in).is_multiple_of(self.thin) {
            return;
        }
        let diverged = std::mem::take(&mut self.diverged);
        if diverged && self.divergences.len() < KEPT_DIVERGENCES {
            let position = x.iter().copied().map(f64::from).collect();
            self.divergences.push(Divergence { chain: 0, draw: self.n_draws(), position });
        }
        self.draws.extend_from_slice(x);
        let values = [-energy(), info.accept_prob, f64::from(u8::from(diverged))];
        self.statistics.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
    }

    /// What the summary needs.
    pub(super) fn counts(&mut self) -> (Counts, Kept) {
        let counts = Counts {
            acceptance: vec![self.accepted / self.n_accepted as f64],
            n_diverged: vec![self.n_diverged],
            n_saturated: vec![0],
            step_size: vec![f64::NAN],
        };
        let divergences = std::mem::take(&mut self.divergences);
        (counts, Kept { n_draws: self.n_draws(), divergences, n_not_finite: vec![0], ..Kept::default() })
    }

    pub(super) fn save(&self, prefix: &str, archive: &mut Archive) {
        archive.put_bytes(format!("{prefix}.draws"), self.draws.clone());
        for (name, values) in STATISTICS.iter().zip(&self.statistics) {
            archive.put(format!("{prefix}.{name}"), values.clone());
        }
        archive.put(format!("{prefix}.accepted"), vec![self.accepted]);
        archive.put_count(format!("{prefix}.n_accepted"), self.n_accepted);
        archive.put_count(format!("{prefix}.n_diverged"), self.n_diverged);
        archive.put_count(format!("{prefix}.diverged"), u64::from(self.diverged));
        archive.put_divergences(prefix, &self.divergences);
    }

    pub(super) fn restore(&mut self, prefix: &str, archive: &mut Archive) -> Result<()> {
        self.draws = archive.take_bytes(&format!("{prefix}.draws"))?;
        for (name, values) in STATISTICS.iter().zip(&mut self.statistics) {
            *values = archive.take(&format!("{prefix}.{name}"))?;
        }
        self.accepted = archive.take(&format!("{prefix}.accepted"))?.iter().sum();
        self.n_accepted = archive.count(&format!("{prefix}.n_accepted"))?;
        self.n_diverged = archive.count(&format!("{prefix}.n_diverged"))?;
        self.diverged = archive.count(&format!("{prefix}.diverged"))? == 1;
        self.divergences = archive.take_divergences(prefix)?;
        Ok(())
    }
}
