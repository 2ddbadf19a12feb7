//! `pubsub pub`: publishes one message, or each line of standard input.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use memchr::memchr;
use pubsub::{HeaderValue, Headers, Publisher, PublisherOptions};

use crate::context::{Context, Failure, Outcome, counted};
use crate::values;

/// One read takes no more; a pipe brings up to 64 KiB, a file all of it. What it brings is published at once.
const READ: usize = 256 * 1024;
/// A batch has no more lines: a channel that opens meanwhile hears of the next one.
const BATCH: usize = 1024;
/// Nor more bytes than this and a line.
const BATCH_BYTES: usize = 1 << 20;
/// How long each line waits for room in a full channel, as a pipe would make its writer wait, but not for ever.
const LINES_WAIT: Duration = Duration::from_secs(10);

/// Publish a message, or each line of standard input
#[derive(clap::Args)]
#[command(after_help = "\
Publishing to a topic on which nobody listens is no failure: exit code 0. It is one (exit code 1) when every
channel that listens is full; when only some are, the words on standard error say how many refused.

With --lines, what one read of standard input brings is published at once: line by line from a slow pipe or a
terminal, many together from a fast one. The newline is no part of a message. Lines wait for room in full channels,
so that a fast file does not run over a slower subscriber; --wait says how long each line may.

Examples:
  pubsub pub news.sports 'two goals'               one message
  pubsub pub news.sports ''                        an empty one
  pubsub pub -H n=3 -H unit=km -H ok=true trip 12  headers: a number, text, a boolean
  pubsub pub --json '{\"n\": 3}' trip 12             headers as a JSON object
  pubsub pub photos.new - < photo.jpg              all of standard input as one message
  tail -f /var/log/syslog | pubsub pub --lines log each line as a message")]
pub struct Args {
    /// Where to: 1 to 200 letters, digits, dots and hyphens
    topic: String,
    /// The content; '-' is standard input, up to its end
    #[arg(allow_negative_numbers = true, required_unless_present = "lines")]
    data: Option<OsString>,
    /// Publish each line of standard input as a message
    #[arg(short, long)]
    lines: bool,
    /// A header; a value that is JSON (3, true, "3", [1,2]) has its type, any other is text
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = values::header)]
    header: Vec<(String, HeaderValue)>,
    /// Headers as a JSON object; those of -H are set on top of it
    #[arg(long, value_name = "OBJECT")]
    json: Option<String>,
    /// How long to wait for room in full channels [default: 0, with --lines 10]
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    wait: Option<Duration>,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let headers = headers(args.json.as_deref(), args.header)?;
    let headers = Some(&headers).filter(|headers| !headers.is_empty());
    let full_timeout = args.wait.unwrap_or(if args.lines { LINES_WAIT } else { Duration::ZERO });
    let options = PublisherOptions { full_timeout, home: context.home().map(Into::into) };
    let publisher = Publisher::open(&args.topic, &options)?;

    let from_input = args.data.as_ref().is_none_or(|data| data == "-");
    if args.lines {
        if !from_input {
            return Err(Failure::Usage("--lines takes the messages from standard input: leave DATA out".to_owned()));
        }
        let published = publish_lines(&publisher, io::stdin().lock(), headers)?;
        context.say(&format!("published {}", counted(published, "message")));
        return Ok(Outcome::Done);
    }
    let data = match args.data {
        Some(data) if !from_input => data.into_vec(),
        _ => {
            let mut data = Vec::new();
            io::stdin().lock().read_to_end(&mut data).map_err(|error| Failure::io("reading standard input", &error))?;
            data
        }
    };
    let delivered = publisher.publish(&data, headers)?;
    let refused = match pubsub::last_rejected() {
        0 => String::new(),
        n => format!("; {} refused it", counted(n.into(), "channel")),
    };
    context.say(&format!("delivered to {}{refused}", counted(delivered as u64, "channel")));
    Ok(Outcome::Done)
}

fn headers(json: Option<&str>, single: Vec<(String, HeaderValue)>) -> Result<Headers, Failure> {
    let mut headers = match json {
        Some(json) => Headers::parse(json)?,
        None => Headers::new(),
    };
    for (name, value) in single {
        headers.set(name, value);
    }
    Ok(headers)
}

/// Publishes each line as soon as a read has brought it whole; the last may lack its newline. Answers how many.
fn publish_lines(publisher: &Publisher, mut input: impl Read, headers: Option<&Headers>) -> Result<u64, Failure> {
    let mut lines = Lines { publisher, headers, data: Vec::new(), lengths: Vec::new(), published: 0 };
    let mut buffer = vec![0; READ];
    let mut filled = 0; // the beginning of a line, without a newline in it
    loop {
        if filled == buffer.len() {
            buffer.resize(filled * 2, 0);
        }
        let read = match input.read(&mut buffer[filled..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::io("reading standard input", &error)),
        };
        let end = filled + read;
        if read == 0 {
            if filled > 0 {
                lines.add(&buffer[..filled])?;
            }
            lines.publish()?;
            return Ok(lines.published);
        }
        // Only what is new can hold a newline, so that one long line is not searched again and again.
        let (mut start, mut searched) = (0, filled);
        while let Some(at) = memchr(b'\n', &buffer[searched..end]) {
            lines.add(&buffer[start..searched + at])?;
            start = searched + at + 1;
            searched = start;
        }
        lines.publish()?;
        buffer.copy_within(start..end, 0);
        filled = end - start;
    }
}

/// Lines on their way, without what stands between them.
struct Lines<'a> {
    publisher: &'a Publisher,
    headers: Option<&'a Headers>,
    data: Vec<u8>,
    lengths: Vec<u32>,
    published: u64,
}

impl Lines<'_> {
    fn add(&mut self, line: &[u8]) -> Result<(), Failure> {
        let Ok(length) = u32::try_from(line.len()) else {
            self.publish()?;
            return Err(self.failure(&format!("it has {} bytes, and a message at most 4 GiB - 1", line.len())));
        };
        self.data.extend_from_slice(line);
        self.lengths.push(length);
        if self.lengths.len() >= BATCH || self.data.len() >= BATCH_BYTES { self.publish() } else { Ok(()) }
    }

    /// Publishes every line that was added.
    fn publish(&mut self) -> Result<(), Failure> {
        let (mut data, mut lengths) = (&self.data[..], &self.lengths[..]);
        while !lengths.is_empty() {
            // A batch stops before the first that fails, which is then the first of the next.
            match self.publisher.publish_packed(data, lengths, self.headers) {
                Ok(handled) => {
                    let (done, left) = lengths.split_at(handled);
                    data = &data[done.iter().map(|&length| length as usize).sum()..];
                    lengths = left;
                    self.published += handled as u64;
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
        self.data.clear();
        self.lengths.clear();
        Ok(())
    }

    fn failure(&self, why: &dyn Display) -> Failure {
        Failure::Failed(format!("line {} and what follows is not published: {why}", self.published + 1))
    }
}
