//! The control page: what a channel's receiver and its publishers share in memory.
//!
//! It is the first page of the file `control` in the channel's directory, 4,096 bytes, of native 64-bit words:
//!
//! | word | | written by |
//! |---|---|---|
//! | 0 | magic `"pubsub\0C"` | receiver, before the channel can be seen |
//! | 1 | version, 1 | " |
//! | 2 | transport: 1 ring, 2 files | " |
//! | 3 | policy when full: 0 reject, 1 drop oldest | " |
//! | 4, 5 | capacity in messages, in bytes | " |
//! | 6 | the receiver's pid in its own namespace | " |
//! | 7 | opened, microseconds since the epoch | " |
//! | 8 | length of the pattern; its bytes stand from word 128 on | " |
//! | 9, 10, 11 | ring: slots, chunks, bytes of a chunk; the file is as long as they say (see `ring`) | " |
//! | 24, 32 | files transport: messages and bytes queued by libpubsub publishers, signed | all |
//! | 40 | overflow: 1 when a message file was linked whose id did not fit into the FIFO | all |
//! | 48, 49 | messages rejected; files transport: dropped | publishers |
//! | 56, 57 | messages received, entries malformed | receiver |
//! | 58 | for how many subscribers the channel stands | receiver |
//! | 59 | 1: libpubsub publishers pass it by, for it only wants what formix-pubsub programs publish | receiver, before the channel can be seen |
//! | 60 | since when it can be seen, microseconds since the epoch, if it reads histories first; 0: it does not, or has not begun to | receiver |
//!
//! The receiver holds the lock of byte 0 of this file from before the channel can be seen until it is gone; a channel
//! whose lock is free is dead for ever, since no channel is opened twice.
//!
//! **The queue's figures** bound the queue; they guard no memory, so their order relative to other accesses does not
//! matter (Relaxed), and each is only moved by read-modify-write. A publisher adds before it links a file, and whoever
//! removes the file subtracts. A process killed between the two leaves the figure too high, or too low where it had been
//! healed meanwhile, or moves one of the two figures alone; the receiver heals them when it finds the queue empty and the
//! figures unchanged for a while
//! (`files::Inbox`).

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use crate::ring::Layout;
use crate::sys::chaos;
use crate::sys::directory::read_at;
use crate::sys::fd::status;
use crate::sys::lock;
use crate::sys::mapping::{Mapping, reserve, reserve_range, set_len};

/// The file's name in a channel's directory.
pub(crate) const FILE: &[u8] = b"control";

const MAGIC: u64 = u64::from_ne_bytes(*b"pubsub\0C");
pub(crate) const VERSION: u64 = 1;
const BYTES: usize = 4096;
const WORDS: usize = BYTES / 8;
/// The lock byte of the receiver.
pub(crate) const RECEIVER: i64 = 0;

const W_MAGIC: usize = 0;
const W_VERSION: usize = 1;
const W_TRANSPORT: usize = 2;
const W_POLICY: usize = 3;
const W_CAPACITY_MESSAGES: usize = 4;
const W_CAPACITY_BYTES: usize = 5;
const W_PID: usize = 6;
const W_OPENED: usize = 7;
const W_PATTERN_LEN: usize = 8;
const W_SLOTS: usize = 9;
const W_CHUNKS: usize = 10;
const W_CHUNK_SIZE: usize = 11;
const W_QUEUED_MESSAGES: usize = 24;
const W_QUEUED_BYTES: usize = 32;
const W_OVERFLOW: usize = 40;
const W_REJECTED: usize = 48;
const W_DROPPED: usize = 49;
const W_RECEIVED: usize = 56;
const W_MALFORMED: usize = 57;
const W_SUBSCRIBERS: usize = 58;
const W_FOR_FOREIGN: usize = 59;
const W_JOINED: usize = 60;
const W_PATTERN: usize = 128;

/// What a full channel does with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FullPolicy {
    /// Refuse it: the publisher is told, the channel counts it.
    #[default]
    Reject,
    /// Make room by dropping the oldest; the receiver sees how many went
    /// ([`Message::dropped_before`](crate::Message::dropped_before)).
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

/// What is fixed when a channel is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub pattern: String,
    pub transport: Transport,
    pub policy: FullPolicy,
    pub capacity_messages: u64,
    pub capacity_bytes: u64,
    pub pid: u32,
    pub opened_us: u64,
    /// libpubsub publishers pass it by: a recorder's.
    pub for_foreign: bool,
    /// The ring behind the page; `None`: messages travel by files alone.
    pub ring: Option<Layout>,
}

/// Counters of a channel at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub rejected: u64,
    pub dropped: u64,
    pub received: u64,
    pub malformed: u64,
    /// For how many subscribers it stands.
    pub subscribers: u64,
}

