//! The order in which a channel gives a managed topic's messages: that of their offsets.
//!
//! A publisher puts a message into the history first and then into the channels. Between the two another may overtake it, or it
//! is stopped, or killed; so a channel may get offset 8 before 7, or instead of it. Whoever resumes behind the last message that
//! it had must not miss the one that was overtaken. So when an offset is left out, what lies before it is taken from the history
//! and given first, and the live copy dropped if it still comes.
//!
//! What the channel itself refused or dropped is left out, too: that was told to its publisher or receiver, and is not brought
//! back. Which offsets these were is not known, only how many: as long as some are not accounted for, what is left out is
//! taken to be them, and comes late if it was not. What the history has given up already is not held back for: it comes late,
//! if it comes.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::history::{Kept, Reader};
use crate::message::id::{is_native, time_us};
use crate::message::{Message, MessageKind};
use crate::store::Store;
use crate::topic::validate_topic;

/// Offsets that are looked up in the history at once, at most: each publisher is at one message between the history and the
/// channels, so that many publishers can be overtaken. What is left out beyond that has other reasons.
const OVERTAKEN: u64 = 4_096;
/// And how many bytes of them, about.
const BYTES: usize = 16 << 20;
/// Live copies that are waited for, and histories that are known. The store is not trusted to name fewer.
const REMEMBERED: usize = 65_536;

/// The place that the next message of a managed topic has when nothing is left out: all that the quick ways look at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    epoch: u64,
    offset: u64,
}

impl Place {
    /// Whether a message of this place (0, 0: of no managed topic) may be given as it is; it then counts as given.
    #[inline(always)]
    pub(crate) fn takes(&mut self, epoch: u64, offset: u64) -> bool {
        if epoch == 0 {
            return true;
        }
        let is_next = epoch == self.epoch && offset == self.offset;
        self.offset = self.offset.wrapping_add(u64::from(is_next));
        is_next
    }

    #[inline(always)]
    pub(crate) fn takes_message(&mut self, message: &Message) -> bool {
        message.dropped_before() == 0 && self.takes(message.epoch(), message.offset())
    }
}

/// How far a history has been given.
#[derive(Debug, Default)]
struct Track {
    /// Every offset before this one was given, was refused or dropped, or will come late.
    next: u64,
    /// Those before it that came from the history and may still come live.
    given: BTreeSet<u64>,
}

/// What a channel knows of the order of its messages.
#[derive(Debug)]
pub(crate) struct Order {
    /// Of the history that the last message was in.
    pub place: Place,
    tracks: HashMap<u64, Track>,
    /// What is to be given before anything else.
    ready: VecDeque<Message>,
    /// Messages dropped so far, as their followers told.
    dropped: u64,
    /// How many of those that were refused and dropped are known by the offsets that they left out.
    accounted: u64,
    /// What went before the next message.
    lost: u64,
    /// Histories that are younger than this, microseconds since 1970, are given from their beginning.
    young_us: u64,
}

impl Order {
    /// `young_us`: when the channel was about to open, if it is to get the whole of what is created later.
    pub(crate) fn new(young_us: Option<u64>) -> Order {
        Order {
            place: Place::default(),
            tracks: HashMap::new(),
            ready: VecDeque::new(),
            dropped: 0,
            accounted: 0,
            lost: 0,
            young_us: young_us.unwrap_or(u64::MAX),
        }
    }

    /// A history of which everything from this offset on comes live.
    pub(crate) fn begin(&mut self, epoch: u64, offset: u64) {
        self.tracks.insert(epoch, Track { next: offset, given: BTreeSet::new() });
        self.place = Place { epoch, offset };
    }

    /// Whether something is to be given before anything else.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Something is to be given behind what is given next.
    pub(crate) fn has_more_ready(&self) -> bool {
        self.ready.len() > 1
    }

    pub(crate) fn pop_ready(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    /// Puts a message that is not the next of the last history to what is ready, behind those that it left out; or nowhere, since it
    /// has come before. `rejected`: how many the channel has refused so far.
    #[cold]
    pub(crate) fn review(&mut self, mut message: Message, store: &Store, rejected: u64) {
        let (epoch, offset) = (message.epoch(), message.offset());
        self.dropped = self.dropped.saturating_add(message.dropped_before());
        if let Some(track) = self.tracks.get_mut(&self.place.epoch) {
            track.next = track.next.max(self.place.offset);
        }
        if epoch != 0 && message.kind() == MessageKind::Data {
            if self.tracks.len() >= REMEMBERED && !self.tracks.contains_key(&epoch) {
                self.tracks.clear();
            }
            let refused = rejected.saturating_add(self.dropped);
            let next = if time_us(epoch) >= self.young_us { 1 } else { offset };
            let is_new = !self.tracks.contains_key(&epoch);
            let track = self.tracks.entry(epoch).or_insert_with(|| Track { next, given: BTreeSet::new() });
            if track.given.remove(&offset) {
                self.lost = self.lost.saturating_add(message.dropped_before());
                return;
            }
            let left_out = offset.saturating_sub(track.next);
            let unaccounted = refused.saturating_sub(self.accounted);
            if left_out == 0 {
                // Late, so it was not refused.
                self.accounted = self.accounted.saturating_sub(u64::from(offset < track.next));
            } else if unaccounted > 0 || (is_new && refused > 0) {
                self.accounted += left_out.min(unaccounted);
            } else {
                // Where that fails (the topic was deleted, no descriptor is left) they come late.
                let _ = bring(store, message.topic(), epoch, track, offset, &mut self.ready);
            }
            track.next = track.next.max(offset.saturating_add(1));
            self.place = Place { epoch, offset: track.next };
        }
        if self.lost > 0 {
            message.set_dropped_before(message.dropped_before().saturating_add(std::mem::take(&mut self.lost)));
        }
        self.ready.push_back(message);
    }
}

/// Takes what lies before an offset from the history.
fn bring(
    store: &Store,
    topic: &str,
    epoch: u64,
    track: &mut Track,
    end: u64,
    ready: &mut VecDeque<Message>,
) -> crate::Result<()> {
    validate_topic(topic)?;
    let mut reader = match Reader::open(store.base(), topic)? {
        Some(reader) if reader.terms().epoch == epoch => reader,
        _ => return Ok(()),
    };
    let (first, tail) = reader.range()?;
    let end = end.min(tail);
    let mut next = track.next.max(first).max(end.saturating_sub(OVERTAKEN));
    let mut left = BYTES;
    while next < end && left > 0 {
        let batch = reader.batch(next, end, left)?;
        next = batch.next;
        for (offset, kept) in batch.kept {
            // formix-pubsub programs' come live, without a place; who else needs them gets them from the recorder.
            if let Kept::Message(message) = kept {
                left = left.saturating_sub(message.data().len() + message.headers_json().len());
                if is_native(message.id()) {
                    track.given.insert(offset);
                    ready.push_back(message);
                }
            }
        }
        while track.given.len() > REMEMBERED {
            track.given.pop_first();
        }
    }
    Ok(())
}
