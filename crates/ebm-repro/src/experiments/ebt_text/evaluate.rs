//! What is measured: bits per byte beside the controls, thinking longer, self-verification, energies against
//! difficulty, and text of other kinds.

use ebm_metrics::{
    Bootstrap, Estimate, bootstrap, bootstrap_mean, percentile_interval, spearman, t_quantile,
};
use ebm_models::ebt::{Baseline, EbtText};
use tch::Tensor;

use super::config::{Config, PolicySection};
use super::data::{Data, evenly};
use super::figures;
use super::predict::{self, Descents, Predictor, Values, Verified, bits, mean};
use super::train::Seconds;
use crate::run::Run;

/// Everything that was trained.
pub struct Models<'a> {
    pub s1: &'a EbtText,
    pub s2: Option<&'a EbtText>,
    pub transformer: Option<&'a Baseline>,
    pub transformer_flops: Option<(&'a Baseline, u64)>,
    pub trigram: Option<(ebm_models::ngram::Trigram, f64)>,
}

/// The mean of each window's values, for resampling windows: bytes of one window are not independent.
fn by_window(values: &[f64], context: usize) -> Values {
    values.chunks_exact(context).map(mean).collect()
}

fn differences(a: &[f64], b: &[f64]) -> Values {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

struct Judge<'a> {
    config: &'a Config,
    resampling: Bootstrap,
    context: usize,
}

impl Judge<'_> {
    /// Mean over bytes with the interval over windows.
    fn estimate(&self, values: &[f64]) -> anyhow::Result<Estimate> {
        Ok(bootstrap_mean(&by_window(values, self.context), &self.resampling)?)
    }
}

pub fn evaluate(
    config: &Config,
    data: &Data,
    models: &Models<'_>,
    seconds: &Seconds,
    run: &mut Run,
) -> anyhow::Result<()> {
    let resampling =
        Bootstrap { n_resamples: config.eval.n_resamples, seed: run.seed(), ..Bootstrap::default() };
    let judge = Judge { config, resampling, context: config.model.transformer.context };
    let windows = evenly(&data.judged, config.eval.n_windows, run.device())?;
    let longest = config.eval.thinking.iter().copied().max().unwrap_or(1);

    let s1 = Predictor::new(config, models.s1, &config.s1, run)?;
    let s1_run = s1.descend(&windows, longest.max(config.s1.predict_steps))?;
    let s1_nats = &s1_run.nats[config.s1.predict_steps - 1];
    likelihoods(&judge, models, s1_nats, &windows, seconds, run)?;
    uncertainty(&judge, "s1", &s1_run, config.s1.predict_steps, &windows, false, run)?;
    let mut thinkers = vec![("S1", s1_run)];

    if let (Some(trained), Some(policy)) = (models.s2, &config.s2) {
        let s2 = Predictor::new(config, trained, policy, run)?;
        let s2_run = s2.descend(&windows, longest.max(policy.predict_steps))?;
        thinking(&judge, policy, &s2_run, run)?;
        let verified = s2.verify(&windows, policy.predict_steps, config.eval.n_candidates)?;
        verification(&judge, "s2", &verified, true, run)?;
        let verified = s1.verify(&windows, config.s1.predict_steps, config.eval.n_candidates)?;
        verification(&judge, "s1", &verified, false, run)?;
        uncertainty(&judge, "s2", &s2_run, policy.predict_steps, &windows, true, run)?;
        thinkers.push(("S2", s2_run));
        out_of_distribution(&judge, data, models, (&s1, &s2, policy), run)?;
    }
    figures::draw(config, &thinkers, &windows, run)
}

