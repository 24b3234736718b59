//! Ctrl-C: the first press asks the run to save and stop, the second ends the process.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag that Ctrl-C (or a polite kill) sets. Call once per process.
///
/// # Errors
/// The system refuses the handler.
pub fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        let text = "stopping after this step and saving; press Ctrl-C again to end at once";
        let _ = writeln!(std::io::stderr(), "\n{text}");
    })?;
    Ok(stop)
}
