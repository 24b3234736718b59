//! `toy-2d`: three objectives on three laws of the plane, the learned density beside the data.
//!
//! Contrastive divergence, its persistent form and denoising score matching train the same small network on moons,
//! a checkerboard and eight Gaussians. For the eight Gaussians the exact law is known: the gate compares the total
//! variation of score matching, at its noise level, with that of a single Gaussian of the data's moments.

use std::sync::Arc;

use ebm_core::random::{Purpose, Stream};
use ebm_core::torch::Params;
use ebm_core::{GraphEnergy, Schedule};
use ebm_datasets::toys::{AnyToy, EightGaussians, Toy};
use ebm_datasets::{Augment, BatchConfig, Dataset};
use ebm_metrics::linalg::moments;
use ebm_metrics::samples::{Grid2d, total_variation};
use ebm_models::nn::{Mlp, MlpConfig};
use ebm_samplers::{Clip, Kernel, Mala, ReplayBuffer, ReplayConfig};
use ebm_train::objectives::{
    ContrastiveDivergence, DenoisingScoreMatching, Objective, PersistentContrastiveDivergence,
};
use ebm_train::optim::OptimizerConfig;
use ebm_train::{DatasetSource, Limits, Outcome, TrainObserver, Trainer, TrainerConfig, tensors};
use ndarray::Array2;
use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::experiment::{Experiment, Plan, Status};
use crate::plots::{Axes, HeatMap, Series, heat_map, lines};
use crate::preset::Preset;
use crate::run::{Progress, Run};
use crate::usage::usage;

/// Half the side of the square on which densities are compared.
const WINDOW: f64 = 4.5;
const CELLS: usize = 64;
const OBJECTIVES: [&str; 3] = ["cd", "pcd", "dsm"];

