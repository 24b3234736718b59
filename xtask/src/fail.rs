//! How a command fails: which exit code an error means, and how it is shown.

use std::fmt;
use std::process::{ExitCode, ExitStatus};

/// Wrong use or bad input: something that the reader of the message can put right. Exit code 2.
#[derive(Debug)]
pub struct Bad(String);

/// A program that we ran failed; it has said why itself. Its exit code is passed on.
#[derive(Debug)]
pub struct Passed {
    /// What ran, as one would type it.
    pub what: String,
    /// Its exit code (128 + the signal's number when a signal ended it).
    pub code: u8,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed with exit code {}", self.what, self.code)
    }
}

impl std::error::Error for Bad {}
impl std::error::Error for Passed {}

/// An error of the caller's making: `return Err(bad(format!("…")))`.
pub fn bad(message: impl Into<String>) -> anyhow::Error {
    Bad(message.into()).into()
}

/// `Ok` when the program succeeded, otherwise an error that carries its exit code.
pub fn check(what: &str, status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Passed { what: what.to_owned(), code: code_of(status) }.into())
}

fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// The exit code that an error means.
pub fn code(error: &anyhow::Error) -> u8 {
    if let Some(passed) = error.downcast_ref::<Passed>() {
        passed.code
    } else if error.downcast_ref::<Bad>().is_some() {
        2
    } else {
        1
    }
}

/// Shows an error on stderr and gives the exit code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn codes() {
        assert_eq!(code(&bad("no such thing")), 2);
        assert_eq!(code(&anyhow::anyhow!("broke")), 1);
        let status = Command::new("sh").args(["-c", "exit 101"]).status().unwrap();
        assert_eq!(code(&check("sh", status).unwrap_err()), 101);
        let status = Command::new("sh").args(["-c", "kill -9 $$"]).status().unwrap();
        assert_eq!(code(&check("sh", status).unwrap_err()), 137);
    }

    #[test]
    fn a_context_keeps_the_code() {
        use anyhow::Context;
        let error = Err::<(), _>(bad("inner")).context("outer").unwrap_err();
        assert_eq!(code(&error), 2);
    }
}
