//! The first page of a history's file.
//!
//! | word | |
//! |---|---|
//! | 0 | magic `"pubsub\0H"` |
//! | 1 | version, 1 |
//! | 2, 3 | messages, bytes kept at most. A few more messages lie there, see [`slots_bound`] |
//! | 4 | age in microseconds from which on a message is not returned; 0: none |
//! | 5 | epoch: an id of the store, so no other history of this topic has it |
//! | 6 | created, microseconds since the epoch |
//! | 7 | length of the topic; its bytes stand from word 128 on |
//! | 8, 9, 10 | slots, chunks, bytes of a chunk: see `ring` |
//! | 11 | 1: records and files have check sums of their contents; 0, in memory: no more than a mark |
//! | 24, 25 | the last offset before the latest append that failed, and how many have failed |
//! | 32 | how many channels have opened to read it and go on live |
//!
//! The lock of byte 0 is the recorder's; those behind it are the publishers' (see `ring`). Who makes a history holds the
//! recorder's until the history can be seen, so that a cleaner can tell it from what a dead process left.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{Ordering::SeqCst, fence};

use crate::control::Unusable;
use crate::ring::Layout;
use crate::sys::directory::{Directory, EntryPath, read_at, write_all};
use crate::sys::fd::status;
use crate::sys::mapping::{Mapping, reserve_range, set_len};

/// The file's name in a topic's directory.
pub(crate) const FILE: &[u8] = b"history";
/// The lock byte of the recorder.
pub(crate) const RECORDER: i64 = 0;

/// What the directory of a managed topic is called in the store, before the topic. No underscore: it is no channel's name, for
/// formix-pubsub programs neither.
const PREFIX: &str = ".topic.";

const MAGIC: u64 = u64::from_ne_bytes(*b"pubsub\0H");
const VERSION: u64 = 1;
const BYTES: usize = 4096;

const W_MAGIC: usize = 0;
const W_VERSION: usize = 1;
const W_MESSAGES: usize = 2;
const W_BYTES: usize = 3;
const W_TTL: usize = 4;
const W_EPOCH: usize = 5;
const W_CREATED: usize = 6;
const W_TOPIC_LEN: usize = 7;
const W_SLOTS: usize = 8;
const W_CHUNKS: usize = 9;
const W_CHUNK_SIZE: usize = 10;
const W_SUMS: usize = 11;
/// The last offset before the latest append that failed.
pub(super) const W_LOST_BEHIND: usize = 24;
/// How many appends have failed.
pub(super) const W_LOST: usize = 25;
/// How many channels have begun to read it in order to go on live.
pub(super) const W_OPENINGS: usize = 32;
const W_TOPIC: usize = 128;

/// The name of a managed topic's directory in the store.
pub(crate) fn directory_name(topic: &str) -> Vec<u8> {
    [PREFIX.as_bytes(), topic.as_bytes()].concat()
}

/// The topic whose directory has this name.
pub(crate) fn topic_of(name: &[u8]) -> Option<&str> {
    let topic = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    crate::topic::validate_topic(topic).is_ok().then_some(topic)
}

/// What is fixed when a history is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub topic: String,
    /// The most messages that are returned.
    pub messages: u64,
    /// 0: no limit.
    pub ttl_us: u64,
    pub epoch: u64,
    pub created_us: u64,
    /// Records and files have check sums of their contents: a power failure may leave any part of a file on a disk as it was
    /// before. What is in memory is whole or gone.
    pub sums: bool,
    pub layout: Layout,
}

/// How many messages lie in a history that returns so many: giving up a few at a time costs less than one with each append, and
/// who reads is not overtaken at once.
fn slots_bound(messages: u64) -> u64 {
    messages.saturating_add((messages / 4).clamp(32, 4096)).min(Layout::SLOTS_MAX).max(messages)
}

/// The sizes of a history that keeps so much; `None`: none can.
pub(crate) fn layout(messages: u64, bytes: u64) -> Option<Layout> {
    Layout::new(slots_bound(messages), bytes, true)
}

