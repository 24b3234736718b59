//! Rollouts of the policies over the same seeded episodes, and what the gates say of them.

use std::time::Instant;

use anyhow::Context as _;
use ebm_core::random::{Purpose, Stream};
use ebm_datasets::push::{
    ACTION, Chunk, Decision, Episode, EpisodeId, OBSERVATION, Policy, Rollouts, ScaledPolicy, Split, TA, TO,
    Variant, WALL_X, World, demonstrate, rollouts, windows,
};
use ebm_metrics::classification::auroc_interval;
use ebm_metrics::{Bootstrap, Estimate, paired_difference, wilson_interval};
use ebm_models::diffusion::{ReverseChain, ReverseRule, ReverseVariance, leading};
use ebm_models::ebt_policy::{CloningPolicy, DiffusionPolicy, EnergyPolicy};
use ebm_samplers::descent::{Descent, Steps, Stop};

use super::config::Config;
use super::figures;
use super::train::{Data, Policies};
use crate::run::Run;

/// Confidence level of Wilson's intervals.
const LEVEL: f64 = 0.95;
/// Decisions of one episode alone that are timed.
const TIMED_DECISIONS: usize = 10;

/// Episodes of the expert that no policy learned from, for the error of actions.
const HELD_OUT: u64 = 20;

/// One policy over all episodes.
pub struct Tried {
    pub name: String,
    pub normal: Vec<Episode>,
    /// The same with a shove; none where it was not asked for.
    pub shoved: Vec<Episode>,
    /// Evaluations of a decision, undisturbed.
    pub mean_evaluations: f64,
    /// Mean squared difference from the expert's actions, of those that would be executed, in its own episodes.
    action_error: f64,
    /// Milliseconds of a decision for one episode alone.
    milliseconds: f64,
    /// Multiply-accumulates of a decision.
    macs: f64,
}

fn solved(episodes: &[Episode]) -> Vec<f64> {
    episodes.iter().map(|e| f64::from(u8::from(e.solved))).collect()
}

fn success(episodes: &[Episode]) -> anyhow::Result<Estimate> {
    let n = episodes.iter().filter(|e| e.solved).count();
    Ok(wilson_interval(n, episodes.len(), LEVEL)?)
}

/// A percentage with its interval.
fn percent(e: &Estimate) -> String {
    format!("{:.1} [{:.1}, {:.1}]", 100.0 * e.value, 100.0 * e.interval.low, 100.0 * e.interval.high)
}

fn try_out(
    config: &Config,
    data: &Data,
    name: &str,
    policy: impl Policy,
    run: &Run,
) -> anyhow::Result<Tried> {
    let world = &data.world;
    let policy = &mut ScaledPolicy { policy, action_scale: data.action_scale };
    let rollout = |policy: &mut dyn Policy, shove: bool| {
        rollouts(world, policy, Rollouts { seed: run.seed(), n_episodes: config.eval.n_episodes, shove })
    };
    let normal = rollout(policy, false)?;
    // Shoves belong to the world that has gates.
    let shoved = if world.variant() == Variant::OneGap { rollout(policy, true)? } else { Vec::new() };
    if run.should_stop() {
        return Err(ebm_core::Error::stopped().into());
    }
    let all = || normal.iter().flat_map(|e| &e.decisions).map(|d| f64::from(d.n_evaluations));
    let mean_evaluations = all().sum::<f64>() / all().count().max(1) as f64;
    // One robot decides alone: that is what waits for the network.
    let history = [[normal[0].states[0].observation(); TO]];
    let begin = Instant::now();
    for call in 0..TIMED_DECISIONS {
        policy.act(&history, &[0], call)?;
    }
    let milliseconds = 1e3 * begin.elapsed().as_secs_f64() / TIMED_DECISIONS as f64;
    let action_error = HeldOut::new(config, world, run.seed())?.error(policy)?;
    let macs = config.decision_macs(mean_evaluations, name == "EBT-Policy");
    Ok(Tried { name: name.to_owned(), normal, shoved, mean_evaluations, action_error, milliseconds, macs })
}

/// Behaviour cloning with normal noise on its actions, one draw for a chunk: the dull explanation of what a policy that
/// starts from noise gains where the other repeats itself.
struct Jittered<'a> {
    policy: CloningPolicy<'a>,
    std: f64,
    seed: u64,
}

