//! `pubsub record`: writes what is published into a file, to be played again.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pubsub::{ChannelOptions, Message, MessageKind, Pattern};

use crate::channels::Channels;
use crate::context::{Context, Failure, Outcome, counted};
use crate::progress::Progress;
use crate::recording::{Entry, Writer};
use crate::signals::Signals;
use crate::table::bytes;
use crate::values;

/// So many messages of one channel are taken before the others have their turn.
const TURN: usize = 256;
/// So much is gathered before it is written, while more messages wait.
const GATHER: usize = 256 * 1024;
/// A message that says that it was published longer ago than this had another clock.
const BELIEVABLE: Duration = Duration::from_secs(60);

/// Record what is published into a file, for 'pubsub play'
#[derive(clap::Args)]
#[command(after_help = "\
Topics, headers and contents are kept byte for byte, and when each message was published. A message that several
patterns match is recorded once. 'subscribed: PATTERN' on standard error says that whatever is published from now on
will be recorded.

It ends after --count messages, after --timeout, on Ctrl-C, SIGTERM or SIGHUP; what was published until then is
recorded first, and Ctrl-C is its usual end: exit code 0. Killed by force, or when the disk is full, it leaves a file
that can be played up to there. The format is in docs/recording-format.md.

Examples:
  pubsub record monday.psr 'host.+'            until Ctrl-C
  pubsub record all.psr + --timeout 60         everything, for a minute
  pubsub record --force test.psr a.b -n 1000   a thousand messages, over an older recording")]
pub struct Args {
    /// Where to; refused if it is there
    file: PathBuf,
    /// A topic, or a pattern of topics
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// End after so many seconds in all, fractions allowed
    #[arg(short, long, value_name = "SECONDS", value_parser = values::seconds)]
    timeout: Option<Duration>,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // Before the file is made: a pattern that is none leaves no file behind.
    let patterns = args.patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let shown = args.file.display().to_string();
    let failed = |error: &io::Error| Failure::io(&shown, error);
    let file = create(&args.file, args.force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Failed(format!("{shown} is there already; choose another name, or overwrite it with --force"))
        }
        _ => failed(&error),
    })?;
    let options = ChannelOptions { home: context.home().map(Into::into), ..ChannelOptions::default() };
    let started_us = wall_us();
    let mut writer = Writer::new(BufWriter::with_capacity(GATHER, file), started_us).map_err(|error| failed(&error))?;
    writer.flush().map_err(|error| failed(&error))?;
    let start = Instant::now();
    let channels = Channels::open(&args.patterns, &options, context)?;
    let waiting = patterns.iter().map(|_| VecDeque::new()).collect();
    let left = args.count.unwrap_or(u64::MAX);
    let mut recorder = Recorder { channels, patterns, waiting, writer, start, left, size: 0 };

    let mut progress = Progress::new(context, None);
    let ended = loop {
        let taken = recorder.take(TURN).map_err(|error| error.with(&failed))?;
        let end = if recorder.left == 0 || signals.caught().is_some() {
            Some(Outcome::Done)
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some(if args.count.is_some() { Outcome::TooFew } else { Outcome::Done })
        } else {
            None
        };
        let (size, messages) = (recorder.size, recorder.writer.messages());
        progress.show(size, || format!("{}; Ctrl-C ends", counted(messages, "message")));
        if let Some(end) = end {
            break end;
        }
        if taken == 0 {
            // What is not written yet would be lost with this process.
            recorder.writer.flush().map_err(|error| failed(&error))?;
            recorder.channels.wait(&signals, None, deadline)?;
        }
    };
    recorder.finish().map_err(|error| error.with(&failed))?;
    drop(progress);
    let ended = if recorder.left == 0 { Outcome::Done } else { ended };
    let (size, messages) = (recorder.size, recorder.writer.messages());
    let lost = recorder.channels.close(context)?;
    let file = recorder.writer.finish(lost).map_err(|error| failed(&error))?;
    match file.get_ref().sync_all() {
        // A pipe or a device, which cannot be synced.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        synced => synced.map_err(|error| failed(&error))?,
    }
    context.say(&format!("recorded {}, {}, in {shown}", counted(messages, "message"), bytes(size)));
    Ok(ended)
}

