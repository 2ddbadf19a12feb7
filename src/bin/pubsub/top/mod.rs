//! `pubsub top`: the channels of a store, live on a terminal.
//!
//! [`model`] is what is known, [`view`] is how it looks; here are the terminal, the keys and the clock.

#![forbid(unsafe_code)]

mod model;
mod view;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::context::{Context, Failure, Outcome};
use crate::signals::Signals;
use crate::values;
use model::Model;

/// How soon a signal is seen: events of the terminal are waited for no longer.
const LOOK: Duration = Duration::from_millis(100);

/// Watch the channels of the store on a terminal: rates, queues, what was refused, who died
#[derive(clap::Args)]
#[command(after_help = "\
Columns: the pattern, its program and process id, messages per second published to it (IN) and received by it (OUT),
unread messages, how full its queue is (of messages or bytes, whichever is fuller), messages refused or dropped since
it was opened, with '!' while more are, and its state. A narrow terminal shows fewer. What formix-pubsub's channels
do not count is '-'.

Keys: q, Esc or Ctrl-C ends; s sorts by the next column, r the other way round; p or space holds the picture;
/ filters by pattern or program (Enter keeps the filter, Esc takes it away); up, down, PgUp, PgDn, Home and End move.

Examples:
  pubsub top
  pubsub top --interval 0.2 --home /srv/pubsub
  pubsub stats; pubsub ls --json              what to use where there is no terminal")]
pub struct Args {
    /// Look at the store so often
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::seconds)]
    interval: Duration,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if dumb || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Failed(
            "top needs a terminal for its input and output; elsewhere use 'pubsub stats' or 'pubsub ls'".to_owned(),
        ));
    }
    let signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let mut model = Model::new(context);
    // Before the screen is taken: what is wrong with the store is said where it stays.
    model.look()?;
    let mut screen = Screen::take()?;
    let outcome = watch(&mut screen, &mut model, &signals, args.interval.max(LOOK / 2));
    // The screen first: an error is to be said on the one that stays.
    drop(screen);
    outcome
}

/// The terminal, in raw mode and with a screen of its own, until it is dropped. A panic gives it back, too.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn take() -> Result<Screen, Failure> {
        let terminal = ratatui::try_init().map_err(|error| Failure::io("using the terminal", &error))?;
        Ok(Screen { terminal })
    }

    fn draw(&mut self, model: &mut Model) -> Result<(), Failure> {
        let drawn = self.terminal.draw(|frame| view::draw(frame, model));
        drawn.map(drop).map_err(|error| Failure::io("writing to the terminal", &error))
    }

    /// Gives the terminal back to the shell until this process is continued.
    fn suspend(&mut self) -> Result<(), Failure> {
        ratatui::restore();
        // Stops here.
        let _ = raise(Signal::SIGTSTP);
        self.terminal = ratatui::try_init().map_err(|error| Failure::io("using the terminal", &error))?;
        self.terminal.clear().map_err(|error| Failure::io("writing to the terminal", &error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // In a panic its hook has done so already; doing it again would move the cursor over what was said.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

fn watch(screen: &mut Screen, model: &mut Model, signals: &Signals, interval: Duration) -> Result<Outcome, Failure> {
    let mut due = Instant::now() + interval;
    loop {
        screen.draw(model)?;
        // For the test that sees the terminal given back.
        if cfg!(debug_assertions) && std::env::var_os("PUBSUB_PLANT").is_some_and(|plant| plant == "top panics") {
            panic!("planted");
        }
        let wait = due.saturating_duration_since(Instant::now()).min(LOOK);
        let is_gone = wait_for_input(wait).map_err(|errno| Failure::io("waiting for the terminal", &errno.into()))?;
        if let Some(signal) = signals.caught() {
            return Ok(Outcome::Signal(signal));
        }
        if is_gone {
            // Nobody sees it any more.
            return Ok(Outcome::Done);
        }
        // All that came at once: the rest would wait inside the library, where poll(2) does not see it.
        while has_event()? {
            let event = event::read().map_err(|error| Failure::io("reading the terminal", &error))?;
            // Anything else, such as another size, only needs drawing.
            if let Event::Key(key) = event {
                match pressed(model, key) {
                    Wish::Nothing => {}
                    Wish::Quit => return Ok(Outcome::Done),
                    Wish::Suspend => screen.suspend()?,
                }
            }
        }
        if Instant::now() >= due {
            due = Instant::now() + interval;
            if !model.paused {
                model.look_again();
            }
        }
    }
}

fn has_event() -> Result<bool, Failure> {
    match event::poll(Duration::ZERO) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        result => result.map_err(|error| Failure::io("reading the terminal", &error)),
    }
}

/// Waits for the terminal to say something; whether it is gone. Asked before the library that reads its events, which, when
/// a terminal is closed, would look for them in a tight loop for ever.
fn wait_for_input(wait: Duration) -> nix::Result<bool> {
    let stdin = io::stdin();
    let mut entry = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // Rounded up: not to spin for the last millisecond.
    let timeout = PollTimeout::try_from(wait + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
    match poll(&mut entry, timeout) {
        Ok(0) | Err(Errno::EINTR) => Ok(false),
        Ok(_) => {
            let found = entry[0].revents().unwrap_or(PollFlags::POLLERR);
            Ok(found.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL))
        }
        Err(errno) => Err(errno),
    }
}

enum Wish {
    Nothing,
    Quit,
    Suspend,
}

fn pressed(model: &mut Model, key: KeyEvent) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Wish::Quit,
            KeyCode::Char('z') => Wish::Suspend,
            _ => Wish::Nothing,
        };
    }
    if model.is_typing {
        match key.code {
            KeyCode::Enter => model.is_typing = false,
            KeyCode::Esc => {
                model.is_typing = false;
                model.set_filter(String::new());
            }
            KeyCode::Backspace => {
                let mut filter = model.filter().to_owned();
                filter.pop();
                model.set_filter(filter);
            }
            KeyCode::Char(c) => model.set_filter(format!("{}{c}", model.filter())),
            _ => {}
        }
        return Wish::Nothing;
    }
    match key.code {
        KeyCode::Char('q') => return Wish::Quit,
        KeyCode::Esc if model.filter().is_empty() => return Wish::Quit,
        KeyCode::Esc => model.set_filter(String::new()),
        KeyCode::Char('s') => model.sort_by_next(),
        KeyCode::Char('r') => model.reverse(),
        KeyCode::Char('p' | ' ') => model.paused = !model.paused,
        KeyCode::Char('/') => model.is_typing = true,
        KeyCode::Down | KeyCode::Char('j') => model.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => model.scroll(-1),
        KeyCode::PageDown => model.scroll(10),
        KeyCode::PageUp => model.scroll(-10),
        KeyCode::Home => model.scroll(isize::MIN),
        KeyCode::End => model.scroll(isize::MAX),
        _ => {}
    }
    Wish::Nothing
}
