//! `pubsub play`: publishes a recording again, with its timing.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pubsub::{ErrorKind, Publisher, PublisherOptions};

use crate::context::{Context, Failure, Outcome, counted};
use crate::progress::Progress;
use crate::recording::{End, Entry, Reader, Unreadable};
use crate::signals::Signals;

/// How long each message waits for room in a full channel.
const WAIT: Duration = Duration::from_secs(10);
/// Publishers kept open, one for each topic.
const PUBLISHERS: usize = 4096;

/// Publish a recording again, with its timing
#[derive(clap::Args)]
#[command(after_help = "\
Topics, headers and contents are as they were, byte for byte; ids and time stamps are new. The pauses between messages
are those of the recording, divided by --speed. Messages wait up to 10 seconds for room in full channels.

A recording whose writer was killed is played up to the cut, and standard error says so. One that is damaged is played
up to the damage: exit code 1. Messages on topics that only formix-pubsub programs can publish to are left out.
Ctrl-C ends it between two messages.

Examples:
  pubsub play monday.psr                  as it was
  pubsub play monday.psr --speed 10       ten times as fast
  pubsub play monday.psr --speed 0        as fast as possible")]
pub struct Args {
    /// A recording of 'pubsub record'
    file: PathBuf,
    /// How much faster than it was recorded; 0: as fast as possible
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    speed: f64,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("not a factor, such as 2 or 0.5; 0 is as fast as possible".to_owned()),
    }
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let mut signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let shown = args.file.display().to_string();
    let file = File::open(&args.file).map_err(|error| Failure::io(&shown, &error))?;
    let size = file.metadata().map_err(|error| Failure::io(&shown, &error))?.len();
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, file)).map_err(|error| failure(&shown, error))?;
    let mut player = Player::new(args.speed, context);
    let mut progress = Progress::new(context, Some(size));

    let mut signal = None;
    let problem = loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => break None,
            Err(error) => break Some(failure(&shown, error)),
        };
        signal = player.wait_for(&entry, &mut signals)?;
        if signal.is_some() {
            break None;
        }
        if let Err(failure) = player.publish(&entry, &signals) {
            break Some(failure);
        }
        let position = reader.position();
        progress.show(position, || counted(player.played, "message"));
    };
    drop(progress);
    player.say(context);
    if let Some(problem) = problem {
        return Err(problem);
    }
    match reader.end() {
        Some(End::Cut) => {
            context.say(&format!("{shown} was cut short: there is nothing behind the last message played"))
        }
        Some(End::Whole { lost: lost @ 1.. }) => {
            context.say(&format!("{shown} lacks {} that there was no room for", counted(*lost, "message")));
        }
        _ => {}
    }
    Ok(signal.map_or(Outcome::Done, Outcome::Signal))
}

fn failure(shown: &str, error: Unreadable) -> Failure {
    match error {
        Unreadable::NoRecording(why) => Failure::Failed(format!("{shown} {why}")),
        Unreadable::Damaged(place) => {
            Failure::Failed(format!("{shown} is damaged at byte {place}; what stands before it was played"))
        }
        Unreadable::Io(error) => Failure::io(&format!("reading {shown}"), &error),
    }
}

struct Player {
    options: PublisherOptions,
    publishers: HashMap<String, Publisher>,
    speed: f64,
    start: Instant,
    /// The time of the first message; times that go back count as this one's.
    first_us: Option<u64>,
    played: u64,
    refused: u64,
    left_out: u64,
}

impl Player {
    fn new(speed: f64, context: &Context) -> Player {
        Player {
            options: PublisherOptions { full_timeout: WAIT, home: context.home().map(Into::into) },
            publishers: HashMap::new(),
            speed,
            start: Instant::now(),
            first_us: None,
            played: 0,
            refused: 0,
            left_out: 0,
        }
    }

    /// Waits until a message is due; the signal that ended the wait, if one did.
    fn wait_for(&mut self, entry: &Entry, signals: &mut Signals) -> Result<Option<i32>, Failure> {
        let first = *self.first_us.get_or_insert(entry.after_us);
        let after = Duration::from_micros(entry.after_us.saturating_sub(first)).as_secs_f64() / self.speed;
        // Faster than anything, or so slow that no clock expresses it: a hostile time must not end in a panic.
        let after = if self.speed == 0.0 { 0.0 } else { after.min(1e9) };
        let due = self.start + Duration::from_secs_f64(after);
        loop {
            if let Some(signal) = signals.caught() {
                return Ok(Some(signal));
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if left < Duration::from_millis(1) {
                // Finer than poll(2) can wait.
                thread::sleep(left);
                continue;
            }
            let timeout = PollTimeout::from(left.as_millis().min(10_000) as u16);
            match poll(&mut [PollFd::new(signals.fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => signals.count(),
                Err(errno) => return Err(Failure::io("waiting for the next message", &errno.into())),
            }
        }
    }

    /// Publishes a message, unless a signal of ours ends the wait for room: the next wait will see that.
    fn publish(&mut self, entry: &Entry, signals: &Signals) -> Result<(), Failure> {
        if !self.publishers.contains_key(entry.topic) {
            let publisher = match Publisher::open(entry.topic, &self.options) {
                Ok(publisher) => publisher,
                Err(error) if error.kind() == ErrorKind::InvalidTopic => {
                    self.left_out += 1;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            if self.publishers.len() >= PUBLISHERS {
                self.publishers.clear();
            }
            self.publishers.insert(entry.topic.to_owned(), publisher);
        }
        let publisher = &self.publishers[entry.topic];
        let result = loop {
            match publisher.publish_json(entry.data, entry.headers_json) {
                Err(error) if error.kind() == ErrorKind::Interrupted && signals.caught().is_some() => return Ok(()),
                // None of ours, such as SIGWINCH.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        match result {
            Ok(_) => {
                self.played += 1;
                self.refused += u64::from(pubsub::last_rejected());
                Ok(())
            }
            Err(error) => Err(Failure::Failed(format!(
                "message {} and what follows is not published: {error}",
                self.played + self.left_out + 1
            ))),
        }
    }

    fn say(&self, context: &Context) {
        let seconds = self.start.elapsed().as_secs_f64();
        context.say(&format!("played {} in {seconds:.1} s", counted(self.played, "message")));
        if self.refused > 0 {
            context.say(&format!("full channels refused {}", counted(self.refused, "message")));
        }
        if self.left_out > 0 {
            context.say(&format!("left out {} on topics that are none here", counted(self.left_out, "message")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor() {
        assert_eq!((speed("0"), speed("0.5"), speed("1e3")), (Ok(0.0), Ok(0.5), Ok(1000.0)));
        for text in ["-1", "fast", "NaN", "inf", ""] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
