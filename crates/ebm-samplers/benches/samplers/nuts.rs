//! NUTS on the host, one chain at a time on one thread, in f64: nuts-rs, nutpie and blackjax.
//!
//! Each adapts in its own way over the same number of steps, from starts uniform in [-2, 2]. A gradient is a leapfrog
//! after warm-up; effective sample sizes are by our estimator, the least over the coordinates (bulk).

use std::path::{Path, PathBuf};

use ebm_core::GradEnergy;
use ebm_core::analytic::{EightSchools, Gaussian, LogisticRegression, Rosenbrock};
use ebm_core::random::{Purpose, Stream};
use ebm_metrics::chains::ess_bulk;
use ebm_samplers::{Nuts, SampleConfig, Sampler};
use ndarray::{Array3, ArrayView3, Axis, s};
use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};

use crate::harness::program::Program;
use crate::harness::{Bench, Figure, Rival, seconds};
use crate::hmc::correlated;

pub const TARGET_ACCEPT: f64 = 0.8;
pub const FEATURES: usize = 24;

/// How much is sampled.
#[derive(Clone, Copy)]
struct Size {
    chains: usize,
    warm_up: usize,
    draws: usize,
}

pub fn run(bench: &mut Bench) {
    let size = if bench.smoke {
        Size { chains: 2, warm_up: 100, draws: 50 }
    } else {
        Size { chains: 4, warm_up: 1000, draws: 1000 }
    };
    let mut rivals = Rivals {
        nutpie: Program::start(bench, "nutpie", "0.16.8", "NUTPIE", "with_nutpie.py"),
        blackjax: Program::start(bench, "blackjax", "1.7.1", "JAX", "with_blackjax.py"),
        files: DrawsFile::new("host"),
    };
    let data_file = rivals.files.data.clone();
    let logistic = logistic_regression(&data_file);

    let deviation = |i: usize| 0.1 * 100f64.powf(i as f64 / 99.0);
    let variances = (0..100).map(|i| deviation(i).powi(2)).collect();
    let normal = Gaussian::diagonal(vec![0.0; 100], variances).unwrap();
    // Where draws are few for each gradient, four chains say little about how many.
    let many = Size { chains: if bench.smoke { 2 } else { 64 }, ..size };
    let mut case = |name: &str, settings: Value, dim: usize, energy: &dyn Target| {
        let size = if dim <= 10 { &many } else { &size };
        compare(bench, &mut rivals, size, name, settings, dim, energy);
    };
    case("100-d normal, deviations 0.1 to 10", json!({"target": "normal"}), 100, &normal);
    let settings = json!({"target": "correlated_normal", "correlation": 0.9});
    case("100-d normal, correlations 0.9^|i-j|", settings, 100, &correlated(100));
    case("banana", json!({"target": "banana"}), 2, &Rosenbrock::standard(2).unwrap());
    let schools = EightSchools::centred();
    case("eight schools, centred", json!({"target": "eight_schools_centred"}), 10, &schools);
    let schools = EightSchools::non_centred();
    case("eight schools, not centred", json!({"target": "eight_schools_non_centred"}), 10, &schools);
    let settings = json!({"target": "logistic", "data_file": data_file, "prior_scale": 1.0});
    case("logistic regression, 1,000 x 24", settings, FEATURES, &logistic);
}

/// What is handed over through files, which go with it: the draws of the Python programs, and their data.
pub struct DrawsFile {
    pub draws: PathBuf,
    pub data: PathBuf,
}

impl DrawsFile {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ebm-bench-{}-{name}", std::process::id()));
        Self { draws: path.with_extension("f64"), data: path.with_extension("data") }
    }

    pub fn read(&self, shape: (usize, usize, usize)) -> Array3<f64> {
        let bytes = std::fs::read(&self.draws).unwrap();
        let (values, _) = bytes.as_chunks::<8>();
        let values = values.iter().map(|value| f64::from_le_bytes(*value)).collect();
        Array3::from_shape_vec(shape, values).unwrap()
    }
}

impl Drop for DrawsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.draws);
        let _ = std::fs::remove_file(&self.data);
    }
}

/// 1,000 rows of standard normal features, labels drawn with standard normal weights, a standard normal prior; the
/// features with the label (0 or 1) last are left in a file of f64 for the Python programs.
pub fn logistic_regression(data_file: &Path) -> LogisticRegression {
    let mut rng = Stream::new(0, Purpose::Synthetic, 0);
    let (mut weights, mut rows) = (vec![0.0; FEATURES], vec![0.0; 1000 * FEATURES]);
    rng.fill_normal(&mut weights);
    rng.fill_normal(&mut rows);
    let (mut labels, mut bytes) = (Vec::new(), Vec::new());
    for row in rows.chunks_exact(FEATURES) {
        let logit: f64 = row.iter().zip(&weights).map(|(x, w)| x * w).sum();
        labels.push(rng.uniform() < 1.0 / (1.0 + (-logit).exp()));
        let label = f64::from(u8::from(labels[labels.len() - 1]));
        row.iter().chain([&label]).for_each(|value: &f64| bytes.extend(value.to_le_bytes()));
    }
    std::fs::write(data_file, bytes).unwrap();
    LogisticRegression::new(FEATURES, rows, &labels, 1.0).unwrap()
}

