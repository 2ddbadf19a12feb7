//! Who puts the messages of formix-pubsub programs into a history.

#![forbid(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use crate::channel::{Channel, Interrupter};
use crate::error::{Error, ErrorKind, Result};

/// A managed topic's one recorder: it puts the messages of formix-pubsub programs, which know no histories, into the
/// topic's history. Other programs' messages are there already. One thread at a time.
#[derive(Debug)]
pub struct Recorder {
    channel: Channel,
}

impl Recorder {
    /// Becomes the recorder of a managed topic; `None`: another process (or object) is. That ends with its process, so ask
    /// again now and then. [`NotFound`](ErrorKind::NotFound) when the topic is not managed.
    pub fn open(topic: &str, home: Option<&Path>) -> Result<Option<Recorder>> {
        let _ = (topic, home);
        Err(Error::new(ErrorKind::Unsupported, "managed topics are not there yet"))
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        self.channel.topic()
    }

    /// Waits up to `timeout` (`None`: without end; zero: not at all) for messages to record, and records those that are there,
    /// some hundreds at most; answers how many. [`NotFound`](ErrorKind::NotFound) when the topic was deleted: then drop it.
    /// Else as [`Channel::fetch_wait`].
    pub fn record(&mut self, timeout: Option<Duration>) -> Result<u64> {
        let _ = self.channel.fetch_wait(timeout)?;
        Err(Error::new(ErrorKind::Unsupported, "managed topics are not there yet"))
    }

    /// As [`Channel::fd`]: readable as long as there is something to [`record`](Recorder::record).
    pub fn fd(&mut self) -> Result<RawFd> {
        self.channel.fd()
    }

    /// As [`Channel::as_fd`].
    pub fn as_fd(&mut self) -> Result<BorrowedFd<'_>> {
        self.channel.as_fd()
    }

    /// Ends a wait in [`record`](Recorder::record).
    pub fn interrupter(&self) -> Interrupter {
        self.channel.interrupter()
    }
}
