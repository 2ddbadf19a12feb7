//! The sending end of a history: its publishers of this process, one for each thread that is at work.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::page::{self, Terms, W_LOST, W_LOST_BEHIND};
use super::record::Entry;
use super::unusable;
use crate::error::{Error, ErrorKind, Result};
use crate::files::MessageFile;
use crate::ring::{CLOSED, FileLocks, Outcome, Producer, Ring, STATE, SharedMemory, file_name};
use crate::sys::chaos;
use crate::sys::directory::{Directory, EntryPath};
use crate::sys::fd::{Fd, status};
use crate::sys::mapping::Mapping;

/// A publisher keeps its chunk from one message to the next if they come faster than this.
const HURRIED_US: u64 = 50;
/// Whether the file is still in the store is looked at this often.
const LOOK_US: u64 = 10_000;
/// So many of the oldest are given up for the memory of one, at most, where the file system is full.
const GIVEN_UP: u32 = 1024;

/// What became of an append.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is in the history, under this offset.
    At(u64),
    /// The topic was deleted.
    Gone,
    /// It is not in the history, and the history says so.
    Failed(Error),
}

#[derive(Debug)]
struct Sender {
    producer: Producer<FileLocks>,
    last_us: u64,
}

/// A history opened for appending.
#[derive(Debug)]
pub(crate) struct Appender {
    terms: Terms,
    ring: Ring<SharedMemory>,
    map: Arc<Mapping>,
    directory: Vec<u8>,
    file: Arc<Fd>,
    /// The user whose topic it is.
    pub owner: u32,
    /// Those that no thread uses now.
    idle: Mutex<Vec<Sender>>,
    /// Whether `file`'s own lock is still to be had: a second publisher needs an open file description of its own.
    first: Mutex<bool>,
    hint: AtomicU32,
    looked_us: AtomicU64,
    /// When it was last used, monotonic nanoseconds.
    pub used: AtomicU64,
    /// How many channels and histories the process has open for sending.
    open: Arc<AtomicUsize>,
}

impl Appender {
    /// The history of a topic; `None`: it is not managed.
    pub(crate) fn open(base: &Directory, topic: &str, open: &Arc<AtomicUsize>) -> Result<Option<Appender>> {
        let directory = page::directory_name(topic);
        let path = EntryPath::new(&directory, page::FILE);
        let failed = |e| Error::os(format_args!("opening the history of '{topic}'"), e);
        let file = match base.open_at(path.as_c_str(), libc::O_RDWR, 0) {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Checked with pread before it is mapped: a file that is too short would be SIGBUS.
        let terms = page::inspect(&file).map_err(|e| unusable(e, topic))?;
        let map = Arc::new(Mapping::new(file.as_fd(), terms.layout.bytes() / 8).map_err(failed)?);
        let owner = status(&file).map_err(failed)?.st_uid;
        let file = Arc::new(Fd::new(file));
        open.fetch_add(1, Relaxed);
        Ok(Some(Appender {
            ring: Ring { memory: SharedMemory::new(Arc::clone(&map), Arc::clone(&file)), layout: terms.layout },
            terms,
            map,
            directory,
            file,
            owner,
            idle: Mutex::default(),
            first: Mutex::new(true),
            hint: AtomicU32::new(rand::random::<u32>()),
            looked_us: AtomicU64::new(0),
            used: AtomicU64::new(0),
            open: Arc::clone(open),
        }))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.terms.epoch
    }

    /// Whether a message lies in a file of its own.
    pub(crate) fn wants_file(&self, entry: &Entry<'_>) -> bool {
        entry.len() > self.ring.layout.chunk_size as usize / 4
    }

    /// Appends a message that does not [want a file](Appender::wants_file).
    pub(crate) fn append(&self, base: &Directory, entry: &Entry<'_>) -> Appended {
        let head = entry.head(self.terms.epoch);
        self.with(base, entry.timestamp_us, |producer, ring| {
            producer.publish(ring, entry.len() as u32, |memory, at| entry.write(&head, memory, at), || {})
        })
    }

    /// Appends a message that is in a file. `number`: an id of the store that no other file here has.
    pub(crate) fn append_file(&self, base: &Directory, file: &MessageFile, number: u64, now_us: u64) -> Appended {
        let name = file_name(number);
        let path = EntryPath::new(&self.directory, name.as_bytes());
        match file.link(base, path.as_c_str()) {
            Ok(()) => {}
            // A deleted topic's directory is gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Appended::Gone,
            Err(error) => return self.lost(error.into()),
        }
        chaos::point("history.linked");
        let appended = self.with(base, now_us, |producer, ring| producer.publish_file(ring, number, || {}));
        if !matches!(appended, Appended::At(_)) {
            let _ = base.unlink(path.as_c_str());
        }
        appended
    }

    fn with(
        &self,
        base: &Directory,
        now_us: u64,
        publish: impl Fn(&mut Producer<FileLocks>, &Ring<SharedMemory>) -> Outcome,
    ) -> Appended {
        // A forked child's copies have the parent's ids, and no locks.
        if !self.file.is_here() || self.is_removed(now_us) {
            return Appended::Gone;
        }
        let idle = lock(&self.idle).pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => match self.attach(base) {
                Ok(producer) => Sender { producer, last_us: 0 },
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Appended::Gone,
                Err(error) => return self.lost(error.into()),
            },
        };
        let mut given_up = 0;
        let appended = loop {
            match publish(&mut sender.producer, &self.ring) {
                Outcome::Taken => break Appended::At(sender.producer.last_position().saturating_add(1)),
                Outcome::Gone => break Appended::Gone,
                // No page is to be had: an older message's serves.
                Outcome::NoMemory(_) if given_up < GIVEN_UP && sender.producer.drop_oldest(&self.ring) => given_up += 1,
                Outcome::NoMemory(error) => break self.lost(error.into()),
                Outcome::Full => break self.lost(Lost::Crowded),
                Outcome::Corrupt => break self.lost(Lost::Corrupt),
            }
        };
        chaos::point("history.appended");
        if now_us.saturating_sub(sender.last_us) > HURRIED_US || !sender.producer.may_keep(&self.ring) {
            sender.producer.release(&self.ring);
        }
        sender.last_us = now_us;
        for id in sender.producer.take_dropped_files() {
            let _ = base.unlink(EntryPath::new(&self.directory, file_name(id).as_bytes()).as_c_str());
        }
        lock(&self.idle).push(sender);
        appended
    }

