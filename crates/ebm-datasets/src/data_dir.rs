//! Where fetched data sets are kept.

use std::ffi::OsString;
use std::path::PathBuf;

use ebm_core::{Error, Result};

/// The folder of fetched data: `$EBM_DATA`, else `$EBM_CACHE/data`, else `$XDG_CACHE_HOME/ebm/data`, else
/// `~/.cache/ebm/data`. An empty variable counts as unset; the folder need not exist.
///
/// # Errors
/// When none of these variables, nor `HOME`, is set.
pub fn data_dir() -> Result<PathBuf> {
    from_variables(|name| std::env::var_os(name))
}

fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let folder = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("EBM_DATA")
        .or_else(|| Some(folder("EBM_CACHE")?.join("data")))
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("ebm").join("data")))
        .or_else(|| Some(folder("HOME")?.join(".cache").join("ebm").join("data")))
        .ok_or_else(|| {
            Error::bad_value("EBM_DATA", "unset", "the folder of the data sets", "set it, or HOME")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_wins() {
        let with = |set: &[(&str, &str)]| {
            from_variables(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
                .map(|path| path.display().to_string())
        };
        let home = ("HOME", "/h");
        assert_eq!(with(&[home, ("EBM_DATA", "/d"), ("EBM_CACHE", "/c")]).unwrap(), "/d");
        assert_eq!(with(&[home, ("EBM_CACHE", "/c"), ("XDG_CACHE_HOME", "/x")]).unwrap(), "/c/data");
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "/x"), ("EBM_DATA", "")]).unwrap(), "/x/ebm/data");
        assert_eq!(with(&[home]).unwrap(), "/h/.cache/ebm/data");
        assert!(with(&[]).unwrap_err().to_string().contains("EBM_DATA"));
    }
}
