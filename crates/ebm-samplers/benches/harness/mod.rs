//! What the bench programs share: what `cargo xtask bench` asks for, the cases, medians of alternating runs.

use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;
use serde::Serialize;

pub mod program;

/// One line of `bench.json`. `ratio` above 1 always means that ours is better.
#[derive(Serialize)]
struct Case {
    suite: &'static str,
    case: String,
    unit: &'static str,
    better: &'static str,
    ours: f64,
    rival: Option<f64>,
    rival_name: Option<&'static str>,
    rival_version: Option<&'static str>,
    ratio: Option<f64>,
    runs: usize,
    spread: f64,
    note: String,
}

/// What a run of a contender yields, in this order, one number each.
pub struct Figure {
    pub case: String,
    pub unit: &'static str,
    /// "higher" or "lower".
    pub better: &'static str,
    pub note: String,
}

impl Figure {
    pub fn higher(case: impl Into<String>, unit: &'static str, note: &str) -> Self {
        Self { case: case.into(), unit, better: "higher", note: note.into() }
    }

    pub fn lower(case: impl Into<String>, unit: &'static str, note: &str) -> Self {
        Self { case: case.into(), unit, better: "lower", note: note.into() }
    }
}

/// The figures of one run, whose number (from 0) may serve as a seed, NaN where a rival has none; or why there are none
/// at all.
pub type Contender<'a> = Box<dyn FnMut(u64) -> Result<Vec<f64>, String> + 'a>;

/// Someone else's way to do the same work.
pub struct Rival<'a> {
    pub name: &'static str,
    pub version: &'static str,
    /// What is unfair, to whom, or else worth knowing.
    pub note: String,
    pub run: Contender<'a>,
}

impl<'a> Rival<'a> {
    /// A loop in this repository.
    pub fn by_hand(run: impl FnMut(u64) -> Vec<f64> + 'a) -> Self {
        Self::in_process("hand-written", "this commit", run)
    }

    /// A crate linked into the bench.
    pub fn in_process(
        name: &'static str,
        version: &'static str,
        mut run: impl FnMut(u64) -> Vec<f64> + 'a,
    ) -> Self {
        Self { name, version, note: String::new(), run: Box::new(move |i| Ok(run(i))) }
    }

    /// One that cannot run here.
    pub fn missing(name: &'static str, version: &'static str, why: &str) -> Self {
        let why = why.to_owned();
        Self { name, version, note: String::new(), run: Box::new(move |_| Err(why.clone())) }
    }

    pub fn note(mut self, note: &str) -> Self {
        self.note = note.into();
        self
    }
}

/// Between two contenders: threads that wait for work spin before they sleep, on the cores that the next one needs.
const REST: Duration = Duration::from_millis(100);

/// A suite under way.
pub struct Bench {
    suite: &'static str,
    /// Only prove that everything runs.
    pub smoke: bool,
    /// Run the rivals too.
    pub rivals: bool,
    pub threads: usize,
    runs: u64,
    cases: Vec<Case>,
}

impl Bench {
    /// As the environment says; `None` when `cargo test` only wants to see that the program starts.
    pub fn from_environment(suite: &'static str) -> Option<Self> {
        if std::env::args().any(|a| a == "--test") {
            return None;
        }
        let variable = |name: &str| std::env::var(name).ok();
        let threads = variable("EBM_BENCH_THREADS").and_then(|v| v.parse().ok()).unwrap_or(2);
        ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
        let set = |name| variable(name).is_some();
        Some(Self {
            suite,
            smoke: set("EBM_BENCH_SMOKE"),
            rivals: set("EBM_BENCH_RIVALS"),
            threads,
            runs: 7,
            cases: Vec::new(),
        })
    }

    /// Leave the cases where `cargo xtask bench` looks for them.
    pub fn finish(self) {
        if let Ok(path) = std::env::var("EBM_BENCH_OUT") {
            std::fs::write(path, serde_json::to_string_pretty(&self.cases).unwrap()).unwrap();
        }
    }

