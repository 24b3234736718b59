//! Memory does not grow with the number of draws, neither while they are streamed nor while they are packed.
//!
//! A counting allocator: the most bytes that were alive at once.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ebm_core::analytic::Gaussian;
use ebm_samplers::{DrawFolder, DrawInfo, Hmc, Packing, SampleConfig, pack_npz, sample_into};

struct Counting;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alive = ALIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(alive, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes above what was alive before, and the calls of the allocator.
fn measured<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let (before, calls) = (ALIVE.load(Ordering::Relaxed), CALLS.load(Ordering::Relaxed));
    MOST.store(before, Ordering::Relaxed);
    work();
    (MOST.load(Ordering::Relaxed) - before, CALLS.load(Ordering::Relaxed) - calls)
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn memory_is_constant_in_the_number_of_draws() {
    let target =
        Gaussian::new(vec![0.0; 4], (0..16).map(|i| f64::from(u8::from(i % 5 == 0))).collect()).unwrap();
    let run = |n_draws: usize| {
        let folder = tempfile::tempdir().unwrap();
        let draws = DrawFolder::create(folder.path(), 4).unwrap();
        let streamed = measured(|| {
            let config = SampleConfig { n_draws, burn_in: 0, ..SampleConfig::default() };
            sample_into(&Hmc::new(0.5, 2), &target, vec![vec![0.0; 4]; 4], &config, |i| draws.sink(i))
                .unwrap();
        });
        let packed = measured(|| pack_npz(folder.path(), &DrawInfo::default(), &Packing::default()).unwrap());
        [streamed, packed]
    };
    run(1000);
    let (short, long) = (run(20_000), run(200_000));
    for (what, (short, long)) in ["streaming", "packing"].iter().zip(short.iter().zip(&long)) {
        eprintln!("{what}: at most {} bytes for 20,000 draws a chain, {} for 200,000", short.0, long.0);
        // Not one draw more: 200,000 draws of 4 chains with their statistics are tens of megabytes.
        assert!(long.0 < short.0 + 16_384, "{what}: {} against {}", long.0, short.0);
    }
    // Only a spill, one in about six hundred draws, calls the allocator (for a file's path and header).
    assert!(long[0].1 < 4 * 200_000 / 8, "{} calls", long[0].1);
}