/// What can be sampled here.
trait Target: GradEnergy<Vec<f64>> + Sync {}
impl<E: GradEnergy<Vec<f64>> + Sync> Target for E {}

struct Rivals {
    nutpie: Option<Program>,
    blackjax: Option<Program>,
    files: DrawsFile,
}

fn compare(
    bench: &mut Bench,
    rivals: &mut Rivals,
    size: &Size,
    name: &str,
    mut settings: Value,
    dim: usize,
    energy: &dyn Target,
) {
    let shape = (size.chains, size.draws, dim);
    let more = json!({
        "case": "nuts", "precision": "f64", "dim": dim, "target_accept": TARGET_ACCEPT, "chains": size.chains,
        "warm_up": size.warm_up, "draws": size.draws, "draws_file": rivals.files.draws,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let files = &rivals.files;
    let figures = |seconds: &'static str, gradients: &'static str| {
        move |answer: &Value| {
            let number = |key| answer[key].as_f64().unwrap_or(f64::NAN);
            let draws = files.read(shape);
            vec![number(seconds) / number(gradients) * 1e9, efficiency(draws.view(), number("gradients"))]
        }
    };

    let mut others = Vec::new();
    if bench.rivals {
        others.push(by_nuts_rs(energy, size, dim));
    }
    others.extend(rivals.nutpie.as_mut().map(|program| {
        let note = "energies compiled by numba; its time holds warm-up and making the ArviZ object";
        program.rival(settings.clone(), note, figures("all_seconds", "all_gradients"))
    }));
    others.extend(rivals.blackjax.as_mut().map(|program| {
        let note = "gradients by autograd; XLA may use all threads";
        program.rival(settings.clone(), note, figures("seconds", "gradients"))
    }));
    let one_thread = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    bench.compare(
        &[
            Figure::lower(format!("NUTS, {name}: time"), "ns/leapfrog", "one thread, f64"),
            Figure::higher(
                format!("NUTS, {name}: efficiency"),
                "ESS/1000 gradients",
                "target acceptance 0.8 of a path's leaves; blackjax counts it so that its steps come out shorter",
            ),
        ],
        |seed| {
            one_thread.install(|| ours(energy, size, dim, seed).to_vec())
        },
        others,
    );
}

fn ours(energy: &dyn Target, size: &Size, dim: usize, seed: u64) -> [f64; 2] {
    let config = SampleConfig {
        n_draws: size.draws,
        burn_in: size.warm_up,
        target_accept: Some(TARGET_ACCEPT),
        seed,
        diagnostics: false,
        ..SampleConfig::adaptive()
    };
    let kernel = Nuts::new(0.1);
    let mut sampler = Sampler::new(&kernel, energy, starts(size.chains, dim, seed), &config).unwrap();
    sampler.run_to(size.warm_up as u64);
    let seconds = seconds(|| sampler.run());
    let draws = sampler.finish().unwrap().draws;
    let gradients = draws.statistic("n_steps").unwrap().sum();
    [seconds / gradients * 1e9, efficiency(draws.array(), gradients)]
}

#[cfg(feature = "nuts-rs")]
fn by_nuts_rs<'a>(energy: &'a dyn Target, size: &'a Size, dim: usize) -> Rival<'a> {
    let one_thread = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    Rival::in_process("nuts-rs", "0.19.1", move |seed| {
        let settings = ebm_samplers::NutsRs {
            burn_in: size.warm_up,
            target_accept: TARGET_ACCEPT,
            ..ebm_samplers::NutsRs::new(size.draws).seed(seed)
        };
        let starts = starts(size.chains, dim, seed);
        let run = one_thread.install(|| settings.sample(energy, starts)).unwrap();
        let gradients = run.draws.statistic("n_steps").unwrap().sum();
        let seconds: f64 = run.seconds.iter().sum();
        let per_gradient = efficiency(run.draws.array(), gradients);
        vec![seconds / gradients * 1e9, per_gradient]
    })
    .note("the same energy; its positions are copied once each way")
}

#[cfg(not(feature = "nuts-rs"))]
fn by_nuts_rs<'a>(_energy: &'a dyn Target, _size: &'a Size, _dim: usize) -> Rival<'a> {
    Rival::missing("nuts-rs", "0.19.1", "the bench was built without the feature nuts-rs")
}

fn starts(chains: usize, dim: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Stream::new(seed, Purpose::Start, 0);
    (0..chains).map(|_| (0..dim).map(|_| 4.0 * rng.uniform() - 2.0).collect()).collect()
}

/// ESS per 1,000 gradients.
fn efficiency(draws: ArrayView3<f64>, gradients: f64) -> f64 {
    least_ess(draws) / gradients * 1e3
}

/// The least bulk ESS over the coordinates.
pub fn least_ess(draws: ArrayView3<f64>) -> f64 {
    let of = |k| ess_bulk(draws.slice(s![.., .., k])).unwrap();
    (0..draws.len_of(Axis(2))).map(of).fold(f64::INFINITY, f64::min)
}
