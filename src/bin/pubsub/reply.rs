//! `pubsub reply`: answers requests with what a command prints.

#![forbid(unsafe_code)]

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pubsub::{Channel, ChannelOptions, HeaderValue, Headers, Message, MessageKind};

use crate::context::{Context, Failure, Outcome};
use crate::exec::{self, Ended, Job};
use crate::format::printable;
use crate::signals::Signals;
use crate::values;

/// No wait is longer: a fetch that finds nothing also notices that somebody deleted the channel's directory.
const LOOK: Duration = Duration::from_secs(1);

/// Answer requests with what a command prints
#[derive(clap::Args)]
#[command(after_help = "\
For each request, one after the other, a shell runs the command: the content is its standard input, PUBSUB_TOPIC the
topic, PUBSUB_HEADERS the headers as JSON. What it prints on standard output is the reply, byte for byte; its standard
error is this command's.

A command that fails is answered, too: the reply has the header 'error', such as \"exit code 1\", and what the command
had printed. 'pubsub request' then ends with exit code 1. Messages that ask for no reply (without a header
response-topic) are passed over. 'subscribed: PATTERN' on standard error says that requests are answered from now on.

It ends after --count requests, and on Ctrl-C, SIGTERM or SIGHUP: a command that runs then is sent SIGTERM, and its
request answered as above.

Examples:
  pubsub reply text.upper --exec 'tr a-z A-Z'
  pubsub reply 'host.uptime' --exec uptime
  pubsub reply 'math.=' --exec 'bc -l' --timeout 2
  pubsub reply 'file.=' --exec 'cat -- \"/srv/${PUBSUB_TOPIC#file.}\"'")]
pub struct Args {
    /// A topic, or a pattern of topics
    pattern: String,
    /// What to run for each request, by sh -c
    #[arg(short, long, value_name = "CMD")]
    exec: String,
    /// End after so many requests
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long a command may take before it is killed, fractions allowed [default: without end]
    #[arg(short, long, value_name = "SECONDS", value_parser = values::seconds)]
    timeout: Option<Duration>,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    // Before the channel is open, so that no signal can leave one behind.
    let mut signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let options = ChannelOptions { home: context.home().map(Into::into), ..ChannelOptions::default() };
    let mut channel = Channel::open(&args.pattern, &options)?;
    // Asked for before the first fetch: from here on, it wakes us.
    channel.fd()?;
    context.say(&format!("subscribed: {}", printable(args.pattern.as_bytes())));

    let mut left = args.count.unwrap_or(u64::MAX);
    let outcome = loop {
        if left == 0 {
            break Outcome::Done;
        }
        if let Some(signal) = signals.caught() {
            break Outcome::Signal(signal);
        }
        match channel.fetch()? {
            Some(request) if request.kind() == MessageKind::Data => {
                if answer(&request, &args, context, &mut signals)? {
                    left -= 1;
                }
            }
            Some(_) => {}
            None => wait(&mut channel, &signals)?,
        }
    };
    channel.close()?;
    Ok(outcome)
}

/// Whether it was a request. One that cannot be answered keeps no other from being.
fn answer(request: &Message, args: &Args, context: &Context, signals: &mut Signals) -> Result<bool, Failure> {
    if request.headers().get("response-topic").is_none() {
        context.say(&format!("{}: it asks for no reply", printable(request.topic().as_bytes())));
        return Ok(false);
    }
    let job = Job {
        command: &args.exec,
        input: request.data(),
        topic: request.topic(),
        headers: request.headers_json(),
        home: context.home(),
        // A time too far away to be a time is no limit.
        deadline: args.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
    };
    let done = exec::run(&job, signals)?;
    let mut headers = Headers::new();
    if let Some(error) = error(&done.ended) {
        context.say(&format!("{}: {error}", printable(request.topic().as_bytes())));
        headers.set("error", HeaderValue::String(error));
    }
    if let Err(error) = pubsub::reply(request, &done.output, Some(&headers)) {
        context.say(&format!("{}: not answered: {error}", printable(request.topic().as_bytes())));
    }
    Ok(true)
}

/// What went wrong with a command.
fn error(ended: &Ended) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    let status = |status: &ExitStatus| match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, Some(signal)) => Some(format!("signal {signal}")),
        (None, None) => Some("no exit code".to_owned()),
    };
    match ended {
        Ended::By(itself) => status(itself),
        Ended::TooLate => Some("it took too long".to_owned()),
        Ended::TooLarge => Some("it printed more than a message can hold".to_owned()),
        Ended::Signalled => Some("the replier was ended".to_owned()),
    }
}

fn wait(channel: &mut Channel, signals: &Signals) -> Result<(), Failure> {
    let mut fds = [PollFd::new(signals.fd(), PollFlags::POLLIN), PollFd::new(channel.as_fd()?, PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(LOOK.as_millis() as u16)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Failure::io("waiting for requests", &errno.into())),
    }
}
