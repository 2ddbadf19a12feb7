//! `pubsub sub`: prints what is published.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use pubsub::{ChannelOptions, MessageKind};

use crate::channels::Channels;
use crate::context::{Context, Failure, Outcome};
use crate::format::{Format, printable, write_message};
use crate::output::Output;
use crate::signals::Signals;
use crate::values;

/// So many messages of one channel are taken before the others have their turn.
const TURN: u64 = 256;

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
  pubsub sub --replay 10 news.sports              the last 10 that it keeps, then what is new
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
    /// Begin with the last so many messages of each managed topic that matches; see 'pubsub topics'
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    replay: u32,
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
    let home = context.home().map(Into::into);
    let options = ChannelOptions { home, replay_last: args.replay, ..ChannelOptions::default() };

    let channels = Channels::open(&args.patterns, &options, context)?;
    let mut subscription = Subscription {
        context,
        channels,
        output,
        signals,
        format: args.format,
        deadline,
        left: args.count.unwrap_or(u64::MAX),
    };
    let outcome = subscription.run()?;
    subscription.channels.close(context)?;
    Ok(match outcome {
        Outcome::TooFew if args.count.is_none() => Outcome::Done,
        outcome => outcome,
    })
}

struct Subscription<'a> {
    context: &'a Context,
    channels: Channels,
    output: Output,
    signals: Signals,
    format: Format,
    deadline: Option<Instant>,
    /// How many messages are still to be printed.
    left: u64,
}

impl Subscription<'_> {
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
                self.channels.wait(&self.signals, Some(self.output.fd()), self.deadline)?;
            }
        }
    }

    /// Prints up to `max` messages of a channel; answers how many it had.
    fn take(&mut self, channel: usize, max: u64) -> Result<u64, Failure> {
        let mut taken = 0;
        while taken < max && self.left > 0 {
            let message = match self.channels.get(channel).fetch() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    // What came before the failure was received, so it is printed.
                    self.output.flush(&mut self.signals)?;
                    return Err(error.into());
                }
            };
            taken += 1;
            if message.kind() == MessageKind::TopicDeleted {
                self.context.say(&format!("deleted: {}", printable(message.topic().as_bytes())));
            }
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
            let unread = self.channels.get(i).stats()?.unread_messages;
            self.take(i, unread)?;
        }
        self.output.flush(&mut self.signals)?;
        Ok(match end {
            Outcome::TooFew if self.left == 0 => Outcome::Done,
            end => end,
        })
    }
}
