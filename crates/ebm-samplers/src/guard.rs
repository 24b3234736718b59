//! A user's panic, turned into an error of the chains that it happened in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ebm_core::{Error, Result};

/// What `run` returns; an error with the panic's own words if it panics. What it was changing may be half done.
pub(crate) fn catch_panic<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::user(format!("panicked: {text}")))
    })
}
