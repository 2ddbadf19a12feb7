//! The sending end of a ring: space, commit, wake.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

use super::sync;
use super::words::{ChunkState, ChunkWord, IDS, Ref, STEP, unread, unwrap_end};
use super::{
    BELL, CLOSED, HAZARD, HEAD, HUNGRY, Layout, Locks, Memory, Ring, SLOTS_RESERVED, SLOTS_STEP, STATE, TAIL_HINT,
};
use crate::sys::chaos::{self, planted};

/// A publisher comes back to a chunk after this many others: writing into the chunk that the consumer is reading, or has just
/// read, means waiting for its cache lines.
const ROTATION: usize = 16;
/// How far ahead of the record that is written memory is fetched into the cache.
const PREFETCH: usize = 512;
/// A publisher that is told "full" looks again at an unchanged head after this many tries.
const RETRY_FULL: u32 = 64;
/// Steps of dropping before a publish gives up: each makes room unless others take it.
const DROPS: u32 = 1024;

/// How many ids that may keep a chunk are tried: each is a system call.
const KEEPER_TRIES: u32 = 8;

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    Taken,
    Full,
    /// Its pages cannot be had.
    NoMemory(io::Error),
    /// The receiver has closed the channel.
    Gone,
    /// The ring's words contradict each other.
    Corrupt,
}

/// What a try to find space came to.
enum Space {
    Found,
    Full,
    NoMemory(io::Error),
}

/// Ids below this may keep a chunk.
fn keepers(layout: &Layout) -> u32 {
    layout.chunks / 2
}

/// The later of two positions. Not the greater: a wrong head just below 2^64 would be found again and again.
fn later(one: u64, other: u64) -> u64 {
    if other.wrapping_sub(one) < 1 << 63 { other } else { one }
}

/// One publisher of a ring: used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Producer<L> {
    locks: L,
    id: u32,
    /// Where the next commit is tried first: behind its own last one.
    position: u64,
    /// The last known head.
    head: u64,
    /// The last known number of reserved slots.
    slots_reserved: u64,
    /// The chunk that it owns, filled up to `offset`, its last record before position `end`.
    current: Option<u32>,
    offset: u32,
    end: u64,
    /// Chunks that it owned before, oldest first.
    recent: std::collections::VecDeque<u32>,
    /// The head and the need of the last search that found nothing, and how often it has been believed.
    full: Option<(u64, u32)>,
    believed: u32,
    /// Whether that search met a chunk that somebody may let go of while head stays.
    awaits_others: bool,
    /// Ids of message files whose messages it dropped.
    dropped_files: Vec<u64>,
    /// For a planted fault.
    state: u64,
}

impl<L: Locks> Producer<L> {
    /// Joins the ring's publishers: under an id that [may keep](Producer::may_keep) a chunk if a few tries find one, else under
    /// the first free id at or after `hint`.
    pub(crate) fn attach<M: Memory>(ring: &Ring<M>, locks: L, hint: u32) -> io::Result<Producer<L>> {
        let keepers = keepers(&ring.layout);
        let near = (0..keepers.min(KEEPER_TRIES)).map(|i| hint.wrapping_add(i) % keepers);
        let mut ids = near.chain((0..IDS).map(|i| hint.wrapping_add(i) % IDS));
        let Some(id) = ids.find(|&id| locks.try_lock(id)) else {
            return Err(io::Error::other("every publisher id of the channel is in use"));
        };
        chaos::point("ring.attached");
        let mut slots_reserved = 0;
        // The former holder of this id may have died owning a chunk.
        if !planted("no cleaning when an id is taken") {
            ring.clean(id, &mut slots_reserved);
        }
        let head = ring.word(HEAD).load(Acquire);
        let position = ring.true_tail(&mut slots_reserved).max(head);
        Ok(Producer {
            locks,
            id,
            position,
            head,
            slots_reserved,
            current: None,
            offset: 0,
            end: head,
            recent: std::collections::VecDeque::with_capacity(ROTATION + 1),
            full: None,
            believed: 0,
            awaits_others: false,
            dropped_files: Vec::new(),
            state: 0,
        })
    }

    /// Whether it may own a chunk from one message to the next. A publisher that falls idle after a quick message keeps its
    /// chunk, and nobody can tell when it will be back; so only as many may as half the chunks are, and the others always find
    /// one.
    pub(crate) fn may_keep<M: Memory>(&self, ring: &Ring<M>) -> bool {
        self.id < keepers(&ring.layout)
    }

