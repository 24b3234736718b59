//! Draws and their statistics in memory, under names.

use ebm_core::{Error, Result};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3};

use super::folder::check_name;
use crate::sample::Draws;

/// Positions `[chain, draw, dim]` and statistics `[chain, draw]`, as `draws.npz` holds them; f64 throughout, with
/// flags as 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawArrays {
    pub(super) name: String,
    pub(super) positions: Array3<f64>,
    pub(super) statistics: Vec<(String, Array2<f64>)>,
}

/// The draws of a run, not copied.
impl From<Draws> for DrawArrays {
    fn from(draws: Draws) -> Self {
        let named = |(name, values): (&'static str, _)| (name.to_owned(), values);
        let statistics = draws.statistics.into_iter().map(named).collect();
        Self { name: "x".into(), positions: draws.positions, statistics }
    }
}

impl DrawArrays {
    /// Positions `[chain, draw, dim]` under the name `x`, without statistics.
    pub fn new(positions: Array3<f64>) -> Self {
        Self { name: "x".into(), positions, statistics: Vec::new() }
    }

    /// With another name of the positions.
    ///
    /// # Errors
    /// Not a name of letters, digits and `_`, or one that a statistic has.
    pub fn name(mut self, name: &str) -> Result<Self> {
        check_name("name of the positions", name)?;
        if self.get(name).is_some() {
            return Err(taken(name));
        }
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// With a statistic `[chain, draw]`. ArviZ knows `lp`, `energy`, `acceptance_rate`, `diverging` (0 or 1),
    /// `tree_depth`, `n_steps` and `step_size`.
    ///
    /// # Errors
    /// Not a name of letters, digits and `_`, one that is taken, or another shape than the positions'.
    pub fn statistic(mut self, name: &str, values: Array2<f64>) -> Result<Self> {
        check_name("name of a statistic", name)?;
        if name == self.name || self.get(name).is_some() {
            return Err(taken(name));
        }
        let (n_chains, n_draws, _) = self.positions.dim();
        if values.dim() != (n_chains, n_draws) {
            return Err(Error::shape(format!("statistic {name}"), (n_chains, n_draws), values.dim()));
        }
        self.statistics.push((name.to_owned(), values));
        Ok(self)
    }

    /// `[chain, draw, dim]`.
    pub fn positions(&self) -> ArrayView3<'_, f64> {
        self.positions.view()
    }

    /// The name of the positions.
    pub fn positions_name(&self) -> &str {
        &self.name
    }

    /// The statistic of this name, `[chain, draw]`.
    pub fn get(&self, name: &str) -> Option<ArrayView2<'_, f64>> {
        self.statistics.iter().find(|(n, _)| n == name).map(|(_, values)| values.view())
    }

    /// The names of the statistics.
    pub fn statistic_names(&self) -> impl Iterator<Item = &str> {
        self.statistics.iter().map(|(name, _)| name.as_str())
    }
}

fn taken(name: &str) -> Error {
    Error::bad_value("name", name, "a name that is not taken", "")
}
