//! `cargo xtask doctor`: what this machine has, and what to type about what is missing. Changes nothing.

use anyhow::{Result, bail};
use std::env;
use std::fmt;
use std::fs;

use crate::cargo::{config_with_target_flags, flags_of, on_path, output_of};
use crate::disk::{free_bytes, megabytes};
use crate::libtorch_toml::rpath_flag;
use crate::paths::Project;
use crate::pip::Pip;
use crate::setup::{self, Origin};
use crate::wheels::TORCH_VERSION;
use crate::{bench, data};

/// Show what was found (toolchain, LibTorch, CUDA, threads, data) and what to do about what is missing
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask doctor")]
pub struct Args {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Good,
    /// Optional, or made on demand.
    Absent,
    /// Works, but not as one may think.
    Warning,
    /// Nothing can be built like this.
    Missing,
}

/// One line of the answer.
struct Line {
    state: State,
    what: &'static str,
    found: String,
    /// What to do; empty when there is nothing to do.
    advice: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.state {
            State::Good => "ok",
            State::Absent => "-",
            State::Warning => "!",
            State::Missing => "MISSING",
        };
        write!(f, "{mark:7}  {:12} {}", self.what, self.found)?;
        if !self.advice.is_empty() {
            write!(f, "\n{:22}-> {}", "", self.advice)?;
        }
        Ok(())
    }
}

/// The command.
pub fn run(project: &Project, _: &Args) -> Result<()> {
    let mut lines = toolchain(project);
    lines.extend(libtorch(project));
    lines.extend(machine());
    lines.push(flags(project));
    lines.extend(folders(project));
    lines.extend(optional_tools());
    for line in &lines {
        println!("{line}");
    }
    let missing = lines.iter().filter(|line| line.state == State::Missing).count();
    if missing > 0 {
        bail!("not everything that is needed is here; see above");
    }
    Ok(())
}

fn good(what: &'static str, found: impl Into<String>) -> Line {
    Line { state: State::Good, what, found: found.into(), advice: String::new() }
}