/// The experiment.
pub struct Toy2d;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataSection {
    laws: Vec<String>,
    n: usize,
    /// Standard deviation of fresh noise on every batch: all densities are those of the blurred laws.
    noise_std: f32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveSection {
    energy_l2: f64,
    noise_std: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SamplerSection {
    step_size: f64,
    clip_norm: f64,
    n_steps: u64,
    capacity: usize,
    reinit: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainerSection {
    n_steps_cd: u64,
    n_steps_dsm: u64,
    batch_size: usize,
    learning_rate: f64,
    /// Smaller for PCD: its chains must keep up with the model.
    learning_rate_pcd: f64,
    clip_norm: f64,
    ema_decay: f64,
    log_every: u64,
    limits: Limits,
}

struct Config {
    data: DataSection,
    model: MlpConfig,
    objective: ObjectiveSection,
    sampler: SamplerSection,
    optimizer: OptimizerConfig,
    trainer: TrainerSection,
    identity: String,
}

impl Config {
    fn read(preset: &Preset) -> anyhow::Result<Self> {
        Ok(Self {
            data: preset.section("data")?,
            model: preset.section("model")?,
            objective: preset.section("objective")?,
            sampler: preset.section("sampler")?,
            optimizer: preset.section("optimizer")?,
            trainer: preset.section("trainer")?,
            identity: preset.identity_json().to_string(),
        })
    }

    fn check(&self) -> anyhow::Result<()> {
        self.model.check()?;
        for law in &self.data.laws {
            AnyToy::by_name(law)?;
        }
        if !self.data.laws.iter().any(|law| law == "eight_gaussians") {
            return Err(usage("data.laws must hold eight_gaussians: the gate is judged on it"));
        }
        Kernel::<Tensor, Mlp>::check(&self.kernel())?;
        DenoisingScoreMatching::new(self.objective.noise_std, 0)?;
        for objective in OBJECTIVES {
            self.trainer(objective).check()?;
        }
        Ok(())
    }

    /// An exact kernel: with an unadjusted one it is the chain's biased law that comes to match the data, and on
    /// the thin moons the density itself collapses to a point. The drift is cut off (still exact): otherwise chains
    /// that restart on a steep slope overshoot, are rejected for ever, and drive the energy there without bound.
    fn kernel(&self) -> Mala {
        Mala::new(self.sampler.step_size).clip(Clip::Norm(self.sampler.clip_norm))
    }

    fn trainer(&self, objective: &str) -> TrainerConfig {
        let t = &self.trainer;
        let n_steps = if objective == "dsm" { t.n_steps_dsm } else { t.n_steps_cd };
        let rate = if objective == "pcd" { t.learning_rate_pcd } else { t.learning_rate };
        TrainerConfig {
            n_steps,
            learning_rate: Schedule::cosine(rate, 0.02 * rate, n_steps),
            optimizer: self.optimizer.clone(),
            clip_norm: Some(t.clip_norm),
            accumulate: 1,
            ema_decay: Some(t.ema_decay),
            log_every: t.log_every,
            checkpoint_every: n_steps.div_ceil(5),
            limits: t.limits.clone(),
        }
    }
}

/// Shows progress and keeps the loss.
struct Watcher {
    progress: Progress,
    losses: Vec<(f64, f64)>,
}

impl TrainObserver for Watcher {
    fn log(&mut self, step: u64, values: &[(&str, f64)]) -> ebm_core::Result<()> {
        let loss = values.first().map(|(_, loss)| *loss);
        self.progress.update(step, loss);
        self.losses.extend(loss.map(|loss| (step as f64, loss)));
        Ok(())
    }
}

impl Experiment for Toy2d {
    fn name(&self) -> &'static str {
        "toy-2d"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        let t = &config.trainer;
        let batch = config.model.macs() * t.batch_size as u64;
        // Chains: forward and backward per step; score matching: twice through the backward pass.
        let contrastive = 2 * t.n_steps_cd * batch * (2 * config.sampler.n_steps + 6);
        let matching = t.n_steps_dsm * batch * 9;
        let laws = config.data.laws.len() as u64;
        Ok(Plan {
            parameters: config.model.n_parameters(),
            macs: laws * (contrastive + matching),
            memory_bytes: 300_000_000,
            steps: laws * (2 * t.n_steps_cd + t.n_steps_dsm),
            minutes: preset.info().minutes,
        })
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let grid = Grid2d::new([-WINDOW; 2], [WINDOW; 2], [CELLS; 2])?;
        let mut weights = Vec::new();
        let mut curves: Vec<(String, Series)> = Vec::new();
        for law in config.data.laws.clone() {
            let toy = AnyToy::by_name(&law)?;
            let mut stream = Stream::new(run.seed(), Purpose::Synthetic, 0);
            let data = Arc::new(toy.dataset(&law, config.data.n, &mut stream)?);
            let points: Vec<(f64, f64)> =
                data.x().rows().into_iter().take(600).map(|r| (f64::from(r[0]), f64::from(r[1]))).collect();
            run.report.heading(&law.replace('_', " "));
            let counts = grid.histogram(data.x().mapv(f64::from).view())?.counts;
            picture(run, &format!("{law}-data"), "data", &counts, &points)?;
            for objective in OBJECTIVES {
                let (energy, losses, outcome) = train(&config, objective, &data, run)?;
                match outcome {
                    Outcome::Complete => {}
                    Outcome::Interrupted => return Ok(Status::Interrupted),
                    Outcome::Diverged => return Ok(Status::Diverged),
                }
                let density = density(&energy.0, &grid, run)?;
                picture(run, &format!("{law}-{objective}"), objective, &density, &[])?;
                curves.push((law.clone(), Series::new(objective, losses)));
                if law == "eight_gaussians" {
                    judge(&config, objective, &data, &grid, &density, run)?;
                }
                let name = |n: &str| format!("{law}.{objective}.{n}");
                weights.extend(energy.1.named().iter().map(|(n, t)| (name(n), t.shallow_clone())));
            }
        }
        run.report.heading("Training");
        for law in &config.data.laws {
            let series: Vec<Series> =
                curves.iter().filter(|(l, _)| l == law).map(|(_, s)| s.clone()).collect();
            let svg = lines(&Axes::new("step", "loss"), &series)?;
            run.report.figure_svg(&format!("{law}-loss"), &format!("Losses, {law}"), "", svg);
        }
        tensors::save(&run.weights_path(), &weights)?;
        Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
    }
}

type Trained = ((Mlp, Params), Vec<(f64, f64)>, Outcome);

fn train(config: &Config, objective: &str, data: &Arc<Dataset>, run: &mut Run) -> anyhow::Result<Trained> {
    let mut params = Params::new(run.seed(), run.device());
    let model = Mlp::new(&config.model, &mut params)?;
    let (n_steps, l2, seed) = (config.sampler.n_steps, config.objective.energy_l2, run.seed());
    let mut built: Box<dyn Objective<Mlp>> = match objective {
        "cd" => Box::new(ContrastiveDivergence::new(config.kernel(), n_steps, l2, seed)?),
        "pcd" => {
            let SamplerSection { capacity, reinit, .. } = config.sampler;
            let buffer = ReplayConfig { capacity, reinit, low: -WINDOW, high: WINDOW };
            let buffer = ReplayBuffer::new(buffer, &[2], seed, run.device())?;
            Box::new(PersistentContrastiveDivergence::new(config.kernel(), n_steps, l2, buffer, seed)?)
        }
        _ => Box::new(DenoisingScoreMatching::new(config.objective.noise_std, seed)?),
    };
    let trainer_config = config.trainer(objective);
    let label = format!("{} {objective}", data.name());
    let progress = run.progress(&label, trainer_config.n_steps, 0);
    let mut watcher = Watcher { progress, losses: Vec::new() };
    let augment = Augment { noise_sd: config.data.noise_std, ..Augment::default() };
    let batches =
        BatchConfig { batch_size: config.trainer.batch_size, seed, augment, ..BatchConfig::default() };
    let mut source = DatasetSource::new(Arc::clone(data), batches, run.device());
    let mut trainer = Trainer::new(trainer_config, &config.identity, seed, &model, &params, &mut built)?;
    let stop = run.stop_flag();
    let outcome = trainer.run(&mut source, &mut watcher, &stop)?;
    for event in trainer.events() {
        run.report.event(event.step, &event.kind, &format!("{label}: {}", event.detail));
    }
    let averaged = trainer.weights();
    drop(trainer);
    params.load(&averaged)?;
    Ok(((model, params), watcher.losses, outcome))
}

/// The model's law on the grid `[x, y]`, summing to one over it.
fn density(model: &Mlp, grid: &Grid2d, run: &Run) -> anyhow::Result<Array2<f64>> {
    let centres: Vec<f32> =
        (0..CELLS * CELLS).flat_map(|at| grid.centre([at / CELLS, at % CELLS]).map(|v| v as f32)).collect();
    let x = Tensor::f_from_slice(&centres)?.f_view([-1, 2])?.f_to_device(run.device())?;
    let log = tch::no_grad(|| model.energy_graph(&x))?.f_neg()?.f_to_kind(Kind::Double)?;
    let masses = log.f_softmax(0, Kind::Double)?;
    Ok(Array2::from_shape_vec((CELLS, CELLS), Vec::try_from(&masses)?)?)
}

/// A density `[x, y]` as a picture.
fn picture(
    run: &mut Run,
    id: &str,
    title: &str,
    cells: &Array2<f64>,
    points: &[(f64, f64)],
) -> anyhow::Result<()> {
    let rows = cells.t().as_standard_layout().iter().copied().collect::<Vec<_>>();
    let span = -WINDOW..WINDOW;
    let map = HeatMap { n_x: CELLS, n_y: CELLS, x: span.clone(), y: span, values: &rows, scale: None };
    run.report.figure_svg(id, title, "", heat_map(&Axes::new("", ""), &map, points)?);
    Ok(())
}

/// Total variation to the exact law of the eight Gaussians, and that of the control. What is learned is the law
/// blurred by the noise on the batches, and for score matching by its own too, so both are compared with that one.
fn judge(
    config: &Config,
    objective: &str,
    data: &Dataset,
    grid: &Grid2d,
    found: &Array2<f64>,
    run: &mut Run,
) -> anyhow::Result<()> {
    let own_blur = if objective == "dsm" { config.objective.noise_std } else { 0.0 };
    let blur = own_blur.hypot(f64::from(config.data.noise_std));
    let exact = EightGaussians::default().smoothed(blur);
    let exact = grid.masses(4, |[x, y]| exact.log_density(x, y))?;
    let distance = |p: &Array2<f64>| -> anyhow::Result<f64> {
        let flat = |a: &Array2<f64>| a.iter().copied().collect::<Vec<_>>();
        Ok(total_variation(&flat(p), &flat(&exact))?)
    };
    let moments = moments(data.x().mapv(f64::from).view())?;
    let (m, c) = (&moments.mean, &moments.covariance);
    let (a, b, d) = (c[[0, 0]] + blur * blur, c[[0, 1]], c[[1, 1]] + blur * blur);
    let determinant = a * d - b * b;
    let gaussian = grid.masses(4, |[x, y]| {
        let (x, y) = (x - m[0], y - m[1]);
        -0.5 * (d * x * x - 2.0 * b * x * y + a * y * y) / determinant
    })?;
    let (own, control) = (distance(found)?, distance(&gaussian)?);
    let name = format!("tv_{objective}");
    run.report.metric(&name, own);
    run.report.control("gaussian", &[(name.as_str(), control)]);
    if run.report.has_gate(&name) {
        run.report.judge_against(&name, own, None, control)?;
    }
    Ok(())
}
