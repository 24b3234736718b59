//! Self-verification: among several candidates of an item, take the one that the energy likes best.

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::over_items;

/// By what the winner is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The lowest final energy.
    #[default]
    LowestEnergy,
    /// The highest final energy (to see that the energy means something).
    HighestEnergy,
    /// The largest fall of the energy from the start to the end of the descent.
    LargestDrop,
}

/// The best candidate so far of every item; candidates come one batch after the other, so that memory does not grow
/// with their number.
#[derive(Debug, Default)]
pub struct BestOf {
    criterion: Criterion,
    best: Option<Best>,
    n: i64,
}

#[derive(Debug)]
struct Best {
    y: Tensor,
    energy: Tensor,
    score: Tensor,
    index: Tensor,
}

impl BestOf {
    /// No candidate yet.
    pub fn new(criterion: Criterion) -> Self {
        Self { criterion, best: None, n: 0 }
    }

    /// Take in candidates `y`, `[items, ..]`, with the energies of their start and end, `[items]`. On equal scores
    /// the earlier candidate stays; a score that is not a number never wins.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn offer(&mut self, y: &Tensor, first_energy: &Tensor, energy: &Tensor) -> Result<()> {
        let (y, energy) = (y.f_detach()?, energy.f_detach()?);
        let score = match self.criterion {
            Criterion::LowestEnergy => energy.shallow_clone(),
            Criterion::HighestEnergy => energy.f_neg()?,
            Criterion::LargestDrop => energy.f_sub(first_energy)?,
        };
        let score = score.f_nan_to_num(f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY)?;
        let n = self.n;
        self.n += 1;
        let Some(best) = &mut self.best else {
            let index = score.f_zeros_like()?.f_to_kind(tch::Kind::Int64)?;
            self.best = Some(Best { y, energy, score, index });
            return Ok(());
        };
        if y.size() != best.y.size() {
            return Err(Error::shape("candidates", best.y.size(), y.size()));
        }
        let better = score.f_lt_tensor(&best.score)?;
        best.y = y.f_where_self(&over_items(&better, &y)?, &best.y)?;
        best.energy = energy.f_where_self(&better, &best.energy)?;
        best.score = score.f_where_self(&better, &best.score)?;
        best.index = best.index.f_masked_fill(&better, n)?;
        Ok(())
    }

    /// The winners: candidates `[items, ..]`, their energies `[items]`, and which offer they came from `[items]`.
    ///
    /// # Errors
    /// When no candidate was offered.
    pub fn finish(self) -> Result<(Tensor, Tensor, Tensor)> {
        let best = self.best.ok_or_else(|| Error::bad_value("candidates", 0, "at least 1", ""))?;
        Ok((best.y, best.energy, best.index))
    }
}