fn line(state: State, what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Line {
    Line { state, what, found: found.into(), advice: advice.into() }
}

fn toolchain(project: &Project) -> Vec<Line> {
    let mut lines = Vec::new();
    let wanted = rust_version(&fs::read_to_string(project.root.join("Cargo.toml")).unwrap_or_default());
    lines.push(match output_of("rustc", &["--version"]) {
        Some(text) => {
            let found = version(&text);
            if found < wanted {
                let (major, minor) = wanted;
                line(
                    State::Missing,
                    "rustc",
                    text,
                    format!("{major}.{minor} or later is needed: rustup update stable"),
                )
            } else {
                good("rustc", text)
            }
        }
        None => line(State::Missing, "rustc", "not found", "install rustup's stable toolchain"),
    });
    for (what, program, component) in
        [("rustfmt", "cargo-fmt", "rustfmt"), ("clippy", "cargo-clippy", "clippy")]
    {
        if !on_path(program) {
            lines.push(line(
                State::Absent,
                what,
                "not found (needed by ci)",
                format!("rustup component add {component}"),
            ));
        }
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    lines.push(match output_of(&compiler, &["--version"]) {
        Some(text) => good("C++ compiler", first(text)),
        None => line(
            State::Missing,
            "C++ compiler",
            format!("{compiler} not found"),
            "on Debian: apt-get install g++",
        ),
    });
    lines.push(match Pip::find() {
        Some(pip) => good("pip", pip.version),
        None => line(
            State::Absent,
            "pip",
            "not found (setup needs it)",
            "on Debian: apt-get install python3-pip, or set LIBTORCH",
        ),
    });
    lines
}

/// The `rust-version` of the workspace.
fn rust_version(manifest: &str) -> (u32, u32) {
    let table: toml::Table = manifest.parse().unwrap_or_default();
    let text = table
        .get("workspace")
        .and_then(|workspace| workspace.get("package")?.get("rust-version")?.as_str())
        .unwrap_or_default();
    version(text)
}

/// The first "major.minor" in a text; (0, 0) without one.
fn version(text: &str) -> (u32, u32) {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let mut parts = number.unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn libtorch(project: &Project) -> Vec<Line> {
    let (found, origin) = match setup::current(project) {
        Ok(Some(current)) => current,
        Ok(None) => {
            let advice = "cargo xtask setup (build, test and reproduce do it by themselves)";
            return vec![line(State::Absent, "LibTorch", "none chosen yet", advice)];
        }
        Err(error) => {
            let advice = "put that right, or run `cargo xtask setup`";
            return vec![line(State::Missing, "LibTorch", format!("{error:#}"), advice)];
        }
    };
    let mut lines = vec![good("LibTorch", format!("{}, {}", found.describe(), setup::named_by(origin)))];
    if found.version.is_none() {
        lines.push(line(
            State::Warning,
            "LibTorch",
            "the folder does not tell its version",
            format!("tch needs {TORCH_VERSION}"),
        ));
    }
    if origin != Origin::Setup {
        let written = fs::read_to_string(project.libtorch_toml()).unwrap_or_default();
        if !written.contains(&rpath_flag(&found)) {
            let advice = "cargo xtask setup (until then, programs started by plain cargo do not find it)";
            lines.push(line(
                State::Warning,
                "rpath",
                ".cargo/libtorch.toml is not about this LibTorch",
                advice,
            ));
        }
    }
    let gpu =
        output_of("nvidia-smi", &["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]);
    let driver = has_cuda_driver();
    lines.push(match (found.cuda, driver) {
        (true, true) => {
            good("CUDA", gpu.unwrap_or_else(|| "LibTorch has it, and libcuda.so.1 is here".to_owned()))
        }
        (true, false) => line(
            State::Warning,
            "CUDA",
            "not available: LibTorch has it, but there is no libcuda.so.1 (no NVIDIA driver)",
            "everything runs on the CPU; `cargo xtask setup --cpu` takes the small LibTorch",
        ),
        (false, true) => line(
            State::Absent,
            "CUDA",
            format!(
                "not available: a GPU is here ({}), but LibTorch has no CUDA",
                gpu.unwrap_or("libcuda.so.1".to_owned())
            ),
            "cargo xtask setup --cuda",
        ),
        (false, false) => {
            line(State::Absent, "CUDA", "not available (no driver, and LibTorch without CUDA)", "")
        }
    });
    lines
}

/// Whether the NVIDIA driver's library can be loaded.
fn has_cuda_driver() -> bool {
    // SAFETY: the name ends with a zero byte; loading the driver's library is what any CUDA program does.
    unsafe {
        let handle = libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY);
        if handle.is_null() {
            return false;
        }
        libc::dlclose(handle);
        true
    }
}

fn machine() -> Vec<Line> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!("{} ({threads} threads", bench::machine());
    if let Ok(limit) = env::var("OMP_NUM_THREADS") {
        text += &format!(", OMP_NUM_THREADS={limit}");
    }
    vec![good("machine", text + ")"), good("vector level", vector_level())]
}

fn vector_level() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "AVX2";
        }
        "SSE2 (no AVX2)"
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

/// Flags of the user's own make cargo ignore the rpath in libtorch.toml.
fn flags(project: &Project) -> Line {
    let advice = "plain cargo then forgets the rpath to LibTorch, and programs die with \"cannot open shared object file\"; cargo xtask adds it itself";
    let own = flags_of(env::var_os("CARGO_ENCODED_RUSTFLAGS"), env::var_os("RUSTFLAGS"));
    if own.is_some_and(|flags| !flags.contains("-rpath,")) {
        return line(State::Warning, "RUSTFLAGS", "set in the environment", advice);
    }
    if let Some(file) = config_with_target_flags(project) {
        let found = format!("{} sets rustflags for a target", file.display());
        return line(State::Warning, "RUSTFLAGS", found, format!("move them there to [build]: {advice}"));
    }
    good("RUSTFLAGS", "not set")
}

fn folders(project: &Project) -> Vec<Line> {
    let nearest = project.cache.ancestors().find(|folder| folder.exists()).unwrap_or(&project.root);
    let free = free_bytes(nearest).map_or("?".to_owned(), megabytes);
    let mut lines = vec![good("cache", format!("{} ({free} free)", project.cache.display()))];
    match data::presence(project) {
        Ok(sets) => {
            for (name, here) in sets {
                lines.push(if here {
                    good("data", format!("{name} in {}", project.data.display()))
                } else {
                    line(
                        State::Absent,
                        "data",
                        format!("{name}: not here"),
                        format!("cargo xtask data fetch {name}"),
                    )
                });
            }
        }
        Err(error) => lines.push(line(State::Warning, "data", format!("{error:#}"), "")),
    }
    lines
}

fn optional_tools() -> Vec<Line> {
    let tools = [
        ("cargo-nextest", "runs the tests faster: cargo install --locked cargo-nextest"),
        ("cargo-deny", "used by ci: cargo install --locked cargo-deny"),
        ("mdbook", "builds docs/ as a book: cargo install --locked mdbook"),
    ];
    tools
        .into_iter()
        .map(|(name, advice)| {
            if on_path(name) {
                good("tool", name)
            } else {
                line(State::Absent, "tool", format!("{name}: not here (optional)"), advice)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("rustc 1.95.0 (f2d3ce0bd 2026-03-21)"), (1, 95));
        assert_eq!(version("1.95"), (1, 95));
        assert_eq!(version("nothing"), (0, 0));
        assert_eq!(rust_version("[workspace.package]\nrust-version = \"1.95\"\n"), (1, 95));
        assert!(version("rustc 1.100.0") > version("rustc 1.95.0"));
    }

    #[test]
    fn lines_say_what_to_do() {
        let text = line(State::Missing, "rustc", "not found", "install it").to_string();
        assert_eq!(text, "MISSING  rustc        not found\n                      -> install it");
        assert_eq!(good("pip", "pip 23").to_string(), "ok       pip          pip 23");
    }
}
