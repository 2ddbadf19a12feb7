//! A bar on the terminal that shows how far a long piece of work is.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::context::Context;

/// So often at most is the terminal written to.
const OFTEN: Duration = Duration::from_millis(100);

/// Room for the `^C` that terminals echo, or it would break the line, whose first half would stay.
const ECHO: u16 = 3;

/// The columns of the terminal that standard error is, if it is one.
fn terminal_width() -> Option<u16> {
    io::stderr().is_terminal().then(|| ratatui::crossterm::terminal::size().map_or(80, |(width, _)| width))
}

/// One line of standard error, a little narrower than the terminal.
#[derive(Debug)]
struct Line {
    width: u16,
}

impl Line {
    fn write(text: &str) -> io::Result<()> {
        io::stderr().write_all(text.as_bytes())
    }
}

impl TermLike for Line {
    fn width(&self) -> u16 {
        self.width
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { Line::write(&format!("\x1b[{n}A")) }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { Line::write(&format!("\x1b[{n}B")) }
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { Line::write(&format!("\x1b[{n}C")) }
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { Line::write(&format!("\x1b[{n}D")) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        Line::write(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        Line::write(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        Line::write("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shown on standard error if that is a terminal, unless `--quiet`; dropped, it is taken away.
pub struct Progress {
    bar: ProgressBar,
    due: Instant,
}

impl Progress {
    /// Of work that ends at `total` bytes, if that is known.
    pub fn new(context: &Context, total: Option<u64>) -> Progress {
        let target = match terminal_width() {
            Some(width) if !context.is_quiet() => {
                ProgressDrawTarget::term_like_with_hz(Box::new(Line { width: width.saturating_sub(ECHO) }), 20)
            }
            _ => ProgressDrawTarget::hidden(),
        };
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
