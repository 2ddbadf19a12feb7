//! The other process of `pubsub bench`: it receives what the first one publishes, or sends it back.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use pubsub::{Channel, ChannelOptions, ErrorKind, PackError, Publisher, PublisherOptions};

use crate::context::{Context, Failure, Outcome};
use crate::output;
use crate::signals::Signals;

/// The content of the last message; no measured one is so short.
pub const LAST: &[u8] = b"!";
/// Now and then a wait ends, to see whether the first process is still there.
const LOOK: Duration = Duration::from_millis(200);
/// Words of the buffer for packed records: 2 MiB.
const BUFFER: usize = 256 * 1024;
/// Messages taken at once.
const BATCH: usize = 256;
/// Where the length of the content stands in a packed record (`ps_packed_record` in `pubsub.h`), in words.
const DATA_LEN: usize = 6;

/// How messages are published and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Single,
    Batch,
    Packed,
}

impl Manner {
    pub const ALL: [Manner; 3] = [Manner::Single, Manner::Batch, Manner::Packed];

    pub fn name(self) -> &'static str {
        match self {
            Manner::Single => "single",
            Manner::Batch => "batch",
            Manner::Packed => "packed",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Manner::Single => "ONE BY ONE",
            Manner::Batch => "IN BATCHES",
            Manner::Packed => "PACKED",
        }
    }
}

/// How a receiver waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    Blocking,
    Busy,
}

impl Waiting {
    pub const ALL: [Waiting; 2] = [Waiting::Blocking, Waiting::Busy];

    pub fn name(self) -> &'static str {
        match self {
            Waiting::Blocking => "blocking",
            Waiting::Busy => "busy",
        }
    }
}

/// What the other process is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Peer {
    /// Receive everything.
    Drain { topic: String, manner: Manner },
    /// Send everything back.
    Echo { from: String, to: String, waiting: Waiting },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Drain { topic, manner } => write!(f, "drain {} {topic}", manner.name()),
            Peer::Echo { from, to, waiting } => write!(f, "echo {} {from} {to}", waiting.name()),
        }
    }
}

/// What [`Display`](fmt::Display) wrote.
pub fn parse(text: &str) -> Result<Peer, String> {
    let words: Vec<&str> = text.split(' ').collect();
    let manner = |name| Manner::ALL.into_iter().find(|manner| manner.name() == name);
    let waiting = |name| Waiting::ALL.into_iter().find(|waiting| waiting.name() == name);
    let peer = match words[..] {
        ["drain", name, topic] => manner(name).map(|manner| Peer::Drain { topic: topic.to_owned(), manner }),
        ["echo", name, from, to] => {
            waiting(name).map(|waiting| Peer::Echo { from: from.to_owned(), to: to.to_owned(), waiting })
        }
        _ => None,
    };
    peer.ok_or_else(|| "this option is for 'pubsub bench' itself".to_owned())
}

pub fn run(peer: &Peer, context: &Context, signals: &Signals) -> Result<Outcome, Failure> {
    let parent = nix::unistd::getppid();
    let go_on = || signals.caught().is_none() && nix::unistd::getppid() == parent;
    let options = ChannelOptions { home: context.home().map(Into::into), ..ChannelOptions::default() };
    let finished = match peer {
        Peer::Drain { topic, manner } => {
            let mut channel = Channel::open(topic, &options)?;
            output::print(b"ready\n")?;
            drain(&mut channel, *manner, go_on)?
        }
        Peer::Echo { from, to, waiting } => {
            let mut channel = Channel::open(from, &options)?;
            let options = PublisherOptions { full_timeout: LOOK, home: context.home().map(Into::into) };
            let publisher = Publisher::open(to, &options)?;
            output::print(b"ready\n")?;
            echo(&mut channel, &publisher, *waiting, go_on)?
        }
    };
    if finished {
        output::print(b"done\n")?;
    }
    Ok(Outcome::Done)
}

/// Receives until the last message came; false: it was ended before.
fn drain(channel: &mut Channel, manner: Manner, go_on: impl Fn() -> bool) -> Result<bool, Failure> {
    let mut buffer = vec![0; if manner == Manner::Packed { BUFFER } else { 0 }];
    let mut messages = Vec::with_capacity(BATCH);
    loop {
        let result = match manner {
            Manner::Single => {
                channel.fetch_wait(Some(LOOK)).map(|message| message.map(|message| message.data() == LAST))
            }
            Manner::Batch => {
                messages.clear();
                let taken = channel.fetch_batch(&mut messages, BATCH, Some(LOOK));
                taken.map(|_| messages.last().map(|message| message.data() == LAST))
            }
            Manner::Packed => match channel.fetch_packed(&mut buffer, Some(LOOK)) {
                Ok((0, _)) => Ok(None),
                Ok((_, bytes)) => Ok(Some(last_is_short(&buffer[..bytes / 8]))),
                Err(PackError::TooSmall(bytes)) => {
                    buffer.resize(bytes.div_ceil(8), 0);
                    continue;
                }
                Err(PackError::Failed(error)) => Err(error),
            },
        };
        match result {
            Ok(Some(true)) => return Ok(true),
            Ok(Some(false)) => {}
            Ok(None) if go_on() => {}
            Err(error) if error.kind() == ErrorKind::Interrupted && go_on() => {}
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => return Ok(false),
        }
    }
}

/// Whether the last of these packed records has the content of the last message.
fn last_is_short(records: &[u64]) -> bool {
    let (mut at, mut data_len) = (0, 0);
    while let Some(&len) = records.get(at + DATA_LEN) {
        data_len = len;
        at += records[at] as usize / 8;
    }
    data_len == LAST.len() as u64
}

/// Sends back until the last message came; false: it was ended before.
fn echo(
    channel: &mut Channel,
    publisher: &Publisher,
    waiting: Waiting,
    go_on: impl Fn() -> bool,
) -> Result<bool, Failure> {
    let mut idle = 0u32;
    loop {
        let message = match waiting {
            Waiting::Blocking => channel.fetch_wait(Some(LOOK)),
            Waiting::Busy => channel.fetch(),
        };
        match message {
            Ok(Some(message)) if message.data() == LAST => return Ok(true),
            Ok(Some(message)) => {
                publisher.publish(message.data(), None)?;
            }
            Ok(None) => {
                // A system call for each look would be part of what is measured.
                idle = idle.wrapping_add(1);
                if (waiting == Waiting::Blocking || idle % 1024 == 0) && !go_on() {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                if !go_on() {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_process_is_told_it_understands() {
        let drain = Peer::Drain { topic: "a.b".to_owned(), manner: Manner::Packed };
        let echo = Peer::Echo { from: "a".to_owned(), to: "b".to_owned(), waiting: Waiting::Busy };
        for peer in [drain, echo] {
            assert_eq!(parse(&peer.to_string()), Ok(peer));
        }
        for text in ["", "drain", "drain slowly a", "echo busy a"] {
            assert!(parse(text).is_err());
        }
    }
}
