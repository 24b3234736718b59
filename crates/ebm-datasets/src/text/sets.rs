//! The fetched text sets: State of the Union addresses to train on, and German, JavaScript and Moby-Dick to see how
//! far a model of them carries.

use std::path::{Path, PathBuf};

use ebm_core::{Error, Result};

use super::texts::{Parts, Texts, files_of, read_all, read_text};

/// The 233 State of the Union addresses (1790 to 2021), one document each in the order of file names, from
/// `data_dir/sotu/*.txt`; divided by [`Texts::split_documents`]: 187 train, 23 validate, 23 test.
///
/// # Errors
/// When the files are not there (the text holds the command that fetches them) or cannot be read.
pub fn state_of_the_union(data_dir: &Path) -> Result<Parts<Texts>> {
    read_all("State of the Union", &files_of(&folder(data_dir, "sotu")?, "txt")?)?.split_documents()
}

/// Moby-Dick, one document, from `data_dir/moby-dick/data.txt`: English of another author and kind.
///
/// # Errors
/// As for [`state_of_the_union`].
pub fn moby_dick(data_dir: &Path) -> Result<Texts> {
    Texts::new("Moby-Dick", vec![read_text(&folder(data_dir, "moby-dick")?.join("data.txt"))?])
}

/// German quotations from `data_dir/fortunes-de/zitate`, one document: the lines "%" between them become empty lines.
///
/// # Errors
/// As for [`state_of_the_union`].
pub fn german(data_dir: &Path) -> Result<Texts> {
    let text = read_text(&folder(data_dir, "fortunes-de")?.join("zitate"))?;
    let lines: Vec<&str> = text.lines().map(|line| if line == "%" { "" } else { line }).collect();
    Texts::new("German", vec![lines.join("\n")])
}

/// JavaScript, one document a file, from `data_dir/stdlib-js/*/lib/*.js` in the order of paths.
///
/// # Errors
/// As for [`state_of_the_union`].
pub fn javascript(data_dir: &Path) -> Result<Texts> {
    let root = folder(data_dir, "stdlib-js")?;
    let mut libraries = Vec::new();
    for entry in std::fs::read_dir(&root).map_err(|e| Error::io(&root, e))? {
        libraries.push(entry.map_err(|e| Error::io(&root, e))?.path().join("lib"));
    }
    libraries.sort();
    let mut paths = Vec::new();
    for library in libraries {
        paths.extend(files_of(&library, "js")?);
    }
    read_all("JavaScript", &paths)
}

fn folder(data_dir: &Path, set: &str) -> Result<PathBuf> {
    let folder = data_dir.join(set);
    if folder.is_dir() {
        return Ok(folder);
    }
    let problem = format!(
        "not there: get it with `cargo xtask data fetch {set}`, or set EBM_DATA to the folder that holds `{set}/`"
    );
    Err(Error::data(folder, None, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_sets_name_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let text = state_of_the_union(dir.path()).unwrap_err().to_string();
        assert!(text.contains("cargo xtask data fetch sotu") && text.contains("EBM_DATA"), "{text}");
        assert!(german(dir.path()).unwrap_err().to_string().contains("fetch fortunes-de"));
        assert!(moby_dick(dir.path()).unwrap_err().to_string().contains("fetch moby-dick"));
        assert!(javascript(dir.path()).unwrap_err().to_string().contains("fetch stdlib-js"));
    }

    #[test]
    fn quotations_and_sources_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("fortunes-de/zitate", "eins\n%\nzwei %\n");
        assert_eq!(german(dir.path()).unwrap().documents(), ["eins\n\nzwei %"]);
        write("stdlib-js/b/lib/a.js", "2");
        write("stdlib-js/a/lib/b.js", "1");
        assert_eq!(javascript(dir.path()).unwrap().documents(), ["1", "2"]);
    }

    /// The real files; says so and passes where they were not fetched.
    #[test]
    fn the_real_files_are_those_of_the_packages() {
        let dir = crate::data_dir().unwrap();
        if ["sotu", "moby-dick", "stdlib-js", "fortunes-de"].iter().any(|set| !dir.join(set).is_dir()) {
            println!("left out: needs cargo xtask data fetch sotu moby-dick stdlib-js fortunes-de");
            return;
        }
        let parts = state_of_the_union(&dir).unwrap();
        let sizes = [&parts.train, &parts.validation, &parts.test].map(|part| part.documents().len());
        assert_eq!(sizes, [187, 23, 23]);
        assert_eq!(
            [&parts.train, &parts.validation, &parts.test].map(Texts::n_bytes).iter().sum::<usize>(),
            10_761_413
        );
        assert!(parts.train.documents()[0].starts_with("Fellow-Citizens of the Senate"));
        assert_eq!(moby_dick(&dir).unwrap().n_bytes(), 1_204_997);
        let js = javascript(&dir).unwrap();
        assert_eq!((js.documents().len(), js.n_bytes()), (189, 263_378));
        assert!(german(&dir).unwrap().documents()[0].starts_with("Man muß wissen"));
    }
}
