//! The chain back from noise to data: DDPM's ancestral sampling and DDIM, over any of the schedule's steps.
//!
//! At each step the network's noise gives a guess of the clean point, `x^ = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t)`.
//! DDIM (arXiv 2010.02502, equation 12): `x_s = sqrt(a_s) x^ + sqrt(1 - a_s - g^2) eps + g z`,
//! `g^2 = eta^2 (1 - a_s) / (1 - a_t) (1 - a_t / a_s)`; no random number at `eta = 0`. DDPM (arXiv 2006.11239): a
//! draw from a normal law around `c_0 x^ + c_1 x_t`; with the lower variance it is DDIM at `eta = 1`.

use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::loss::between;
use super::predictor::NoisePredictor;
use super::schedule::{NoiseSchedule, evenly_spaced};
use super::variance::StepBack;

/// The variance of DDPM's steps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReverseVariance {
    /// The lower bound, right for data without spread.
    Lower,
    /// The upper bound, right for standard normal data.
    Upper,
    /// What the network says, between the two.
    Learned,
}

/// How a step back is taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReverseRule {
    /// DDIM.
    Ddim {
        /// Share of randomness: 0 is deterministic.
        eta: f64,
    },
    /// Ancestral sampling.
    Ddpm {
        /// Of each step.
        variance: ReverseVariance,
    },
}

/// A chain back through some of a schedule's steps, the clean point after the last of them.
#[derive(Clone, Debug)]
pub struct ReverseChain {
    steps: Vec<(usize, StepBack)>,
    rule: ReverseRule,
    clip: Option<f64>,
}

impl ReverseChain {
    /// Back through these steps of `schedule`, the first of which is where the chain starts.
    ///
    /// # Errors
    /// No steps, steps that do not decrease, one past the end of the schedule, or an `eta` outside [0, 1].
    pub fn new(schedule: &NoiseSchedule, times: &[usize], rule: ReverseRule) -> Result<Self> {
        let last = schedule.n_steps() - 1;
        if times.is_empty() || times[0] > last || times.windows(2).any(|w| w[0] <= w[1]) {
            let limit = format!("at least one step, decreasing, from {last} on");
            return Err(Error::bad_value("steps of the reverse chain", format!("{times:?}"), limit, ""));
        }
        if let ReverseRule::Ddim { eta } = rule
            && !(0.0..=1.0).contains(&eta)
        {
            return Err(Error::bad_value("eta", eta, "between 0 and 1", "0 is deterministic"));
        }
        let next = times.iter().skip(1).map(|t| schedule.alpha_bar(*t)).chain([1.0]);
        let step = |(t, next): (&usize, f64)| (*t, StepBack { alpha_bar: schedule.alpha_bar(*t), next });
        Ok(Self { steps: times.iter().zip(next).map(step).collect(), rule, clip: None })
    }

    /// DDIM from pure noise in `n_steps` evenly spaced steps.
    ///
    /// # Errors
    /// As [`Self::new`] and [`evenly_spaced`].
    pub fn ddim(schedule: &NoiseSchedule, n_steps: usize, eta: f64) -> Result<Self> {
        let times = evenly_spaced(schedule.n_steps() - 1, n_steps)?;
        Self::new(schedule, &times, ReverseRule::Ddim { eta })
    }

    /// DDPM from pure noise in `n_steps` evenly spaced steps.
    ///
    /// # Errors
    /// As [`Self::new`] and [`evenly_spaced`].
    pub fn ddpm(schedule: &NoiseSchedule, n_steps: usize, variance: ReverseVariance) -> Result<Self> {
        let times = evenly_spaced(schedule.n_steps() - 1, n_steps)?;
        Self::new(schedule, &times, ReverseRule::Ddpm { variance })
    }

    /// Clamp every guess of the clean point to `[-bound, bound]`.
    pub fn clip(mut self, bound: f64) -> Self {
        self.clip = Some(bound);
        self
    }

    /// Evaluations of the network in one run.
    pub fn n_evaluations(&self) -> usize {
        self.steps.len()
    }

