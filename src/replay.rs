//! What a channel gets of histories before it gets what is new.
//!
//! The channel is open first: whatever is published from then on waits in its queue. Then each history's end is looked up. What
//! lies before that end comes from the history, what lies behind it from the queue; live messages carry their place in the
//! history, so those of the queue that the history already gave are known and dropped. A message that is dropped so and not
//! given (older than the last N) began its way before the channel was open. And a publisher that found its channels before it
//! appended looks again if a channel began to read the history meanwhile ([`history::note_opening`]).
//!
//! formix-pubsub programs know no histories: what they publish has no place when it comes live, and is put into the history by the
//! topic's recorder, which also sends it, with its place, to channels that joined after it was made (`publisher::recording`). So
//! such a message may come up to three ways; those that were made before the channel joined are known by id and time.
//!
//! Histories are read piece by piece, and several of them merged by time; each keeps its own order. What a history gives up
//! before it was read is counted in the next message's `dropped_before`.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Range;

use crate::control::Unusable;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{self, Kept, Reader};
use crate::message::id::is_native;
use crate::message::{Message, MessageKind};
use crate::store::Store;
use crate::sys::chaos::planted;
use crate::sys::clock;
use crate::sys::directory::{Directory, Kind};
use crate::topic::Pattern;
use crate::topics::Resume;

/// What is read ahead of all histories together, in bytes; of each no less than its next message.
const AHEAD: usize = 1 << 20;
/// formix-pubsub messages have no place in a history when they come live; those that came into it this long before are
/// remembered by their ids.
pub(crate) const FOREIGN_US: u64 = 60_000_000;

/// How often a history that is deleted and created again under a channel that opens is looked at.
const ATTEMPTS: usize = 16;

/// From where a channel begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beginning {
    Last(u32),
    Behind(Resume),
}

/// A channel's view of the histories.
#[derive(Debug)]
pub(crate) struct Replay {
    cursors: Vec<Cursor>,
    /// The cursors that have a message, by its time.
    order: BinaryHeap<Reverse<(i64, u64, usize)>>,
    cuts: HashMap<String, Cut>,
    /// Bytes that a cursor reads ahead.
    ahead: usize,
    /// Messages that went before the next one.
    lost: u64,
    /// In this time the channel came to be seen.
    joining_us: Range<u64>,
    /// A history was created in this time.
    is_one_young: bool,
}

/// A history in which it is noted that a channel begins to read it; its end is to be looked up after this. `None`: there is none.
fn noted<'a>(base: &'a Directory, topic: &str) -> Result<Option<Reader<'a>>> {
    let mut before = Reader::open(base, topic)?;
    for _ in 0..ATTEMPTS {
        if before.is_none() {
            return Ok(None);
        }
        match history::note_opening(base, topic) {
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            noted => noted.map_err(|unusable| history::unusable(unusable, topic))?,
        }
        let reader = Reader::open(base, topic)?;
        let epoch = |reader: &Option<Reader<'_>>| reader.as_ref().map(|reader| reader.terms().epoch);
        // Else it was deleted and created again meanwhile: publishers to the new one have seen no note.
        if epoch(&reader) == epoch(&before) {
            return Ok(reader);
        }
        before = reader;
    }
    Ok(before)
}

/// What of a topic came from its history.
#[derive(Debug)]
struct Cut {
    epoch: u64,
    /// The offset from which on messages come live.
    end: u64,
    /// When it was created, if that was while the channel was being opened; else 0.
    created_us: u64,
    /// Ids and times of formix-pubsub messages that have come and may come again. Their ids alone are not unique.
    foreign: HashSet<(u64, i64)>,
}

/// What is still to come from one history.
#[derive(Debug)]
struct Cursor {
    topic: String,
    epoch: u64,
    /// The offset to be read next, and the one that ends it.
    next: u64,
    end: u64,
    /// The offset behind the last one that was given, if what is missing from there on is to be told.
    expected: Option<u64>,
    ready: VecDeque<Message>,
}

