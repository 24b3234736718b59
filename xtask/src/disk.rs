//! Free space: asked before a download, so that a full disk is one message and not a broken folder.

use anyhow::{Result, bail};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that this user can still write in the file system of `folder` (which must exist).
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain old data, `path` ends with a zero byte, and both live across the call.
    let (status, stat) = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut stat), stat)
    };
    if status != 0 {
        bail!("cannot ask for the free space of {}: {}", folder.display(), std::io::Error::last_os_error());
    }
    // The field types differ between systems, so the casts are needed on some of them.
    #[allow(clippy::unnecessary_cast)]
    Ok(stat.f_bavail as u64 * stat.f_frsize as u64)
}

/// An error that names the folder, what is needed and what is there, unless there is enough.
pub fn require(folder: &Path, needed: u64, purpose: &str) -> Result<()> {
    let free = free_bytes(folder)?;
    if free < needed {
        bail!("{}", shortage(folder, needed, free, purpose));
    }
    Ok(())
}

fn shortage(folder: &Path, needed: u64, free: u64, purpose: &str) -> String {
    format!(
        "not enough space in {}: {purpose} needs {} free, {} are; free some, or set EBM_CACHE to a folder on another disk",
        folder.display(),
        megabytes(needed),
        megabytes(free)
    )
}

/// `1_234_567_890` as "1235 MB".
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_space_here() {
        assert!(free_bytes(Path::new(".")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn the_message_names_both_numbers() {
        let text = shortage(Path::new("/cache"), 1_100_000_000, 300_000_000, "LibTorch (cpu)");
        assert!(text.contains("/cache") && text.contains("1100 MB") && text.contains("300 MB"), "{text}");
        assert!(text.contains("EBM_CACHE"));
    }

    #[test]
    fn a_bound_that_no_disk_meets() {
        let error = require(Path::new("."), u64::MAX, "the universe").unwrap_err();
        assert!(error.to_string().contains("the universe"));
    }
}