    /// From `x` `[n, ..]`, at the first step (standard normal noise at the last step of a schedule), to the clean
    /// point. Nothing is recorded for gradients. The numbers of reverse step `i` are those of step `i` of `rng`.
    ///
    /// # Errors
    /// What the network or LibTorch returns; no variance where it should be the network's.
    pub fn run(
        &self,
        net: &(impl NoisePredictor + ?Sized),
        x: &Tensor,
        mut rng: TensorRng,
    ) -> Result<Tensor> {
        let n = x.size().first().copied().unwrap_or(0);
        tch::no_grad(|| {
            let mut x = x.f_detach()?;
            for (i, (t, step)) in self.steps.iter().enumerate() {
                rng.begin_step(i as u64);
                let t = Tensor::f_full([n], *t as i64, (tch::Kind::Int64, x.device()))?;
                x = self.step(net, &x, &t, step, &mut rng)?;
            }
            Ok(x)
        })
    }

    fn step(
        &self,
        net: &(impl NoisePredictor + ?Sized),
        x: &Tensor,
        t: &Tensor,
        step: &StepBack,
        rng: &mut TensorRng,
    ) -> Result<Tensor> {
        let (signal_std, noise_std) = (step.alpha_bar.sqrt(), (1.0 - step.alpha_bar).sqrt());
        let found = net.predict(x, t)?;
        let mut noise = found.noise;
        let mut clean = x.f_sub(&noise.f_mul_scalar(noise_std)?)?.f_div_scalar(signal_std)?;
        if let Some(bound) = self.clip {
            clean = clean.f_clamp(-bound, bound)?;
            noise = x.f_sub(&clean.f_mul_scalar(signal_std)?)?.f_div_scalar(noise_std)?;
        }
        if step.next == 1.0 {
            return Ok(clean);
        }
        let mut fresh = |std: f64| rng.normal(&x.size(), std, x.kind(), x.device());
        match self.rule {
            ReverseRule::Ddim { eta } => {
                let variance = eta * eta * step.lower();
                let kept = clean.f_mul_scalar(step.next.sqrt())?;
                let kept = kept.f_add(&noise.f_mul_scalar((1.0 - step.next - variance).sqrt())?)?;
                if variance > 0.0 { Ok(kept.f_add(&fresh(variance.sqrt())?)?) } else { Ok(kept) }
            }
            ReverseRule::Ddpm { variance } => {
                let mean = clean.f_mul_scalar(step.of_clean())?.f_add(&x.f_mul_scalar(step.of_noisy())?)?;
                let noise = match variance {
                    ReverseVariance::Lower => fresh(step.lower().sqrt())?,
                    ReverseVariance::Upper => fresh(step.upper().sqrt())?,
                    ReverseVariance::Learned => {
                        let Some(v) = found.variance else {
                            return Err(Error::user("the network gives no variance: take lower or upper"));
                        };
                        let bound = |b: f64| x.f_full_like(b.ln());
                        let log_variance = between(&bound(step.lower())?, &bound(step.upper())?, &v)?;
                        fresh(1.0)?.f_mul(&log_variance.f_mul_scalar(0.5)?.f_exp()?)?
                    }
                };
                Ok(mean.f_add(&noise)?)
            }
        }
    }
}