/// Why a control page cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Made by a version that this one does not know.
    Version(u64),
    /// Not a control page, cut short, or with values that cannot be.
    Corrupt(&'static str),
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Io(error)
    }
}

/// A mapped control page.
#[derive(Debug)]
pub(crate) struct Control {
    /// The page, or the whole file where there is a ring.
    map: Arc<Mapping>,
    terms: Terms,
}

impl Control {
    /// Makes the page of a new channel in an empty file and takes the receiver's lock, which lasts as long as `held` stays
    /// open.
    ///
    /// `mapped` is the same file, opened once more: a mapping keeps what was mapped open, and a forked child inherits it,
    /// so that a lock on `mapped` would outlive this process.
    pub(crate) fn create(held: BorrowedFd<'_>, mapped: BorrowedFd<'_>, terms: Terms) -> io::Result<Control> {
        match &terms.ring {
            None => reserve(held, BYTES)?,
            Some(ring) => {
                set_len(held, ring.file_len())?;
                reserve_range(held, 0, ring.fixed_bytes())?;
            }
        }
        if !lock::try_lock(held, RECEIVER)? {
            return Err(io::Error::other("another process locked a file that was just made"));
        }
        let map = Mapping::new(mapped, words(&terms))?;
        let set = |word, value| map.word(word).store(value, Relaxed);
        if let Some(ring) = &terms.ring {
            set(W_SLOTS, ring.slots);
            set(W_CHUNKS, u64::from(ring.chunks));
            set(W_CHUNK_SIZE, u64::from(ring.chunk_size));
        }
        set(W_TRANSPORT, if terms.ring.is_some() { 1 } else { 2 });
        set(W_POLICY, matches!(terms.policy, FullPolicy::DropOldest) as u64);
        set(W_CAPACITY_MESSAGES, terms.capacity_messages);
        set(W_CAPACITY_BYTES, terms.capacity_bytes);
        set(W_PID, u64::from(terms.pid));
        set(W_OPENED, terms.opened_us);
        // A recorder is nobody that a publisher reaches.
        set(W_SUBSCRIBERS, !terms.for_foreign as u64);
        set(W_FOR_FOREIGN, terms.for_foreign as u64);
        set(W_PATTERN_LEN, terms.pattern.len() as u64);
        for (i, piece) in terms.pattern.as_bytes().chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..piece.len()].copy_from_slice(piece);
            set(W_PATTERN + i, u64::from_ne_bytes(bytes));
        }
        set(W_VERSION, VERSION);
        set(W_MAGIC, MAGIC);
        // Published by the rename of the directory, a system call that orders everything before it.
        Ok(Control { map: Arc::new(map), terms })
    }

    /// Maps the page of a channel that another process opened.
    pub(crate) fn attach(file: BorrowedFd<'_>) -> Result<Control, Unusable> {
        // Checked with pread before it is mapped: a file that is too short would be SIGBUS.
        let (terms, _) = inspect(file)?;
        let map = Mapping::new(file, words(&terms))?;
        Ok(Control { map: Arc::new(map), terms })
    }

    /// The mapped file.
    pub(crate) fn map(&self) -> &Arc<Mapping> {
        &self.map
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn counters(&self) -> Counters {
        counters(|word| self.map.word(word).load(Relaxed))
    }

    fn figure(&self, word: usize) -> &AtomicU64 {
        self.map.word(word)
    }

    /// Messages and bytes queued; below 0 for a moment when a message is fetched that had been healed away.
    pub(crate) fn queued(&self) -> (i64, i64) {
        let figure = |word| self.figure(word).load(Relaxed) as i64;
        (figure(W_QUEUED_MESSAGES), figure(W_QUEUED_BYTES))
    }

    /// Takes room for one message of `bytes`, if there is.
    pub(crate) fn try_reserve(&self, bytes: u64) -> bool {
        let limit = i64::try_from(self.terms.capacity_messages).unwrap_or(i64::MAX);
        let messages = self.figure(W_QUEUED_MESSAGES);
        let before = messages.fetch_update(Relaxed, Relaxed, |n| ((n as i64) < limit).then(|| n.wrapping_add(1)));
        let Ok(before) = before else { return false };
        chaos::point("publish.counted");
        let was_empty = before as i64 <= 0;
        let limit = i64::try_from(self.terms.capacity_bytes).unwrap_or(i64::MAX);
        let reserved = self.figure(W_QUEUED_BYTES).fetch_update(Relaxed, Relaxed, |queued| {
            let total = (queued as i64).max(0).saturating_add(bytes as i64);
            // A message larger than the bound is taken into an empty queue, or it could never be delivered.
            (total <= limit || was_empty).then(|| queued.wrapping_add(bytes))
        });
        if reserved.is_err() {
            messages.fetch_sub(1, Relaxed);
        }
        reserved.is_ok()
    }

    /// Takes room whatever the bound: the queue was found to be emptier than its figures.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.figure(W_QUEUED_MESSAGES).fetch_add(1, Relaxed);
        self.figure(W_QUEUED_BYTES).fetch_add(bytes, Relaxed);
    }

    /// Gives back the room of one message.
    pub(crate) fn release(&self, bytes: u64) {
        self.figure(W_QUEUED_MESSAGES).fetch_sub(1, Relaxed);
        chaos::point("release.counted");
        self.figure(W_QUEUED_BYTES).fetch_sub(bytes, Relaxed);
    }

    /// The receiver found the queue empty while its figures stood at these for long enough that nobody is at work. One
    /// that moves all the same is left to the next healing.
    pub(crate) fn heal_queued(&self, (messages, bytes): (i64, i64)) {
        for (word, stale) in [(W_QUEUED_MESSAGES, messages), (W_QUEUED_BYTES, bytes)] {
            // Moved: somebody is at work after all.
            let _ = self.figure(word).compare_exchange(stale as u64, 0, Relaxed, Relaxed);
        }
    }

    /// Says that a file was linked whose id is not in the FIFO. SeqCst with the FIFO's own lock: a publisher sets it and
    /// then tries the FIFO once more; the receiver empties the FIFO and then looks. One of the two sees the other.
    pub(crate) fn set_overflow(&self) {
        self.figure(W_OVERFLOW).store(1, SeqCst);
    }

    pub(crate) fn take_overflow(&self) -> bool {
        self.figure(W_OVERFLOW).load(SeqCst) != 0 && self.figure(W_OVERFLOW).swap(0, SeqCst) != 0
    }

    pub(crate) fn count_rejected(&self) {
        self.figure(W_REJECTED).fetch_add(1, Relaxed);
    }

    /// Announces a drop. Before the file is removed: a publisher killed in between leaves the count too high by one and
    /// never a loss uncounted.
    pub(crate) fn announce_drop(&self) {
        self.figure(W_DROPPED).fetch_add(1, SeqCst);
    }

    /// Takes an announcement back: somebody else had removed the file.
    pub(crate) fn withdraw_drop(&self) {
        self.figure(W_DROPPED).fetch_sub(1, SeqCst);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.figure(W_DROPPED).load(SeqCst)
    }

    /// Counts messages that the receiver took. Only the receiver does, one thread at a time: no need to lock the line.
    pub(crate) fn count_received(&self, messages: u64) {
        let received = self.figure(W_RECEIVED);
        received.store(received.load(Relaxed).wrapping_add(messages), Relaxed);
    }

    pub(crate) fn set_subscribers(&self, subscribers: u64) {
        self.figure(W_SUBSCRIBERS).store(subscribers, Relaxed);
    }

    /// It is about to read histories. The count of openings that follows (`history::note_opening`) orders it.
    pub(crate) fn set_joined(&self, us: u64) {
        self.figure(W_JOINED).store(us, Relaxed);
    }

    /// Since when it can be seen, if it reads histories first; else 0.
    pub(crate) fn joined_us(&self) -> u64 {
        self.figure(W_JOINED).load(Relaxed)
    }

    pub(crate) fn count_malformed(&self) {
        self.figure(W_MALFORMED).fetch_add(1, Relaxed);
    }
}