impl Policy for Jittered<'_> {
    fn act(
        &mut self,
        history: &[[[f32; OBSERVATION]; TO]],
        episodes: &[usize],
        call: usize,
    ) -> ebm_core::Result<Vec<Chunk>> {
        let mut chunks = self.policy.act(history, episodes, call)?;
        for (chunk, episode) in chunks.iter_mut().zip(episodes) {
            let index = ((call as u64) << 32) | *episode as u64;
            let mut stream = Stream::new(self.seed, Purpose::Evaluation, index);
            let noise: [f32; ACTION] = std::array::from_fn(|_| (self.std * stream.normal()) as f32);
            for action in &mut chunk.actions {
                action.iter_mut().zip(noise).for_each(|(a, noise)| *a += noise);
            }
        }
        Ok(chunks)
    }
}

/// Windows of the expert's own episodes that no policy learned from: what a policy knows before its mistakes lead it
/// elsewhere.
struct HeldOut {
    histories: Vec<[[f32; OBSERVATION]; TO]>,
    /// The actions that would be executed.
    wanted: Vec<Vec<[f32; ACTION]>>,
}

impl HeldOut {
    fn new(config: &Config, world: &World, seed: u64) -> anyhow::Result<Self> {
        let episodes = (0..HELD_OUT)
            .map(|number| EpisodeId { seed, split: Split::Evaluation, number })
            .map(|id| demonstrate(world, id, config.data.action_noise))
            .collect::<ebm_core::Result<Vec<_>>>()?;
        let windows = windows(&episodes, 1.0)?;
        let (mut histories, mut wanted) = (Vec::new(), Vec::new());
        for row in (0..windows.len()).filter_map(|i| windows.item(i)) {
            let (seen, actions) = row.split_at(TO * OBSERVATION);
            let (frames, _) = seen.as_chunks::<OBSERVATION>();
            histories.push(*frames.first_chunk::<TO>().context("a window holds the observations")?);
            wanted.push(actions.as_chunks::<ACTION>().0[TO - 1..TO - 1 + TA].to_vec());
        }
        Ok(Self { histories, wanted })
    }

    /// Mean squared difference of the executed actions from the expert's.
    fn error(&self, policy: &mut dyn Policy) -> anyhow::Result<f64> {
        let episodes: Vec<usize> = (0..self.histories.len()).collect();
        let chunks = policy.act(&self.histories, &episodes, 0)?;
        let mut sum = 0.0;
        for (chunk, wanted) in chunks.iter().zip(&self.wanted) {
            let found = chunk.actions[TO - 1..TO - 1 + TA].as_flattened();
            sum +=
                found.iter().zip(wanted.as_flattened()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
        Ok(sum / (chunks.len() * TA * ACTION) as f64)
    }

    /// Standard deviation of the executed actions over starts, from two.
    fn spread(&self, policy: &mut dyn Policy) -> anyhow::Result<f64> {
        let episodes: Vec<usize> = (0..self.histories.len()).collect();
        let first = policy.act(&self.histories, &episodes, 0)?;
        let second = policy.act(&self.histories, &episodes, 1)?;
        let executed = |c: &Chunk| c.actions[TO - 1..TO - 1 + TA].as_flattened().to_vec();
        let pairs = first.iter().flat_map(executed).zip(second.iter().flat_map(executed));
        let squares: Vec<f64> = pairs.map(|(a, b)| f64::from(a - b).powi(2)).collect();
        Ok((squares.iter().sum::<f64>() / squares.len() as f64 / 2.0).sqrt())
    }

    /// Mean square of the expert's actions: the error of a policy that stays where it is.
    fn mean_square(&self) -> f64 {
        let squares: Vec<f64> =
            self.wanted.iter().flat_map(|w| w.as_flattened()).map(|a| f64::from(a * a)).collect();
        squares.iter().sum::<f64>() / squares.len() as f64
    }
}

/// All policies in the order of the report: EBT-Policy, DDPM, the two DDIMs, cloning, and (with one gap) cloning with as
/// much noise as the starts of EBT-Policy make.
fn try_all(config: &Config, data: &Data, trained: &Policies, run: &mut Run) -> anyhow::Result<Vec<Tried>> {
    let (seed, device) = (run.seed(), run.device());
    let schedule = config.sampler.schedule.build()?;
    let n = schedule.n_steps();
    let [usual, few] = config.sampler.ddim_steps;
    let ddim = ReverseRule::Ddim { eta: 0.0 };
    let chains = [
        (format!("DDPM-{n}"), ReverseChain::ddpm(&schedule, n, ReverseVariance::Lower)?),
        (format!("DDIM-{usual}"), ReverseChain::new(&schedule, &leading(n, usual)?, ddim)?),
        (format!("DDIM-{few}"), ReverseChain::new(&schedule, &leading(n, few)?, ddim)?),
    ];
    let energy = energy_policy(config, trained, run)?;
    let mut tried = vec![try_out(config, data, "EBT-Policy", energy, run)?];
    for (name, chain) in chains {
        let bound = 1.0 / data.action_scale; // actions end at 1
        let policy = DiffusionPolicy::new(&trained.diffusion.net, chain, bound, seed, device);
        tried.push(try_out(config, data, &name, policy, run)?);
    }
    let cloning = CloningPolicy { net: &trained.cloning.net, device };
    tried.push(try_out(config, data, "cloning", cloning, run)?);
    if data.world.variant() == Variant::OneGap {
        let held_out = HeldOut::new(config, &data.world, seed)?;
        let std = held_out.spread(&mut energy_policy(config, trained, run)?)?;
        run.report.metric("action_spread", std * data.action_scale);
        let policy = CloningPolicy { net: &trained.cloning.net, device };
        tried.push(try_out(config, data, "cloning-jitter", Jittered { policy, std, seed }, run)?);
    }
    Ok(tried)
}

fn energy_policy<'a>(config: &Config, trained: &'a Policies, run: &Run) -> anyhow::Result<EnergyPolicy<'a>> {
    let (step_size, net) = (config.objective.step_size, &trained.energy.net);
    Ok(EnergyPolicy::new(net, config.prediction(), step_size, run.seed(), run.device())?)
}

