//! `samplers`: the gallery. Every kernel on every target that it can take, against the exact answer.
//!
//! One draw from each of many independent chains is compared with the target: all means, variances and covariances,
//! and every marginal. What theory says of each pair of kernel and target stands in one table (`table.rs`). Where the
//! kernel is exact, or biased by a known amount, the chance that draws of that law look as bad is gated at 1e-5, for
//! each pair. Where it does not get around in the target, the pair is shown with the diagnostic that says so. A few
//! long chains, begun on opposite sides of the target, give what a draw costs.

mod biased;
mod cell;
mod continuous;
mod discrete;
mod gallery;
mod log_z;
mod picture;
mod table;

use serde::Deserialize;

use crate::experiment::{Experiment, Plan, Status};
use crate::preset::Preset;
use crate::run::Run;
use crate::usage::usage;
use cell::Cell;
use gallery::Gallery;

/// The experiment.
pub struct Samplers;

/// The pictures of the report: one that is right for each law, and for the hard ones one that is wrong.
const SHOWN: [&str; 6] =
    ["banana-nuts", "double_well-mala", "far_modes-hmc", "far_modes-tempering", "funnel-hmc", "funnel-rmhmc"];

/// `[sampler]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Only the cells whose name, `<kernel>_<target>`, contains this; empty for all.
    pub only: String,
    /// Independent chains that are compared with the law, one draw each.
    pub n_chains: usize,
    /// Steps in which they adapt.
    pub burn_in: usize,
    /// Steps from there to the draw.
    pub settle: usize,
    /// The same for discrete kernels.
    pub discrete_burn_in: usize,
    /// Exact draws that marginals are compared with.
    pub n_exact: usize,
    /// Long chains for the cost.
    pub n_long_chains: usize,
    /// Draws of each of them.
    pub n_draws: usize,
    /// Sweeps of each ladder of parallel tempering.
    pub n_sweeps: usize,
    /// Steps of each chain after burn-in where a bias is measured at two step sizes; twice as many at the smaller one.
    pub n_bias_steps: usize,
}

impl Settings {
    /// Whether the pair is asked for.
    fn wants(&self, kernel: &str, target: &str) -> bool {
        table::name(kernel, target).contains(&self.only)
    }

    fn read(preset: &Preset) -> anyhow::Result<Self> {
        let settings: Self = preset.section("sampler")?;
        let Self {
            n_chains, burn_in, settle, n_exact, n_long_chains, n_draws, n_sweeps, n_bias_steps, ..
        } = settings.clone();
        for (name, value, least) in [
            ("n_chains", n_chains, 8),
            ("burn_in", burn_in, 20),
            ("settle", settle, 1),
            ("n_exact", n_exact, 8),
            ("n_long_chains", n_long_chains, 1),
            ("n_draws", n_draws, 4),
            ("n_sweeps", n_sweeps, 4),
            ("n_bias_steps", n_bias_steps, 1),
        ] {
            if value < least {
                return Err(usage(format!("sampler.{name} = {value}: must be at least {least}")));
            }
        }
        if n_long_chains > n_chains {
            return Err(usage(format!("sampler.n_long_chains = {n_long_chains}: must be at most n_chains")));
        }
        Ok(settings)
    }
}

impl Experiment for Samplers {
    fn name(&self) -> &'static str {
        "samplers"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let settings = Settings::read(preset)?;
        let steps = settings.n_chains * settings.burn_in + settings.n_long_chains * settings.n_draws;
        Ok(Plan {
            parameters: 0,
            macs: 0,
            memory_bytes: 500_000_000,
            steps: steps as u64,
            minutes: preset.info().minutes,
        })
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let settings = Settings::read(run.preset())?;
        let n_cells = table::pairs().filter(|(kernel, target, _)| settings.wants(kernel, target)).count();
        let mut progress = run.progress("gallery", n_cells as u64, 0);
        let (stop, mut done) = (run.stop_flag(), 0);
        let mut tell = |_: &Cell| {
            done += 1;
            progress.update(done, None);
            !stop.load(std::sync::atomic::Ordering::Relaxed)
        };
        let mut gallery = Gallery {
            settings: &settings,
            seed: run.seed(),
            cells: Vec::new(),
            pictures: Vec::new(),
            bracket: None,
            tell: &mut tell,
        };
        let end = gallery.run();
        let (cells, bracket) = (std::mem::take(&mut gallery.cells), gallery.bracket.take());
        match end {
            Err(e) if e.downcast_ref::<ebm_core::Error>().is_some_and(ebm_core::Error::is_stopped) => {
                return Ok(Status::Interrupted);
            }
            other => other?,
        }
        let pictures = std::mem::take(&mut gallery.pictures);
        show(&cells, run)?;
        run.report.heading("Draws over the exact law");
        for picture in pictures.iter().filter(|p| SHOWN.contains(&p.id.as_str())) {
            run.report.figure_svg(&picture.id, &picture.title, "", picture.svg.clone());
        }
        if let Some((bracket, log_z)) = bracket {
            let inside = (log_z - bracket.lower.0).min(bracket.upper.0 - log_z);
            run.report.note(&format!("Annealed importance sampling: {bracket}; exact ln Z {log_z:.4}."));
            run.report.judge("ais_bracket", inside, None)?;
        }
        Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
    }
}

/// Tables by target, metrics, and the gates.
fn show(cells: &[Cell], run: &mut Run) -> anyhow::Result<()> {
    run.report.note(
        "p is the chance, at most, that exact draws look as bad as these (worst moment and worst marginal, each times \
         their number). A line in red is wrong: where theory says that a kernel does not mix, that is expected, and \
         the line names the diagnostics that tell a user who has no exact answer.",
    );
    let mut targets: Vec<&str> = Vec::new();
    for cell in cells {
        if !targets.contains(&cell.target) {
            targets.push(cell.target);
        }
    }
    for target in targets {
        let rows = cells.iter().filter(|c| c.target == target).map(Cell::row).collect();
        run.report.table(&target.replace('_', " "), &Cell::HEADER, rows);
    }
    for cell in cells {
        let (name, p) = (cell.name(), cell.exactness.p());
        run.report.metric(&format!("p.{name}"), p);
        if let Some(cost) = &cell.cost {
            run.report.metric(&format!("ess_per_gradient.{name}"), cost.ess / cost.gradients);
            run.report.metric(&format!("ess_per_second.{name}"), cost.ess / cost.seconds);
        }
        if cell.expected.is_gated() {
            run.report.judge(&name, p, None)?;
        }
    }
    Ok(())
}
