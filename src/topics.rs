//! Managed topics: topics that keep a history.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;

/// What a managed topic keeps. `TopicOptions::default()` keeps the last 100 messages.
#[derive(Debug, Clone, Default)]
pub struct TopicOptions {
    /// The most messages kept; 0: 100.
    pub history_messages: u32,
    /// The most bytes kept (topics, headers and contents); 0: 64 MiB. A message larger than that is kept alone.
    pub history_bytes: u64,
    /// What is older is never returned; `None`: no limit of age.
    pub history_ttl: Option<Duration>,
    /// The store; `None`: [`home()`](crate::home).
    pub home: Option<PathBuf>,
}

/// A place in the history of a managed topic: behind the message that has this epoch and offset. Offset 0: before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resume {
    /// [`Message::epoch`] of the last message had.
    pub epoch: u64,
    /// [`Message::offset`] of the last message had.
    pub offset: u64,
}

/// A managed topic at one moment.
#[derive(Debug, Clone)]
pub struct TopicStats {
    /// Its name.
    pub topic: String,
    /// Live channels that match it, wildcards included; a gateway's channel counts for as many as it serves.
    pub subscribers: u64,
    /// Messages that entered its history since it was created.
    pub messages_published: u64,
    /// Messages in its history now.
    pub messages_in_history: u64,
    /// Their bytes: topics, headers and contents.
    pub bytes_in_history: u64,
    /// Tells this history from those of topics of the same name that were deleted before.
    pub epoch: u64,
    /// The offset that the next message gets. Offsets begin at 1.
    pub next_offset: u64,
    /// When it was created, microseconds since the Unix epoch.
    pub created_us: i64,
}

/// Messages of a history that follow each other.
#[derive(Debug, Clone)]
pub struct HistorySlice {
    /// The history's epoch.
    pub epoch: u64,
    /// The offset to go on from.
    pub next_offset: u64,
    /// Messages at or behind the offset asked for that the history does not have any more.
    pub missed: u64,
    /// Oldest first.
    pub messages: Vec<Message>,
}

fn unsupported<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "managed topics are not there yet"))
}

/// Makes a topic that keeps a history. [`Exists`](ErrorKind::Exists) when it is managed already.
pub fn create_topic(topic: &str, options: &TopicOptions) -> Result<()> {
    let _ = (topic, options);
    unsupported()
}

/// Deletes a managed topic and its history, and tells the channels on exactly that topic. [`NotFound`](ErrorKind::NotFound)
/// when it is not managed.
pub fn delete_topic(topic: &str, home: Option<&Path>) -> Result<()> {
    let _ = (topic, home);
    unsupported()
}

/// The managed topics of a store (`None`: the default one), sorted by name.
pub fn topics(home: Option<&Path>) -> Result<Vec<TopicStats>> {
    let _ = home;
    unsupported()
}

/// One managed topic. [`NotFound`](ErrorKind::NotFound) when it is not managed.
pub fn topic_stats(topic: &str, home: Option<&Path>) -> Result<TopicStats> {
    let _ = (topic, home);
    unsupported()
}

/// The last messages of a managed topic, at most `last`, oldest first. [`NotFound`](ErrorKind::NotFound) when it is not managed.
pub fn topic_history(topic: &str, home: Option<&Path>, last: u32) -> Result<Vec<Message>> {
    let _ = (topic, home, last);
    unsupported()
}

/// Messages of a managed topic from an offset on (0, 1: from the oldest), at most `max`, oldest first.
/// [`NotFound`](ErrorKind::NotFound) when it is not managed.
pub fn topic_history_from(topic: &str, home: Option<&Path>, offset: u64, max: usize) -> Result<HistorySlice> {
    let _ = (topic, home, offset, max);
    unsupported()
}
