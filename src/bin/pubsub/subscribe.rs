//! `pubsub sub`: prints what is published.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pubsub::{Channel, ChannelOptions, MessageKind};

use crate::context::{Context, Failure, Outcome, counted};
use crate::format::{Format, printable, write_message};
use crate::output::Output;
use crate::signals::Signals;
use crate::values;

/// So many messages of one channel are taken before the others have their turn.
const TURN: u64 = 256;
/// No wait is longer: a fetch that finds nothing also notices that somebody deleted the channel's directory.
const LOOK: Duration = Duration::from_secs(1);

/// Print the messages that are published to topics
#[derive(clap::Args)]
#[command(after_help = "\
In a pattern, '=' stands for one word between dots (or a part of one) and '+' for one or more words: 'logs.=.error'
matches logs.app.error, 'logs.+' matches logs.error and logs.app.error.

Each pattern is a subscription of its own: a message that two of them match is printed twice. Order is kept
within a pattern. 'subscribed: PATTERN' on standard error says that whatever is published from now on will be printed.
Output is never held back while no message waits.

Formats:
  text  TOPIC, a space, the content; a message is a line: control characters and bytes that are not UTF-8 are shown as
        \\n, \\u{1b}, \\xff, and a final newline is left out. For people; headers are not shown
  json  one line: {\"id\": text, since ids do not fit into the numbers of jq and JavaScript; \"timestamp\": microseconds
        since 1970; \"topic\"; \"headers\": an object; \"content\": text}, with \"content_base64\" instead of \"content\"
        when the content is not UTF-8. NaN and infinities in headers are null
  raw   the bytes of the contents and nothing else

It ends after --count messages, after --timeout, on Ctrl-C, SIGTERM or SIGHUP, and when whoever reads its output
has gone. What was published until then is printed first; a second signal ends it at once. See 'pubsub --help' for the
exit codes.

Examples:
  pubsub sub news.sports                          until Ctrl-C
  pubsub sub 'news.+' 'logs.=.error'              several patterns
  pubsub sub --count 1 --timeout 5 job.done       wait for one message; exit code 3 if none came
  pubsub sub --format json 'trip.+' | jq .headers
  pubsub sub --format raw --count 1 photos.new > photo.jpg")]
pub struct Args {
    /// A topic, or a pattern of topics
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// End after so many seconds in all, fractions allowed
    #[arg(short, long, value_name = "SECONDS", value_parser = values::seconds)]
    timeout: Option<Duration>,
    /// What a message looks like
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    // Before the first channel is open, so that no signal can leave one behind.
    let signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let output = Output::new().map_err(|error| Failure::io("using standard output", &error))?;
    // A time too far away to be a time is no limit.
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let options = ChannelOptions { home: context.home().map(Into::into), ..ChannelOptions::default() };

    let mut channels = Vec::with_capacity(args.patterns.len());
    for pattern in &args.patterns {
        let mut channel = Channel::open(pattern, &options)?;
        // Asked for before the first fetch: from here on, it wakes us.
        channel.fd()?;
        context.say(&format!("subscribed: {}", printable(pattern.as_bytes())));
        channels.push(channel);
    }

    let mut subscription =
        Subscription { channels, output, signals, format: args.format, deadline, left: args.count.unwrap_or(u64::MAX) };
    let outcome = subscription.run()?;
    subscription.close(context)?;
    Ok(match outcome {
        Outcome::TooFew if args.count.is_none() => Outcome::Done,
        outcome => outcome,
    })
}

/// Dropped, it closes its channels, whatever happened.
struct Subscription {
    channels: Vec<Channel>,
    output: Output,
    signals: Signals,
    format: Format,
    deadline: Option<Instant>,
    /// How many messages are still to be printed.
    left: u64,
}

impl Subscription {
    fn run(&mut self) -> Result<Outcome, Failure> {
        loop {
            let mut idle = true;
            for i in 0..self.channels.len() {
                idle &= self.take(i, TURN)? == 0;
            }
            let end = if self.left == 0 {
                Some(Outcome::Done)
            } else if let Some(signal) = self.signals.caught() {
                Some(Outcome::Signal(signal))
            } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                Some(Outcome::TooFew)
            } else {
                None
            };
            if let Some(end) = end {
                return self.finish(end);
            }
            if idle {
                self.output.flush(&mut self.signals)?;
                self.wait()?;
            }
        }
    }

    /// Prints up to `max` messages of a channel; answers how many it had.
    fn take(&mut self, channel: usize, max: u64) -> Result<u64, Failure> {
        let mut taken = 0;
        while taken < max && self.left > 0 {
            let message = match self.channels[channel].fetch() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    // What came before the failure was received, so it is printed.
                    self.output.flush(&mut self.signals)?;
                    return Err(error.into());
                }
            };
            taken += 1;
            if message.kind() == MessageKind::Data {
                self.left -= 1;
                write_message(self.output.buffer(), self.format, &message);
                self.output.flush_if_large(&mut self.signals)?;
            }
        }
        Ok(taken)
    }

    /// Prints what waits at this moment, so that a script can publish and then end the subscriber without a race.
    fn finish(&mut self, end: Outcome) -> Result<Outcome, Failure> {
        for i in 0..self.channels.len() {
            // No more than that: publishers may be faster than we are.
            let unread = self.channels[i].stats()?.unread_messages;
            self.take(i, unread)?;
        }
        self.output.flush(&mut self.signals)?;
        Ok(match end {
            Outcome::TooFew if self.left == 0 => Outcome::Done,
            end => end,
        })
    }

    /// Waits for a message, a signal, the deadline, or the end of whoever reads the output.
    fn wait(&mut self) -> Result<(), Failure> {
        let left = self.deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
        // Rounded up, so that the last fraction of a millisecond is not polled away.
        let timeout = PollTimeout::from(left.min(LOOK).as_nanos().div_ceil(1_000_000) as u16);
        let mut fds = Vec::with_capacity(self.channels.len() + 2);
        // poll(2) reports errors and hang-ups unasked.
        fds.push(PollFd::new(self.output.fd(), PollFlags::empty()));
        fds.push(PollFd::new(self.signals.fd(), PollFlags::POLLIN));
        for channel in &mut self.channels {
            fds.push(PollFd::new(channel.as_fd()?, PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::io("waiting for messages", &errno.into())),
        }
        let reader_gone = fds[0].any().unwrap_or(false);
        if reader_gone { Err(Failure::ReaderGone) } else { Ok(()) }
    }

    /// Closes the channels and says what they did not get.
    fn close(mut self, context: &Context) -> Result<(), Failure> {
        for channel in self.channels.drain(..) {
            let stats = channel.stats()?;
            for (number, what) in [
                (stats.rejected, "refused because the queue was full"),
                (stats.dropped, "dropped because the queue was full"),
                (stats.malformed, "set aside because they are no messages"),
            ] {
                if number > 0 {
                    let pattern = printable(stats.topic.as_bytes());
                    context.say(&format!("{pattern}: {} {what}", counted(number, "message")));
                }
            }
            channel.close()?;
        }
        Ok(())
    }
}
