//! Running cargo for a command: in the checkout, with the chosen LibTorch and its rpath, whatever the user has set.

use anyhow::{Context, Result};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail;
use crate::libtorch::LibTorch;
use crate::libtorch_toml::rpath_flag;
use crate::paths::Project;

/// Separates the arguments in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: char = '\x1f';

/// cargo for this checkout and this LibTorch.
pub struct Cargo<'a> {
    project: &'a Project,
    libtorch: &'a LibTorch,
}

impl<'a> Cargo<'a> {
    pub fn new(project: &'a Project, libtorch: &'a LibTorch) -> Cargo<'a> {
        Cargo { project, libtorch }
    }

    /// A cargo command, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(self.project);
        command.args(arguments);
        // Set always: cargo gave us the value of the old libtorch.toml, and setup may have written a new one.
        command.env("LIBTORCH", &self.libtorch.root);
        let rpath = rpath_flag(self.libtorch);
        for kind in ["RUSTFLAGS", "RUSTDOCFLAGS"] {
            if let Some(flags) = users_flags(kind) {
                command.env(format!("CARGO_ENCODED_{kind}"), joined(flags, &[&rpath]));
            }
        }
        if users_flags("RUSTFLAGS").is_none()
            && config_with_target_flags(self.project).is_some()
            && let Some(host) = host()
        {
            // The one way to add to flags for a target: cargo joins this variable and the config files.
            let name = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace(['-', '.'], "_"));
            let own = env::var(&name).unwrap_or_default();
            command.env(&name, format!("{own} {rpath}").trim());
        }
        command
    }

    /// A cargo command that documents, with `extra` flags for rustdoc and the usual ones kept.
    pub fn doc_command(&self, arguments: &[&str], extra: &[&str]) -> Command {
        let mut command = self.command(arguments);
        let rpath = rpath_flag(self.libtorch);
        let flags = joined(joined(users_flags("RUSTDOCFLAGS").unwrap_or_default(), &[&rpath]), extra);
        command.env("CARGO_ENCODED_RUSTDOCFLAGS", flags);
        command
    }

    /// Runs cargo and waits; a failure passes its exit code on.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        run(&mut self.command(arguments))
    }
}

/// cargo in the checkout, without a word on LibTorch.
pub fn bare(project: &Project) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&project.root);
    command
}

/// Shows a command, runs it and waits; a failure passes its exit code on.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    fail::check(&shown, status)
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = command.get_program();
    let name = Path::new(program).file_name().unwrap_or(program);
    let words: Vec<String> = std::iter::once(name)
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            let plain =
                !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"$*()".contains(c));
            if plain { word.into_owned() } else { format!("'{word}'") }
        })
        .collect();
    words.join(" ")
}

/// True when a program of this name is on the PATH.
pub fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// The user's own flags, which make cargo ignore those of the config files; `None` when there are none.
fn users_flags(kind: &str) -> Option<String> {
    flags_of(env::var_os(format!("CARGO_ENCODED_{kind}")), env::var_os(kind))
}

/// The flags in cargo's encoded form. As in cargo, the encoded variable goes before the plain one, and an empty
/// variable counts as set.
pub fn flags_of(encoded: Option<OsString>, plain: Option<OsString>) -> Option<String> {
    if let Some(encoded) = encoded {
        return Some(encoded.to_string_lossy().into_owned());
    }
    let plain = plain?;
    let words: Vec<&str> = plain.to_str()?.split_whitespace().collect();
    Some(words.join(&SEPARATOR.to_string()))
}

/// A cargo config outside the checkout that sets flags for a target: like a variable, these make cargo ignore
/// the flags under `[build]`, and the rpath with them.
pub fn config_with_target_flags(project: &Project) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        project.root.ancestors().skip(1).map(|folder| folder.join(".cargo")).collect();
    match env::var_os("CARGO_HOME") {
        Some(home) => folders.push(PathBuf::from(home)),
        None => folders.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"))),
    }
    let mut files = folders.iter().flat_map(|folder| [folder.join("config.toml"), folder.join("config")]);
    files.find(|file| fs::read_to_string(file).is_ok_and(|text| has_target_flags(&text)))
}

/// `rustflags` under `[target.…]`.
fn has_target_flags(config: &str) -> bool {
    let table: toml::Table = config.parse().unwrap_or_default();
    let targets = table.get("target").and_then(|target| target.as_table());
    targets.is_some_and(|targets| targets.values().any(|target| target.get("rustflags").is_some()))
}

/// The triple that rustc builds for.
pub fn host() -> Option<String> {
    let version = output_of("rustc", &["-vV"])?;
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// Appends flags to encoded ones, leaving out what is there already.
fn joined(mut flags: String, extra: &[&str]) -> String {
    for flag in extra {
        if flags.split(SEPARATOR).any(|have| have == *flag) {
            continue;
        }
        if !flags.is_empty() {
            flags.push(SEPARATOR);
        }
        flags.push_str(flag);
    }
    flags
}

/// What a program prints on stdout, trimmed; `None` when it cannot be run or fails.
pub fn output_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> Option<OsString> {
        Some(OsString::from(value))
    }

    #[test]
    fn whose_flags_count() {
        assert_eq!(flags_of(None, None), None);
        assert_eq!(
            flags_of(None, set(" -C  target-cpu=native ")).as_deref(),
            Some("-C\x1ftarget-cpu=native")
        );
        assert_eq!(flags_of(set("-Cdebuginfo=1"), set("-Copt-level=1")).as_deref(), Some("-Cdebuginfo=1"));
        assert_eq!(flags_of(None, set("")).as_deref(), Some(""));
    }

    #[test]
    fn appending() {
        assert_eq!(joined(String::new(), &["-Crpath"]), "-Crpath");
        assert_eq!(joined("-A".to_owned(), &["-B", "-C"]), "-A\x1f-B\x1f-C");
        assert_eq!(joined("-A\x1f-B".to_owned(), &["-B"]), "-A\x1f-B");
    }

    #[test]
    fn target_flags_in_a_config() {
        assert!(has_target_flags(
            "[target.x86_64-unknown-linux-gnu]\nrustflags = [\"-Clink-arg=-fuse-ld=mold\"]\n"
        ));
        assert!(!has_target_flags("[target.x86_64-unknown-linux-gnu]\nlinker = \"clang\"\n"));
        assert!(!has_target_flags("[build]\nrustflags = []\n"));
    }

    #[test]
    fn a_command_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "a b", ""]);
        assert_eq!(shown(&command), "cargo test 'a b' ''");
    }

    #[test]
    fn finding_programs() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-here"));
        assert_eq!(output_of("sh", &["-c", "echo hello"]).as_deref(), Some("hello"));
        assert_eq!(output_of("sh", &["-c", "exit 1"]), None);
    }
}
