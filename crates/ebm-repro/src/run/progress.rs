//! Progress on stderr: a bar with the loss and the time left, or a plain line now and then.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::number;

const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a part of a run is. Without a terminal it writes a line about every ten seconds.
pub struct Progress {
    label: String,
    n_steps: u64,
    first_step: u64,
    start: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `n_steps` in all; a resumed part starts at `first_step`.
    pub fn new(label: &str, n_steps: u64, first_step: u64) -> Self {
        let style = "{msg:24} {wide_bar} {pos}/{len}  {prefix}  {eta} left";
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(n_steps).with_message(label.to_owned());
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_position(first_step);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self { label: label.to_owned(), n_steps, first_step, start: now, last_line: now, bar }
    }

    /// `step` steps are done, and the loss stands at `loss`, where there is one.
    pub fn update(&mut self, step: u64, loss: Option<f64>) {
        if let Some(bar) = &self.bar {
            if let Some(loss) = loss {
                bar.set_prefix(format!("loss {}", number(loss)));
            }
            bar.set_position(step);
        } else if self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            let _ = writeln!(stderr(), "{}", self.line(step, loss));
        }
    }

    fn line(&self, step: u64, loss: Option<f64>) -> String {
        let done = step.saturating_sub(self.first_step).max(1) as f64;
        let left = self.n_steps.saturating_sub(step) as f64 * self.start.elapsed().as_secs_f64() / done;
        let (label, n_steps) = (&self.label, self.n_steps);
        let loss = loss.map_or_else(String::new, |loss| format!(" loss {},", number(loss)));
        format!("{label}: step {step} of {n_steps},{loss} {} left", crate::report::duration(left))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_where_it_is() {
        let line = Progress::new("training", 100, 50).line(60, Some(0.25));
        assert!(line.starts_with("training: step 60 of 100, loss 0.25, "), "{line}");
        let line = Progress::new("sampling", 100, 50).line(60, None);
        assert!(line.starts_with("sampling: step 60 of 100, 0.0 s left"), "{line}");
        Progress::new("nothing", 0, 0).update(0, Some(f64::NAN));
    }
}
