//! `pubsub request`: publishes a request and prints its reply.
//!
//! The library's `request` waits for the reply alone. Here standard output's reader and signals are waited for, too, so
//! the same is done with a channel of the command's own.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pubsub::{Channel, ChannelOptions, FullPolicy, HeaderValue, Headers, Message, Publisher, PublisherOptions};
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::context::{Context, Failure, Outcome};
use crate::format::{Format, printable, write_message};
use crate::output::Output;
use crate::signals::Signals;
use crate::values;

/// No wait is longer: a fetch that finds nothing also notices that somebody deleted the channel's directory.
const LOOK: Duration = Duration::from_secs(1);
/// Replies of others who answer are not waited for.
const CAPACITY: u64 = 64;

/// Publish a request and print its reply
#[derive(clap::Args)]
#[command(after_help = "\
A request is a message with the headers response-topic and correlation-id, which say where the reply is to go and how
it is to be marked. Whoever listens answers it: 'pubsub reply', a program in any language, one of formix-pubsub. When
several do, the first reply is printed.

Exit codes: 0 a reply; 1 nobody listens, or the reply has a header 'error', as that of a 'pubsub reply' whose command
failed; 3 no reply in time. See 'pubsub --help' for the others.

Examples:
  pubsub request math.double 21               the reply's bytes, and nothing else
  pubsub request math.double 21 --timeout 0.5
  pubsub request -H unit=km trip.length - < track.gpx
  pubsub request --format json math.double 21 | jq .headers")]
pub struct Args {
    /// Where to: 1 to 200 letters, digits, dots and hyphens
    topic: String,
    /// The content; '-' is standard input, up to its end [default: empty]
    #[arg(allow_negative_numbers = true)]
    data: Option<OsString>,
    /// A header; a value that is JSON (3, true, "3", [1,2]) has its type, any other is text
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = values::header)]
    header: Vec<(String, HeaderValue)>,
    /// How long to wait for the reply, fractions allowed
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
    /// What the reply looks like; see 'pubsub sub --help'
    #[arg(short, long, value_enum, default_value_t = Format::Raw)]
    format: Format,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    // Before the channel is open, so that no signal can leave one behind.
    let mut signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let mut output = Output::new().map_err(|error| Failure::io("using standard output", &error))?;
    let data = match args.data {
        None => Vec::new(),
        Some(data) if data != "-" => data.into_vec(),
        Some(_) => {
            let mut data = Vec::new();
            io::stdin().lock().read_to_end(&mut data).map_err(|error| Failure::io("reading standard input", &error))?;
            data
        }
    };
    let publisher =
        Publisher::open(&args.topic, &PublisherOptions { home: context.home().map(Into::into), ..Default::default() })?;
    let mut inbox = Inbox::open(context)?;
    let mut headers = Headers::new();
    for (name, value) in args.header {
        headers.set(name, value);
    }
    inbox.mark(&mut headers);
    // A time too far away to be a time is no limit.
    let deadline = Instant::now().checked_add(args.timeout);
    if publisher.publish(&data, Some(&headers))? == 0 {
        return Err(Failure::Failed(format!(
            "nobody listens on '{}' in {}: no channel there matches it; start who answers first",
            args.topic,
            context.home_shown()
        )));
    }
    let waited = inbox.wait(&signals, &output, deadline)?;
    inbox.channel.close()?;
    let reply = match waited {
        Waited::Reply(reply) => reply,
        Waited::Signal(signal) => return Ok(Outcome::Signal(signal)),
        Waited::TooLong => {
            context.say(&format!("no reply from '{}' in time", args.topic));
            return Ok(Outcome::TooFew);
        }
    };
    write_message(output.buffer(), args.format, &reply);
    // So that the shell's prompt stands in a line of its own.
    if args.format == Format::Raw && output.fd().is_terminal() && !reply.data().ends_with(b"\n") {
        output.buffer().push(b'\n');
    }
    output.flush(&mut signals)?;
    match reply.headers().get("error") {
        None | Some(HeaderValue::Null | HeaderValue::Bool(false)) => Ok(Outcome::Done),
        Some(HeaderValue::String(error)) => Err(failed(&args.topic, error)),
        Some(_) => Err(failed(&args.topic, "it has a header 'error'")),
    }
}

fn failed(topic: &str, error: &str) -> Failure {
    Failure::Failed(format!("the reply from '{topic}' is an error: {}", printable(error.as_bytes())))
}

struct Inbox {
    channel: Channel,
    id: String,
}

enum Waited {
    Reply(Message),
    TooLong,
    Signal(i32),
}

impl Inbox {
    fn open(context: &Context) -> Result<Inbox, Failure> {
        let id: String = rand::rng().sample_iter(Alphanumeric).take(16).map(char::from).collect();
        let options = ChannelOptions {
            full_policy: FullPolicy::DropOldest,
            capacity_messages: CAPACITY,
            home: context.home().map(Into::into),
            ..ChannelOptions::default()
        };
        let mut channel = Channel::open(&format!("reply.{id}"), &options)?;
        // Asked for before the first fetch: from here on, it wakes us.
        channel.fd()?;
        Ok(Inbox { channel, id })
    }

    /// Says where the reply is to go and how it is to be marked.
    fn mark(&self, headers: &mut Headers) {
        headers.set("response-topic", HeaderValue::String(self.channel.topic().to_owned()));
        headers.set("correlation-id", HeaderValue::String(self.id.clone()));
    }

    fn answers(&self, message: &Message) -> bool {
        matches!(message.headers().get("correlation-id"), Some(HeaderValue::String(id)) if *id == self.id)
    }

    fn wait(&mut self, signals: &Signals, output: &Output, deadline: Option<Instant>) -> Result<Waited, Failure> {
        loop {
            // The signal before the messages, of which somebody may send very many.
            if let Some(signal) = signals.caught() {
                return Ok(Waited::Signal(signal));
            }
            let message = self.channel.fetch()?;
            if let Some(message) = &message {
                if self.answers(message) {
                    return Ok(Waited::Reply(message.clone()));
                }
            }
            let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(Waited::TooLong);
            }
            if message.is_some() {
                continue;
            }
            // Rounded up, so that the last fraction of a millisecond is not polled away.
            let timeout = PollTimeout::from(left.min(LOOK).as_nanos().div_ceil(1_000_000) as u16);
            // poll(2) reports errors and hang-ups unasked.
            let mut fds = [
                PollFd::new(output.fd(), PollFlags::empty()),
                PollFd::new(signals.fd(), PollFlags::POLLIN),
                PollFd::new(self.channel.as_fd()?, PollFlags::POLLIN),
            ];
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::io("waiting for the reply", &errno.into())),
            }
            if fds[0].any().unwrap_or(false) {
                return Err(Failure::ReaderGone);
            }
        }
    }
}
