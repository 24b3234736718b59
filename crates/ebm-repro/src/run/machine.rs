//! What a run ran on: processor, memory, versions.

use std::path::PathBuf;

use crate::report::Versions;

/// The processor's name, or "unknown".
pub fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned())
}

/// The largest resident memory of this process so far, in bytes; 0 when the system does not say.
pub fn peak_rss_bytes() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills the struct that it is given and keeps no pointer; zeroed is a valid rusage.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    // Linux counts kilobytes, macOS bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit
}

/// Versions of what runs. The commit comes from `EBM_GIT`, which `cargo xtask reproduce` sets.
pub fn versions() -> Versions {
    Versions {
        ebm: env!("CARGO_PKG_VERSION").into(),
        git: std::env::var("EBM_GIT").unwrap_or_else(|_| "unknown".into()),
        libtorch: ebm_core::torch::LIBTORCH_VERSION.into(),
        rustc: env!("EBM_RUSTC").into(),
    }
}

/// Where fetched data lies: `$EBM_DATA`, else `data/` in `$EBM_CACHE`, `$XDG_CACHE_HOME/ebm` or `~/.cache/ebm`.
pub fn data_dir() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("EBM_DATA").unwrap_or_else(|| {
        let cache = folder("EBM_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|p| p.join("ebm")))
            .or_else(|| folder("HOME").map(|p| p.join(".cache/ebm")));
        cache.unwrap_or_else(|| PathBuf::from(".ebm-cache")).join("data")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        assert!(peak_rss_bytes() > 1_000_000);
        assert!(!cpu_name().is_empty());
        assert!(versions().rustc.starts_with("1."));
    }
}
