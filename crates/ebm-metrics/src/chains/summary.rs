//! One line of diagnostics for each coordinate of the draws.

use std::fmt;

use ebm_core::Result;
use ndarray::{ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ess::{bulk_of, tail_of};
use super::mcse::mcse_mean_of;
use super::r_hat::r_hat_of;
use super::{mean, prepare, variance};
use crate::check;

/// What the draws say about one coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterSummary {
    /// Mean over all chains; NaN if a draw is not finite.
    pub mean: f64,
    /// Standard deviation over all chains (unbiased variance); NaN also for a single draw.
    pub sd: f64,
    /// Monte-Carlo standard error of the mean.
    pub mcse_mean: f64,
    /// Effective sample size of the bulk.
    pub ess_bulk: f64,
    /// Effective sample size of the tails.
    pub ess_tail: f64,
    /// Rank-normalised split R-hat.
    pub r_hat: f64,
}

/// A [`ParameterSummary`] for each coordinate; prints as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// In the order of the coordinates.
    pub parameters: Vec<ParameterSummary>,
}

/// Summarise draws `[chain, draw, dim]`, the coordinates in parallel.
///
/// For the diagnostics' NaN see [the module](crate::chains): a coordinate that went wrong does not hide the others.
///
/// # Errors
/// No chains, no draws or no coordinates.
pub fn summary(draws: ArrayView3<f64>) -> Result<Summary> {
    check::at_least("chains", draws.len_of(Axis(0)), 1)?;
    check::at_least("draws", draws.len_of(Axis(1)), 1)?;
    check::at_least("coordinates", draws.len_of(Axis(2)), 1)?;
    let one = |i: usize| ParameterSummary::of(draws.index_axis(Axis(2), i));
    let parameters = (0..draws.len_of(Axis(2))).into_par_iter().map(one).collect::<Result<_>>()?;
    Ok(Summary { parameters })
}

impl ParameterSummary {
    /// Summarise the draws `[chain, draw]` of one quantity.
    ///
    /// # Errors
    /// No chains or no draws.
    pub fn of(chains: ArrayView2<f64>) -> Result<Self> {
        let usable = prepare(chains)?;
        let all: Vec<f64> = chains.iter().copied().collect();
        let finite = all.iter().all(|x| x.is_finite());
        let mut out = Self {
            mean: if finite { mean(&all) } else { f64::NAN },
            sd: if finite { variance(&all).sqrt() } else { f64::NAN },
            mcse_mean: f64::NAN,
            ess_bulk: f64::NAN,
            ess_tail: f64::NAN,
            r_hat: f64::NAN,
        };
        if let Some(chains) = usable {
            out.mcse_mean = mcse_mean_of(&chains);
            out.ess_bulk = bulk_of(&chains);
            out.ess_tail = tail_of(&chains);
            out.r_hat = r_hat_of(&chains);
        }
        Ok(out)
    }
}

/// A line of the table of [`Summary`], without the number in front. Equal draws say nothing of how well they were drawn:
/// a dash in place of every diagnostic.
impl fmt::Display for ParameterSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, sd, mcse_mean, ess_bulk, ess_tail, r_hat } = self;
        if *sd == 0.0 {
            return write!(f, "{mean:>11.4} {sd:>11.4} {0:>11} {0:>11} {0:>11} {0:>11}", "-");
        }
        write!(f, "{mean:>11.4} {sd:>11.4} {mcse_mean:>11.4} {ess_bulk:>11.0} {ess_tail:>11.0} {r_hat:>11.4}")
    }
}

impl Summary {
    /// The largest R-hat; NaN if any is.
    pub fn worst_r_hat(&self) -> f64 {
        self.parameters.iter().map(|p| p.r_hat).fold(f64::NEG_INFINITY, nan_or(f64::max))
    }

    /// The least effective sample size, bulk or tail; NaN if any is.
    pub fn least_ess(&self) -> f64 {
        self.parameters.iter().flat_map(|p| [p.ess_bulk, p.ess_tail]).fold(f64::INFINITY, nan_or(f64::min))
    }
}

/// `f64::max` and `f64::min` pass over a NaN, which here is the worst there is.
fn nan_or(choose: fn(f64, f64) -> f64) -> impl Fn(f64, f64) -> f64 {
    move |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { choose(a, b) }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["dim", "mean", "sd", "mcse_mean", "ess_bulk", "ess_tail", "r_hat"];
        let [dim, columns @ ..] = header;
        write!(f, "{dim:>5}")?;
        columns.iter().try_for_each(|name| write!(f, " {name:>11}"))?;
        for (i, p) in self.parameters.iter().enumerate() {
            write!(f, "\n{i:>5} {p}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::super::testing::formula_chains;
    use super::super::{ess_bulk, ess_tail, mcse_mean, r_hat};
    use super::*;

    #[test]
    fn every_coordinate_has_its_own_numbers() {
        let (a, b) = (formula_chains(4, 100, 0.6), formula_chains(4, 100, -0.3));
        let draws =
            Array3::from_shape_fn((4, 100, 2), |(c, t, i)| if i == 0 { a[[c, t]] } else { b[[c, t]] });
        let s = summary(draws.view()).unwrap();
        for (p, x) in s.parameters.iter().zip([&a, &b]) {
            assert_eq!(p.r_hat, r_hat(x.view()).unwrap());
            assert_eq!(p.ess_bulk, ess_bulk(x.view()).unwrap());
            assert_eq!(p.ess_tail, ess_tail(x.view()).unwrap());
            assert_eq!(p.mcse_mean, mcse_mean(x.view()).unwrap());
            assert!((p.mean - x.mean().unwrap()).abs() < 1e-15 && (p.sd - x.std(1.0)).abs() < 1e-14);
        }
        assert_eq!(s.worst_r_hat(), s.parameters[0].r_hat.max(s.parameters[1].r_hat));
        assert!(s.least_ess() <= s.parameters[0].ess_bulk);
        // arviz.summary prints -0.023, 0.348, 0.032, 120, 213 and 1.02 for the first.
        let lines: Vec<String> = s.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(words[0], "0");
        assert_eq!(&words[4..], ["120", "213", "1.0229"]);
        assert!(lines.iter().all(|l| l.len() == lines[0].len()));
    }

    #[test]
    fn a_broken_coordinate_does_not_hide_the_others() {
        let mut draws = Array3::from_shape_fn((2, 20, 3), |(c, t, i)| ((c + 7 * t + i * i) as f64).sin());
        draws[[1, 3, 1]] = f64::NAN;
        draws.slice_mut(s![.., .., 2]).fill(5.0);
        let s = summary(draws.view()).unwrap();
        assert!(s.parameters[0].r_hat.is_finite());
        assert!(s.parameters[1].mean.is_nan() && s.parameters[1].ess_bulk.is_nan());
        let constant = s.parameters[2];
        assert_eq!(
            (constant.mean, constant.sd, constant.mcse_mean, constant.ess_bulk),
            (5.0, 0.0, 0.0, 40.0)
        );
        assert!(constant.r_hat.is_nan() && s.worst_r_hat().is_nan() && s.least_ess().is_nan());
        let single = summary(draws.slice(s![..1, ..1, ..])).unwrap();
        assert!(single.parameters[0].mean.is_finite() && single.parameters[0].sd.is_nan());
        assert!(
            summary(draws.slice(s![.., .., ..0])).is_err() && summary(draws.slice(s![..0, .., ..])).is_err()
        );
    }
}
