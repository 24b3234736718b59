//! The one error type that crosses every trait of the workspace.
//!
//! An [`Error`] is a user's or a programmer's mistake, or something outside us that failed. Numerical failure
//! (a diverging trajectory, a non-finite energy) is data, never an error: see the kernels' `Info`.

use std::fmt;
use std::path::{Path, PathBuf};

/// What every fallible function of the library crates returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An opaque error; [`Error::kind`] tells what happened. Boxed, so that `Result<f64>` stays 16 bytes.
pub struct Error(Box<ErrorKind>);

/// What went wrong. Every variant's text names the value, the limit and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is outside its limits.
    #[error("{name} = {value}: must be {limit}{}", with_fix(fix))]
    BadValue {
        /// The setting's name, as the user wrote it.
        name: String,
        /// The value found.
        value: String,
        /// What is allowed.
        limit: String,
        /// What to do instead (may be empty).
        fix: String,
    },
    /// Two shapes or lengths do not fit.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which argument.
        what: String,
        /// The shape or length that would fit.
        expected: String,
        /// The shape or length found.
        found: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file was read and its contents are wrong.
    #[error("{}{}: {problem}", path.display(), at(*offset))]
    Data {
        /// The file (or a name for data that came from memory).
        path: PathBuf,
        /// Where in the file, in bytes, when known.
        offset: Option<u64>,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// LibTorch refused an operation.
    #[cfg(feature = "torch")]
    #[error("LibTorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The run was interrupted on request.
    #[error("stopped on request")]
    Stopped,
    /// An error from a user's own energy, observer or sink.
    #[error("{0}")]
    User(Box<dyn std::error::Error + Send + Sync>),
}

fn with_fix(fix: &str) -> String {
    if fix.is_empty() { String::new() } else { format!("; {fix}") }
}

fn at(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |o| format!(" at byte {o}"))
}

impl Error {
    /// What happened.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// A setting outside its limits: `Error::bad_value("step_size", -0.1, "above 0", "try 0.1")`.
    pub fn bad_value(
        name: impl Into<String>,
        value: impl fmt::Display,
        limit: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        ErrorKind::BadValue {
            name: name.into(),
            value: value.to_string(),
            limit: limit.into(),
            fix: fix.into(),
        }
        .into()
    }

    /// Two shapes or lengths that do not fit.
    pub fn shape(what: impl Into<String>, expected: impl fmt::Debug, found: impl fmt::Debug) -> Self {
        ErrorKind::Shape { what: what.into(), expected: format!("{expected:?}"), found: format!("{found:?}") }
            .into()
    }

    /// A file that could not be read or written.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        ErrorKind::Io { path: path.as_ref().to_owned(), source }.into()
    }

    /// A file whose contents are wrong.
    pub fn data(path: impl AsRef<Path>, offset: Option<u64>, problem: impl Into<String>) -> Self {
        ErrorKind::Data { path: path.as_ref().to_owned(), offset, problem: problem.into() }.into()
    }

    /// The run was interrupted on request.
    pub fn stopped() -> Self {
        ErrorKind::Stopped.into()
    }

    /// An error from a user's own code; a `&str` or `String` will do.
    pub fn user(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        ErrorKind::User(source.into()).into()
    }

    /// Whether this is [`ErrorKind::Stopped`].
    pub fn is_stopped(&self) -> bool {
        matches!(*self.0, ErrorKind::Stopped)
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

#[cfg(feature = "torch")]
impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        ErrorKind::Torch(error).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            ErrorKind::Io { source, .. } => Some(source),
            ErrorKind::User(source) => Some(&**source),
            #[cfg(feature = "torch")]
            ErrorKind::Torch(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_and_names_the_way_out() {
        assert_eq!(size_of::<Result<f64>>(), 16);
        let e = Error::bad_value("step_size", -0.1, "above 0", "try 0.1");
        assert_eq!(e.to_string(), "step_size = -0.1: must be above 0; try 0.1");
        let e = Error::data("a.idx", Some(4), "found 3 dimensions, expected 1 or 3");
        assert_eq!(e.to_string(), "a.idx at byte 4: found 3 dimensions, expected 1 or 3");
        assert_eq!(Error::shape("start", 3, 2).to_string(), "start: expected 3, found 2");
        assert!(Error::stopped().is_stopped());
    }
}
