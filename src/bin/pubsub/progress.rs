//! A bar on the terminal that shows how far a long piece of work is.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;

/// So often at most is the terminal written to.
const OFTEN: Duration = Duration::from_millis(100);

/// Shown on standard error if that is a terminal, unless `--quiet`; dropped, it is taken away.
pub struct Progress {
    bar: ProgressBar,
    due: Instant,
}

impl Progress {
    /// Of work that ends at `total` bytes, if that is known.
    pub fn new(context: &Context, total: Option<u64>) -> Progress {
        let target = if context.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {msg}",
            None => "{spinner} {elapsed_precise}  {bytes}  {msg}",
        };
        // The templates are constants, and right.
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, due: Instant::now() }
    }

    /// Shows this, unless it was written to a moment ago.
    pub fn show(&mut self, bytes: u64, message: impl FnOnce() -> String) {
        let now = Instant::now();
        if now < self.due || self.bar.is_hidden() {
            return;
        }
        self.due = now + OFTEN;
        self.bar.set_position(bytes);
        self.bar.set_message(message());
        self.bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
