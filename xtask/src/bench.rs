//! `cargo xtask bench`: runs the suites' programs and gathers their cases in `target/bench/bench.json`, and as a
//! table in `bench.md` beside it.
//!
//! A suite is a bench target with a `main` of its own. It learns what to do from the environment:
//! `EBM_BENCH_OUT` is the file for its JSON array of cases; `EBM_BENCH_THREADS` and `EBM_BENCH_DEVICE` are always
//! set; `EBM_BENCH_SMOKE=1` means that it shall only prove that everything runs, `EBM_BENCH_RIVALS=1` that the
//! rivals run too. Then `EBM_BENCH_PYTHON_<NAME>` is the Python of each of the suite's environments that could be
//! installed: the suite itself never reaches the network.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{Cargo, run as run_cargo};
use crate::fail::{Passed, bad};
use crate::features;
use crate::metadata::Metadata;
use crate::nearest::nearest;
use crate::paths::Project;
use crate::rivals::Environment;
use crate::setup;

/// One suite: a bench target, whose name is its own in the whole workspace.
struct Suite {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    /// The rivals' Python environments, by name.
    environments: &'static [&'static str],
    /// Features, built on demand, that hold rivals.
    rivals_features: &'static [&'static str],
}

/// A new suite is one entry here.
const SUITES: &[Suite] = &[
    Suite { name: "core", package: "ebm-samplers", target: "core", environments: &[], rivals_features: &[] },
    Suite {
        name: "ebt",
        package: "ebm-models",
        target: "ebt",
        environments: &["torchebm"],
        rivals_features: &[],
    },
    Suite {
        name: "lattice",
        package: "ebm-samplers",
        target: "lattice",
        environments: &[],
        rivals_features: &[],
    },
    Suite {
        name: "samplers",
        package: "ebm-samplers",
        target: "samplers",
        environments: &["torchebm", "jax", "nutpie"],
        rivals_features: &["ebm-samplers/nuts-rs"],
    },
];

/// A rival could not be installed, or not run.
const NO_RIVAL: u8 = 4;

