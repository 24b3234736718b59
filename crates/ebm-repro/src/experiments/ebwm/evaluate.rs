//! What is measured of EBWM and its controls, and the gates.

use ebm_metrics::classification::auroc;
use ebm_metrics::{
    Bootstrap, Estimate, bootstrap_mean, paired_difference, spearman, spearman_interval_of_groups,
};
use ebm_models::ebwm::{Ebwm, FrameTransformer};

use super::config::{COPY, Config, TRANSFORMER};
use super::data::{self, Data};
use super::figures::{self, Shown};
use super::predictions::{Descents, Verification, copy_last, mean, one_pass};
use crate::report::number;
use crate::run::Run;

/// EBWM and its controls on one set of films.
struct Measured {
    own: Descents,
    transformer: (Vec<f32>, Vec<f64>),
    copied: Vec<f64>,
}

pub fn evaluate(
    config: &Config,
    data: &Data,
    net: &Ebwm,
    transformer: &FrameTransformer,
    run: &mut Run,
) -> anyhow::Result<()> {
    let resampling =
        Bootstrap { n_resamples: config.eval.n_resamples, seed: run.seed(), ..Bootstrap::default() };
    let device = run.device();
    let measure = |films: &ebm_datasets::Dataset, set: u64| -> anyhow::Result<Measured> {
        let films = data::tensor(films, device)?;
        Ok(Measured {
            own: Descents::run(config, net, &films, run.seed(), set)?,
            transformer: one_pass(config, transformer, &films)?,
            copied: copy_last(config, &films)?,
        })
    };
    let k = config.n_steps();
    let s = config.model.transformer.context;
    let judged = measure(&data.judged, 0)?;
    let others: Vec<(&str, Measured)> = (data.others.iter().zip(1..))
        .map(|((name, films), set)| Ok((*name, measure(films, set)?)))
        .collect::<anyhow::Result<_>>()?;
    let films = data::tensor(&data.judged, device)?;
    let verification = Verification::run(net, &films)?;
    if run.should_stop() {
        return Err(ebm_core::Error::stopped().into());
    }

    let loss = losses(&judged, k, s, &resampling, run)?;
    let fell: Vec<f64> = by_film(&judged.own.energies[0], s, |film| {
        film.clone().filter(|&at| judged.own.energies[k][at] < judged.own.energies[0][at]).count() as f64
            / s as f64
    });
    let fell = bootstrap_mean(&fell, &resampling)?;
    let preferred = bootstrap_mean(&verification.preferred, &resampling)?;
    let (energies, errors) = (&judged.own.energies[k], &judged.own.errors[k]);
    let follows = spearman_interval_of_groups(energies, errors, s, &resampling)?;
    // The first position cannot know the velocity, the others can: that alone correlates, so the rest is shown too.
    let later: Vec<usize> = (0..errors.len()).filter(|at| at % s > 0).collect();
    let pick = |x: &[f64]| -> Vec<f64> { later.iter().map(|&at| x[at]).collect() };
    let follows_later = (s > 1)
        .then(|| spearman_interval_of_groups(&pick(energies), &pick(errors), s - 1, &resampling))
        .transpose()?;

    let report = &mut run.report;
    report.judge_against("loss_transformer", loss.own.value, ends(&loss.own), loss.transformer)?;
    report.judge_against("loss_copy", loss.own.value, ends(&loss.own), loss.copied)?;
    report.judge("energy_falls", fell.value, ends(&fell))?;
    report.judge("auc_true_next", preferred.value, ends(&preferred))?;
    report.judge("energy_follows_error", follows.interval.low, ends(&follows))?;
    let pooled = auroc(&negated(&verification.true_next), &negated(&verification.others))?;
    report.metric("auc_true_next", preferred.value);
    report.metric("auc_true_next_pooled", pooled);
    report.metric("energy_falls", fell.value);
    report.metric("spearman_energy_error", follows.value);
    if let Some(pictures) = &data.pictures {
        report.metric("variance_kept", pictures.frames.kept());
    }

    let mut rows = vec![
        vec!["energy falls over the descent".to_owned(), fell.to_string()],
        vec!["true next frame below another of the film, at the same position".into(), preferred.to_string()],
        vec!["the same over all positions pooled".into(), number(pooled)],
        vec!["Spearman of final energy and final error".into(), follows.to_string()],
    ];
    if let Some(later) = &follows_later {
        report.metric("spearman_energy_error_later", later.value);
        rows.push(vec!["the same without the first position".into(), later.to_string()]);
    }
    // Energies have no common zero across positions: the same within each, and of what the descent gained.
    let within: Vec<f64> = (0..s)
        .map(|position| {
            let at = |x: &[f64]| -> Vec<f64> { x.iter().skip(position).step_by(s).copied().collect() };
            spearman(&at(energies), &at(errors))
        })
        .collect::<ebm_core::Result<_>>()?;
    let drop: Vec<f64> =
        judged.own.energies[0].iter().zip(energies).map(|(first, last)| first - last).collect();
    let of_drop = spearman_interval_of_groups(&drop, errors, s, &resampling)?;
    report.metric("spearman_within_position", mean(&within));
    report.metric("spearman_drop_error", of_drop.value);
    rows.push(vec!["the same within a position, mean over positions".into(), number(mean(&within))]);
    rows.push(vec!["Spearman of the energy's fall and final error".into(), of_drop.to_string()]);
    report.table("What the energy knows (95% intervals over films)", &["", "EBWM"], rows);

    thinking(config, &judged.own, &resampling, run)?;
    other_kinds(&judged, &others, k, s, run)?;
    costs(config, &loss, run);
    let shown =
        Shown { judged: &judged.own, transformer: &judged.transformer.0, verification: &verification };
    figures::draw(config, data, &shown, run)
}

