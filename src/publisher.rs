//! The sending end: match, deliver, count.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::message::Headers;

/// How to open a publisher.
#[derive(Debug, Clone, Default)]
pub struct PublisherOptions {
    /// How long a publish waits for room in channels that reject; zero: not at all.
    pub full_timeout: Duration,
    /// The store; `None`: [`home()`](crate::home).
    pub home: Option<PathBuf>,
}

/// One message of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// The content.
    pub data: &'a [u8],
    /// Its headers.
    pub headers: Option<&'a Headers>,
}

/// Publishes to one topic; faster than [`publish()`] for many messages. Any thread.
#[derive(Debug)]
pub struct Publisher {}

impl Publisher {
    /// A publisher for this topic (no wildcards).
    pub fn open(topic: &str, options: &PublisherOptions) -> Result<Publisher> {
        let _ = (topic, options);
        todo!()
    }

    /// Publishes one message; answers how many channels took it.
    pub fn publish(&self, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
        let _ = (data, headers);
        todo!()
    }

    /// Publishes in order and stops before the first that would fail. Answers how many were handled; an error only
    /// when it is the first that fails.
    pub fn publish_batch(&self, payloads: &[Payload<'_>]) -> Result<usize> {
        let _ = payloads;
        todo!()
    }

    /// A batch whose payloads lie end to end in `data`, `lengths` bytes each, all with the same headers.
    pub fn publish_packed(&self, data: &[u8], lengths: &[u32], headers: Option<&Headers>) -> Result<usize> {
        let _ = (data, lengths, headers);
        todo!()
    }
}

/// Publishes one message to a topic of the default store; answers how many channels took it.
pub fn publish(topic: &str, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
    let _ = (topic, data, headers);
    todo!()
}

/// Matching channels that refused this thread's last publish.
pub fn last_rejected() -> u32 {
    todo!()
}