/// How much of the file is mapped.
fn words(terms: &Terms) -> usize {
    terms.ring.map_or(WORDS, |ring| ring.file_len() / 8)
}

fn counters(load: impl Fn(usize) -> u64) -> Counters {
    Counters {
        rejected: load(W_REJECTED),
        dropped: load(W_DROPPED),
        received: load(W_RECEIVED),
        malformed: load(W_MALFORMED),
        subscribers: load(W_SUBSCRIBERS),
    }
}

/// Reads a control page without mapping it.
pub(crate) fn inspect(file: BorrowedFd<'_>) -> Result<(Terms, Counters), Unusable> {
    let stat = status(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Unusable::Corrupt("its control page is not a file"));
    }
    let mut bytes = [0; BYTES];
    if (stat.st_size as u64) < BYTES as u64 || read_at(file, &mut bytes, 0)? < BYTES {
        return Err(Unusable::Corrupt("its control page is cut short"));
    }
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_ne_bytes(word)
    };
    if word(W_MAGIC) != MAGIC {
        return Err(Unusable::Corrupt("its control page is not one of this library"));
    }
    if word(W_VERSION) != VERSION {
        return Err(Unusable::Version(word(W_VERSION)));
    }
    let policy = match word(W_POLICY) {
        0 => FullPolicy::Reject,
        1 => FullPolicy::DropOldest,
        _ => return Err(Unusable::Corrupt("its control page has an unknown policy")),
    };
    let ring = match word(W_TRANSPORT) {
        1 => {
            let number = |index| u32::try_from(word(index)).unwrap_or(u32::MAX);
            let ring = Layout {
                slots: word(W_SLOTS),
                bound: word(W_CAPACITY_MESSAGES),
                bytes_bound: word(W_CAPACITY_BYTES),
                chunks: number(W_CHUNKS),
                chunk_size: number(W_CHUNK_SIZE),
                drop_oldest: policy == FullPolicy::DropOldest,
            };
            if !ring.is_valid() || ring.file_len() as u64 != stat.st_size as u64 {
                return Err(Unusable::Corrupt("its ring has an impossible size"));
            }
            Some(ring)
        }
        2 => None,
        _ => return Err(Unusable::Corrupt("its control page has an unknown transport")),
    };
    let len = usize::try_from(word(W_PATTERN_LEN)).unwrap_or(usize::MAX);
    let pattern = (W_PATTERN * 8).checked_add(len).and_then(|end| bytes.get(W_PATTERN * 8..end));
    let Some(Ok(pattern)) = pattern.map(std::str::from_utf8) else {
        return Err(Unusable::Corrupt("its control page has an impossible pattern"));
    };
    let terms = Terms {
        pattern: pattern.to_string(),
        transport: if ring.is_some() { Transport::Ring } else { Transport::Files },
        policy,
        capacity_messages: word(W_CAPACITY_MESSAGES),
        capacity_bytes: word(W_CAPACITY_BYTES),
        pid: word(W_PID) as u32,
        opened_us: word(W_OPENED),
        for_foreign: word(W_FOR_FOREIGN) == 1,
        ring,
    };
    Ok((terms, counters(word)))
}

