//! The receiving end: a channel is one subscription with a queue of its own.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Result;
use crate::message::Message;

/// What a full channel does with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FullPolicy {
    /// Refuse it: the publisher is told, the channel counts it.
    #[default]
    Reject,
    /// Make room by dropping the oldest; the receiver sees how many went ([`Message::dropped_before`]).
    DropOldest,
}

/// How messages travel to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// What `PUBSUB_TRANSPORT` says (`ring` or `files`), else the ring.
    #[default]
    Default,
    /// Shared memory.
    Ring,
    /// A file a message and a FIFO, as formix-pubsub does it.
    Files,
}

/// How to open a channel. `ChannelOptions::default()` is right for most.
#[derive(Debug, Clone, Default)]
pub struct ChannelOptions {
    /// What happens when the queue is full.
    pub full_policy: FullPolicy,
    /// How messages travel.
    pub transport: Transport,
    /// Bound of the unread bytes; 0: 64 MiB.
    pub capacity_bytes: u64,
    /// Bound of the unread messages; 0: 16,384.
    pub capacity_messages: u64,
    /// The store; `None`: [`home()`](crate::home).
    pub home: Option<PathBuf>,
}

/// A channel as its receiver, `pubsub ls` or a monitor sees it.
#[derive(Debug, Clone)]
pub struct ChannelStats {
    /// The pattern it was opened with.
    pub topic: String,
    /// Its directory.
    pub path: PathBuf,
    /// How messages travel to it: never `Default`.
    pub transport: Transport,
    /// Whether its receiver lives.
    pub alive: bool,
    /// Whether it is formix-pubsub's. Then only `topic`, `path`, `pid`, `alive` and the unread figures mean anything.
    pub foreign: bool,
    /// The receiver's process id, as the receiver's own namespace knows it.
    pub pid: i64,
    /// Messages waiting.
    pub unread_messages: u64,
    /// Bytes waiting.
    pub unread_bytes: u64,
    /// The bound of messages.
    pub capacity_messages: u64,
    /// The bound of bytes.
    pub capacity_bytes: u64,
    /// Messages fetched so far.
    pub received: u64,
    /// Messages refused because it was full.
    pub rejected: u64,
    /// Messages dropped to make room.
    pub dropped: u64,
    /// Entries that could not be parsed.
    pub malformed: u64,
}

/// One subscription: it receives what is published to topics that its pattern matches, from the moment
/// [`open`](Channel::open) returns until it is closed or dropped.
///
/// Receiving takes `&mut self`: one thread at a time. To end another thread's wait, take an [`Interrupter`] first.
/// After `fork`, the child's inherited channels answer [`ErrorKind::Closed`](crate::ErrorKind::Closed).
#[derive(Debug)]
pub struct Channel {}

/// Ends a wait of the channel that it was taken from; any thread, and from a signal handler.
#[derive(Debug, Clone)]
pub struct Interrupter {}

impl Interrupter {
    /// Ends the current wait with [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted), or if there is none the
    /// next one, once. Does nothing once the channel is closed. Async-signal-safe; leaves errno alone.
    pub fn interrupt(&self) {
        todo!()
    }
}

impl Channel {
    /// Opens a channel on a topic or pattern (`news.=`, `logs.+`).
    pub fn open(topic: &str, options: &ChannelOptions) -> Result<Channel> {
        let _ = (topic, options);
        todo!()
    }

    /// The pattern it was opened with.
    pub fn topic(&self) -> &str {
        todo!()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        todo!()
    }

    /// A descriptor that is readable as long as a message waits. Poll it; never read, write or close it.
    pub fn fd(&mut self) -> Result<RawFd> {
        todo!()
    }

    /// [`fd`](Channel::fd), borrowed: for callers that poll without unsafe code.
    pub fn as_fd(&mut self) -> Result<BorrowedFd<'_>> {
        todo!()
    }

    /// Takes back what a runtime that can only wait by reading has read from the descriptor.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        todo!()
    }

    /// A handle that can end this channel's waits from elsewhere.
    pub fn interrupter(&self) -> Interrupter {
        todo!()
    }

    /// Counters and bounds, now.
    pub fn stats(&self) -> Result<ChannelStats> {
        todo!()
    }

    /// The next message, or `None` at once.
    pub fn fetch(&mut self) -> Result<Option<Message>> {
        todo!()
    }

    /// The next message; waits up to `timeout` for one (`None`: without end). `Ok(None)`: it timed out.
    pub fn fetch_wait(&mut self, timeout: Option<Duration>) -> Result<Option<Message>> {
        let _ = timeout;
        todo!()
    }

    /// Waits for the first message, then takes what is there, up to `max`, onto the end of `messages`. The answer is
    /// how many.
    pub fn fetch_batch(&mut self, messages: &mut Vec<Message>, max: usize, timeout: Option<Duration>) -> Result<usize> {
        let _ = (messages, max, timeout);
        todo!()
    }

    /// Like [`fetch_batch`](Channel::fetch_batch), but writes packed records (see `ps_packed_record` in `pubsub.h`)
    /// into `buffer`, as many as fit. Answers how many records and how many bytes.
    ///
    /// A record that does not fit alone is [`PackError::TooSmall`] with the size it needs, and stays in the queue.
    pub fn fetch_packed(
        &mut self,
        buffer: &mut [u64],
        timeout: Option<Duration>,
    ) -> std::result::Result<(usize, usize), PackError> {
        let _ = (buffer, timeout);
        todo!()
    }

    /// Calls back with each message until the callback breaks or `timeout` has passed in all (`None`: without end).
    /// Answers how many messages were handled.
    pub fn subscribe(
        &mut self,
        callback: impl FnMut(&Message) -> ControlFlow<()>,
        timeout: Option<Duration>,
    ) -> Result<u64> {
        let _ = (callback, timeout);
        todo!()
    }

    /// Closes it: what is unread is gone. Dropping a channel does the same and ignores errors.
    pub fn close(self) -> Result<()> {
        todo!()
    }
}

/// Why [`Channel::fetch_packed`] wrote nothing.
#[derive(Debug)]
pub enum PackError {
    /// The next record alone needs this many bytes; it stays in the queue.
    TooSmall(usize),
    /// Anything else.
    Failed(crate::Error),
}