impl Replay {
    /// For a channel that is open. `None`: there is nothing to replay, and nothing to drop.
    /// `joining_us`: in this time the channel came to be seen.
    pub(crate) fn open(
        store: &Store,
        pattern: &Pattern,
        beginning: Beginning,
        joining_us: Range<u64>,
    ) -> Result<Option<Box<Replay>>> {
        let base = store.base();
        let mut topics = Vec::new();
        if pattern.is_exact() {
            topics.push(pattern.as_str().to_string());
        } else {
            let list = base.list(c".", |entry| {
                if let Some(topic) = history::topic_of(entry.name) {
                    if entry.kind == Kind::Directory && pattern.matches(topic) {
                        topics.push(topic.to_string());
                    }
                }
                true
            });
            list.map_err(|e| Error::os(format_args!("listing the store {}", store.home().display()), e))?;
        }
        let mut replay = Replay {
            cursors: Vec::new(),
            order: BinaryHeap::new(),
            cuts: HashMap::new(),
            ahead: AHEAD,
            lost: 0,
            joining_us,
            is_one_young: false,
        };
        for topic in topics {
            match noted(base, &topic) {
                Ok(Some(reader)) => replay.add(&reader, beginning)?,
                Ok(None) if matches!(beginning, Beginning::Behind(_)) => {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format_args!("'{topic}' keeps no history to resume from; open the channel without 'resume'"),
                    ));
                }
                Ok(None) => {}
                // One that is damaged, or not for this user to read, does not keep a wildcard's others.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Permission) && !pattern.is_exact() => {}
                Err(error) => return Err(error),
            }
        }
        if replay.cuts.is_empty() {
            return Ok(None);
        }
        replay.ahead = AHEAD / replay.cursors.len().max(1);
        for index in 0..replay.cursors.len() {
            replay.fill(store, index)?;
        }
        Ok(Some(Box::new(replay)))
    }

    fn add(&mut self, reader: &Reader<'_>, beginning: Beginning) -> Result<()> {
        let (first, end) = reader.range()?;
        let terms = reader.terms();
        let (next, expected) = match beginning {
            Beginning::Last(count) => (first.max(end.saturating_sub(u64::from(count))), None),
            Beginning::Behind(Resume { epoch, offset }) if epoch == terms.epoch && offset < end => {
                // Which message it was is not known, only that there was one.
                self.lost += u64::from(reader.has_lost_since(offset)?);
                (first.max(offset.saturating_add(1)), Some(offset.saturating_add(1)))
            }
            // Another history, or one that a power failure has taken the end of.
            Beginning::Behind(Resume { epoch, .. }) => {
                self.lost += u64::from(epoch == terms.epoch);
                (first, Some(1))
            }
        };
        let is_young = terms.created_us >= self.joining_us.start;
        self.is_one_young |= is_young;
        let created_us = if is_young { terms.created_us } else { 0 };
        let cut = Cut { epoch: terms.epoch, end, created_us, foreign: HashSet::new() };
        self.cuts.insert(terms.topic.clone(), cut);
        self.cursors.push(Cursor {
            topic: terms.topic.clone(),
            epoch: terms.epoch,
            next,
            end,
            expected,
            ready: VecDeque::new(),
        });
        Ok(())
    }

    /// Makes sure that a cursor has a message, unless it is at its end, and puts it into the order.
    fn fill(&mut self, store: &Store, index: usize) -> Result<()> {
        let cursor = &mut self.cursors[index];
        while cursor.ready.is_empty() && cursor.next < cursor.end {
            let batch = match Reader::open(store.base(), &cursor.topic)? {
                Some(mut reader) if reader.terms().epoch == cursor.epoch => {
                    Some(reader.batch(cursor.next, cursor.end, self.ahead)?)
                }
                // Deleted meanwhile.
                _ => None,
            };
            let Some(batch) = batch else {
                // Live copies of these are not given, so their loss is told.
                cursor.expected.get_or_insert(cursor.next);
                cursor.next = cursor.end;
                break;
            };
            cursor.next = batch.next;
            for (offset, kept) in batch.kept {
                let Kept::Message(mut message) = kept else { continue };
                if let Some(expected) = cursor.expected {
                    message.set_dropped_before(offset.saturating_sub(expected));
                }
                cursor.expected = Some(offset + 1);
                if !is_native(message.id()) {
                    let since = clock::wall_us().saturating_sub(FOREIGN_US);
                    if let Some(cut) = self.cuts.get_mut(&cursor.topic) {
                        if message.timestamp_us().max(0) as u64 >= since {
                            cut.foreign.insert((message.id(), message.timestamp_us()));
                        }
                    }
                }
                cursor.ready.push_back(message);
            }
        }
        match cursor.ready.front() {
            Some(message) => self.order.push(Reverse((message.timestamp_us(), message.id(), index))),
            None => {
                if let Some(expected) = cursor.expected.replace(cursor.end) {
                    self.lost = self.lost.saturating_add(cursor.end.saturating_sub(expected));
                }
            }
        }
        Ok(())
    }

    /// The histories' epochs, and the offsets from which on messages come live.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cuts.values().map(|cut| (cut.epoch, cut.end))
    }

    /// Whether there is more from a history.
    pub(crate) fn has_message(&self) -> bool {
        !self.order.is_empty()
    }

    /// The next message from a history; `None`: from now on everything comes live.
    pub(crate) fn next(&mut self, store: &Store) -> Result<Option<Message>> {
        let Some(Reverse((timestamp, id, index))) = self.order.pop() else { return Ok(None) };
        let Some(message) = self.cursors[index].ready.pop_front() else { return Ok(None) };
        // Before more is read: what has gone of that went behind this one.
        let message = self.told(message);
        if let Err(error) = self.fill(store, index) {
            // Out of descriptors, perhaps: it stays.
            self.cursors[index].ready.push_front(message);
            self.order.push(Reverse((timestamp, id, index)));
            return Err(error);
        }
        if self.order.is_empty() {
            self.cursors = Vec::new();
        }
        Ok(Some(message))
    }

    /// A live message, unless it came from a history.
    pub(crate) fn live(&mut self, message: Message) -> Option<Message> {
        if self.has_come(&message) && !planted("replayed twice") {
            self.lost = self.lost.saturating_add(message.dropped_before());
            return None;
        }
        Some(self.told(message))
    }

    fn has_come(&mut self, message: &Message) -> bool {
        let (epoch, is_foreign) = (message.epoch(), !is_native(message.id()));
        if message.kind() != MessageKind::Data || (epoch == 0 && !is_foreign && !self.is_one_young) {
            return false;
        }
        let Some(cut) = self.cuts.get_mut(message.topic()) else { return false };
        if epoch == cut.epoch && message.offset() < cut.end {
            return true;
        }
        if !is_foreign {
            // Older than the whole history: it began its way before the channel was open, and would come behind what is newer.
            return epoch != cut.epoch && message.timestamp_us().max(0) as u64 <= cut.created_us;
        }
        let identity = (message.id(), message.timestamp_us());
        let is_old = message.timestamp_us().max(0) as u64 <= self.joining_us.end;
        if is_old { !cut.foreign.insert(identity) } else { cut.foreign.contains(&identity) }
    }

    /// With what went before it.
    fn told(&mut self, mut message: Message) -> Message {
        if self.lost > 0 {
            message.set_dropped_before(message.dropped_before().saturating_add(std::mem::take(&mut self.lost)));
        }
        message
    }
}
