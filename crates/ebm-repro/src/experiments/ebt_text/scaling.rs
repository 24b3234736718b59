//! How the surprise of S1 and of Transformer++ falls with the number of training tokens, each number a training of its
//! own with its own cosine, and the second stage without each of its parts (arXiv 2507.02092, data scaling and Table 2).
//!
//! The paper's scaling rate is read as the ratio of two fitted slopes of `perplexity = a + b ln(tokens)`. A steeper slope
//! is no lower loss: the table beside it says who is ahead at each size.

use ebm_metrics::t_quantile;
use ebm_models::ebt::EbtText;
use ebm_train::Outcome;

use super::config::{Config, Part, PolicySection, ScalingSection};
use super::data::{Data, evenly};
use super::evaluate::slope;
use super::predict::{self, Predictor, bits, mean};
use super::train::{self, Job, Seconds};
use crate::experiment::{Experiment, Plan, Status};
use crate::plots::{Axes, Series, lines};
use crate::preset::Preset;
use crate::run::Run;
use crate::usage::usage;

/// See the file's first lines.
pub struct EbtScaling;

/// Mean nats of the judged bytes after one training.
#[derive(Clone, Copy)]
struct Point {
    tokens: f64,
    s1: f64,
    transformer: f64,
}

/// The second stage without a part: mean nats after one step, after the steps of a prediction, and of the candidate of
/// the lowest energy.
struct Ablated {
    name: String,
    one: f64,
    longer: f64,
    chosen: f64,
}

/// Stops the experiment early where a training did not come to its end.
macro_rules! complete {
    ($training:expr) => {
        match $training {
            (trained, Outcome::Complete) => trained,
            (_, Outcome::Interrupted) => return Ok(Err(Status::Interrupted)),
            (_, Outcome::Diverged) => return Ok(Err(Status::Diverged)),
        }
    };
}

fn section(config: &Config) -> anyhow::Result<&ScalingSection> {
    let missing = || usage("ebt-scaling needs the table [eval.scaling]".to_owned());
    let scaling = config.eval.scaling.as_ref().ok_or_else(missing)?;
    for (name, value) in [
        ("eval.scaling.tokens", scaling.tokens.iter().copied().min().unwrap_or(0)),
        ("eval.scaling.n_seeds", scaling.n_seeds),
        ("eval.scaling.s2_tokens", scaling.s2_tokens),
    ] {
        if value == 0 {
            return Err(usage(format!("{name} is 0 or empty: must be at least 1")));
        }
    }
    Ok(scaling)
}

impl Experiment for EbtScaling {
    fn name(&self) -> &'static str {
        "ebt-scaling"
    }

    fn plan(&self, preset: &Preset) -> anyhow::Result<Plan> {
        let config = Config::read(preset)?;
        config.check()?;
        let scaling = section(&config)?;
        if config.s2.is_none() {
            return Err(usage("objective.train_s2 = false: ebt-scaling trains the second stage".to_owned()));
        }
        let mut plan = Plan { memory_bytes: 0, ..Plan::default() };
        let macs = |tokens: u64, per_token: f64| (tokens as f64 * per_token) as u64;
        for tokens in &scaling.tokens {
            let one = config.training_macs(&config.s1) + config.baseline().training_macs() as f64;
            plan.macs += scaling.n_seeds * macs(*tokens, one);
            plan.steps += scaling.n_seeds * 2 * config.with_tokens(*tokens).s1.n_steps;
        }
        for policy in variants(&config, scaling).iter().map(|(_, policy)| policy) {
            plan.macs += macs(scaling.s2_tokens, config.training_macs(policy));
            plan.steps += config.with_tokens(scaling.s2_tokens).s1.n_steps;
        }
        let single = config.plan(preset.info().minutes);
        Ok(Plan {
            parameters: single.parameters,
            memory_bytes: single.memory_bytes,
            minutes: single.minutes,
            ..plan
        })
    }

    fn run(&self, run: &mut Run) -> anyhow::Result<Status> {
        let config = Config::read(run.preset())?;
        let scaling = section(&config)?.clone();
        let data = Data::load(&config, run)?;
        let mut seconds = Seconds::new();
        let points = match sizes(&config, &scaling, &data, &mut seconds, run)? {
            Ok(points) => points,
            Err(status) => return Ok(status),
        };
        report_sizes(&points, run)?;
        let ablated = match ablations(&config, &scaling, &data, &mut seconds, run)? {
            Ok(ablated) => ablated,
            Err(status) => return Ok(status),
        };
        report_ablations(&config, &scaling, &ablated, run);
        run.report.metric("seconds_of_training", seconds.values().sum());
        Ok(if run.is_smoke() { Status::Smoke } else { Status::Complete })
    }
}

