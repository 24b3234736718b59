//! One report over several seeds: means, t intervals, and the gates by their scope.

use std::collections::BTreeMap;

use super::schema::{Control, GateResult, ReportFile, finite};
use crate::experiment::Status;
use crate::gate::{GateSpec, Scope};

/// Combines the reports of one experiment's seeds (at least one) under the preset's gates.
///
/// A gate's `value` is the mean over seeds (or, for `unfavourable_end`, the bad end of the t interval), its `ci`
/// the t interval. One seed without a value makes it null.
pub fn combine(runs: &[ReportFile], gates: &[GateSpec]) -> ReportFile {
    let mut report = runs[0].clone();
    report.seeds = runs.iter().map(|r| r.seed).collect();
    report.status = status(runs);
    report.gates = gates.iter().map(|spec| gate(spec, runs, report.status)).collect();
    report.metrics = means(runs.iter().map(|r| &r.metrics));
    report.controls = controls(runs);
    report.events = runs
        .iter()
        .flat_map(|r| r.events.iter().map(|e| super::Event { seed: Some(r.seed), ..e.clone() }))
        .collect();
    report.wall_s = runs.iter().map(|r| r.wall_s).sum();
    report.peak_rss_bytes = runs.iter().map(|r| r.peak_rss_bytes).max().unwrap_or(0);
    report
}

fn status(runs: &[ReportFile]) -> Status {
    let any = |s| runs.iter().any(|r| r.status == s);
    [Status::Interrupted, Status::Diverged, Status::Smoke]
        .into_iter()
        .find(|s| any(*s))
        .unwrap_or(Status::Complete)
}

fn gate(spec: &GateSpec, runs: &[ReportFile], status: Status) -> GateResult {
    let each: Vec<Option<&GateResult>> =
        runs.iter().map(|r| r.gates.iter().find(|g| g.name == spec.name)).collect();
    let values: Option<Vec<f64>> = each.iter().map(|g| g.and_then(|g| g.value)).collect();
    let mean = values.as_deref().and_then(mean);
    let ci = values.as_deref().and_then(|v| t_interval(v, spec.ci_level));
    let over_seeds = spec.scope == Scope::Seeds;
    let value = match ci {
        Some([low, high]) if over_seeds && spec.unfavourable_end => {
            Some(if spec.op.wants_large() { low } else { high })
        }
        _ => mean,
    };
    let thresholds: Option<Vec<f64>> = each.iter().map(|g| g.and_then(|g| g.threshold)).collect();
    // A fixed threshold stands as it is: a mean of equal numbers may differ in the last bit.
    let threshold = spec.threshold.or_else(|| thresholds.as_deref().and_then(self::mean));
    let passes: Option<Vec<bool>> = each.iter().map(|g| g.and_then(|g| g.pass)).collect();
    let was_reported = each.iter().flatten().any(|g| g.value.is_some());
    let pass = match status {
        Status::Diverged => Some(false),
        Status::Interrupted | Status::Smoke => None,
        Status::Complete if !over_seeds => {
            // Not judged in one seed and failed in another is failed.
            let failed = each.iter().flatten().any(|g| g.pass == Some(false));
            if failed { Some(false) } else { passes.map(|p| p.into_iter().all(|held| held)) }
        }
        Status::Complete if runs.len() < spec.seeds_needed || !was_reported => None,
        Status::Complete => Some(matches!((value, threshold), (Some(v), Some(t)) if spec.op.holds(v, t))),
    };
    GateResult {
        name: spec.name.clone(),
        claim: spec.claim.clone(),
        value,
        ci,
        ci_level: spec.ci_level,
        op: spec.op,
        threshold,
        scope: spec.scope,
        pass,
        control: spec.control.clone(),
    }
}

fn controls(runs: &[ReportFile]) -> Vec<Control> {
    let mut names: Vec<&str> = Vec::new();
    for control in runs.iter().flat_map(|r| &r.controls) {
        if !names.contains(&control.name.as_str()) {
            names.push(&control.name);
        }
    }
    let combined = |name: &str| {
        let of_name = runs.iter().filter_map(|r| r.controls.iter().find(|c| c.name == name));
        Control { name: name.to_owned(), metrics: means(of_name.map(|c| &c.metrics)) }
    };
    names.into_iter().map(combined).collect()
}

/// The mean of each metric over the maps; null when one lacks it.
fn means<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, Option<f64>>>) -> BTreeMap<String, Option<f64>> {
    let maps: Vec<_> = maps.collect();
    let names = maps.iter().flat_map(|m| m.keys());
    names
        .map(|name| {
            let values: Option<Vec<f64>> = maps.iter().map(|m| m.get(name).copied().flatten()).collect();
            (name.clone(), values.as_deref().and_then(mean))
        })
        .collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    finite(values.iter().sum::<f64>() / values.len() as f64)
}

fn t_interval(values: &[f64], level: f64) -> Option<[f64; 2]> {
    let estimate = ebm_metrics::t_interval(values, level).ok()?;
    Some([estimate.interval.low, estimate.interval.high])
}
