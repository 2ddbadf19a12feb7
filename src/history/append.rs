//! The sending end of a history: its publishers of this process, one for each thread that is at work.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::page::{self, Terms, W_LOST, W_LOST_BEHIND, W_OPENINGS};
use super::record::Entry;
use super::unusable;
use crate::error::{Error, ErrorKind, Result};
use crate::files::MessageFile;
use crate::ring::{CLOSED, Counted, FileLocks, Outcome, Producer, Ref, Ring, STATE, SharedMemory, file_name};
use crate::sys::chaos;
use crate::sys::directory::{Directory, EntryPath};
use crate::sys::fd::{Fd, status};
use crate::sys::mapping::Mapping;
use crate::sys::random;

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
    /// There is room, but not for a record: put it into a file.
    NoSpace,
    /// It is not in the history, which is to be [told](Appender::note_lost).
    Failed(Error),
}

/// One publisher of a history, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Sender {
    producer: Producer<FileLocks>,
    last_us: u64,
    /// Its descriptor, counted.
    _counted: Counted,
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
    hint: AtomicU32,
    looked_us: AtomicU64,
    /// When it was last used, nanoseconds of the wall clock.
    used: AtomicU64,
    /// The store's descriptors for sending.
    open: Arc<AtomicUsize>,
    _counted: Counted,
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
            Err(error) => return Err(unusable(error.into(), topic)),
        };
        // Checked with pread before it is mapped: a file that is too short would be SIGBUS.
        let terms = page::inspect(&file).map_err(|e| unusable(e, topic))?;
        let map = Arc::new(Mapping::new(file.as_fd(), terms.layout.file_len() / 8).map_err(failed)?);
        let owner = status(&file).map_err(failed)?.st_uid;
        let file = Arc::new(Fd::new(file));
        Ok(Some(Appender {
            ring: Ring::new(SharedMemory::new(Arc::clone(&map), Arc::clone(&file)), terms.layout),
            terms,
            map,
            directory,
            file,
            owner,
            idle: Mutex::default(),
            hint: AtomicU32::new(random::number()),
            looked_us: AtomicU64::new(0),
            used: AtomicU64::new(0),
            open: Arc::clone(open),
            _counted: Counted::new(open, 1),
        }))
    }

    /// When it was last used, nanoseconds of the wall clock.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// It is used now.
    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Relaxed);
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.terms.epoch
    }

    /// Whether a message lies in a file of its own.
    pub(crate) fn wants_file(&self, entry: &Entry<'_>) -> bool {
        entry.len() > self.ring.layout.chunk_size as usize / 4
    }

    /// Appends a message that does not [want a file](Appender::wants_file), by a publisher that [`lend`](Appender::lend) lent in
    /// this process.
    pub(crate) fn append_by(&self, sender: &mut Sender, base: &Directory, entry: &Entry<'_>, now_us: u64) -> Appended {
        let head = entry.head(&self.terms);
        self.append_with(sender, base, (entry.len() as u64, now_us), |producer, ring, unlink| {
            producer.publish(ring, entry.len() as u32, |memory, at| entry.write(&head, memory, at), || {}, unlink)
        })
    }

    /// Appends messages in order, contents of entries that are otherwise like `first`, with ids from its id on. Up to the first
    /// that takes more than [`append_by`](Appender::append_by) is quick with, or behind which `then`, told its number and
    /// offset, says to stop; answers how many.
    #[inline]
    pub(crate) fn append_run_by(
        &self,
        sender: &mut Sender,
        base: &Directory,
        (first, payloads): (Entry<'_>, &[&[u8]]),
        now_us: u64,
        mut then: impl FnMut(usize, u64) -> bool,
    ) -> usize {
        if self.is_removed(now_us) || self.ring.word(STATE).load(SeqCst) & CLOSED != 0 {
            return 0;
        }
        let unlink = self.unlink(base);
        let mut appended = 0;
        for (i, data) in payloads.iter().enumerate() {
            let entry = Entry { id: first.id + i as u64, data, ..first };
            if self.wants_file(&entry) {
                break;
            }
            let (len, head) = (entry.len(), entry.head(&self.terms));
            sender.producer.trim(&self.ring, len as u64, self.terms.messages, unlink);
            let fill = |memory: &SharedMemory, at| entry.write(&head, memory, at);
            if !matches!(sender.producer.push(&self.ring, len as u32, fill, unlink), Outcome::Taken) {
                break;
            }
            chaos::point("history.appended");
            appended += 1;
            if !then(i, sender.producer.last_position().saturating_add(1)) {
                break;
            }
        }
        // That the topic was deleted meanwhile, the next append says: these came before.
        sender.producer.finish(&self.ring, Outcome::Taken, || {});
        self.settle(sender, now_us);
        appended
    }

    /// The same by any publisher.
    pub(crate) fn append(&self, base: &Directory, entry: &Entry<'_>, now_us: u64) -> Appended {
        self.with(base, |sender| self.append_by(sender, base, entry, now_us))
    }

    /// Appends a message that is in a file.
    pub(crate) fn append_file(&self, base: &Directory, file: &MessageFile, entry: &Entry<'_>, now_us: u64) -> Appended {
        let mut tags = entry.tags(&self.terms);
        while let Some(tag) = tags.as_mut().map_or_else(|| Some(random::number()), Iterator::next) {
            let name = file_name(tag);
            let path = EntryPath::new(&self.directory, name.as_bytes());
            match file.link(base, path.as_c_str()) {
                Ok(()) => {
                    chaos::point("history.linked");
                    let message = Ref::file(tag, entry.len() as u64);
                    let appended = self.with(base, |sender| {
                        self.append_with(sender, base, (entry.len() as u64, now_us), |producer, ring, unlink| {
                            producer.publish_file(ring, message, || {}, unlink)
                        })
                    });
                    if !matches!(appended, Appended::At(_)) {
                        let _ = base.unlink(path.as_c_str());
                    }
                    return appended;
                }
                // Another message's tag.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // A deleted topic's directory is gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Appended::Gone,
                Err(error) => return Appended::Failed(self.error(Lost::System(error))),
            }
        }
        Appended::Failed(self.error(Lost::System(io::ErrorKind::AlreadyExists.into())))
    }

    /// By a publisher that is at hand.
    fn with(&self, base: &Directory, append: impl FnOnce(&mut Sender) -> Appended) -> Appended {
        let mut sender = match self.lend(base) {
            Ok(sender) => sender,
            Err(appended) => return appended,
        };
        let appended = append(&mut sender);
        lock(&self.idle).push(sender);
        appended
    }

    /// A publisher for the calling thread, to be [retired](Appender::retire).
    pub(crate) fn lend(&self, base: &Directory) -> std::result::Result<Sender, Appended> {
        // A forked child's copies have the parent's ids, and no locks.
        if !self.file.is_here() {
            return Err(Appended::Gone);
        }
        if let Some(sender) = lock(&self.idle).pop() {
            return Ok(sender);
        }
        match self.attach(base) {
            Ok(producer) => Ok(Sender { producer, last_us: 0, _counted: Counted::new(&self.open, 1) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Appended::Gone),
            Err(error) => Err(Appended::Failed(self.error(Lost::System(error)))),
        }
    }

    /// Lets go of what a publisher holds in the history; dropping it frees its id.
    pub(crate) fn retire(&self, sender: &mut Sender) {
        // A forked child's copy has no locks: what it would write belongs to the parent.
        if self.file.is_here() {
            sender.producer.release(&self.ring);
        }
    }

    fn append_with(
        &self,
        sender: &mut Sender,
        base: &Directory,
        (bytes, now_us): (u64, u64),
        publish: impl Fn(&mut Producer<FileLocks>, &Ring<SharedMemory>, &dyn Fn(u32)) -> Outcome,
    ) -> Appended {
        if self.is_removed(now_us) {
            return Appended::Gone;
        }
        let unlink = self.unlink(base);
        sender.producer.trim(&self.ring, bytes, self.terms.messages, unlink);
        let mut given_up = 0;
        let appended = loop {
            match publish(&mut sender.producer, &self.ring, &unlink) {
                Outcome::Taken | Outcome::Displacing => {
                    break Appended::At(sender.producer.last_position().saturating_add(1));
                }
                Outcome::Gone => break Appended::Gone,
                Outcome::NoSpace => break Appended::NoSpace,
                // No page is to be had: an older message's serves.
                Outcome::NoMemory(_) if given_up < GIVEN_UP && sender.producer.drop_oldest(&self.ring, unlink) => {
                    given_up += 1;
                }
                Outcome::NoMemory(error) => break Appended::Failed(self.error(Lost::System(error))),
                // A ring that drops is full only where its words are wrong.
                Outcome::Full | Outcome::Corrupt => break Appended::Failed(self.error(Lost::Corrupt)),
            }
        };
        chaos::point("history.appended");
        self.settle(sender, now_us);
        appended
    }

    /// Removes the file of a message that is dropped.
    fn unlink<'a>(&'a self, base: &'a Directory) -> impl Fn(u32) + Copy + 'a {
        |tag| {
            let _ = base.unlink(EntryPath::new(&self.directory, file_name(tag).as_bytes()).as_c_str());
        }
    }

    /// After an append: lets go of the chunk unless the next message can be expected soon.
    fn settle(&self, sender: &mut Sender, now_us: u64) {
        if now_us.saturating_sub(sender.last_us) > HURRIED_US || !sender.producer.may_keep(&self.ring) {
            sender.producer.release(&self.ring);
        }
        sender.last_us = now_us;
    }

    /// How many channels have opened to read the history and to go on live, asked behind an append. A channel can be seen before
    /// it is counted here, and is counted before it looks up the history's end. So a message that lies behind that end finds it
    /// counted (the append's compare-and-swap, this load, the channel's count and its look are in one order); whoever sees
    /// another number than before looks for channels once more, and no message is in neither the history nor the queue.
    #[inline]
    pub(crate) fn openings(&self) -> u64 {
        self.map.word(W_OPENINGS).load(SeqCst)
    }

    /// Whether the topic was deleted by one who was killed before saying so, now and then.
    fn is_removed(&self, now_us: u64) -> bool {
        if now_us.wrapping_sub(self.looked_us.load(Relaxed)) < LOOK_US {
            return false;
        }
        self.looked_us.store(now_us, Relaxed);
        self.file.get().and_then(status).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// From now on nobody appends: publishers that have the history open count it as gone.
    pub(crate) fn close(&self) {
        self.ring.word(STATE).fetch_or(CLOSED, SeqCst);
    }

    /// Notes that the history lacks a message from here on. Before anybody gets it live.
    pub(crate) fn note_lost(&self) {
        self.map.word(W_LOST_BEHIND).fetch_max(self.ring.tail(), SeqCst);
        self.map.word(W_LOST).fetch_add(1, SeqCst);
    }

    /// One more publisher: its lock needs an open file description of its own.
    fn attach(&self, base: &Directory) -> io::Result<Producer<FileLocks>> {
        let path = EntryPath::new(&self.directory, page::FILE);
        let file = Arc::new(Fd::new(base.open_at(path.as_c_str(), libc::O_RDWR, 0)?));
        let hint = self.hint.fetch_add(1, Relaxed);
        Producer::attach(&self.ring, FileLocks::new(file), hint)
    }

    fn error(&self, why: Lost) -> Error {
        let topic = &self.terms.topic;
        match why {
            Lost::System(error) => Error::os(format_args!("adding a message to the history of '{topic}'"), error),
            Lost::Corrupt => Error::new(
                ErrorKind::Corrupt,
                format_args!("the history of '{topic}' is corrupt; delete the topic and create it again"),
            ),
        }
    }
}

/// Why an append failed.
enum Lost {
    System(io::Error),
    Corrupt,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Drop for Appender {
    fn drop(&mut self) {
        for mut sender in std::mem::take(&mut *lock(&self.idle)) {
            self.retire(&mut sender);
        }
    }
}
