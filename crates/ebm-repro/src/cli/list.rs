//! `--list` and `--dry-run`: what there is, and what it would take.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::json;

use super::Reproduce;
use super::select::{self, Job};
use crate::experiment::Registry;
use crate::preset::Preset;
use crate::report::number::{bytes, duration, number};

/// Writes one line per experiment.
pub fn list(args: &Reproduce, registry: &Registry, out: &mut dyn Write) -> anyhow::Result<u8> {
    let presets = select::all_presets(registry)?;
    let mut by_name: BTreeMap<&str, Vec<&Preset>> = BTreeMap::new();
    presets.iter().for_each(|p| by_name.entry(p.name()).or_default().push(p));
    if args.json {
        let rows: Vec<_> = by_name
            .iter()
            .map(|(name, presets)| {
                let info = presets[0].info();
                let minutes: BTreeMap<String, f64> =
                    presets.iter().map(|p| (p.kind().to_string(), p.info().minutes)).collect();
                json!({"name": name, "title": info.title, "paper": info.paper, "feature": info.feature,
                       "data": info.data, "minutes": minutes})
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(0);
    }
    let width = by_name.keys().map(|n| n.len()).max().unwrap_or(0);
    for (name, presets) in &by_name {
        let scales: Vec<String> =
            presets.iter().map(|p| format!("{} {} min", p.kind(), number(p.info().minutes))).collect();
        writeln!(out, "{name:width$}  {}  ({})", presets[0].info().title, scales.join(", "))?;
    }
    Ok(0)
}

/// Writes what each job would take.
pub fn dry_run(args: &Reproduce, jobs: &[Job], out: &mut dyn Write) -> anyhow::Result<u8> {
    for job in jobs {
        let (name, plan) = (job.experiment.name(), &job.plan);
        if args.json {
            let row = json!({"experiment": name, "preset": args.preset, "seeds": args.seeds, "plan": plan,
                             "out": job.out, "config": job.preset.config_json()});
            writeln!(out, "{row}")?;
            continue;
        }
        let seeds =
            if args.seeds == 1 { "one seed".to_owned() } else { format!("each of {} seeds", args.seeds) };
        writeln!(out, "{name} ({} preset), {seeds}:", args.preset)?;
        writeln!(out, "  parameters  {}", number(plan.parameters as f64))?;
        writeln!(out, "  MACs        {}", number(plan.macs as f64))?;
        writeln!(out, "  memory      {}", bytes(plan.memory_bytes))?;
        writeln!(out, "  steps       {}", plan.steps)?;
        writeln!(out, "  time        about {} on two cores", duration(plan.minutes * 60.0))?;
        writeln!(out, "  folder      {}", job.out.display())?;
    }
    Ok(0)
}