    /// Whether the topic was deleted: said by who deletes it, or, should that one have been killed, by the file.
    fn is_removed(&self, now_us: u64) -> bool {
        if self.ring.word(STATE).load(Relaxed) & CLOSED != 0 {
            return true;
        }
        if now_us.saturating_sub(self.looked_us.load(Relaxed)) < LOOK_US {
            return false;
        }
        self.looked_us.store(now_us, Relaxed);
        self.file.get().and_then(status).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// From now on nobody appends: publishers that have the history open count it as gone.
    pub(crate) fn close(&self) {
        self.ring.word(STATE).fetch_or(CLOSED, SeqCst);
    }

    /// Notes that a message is lacking because of this error.
    pub(crate) fn lacks(&self, error: Error) -> Error {
        self.note_lost();
        error
    }

    /// Before anybody gets the message live.
    fn note_lost(&self) {
        self.map.word(W_LOST_BEHIND).fetch_max(self.ring.tail(), SeqCst);
        self.map.word(W_LOST).fetch_add(1, SeqCst);
    }

    /// One more publisher: its lock needs an open file description of its own.
    fn attach(&self, base: &Directory) -> io::Result<Producer<FileLocks>> {
        let file = if std::mem::take(&mut *lock(&self.first)) {
            Arc::clone(&self.file)
        } else {
            let path = EntryPath::new(&self.directory, page::FILE);
            Arc::new(Fd::new(base.open_at(path.as_c_str(), libc::O_RDWR, 0)?))
        };
        let hint = self.hint.fetch_add(1, Relaxed);
        Producer::attach(&self.ring, FileLocks::new(file), hint)
    }

    /// The history lacks a message from here on.
    fn lost(&self, why: Lost) -> Appended {
        let topic = &self.terms.topic;
        self.note_lost();
        Appended::Failed(match why {
            Lost::System(error) => Error::os(format_args!("adding a message to the history of '{topic}'"), error),
            Lost::Crowded => Error::new(
                ErrorKind::QueueFull,
                format_args!(
                    "the history of '{topic}' has no room: more programs publish at once than it has parts; create it with \
                     more bytes"
                ),
            ),
            Lost::Corrupt => Error::new(
                ErrorKind::Corrupt,
                format_args!("the history of '{topic}' is corrupt; delete the topic and create it again"),
            ),
        })
    }
}

/// Why an append failed.
enum Lost {
    System(io::Error),
    Crowded,
    Corrupt,
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Lost {
        Lost::System(error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        // A forked child's copy has no locks: what it would write belongs to the parent.
        if !self.file.is_here() {
            return;
        }
        for mut sender in std::mem::take(&mut *lock(&self.idle)) {
            sender.producer.release(&self.ring);
        }
    }
}