/// Scores of the first decisions after a shove, and of the decisions of the same number in the same episodes without
/// one: `[energy, steps]` of both.
fn shove_scores(tried: &Tried) -> [(Vec<f64>, Vec<f64>); 2] {
    let mut scores: [(Vec<f64>, Vec<f64>); 2] = Default::default();
    for (shoved, normal) in tried.shoved.iter().zip(&tried.normal) {
        let Some(at) = shoved.decision_after_shove() else { continue };
        for (score, of) in scores
            .iter_mut()
            .zip([(|d: &Decision| d.score) as fn(&_) -> f64, |d: &Decision| f64::from(d.n_evaluations)])
        {
            score.0.push(of(&shoved.decisions[at]));
            score.1.extend(normal.decisions.get(at).map(of));
        }
    }
    scores
}

/// The gates, tables and pictures of the world with one gap.
pub fn one_gap(config: &Config, data: &Data, trained: &Policies, run: &mut Run) -> anyhow::Result<()> {
    let tried = try_all(config, data, trained, run)?;
    report_table("One gap", &tried, run)?;
    let resampling = Bootstrap { n_resamples: config.eval.n_resamples, seed: run.seed(), level: LEVEL };
    let [energy, ddpm, _, few, cloning, jitter] = &tried[..] else {
        anyhow::bail!("six policies were tried")
    };
    let own = success(&energy.normal)?;
    let ci = Some((own.interval.low, own.interval.high));
    run.report.judge_against("success", own.value, ci, success(&ddpm.normal)?.value)?;
    run.report.judge("success_alone", own.value, ci)?;
    run.report.judge("evaluations", energy.mean_evaluations, None)?;
    run.report.judge_against("success_few_steps", own.value, ci, success(&few.normal)?.value)?;
    let gain = paired_difference(&solved(&energy.shoved), &solved(&cloning.shoved), &resampling)?;
    run.report.judge("shove", gain.interval.low, Some((gain.interval.low, gain.interval.high)))?;

    let over_jitter = paired_difference(&solved(&energy.shoved), &solved(&jitter.shoved), &resampling)?;
    run.report.metric("shove_over_jitter", over_jitter.value);
    run.report.note(&format!(
        "After a shove EBT-Policy less cloning: {gain}; less cloning with as much noise as EBT-Policy's starts make: \
         {over_jitter} (paired over the episodes)."
    ));

    let mut areas = Vec::new();
    for (name, (after, before)) in ["energy", "steps"].into_iter().zip(shove_scores(energy)) {
        run.report.metric(&format!("n_decisions_after_shove_{name}"), after.len() as f64);
        if after.is_empty() || before.is_empty() {
            continue; // too few episodes: the gate stays unjudged
        }
        let area = auroc_interval(&after, &before, &resampling)?;
        run.report.metric(&format!("auroc_shoved_by_{name}"), area.value);
        if name == config.eval.signal {
            run.report.judge("auroc_shoved", area.value, Some((area.interval.low, area.interval.high)))?;
        }
        areas.push(vec![name.to_owned(), area.to_string()]);
    }
    run.report.table(
        "Area under the curve, decisions after a shove against the same without",
        &["signal", "area"],
        areas,
    );
    let macs = config.step_macs();
    for (name, macs) in ["energy", "diffusion", "cloning"].into_iter().zip(macs) {
        run.report.metric(&format!("macs_per_training_step_{name}"), macs as f64);
    }
    figures::rollouts(config, data, &tried, run)?;
    errors(config, data, trained, run)?;
    figures::energies(config, data, trained, run)
}