/// Mean losses on the judged films.
struct Losses {
    own: Estimate,
    transformer: f64,
    copied: f64,
}

fn losses(
    judged: &Measured,
    k: usize,
    s: usize,
    resampling: &Bootstrap,
    run: &mut Run,
) -> anyhow::Result<Losses> {
    let film_means = |errors: &[f64]| by_film(errors, s, |film| mean(&errors[film.clone()]));
    let own = film_means(&judged.own.errors[k]);
    let transformer = film_means(&judged.transformer.1);
    let copied = film_means(&judged.copied);
    let all = [&own, &transformer, &copied].map(|x| bootstrap_mean(x, resampling));
    let [own_loss, transformer_loss, copied_loss] = all;
    let (own_loss, transformer_loss, copied_loss) = (own_loss?, transformer_loss?, copied_loss?);
    let difference = paired_difference(&own, &transformer, resampling)?;
    run.report.metric("loss", own_loss.value);
    run.report.metric("loss_minus_transformer", difference.value);
    run.report.control(TRANSFORMER, &[("loss", transformer_loss.value)]);
    run.report.control(COPY, &[("loss", copied_loss.value)]);
    run.report.table(
        "Smooth-L1 of the next frame (95% intervals over films)",
        &["", "loss"],
        vec![
            vec![format!("EBWM, {k} steps"), own_loss.to_string()],
            vec!["transformer, the same blocks".into(), transformer_loss.to_string()],
            vec!["copy of the last frame".into(), copied_loss.to_string()],
            vec!["EBWM less transformer, paired".into(), difference.to_string()],
        ],
    );
    Ok(Losses { own: own_loss, transformer: transformer_loss.value, copied: copied_loss.value })
}

