//! `cargo xtask data`: data sets through the package clients that are at hand, checked by hash.
//!
//! A set is a folder of `$EBM_DATA` (default: `data/` in the cache folder). It appears there complete or not at
//! all; where it came from does not matter, the hashes of its files do. The sets stand in `data.toml`.

mod clients;
mod keep;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::digest::sha256;
use crate::disk::megabytes;
use crate::fail::bad;
use crate::nearest::nearest;
use crate::paths::Project;
use crate::presets;
use clients::Client;
use keep::Keep;

/// List, fetch and verify data sets (through apt-get, npm or pip; no root needed)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask data list
  cargo xtask data fetch fashion-mnist mnist
  cargo xtask data fetch --for jem-fashion
  cargo xtask data verify")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show the data sets, and which are here
    List,
    /// Fetch data sets by name, or those of an experiment
    Fetch {
        /// Data sets, by name
        #[arg(required_unless_present = "experiment")]
        names: Vec<String>,
        /// All that this experiment needs
        #[arg(long = "for", value_name = "EXPERIMENT")]
        experiment: Option<String>,
    },
    /// Check the hashes of all that is here
    Verify,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    set: Vec<Set>,
}

/// One entry of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: String,
    title: String,
    licence: String,
    client: Client,
    package: String,
    /// For npm and pip; apt takes the version of the user's release.
    #[serde(default)]
    version: String,
    folder: String,
    #[serde(default)]
    files: Vec<FileEntry>,
    tree: Option<String>,
    /// With `tree`: which files of the folder are taken; all of them without it.
    keep: Option<Keep>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    bytes: u64,
    sha256: String,
}

impl Set {
    /// Whether one download brings both.
    fn comes_with(&self, other: &Set) -> bool {
        (self.client, &self.package, &self.version) == (other.client, &other.package, &other.version)
    }
}

/// The command.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    match &args.command {
        Command::List => print!("{}", list(project)?),
        Command::Fetch { names, experiment } => {
            let mut names = names.clone();
            if let Some(experiment) = experiment {
                let presets = presets::read(project)?;
                for preset in presets::of_experiment(&presets, experiment)? {
                    names.extend(preset.experiment.data.iter().cloned());
                }
                if names.is_empty() {
                    eprintln!("`{experiment}` needs no data set.");
                }
            }
            fetch(project, &names)?;
        }
        Command::Verify => verify_all(project)?,
    }
    Ok(())
}

/// Fetches the sets that are not here yet; a package that holds several of them is downloaded once.
pub fn fetch(project: &Project, names: &[String]) -> Result<()> {
    let table = table()?;
    let mut packages: Vec<Vec<&Set>> = Vec::new();
    for name in names {
        let set = find(&table, name)?;
        match packages.iter_mut().find(|sets| sets[0].comes_with(set)) {
            Some(sets) if sets.iter().any(|before| before.name == set.name) => {}
            Some(sets) => sets.push(set),
            None => packages.push(vec![set]),
        }
    }
    packages.iter().try_for_each(|sets| fetch_package(&project.data, sets))
}

