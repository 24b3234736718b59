//! pip: find it, download one wheel or install a list, with a progress line, and say plainly what went wrong.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::disk::megabytes;
use crate::fail::bad;

/// A pip that answered.
pub struct Pip {
    words: &'static [&'static str],
    /// What `--version` printed.
    pub version: String,
}

const CANDIDATES: &[&[&str]] = &[&["python3", "-m", "pip"], &["pip3"], &["pip"]];

const ALWAYS: [&str; 6] = [
    "--only-binary=:all:",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar",
    "off",
];

/// What is to be downloaded.
pub struct Request<'a> {
    pub package: &'a str,
    pub version: &'a str,
    /// pip's `--platform` tags; with none, pip takes what fits this machine.
    pub tags: &'a [&'a str],
    /// Size of the file, where it is known.
    pub bytes: Option<u64>,
}

impl Pip {
    /// The first pip that works.
    pub fn find() -> Option<Pip> {
        CANDIDATES.iter().find_map(|words| {
            let output = Command::new(words[0]).args(&words[1..]).arg("--version").output().ok()?;
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(Pip { words, version })
        })
    }

    /// The first pip that works, or an error that says how to get one. `otherwise` ends the message.
    pub fn require(otherwise: &str) -> Result<Pip> {
        Pip::find().ok_or_else(|| {
            bad(format!("no pip found (tried `python3 -m pip`, `pip3` and `pip`); install it (on Debian and Ubuntu: apt-get install python3-pip) or {otherwise}"))
        })
    }

    /// Downloads one file of a package into `folder` (created, emptied first) and gives its path.
    ///
    /// pip works in `folder` too: its size is the progress, and what a killed pip leaves is in one place.
    pub fn download(&self, request: &Request, folder: &Path) -> Result<PathBuf> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let out = folder.join("out");
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let mut command = Command::new(self.words[0]);
        command.args(&self.words[1..]).args(["download", "--no-deps"]).args(ALWAYS);
        if !request.tags.is_empty() {
            command.args(["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]);
            for tag in request.tags {
                command.args(["--platform", tag]);
            }
        }
        let wanted = format!("{}=={}", request.package, request.version);
        command.arg("--dest").arg(&out).arg(&wanted);
        let mut progress = Progress::new(|| {
            // pip first downloads a file, then copies it: the largest one counts.
            progress_line(request, file_sizes(folder).into_iter().max().unwrap_or(0))
        });
        run(&mut command, folder, &wanted, &mut progress)?;
        let file = fs::read_dir(&out)?.filter_map(|entry| Some(entry.ok()?.path())).next();
        file.with_context(|| format!("pip said that it had {}, but left no file", request.package))
    }
}

/// Installs into a virtual environment exactly what a requirements file lists, each package checked by its hash.
///
/// `python` is that of the environment, `folder` the environment's own: its size is the progress.
pub fn install(python: &Path, requirements: &Path, folder: &Path, name: &str) -> Result<()> {
    let mut command = Command::new(python);
    command.args(["-E", "-s", "-m", "pip", "install", "--no-deps", "--require-hashes"]).args(ALWAYS);
    command.arg("-r").arg(requirements);
    let mut progress = Progress::new(|| format!("  {name}: {}", megabytes(file_sizes(folder).iter().sum())));
    run(&mut command, folder, name, &mut progress)
}

/// Runs pip to its end. Its temporary files and its log are in `folder`.
fn run(command: &mut Command, folder: &Path, wanted: &str, progress: &mut Progress) -> Result<()> {
    let log_path = folder.join("log");
    let log = File::create(&log_path).with_context(|| format!("cannot create {}", log_path.display()))?;
    command.env("TMPDIR", folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    end_with_parent(command);
    let mut child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(Duration::from_millis(200));
        progress.show();
    };
    progress.finish();
    if !status.success() {
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        bail!("{}", explain(wanted, &log));
    }
    Ok(())
}

/// On Linux, pip gets a signal when xtask dies, even by kill -9: no download goes on unseen.
fn end_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        // SAFETY: prctl is async-signal-safe and touches no memory of ours.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// One line from pip's many: what happened and what to do.
fn explain(wanted: &str, log: &str) -> String {
    let last_error = log
        .lines()
        .rev()
        .find(|line| line.starts_with("ERROR:"))
        .or_else(|| log.lines().rev().find(|line| !line.trim().is_empty()))
        .unwrap_or("it printed nothing")
        .trim();
    let any = |needles: &[&str]| needles.iter().any(|needle| log.contains(needle));
    if any(&["No space left on device"]) {
        return format!(
            "the disk filled up while pip downloaded {wanted}; free some space and run it again (finished files are kept)"
        );
    }
    let network = [
        "NewConnectionError",
        "NameResolutionError",
        "Temporary failure in name resolution",
        "Network is unreachable",
        "Connection refused",
        "Connection broken",
        "Connection reset",
        "ConnectTimeout",
        "ReadTimeout",
        "timed out",
        "ProxyError",
        "Max retries exceeded",
        "Could not fetch URL",
        "IncompleteRead",
        "SSLError",
        "CERTIFICATE_VERIFY_FAILED",
    ];
    if any(&network) {
        return format!(
            "pip could not reach its package index for {wanted} (no network, or a proxy or mirror to set up?): {last_error}; run it again when it can be reached (finished files are kept)"
        );
    }
    format!("pip could not download {wanted}: {last_error}")
}

/// The sizes of the files below a folder.
fn file_sizes(folder: &Path) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => sizes.push(meta.len()),
                Err(_) => {}
            }
        }
    }
    sizes
}