/// Both models at every size under every seed.
fn sizes(
    config: &Config,
    scaling: &ScalingSection,
    data: &Data,
    seconds: &mut Seconds,
    run: &mut Run,
) -> anyhow::Result<Result<Vec<Point>, Status>> {
    let windows = evenly(&data.judged, config.eval.n_windows, run.device())?;
    let mut points = Vec::new();
    for &tokens in &scaling.tokens {
        let config = config.with_tokens(tokens);
        for seed in run.seed()..run.seed() + scaling.n_seeds {
            let label = |model: &str| format!("{model}-{tokens}-{seed}");
            let (s1_label, control_label) = (label("ebt"), label("transformer"));
            let job = |label| Job { config: &config, data, label, seed };
            let net = complete!(train::ebt(job(&s1_label), &config.s1, seconds, run)?);
            let control = complete!(train::baseline(job(&control_label), config.s1.n_steps, seconds, run)?);
            let predictor = Predictor::new(&config, &net, &config.s1, run)?;
            let found = predictor.descend(&windows, config.s1.predict_steps)?;
            let s1 = mean(&found.nats[config.s1.predict_steps - 1]);
            let transformer = mean(&predict::baseline(&control, &windows, config.eval.batch_size)?);
            points.push(Point { tokens: tokens as f64, s1, transformer });
        }
    }
    Ok(Ok(points))
}

/// Least squares `perplexity = a + b ln(tokens)`: `b` with the half width of its 95% interval.
fn fit(points: &[Point], nats: fn(&Point) -> f64) -> Option<(f64, f64)> {
    slope(&points.iter().map(|p| (p.tokens.ln(), nats(p).exp())).collect::<Vec<_>>())
}

/// Mean and half width of the 95% interval over a few seeds.
fn over_seeds(values: &[f64]) -> (f64, f64) {
    let (n, m) = (values.len() as f64, mean(values));
    let variance = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1.0);
    let half = t_quantile(0.975, values.len() as u64 - 1).map_or(f64::NAN, |t| t * (variance / n).sqrt());
    (m, half)
}

fn report_sizes(points: &[Point], run: &mut Run) -> anyhow::Result<()> {
    let in_bits = |nats: f64| nats / std::f64::consts::LN_2;
    let mut sizes: Vec<f64> = points.iter().map(|p| p.tokens).collect();
    sizes.dedup();
    let (mut table, mut s1, mut transformer) = (Vec::new(), Vec::new(), Vec::new());
    for &tokens in &sizes {
        let of = |f: fn(&Point) -> f64| -> Vec<f64> {
            points.iter().filter(|p| p.tokens == tokens).map(|p| in_bits(f(p))).collect()
        };
        let each =
            [of(|p| p.s1), of(|p| p.transformer), of(|p| p.s1 - p.transformer)].map(|v| over_seeds(&v));
        s1.push((tokens, each[0].0));
        transformer.push((tokens, each[1].0));
        for (name, (value, _)) in ["s1", "transformer"].iter().zip(each) {
            run.report.metric(&format!("bits_per_byte_{name}_{tokens:.0}"), value);
        }
        let cells = each.map(|(value, half)| format!("{value:.3} ± {half:.3}"));
        table.push(std::iter::once(format!("{:.2}", tokens / 1e6)).chain(cells).collect());
    }
    let header = ["million tokens", "EBT S1", "Transformer++", "S1 less Transformer++"];
    run.report.table("Bits per byte (mean over seeds ± half width of the 95% interval)", &header, table);
    let axes = Axes { log_x: true, ..Axes::new("training tokens", "bits per byte") };
    let series = [Series::new("EBT S1", s1), Series::new("Transformer++", transformer)];
    run.report.figure_svg("scaling", "Bits per byte over training tokens", "", lines(&axes, &series)?);

    let (Some(s1), Some(transformer)) = (fit(points, |p| p.s1), fit(points, |p| p.transformer)) else {
        return Ok(()); // too few sizes for a line
    };
    let ratio = s1.0 / transformer.0;
    let half = ratio.abs() * (s1.1 / s1.0).hypot(transformer.1 / transformer.0);
    for (name, value) in [
        ("perplexity_slope_s1", s1.0),
        ("perplexity_slope_transformer", transformer.0),
        ("slope_ratio", ratio),
        ("slope_ratio_low", ratio - half),
        ("slope_ratio_high", ratio + half),
    ] {
        run.report.metric(name, value);
    }
    run.report.note(&format!(
        "Fitted slope of perplexity per byte over ln(tokens): S1 {:.3} ± {:.3}, Transformer++ {:.3} ± {:.3}; ratio \
         {ratio:.3} [{:.3}, {:.3}] (first-order error of a ratio). A steeper slope is no lower loss, and at equal \
         tokens S1 costs several times as much.",
        s1.0, s1.1, transformer.0, transformer.1, ratio - half, ratio + half,
    ));
    Ok(())
}

