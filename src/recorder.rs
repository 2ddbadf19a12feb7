//! Who puts the messages of formix-pubsub programs into a history.

#![forbid(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Channel, ChannelOptions, Interrupter};
use crate::control::Transport;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{self, Appended, Appender};
use crate::message::MessageKind;
use crate::publisher::Recording;
use crate::store::Store;
use crate::sys::directory::EntryPath;
use crate::sys::fd::Fd;
use crate::sys::{fork, lock};
use crate::topic::validate_topic;

/// Messages recorded by one call, at most.
const BATCH: u64 = 256;

/// A managed topic's one recorder: it puts the messages of formix-pubsub programs, which know no histories, into the
/// topic's history. Other programs' messages are there already. One thread at a time.
///
/// Its channel counts for no subscriber, and publishers of this library pass it by.
#[derive(Debug)]
pub struct Recorder {
    store: Arc<Store>,
    channel: Channel,
    appender: Appender,
    recording: Recording,
    /// Its lock says that there is a recorder.
    _held: Fd,
}

impl Recorder {
    /// Becomes the recorder of a managed topic; `None`: another process (or object) is. That ends with its process, so ask
    /// again now and then.
    ///
    /// Errors: [`NotFound`](ErrorKind::NotFound) when the topic is not managed; else as [`Channel::open`].
    ///
    /// ```
    /// # let home = tempfile::tempdir()?;
    /// # let home = home.path();
    /// # pubsub::create_topic("a.b", &pubsub::TopicOptions { home: Some(home.into()), ..Default::default() })?;
    /// use pubsub::Recorder;
    ///
    /// let mut recorder = Recorder::open("a.b", Some(home))?.expect("nobody else records");
    /// assert!(Recorder::open("a.b", Some(home))?.is_none());
    /// assert_eq!(recorder.record(Some(std::time::Duration::ZERO))?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(topic: &str, home: Option<&Path>) -> Result<Option<Recorder>> {
        validate_topic(topic)?;
        let store = Store::at(home)?;
        let Some(appender) = Appender::open(store.base(), topic, store.outboxes())? else {
            return Err(deleted(topic));
        };
        let failed = |e| Error::os(format_args!("becoming the recorder of '{topic}'"), e);
        let path = EntryPath::new(&history::directory_name(topic), history::FILE);
        let held = fork::not_amid_fork(|| store.base().open_at(path.as_c_str(), libc::O_RDWR, 0).map(Fd::new));
        let held = held.map_err(failed)?;
        if !held.get().and_then(|file| lock::try_lock(file, history::RECORDER)).map_err(failed)? {
            return Ok(None);
        }
        let options = ChannelOptions {
            transport: Transport::Files,
            home: Some(store.home().to_path_buf()),
            ..ChannelOptions::default()
        };
        let recording = Recording::new();
        let channel = Channel::open_for_foreign(topic, &options)?;
        Ok(Some(Recorder { store, channel, appender, recording, _held: held }))
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        self.channel.topic()
    }

    /// Waits up to `timeout` (`None`: without end; zero: not at all) for messages to record, and records those that are there,
    /// some hundreds at most; answers how many.
    ///
    /// Errors: [`NotFound`](ErrorKind::NotFound) when the topic was deleted: then drop the recorder.
    /// [`StoreFull`](ErrorKind::StoreFull) and others when a message could not be recorded; the history says then that it
    /// lacks one. Else as [`Channel::fetch_wait`].
    pub fn record(&mut self, timeout: Option<Duration>) -> Result<u64> {
        let mut next = self.channel.fetch_wait(timeout)?;
        let mut recorded = 0;
        while let Some(message) = next {
            if message.kind() == MessageKind::TopicDeleted {
                return Err(deleted(self.topic()));
            }
            // One that has a place is in a history already.
            if message.epoch() == 0 {
                match self.recording.record(&self.store, &self.appender, &message) {
                    Appended::At(_) | Appended::NoSpace => recorded += 1,
                    Appended::Gone => return Err(deleted(self.topic())),
                    Appended::Failed(error) => return Err(error),
                }
            }
            if recorded >= BATCH {
                break;
            }
            next = self.channel.fetch()?;
        }
        Ok(recorded)
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

fn deleted(topic: &str) -> Error {
    Error::new(ErrorKind::NotFound, format_args!("there is nothing to record: the topic '{topic}' is not managed"))
}
