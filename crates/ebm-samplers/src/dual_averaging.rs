//! Step-size adaptation by dual averaging.
//!
//! With the acceptance `a_m` of step `m`: `H <- (1 - w) H + w (target - a_m)`, `w = 1 / (m + t0)`;
//! `ln h = mu - sqrt(m) / gamma H`; the average `ln h_bar <- m^-kappa ln h + (1 - m^-kappa) ln h_bar` is what is
//! used after the adaptation. Source: Hoffman and Gelman 2014 (arXiv 1111.4246), section 3.2: `mu = ln(10 h_0)`,
//! `gamma = 0.05`, `t0 = 10`, `kappa = 0.75`. One step size per chain, on every kind of point.
//!
//! The mean acceptance *while* adapting is the target. With the averaged step it is higher where acceptance is
//! concave in `ln h`, as it is at the usual targets, by an excess of order `n_steps^-1/2`; `tests/tensors.rs` works
//! it out.

use ebm_core::{Error, Point, Result, Scalar};

use crate::archive::Archive;
use crate::kernel::{Observer, State, StepInfo};

const GAMMA: f64 = 0.05;
const T0: f64 = 10.0;
const KAPPA: f64 = 0.75;

/// Adapts `State::step_size` during the first `n_steps` steps, then leaves it at the average.
#[derive(Clone, Debug)]
pub struct DualAveraging<S> {
    target: f64,
    n_steps: u64,
    seen: u64,
    mu: Option<S>,
    shortfall: S,
    log_average: S,
}

impl<S: Scalar> DualAveraging<S> {
    /// Towards the acceptance `target` over `n_steps` steps.
    ///
    /// # Errors
    /// When `target` is not strictly between 0 and 1 or there is no step to adapt in.
    pub fn new(target: f64, n_steps: u64) -> Result<Self> {
        if !(target > 0.0 && target < 1.0) {
            let fix = "0.8 suits HMC, 0.57 MALA";
            return Err(Error::bad_value("target_accept", target, "strictly between 0 and 1", fix));
        }
        if n_steps == 0 {
            let fix = "adaptation happens during burn-in: set burn_in to a few hundred";
            return Err(Error::bad_value("burn_in", 0, "above 0 when target_accept is set", fix));
        }
        let zero = S::same(0.0);
        Ok(Self { target, n_steps, seen: 0, mu: None, shortfall: zero.clone(), log_average: zero })
    }

    /// The averaged step size so far; meaningless before the first step.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn average(&self) -> Result<S> {
        self.log_average.exp_each()
    }

    /// Go on as if all step sizes so far had been `factor` times what they were, for a new metric; returns the averaged one.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub(crate) fn rescale(&mut self, factor: f64) -> Result<S> {
        let shift = S::same(factor.ln());
        let shifted = |log: &S| Scalar::linear([(1.0, log), (1.0, &shift)]);
        self.log_average = shifted(&self.log_average)?;
        self.mu = self.mu.as_ref().map(shifted).transpose()?;
        self.average()
    }

    pub(crate) fn save(&self, prefix: &str, n_chains: usize, archive: &mut Archive) -> Result<()> {
        archive.put_count(format!("{prefix}.seen"), self.seen);
        archive.put_count(format!("{prefix}.n_steps"), self.n_steps);
        archive.put_scalar(&format!("{prefix}.shortfall"), &self.shortfall, n_chains)?;
        archive.put_scalar(&format!("{prefix}.log_average"), &self.log_average, n_chains)?;
        self.mu.as_ref().map_or(Ok(()), |mu| archive.put_scalar(&format!("{prefix}.mu"), mu, n_chains))
    }

    pub(crate) fn restore<X: Point<Scalar = S>>(
        &mut self,
        prefix: &str,
        x: &X,
        archive: &mut Archive,
    ) -> Result<()> {
        self.seen = archive.count(&format!("{prefix}.seen"))?;
        self.n_steps = archive.count(&format!("{prefix}.n_steps"))?;
        self.shortfall = archive.take_scalar(&format!("{prefix}.shortfall"), x)?;
        self.log_average = archive.take_scalar(&format!("{prefix}.log_average"), x)?;
        self.mu = if self.seen == 0 { None } else { Some(archive.take_scalar(&format!("{prefix}.mu"), x)?) };
        Ok(())
    }
}