    /// Run ours and the rivals in turn, and keep the median of each figure: one case per figure and rival.
    ///
    /// The first round warms caches and threads up and is not counted.
    pub fn compare(&mut self, figures: &[Figure], ours: impl FnMut(u64) -> Vec<f64>, rivals: Vec<Rival>) {
        let runs = if self.smoke { 1 } else { self.runs };
        self.rounds(u64::from(self.smoke)..=runs, figures, ours, rivals);
    }

    /// [`Bench::compare`] for what takes minutes: `runs` rounds, the first counted too.
    pub fn compare_long(
        &mut self,
        runs: u64,
        figures: &[Figure],
        ours: impl FnMut(u64) -> Vec<f64>,
        rivals: Vec<Rival>,
    ) {
        self.rounds(1..=if self.smoke { 1 } else { runs }, figures, ours, rivals);
    }

    /// Round 0 is not counted.
    fn rounds(
        &mut self,
        rounds: RangeInclusive<u64>,
        figures: &[Figure],
        mut ours: impl FnMut(u64) -> Vec<f64>,
        mut rivals: Vec<Rival>,
    ) {
        let rest = if self.smoke || rivals.is_empty() { Duration::ZERO } else { REST };
        let mut own: Vec<Vec<f64>> = Vec::new();
        let mut others: Vec<Result<Vec<Vec<f64>>, String>> = rivals.iter().map(|_| Ok(Vec::new())).collect();
        for round in rounds {
            let counts = round > 0;
            sleep(rest);
            let result = ours(round);
            if counts {
                own.push(result);
            }
            for (rival, results) in rivals.iter_mut().zip(&mut others) {
                let Ok(kept) = results else { continue };
                sleep(rest);
                match (rival.run)(round) {
                    Ok(result) if counts => kept.push(result),
                    Ok(_) => {}
                    Err(error) => *results = Err(error),
                }
            }
        }
        for (rival, results) in rivals.iter().zip(&others) {
            if let Err(error) = results {
                eprintln!("{} {}: {error}", rival.name, rival.version);
            }
        }
        for (k, figure) in figures.iter().enumerate() {
            if rivals.is_empty() {
                self.push(figure, column(&own, k), None);
            }
            for (rival, results) in rivals.iter().zip(&others) {
                let theirs = results.as_ref().map(|r| median(column(r, k))).ok();
                if theirs.is_some_and(f64::is_nan) {
                    continue;
                }
                self.push(figure, column(&own, k), Some((rival, theirs)));
            }
        }
    }

    fn push(&mut self, figure: &Figure, own: Vec<f64>, rival: Option<(&Rival, Option<f64>)>) {
        let ours = median(own.clone());
        let highest = own.iter().copied().fold(f64::MIN, f64::max);
        let lowest = own.iter().copied().fold(f64::MAX, f64::min);
        let theirs = rival.and_then(|(_, theirs)| theirs);
        let ratio =
            theirs.map(|theirs| if figure.better == "higher" { ours / theirs } else { theirs / ours });
        let notes = [figure.note.as_str(), rival.map_or("", |(rival, _)| rival.note.as_str())];
        let name = rival.map(|(rival, _)| rival.name);
        eprintln!(
            "{:<52} {ours:>11.4e} {:<22} {} {}",
            figure.case,
            figure.unit,
            name.unwrap_or("-"),
            ratio.map_or("-".into(), |r| format!("{r:.3}"))
        );
        self.cases.push(Case {
            suite: self.suite,
            case: figure.case.clone(),
            unit: figure.unit,
            better: figure.better,
            ours,
            rival: theirs,
            rival_name: name,
            rival_version: rival.map(|(rival, _)| rival.version),
            ratio,
            runs: own.len(),
            spread: (highest - lowest) / ours,
            note: notes.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>().join("; "),
        });
    }
}

fn column(rows: &[Vec<f64>], k: usize) -> Vec<f64> {
    rows.iter().map(|row| row[k]).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that `work` takes.
pub fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    drop(result);
    seconds
}
