//! `pubsub ls`: the channels of a store.

#![forbid(unsafe_code)]

use pubsub::{ChannelStats, Transport};
use serde_json::{Value, json};

use crate::context::{Context, Failure, Outcome};
use crate::format::printable;
use crate::output;
use crate::program::Programs;
use crate::table::columns;

/// List the channels of the store: who listens to what, and how much waits
#[derive(clap::Args)]
#[command(after_help = "\
Columns: the pattern, the process id (as its own container knows it), the program, unread messages,
how many may wait, how many were refused because it was full, and the state: live, dead (its process
has ended; 'pubsub gc' removes it), and 'formix' for a channel of a formix-pubsub program. What cannot
be known is '-'.

With --json, a line is an object of pattern, path, transport (\"ring\" or \"files\"), alive, foreign (a
formix-pubsub program's), pid, program, unread_messages, unread_bytes, capacity_messages,
capacity_bytes, received, rejected, dropped, malformed; null where it cannot be known.

Examples:
  pubsub ls
  pubsub ls --json | jq -r 'select(.unread_messages > 1000) | .pattern'")]
pub struct Args {
    /// One JSON object a line instead of columns
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let mut channels = pubsub::list_channels(context.home())?;
    channels.sort_by(|a, b| (&a.topic, a.pid, &a.path).cmp(&(&b.topic, b.pid, &b.path)));
    let mut programs = Programs::default();
    let rows = channels.iter().map(|channel| (channel, programs.of(channel)));
    if args.json {
        let lines: String = rows.map(|(channel, program)| format!("{}\n", json_object(channel, program))).collect();
        output::print(lines.as_bytes())?;
    } else if channels.is_empty() {
        context.say(&format!("no channels in {}", context.home_shown()));
    } else {
        let header = ["PATTERN", "PID", "PROGRAM", "UNREAD", "CAPACITY", "REJECTED", "STATE"].map(str::to_owned);
        let table: Vec<_> =
            std::iter::once(header).chain(rows.map(|(channel, program)| row(channel, program))).collect();
        output::print(columns([false, true, false, true, true, true, false], &table).as_bytes())?;
    }
    Ok(Outcome::Done)
}

/// A channel for programs.
pub fn json_object(channel: &ChannelStats, program: Option<String>) -> Value {
    let ours = |value: u64| if channel.foreign { None } else { Some(value) };
    json!({
        "pattern": channel.topic,
        "path": channel.path.to_string_lossy(),
        "transport": if channel.transport == Transport::Ring { "ring" } else { "files" },
        "alive": channel.alive,
        "foreign": channel.foreign,
        "pid": channel.pid,
        "program": program,
        "unread_messages": channel.unread_messages,
        "unread_bytes": channel.unread_bytes,
        "capacity_messages": ours(channel.capacity_messages),
        "capacity_bytes": ours(channel.capacity_bytes),
        "received": ours(channel.received),
        "rejected": ours(channel.rejected),
        "dropped": ours(channel.dropped),
        "malformed": ours(channel.malformed),
    })
}

/// Whether a channel lives, and whose it is.
pub fn state(channel: &ChannelStats) -> String {
    let state = if channel.alive { "live" } else { "dead" };
    format!("{state}{}", if channel.foreign { " formix" } else { "" })
}

fn row(channel: &ChannelStats, program: Option<String>) -> [String; 7] {
    let ours = |value: u64| if channel.foreign { "-".to_owned() } else { value.to_string() };
    [
        printable(channel.topic.as_bytes()),
        channel.pid.to_string(),
        program.map_or_else(|| "-".to_owned(), |name| printable(name.as_bytes())),
        channel.unread_messages.to_string(),
        ours(channel.capacity_messages),
        ours(channel.rejected),
        state(channel),
    ]
}