/// Bits per byte of every model.
fn likelihoods(
    judge: &Judge<'_>,
    models: &Models<'_>,
    s1: &[f64],
    windows: &Tensor,
    seconds: &Seconds,
    run: &mut Run,
) -> anyhow::Result<()> {
    let config = judge.config;
    let own = judge.estimate(s1)?;
    let (own_bits, in_bits) = (bits(s1), |e: &Estimate| {
        (e.interval.low / std::f64::consts::LN_2, e.interval.high / std::f64::consts::LN_2)
    });
    run.report.metric("bits_per_byte_s1", own_bits);
    let tokens = (config.trainer.batch_size * judge.context) as u64 * config.trainer.accumulate;
    let row = |name: &str, label: &str, bits: f64, ci: (f64, f64), steps: u64, macs: f64| {
        vec![
            name.to_owned(),
            format!("{bits:.4} [{:.4}, {:.4}]", ci.0, ci.1),
            format!("{:.2e}", (steps * tokens) as f64),
            format!("{:.3e}", macs * (steps * tokens) as f64),
            seconds.get(label).map_or_else(|| "-".into(), |s| format!("{s:.0}")),
        ]
    };
    let n_steps = config.s1.n_steps;
    let mut table =
        vec![row("EBT S1", "s1", own_bits, in_bits(&own), n_steps, config.training_macs(&config.s1))];
    let cost = config.baseline().training_macs() as f64;
    let multiple = config.training_macs(&config.s1) / cost;
    run.report.metric("flop_multiple_s1", multiple);
    let controls = [
        models.transformer.map(|t| ("transformer", "Transformer++, equal tokens", t, n_steps)),
        models.transformer_flops.map(|(t, n)| ("transformer-flops", "Transformer++, equal FLOPs", t, n)),
    ];
    for (label, name, trained, steps) in controls.into_iter().flatten() {
        let nats = predict::baseline(trained, windows, config.eval.batch_size)?;
        let found = judge.estimate(&nats)?;
        table.push(row(name, label, bits(&nats), in_bits(&found), steps, cost));
        let mut metrics = vec![("bits_per_byte", bits(&nats)), ("steps", steps as f64)];
        metrics.extend(seconds.get(label).map(|s| ("seconds", *s)));
        run.report.control(label, &metrics);
        let gap = judge.estimate(&differences(s1, &nats))?;
        run.report.metric(&format!("nats_over_{label}"), gap.value);
        if label == "transformer" {
            run.report.judge_against("bits_per_byte", own_bits, Some(in_bits(&own)), bits(&nats))?;
        }
    }
    if let Some((trigram, delta)) = &models.trigram {
        let nats = predict::trigram(trigram, *delta, windows)?;
        let found = judge.estimate(&nats)?;
        let ci = in_bits(&found);
        table.push(vec![
            format!("trigram, delta {delta}"),
            format!("{:.4} [{:.4}, {:.4}]", bits(&nats), ci.0, ci.1),
            format!("{:.2e}", (n_steps * tokens) as f64),
            "-".into(),
            "-".into(),
        ]);
        run.report.control("trigram", &[("bits_per_byte", bits(&nats)), ("delta", *delta)]);
        run.report.judge_against("below_trigram", own_bits, Some(in_bits(&own)), bits(&nats))?;
    }
    for (name, s) in seconds {
        run.report.metric(&format!("seconds_{name}"), *s);
    }
    let header = ["", "bits per byte (95% over windows)", "tokens", "MACs of training", "seconds"];
    run.report.table("Bits per byte", &header, table);
    run.report.note(&format!(
        "Counted by the code, a token costs {multiple:.2} times as much in EBT's S1 as in the baseline."
    ));
    Ok(())
}

/// Thinking longer: the second stage's surprise after each number of steps.
fn thinking(
    judge: &Judge<'_>,
    policy: &PolicySection,
    found: &Descents,
    run: &mut Run,
) -> anyhow::Result<()> {
    let at = |k: usize| found.nats.get(k - 1).map(Vec::as_slice).unwrap_or_default();
    let trained = policy.predict_steps;
    let mut table = Vec::new();
    for k in judge.config.eval.thinking.iter().copied().chain([1, 2, trained, 2 * trained]) {
        let (nats, title) = (at(k), k.to_string());
        if nats.is_empty() || table.iter().any(|row: &Vec<String>| row[0] == title) {
            continue;
        }
        let gain = judge.estimate(&differences(at(1), nats))?;
        run.report.metric(&format!("bits_per_byte_s2_{k}"), bits(nats));
        table.push(vec![title, format!("{:.4}", bits(nats)), gain.to_string()]);
    }
    table.sort_by_key(|row| row[0].parse::<usize>().unwrap_or(0));
    run.report.table(
        "Thinking longer, S2",
        &["steps", "bits per byte", "nats gained over one step (95%)"],
        table,
    );
    let (one, two, three, twice) = (mean(at(1)), mean(at(2)), mean(at(trained)), mean(at(2 * trained)));
    let steps =
        bootstrap(by_window(at(1), judge.context).len(), judge.resampling.n_resamples, run.seed(), |items| {
            let mean_of = |k: usize| {
                let all = by_window(at(k), judge.context);
                items.iter().map(|&i| all[i]).sum::<f64>()
            };
            (mean_of(1) - mean_of(trained)) / mean_of(1)
        });
    let drop = (one - three) / one;
    let ci = percentile_interval(&steps?, judge.resampling.level)?;
    if run.report.has_gate("thinking_drop") {
        run.report.judge("thinking_drop", drop, Some((ci.low, ci.high)))?;
        run.report.judge("thinking_order", (one - two).min(two - three), None)?;
        run.report.judge("thinking_twice", twice / three, None)?;
    }
    run.report.metric("thinking_drop", drop);
    run.report.metric("thinking_twice", twice / three);
    Ok(())
}