/// Whether the receiver that made this page lives.
pub(crate) fn is_alive(file: impl AsFd) -> io::Result<bool> {
    lock::is_locked(file, RECEIVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(messages: u64, bytes: u64) -> Terms {
        Terms {
            pattern: "news.=".into(),
            transport: Transport::Files,
            policy: FullPolicy::DropOldest,
            capacity_messages: messages,
            capacity_bytes: bytes,
            pid: 7,
            opened_us: 9,
            for_foreign: false,
            ring: None,
        }
    }

    fn page(messages: u64, bytes: u64) -> (std::fs::File, Control) {
        let file = tempfile::tempfile().unwrap();
        let control = Control::create(file.as_fd(), file.as_fd(), terms(messages, bytes)).unwrap();
        (file, control)
    }

    #[test]
    fn what_one_writes_another_reads() {
        let (file, control) = page(5, 100);
        control.count_rejected();
        let other = Control::attach(file.as_fd()).unwrap();
        assert_eq!(other.terms(), &terms(5, 100));
        assert_eq!(other.counters().rejected, 1);
    }

    #[test]
    fn a_queue_takes_as_many_messages_and_bytes_as_its_bounds_and_no_more() {
        let (_file, control) = page(3, 100);
        assert!((0..3).all(|_| control.try_reserve(10)));
        assert!(!control.try_reserve(10));
        control.release(10);
        assert!(!control.try_reserve(81), "bytes");
        assert!(control.try_reserve(80));
        for bytes in [10, 10, 80] {
            control.release(bytes);
        }
        assert!(control.try_reserve(1_000), "a message above the bound is taken into an empty queue");
        assert!(!control.try_reserve(1), "and nothing behind it");
    }

    #[test]
    fn figures_of_a_killed_publisher_are_healed() {
        let (_file, control) = page(1, 100);
        assert!(control.try_reserve(10));
        assert!(!control.try_reserve(10));
        control.heal_queued(control.queued());
        assert!(control.try_reserve(10));
    }

    #[test]
    fn pages_that_cannot_be_are_refused() {
        use std::os::unix::fs::FileExt;
        let (file, _control) = page(3, 100);
        for (word, value) in
            [(W_MAGIC, 1), (W_POLICY, 2), (W_TRANSPORT, 9), (W_PATTERN_LEN, 4096), (W_PATTERN_LEN, u64::MAX)]
        {
            let mut before = [0; 8];
            file.read_exact_at(&mut before, word as u64 * 8).unwrap();
            file.write_all_at(&u64::to_ne_bytes(value), word as u64 * 8).unwrap();
            assert!(matches!(Control::attach(file.as_fd()), Err(Unusable::Corrupt(_))), "word {word}");
            file.write_all_at(&before, word as u64 * 8).unwrap();
        }
        file.write_all_at(&u64::to_ne_bytes(2), W_VERSION as u64 * 8).unwrap();
        assert!(matches!(Control::attach(file.as_fd()), Err(Unusable::Version(2))));
        file.set_len(4095).unwrap();
        assert!(matches!(Control::attach(file.as_fd()), Err(Unusable::Corrupt(_))));
    }
}
