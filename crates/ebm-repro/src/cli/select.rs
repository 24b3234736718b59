//! Which experiments to run, with their presets read, changed and checked.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use tch::Device;

use super::Reproduce;
use crate::experiment::{Experiment, Plan, Registry};
use crate::preset::{Kind, Preset, PresetSource};
use crate::run::folder::file_sha256;
use crate::run::{self, device, machine};
use crate::usage::usage;

/// One experiment, ready to run.
pub struct Job {
    pub experiment: &'static dyn Experiment,
    pub preset: Preset,
    pub plan: Plan,
    pub device: Device,
    pub out: PathBuf,
    pub data_dir: PathBuf,
    pub weights: Option<(PathBuf, String)>,
}

/// Reads and checks everything that the arguments name.
pub fn select(args: &Reproduce, registry: &Registry) -> anyhow::Result<Vec<Job>> {
    let device = device::parse(&args.device)?;
    if args.seed.checked_add(args.seeds).is_none() {
        return Err(usage(format!(
            "--seed {} --seeds {}: the last seed is too large",
            args.seed, args.seeds
        )));
    }
    let names = names(args, registry)?;
    if names.len() > 1 && args.weights.is_some() {
        return Err(usage("--weights: name the one experiment that they belong to"));
    }
    let weights = match &args.weights {
        Some(path) => Some((path.clone(), file_sha256(path)?)),
        None => None,
    };
    let job = |name: &String| {
        let mut preset = read_preset(name, args.preset, registry)?;
        let feature = preset.info().feature.clone();
        let experiment = registry.experiment(name).ok_or_else(|| {
            usage(format!(
                "{name}: this program was built without its feature `{feature}`; type: cargo xtask reproduce {name}"
            ))
        })?;
        if args.smoke {
            preset.apply_smoke()?;
        }
        args.set.iter().try_for_each(|argument| preset.set(argument))?;
        // What the types refuse is the user's mistake, whatever kind of error it is.
        let plan = experiment.plan(&preset).map_err(|e| usage(format!("{name}: {e:#}")))?;
        let data_dir = machine::data_dir();
        if !args.smoke && !args.dry_run {
            check_data(&preset, &data_dir)?;
        }
        let own = format!("{name}-{}-{}", args.preset, args.seed);
        let out = match &args.out {
            Some(out) if names.len() > 1 => out.join(own),
            Some(out) => out.clone(),
            None => Path::new("runs").join(own),
        };
        Ok(Job { experiment, preset, plan, device, out, data_dir, weights: weights.clone() })
    };
    names.iter().map(job).collect()
}

fn check_data(preset: &Preset, data_dir: &Path) -> anyhow::Result<()> {
    if let Some(path) = preset.data_path() {
        path.metadata().map_err(|e| usage(format!("--set data.path={}: {e}", path.display())))?;
        return Ok(());
    }
    preset.info().data.iter().try_for_each(|name| run::data_set(data_dir, name).map(drop))
}

fn names(args: &Reproduce, registry: &Registry) -> anyhow::Result<Vec<String>> {
    if args.all {
        let kind = args.preset.to_string();
        let has_preset = |name: &str| registry.presets.iter().any(|(n, k, _)| *n == name && *k == kind);
        let names: Vec<String> =
            registry.experiments.iter().map(|e| e.name().to_owned()).filter(|n| has_preset(n)).collect();
        if names.is_empty() {
            return Err(usage(format!("--all: no experiment in this program has a {kind} preset")));
        }
        return Ok(names);
    }
    if args.names.is_empty() {
        return Ok(vec![registry.quickstart.to_owned()]);
    }
    let mut names: Vec<String> = Vec::new();
    for name in &args.names {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

fn read_preset(name: &str, kind: Kind, registry: &Registry) -> anyhow::Result<Preset> {
    let of_name: Vec<&PresetSource> = registry.presets.iter().filter(|(n, ..)| *n == name).collect();
    if of_name.is_empty() {
        let mut known: Vec<&str> = registry.presets.iter().map(|(n, ..)| *n).collect();
        known.dedup();
        return Err(usage(format!("there is no experiment {name}; there are {}", known.join(", "))));
    }
    let Some((_, _, text)) = of_name.iter().find(|(_, k, _)| *k == kind.to_string()) else {
        let kinds: Vec<&str> = of_name.iter().map(|(_, k, _)| *k).collect();
        return Err(usage(format!("{name} has no {kind} preset; it has {}", kinds.join(", "))));
    };
    Ok(Preset::parse(name, kind, text)?)
}

/// The presets of the registry, for the list.
pub fn all_presets(registry: &Registry) -> anyhow::Result<Vec<Preset>> {
    let parse = |(name, kind, text): &PresetSource| {
        let kind = Kind::from_str(kind, false).ok().context("the build script lets only known kinds pass")?;
        Ok(Preset::parse(name, kind, text)?)
    };
    registry.presets.iter().map(parse).collect()
}
