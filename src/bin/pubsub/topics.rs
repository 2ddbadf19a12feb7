//! `pubsub topics`: topics that keep a history.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pubsub::{ErrorKind, Recorder, TopicOptions, TopicStats};
use serde_json::{Value, json};

use crate::context::{Context, Failure, Outcome, counted};
use crate::format::{Format, printable, write_message};
use crate::output::{self, Output};
use crate::signals::Signals;
use crate::table::{bytes, columns};
use crate::values;

/// How often topics are looked for that came, or that lost their recorder.
const LOOK: Duration = Duration::from_secs(1);

/// List, create and delete topics that keep a history
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A managed topic keeps the last messages published to it, 100 by default: for 'pubsub sub --replay', for 'pubsub topics
history', and for programs that go on where they left off. Other topics keep nothing, and cost nothing.

Columns: the topic, live subscribers (patterns that match it included), messages published since it was created,
messages and bytes in the history, and the offset that the next message gets. With --json, a line is an object of topic,
subscribers, messages_published, messages_in_history, bytes_in_history, epoch (text), next_offset, created (microseconds
since 1970).

Examples:
  pubsub topics
  pubsub topics create news.sports --messages 1000 --age 86400
  pubsub topics history news.sports --last 5
  pubsub topics delete news.sports
  pubsub sub --replay 5 news.sports          the last 5, then what is new")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: List,
}

#[derive(clap::Subcommand)]
enum Action {
    List(List),
    Create(Create),
    Delete(Delete),
    History(History),
    Keep(Keep),
}

/// List the managed topics (what 'pubsub topics' does)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pubsub topics list
  pubsub topics list --json | jq -r .topic")]
struct List {
    /// One JSON object a line instead of columns
    #[arg(long)]
    json: bool,
}

/// Create a topic that keeps a history; exit code 1 when it is there
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pubsub topics create news.sports
  pubsub topics create sensors.raw --messages 100000 --bytes 268435456 --age 3600")]
struct Create {
    /// Its name: 1 to 200 letters, digits, dots and hyphens
    topic: String,
    /// The most messages kept [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    messages: Option<u32>,
    /// The most bytes kept: of headers and contents, and 32 for each message [default: 64 MiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    bytes: Option<u64>,
    /// Messages older than so many seconds are not given out [default: of any age]
    #[arg(long, value_name = "SECONDS", value_parser = values::age)]
    age: Option<Duration>,
}

/// Delete a managed topic and its history; its subscribers are told
#[derive(clap::Args)]
#[command(after_help = "\
Publishing and subscribing to it go on, without a history.

Examples:
  pubsub topics delete news.sports")]
struct Delete {
    topic: String,
}

/// Print the history of a managed topic, oldest first
#[derive(clap::Args)]
#[command(after_help = "\
The formats are those of 'pubsub sub'.

Examples:
  pubsub topics history news.sports
  pubsub topics history news.sports --last 10 --format json")]