/// The first of these sets that is not here; a name that no set has is bad input.
pub fn first_missing(project: &Project, names: &[String]) -> Result<Option<String>> {
    let table = table()?;
    for name in names {
        if !is_there(&project.data, find(&table, name)?) {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// Every set's name and whether it is here; for `doctor`.
pub fn presence(project: &Project) -> Result<Vec<(String, bool)>> {
    Ok(table()?.iter().map(|set| (set.name.clone(), is_there(&project.data, set))).collect())
}

fn table() -> Result<Vec<Set>> {
    let table: Table = toml::from_str(include_str!("data.toml")).context("xtask/src/data.toml")?;
    Ok(table.set)
}

fn find<'a>(table: &'a [Set], name: &str) -> Result<&'a Set> {
    table.iter().find(|set| set.name == name).ok_or_else(|| {
        let hint = match nearest(name, table.iter().map(|set| set.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`cargo xtask data list` shows what there is".to_owned(),
        };
        bad(format!("no data set is called `{name}`; {hint}"))
    })
}

/// A quick look, without hashes: every file with its size.
fn is_there(data: &Path, set: &Set) -> bool {
    let folder = data.join(&set.name);
    folder.is_dir()
        && set
            .files
            .iter()
            .all(|file| fs::metadata(folder.join(&file.name)).is_ok_and(|meta| meta.len() == file.bytes))
}

/// Hashes everything; the error names the first file that is wrong.
fn verify(folder: &Path, set: &Set) -> Result<()> {
    for file in &set.files {
        let path = folder.join(&file.name);
        match fs::metadata(&path) {
            Ok(meta) if meta.len() == file.bytes => {}
            Ok(meta) => bail!("{} has {} bytes, and {} is right", path.display(), meta.len(), file.bytes),
            Err(_) => bail!("{} is missing", path.display()),
        }
        let hash = sha256(&path)?;
        if hash != file.sha256 {
            bail!("{} has sha256 {hash}, and {} is right", path.display(), file.sha256);
        }
    }
    if let Some(tree) = &set.tree {
        let hash = tree_hash(folder)?;
        if hash != *tree {
            bail!("{} has the tree hash {hash}, and {tree} is right", folder.display());
        }
    }
    Ok(())
}

/// sha256 of the lines "sha256  path" of all files below a folder, sorted by path.
fn tree_hash(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for path in files_below(folder)? {
        hash.update(format!("{}  {}\n", sha256(&folder.join(&path))?, path.display()));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The paths of all files below a folder, relative to it, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { paths.push(path.strip_prefix(folder)?.to_owned()) }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Brings those of a package's sets that are not here yet.
fn fetch_package(data: &Path, sets: &[&Set]) -> Result<()> {
    let mut missing = Vec::new();
    for &set in sets {
        let target = data.join(&set.name);
        match verify(&target, set) {
            Ok(()) if target.exists() => eprintln!("{}: already in {}", set.name, target.display()),
            Err(problem) if target.exists() => {
                eprintln!("{}: {problem:#}. Fetching it again.", set.name);
                missing.push(set);
            }
            _ => missing.push(set),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(data).map_err(|error| {
        bad(format!(
            "the data folder {} cannot be written ({error}); set EBM_DATA to a folder that can",
            data.display()
        ))
    })?;
    let lock = File::create(data.join("fetch.lock")).context("cannot create the data folder's lock")?;
    if lock.try_lock().is_err() {
        eprintln!("Another fetch is at work in {}; waiting for it to finish.", data.display());
        lock.lock().context("cannot lock the data folder")?;
        missing.retain(|set| verify(&data.join(&set.name), set).is_err());
    }
    let Some(first) = missing.first() else { return Ok(()) };

    let work = data.join(format!(".partial-{}", first.name));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let names: Vec<&str> = missing.iter().map(|set| set.name.as_str()).collect();
    eprintln!("{}: fetching `{}` with {}", names.join(", "), first.package, first.client);
    let outcome = first
        .client
        .fetch(&first.package, &first.version, &work)
        .map_err(|error| error.context(by_hand(first, &data.join(&first.name))))
        .and_then(|unpacked| missing.iter().try_for_each(|set| unpack_set(&unpacked, &work, data, set)));
    let _ = fs::remove_dir_all(&work);
    outcome
}

/// Takes a set's files out of the unpacked package, verifies them and puts them in place.
fn unpack_set(unpacked: &Path, work: &Path, data: &Path, set: &Set) -> Result<()> {
    let target = data.join(&set.name);
    take(&unpacked.join(&set.folder), &work.join("ready"), set)
        .and_then(|ready| put_in_place(&ready, &target))
        .map_err(|error| error.context(by_hand(set, &target)))?;
    eprintln!("{}: in {}", set.name, target.display());
    Ok(())
}

/// Copies (another set may want the same files) and verifies; gives the folder that is ready to be moved.
fn take(folder: &Path, ready: &Path, set: &Set) -> Result<PathBuf> {
    let wanted = if set.tree.is_none() {
        set.files.iter().map(|file| PathBuf::from(&file.name)).collect()
    } else {
        let mut paths = files_below(folder)?;
        if let Some(keep) = &set.keep {
            paths.retain(|path| {
                keep.takes(path, fs::metadata(folder.join(path)).map_or(0, |meta| meta.len()))
            });
        }
        paths
    };
    fs::create_dir_all(ready).with_context(|| format!("cannot create {}", ready.display()))?;
    for path in wanted {
        let to = ready.join(&path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::copy(folder.join(&path), &to).with_context(|| {
            format!("the package `{}` holds no {}/{}", set.package, set.folder, path.display())
        })?;
    }
    verify(ready, set)?;
    Ok(ready.to_owned())
}

fn put_in_place(ready: &Path, target: &Path) -> Result<()> {
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("cannot replace {}", target.display()))?;
    }
    fs::rename(ready, target)
        .with_context(|| format!("cannot rename {} to {}", ready.display(), target.display()))
}

/// What to do without the package client.
fn by_hand(set: &Set, target: &Path) -> String {
    let mut text = format!(
        "`{}` could not be fetched. Put right what stands below, or get these files by other means into {}:\n",
        set.name,
        target.display()
    );
    for file in &set.files {
        text += &format!("  {}  (sha256 {})\n", file.name, file.sha256);
    }
    if let Some(tree) = &set.tree {
        let which = set.keep.as_ref().map_or_else(|| "all files".to_owned(), Keep::to_string);
        text += &format!(
            "  {which} of the folder {} of `{}` {}, tree hash {tree}\n",
            set.folder, set.package, set.version
        );
    }
    text + "What went wrong"
}

fn verify_all(project: &Project) -> Result<()> {
    let mut damaged = Vec::new();
    for set in table()? {
        let folder = project.data.join(&set.name);
        if !folder.exists() {
            println!("{}: not here", set.name);
            continue;
        }
        match verify(&folder, &set) {
            Ok(()) => println!("{}: ok", set.name),
            Err(problem) => {
                println!("{}: {problem:#}", set.name);
                damaged.push(set.name);
            }
        }
    }
    if !damaged.is_empty() {
        return Err(bad(format!(
            "damaged; get them again with `cargo xtask data fetch {}`",
            damaged.join(" ")
        )));
    }
    Ok(())
}

fn list(project: &Project) -> Result<String> {
    let presets = presets::read(project)?;
    let table = table()?;
    let width = table.iter().map(|set| set.name.len()).max().unwrap_or(0);
    let mut text = format!("In {}:\n", project.data.display());
    for set in &table {
        let state = if is_there(&project.data, set) { "here" } else { "not here" };
        let bytes: u64 = set.files.iter().map(|file| file.bytes).sum();
        let size = if bytes > 0 { megabytes(bytes) } else { String::new() };
        let mut users: Vec<&str> = presets
            .iter()
            .filter(|preset| preset.experiment.data.contains(&set.name))
            .map(|preset| preset.name.as_str())
            .collect();
        users.dedup();
        let users = if users.is_empty() { String::new() } else { format!("; for {}", users.join(", ")) };
        text += &format!(
            "{:width$}  {state:8}  {size:>6}  {} (licence: {}{users})\n",
            set.name, set.title, set.licence
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abc_set() -> Set {
        let text = "name = \"abc\"\ntitle = \"t\"\nlicence = \"MIT\"\nclient = \"npm\"\npackage = \"abc\"\nfolder = \"package\"\nfiles = [{ name = \"abc\", bytes = 3, sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\" }]\n";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_table_is_well_formed() {
        let table = table().unwrap();
        for set in &table {
            assert!(set.files.is_empty() == set.tree.is_some(), "{}: files or tree", set.name);
            assert!(set.keep.is_none() || set.tree.is_some(), "{}: keep goes with tree", set.name);
            assert!(set.client == Client::Apt || !set.version.is_empty(), "{}: a version", set.name);
            assert!(set.files.iter().all(|file| file.sha256.len() == 64 && file.bytes > 0));
            assert!(!set.folder.starts_with('/') && !set.folder.contains(".."));
        }
        let names: std::collections::BTreeSet<&str> = table.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(names.len(), table.len());
        assert!(names.contains("fashion-mnist") && names.contains("mnist"));
    }

    #[test]
    fn unknown_names() {
        let table = table().unwrap();
        let error = find(&table, "fashon-mnist").unwrap_err();
        assert_eq!(error.to_string(), "no data set is called `fashon-mnist`; did you mean `fashion-mnist`?");
        assert_eq!(crate::fail::code(&error), 2);
    }

    #[test]
    fn hashes_decide() {
        let dir = tempfile::tempdir().unwrap();
        let set = abc_set();
        let folder = dir.path().join("abc");
        assert!(!is_there(dir.path(), &set));
        fs::create_dir(&folder).unwrap();
        assert!(verify(&folder, &set).unwrap_err().to_string().contains("is missing"));
        fs::write(folder.join("abc"), "abd").unwrap();
        assert!(is_there(dir.path(), &set));
        assert!(verify(&folder, &set).unwrap_err().to_string().contains("ba7816bf8f01cf"));
        fs::write(folder.join("abc"), "abc").unwrap();
        verify(&folder, &set).unwrap();
        // A set that is here and right is not fetched again, whoever put it here.
        fetch_package(dir.path(), &[&set]).unwrap();
    }

    #[test]
    fn a_tree_hash_depends_on_names_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), "1").unwrap();
        let first = tree_hash(dir.path()).unwrap();
        assert_eq!(first, tree_hash(dir.path()).unwrap());
        fs::write(dir.path().join("sub/a"), "2").unwrap();
        let second = tree_hash(dir.path()).unwrap();
        fs::rename(dir.path().join("sub/a"), dir.path().join("sub/b")).unwrap();
        let third = tree_hash(dir.path()).unwrap();
        assert!(first != second && second != third);
    }

    #[test]
    fn several_sets_are_taken_out_of_one_package() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package");
        for (path, text) in
            [("a/lib/x.js", "1"), ("a/lib/x.json", "2"), ("b/lib/large.js", "1234"), ("b/y.js", "5")]
        {
            fs::create_dir_all(package.join(path).parent().unwrap()).unwrap();
            fs::write(package.join(path), text).unwrap();
        }
        let mut set = abc_set();
        set.files.clear();
        set.keep = Some(Keep { path: "*/lib/*.js".into(), below: Some(4) });
        set.tree = Some("0".repeat(64));
        let ready = dir.path().join("ready");
        assert!(take(&package, &ready, &set).unwrap_err().to_string().contains("tree hash"));
        assert_eq!(files_below(&ready).unwrap(), [PathBuf::from("a/lib/x.js")]);
        set.tree = Some(tree_hash(&ready).unwrap());
        unpack_set(dir.path(), dir.path(), &dir.path().join("data"), &set).unwrap_err();
        fs::create_dir(dir.path().join("data")).unwrap();
        for name in ["one", "two"] {
            set.name = name.into();
            unpack_set(dir.path(), dir.path(), &dir.path().join("data"), &set).unwrap();
            verify(&dir.path().join("data").join(name), &set).unwrap();
        }
        let text = by_hand(&set, Path::new("/data/two"));
        assert!(text.contains("*/lib/*.js below 4 bytes of the folder package"), "{text}");
    }

    #[test]
    fn what_to_do_by_hand() {
        let text = by_hand(&abc_set(), Path::new("/data/abc"));
        assert!(text.contains("/data/abc") && text.contains("abc  (sha256 ba7816bf"), "{text}");
    }
}