/// Self-verification: the candidate of the lowest energy against a random one.
fn verification(
    judge: &Judge<'_>,
    stage: &str,
    found: &Verified,
    judged: bool,
    run: &mut Run,
) -> anyhow::Result<()> {
    let n = found.chosen.len();
    let count = found.each.len() as f64;
    let random: Values = (0..n).map(|i| found.each.iter().map(|nats| nats[i]).sum::<f64>() / count).collect();
    let oracle: Values =
        (0..n).map(|i| found.each.iter().map(|nats| nats[i]).fold(f64::INFINITY, f64::min)).collect();
    let gap = judge.estimate(&differences(&found.chosen, &random))?;
    let share = (mean(&random) - mean(&found.chosen)) / (mean(&random) - mean(&oracle));
    run.report.metric(&format!("verification_{stage}"), gap.value);
    run.report.metric(&format!("verification_share_of_oracle_{stage}"), share);
    run.report.metric(&format!("candidates_divergence_{stage}"), found.diversity);
    if judged && run.report.has_gate("verification") {
        run.report.judge("verification", gap.interval.high, Some((gap.interval.low, gap.interval.high)))?;
    }
    run.report.note(&format!(
        "Self-verification, {}: of {count} candidates the one with the lowest energy has {gap} nats more than a random one (negative is better), {:.1}% of what an oracle would gain; the candidates differ by a Kullback-Leibler divergence of {:.2e} nats.",
        stage.to_uppercase(),
        100.0 * share,
        found.diversity,
    ));
    Ok(())
}

/// Whether each target begins a word (`Some(true)`), is inside one, or is no letter.
fn word_places(windows: &Tensor) -> anyhow::Result<Vec<Option<bool>>> {
    let length = windows.size2()?.1 as usize;
    let tokens: Vec<i64> = Vec::try_from(&windows.f_reshape(-1)?)?;
    let letter = |t: i64| u8::try_from(t).is_ok_and(|b| b.is_ascii_alphabetic());
    let rows = tokens.chunks_exact(length);
    Ok(rows.flat_map(|row| row.windows(2).map(|two| letter(two[1]).then(|| !letter(two[0])))).collect())
}

/// Energies against difficulty.
fn uncertainty(
    judge: &Judge<'_>,
    stage: &str,
    found: &Descents,
    steps: usize,
    windows: &Tensor,
    judged: bool,
    run: &mut Run,
) -> anyhow::Result<()> {
    // The energy of the candidate after `steps` steps is where the next step started.
    let energy = found.energies.get(steps).unwrap_or(&found.last_energy);
    let nats = &found.nats[steps - 1];
    let context = judge.context;
    let correlation = spearman(energy, nats)?;
    // Training does not fix what is added to all energies of a context; the way down does not depend on it.
    let drop = differences(&found.energies[0], energy);
    let drop_correlation = spearman(&drop, nats)?;
    let n_windows = nats.len() / context;
    let resampled = bootstrap(n_windows, judge.resampling.n_resamples.min(200), run.seed(), |items| {
        let pick = |x: &[f64]| -> Values {
            items.iter().flat_map(|&i| x[i * context..(i + 1) * context].to_vec()).collect()
        };
        spearman(&pick(energy), &pick(nats)).unwrap_or(f64::NAN)
    })?;
    let ci = percentile_interval(&resampled, judge.resampling.level)?;
    let places = word_places(windows)?;
    let difference = |items: &[usize]| {
        let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
        for i in items.iter().flat_map(|w| w * context..(w + 1) * context) {
            if let Some(initial) = places[i] {
                sums[usize::from(initial)] += energy[i];
                counts[usize::from(initial)] += 1.0;
            }
        }
        sums[1] / counts[1] - sums[0] / counts[0]
    };
    let all: Vec<usize> = (0..n_windows).collect();
    let resampled = bootstrap(n_windows, judge.resampling.n_resamples, run.seed(), difference)?;
    let words = percentile_interval(&resampled, judge.resampling.level)?;
    run.report.metric(&format!("energy_spearman_{stage}"), correlation);
    run.report.metric(&format!("energy_drop_spearman_{stage}"), drop_correlation);
    run.report.metric(&format!("energy_word_initial_{stage}"), difference(&all));
    if judged && run.report.has_gate("energy_spearman") {
        run.report.judge("energy_spearman", correlation, Some((ci.low, ci.high)))?;
        run.report.judge("energy_word_initial", words.low, Some((words.low, words.high)))?;
    }
    run.report.note(&format!(
        "Energy against difficulty, {}: rank correlation of final energy and surprise {correlation:.3} [{:.3}, {:.3}], of the energy's fall from the start and surprise {drop_correlation:.3}; mean energy of first letters less that of letters inside words {:.3} [{:.3}, {:.3}].",
        stage.to_uppercase(), ci.low, ci.high, difference(&all), words.low, words.high,
    ));
    Ok(())
}

