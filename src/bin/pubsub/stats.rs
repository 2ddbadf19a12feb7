//! `pubsub stats`: a store in figures.

#![forbid(unsafe_code)]

use pubsub::ChannelStats;
use serde_json::json;

use crate::context::{Context, Failure, Outcome, counted};
use crate::disk::Disk;
use crate::format::printable;
use crate::output;
use crate::table::{bytes, columns};
use crate::{list, program::Programs, topics};

/// Show a store in figures: its totals, and what each channel has received, refused and lost
#[derive(clap::Args)]
#[command(after_help = "\
Counters begin with the channel and go with it; totals are over the channels that are there. What formix-pubsub's
channels do not count is '-' ('null' with --json) and not in the totals.

  received   messages that its program has fetched
  rejected   messages that it had no room for: their publishers were told
  dropped    messages dropped to make room (channels that drop the oldest)
  malformed  entries that were no messages

With --json, one object: store, file_system, size_bytes, available_bytes, channels (an object of total, live, dead,
foreign), unread_messages, unread_bytes, received, rejected, dropped, malformed, topics and per_channel: lists of
objects as 'pubsub topics --json' and 'pubsub ls --json' print them.

Examples:
  pubsub stats
  pubsub stats --json | jq .rejected          for a monitoring system
  watch -n1 pubsub stats                      'pubsub top' is nicer")]
pub struct Args {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Sums over channels.
#[derive(Default)]
pub struct Totals {
    pub live: u64,
    pub dead: u64,
    pub foreign: u64,
    pub unread_messages: u64,
    pub unread_bytes: u64,
    pub received: u64,
    pub rejected: u64,
    pub dropped: u64,
    pub malformed: u64,
}

impl Totals {
    pub fn of(channels: &[ChannelStats]) -> Totals {
        let mut totals = Totals::default();
        for channel in channels {
            *if channel.alive { &mut totals.live } else { &mut totals.dead } += 1;
            totals.foreign += u64::from(channel.foreign);
            // What a hostile page says may be anything.
            for (sum, value) in [
                (&mut totals.unread_messages, channel.unread_messages),
                (&mut totals.unread_bytes, channel.unread_bytes),
                (&mut totals.received, channel.received),
                (&mut totals.rejected, channel.rejected),
                (&mut totals.dropped, channel.dropped),
                (&mut totals.malformed, channel.malformed),
            ] {
                *sum = sum.saturating_add(value);
            }
        }
        totals
    }
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let home = context.home().unwrap_or_else(|| pubsub::home());
    let disk = Disk::of(home).map_err(|errno| Failure::io(&context.home_shown(), &errno.into()))?;
    let channels = pubsub::list_channels(context.home())?;
    let totals = Totals::of(&channels);
    let topics = pubsub::topics(context.home())?;
    if args.json {
        let mut programs = Programs::default();
        let object = json!({
            "store": home.to_string_lossy(),
            "file_system": disk.kind,
            "size_bytes": disk.bytes,
            "available_bytes": disk.available_bytes,
            "channels": {
                "total": channels.len(), "live": totals.live, "dead": totals.dead, "foreign": totals.foreign,
            },
            "unread_messages": totals.unread_messages,
            "unread_bytes": totals.unread_bytes,
            "received": totals.received,
            "rejected": totals.rejected,
            "dropped": totals.dropped,
            "malformed": totals.malformed,
            "topics": topics.iter().map(topics::json_object).collect::<Vec<_>>(),
            "per_channel":
                channels.iter().map(|channel| list::json_object(channel, programs.of(channel))).collect::<Vec<_>>(),
        });
        output::print(format!("{object}\n").as_bytes())?;
        return Ok(Outcome::Done);
    }
    let mut text = format!(
        "store      {} ({}, {} of {} available)\n",
        context.home_shown(),
        disk.kind,
        bytes(disk.available_bytes),
        bytes(disk.bytes)
    );
    text += &format!("channels   {} live, {} dead, {} of formix-pubsub\n", totals.live, totals.dead, totals.foreign);
    let kept: u64 = topics.iter().map(|topic| topic.messages_in_history).sum();
    let size: u64 = topics.iter().map(|topic| topic.bytes_in_history).sum();
    text += &format!("topics     {} managed, {} kept, {}\n", topics.len(), counted(kept, "message"), bytes(size));
    text += &format!("unread     {}, {}\n", counted(totals.unread_messages, "message"), bytes(totals.unread_bytes));
    for (name, value) in [
        ("received", totals.received),
        ("rejected", totals.rejected),
        ("dropped", totals.dropped),
        ("malformed", totals.malformed),
    ] {
        text += &format!("{name:<10} {value}\n");
    }
    if !channels.is_empty() {
        let header = ["PATTERN", "PID", "UNREAD", "BYTES", "RECEIVED", "REJECTED", "DROPPED", "MALFORMED", "STATE"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(channels.iter().map(row));
        const NUMBERS: [bool; 9] = [false, true, true, true, true, true, true, true, false];
        text += &format!("\n{}", columns(NUMBERS, &rows));
    }
    output::print(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn row(channel: &ChannelStats) -> [String; 9] {
    let ours = |value: u64| if channel.foreign { "-".to_owned() } else { value.to_string() };
    [
        printable(channel.topic.as_bytes()),
        channel.pid.to_string(),
        channel.unread_messages.to_string(),
        bytes(channel.unread_bytes),
        ours(channel.received),
        ours(channel.rejected),
        ours(channel.dropped),
        ours(channel.malformed),
        list::state(channel),
    ]
}
