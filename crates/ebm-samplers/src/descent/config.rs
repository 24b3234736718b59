//! The policy of a descent: everything that the published systems differ in, as numbers and names.

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a candidate is brought to its scale before each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normaliser {
    /// Left as it is.
    #[default]
    None,
    /// A softmax over the last axis: the step is then taken from the probabilities (EBT on text).
    Softmax,
    /// Divided by the root mean square of each batch row (EBT-Policy, without tying rows together).
    RmsSample,
    /// Divided by the root mean square of the whole tensor, as in the released EBT-Policy code: rows of a batch
    /// then depend on each other, and a batch of one behaves unlike training.
    RmsBatch,
}

/// Where Langevin noise enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoisePlace {
    /// On the candidate before the normaliser (EBT on text: on the logits).
    #[default]
    BeforeNormaliser,
    /// On the normalised candidate (EBT-Policy).
    AfterNormaliser,
    /// Inside the landscape, by [`super::At::perturb`]: on a projection of the candidate, while the candidate
    /// itself is stepped without noise (EBT on video).
    Inside,
}

/// Langevin noise: standard deviation over the steps `0..k`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation at the first step.
    pub std: f64,
    /// Where given: it falls along half a cosine, `to + (std - to) (1 + cos(pi i / k)) / 2`.
    pub to: Option<f64>,
    /// Noise at the first step alone.
    pub first_only: bool,
    /// Where it enters.
    pub place: NoisePlace,
}

impl Noise {
    /// The standard deviation at step `i` of `k`.
    pub fn at(&self, i: usize, k: usize) -> f64 {
        match self.to {
            _ if self.first_only && i > 0 => 0.0,
            None => self.std,
            Some(to) => {
                let angle = std::f64::consts::PI * i as f64 / k as f64;
                to + 0.5 * (self.std - to) * (1.0 + angle.cos())
            }
        }
    }
}

/// A random factor on the step size, uniform on `[low, high)`, one per energy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFactor {
    /// Least factor, above 0.
    pub low: f64,
    /// Largest factor.
    pub high: f64,
}

/// Through which steps the loss is differentiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Graph {
    /// None: prediction.
    None,
    /// Each step by itself: the candidate is detached between steps (EBWM, EBT's S1).
    #[default]
    PerStep,
    /// The last step alone (EBT's S2, EBT-Policy): earlier gradients are taken without a graph.
    LastStep,
    /// All steps: the whole descent is one graph, whose memory grows with the steps.
    Full,
}

/// Which candidates the loss is put on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOn {
    /// The mean over the candidates after every step.
    #[default]
    EveryStep,
    /// The last candidate.
    LastStep,
}

/// When a descent ends before its last step, for each energy by itself. Both rules wait for the device once a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stop {
    /// After all steps.
    #[default]
    Never,
    /// One step after the gradient's norm fell to this (EBT-Policy: at least two steps are taken).
    GradientNorm(f64),
    /// When the energy changed by less than this between two steps.
    EnergyChange(f64),
}

/// How many steps: the same number always, or one draw per batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Steps {
    /// Always this many.
    Fixed(usize),
    /// Uniform on `from..=to`, drawn once for a batch.
    Between {
        /// Fewest.
        from: usize,
        /// Most.
        to: usize,
    },
}

impl Steps {
    /// The largest number that can come.
    pub fn most(self) -> usize {
        match self {
            Self::Fixed(n) | Self::Between { to: n, .. } => n,
        }
    }
}

/// A descent. The default is one plain step with a graph through it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Descent {
    /// Steps.
    pub n_steps: Steps,
    /// Before each step.
    pub normaliser: Normaliser,
    /// Langevin noise.
    pub noise: Noise,
    /// Weight of the velocity, in `[0, 1)`; above 0 the gradient is taken at the look-ahead point (Nesterov).
    pub momentum: f64,
    /// Random factor on the step size.
    pub step_factor: Option<StepFactor>,
    /// Where given, the step size of each energy is multiplied by `exp(E) / tau`, and `E` is not detached there
    /// (EBT-Policy). A constant added to the energy then changes the step.
    pub tau: Option<f64>,
    /// Where given, each coordinate moves by at most this much in a step.
    pub max_change: Option<f64>,
    /// Through which steps gradients flow.
    pub graph: Graph,
    /// Where the loss sits.
    pub loss_on: LossOn,
    /// When to end early.
    pub stop: Stop,
    /// Keep a step only where it lowers the energy (one more evaluation a step; prediction only).
    pub accept_if_lower: bool,
}

impl Default for Descent {
    fn default() -> Self {
        Self {
            n_steps: Steps::Fixed(1),
            normaliser: Normaliser::None,
            noise: Noise::default(),
            momentum: 0.0,
            step_factor: None,
            tau: None,
            max_change: None,
            graph: Graph::PerStep,
            loss_on: LossOn::EveryStep,
            stop: Stop::Never,
            accept_if_lower: false,
        }
    }
}

impl Descent {
    /// The same descent for prediction: `n_steps` steps of which the last candidate is kept, no graph, no random factor,
    /// and no noise unless `noisy`.
    #[must_use]
    pub fn prediction(self, n_steps: usize, noisy: bool) -> Self {
        let noise = if noisy { self.noise } else { Noise { std: 0.0, to: None, ..self.noise } };
        let n_steps = Steps::Fixed(n_steps);
        Self { n_steps, noise, step_factor: None, graph: Graph::None, loss_on: LossOn::LastStep, ..self }
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        let fewest = match self.n_steps {
            Steps::Fixed(n) => n,
            Steps::Between { from, to } if from <= to => from,
            Steps::Between { from, to } => {
                return Err(Error::bad_value(
                    "n_steps",
                    format!("{from} to {to}"),
                    "from the fewest to the most",
                    "",
                ));
            }
        };
        if fewest == 0 {
            return Err(Error::bad_value(
                "n_steps",
                0,
                "at least 1",
                "a descent without a step predicts nothing",
            ));
        }
        let at_least_0 = [("noise.std", self.noise.std), ("noise.to", self.noise.to.unwrap_or(0.0))];
        for (name, value) in at_least_0 {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::bad_value(name, value, "at least 0 and finite", ""));
            }
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::bad_value("momentum", self.momentum, "in [0, 1)", ""));
        }
        if let Some(StepFactor { low, high }) = self.step_factor
            && !(low > 0.0 && low <= high && high.is_finite())
        {
            return Err(Error::bad_value("step_factor", format!("{low} to {high}"), "0 < low <= high", ""));
        }
        let stop = match self.stop {
            Stop::Never => None,
            Stop::GradientNorm(limit) | Stop::EnergyChange(limit) => Some(limit),
        };
        for (name, value) in [("tau", self.tau), ("max_change", self.max_change), ("stop", stop)] {
            if let Some(value) = value
                && !(value > 0.0 && value.is_finite())
            {
                return Err(Error::bad_value(
                    name,
                    value,
                    "above 0 and finite",
                    "leave it out to do without",
                ));
            }
        }
        if self.graph != Graph::None && (self.stop != Stop::Never || self.accept_if_lower) {
            let fix = "training takes its number of steps from n_steps";
            return Err(Error::bad_value("stop or accept_if_lower", "set", "left out while training", fix));
        }
        if self.graph == Graph::LastStep && self.loss_on == LossOn::EveryStep {
            let fix = "with graph = last_step set loss_on = last_step: earlier candidates have no graph";
            return Err(Error::bad_value("loss_on", "every_step", "last_step", fix));
        }
        Ok(())
    }
}
