//! Keep freed memory in the process, so that no step asks the system for the same pages again.
//!
//! LibTorch allocates and frees its intermediate tensors at every operation. glibc returns large blocks to the
//! system and asks for them again, page fault by page fault; in training JEM's small network that took most of the time.

/// Tell the C library's allocator to keep what is freed. Call it once, first thing in `main`; peak memory then
/// stays reserved until the process ends. Does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only sets the allocator's own parameters; values it does not like are refused.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