/// Run the bench suites and write their cases to target/bench/bench.json and bench.md
///
/// `ratio` above 1 always means that ours is better. With --rivals, the rivals' Python packages are installed into
/// $EBM_CACHE/rivals on first use (for `samplers` about 3 GB). Exit code 4: a rival could not be installed or run.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask bench core\n  cargo xtask bench core --rivals --threads 2 --out bench.json"
)]
pub struct Args {
    /// Suites, by name; without a name: all of them
    suites: Vec<String>,
    /// Also run the rivals, on the same work, in turn with ours
    #[arg(long)]
    rivals: bool,
    /// Only prove that each runs (seconds, no figures worth reading)
    #[arg(long)]
    smoke: bool,
    /// cpu, or cuda:0
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Where the figures go [default: target/bench/bench.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    let suites = chosen(&args.suites)?;
    let metadata = Metadata::of_workspace(project)?;
    for suite in &suites {
        let there =
            metadata.package(suite.package).is_some_and(|p| p.targets_of("bench").any(|t| t == suite.target));
        if !there {
            bail!(
                "the suite `{}` is to be the bench target `{}` of {}, which has none",
                suite.name,
                suite.target,
                suite.package
            );
        }
    }
    let libtorch = setup::ensure(project)?;
    let cargo = Cargo::new(project, &libtorch);
    let threads = args.threads.map_or_else(cores, usize::from);
    let folder = metadata.target_directory.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let pythons = if args.rivals { pythons(project, &suites)? } else { Vec::new() };
    let mut cases = Vec::new();
    for suite in suites {
        let file = folder.join(format!("suite-{}.json", suite.name));
        let _ = fs::remove_file(&file);
        // With the features of the whole workspace, so that LibTorch's bindings need not be built once more: in
        // smoke mode they are those of `test`, otherwise those of `reproduce`.
        let mut features = vec![features::usual(&metadata)];
        if args.rivals {
            features.extend(suite.rivals_features.iter().map(|feature| (*feature).to_owned()));
        }
        let features = features.join(",");
        let mut arguments = vec!["bench", "--workspace", "--features", &features, "--bench", suite.target];
        if args.smoke {
            arguments.extend(["--profile", "dev"]);
        }
        let mut command = cargo.command(&arguments);
        command.env("EBM_BENCH_OUT", &file);
        command.env("EBM_BENCH_THREADS", threads.to_string()).env("EBM_BENCH_DEVICE", &args.device);
        for (name, set) in [("EBM_BENCH_SMOKE", args.smoke), ("EBM_BENCH_RIVALS", args.rivals)] {
            if set {
                command.env(name, "1");
            } else {
                command.env_remove(name);
            }
        }
        for name in suite.environments {
            let environment = Environment::find(name)?;
            match pythons.iter().find(|(have, _)| have == name) {
                Some((_, python)) => command.env(environment.variable(), python),
                None => command.env_remove(environment.variable()),
            };
        }
        run_cargo(&mut command)?;
        cases.extend(read_cases(&file)?);
    }

    // A smoke run never replaces figures that somebody measured.
    let name = if args.smoke { "smoke.json" } else { "bench.json" };
    let out = args.out.clone().unwrap_or_else(|| folder.join(name));
    let report = json!({
        "schema": 1, "machine": machine(), "threads": threads, "device": args.device, "cases": cases,
    });
    let table = table(&cases);
    let page = out.with_extension("md");
    for (file, text) in [(&out, serde_json::to_string_pretty(&report)? + "\n"), (&page, table.clone())] {
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print!("{table}");
    eprintln!("Wrote {} and {}", out.display(), page.display());
    if args.rivals && cases.iter().any(rival_missing) {
        let passed = Passed { what: "bench --rivals".to_owned(), code: NO_RIVAL };
        return Err(anyhow::Error::from(passed).context("a rival could not be installed or run: see above"));
    }
    Ok(())
}

/// The Pythons of the environments that the suites name, installed where missing. What cannot be installed is left
/// out with a word on why.
fn pythons(project: &Project, suites: &[&Suite]) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut names: Vec<&str> = suites.iter().flat_map(|suite| suite.environments).copied().collect();
    names.sort_unstable();
    names.dedup();
    let mut pythons = Vec::new();
    for name in names {
        let environment = Environment::find(name)?;
        match environment.ensure(&project.cache) {
            Ok(python) => pythons.push((name, python)),
            Err(error) => eprintln!("{name} {} is left out: {error:#}", environment.version),
        }
    }
    Ok(pythons)
}

/// `bench --smoke`; for `ci`.
pub fn smoke_all(project: &Project) -> Result<()> {
    let args = Args {
        suites: Vec::new(),
        rivals: false,
        smoke: true,
        device: "cpu".to_owned(),
        threads: None,
        out: None,
    };
    run(project, &args)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Suite>> {
    if names.is_empty() {
        return Ok(SUITES.iter().collect());
    }
    let find = |name: &String| {
        SUITES.iter().find(|suite| suite.name == *name).ok_or_else(|| {
            let all: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
            let hint = nearest(name, all.iter().copied()).map(|near| format!("did you mean `{near}`? "));
            bad(format!(
                "no suite is called `{name}`; {}there is: {}",
                hint.unwrap_or_default(),
                all.join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}

fn read_cases(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("the suite left no figures in {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a JSON array of cases", file.display()))
}

/// A case with a rival's name, but no figure of it.
fn rival_missing(case: &Value) -> bool {
    case["rival_name"].is_string() && case["rival"].is_null()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor's name and its number of cores.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    format!("{}, {} cores, {}", model.unwrap_or(std::env::consts::ARCH).trim(), cores(), std::env::consts::OS)
}

/// The cases as a Markdown table.
fn table(cases: &[Value]) -> String {
    let mut text = String::from(
        "| suite | case | unit | ours | rival | rival's name | ratio | spread | note |\n|---|---|---|---:|---:|---|---:|---:|---|\n",
    );
    for case in cases {
        let word = |key: &str| case[key].as_str().unwrap_or("").to_owned();
        let number = |key: &str| case[key].as_f64().map_or("-".to_owned(), significant);
        let rival = format!("{} {}", word("rival_name"), word("rival_version"));
        text += &format!(
            "| {} | {} | {} ({} is better) | {} | {} | {} | {} | {} | {} |\n",
            word("suite"),
            word("case"),
            word("unit"),
            word("better"),
            number("ours"),
            number("rival"),
            rival.trim(),
            number("ratio"),
            number("spread"),
            word("note")
        );
    }
    text
}

/// Four significant digits, without an exponent where it reads well.
fn significant(x: f64) -> String {
    let magnitude = x.abs();
    if x == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&magnitude) {
        return format!("{x:.3e}");
    }
    let before = magnitude.log10().floor() as i32 + 1;
    let decimals = usize::try_from(4 - before).unwrap_or(0);
    format!("{x:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), SUITES.len());
        assert_eq!(chosen(&["core".to_owned()]).unwrap()[0].package, "ebm-samplers");
        for name in SUITES.iter().flat_map(|suite| suite.environments) {
            assert!(Environment::find(name).is_ok(), "{name}");
        }
        let error = chosen(&["cor".to_owned()]).err().unwrap();
        assert!(error.to_string().contains("did you mean `core`"), "{error}");
    }

    #[test]
    fn figures() {
        assert_eq!(significant(0.98765), "0.9877");
        assert_eq!(significant(123.456), "123.5");
        assert_eq!(significant(54321.0), "54321");
        assert_eq!(significant(3.5e8), "3.500e8");
        assert_eq!(significant(0.0), "0");
    }

    #[test]
    fn a_table_of_cases() {
        let with = json!({"suite": "core", "case": "ula", "unit": "updates/s", "better": "higher", "ours": 3.5e8,
            "rival": 3.4e8, "rival_name": "hand-written", "rival_version": "", "ratio": 1.03, "runs": 9, "spread": 0.01, "note": ""});
        let without = json!({"suite": "core", "case": "hmc", "unit": "s", "better": "lower", "ours": 1.0,
            "rival": null, "rival_name": "other", "rival_version": "1.0", "ratio": null});
        assert!(!rival_missing(&with) && rival_missing(&without));
        let text = table(&[with, without]);
        assert!(text.contains("| core | ula | updates/s (higher is better) | 3.500e8 | 3.400e8 | hand-written | 1.030 | 0.01000 |"), "{text}");
        assert!(text.contains("| hmc | s (lower is better) | 1.000 | - | other 1.0 | - | - |"), "{text}");
    }

    #[test]
    fn a_suite_that_left_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("core.json");
        assert!(read_cases(&file).unwrap_err().to_string().contains("left no figures"));
        fs::write(&file, "{}").unwrap();
        assert!(read_cases(&file).unwrap_err().to_string().contains("JSON array"));
        fs::write(&file, "[{}]").unwrap();
        assert_eq!(read_cases(&file).unwrap().len(), 1);
    }
}
