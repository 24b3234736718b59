//! A loop compiled once per level, and the right copy chosen at run time.

use super::level::{Level, level};

/// Work that is compiled for each level. Mark `run` and what it calls `#[inline(always)]`: only what is inlined into
/// the copy uses its instructions.
pub trait Dispatched {
    /// What it returns.
    type Output;
    /// Do it. The result must not depend on the level (the compiler never fuses or reorders float operations by
    /// itself, so it does not).
    fn run(self) -> Self::Output;
}

/// Run the copy for the process's level.
#[inline]
pub fn dispatch<W: Dispatched>(work: W) -> W::Output {
    dispatch_at(level(), work)
}

/// Run the copy for this level, or for the machine's when that is lower.
#[inline]
pub(crate) fn dispatch_at<W: Dispatched>(level: Level, work: W) -> W::Output {
    match level.min(Level::of_machine()) {
        // SAFETY: the machine has this level, so it has every feature that the copy is compiled for.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { run_avx2(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { run_avx512(work) },
        _ => work.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<W: Dispatched>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<W: Dispatched>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Horner<'a>(&'a [f32]);

    impl Dispatched for Horner<'_> {
        type Output = Vec<u32>;
        #[inline(always)]
        fn run(self) -> Vec<u32> {
            self.0.iter().map(|x| (x * x * 0.3 + x * 1.7 - 0.1).to_bits()).collect()
        }
    }

    #[test]
    fn every_copy_gives_the_same_bits() {
        let x: Vec<f32> = (0..100).map(|i| (i as f32 * 0.37).sin()).collect();
        let portable = dispatch_at(Level::Portable, Horner(&x));
        for level in Level::available() {
            assert_eq!(dispatch_at(level, Horner(&x)), portable, "{level}");
        }
        assert_eq!(dispatch(Horner(&x)), portable);
    }
}