/// Notes that a channel, which can be seen by now, is about to look up the history's end and to get live what comes behind it.
/// A publisher looks at the number after each append (see [`Appender::openings`](super::Appender::openings)).
pub(crate) fn note_opening(base: &Directory, topic: &str) -> Result<(), Unusable> {
    let path = EntryPath::new(&directory_name(topic), FILE);
    let file = base.open_at(path.as_c_str(), libc::O_RDWR, 0)?;
    inspect(&file)?;
    let map = Mapping::new(&file, BYTES / 8)?;
    map.word(W_OPENINGS).fetch_add(1, SeqCst);
    // Before the end is looked up: see there.
    fence(SeqCst);
    Ok(())
}

/// Makes a history in an empty file, and its memory as far as every append needs it.
pub(crate) fn create(file: BorrowedFd<'_>, terms: &Terms) -> io::Result<()> {
    set_len(file, terms.layout.file_len())?;
    reserve_range(file, 0, terms.layout.fixed_bytes())?;
    let mut page = [0; BYTES];
    let mut set = |word: usize, value: u64| page[word * 8..word * 8 + 8].copy_from_slice(&value.to_ne_bytes());
    set(W_MAGIC, MAGIC);
    set(W_VERSION, VERSION);
    set(W_MESSAGES, terms.messages);
    set(W_BYTES, terms.layout.bytes_bound);
    set(W_TTL, terms.ttl_us);
    set(W_EPOCH, terms.epoch);
    set(W_CREATED, terms.created_us);
    set(W_TOPIC_LEN, terms.topic.len() as u64);
    set(W_SLOTS, terms.layout.slots);
    set(W_CHUNKS, u64::from(terms.layout.chunks));
    set(W_CHUNK_SIZE, u64::from(terms.layout.chunk_size));
    set(W_SUMS, terms.sums as u64);
    page[W_TOPIC * 8..][..terms.topic.len()].copy_from_slice(terms.topic.as_bytes());
    write_all(file, &page, &[])
}

/// Reads and checks the page, by `pread`.
pub(crate) fn inspect(file: impl AsFd) -> Result<Terms, Unusable> {
    let file = file.as_fd();
    let stat = status(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Unusable::Corrupt("it is not a file"));
    }
    let mut page = [0; BYTES];
    if read_at(file, &mut page, 0)? < BYTES {
        return Err(Unusable::Corrupt("it is cut short"));
    }
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&page[index * 8..index * 8 + 8]);
        u64::from_ne_bytes(word)
    };
    if word(W_MAGIC) != MAGIC {
        return Err(Unusable::Corrupt("it is not a history of this library"));
    }
    if word(W_VERSION) != VERSION {
        return Err(Unusable::Version(word(W_VERSION)));
    }
    let number = |index| u32::try_from(word(index)).unwrap_or(u32::MAX);
    let layout = Layout {
        slots: word(W_SLOTS),
        bound: slots_bound(word(W_MESSAGES)),
        bytes_bound: word(W_BYTES),
        chunks: number(W_CHUNKS),
        chunk_size: number(W_CHUNK_SIZE),
        drop_oldest: true,
    };
    if !layout.is_valid() || layout.file_len() as u64 != stat.st_size as u64 {
        return Err(Unusable::Corrupt("it has an impossible size"));
    }
    let len = usize::try_from(word(W_TOPIC_LEN)).unwrap_or(usize::MAX);
    let topic = (W_TOPIC * 8).checked_add(len).and_then(|end| page.get(W_TOPIC * 8..end));
    let Some(Ok(topic)) = topic.map(std::str::from_utf8) else {
        return Err(Unusable::Corrupt("it has an impossible topic"));
    };
    if word(W_EPOCH) == 0 {
        return Err(Unusable::Corrupt("it has no epoch"));
    }
    Ok(Terms {
        topic: topic.to_string(),
        messages: word(W_MESSAGES),
        ttl_us: word(W_TTL),
        epoch: word(W_EPOCH),
        created_us: word(W_CREATED),
        sums: word(W_SUMS) != 0,
        layout,
    })
}