impl<X: Point, W, I: StepInfo<X>> Observer<X, W, I> for DualAveraging<X::Scalar> {
    #[inline(always)]
    fn after_step(&mut self, state: &mut State<X, W>, info: &I) -> Result<()> {
        if self.seen >= self.n_steps {
            return Ok(());
        }
        let Some(accept) = info.accept_prob() else {
            let fix = "leave target_accept out, or use MALA or HMC";
            return Err(Error::bad_value("target_accept", self.target, "unset for this kernel", fix));
        };
        let one = X::Scalar::same(1.0);
        let mu = match &self.mu {
            Some(mu) => mu.clone(),
            None => X::Scalar::linear([(10.0, &state.step_size)])?.ln_each()?,
        };
        self.seen += 1;
        let m = self.seen as f64;
        let w = 1.0 / (m + T0);
        self.shortfall = Scalar::linear([(1.0 - w, &self.shortfall), (w * self.target, &one), (-w, accept)])?;
        let log_step = X::Scalar::linear([(1.0, &mu), (-m.sqrt() / GAMMA, &self.shortfall)])?;
        let fresh = m.powf(-KAPPA);
        self.log_average = Scalar::linear([(fresh, &log_step), (1.0 - fresh, &self.log_average)])?;
        let last = self.seen == self.n_steps;
        state.step_size = if last { &self.log_average } else { &log_step }.exp_each()?;
        self.mu = Some(mu);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Info;
    use ebm_core::Schedule;

    /// Adapt a single chain from `start` that accepts with probability `accept(step, step_size)`; the step sizes.
    fn adapt(target: f64, n_steps: u64, start: f64, accept: impl Fn(u64, f64) -> f64) -> Vec<f64> {
        let mut state = State::new(vec![0.0], &Schedule::from(start), ()).unwrap();
        let mut adapter = DualAveraging::new(target, n_steps).unwrap();
        let mut one = |m| {
            let accept_prob = accept(m, state.step_size);
            let info = Info::<Vec<f64>> {
                accept_prob,
                accepted: true,
                diverged: false,
                hamiltonian: None,
                n_leapfrogs: 1,
            };
            adapter.after_step(&mut state, &info).unwrap();
            state.step_size
        };
        (1..=n_steps).map(&mut one).collect()
    }

    /// Algorithm 5 of the paper, its numbers written out.
    #[test]
    fn steps_are_those_of_the_paper() {
        let accept = |m: u64| 0.7 + 0.3 * (m as f64).sin();
        let found = adapt(0.8, 60, 0.3, |m, _| accept(m));
        let (mut shortfall, mut log_average) = (0.0, 0.0);
        for m in 1..=60 {
            let (k, mu) = (m as f64, 3f64.ln());
            shortfall = (1.0 - 1.0 / (k + 10.0)) * shortfall + (0.8 - accept(m)) / (k + 10.0);
            let log_step = mu - k.sqrt() / 0.05 * shortfall;
            log_average = k.powf(-0.75) * log_step + (1.0 - k.powf(-0.75)) * log_average;
            let expected = if m == 60 { log_average } else { log_step };
            assert!((found[m as usize - 1].ln() - expected).abs() < 1e-12, "step {m}");
        }
    }

    /// Without noise in the acceptance nothing is left but the pull of the start, which falls as one over sqrt(m):
    /// what chains end above their target comes from the noise.
    #[test]
    fn without_noise_it_ends_on_target() {
        let (start, target) = (0.3f64, 0.8f64);
        for m in [1000, 100_000] {
            let h = adapt(target, m, start, |_, h| (-h).exp())[m as usize - 1];
            let pull = 0.05 * (10.0 * start / -target.ln()).ln() / (2.0 * (m as f64).sqrt());
            assert!(((-h).exp() - (target - pull)).abs() < 0.2 * pull, "{m}: {} {pull}", (-h).exp());
        }
    }
}