/// More steps than in training.
fn thinking(config: &Config, own: &Descents, resampling: &Bootstrap, run: &mut Run) -> anyhow::Result<()> {
    let (k, s) = (config.n_steps(), config.model.transformer.context);
    let trained = by_film(&own.errors[k], s, |film| mean(&own.errors[k][film.clone()]));
    let mut rows = Vec::new();
    for steps in 0..=config.eval.most_steps {
        let losses = by_film(&own.errors[steps], s, |film| mean(&own.errors[steps][film.clone()]));
        let difference = paired_difference(&losses, &trained, resampling)?;
        run.report.metric(&format!("loss_after_{steps}_steps"), own.loss(steps));
        rows.push(vec![
            steps.to_string(),
            number(own.loss(steps)),
            difference.to_string(),
            number(mean(&own.energies[steps])),
            config.model.prediction_macs(steps).to_string(),
        ]);
    }
    let header = ["steps", "loss", "less that of training's steps, paired", "mean energy", "MACs a film"];
    run.report.table("Thinking longer (not gated)", &header, rows);
    Ok(())
}

/// Films of another kind: losses of all, and whether the energy is higher there.
fn other_kinds(
    judged: &Measured,
    others: &[(&str, Measured)],
    k: usize,
    s: usize,
    run: &mut Run,
) -> anyhow::Result<()> {
    let film_energies =
        |m: &Measured| by_film(&m.own.energies[k], s, |film| mean(&m.own.energies[k][film.clone()]));
    let usual = film_energies(judged);
    let mut rows = Vec::new();
    for (name, other) in others {
        let area = auroc(&film_energies(other), &usual)?;
        let all = [other.own.loss(k), mean(&other.transformer.1), mean(&other.copied)];
        let loss = format!("loss_{name}");
        run.report.metric(&loss, all[0]);
        run.report.metric(&format!("auroc_{name}"), area);
        run.report.control(TRANSFORMER, &[(loss.as_str(), all[1])]);
        run.report.control(COPY, &[(loss.as_str(), all[2])]);
        let mut row = vec![(*name).to_owned()];
        row.extend(all.iter().chain([&mean(&other.own.energies[k]), &area]).map(|v| number(*v)));
        rows.push(row);
    }
    let header =
        ["films", "EBWM", "transformer", "copy", "mean energy of EBWM", "AUROC of a film's mean energy"];
    run.report.table("Films of another kind (not gated)", &header, rows);
    Ok(())
}

/// Multiply-accumulates; seconds stand in the curves.
fn costs(config: &Config, loss: &Losses, run: &mut Run) {
    let transformer = config.transformer();
    let (own, control) = config.step_macs();
    let k = config.n_steps();
    run.report.metric("parameters", config.model.n_parameters() as f64);
    run.report.metric("training_macs", (own * config.trainer.n_steps) as f64);
    run.report.metric("training_macs_ratio", own as f64 / control as f64);
    run.report.control(
        TRANSFORMER,
        &[
            ("parameters", transformer.n_parameters() as f64),
            ("training_macs", (control * config.trainer.n_steps) as f64),
        ],
    );
    let row = |name: &str, parameters: u64, training: u64, prediction: u64, loss: f64| {
        vec![
            name.to_owned(),
            parameters.to_string(),
            training.to_string(),
            prediction.to_string(),
            number(loss),
        ]
    };
    run.report.table(
        "Cost, counted from the sizes",
        &["", "parameters", "MACs of a training step", "MACs of a film's predictions", "loss"],
        vec![
            row("EBWM", config.model.n_parameters(), own, config.model.prediction_macs(k), loss.own.value),
            row(
                "transformer",
                transformer.n_parameters(),
                control,
                transformer.prediction_macs(),
                loss.transformer,
            ),
        ],
    );
}

/// `f` of each film's range of places, over numbers that run film by film.
fn by_film(numbers: &[f64], s: usize, f: impl Fn(std::ops::Range<usize>) -> f64) -> Vec<f64> {
    (0..numbers.len() / s).map(|film| f(film * s..(film + 1) * s)).collect()
}

fn negated(x: &[f64]) -> Vec<f64> {
    x.iter().map(|v| -v).collect()
}

fn ends(estimate: &Estimate) -> Option<(f64, f64)> {
    Some((estimate.interval.low, estimate.interval.high))
}
