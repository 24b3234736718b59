//! Files that a kill leaves either old or new, never torn.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Write `bytes` to `path`: to a temporary name beside it, synced, then renamed.
///
/// # Errors
/// When the file system refuses; `path` is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_with(path, |file| file.write_all(bytes).map_err(|e| Error::io(path, e)))
}

/// [`write_atomically`] for what does not fit in memory: `write` fills the temporary file.
///
/// # Errors
/// What `write` returns, or when the file system refuses; `path` is then as it was.
pub fn write_atomically_with(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.partial"));
    let io = |e| Error::io(path, e);
    let all = || {
        let mut file = File::create(&temporary).map_err(io)?;
        write(&mut file)?;
        file.sync_all().map_err(io)?;
        fs::rename(&temporary, path).map_err(io)?;
        // The rename itself is durable once the folder is synced.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all()).map_err(io)
    };
    all().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"old").unwrap();
        let failed = write_atomically_with(&path, |file| {
            file.write_all(b"half").map_err(|e| Error::io(&path, e))?;
            Err(Error::stopped())
        });
        assert!(failed.unwrap_err().is_stopped());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(write_atomically(&folder.path().join("no/such"), b"").is_err());
    }
}
