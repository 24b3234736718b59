//! Plots of draws in memory, with the statistics that the plots know.

use std::path::{Path, PathBuf};

use ebm_core::Result;
use ebm_metrics::plots::ChainPlots;

use super::arrays::DrawArrays;

impl DrawArrays {
    /// Trace, rank and pair plots as SVG files in a folder; with the statistic `energy` an energy plot; with
    /// `diverging` the divergences are marked. [`ChainPlots`] draws them one by one, with other names and coordinates.
    ///
    /// # Errors
    /// No draws, or the file system refuses.
    pub fn save_plots(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let names: Vec<String> = (0..self.positions.dim().2).map(|d| format!("{}[{d}]", self.name)).collect();
        let mut plots = ChainPlots::new(self.positions.view())?.names(&names)?;
        if let Some(energy) = self.get("energy") {
            plots = plots.energy(energy)?;
        }
        if let Some(diverging) = self.get("diverging") {
            plots = plots.diverging(diverging)?;
        }
        plots.save(folder)
    }
}