    /// The position of the message that it published last.
    pub(crate) fn last_position(&self) -> u64 {
        self.position.wrapping_sub(1)
    }

    /// The message files of what it dropped, to be removed.
    pub(crate) fn take_dropped_files(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.dropped_files)
    }

    /// Publishes a record of `len` bytes, which `fill` writes at the offset that it is given. `wake` writes to the FIFO.
    pub(crate) fn publish<M: Memory>(
        &mut self,
        ring: &Ring<M>,
        len: u32,
        fill: impl Fn(&M, usize),
        wake: impl Fn(),
    ) -> Outcome {
        let need = len.next_multiple_of(STEP);
        if need > ring.layout.chunk_size {
            return Outcome::Full;
        }
        let mut drops = 0;
        loop {
            if self.current.is_none() || self.offset + need > ring.layout.chunk_size {
                match self.find_space(ring, need) {
                    Space::Found => {}
                    Space::Full
                        if ring.layout.drop_oldest && drops < DROPS && self.drop_some(ring, self.searched(), true) =>
                    {
                        drops += 1;
                        continue;
                    }
                    Space::Full => return self.refused(ring, Outcome::Full, wake),
                    Space::NoMemory(error) => return self.refused(ring, Outcome::NoMemory(error), wake),
                }
            }
            let Some(chunk) = self.current else { continue };
            let at = ring.layout.chunk_offset(chunk) + self.offset as usize;
            ring.memory.prefetch(at + PREFETCH, need as usize);
            fill(&ring.memory, at);
            chaos::point("ring.written");
            let outcome = self.commit(ring, Ref::Record { chunk, offset: self.offset, len });
            match outcome {
                Outcome::Taken => {}
                Outcome::Full if ring.layout.drop_oldest && drops < DROPS && self.drop_some(ring, self.head, false) => {
                    drops += 1;
                    continue;
                }
                _ => return self.refused(ring, outcome, wake),
            }
            self.offset += need;
            self.end = self.position;
            return self.committed(ring, wake);
        }
    }

    /// Publishes a message that is in a file.
    pub(crate) fn publish_file<M: Memory>(&mut self, ring: &Ring<M>, id: u64, wake: impl Fn()) -> Outcome {
        let mut drops = 0;
        loop {
            match self.commit(ring, Ref::File(id)) {
                Outcome::Taken => return self.committed(ring, wake),
                Outcome::Full if ring.layout.drop_oldest && drops < DROPS && self.drop_some(ring, self.head, false) => {
                    drops += 1
                }
                outcome => return self.refused(ring, outcome, wake),
            }
        }
    }

    /// Lets go of the chunk.
    pub(crate) fn release<M: Memory>(&mut self, ring: &Ring<M>) {
        let Some(chunk) = self.current.take() else { return };
        chaos::point("ring.release");
        // Release: whoever takes the chunk writes behind what this publisher wrote.
        ring.chunk_word(chunk).store(ChunkWord::free(self.offset, self.end).0, Release);
        self.recent.retain(|&other| other != chunk);
        self.recent.push_back(chunk);
        if self.recent.len() > ROTATION {
            self.recent.pop_front();
        }
    }

    fn refused<M: Memory>(&mut self, ring: &Ring<M>, outcome: Outcome, wake: impl Fn()) -> Outcome {
        // A publisher that was killed between its commit and the bell left the consumer asleep behind a full queue.
        if !planted("full does not ring") {
            self.ring_bell(ring, wake);
        }
        outcome
    }

    fn committed<M: Memory>(&mut self, ring: &Ring<M>, wake: impl Fn()) -> Outcome {
        chaos::point("ring.committed");
        // SeqCst after the commit: a receiver that closes marks the state before it drains, so a message is either counted
        // by us and drained by it, or not counted.
        sync::sequential();
        let state = if planted("state before the commit") { self.state } else { ring.word(STATE).load(SeqCst) };
        let hint = ring.word(TAIL_HINT);
        if hint.load(Relaxed) < self.position {
            // Lower than another's is harmless: it is only never past the true tail.
            hint.store(self.position, Release);
        }
        self.ring_bell(ring, wake);
        if state != 0 {
            self.release(ring);
            if state & HUNGRY != 0 {
                ring.word(STATE).fetch_and(!HUNGRY, Relaxed);
            }
            if state & CLOSED != 0 {
                return Outcome::Gone;
            }
        }
        Outcome::Taken
    }

    fn ring_bell<M: Memory>(&self, ring: &Ring<M>, wake: impl Fn()) {
        let bell = ring.word(BELL);
        sync::sequential();
        // SeqCst: after the commit, see the module's text.
        let epoch = bell.load(SeqCst);
        if epoch & 1 == 0 {
            return;
        }
        // The FIFO first: who dies in between leaves the bell odd, and the next publisher rings again.
        chaos::point("ring.bell");
        if planted("bell before the token") {
            bell.store(epoch.wrapping_add(1), SeqCst);
            chaos::point("ring.rung");
            return wake();
        }
        wake();
        chaos::point("ring.rung");
        if planted("bell stored") {
            return bell.store(epoch.wrapping_add(1), SeqCst);
        }
        // Only the number that was seen: by now the consumer may have woken, and armed it for its next sleep.
        let _ = bell.compare_exchange(epoch, epoch.wrapping_add(1), SeqCst, Relaxed);
    }

    /// Puts a ref into the first empty slot.
    fn commit<M: Memory>(&mut self, ring: &Ring<M>, message: Ref) -> Outcome {
        let layout = &ring.layout;
        if planted("state before the commit") {
            self.state = ring.word(STATE).load(SeqCst);
        }
        let mut position = self.position;
        let mut skipped = false;
        // Each turn moves on by a slot, or finds that another was quicker; hostile words could go on for ever.
        for _ in 0..layout.slots.saturating_mul(4).max(1 << 20) {
            if position.wrapping_sub(self.head) >= layout.bound {
                self.head = ring.word(HEAD).load(Acquire);
                position = later(position, self.head);
                if position.wrapping_sub(self.head) >= layout.bound {
                    self.position = position;
                    return Outcome::Full;
                }
            }
            if !ring.is_slot_reserved(position, &mut self.slots_reserved) {
                if let Err(error) = self.reserve_slots(ring, position) {
                    self.position = position;
                    return Outcome::NoMemory(error);
                }
                continue;
            }
            let sequence = ring.sequence_word(position).load(Acquire);
            let occupied = layout.sequence(position);
            if sequence.wrapping_add(1) == occupied {
                let before = (sequence, ring.ref_word(position).load(Relaxed));
                chaos::point("ring.commit");
                if ring.memory.commit(layout.slot_word(position), before, (occupied, message.pack())) {
                    self.position = position.wrapping_add(1);
                    return Outcome::Taken;
                }
                continue;
            }
            if sequence < occupied {
                return Outcome::Corrupt;
            }
            position = position.wrapping_add(1);
            if !skipped {
                skipped = true;
                position = later(later(position, ring.word(TAIL_HINT).load(Acquire)), self.head);
            }
        }
        Outcome::Corrupt
    }

    #[cold]
    fn reserve_slots<M: Memory>(&mut self, ring: &Ring<M>, position: u64) -> io::Result<()> {
        let layout = &ring.layout;
        let index = position & (layout.slots - 1);
        let mut reserved = ring.word(SLOTS_RESERVED).load(SeqCst).min(layout.slots);
        if index >= reserved {
            let slots = ((SLOTS_STEP / 16) as u64).max(index + 1 - reserved).min(layout.slots - reserved);
            let offset = layout.slots_offset() + reserved as usize * 16;
            chaos::point("ring.slots");
            let upto = reserved + slots;
            if planted("slots before their pages") {
                ring.word(SLOTS_RESERVED).fetch_max(upto, SeqCst);
            }
            ring.memory.reserve(offset, slots as usize * 16)?;
            chaos::point("ring.slots-reserved");
            // SeqCst: for a consumer that is about to sleep, see is_slot_reserved.
            ring.word(SLOTS_RESERVED).fetch_max(upto, SeqCst);
            reserved = upto;
        }
        self.slots_reserved = reserved;
        Ok(())
    }

    /// Makes sure that `current` has room for `need` bytes.
    #[cold]
    fn find_space<M: Memory>(&mut self, ring: &Ring<M>, need: u32) -> Space {
        let layout = &ring.layout;
        if let Some(chunk) = self.current {
            let head = ring.word(HEAD).load(Acquire);
            let few = layout.chunks as usize <= ROTATION;
            if few && unread(self.end, head, layout.slots).is_none() && !self.is_being_read(ring, chunk) {
                self.offset = 0;
                return Space::Found;
            }
            self.release(ring);
        } else if let Some(&last) = self.recent.back() {
            if self.retake(ring, last, need) {
                return Space::Found;
            }
        }
        let head = ring.word(HEAD).load(Acquire);
        let again = !layout.drop_oldest
            && self.believed < RETRY_FULL
            && self.full.is_some_and(|(seen, least)| seen == head && need >= least);
        self.believed = if again { self.believed + 1 } else { 0 };
        if again && !self.awaits_others {
            return Space::Full;
        }
        // Its own, drained: warm, and not the warmest.
        let rotating = self.recent.len() >= ROTATION;
        if rotating {
            for i in 0..self.recent.len() {
                if self.take(ring, self.recent[i], need, true) {
                    return Space::Found;
                }
            }
        }
        for i in (0..self.recent.len()).rev() {
            if self.take(ring, self.recent[i], need, false) {
                return Space::Found;
            }
        }
        let first = self.recent.back().map_or(self.id % layout.chunks, |&last| (last + 1) % layout.chunks);
        let chunks =
            || (0..layout.chunks).map(|i| ((u64::from(first) + u64::from(i)) % u64::from(layout.chunks)) as u32);
        let mut owned = false;
        self.awaits_others = false;
        for chunk in chunks() {
            if self.take(ring, chunk, need, false) {
                return Space::Found;
            }
            owned |= matches!(ring.load_chunk(chunk).state(), ChunkState::Owned(_));
        }
        // Asking for the dead costs a system call for each owner.
        if owned && !again && ring.steal(&self.locks, Some(self.id), &mut self.slots_reserved) > 0 {
            if let Some(chunk) = chunks().find(|&chunk| self.take(ring, chunk, need, false)) {
                debug_assert_eq!(self.current, Some(chunk));
                return Space::Found;
            }
        }
        for chunk in chunks() {
            match self.take_fresh(ring, chunk) {
                Ok(true) => return Space::Found,
                Ok(false) => {}
                Err(error) => return Space::NoMemory(error),
            }
        }
        if owned {
            ring.word(STATE).fetch_or(HUNGRY, Relaxed);
        }
        self.full = Some((head, need));
        Space::Full
    }

    /// Whether the consumer of a ring that drops reads from this chunk. SeqCst, after the head that shows the chunk drained.
    fn is_being_read<M: Memory>(&self, ring: &Ring<M>, chunk: u32) -> bool {
        ring.layout.drop_oldest
            && ring.word(HAZARD).load(SeqCst) == u64::from(chunk) + 1
            && !planted("drop without hazard")
    }

    /// Goes on in the chunk that it let go of last: nothing but the room in it matters.
    fn retake<M: Memory>(&mut self, ring: &Ring<M>, chunk: u32, need: u32) -> bool {
        let word = ring.load_chunk(chunk);
        let fits = word.offset() + need <= ring.layout.chunk_size;
        if word.state() != ChunkState::Free || !word.is_reserved() || !fits {
            return false;
        }
        chaos::point("ring.retake");
        if !ring.swap_chunk(chunk, word, ChunkWord::owned(self.id, true)) {
            return false;
        }
        self.own(chunk, word.offset(), unwrap_end(word, self.position.saturating_sub(ring.layout.slots)));
        true
    }

    /// Takes a free chunk whose pages are reserved, if it is drained or, unless `whole`, has room left.
    fn take<M: Memory>(&mut self, ring: &Ring<M>, chunk: u32, need: u32, whole: bool) -> bool {
        let layout = &ring.layout;
        let early = if planted("head before the word") { Some(ring.word(HEAD).load(Acquire)) } else { None };
        let word = ring.load_chunk(chunk);
        if word.state() != ChunkState::Free || !word.is_reserved() {
            self.awaits_others |= word.state() != ChunkState::Free;
            return false;
        }
        chaos::point("ring.take");
        // After the word: see ChunkWord::unread.
        let head = early.unwrap_or_else(|| ring.word(HEAD).load(Acquire));
        let ahead = word.unread(head, layout.slots).filter(|&ahead| ahead > 1 || !planted("end off by one"));
        let fits = word.offset() + need <= layout.chunk_size;
        if ahead.is_some() && (whole || !fits) {
            return false;
        }
        if !ring.swap_chunk(chunk, word, ChunkWord::owned(self.id, true)) {
            self.awaits_others = true;
            return false;
        }
        chaos::point("ring.taken");
        let mut offset = if ahead.is_some() { word.offset() } else { 0 };
        if ahead.is_none() && self.is_being_read(ring, chunk) {
            if !fits {
                ring.chunk_word(chunk).store(word.0, Release);
                return false;
            }
            offset = word.offset();
        }
        self.own(chunk, offset, head.wrapping_add(ahead.unwrap_or(0)));
        true
    }

    /// Takes a chunk without pages and reserves them.
    fn take_fresh<M: Memory>(&mut self, ring: &Ring<M>, chunk: u32) -> io::Result<bool> {
        let word = ring.load_chunk(chunk);
        if word.state() != ChunkState::Free || word.is_reserved() {
            // As `take` left it, or taken or given back meanwhile.
            self.awaits_others |= word.state() != ChunkState::Free;
            return Ok(false);
        }
        if !ring.swap_chunk(chunk, word, ChunkWord::owned(self.id, planted("pages said to be there before they are"))) {
            self.awaits_others = true;
            return Ok(false);
        }
        chaos::point("ring.fresh");
        let head = ring.word(HEAD).load(Acquire);
        let reserved = if planted("no pages reserved") {
            Ok(())
        } else {
            ring.memory.reserve(ring.layout.chunk_offset(chunk), ring.layout.chunk_size as usize)
        };
        if let Err(error) = reserved {
            ring.chunk_word(chunk).store(ChunkWord::bare(true, head).0, Release);
            return Err(error);
        }
        chaos::point("ring.reserved");
        ring.chunk_word(chunk).store(ChunkWord::owned(self.id, true).0, Release);
        self.own(chunk, 0, head);
        Ok(true)
    }

    fn own(&mut self, chunk: u32, offset: u32, end: u64) {
        (self.current, self.offset, self.end) = (Some(chunk), offset, end);
        self.full = None;
        self.recent.retain(|&other| other != chunk);
    }

    /// The head with which the last search found no space.
    fn searched(&self) -> u64 {
        self.full.map_or(self.head, |(head, _)| head)
    }

    /// Drops the oldest message, if there is one; whether something moved.
    pub(crate) fn drop_oldest<M: Memory>(&mut self, ring: &Ring<M>) -> bool {
        let head = ring.word(HEAD).load(Acquire);
        self.drop_some(ring, head, false)
    }

    /// Drops the oldest: one message for a slot, or as many as make the chunk next to be drained free, but never more than a
    /// sixteenth of the queue. Whether something moved since `seen`, the head with which there was no room: when it is
    /// another by now, somebody else made room, and nothing is dropped.
    fn drop_some<M: Memory>(&mut self, ring: &Ring<M>, seen: u64, for_bytes: bool) -> bool {
        let head = ring.word(HEAD).load(Acquire);
        if head != seen {
            return true;
        }
        let mut tail = ring.word(TAIL_HINT).load(Acquire).max(self.position);
        if tail <= head {
            tail = ring.true_tail(&mut self.slots_reserved);
        }
        // Neither the hint nor `position` is ever past the true tail: what is dropped is occupied.
        if tail <= head {
            return false;
        }
        let mut count = 1;
        if for_bytes {
            let next = (0..ring.layout.chunks).filter_map(|chunk| {
                let word = ring.load_chunk(chunk);
                let usable = word.state() == ChunkState::Free && word.is_reserved();
                usable.then(|| word.unread(head, ring.layout.slots)).flatten()
            });
            let Some(next) = next.min() else { return false };
            count = next.min(((tail - head) / 16).max(1));
        }
        let mut files = Vec::new();
        for position in (0..count).map(|i| head.wrapping_add(i)) {
            // Always, unless the words in the memory are wrong: then no page may be touched for them.
            if ring.is_slot_reserved(position, &mut self.slots_reserved) {
                // Acquire: once it shows a later lap's message, the CAS of head sees that head has moved.
                if let Some(Ref::File(id)) = Ref::unpack(ring.ref_word(position).load(Acquire)) {
                    files.push(id);
                }
            }
        }
        chaos::point("ring.drop");
        // AcqRel: releases nothing of ours; acquires what the consumer's own moves of head released.
        if ring.word(HEAD).compare_exchange(head, head.wrapping_add(count), AcqRel, Acquire).is_ok() {
            self.dropped_files.append(&mut files);
        }
        true
    }
}