struct History {
    topic: String,
    /// Only the last so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = u32::MAX, hide_default_value = true)]
    last: u32,
    /// What a message looks like
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Put what formix-pubsub programs publish into histories, as long as it runs
#[derive(clap::Args)]
#[command(after_help = "\
Programs that use libpubsub put their messages into a history themselves; formix-pubsub programs know no histories.
Needed only where these publish to managed topics: one such process for a store. Of two, one waits until the other
has ended. Without topics it keeps all of them, also those created later. 'keeping: TOPIC' on standard error says that
what is published from now on is kept.

Examples:
  pubsub topics keep
  pubsub topics keep news.sports news.weather")]
struct Keep {
    /// Only these
    topics: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    match args.action.unwrap_or(Action::List(args.list)) {
        Action::List(args) => list(&args, context),
        Action::Create(args) => create(args, context),
        Action::Delete(args) => delete(&args, context),
        Action::History(args) => history(&args, context),
        Action::Keep(args) => keep(&args, context),
    }
}

fn list(args: &List, context: &Context) -> Result<Outcome, Failure> {
    let topics = pubsub::topics(context.home())?;
    if args.json {
        let lines: String = topics.iter().map(|topic| format!("{}\n", json_object(topic))).collect();
        output::print(lines.as_bytes())?;
    } else if topics.is_empty() {
        context.say(&format!("no managed topics in {}", context.home_shown()));
    } else {
        let header = ["TOPIC", "SUBSCRIBERS", "PUBLISHED", "KEPT", "BYTES", "NEXT"].map(str::to_owned);
        let table: Vec<_> = std::iter::once(header).chain(topics.iter().map(row)).collect();
        output::print(columns([false, true, true, true, true, true], &table).as_bytes())?;
    }
    Ok(Outcome::Done)
}

fn row(topic: &TopicStats) -> [String; 6] {
    [
        printable(topic.topic.as_bytes()),
        topic.subscribers.to_string(),
        topic.messages_published.to_string(),
        topic.messages_in_history.to_string(),
        bytes(topic.bytes_in_history),
        topic.next_offset.to_string(),
    ]
}

/// A managed topic for programs.
pub fn json_object(topic: &TopicStats) -> Value {
    json!({
        "topic": topic.topic,
        "subscribers": topic.subscribers,
        "messages_published": topic.messages_published,
        "messages_in_history": topic.messages_in_history,
        "bytes_in_history": topic.bytes_in_history,
        // Text, as ids are: above 2^53.
        "epoch": topic.epoch.to_string(),
        "next_offset": topic.next_offset,
        "created": topic.created_us,
    })
}

fn create(args: Create, context: &Context) -> Result<Outcome, Failure> {
    let options = TopicOptions {
        history_messages: args.messages.unwrap_or(0),
        history_bytes: args.bytes.unwrap_or(0),
        history_ttl: args.age,
        home: context.home().map(Into::into),
    };
    pubsub::create_topic(&args.topic, &options)?;
    context.say(&format!("created {}", args.topic));
    Ok(Outcome::Done)
}

fn delete(args: &Delete, context: &Context) -> Result<Outcome, Failure> {
    pubsub::delete_topic(&args.topic, context.home())?;
    context.say(&format!("deleted {}", args.topic));
    Ok(Outcome::Done)
}

fn history(args: &History, context: &Context) -> Result<Outcome, Failure> {
    let mut signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let mut output = Output::new().map_err(|error| Failure::io("using standard output", &error))?;
    for message in pubsub::topic_history(&args.topic, context.home(), args.last)? {
        write_message(output.buffer(), args.format, &message);
        output.flush_if_large(&mut signals)?;
        if let Some(signal) = signals.caught() {
            return Ok(Outcome::Signal(signal));
        }
    }
    output.flush(&mut signals)?;
    Ok(Outcome::Done)
}

fn keep(args: &Keep, context: &Context) -> Result<Outcome, Failure> {
    let signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    let mut keeper = Keeper { context, recorders: BTreeMap::new(), elsewhere: BTreeSet::new(), recorded: 0 };
    for topic in &args.topics {
        // One that is not managed is a mistake when it is named, at the beginning.
        pubsub::topic_stats(topic, context.home())?;
    }
    let mut due = Instant::now();
    loop {
        if let Some(signal) = signals.caught() {
            context.say(&format!("kept {}", counted(keeper.recorded, "message")));
            return Ok(Outcome::Signal(signal));
        }
        if Instant::now() >= due {
            due = Instant::now() + LOOK;
            keeper.look(&args.topics)?;
        }
        if keeper.record()? == 0 {
            keeper.wait(&signals, due)?;
        }
    }
}

struct Keeper<'a> {
    context: &'a Context,
    recorders: BTreeMap<String, Recorder>,
    /// Topics that another process records.
    elsewhere: BTreeSet<String>,
    recorded: u64,
}

impl Keeper<'_> {
    /// Becomes the recorder of what has none.
    fn look(&mut self, only: &[String]) -> Result<(), Failure> {
        let home = self.context.home();
        let topics = match only {
            [] => pubsub::topics(home)?.into_iter().map(|topic| topic.topic).collect(),
            only => only.to_vec(),
        };
        self.elsewhere.retain(|topic| topics.contains(topic));
        for topic in topics {
            if self.recorders.contains_key(&topic) {
                continue;
            }
            match Recorder::open(&topic, home) {
                Ok(Some(mut recorder)) => {
                    // Asked for before the first look: from here on, it wakes us.
                    recorder.fd()?;
                    self.context.say(&format!("keeping: {topic}"));
                    self.elsewhere.remove(&topic);
                    self.recorders.insert(topic, recorder);
                }
                Ok(None) => {
                    if self.elsewhere.insert(topic.clone()) {
                        self.context.say(&format!("another process keeps {topic}; waiting for its end"));
                    }
                }
                // Deleted; it may be created again.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Records what is there; answers how much.
    fn record(&mut self) -> Result<u64, Failure> {
        let (mut recorded, mut deleted) = (0, Vec::new());
        for (topic, recorder) in &mut self.recorders {
            match recorder.record(Some(Duration::ZERO)) {
                Ok(messages) => recorded += messages,
                Err(error) if error.kind() == ErrorKind::NotFound => deleted.push(topic.clone()),
                // The history says that it lacks one; the others shall not.
                Err(error) if error.kind() == ErrorKind::StoreFull => {
                    self.context.say(&printable(format!("{topic} lacks a message: {error}").as_bytes()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        for topic in deleted {
            self.recorders.remove(&topic);
            self.context.say(&format!("deleted: {topic}"));
        }
        self.recorded += recorded;
        Ok(recorded)
    }

    fn wait(&mut self, signals: &Signals, due: Instant) -> Result<(), Failure> {
        // Rounded up, so that the last fraction of a millisecond is not polled away.
        let left = due.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000) as u16;
        let mut fds = vec![PollFd::new(signals.fd(), PollFlags::POLLIN)];
        for recorder in self.recorders.values_mut() {
            fds.push(PollFd::new(recorder.as_fd()?, PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::from(left)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Failure::io("waiting for messages", &errno.into())),
        }
    }
}