/// Gains on text of other kinds, against how far from the training text it is.
fn out_of_distribution(
    judge: &Judge<'_>,
    data: &Data,
    models: &Models<'_>,
    (s1, s2, policy): (&Predictor<'_>, &Predictor<'_>, &PolicySection),
    run: &mut Run,
) -> anyhow::Result<()> {
    let config = judge.config;
    let n = config.eval.n_outlier_windows;
    if n == 0 {
        return Ok(());
    }
    let mut table = Vec::new();
    let mut points = Vec::new();
    let mut own = None;
    let judged = ("in distribution", &data.judged);
    for (name, windows) in std::iter::once(judged).chain(data.outliers.iter().map(|(n, w)| (*n, w))) {
        let windows = evenly(windows, n, run.device())?;
        let first = s1.descend(&windows, config.s1.predict_steps)?;
        let second = s2.descend(&windows, policy.predict_steps)?;
        let verified = s2.verify(&windows, policy.predict_steps, config.eval.n_candidates)?;
        let one = bits(&second.nats[0]);
        let (longer, chosen) = (bits(&second.nats[policy.predict_steps - 1]), bits(&verified.chosen));
        let control = models.transformer.map(|t| predict::baseline(t, &windows, config.eval.batch_size));
        let control = control.transpose()?.map_or(f64::NAN, |nats| bits(&nats));
        let shift = longer / *own.get_or_insert(longer);
        let gain = 100.0 * (one - chosen) / one;
        points.push((shift, gain));
        let numbers =
            [control, bits(&first.nats[config.s1.predict_steps - 1]), one, longer, chosen, shift, gain];
        let key = name.to_lowercase().replace([' ', '-'], "_");
        run.report.metric(&format!("ood_bits_s2_{key}"), longer);
        run.report.metric(&format!("ood_gain_{key}"), gain);
        let numbers = numbers.iter().map(|x| if x.is_nan() { "-".into() } else { format!("{x:.3}") });
        table.push(std::iter::once(name.to_owned()).chain(numbers).collect());
    }
    let header = [
        "bits per byte on",
        "Transformer++",
        "S1",
        "S2, one step",
        "S2, longer",
        "S2, longer and best of several",
        "shift",
        "gain, %",
    ];
    run.report.table("Text of other kinds", &header, table);
    if let Some((slope, half)) = slope(&points) {
        run.report.metric("ood_gain_slope", slope);
        run.report.note(&format!(
            "Percent gained per unit of shift (bits on the set over bits in distribution): {slope:.2} [{:.2}, {:.2}], a straight line through {} sets.",
            slope - half, slope + half, points.len(),
        ));
    }
    figures::shift(&points, run)
}

/// Least squares slope with the half width of its 95% interval.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let n = points.len();
    if n < 3 {
        return None;
    }
    let (mx, my) = (
        mean(&points.iter().map(|p| p.0).collect::<Vec<_>>()),
        mean(&points.iter().map(|p| p.1).collect::<Vec<_>>()),
    );
    let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / sxx;
    let rest: f64 = points.iter().map(|p| (p.1 - my - slope * (p.0 - mx)).powi(2)).sum();
    let df = (n - 2) as u64;
    Some((slope, t_quantile(0.975, df).ok()? * (rest / df as f64 / sxx).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_has_its_slope() {
        let (found, half) = slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]).unwrap();
        assert!((found - 2.0).abs() < 1e-12 && half < 1e-6);
        assert!(slope(&[(0.0, 1.0), (1.0, 2.0)]).is_none());
    }

    #[test]
    fn words_begin_after_what_is_no_letter() {
        let text: Vec<i64> = b" an E".iter().map(|b| i64::from(*b)).collect();
        let places = word_places(&Tensor::from_slice(&text).view([1, 5])).unwrap();
        assert_eq!(places, [Some(true), Some(false), None, Some(true)]);
    }
}
