//! One kernel on one target: is it right, and what does an independent draw cost.

use ebm_metrics::samples::Exactness;

use super::table::{self, Expected};

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
        table::name(self.kernel, self.target)
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

    /// Of the table of one target.
    pub const HEADER: [&'static str; 7] =
        ["kernel", "theory", "worst |z|", "p", "ESS / gradient", "ESS / s", "verdict"];

    /// Its line in the report's table.
    pub fn row(&self) -> Vec<String> {
        let p = self.exactness.p();
        let verdict = match self.expected {
            Expected::Biased { .. } if p >= LEVEL => "biased as theory says".to_owned(),
            Expected::DoesNotMix if p >= LEVEL => "no difference seen".to_owned(),
            _ if p >= LEVEL => "right".to_owned(),
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
            self.expected.words(),
            format!("{:.2} of {}", self.exactness.worst_z, self.exactness.n_moments),
            format!("{p:.2e}"),
            number(cost.map(|c| c.ess / c.gradients), 4),
            number(cost.map(|c| c.ess / c.seconds), 0),
            verdict,
        ]
    }
}
