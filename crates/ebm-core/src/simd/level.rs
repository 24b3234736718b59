//! Which vector instructions host code runs on: detected once, or forced by the environment variable
//! `EBM_CPU_LEVEL`.

use std::fmt;
use std::sync::OnceLock;

/// A set of vector instructions. Ordered: a machine that has one has those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the compiler assumes of every machine of the architecture (SSE2 on x86-64, NEON on aarch64).
    Portable,
    /// x86-64 with AVX2 and FMA, 256 bits.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL, 512 bits.
    Avx512,
}

impl Level {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The highest level of this machine.
    pub fn of_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                return if wide { Self::Avx512 } else { Self::Avx2 };
            }
        }
        Self::Portable
    }

    /// Every level that this machine has, the lowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let highest = Self::of_machine();
        Self::ALL.into_iter().filter(move |level| *level <= highest)
    }

    /// As `EBM_CPU_LEVEL` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The level that a value of `EBM_CPU_LEVEL` asks for on a machine of level `machine`, and what to warn of.
    fn chosen(asked: Option<&str>, machine: Self) -> (Self, Option<String>) {
        let Some(asked) = asked else { return (machine, None) };
        match Self::ALL.into_iter().find(|level| level.name() == asked) {
            Some(level) if level <= machine => (level, None),
            Some(level) => (machine, Some(format!("this machine has no {level}: going on with {machine}"))),
            None => {
                let known = "it must be portable, avx2 or avx512";
                (machine, Some(format!("EBM_CPU_LEVEL = {asked:?}: {known}; going on with {machine}")))
            }
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The level that this process runs on: the machine's highest, unless the environment variable `EBM_CPU_LEVEL`
/// (`portable`, `avx2` or `avx512`) forces a lower one. Read once; a value that is unknown or above the machine's
/// level is warned of and ignored.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let asked = std::env::var_os("EBM_CPU_LEVEL").map(|v| v.to_string_lossy().into_owned());
        let (level, warning) = Level::chosen(asked.as_deref(), Level::of_machine());
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        level
    })
}

#[cfg(test)]
mod tests {
    use super::Level::{self, Avx2, Avx512, Portable};

    #[test]
    fn the_variable_lowers_the_level_and_a_wrong_value_is_warned_of() {
        assert_eq!(Level::chosen(None, Avx2), (Avx2, None));
        assert_eq!(Level::chosen(Some("portable"), Avx512), (Portable, None));
        assert_eq!(Level::chosen(Some("avx2"), Avx512), (Avx2, None));
        let (level, warning) = Level::chosen(Some("avx512"), Avx2);
        assert_eq!(
            (level, warning.as_deref()),
            (Avx2, Some("this machine has no avx512: going on with avx2"))
        );
        let (level, warning) = Level::chosen(Some("sse9"), Avx2);
        let text = "EBM_CPU_LEVEL = \"sse9\": it must be portable, avx2 or avx512; going on with avx2";
        assert_eq!((level, warning.as_deref()), (Avx2, Some(text)));
    }

    #[test]
    fn every_machine_has_the_lowest_level_and_its_own() {
        let levels: Vec<_> = Level::available().collect();
        assert_eq!((levels[0], levels[levels.len() - 1]), (Portable, Level::of_machine()));
    }
}