/// The second stage in full and without each part.
fn variants(config: &Config, scaling: &ScalingSection) -> Vec<(Option<Part>, PolicySection)> {
    let Some(full) = &config.s2 else { return Vec::new() };
    let without = scaling.without.iter().map(|part| (Some(*part), part.left_out_of(full)));
    std::iter::once((None, full.clone())).chain(without).collect()
}

fn ablations(
    config: &Config,
    scaling: &ScalingSection,
    data: &Data,
    seconds: &mut Seconds,
    run: &mut Run,
) -> anyhow::Result<Result<Vec<Ablated>, Status>> {
    let windows = evenly(&data.judged, config.eval.n_windows, run.device())?;
    let config = config.with_tokens(scaling.s2_tokens);
    let mut found = Vec::new();
    for (part, policy) in variants(&config, scaling) {
        let name = part.map_or_else(|| "full".to_owned(), |part| format!("without {}", part.title()));
        let label = format!("s2-{}", name.replace(' ', "-"));
        let job = Job { config: &config, data, label: &label, seed: run.seed() };
        let net: EbtText = complete!(train::ebt(job, &policy, seconds, run)?);
        let predictor = Predictor::new(&config, &net, &policy, run)?;
        let steps = policy.predict_steps;
        let longer = predictor.descend(&windows, steps)?;
        let verified = predictor.verify(&windows, steps, config.eval.n_candidates)?;
        found.push(Ablated {
            name,
            one: mean(&longer.nats[0]),
            longer: mean(&longer.nats[steps - 1]),
            chosen: mean(&verified.chosen),
        });
    }
    Ok(Ok(found))
}

fn report_ablations(config: &Config, scaling: &ScalingSection, found: &[Ablated], run: &mut Run) {
    let mut table = Vec::new();
    for Ablated { name, one, longer, chosen } in found {
        // As in the paper's Table 2: by how many percent the perplexity falls.
        let gain = |nats: f64| 100.0 * (1.0 - (nats - one).exp());
        let key = name.replace(' ', "_");
        run.report.metric(&format!("gain_longer_{key}"), gain(*longer));
        run.report.metric(&format!("gain_chosen_{key}"), gain(*chosen));
        table.push(vec![
            name.clone(),
            format!("{:.3}", bits(&[*one])),
            format!("{:.3}", bits(&[*longer])),
            format!("{:.3}", bits(&[*chosen])),
            format!("{:.1}", gain(*longer)),
            format!("{:.1}", gain(*chosen)),
        ]);
    }
    let header = [
        "S2",
        "bits, one step",
        "bits, longer",
        "bits, longer and best of several",
        "perplexity gained by longer, %",
        "and best of several, %",
    ];
    let steps = config.s2.as_ref().map_or(0, |s2| s2.predict_steps);
    run.report.table(
        &format!(
            "The second stage without each part: {:.2} million tokens, {steps} steps, one seed",
            scaling.s2_tokens as f64 / 1e6
        ),
        &header,
        table,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_finds_the_line_of_perplexities() {
        let point = |tokens: f64| {
            let (s1, transformer) = (20.0 - 2.0 * tokens.ln() / 2.0, 18.0 - 0.5 * tokens.ln());
            Point { tokens, s1: s1.ln(), transformer: transformer.ln() }
        };
        let points: Vec<_> = [1e3, 2e3, 4e3, 8e3].map(point).to_vec();
        let (s1, transformer) = (fit(&points, |p| p.s1).unwrap(), fit(&points, |p| p.transformer).unwrap());
        assert!((s1.0 + 1.0).abs() < 1e-9 && (transformer.0 + 0.5).abs() < 1e-9);
        assert!(s1.1 < 1e-6);
    }

    #[test]
    fn an_interval_over_seeds_is_students() {
        let (m, half) = over_seeds(&[1.0, 2.0, 3.0]);
        // t(0.975, 2) = 4.30265, standard error 1/sqrt(3).
        assert!((m - 2.0).abs() < 1e-12 && (half - 4.302_65 / 3f64.sqrt()).abs() < 1e-4);
    }
}
