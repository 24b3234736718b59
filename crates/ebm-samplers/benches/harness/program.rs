//! A rival in a process of its own, which answers one JSON line to each JSON line (`rivals/serve.py`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{Bench, Rival};

/// A rival's program, or the knowledge that it cannot run here.
pub struct Program {
    name: &'static str,
    version: &'static str,
    process: Result<Process, String>,
}

impl Program {
    /// Start `rivals/<script>` with the Python of an environment; `None` when the bench runs without rivals.
    pub fn start(
        bench: &Bench,
        name: &'static str,
        version: &'static str,
        environment: &str,
        script: &str,
    ) -> Option<Self> {
        bench.rivals.then(|| Self { name, version, process: Process::start(bench, environment, script) })
    }

    /// Prepare a case, and make a contender of it: `figures` turns each run's answer into numbers.
    pub fn rival<'a>(
        &'a mut self,
        settings: Value,
        note: &str,
        figures: impl Fn(&Value) -> Vec<f64> + 'a,
    ) -> Rival<'a> {
        let Self { name, version, process } = self;
        let prepared = process.as_mut().map_err(|e| e.clone()).and_then(|process| {
            let answer = process.ask(&settings)?;
            Ok((process, answer["warm_up_seconds"].as_f64().unwrap_or(f64::NAN)))
        });
        match prepared {
            Ok((process, warm_up)) => Rival {
                name,
                version,
                note: join(note, &format!("compiling and first run, not counted: {warm_up:.1} s")),
                run: Box::new(move |round| {
                    process.ask(&json!({"seed": round})).map(|answer| figures(&answer))
                }),
            },
            Err(error) => Rival::missing(name, version, &error),
        }
    }
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() { b.into() } else { format!("{a}; {b}") }
}

/// Ends with its stdin.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(bench: &Bench, environment: &str, script: &str) -> Result<Self, String> {
        let python = std::env::var(format!("EBM_BENCH_PYTHON_{environment}"))
            .map_err(|_| "is not installed (`cargo xtask bench --rivals` installs it)".to_owned())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rivals").join(script);
        // Nothing of the user's own Python, and no compiled files in the checkout.
        let mut child = Command::new(python)
            .args(["-E", "-s", "-B"])
            .arg(script)
            .env("EBM_BENCH_THREADS", bench.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, input, output })
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let input = self.input.as_mut().ok_or("has ended")?;
        let mut line = String::new();
        writeln!(input, "{request}")
            .and_then(|()| input.flush())
            .and_then(|()| self.output.read_line(&mut line))
            .map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&line).map_err(|_| format!("ended at {request}"))?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
