//! One kernel on one target: is it right, and what does an independent draw cost.

use ebm_metrics::samples::Exactness;

/// What theory says of a kernel on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Its law is the target: gated.
    Exact,
    /// Its law is off by a known amount, and is compared with that: gated.
    KnownBias,
    /// Its law is off by something that falls with the step size: shown, not gated.
    Biased,
    /// It leaves the target invariant but does not get around in it: shown in red, not gated.
    DoesNotMix,
}

impl Expected {
    fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::KnownBias => "known bias",
            Self::Biased => "biased",
            Self::DoesNotMix => "does not mix",
        }
    }
}

/// What an independent draw costs, from a few long chains.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The least effective sample size of a coordinate's bulk.
    pub ess: f64,
    /// Gradients (of discrete kernels: steps) after burn-in, over all chains.
    pub gradients: f64,
    /// Seconds after burn-in.
    pub seconds: f64,
    /// The worst R-hat.
    pub r_hat: f64,
    /// Diverged steps.
    pub n_diverged: u64,
}

/// One line of the gallery.
#[derive(Clone, Debug)]
pub struct Cell {
    pub kernel: &'static str,
    pub target: &'static str,
    pub expected: Expected,
    pub exactness: Exactness,
    pub cost: Option<Cost>,
}

/// The chance of exact draws at which a gate fails.
pub const LEVEL: f64 = 1e-5;

impl Cell {
    /// The name of its gate and metric.
    pub fn name(&self) -> String {
        format!("{}_{}", self.kernel, self.target)
    }

    /// The diagnostics that would tell a user without the exact answer that something is wrong.
    fn caught_by(&self) -> String {
        let Some(cost) = &self.cost else { return String::new() };
        let mut signs = Vec::new();
        if cost.r_hat > 1.01 {
            signs.push(format!("R-hat {:.2}", cost.r_hat));
        }
        if cost.n_diverged > 0 {
            signs.push(format!("{} divergences", cost.n_diverged));
        }
        if cost.ess < 400.0 {
            signs.push(format!("ESS {:.0}", cost.ess));
        }
        signs.join(", ")
    }

    pub const HEADER: [&'static str; 8] =
        ["kernel", "target", "theory", "worst |z|", "p", "ESS / gradient", "ESS / s", "verdict"];

    /// Whether theory says that it must be right.
    pub fn is_gated(&self) -> bool {
        matches!(self.expected, Expected::Exact | Expected::KnownBias)
    }

    /// Its line in the report's table.
    pub fn row(&self) -> Vec<String> {
        let p = self.exactness.p();
        let verdict = match self.expected {
            _ if p >= LEVEL => "right".to_owned(),
            Expected::Biased => "biased, as expected".to_owned(),
            Expected::DoesNotMix => match self.caught_by() {
                signs if signs.is_empty() => "✗ wrong, and no diagnostic says so".to_owned(),
                signs => format!("✗ wrong; seen by {signs}"),
            },
            _ => "✗ WRONG".to_owned(),
        };
        let number = |v: Option<f64>, digits: usize| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let cost = self.cost.as_ref();
        vec![
            self.kernel.replace('_', " "),
            self.target.replace('_', " "),
            self.expected.word().to_owned(),
            format!("{:.2} of {}", self.exactness.worst_z, self.exactness.n_moments),
            format!("{p:.2e}"),
            number(cost.map(|c| c.ess / c.gradients), 4),
            number(cost.map(|c| c.ess / c.seconds), 0),
            verdict,
        ]
    }
}