fn create(path: &PathBuf, force: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force { options.create(true).truncate(true) } else { options.create_new(true) }.open(path)
}

fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// What went wrong: with a channel, or with the file.
enum Trouble {
    Channel(pubsub::Error),
    File(io::Error),
}

impl Trouble {
    fn with(self, file: &impl Fn(&io::Error) -> Failure) -> Failure {
        match self {
            Trouble::Channel(error) => error.into(),
            Trouble::File(error) => file(&error),
        }
    }
}

struct Recorder {
    channels: Channels,
    patterns: Vec<Pattern>,
    /// Fetched and not yet written, for each channel.
    waiting: Vec<VecDeque<Message>>,
    writer: Writer<BufWriter<File>>,
    start: Instant,
    /// How many messages are still to be recorded.
    left: u64,
    /// Bytes of the messages recorded.
    size: u64,
}

impl Recorder {
    /// Records up to `max` messages of each channel; answers how many there were.
    fn take(&mut self, max: usize) -> Result<usize, Trouble> {
        self.take_each(|_| max)
    }

    /// Records what waits at this moment, and no more: publishers may be faster than we are.
    fn finish(&mut self) -> Result<(), Trouble> {
        let unread = (0..self.channels.len()).map(|i| Ok(self.channels.get(i).stats()?.unread_messages as usize));
        let unread = unread.collect::<pubsub::Result<Vec<_>>>().map_err(Trouble::Channel)?;
        self.take_each(|i| unread[i]).map(drop)
    }

    fn take_each(&mut self, max: impl Fn(usize) -> usize) -> Result<usize, Trouble> {
        let mut taken = 0;
        for i in 0..self.channels.len() {
            for _ in 0..max(i) {
                let Some(message) = self.channels.get(i).fetch().map_err(Trouble::Channel)? else { break };
                taken += 1;
                // An earlier pattern has the same message: its channel was open before this one.
                let doubled = self.patterns[..i].iter().any(|pattern| pattern.matches(message.topic()));
                if message.kind() == MessageKind::Data && !doubled {
                    self.waiting[i].push_back(message);
                }
            }
        }
        let (now, now_us) = (self.start.elapsed(), wall_us());
        while self.left > 0 {
            // Each channel's order is kept; between them the earlier goes first.
            let next = self.waiting.iter_mut().filter(|queue| !queue.is_empty());
            let next = next.min_by_key(|queue| queue.front().map(Message::timestamp_us));
            let Some(message) = next.and_then(VecDeque::pop_front) else { break };
            let (topic, headers_json, data) = (message.topic(), message.headers_json(), message.data());
            let entry = Entry {
                after_us: after_us(now, now_us, message.timestamp_us()),
                id: message.id(),
                timestamp_us: message.timestamp_us(),
                topic,
                headers_json,
                data,
            };
            self.writer.write(&entry).map_err(Trouble::File)?;
            self.left -= 1;
            self.size += (topic.len() + headers_json.len() + data.len()) as u64;
        }
        Ok(taken)
    }
}

/// When a message was published, microseconds from the recording's start: by what its time stamp says of how long ago that
/// is. So neither a clock that is set nor one that is slewed changes the recording's timing, but for messages that wait
/// at that very moment.
fn after_us(now: Duration, now_us: u64, timestamp_us: i64) -> u64 {
    let ago = i64::try_from(now_us).unwrap_or(i64::MAX).saturating_sub(timestamp_us);
    let ago = u64::try_from(ago).map(Duration::from_micros).unwrap_or_default();
    now.saturating_sub(if ago <= BELIEVABLE { ago } else { Duration::ZERO }).as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_count_unless_they_cannot_be() {
        let now = Duration::from_secs(100);
        assert_eq!(after_us(now, 5_000_000, 4_000_000), 99_000_000);
        assert_eq!(after_us(now, 5_000_000, 6_000_000), 100_000_000, "from the future");
        assert_eq!(after_us(now, 5_000_000_000, 4_000_000), 100_000_000, "from long ago");
        assert_eq!(after_us(Duration::ZERO, 5_000_000, 4_000_000), 0, "before the start");
        assert_eq!(after_us(now, 5_000_000, i64::MIN), 100_000_000);
    }
}