/// For data `N(m, s^2)` the best guess of the noise is linear in `x`, so every chain's law is a normal one whose
/// mean and variance follow a recursion of two numbers.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{NoisePrediction, NoiseScheduleConfig};
    use ebm_core::random::Purpose;
    use tch::{Device, Kind};

    const MEAN: f64 = 0.4;
    const STD: f64 = 0.3;

    struct Best(NoiseSchedule);

    impl Best {
        /// Variance of `x_t`.
        fn variance(a: f64) -> f64 {
            a * STD * STD + 1.0 - a
        }

        /// `eps(x, t) = slope (x - centre)`.
        fn line(a: f64) -> (f64, f64) {
            ((1.0 - a).sqrt() / Self::variance(a), a.sqrt() * MEAN)
        }

        /// The exact variance of `p(x_s | x_t)`: that of the posterior, and that of the clean point in it.
        fn step_variance(step: &StepBack) -> f64 {
            let a = step.alpha_bar;
            step.lower() + step.of_clean().powi(2) * STD * STD * (1.0 - a) / Self::variance(a)
        }
    }

    impl NoisePredictor for Best {
        fn predict(&self, x: &Tensor, t: &Tensor) -> Result<NoisePrediction> {
            let t = t.int64_value(&[0]) as usize;
            let a = self.0.alpha_bar(t);
            let (slope, centre) = Self::line(a);
            let next = if t == 0 { 1.0 } else { self.0.alpha_bar(t - 1) };
            let step = StepBack { alpha_bar: a, next };
            let (low, high) = (step.lower().ln(), step.upper().ln());
            let v = 2.0 * (Self::step_variance(&step).ln() - low) / (high - low) - 1.0;
            Ok(NoisePrediction { noise: (x - centre) * slope, variance: Some(x.full_like(v)) })
        }
    }

    /// Mean and variance at the end, in plain numbers, of a chain whose steps are `A x + B + g z`.
    fn recursion(chain: &ReverseChain, mean: f64, variance: f64) -> (f64, f64) {
        let (mut m, mut v) = (mean, variance);
        for (_, s) in &chain.steps {
            let (slope, centre) = Best::line(s.alpha_bar);
            let (root, std) = (s.alpha_bar.sqrt(), (1.0 - s.alpha_bar).sqrt());
            // eps = slope x + offset; clean = (x - std eps) / root.
            let (clean_slope, clean_offset) = ((1.0 - std * slope) / root, std * slope * centre / root);
            let added = match chain.rule {
                _ if s.next == 1.0 => 0.0,
                ReverseRule::Ddim { eta } => eta * eta * s.lower(),
                ReverseRule::Ddpm { variance: ReverseVariance::Lower } => s.lower(),
                ReverseRule::Ddpm { variance: ReverseVariance::Upper } => s.upper(),
                ReverseRule::Ddpm { variance: ReverseVariance::Learned } => Best::step_variance(s),
            };
            let (a, b) = match chain.rule {
                ReverseRule::Ddim { .. } => {
                    let weight = (1.0 - s.next - added).sqrt();
                    (
                        s.next.sqrt() * clean_slope + weight * slope,
                        s.next.sqrt() * clean_offset - weight * slope * centre,
                    )
                }
                ReverseRule::Ddpm { .. } => {
                    (s.of_clean() * clean_slope + s.of_noisy(), s.of_clean() * clean_offset)
                }
            };
            (m, v) = (a * m + b, a * a * v + added);
        }
        (m, v)
    }

    fn schedule() -> NoiseSchedule {
        NoiseScheduleConfig::ddpm().build().unwrap()
    }

    fn ends(chain: &ReverseChain, start: &Tensor) -> Tensor {
        chain.run(&Best(schedule()), start, TensorRng::new(3, Purpose::User)).unwrap()
    }

    #[test]
    fn ddim_is_the_recursion_and_nearly_the_exact_map() {
        let s = schedule();
        let start = Tensor::from_slice(&[-1.5, 0.0, 0.7]).view([3, 1]);
        for times in [evenly_spaced(999, 1000).unwrap(), evenly_spaced(999, 20).unwrap(), vec![300, 120, 7]] {
            let chain = ReverseChain::new(&s, &times, ReverseRule::Ddim { eta: 0.0 }).unwrap();
            assert_eq!(chain.n_evaluations(), times.len());
            let found = ends(&chain, &start);
            for i in 0..3 {
                let (expected, _) = recursion(&chain, start.double_value(&[i, 0]), 0.0);
                assert!((found.double_value(&[i, 0]) - expected).abs() < 1e-12);
            }
        }
        // With many steps the flow keeps the standardised coordinate (x - mean) / std.
        let chain = ReverseChain::ddim(&s, 1000, 0.0).unwrap();
        let a = s.alpha_bar(999);
        let z = (0.7 - a.sqrt() * MEAN) / Best::variance(a).sqrt();
        let found = ends(&chain, &start).double_value(&[2, 0]);
        assert!((found - (MEAN + STD * z)).abs() < 0.01, "{found}");
    }

    /// 40,000 chains of few steps: standard errors 1 / sqrt(n) of the deviation, sqrt(2 / n) of the variance.
    #[test]
    fn random_chains_have_the_mean_and_variance_of_the_recursion() {
        let (s, n) = (schedule(), 40_000);
        let start =
            TensorRng::new(1, Purpose::Start).normal(&[n, 1], 1.0, Kind::Double, Device::Cpu).unwrap();
        let ddpm = |variance| ReverseRule::Ddpm { variance };
        for rule in [
            ReverseRule::Ddim { eta: 0.6 },
            ReverseRule::Ddim { eta: 1.0 },
            ddpm(ReverseVariance::Lower),
            ddpm(ReverseVariance::Upper),
        ] {
            let chain = ReverseChain::new(&s, &evenly_spaced(999, 12).unwrap(), rule).unwrap();
            let (mean, variance) = recursion(&chain, 0.0, 1.0);
            let x = ends(&chain, &start);
            let (m, v) = (x.mean(Kind::Double).double_value(&[]), x.var(true).double_value(&[]));
            assert!((m - mean).abs() < 5.0 * (variance / n as f64).sqrt(), "{rule:?}: {m} {mean}");
            assert!((v / variance - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "{rule:?}: {v} {variance}");
        }
    }

    /// With the exact variance at each step the marginals are exact: what is missing at the end is the spread of the
    /// clean point around its last guess.
    #[test]
    fn the_learned_variance_gives_back_the_law_of_the_data() {
        let s = schedule();
        let chain = ReverseChain::ddpm(&s, 1000, ReverseVariance::Learned).unwrap();
        let (mean, variance) =
            recursion(&chain, s.alpha_bar(999).sqrt() * MEAN, Best::variance(s.alpha_bar(999)));
        let left = STD * STD * (1.0 - s.alpha_bar(0)) / Best::variance(s.alpha_bar(0));
        assert!((mean - MEAN).abs() < 1e-12 && (variance + left - STD * STD).abs() < 1e-12);
        let n = 500;
        let start =
            TensorRng::new(1, Purpose::Start).normal(&[n, 4], 1.0, Kind::Double, Device::Cpu).unwrap();
        let v = ends(&chain, &start).var(true).double_value(&[]);
        assert!((v / variance - 1.0).abs() < 5.0 * (2.0 / (4 * n) as f64).sqrt(), "{v} {variance}");
    }

    #[test]
    fn the_lower_variance_is_ddim_at_eta_one() {
        let s = schedule();
        let times = [700, 300, 40];
        let start = Tensor::from_slice(&[0.3, -1.0]).view([1, 2]);
        let [a, b] = [ReverseRule::Ddim { eta: 1.0 }, ReverseRule::Ddpm { variance: ReverseVariance::Lower }]
            .map(|rule| ends(&ReverseChain::new(&s, &times, rule).unwrap(), &start));
        assert!((a - b).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn guesses_are_clipped_and_mistakes_are_named() {
        let s = schedule();
        let rule = ReverseRule::Ddim { eta: 0.0 };
        let start = Tensor::from_slice(&[40.0, -40.0]).view([2, 1]);
        let clipped = ends(&ReverseChain::new(&s, &[500, 100], rule).unwrap().clip(1.0), &start);
        assert_eq!(Vec::<f64>::try_from(clipped.view(-1)).unwrap(), [1.0, -1.0]);
        for times in [&[][..], &[1000], &[5, 5], &[3, 4]] {
            assert!(ReverseChain::new(&s, times, rule).unwrap_err().to_string().contains("decreasing"));
        }
        assert!(ReverseChain::ddim(&s, 10, 1.5).unwrap_err().to_string().contains("eta"));
        assert!(ReverseChain::ddim(&s, 1001, 0.0).is_err());
        let silent = |x: &Tensor, _: &Tensor| Ok(x.zeros_like());
        let chain = ReverseChain::ddpm(&s, 10, ReverseVariance::Learned).unwrap();
        assert!(chain.run(&silent, &start, TensorRng::new(0, Purpose::User)).is_err());
    }
}