/// The error of actions after each number of evaluations, with no stop before.
fn errors(config: &Config, data: &Data, trained: &Policies, run: &mut Run) -> anyhow::Result<()> {
    let held_out = HeldOut::new(config, &data.world, run.seed())?;
    run.report.metric("mean_square_of_actions", held_out.mean_square());
    let (net, step_size) = (&trained.energy.net, config.objective.step_size);
    let mut points = Vec::new();
    for n in [1, 2, 3, 4, 6, 8, 10, 15, 20] {
        let descent = Descent { n_steps: Steps::Fixed(n), stop: Stop::Never, ..config.prediction() };
        let policy = EnergyPolicy::new(net, descent, step_size, run.seed(), run.device())?;
        let error = held_out.error(&mut ScaledPolicy { policy, action_scale: data.action_scale })?;
        run.report.metric(&format!("action_error_{n}_evaluations"), error);
        points.push((n as f64, error));
    }
    figures::errors(points, run)
}

/// The same policies where two ways lead to the goal: reported, not gated.
pub fn two_gaps(config: &Config, data: &Data, trained: &Policies, run: &mut Run) -> anyhow::Result<()> {
    let tried = try_all(config, data, trained, run)?;
    report_table("Two gaps", &tried, run)?;
    let stuck = |e: &&Episode| e.states.last().is_some_and(|s| s.disc[0] < WALL_X);
    for t in &tried {
        let share = t.normal.iter().filter(stuck).count() as f64 / t.normal.len() as f64;
        run.report.metric(&format!("two_gaps_share_before_the_wall_{}", t.name), share);
    }
    figures::rollouts(config, data, &tried, run)
}

fn report_table(title: &str, tried: &[Tried], run: &mut Run) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let prefix = if title == "One gap" { "" } else { "two_gaps_" };
    for (i, t) in tried.iter().enumerate() {
        let normal = success(&t.normal)?;
        let times = t.normal.iter().filter(|e| e.solved).map(|e| e.states.len() as f64 / 10.0 - 0.1);
        let n = normal.value * t.normal.len() as f64;
        let seconds = if n > 0.0 { times.sum::<f64>() / n } else { f64::NAN };
        let mut metrics = vec![
            (format!("{prefix}success"), normal.value),
            (format!("{prefix}action_error"), t.action_error),
            (format!("{prefix}mean_evaluations"), t.mean_evaluations),
            (format!("{prefix}macs_per_decision"), t.macs),
            (format!("{prefix}milliseconds_per_decision"), t.milliseconds),
        ];
        let mut shown = "-".to_owned();
        if !t.shoved.is_empty() {
            let shoved = success(&t.shoved)?;
            metrics.push((format!("{prefix}success_shoved"), shoved.value));
            shown = percent(&shoved);
        }
        if i == 0 {
            metrics.iter().for_each(|(name, value)| run.report.metric(name, *value));
        } else {
            let metrics: Vec<_> = metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            run.report.control(&t.name, &metrics);
        }
        rows.push(vec![
            t.name.clone(),
            percent(&normal),
            shown,
            format!("{:.4}", t.action_error),
            format!("{seconds:.1}"),
            format!("{:.1}", t.mean_evaluations),
            format!("{:.1}", t.macs / 1e6),
            format!("{:.1}", t.milliseconds),
        ]);
    }
    let header = [
        "policy",
        "success, %",
        "shoved, %",
        "squared error of actions",
        "seconds to success",
        "evaluations",
        "million MACs",
        "ms alone",
    ];
    run.report.table(
        &format!("{title}: success of each policy (Wilson 95%), cost of a decision"),
        &header,
        rows,
    );
    Ok(())
}