/// A line that is written over on a terminal, and now and then a new line elsewhere.
struct Progress<'a> {
    line: Box<dyn Fn() -> String + 'a>,
    terminal: bool,
    last: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    fn new(line: impl Fn() -> String + 'a) -> Progress<'a> {
        let terminal = std::io::stderr().is_terminal();
        Progress { line: Box::new(line), terminal, last: Instant::now(), shown: false }
    }

    fn show(&mut self) {
        let pause = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let line = (self.line)();
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn finish(&self) {
        if self.terminal && self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn progress_line(request: &Request, bytes: u64) -> String {
    let Request { package, version, .. } = request;
    match request.bytes {
        Some(total) => {
            let bytes = bytes.min(total);
            let percent = bytes * 100 / total.max(1);
            format!("  {package} {version}: {} of {} ({percent}%)", megabytes(bytes), megabytes(total))
        }
        None => format!("  {package} {version}: {}", megabytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let offline = "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(...): [Errno -3] Temporary failure in name resolution'\nERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)\nERROR: No matching distribution found for torch==2.13.0\n";
        let text = explain("torch==2.13.0", offline);
        assert!(text.contains("no network"), "{text}");
        let full =
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n";
        assert!(explain("torch==2.13.0", full).contains("disk filled up"));
        let other = "ERROR: No matching distribution found for torch==2.13.0\n";
        let text = explain("torch==2.13.0", other);
        assert!(text.ends_with("No matching distribution found for torch==2.13.0"), "{text}");
    }

    #[test]
    fn the_line_names_bytes_and_total() {
        let request = Request { package: "torch", version: "2.13.0", tags: &[], bytes: Some(526_574_961) };
        assert_eq!(progress_line(&request, 263_287_480), "  torch 2.13.0: 264 MB of 527 MB (49%)");
        assert_eq!(progress_line(&request, 999_999_999), "  torch 2.13.0: 527 MB of 527 MB (100%)");
    }

    #[test]
    fn sizes_below_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("inner/wheel"), [0; 100]).unwrap();
        fs::write(dir.path().join("log"), [0; 7]).unwrap();
        let mut sizes = file_sizes(dir.path());
        sizes.sort_unstable();
        assert_eq!(sizes, [7, 100]);
    }
}
