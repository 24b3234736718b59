//! Wrong use and bad input: what ends with exit code 2 and one clear line.

use std::fmt;

/// A mistake of the person at the keyboard. The text names what was given, what is allowed and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An `anyhow` error that ends with exit code 2: `return Err(usage("…"))`.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// Whether an error, or anything that caused it, is a user's mistake: a [`Usage`], a setting outside its limits,
/// a file with wrong contents, or a file that is not there or not permitted.
pub fn is_usage(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    error.chain().any(|cause| {
        if cause.is::<Usage>() {
            return true;
        }
        match cause.downcast_ref::<ebm_core::Error>().map(ebm_core::Error::kind) {
            Some(ebm_core::ErrorKind::BadValue { .. } | ebm_core::ErrorKind::Data { .. }) => true,
            Some(ebm_core::ErrorKind::Io { source, .. }) => {
                matches!(source.kind(), NotFound | PermissionDenied)
            }
            _ => false,
        }
    })
}

/// Whether an error, or anything that caused it, says that the run was stopped on request.
pub fn is_stopped(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<ebm_core::Error>().is_some_and(ebm_core::Error::is_stopped))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_mistake_is_found_under_any_context() {
        let bad = || ebm_core::Error::bad_value("step_size", -1, "above 0", "");
        assert!(is_usage(&Err::<(), _>(bad()).context("while loading").unwrap_err()));
        assert!(is_usage(&usage("no").context("outer")));
        assert!(!is_usage(&anyhow::anyhow!("the disk burns")));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!is_usage(&ebm_core::Error::io("x", full).into()));
        assert!(is_stopped(&anyhow::Error::from(ebm_core::Error::stopped()).context("outer")));
    }
}
