//! The receiving end of a ring.

#![forbid(unsafe_code)]

use std::sync::atomic::{Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

use super::sync;
use super::words::{ChunkState, ChunkWord, Ref};
use super::{BELL, HAZARD, HEAD, Locks, Memory, Ring, TAKEN};
use crate::sys::chaos::{self, planted};

/// Positions that may be consumed before `head` is moved past them: in a batch, moving it each time costs more than reading.
const UNPUBLISHED: u64 = 32;
/// Or bytes.
const UNPUBLISHED_BYTES: u64 = 16 << 10;
/// So many bytes of records are on their way into the cache while one is read.
const AHEAD_BYTES: u64 = 2 << 10;
/// Pages are given back after so many bytes were consumed: fewer cannot have filled what is kept anyway.
const GIVE_BACK_AFTER: u64 = if cfg!(loom) { 1 } else { 64 << 10 };
/// Slots, chunks and what is always there, of a drained ring with the default bounds; docs/semantics.md promises 512 KiB.
const KEEP: usize = if cfg!(loom) { 0 } else { 480 << 10 };

/// What was taken from the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// What the caller made of the message.
    Message(T),
    /// A ref that points nowhere.
    Malformed,
}

/// The one consumer of a ring.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// The next position, and its total.
    next: (u64, u64),
    /// `head` and its total as the ring has them. In a ring that drops, the same.
    published: (u64, u64),
    slots_reserved: u64,
    /// The last chunk that was read from, whose pages are known to be there.
    chunk: Option<u32>,
    /// Drop-oldest: positions that others have dropped since the last message.
    lost: u64,
    /// Drop-oldest: what it took itself.
    taken: u64,
    consumed: u64,
    /// Up to where records have been fetched into the cache.
    ahead: (u64, u64),
}

impl Consumer {
    pub(crate) fn new() -> Consumer {
        Consumer {
            next: (0, 0),
            published: (0, 0),
            slots_reserved: 0,
            chunk: None,
            lost: 0,
            taken: 0,
            consumed: 0,
            ahead: (0, 0),
        }
    }

    /// The position behind the last one that it took.
    #[cfg(not(loom))]
    pub(crate) fn taken(&self) -> u64 {
        self.next.0
    }

    /// The position behind the last one that it took.
    #[cfg(any(test, loom))]
    pub(crate) fn head(&self) -> u64 {
        self.next.0
    }

    /// At this position, as if it had taken all before.
    #[cfg(test)]
    pub(crate) fn start_at(&mut self, position: u64) {
        self.next = (position, 0);
        self.published = self.next;
        self.taken = position;
    }

    /// Messages dropped just before the one that was taken last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// How many messages wait in a ring that rejects, at most `max`; for one that drops, `max`.
    ///
    /// Who takes them one by one until there is none meets the publisher at the end: each look at a slot takes its cache line
    /// from the publisher, which is about to write there. So the end is looked for once.
    #[inline]
    pub(crate) fn waiting<M: Memory>(&mut self, ring: &Ring<M>, max: usize) -> usize {
        if ring.layout.drop_oldest {
            return max;
        }
        let occupied = |ahead: &usize| {
            let position = self.next.0.wrapping_add(*ahead as u64);
            ring.is_slot_reserved(position, &mut self.slots_reserved)
                && ring.sequence_word(position).load(Acquire) == ring.sequence(position)
        };
        (0..max).take_while(occupied).count()
    }

    /// Whether a message waits. SeqCst, for a consumer that has just made the bell odd.
    pub(crate) fn has_message<M: Memory>(&mut self, ring: &Ring<M>) -> bool {
        loop {
            let head = if ring.layout.drop_oldest { ring.word(HEAD).load(SeqCst) } else { self.next.0 };
            if !ring.is_slot_reserved(head, &mut self.slots_reserved) {
                return false;
            }
            if ring.sequence_word(head).load(SeqCst) == ring.sequence(head) {
                return true;
            }
            if !ring.layout.drop_oldest || ring.word(HEAD).load(SeqCst) == head {
                return false;
            }
        }
    }

    /// Takes the next message: `read` gets its place, checked, and copies it. `None`: there is none. Publishers may learn of
    /// it late: [`publish_head`](Consumer::publish_head) is to follow, after a few of these.
    #[inline]
    pub(crate) fn next<M: Memory, T>(
        &mut self,
        ring: &Ring<M>,
        read: impl FnOnce(&M, Ref, usize) -> T,
    ) -> Option<Taken<T>> {
        if ring.layout.drop_oldest { self.next_dropping(ring, read) } else { self.next_keeping(ring, read) }
    }

    #[inline]
    fn next_keeping<M: Memory, T>(
        &mut self,
        ring: &Ring<M>,
        read: impl FnOnce(&M, Ref, usize) -> T,
    ) -> Option<Taken<T>> {
        let position = self.next.0;
        // Acquire pairs with the commit: the record's bytes were written before it.
        let reserved = ring.is_slot_reserved(position, &mut self.slots_reserved);
        if !reserved || ring.sequence_word(position).load(Acquire) != ring.sequence(position) {
            self.publish_head(ring);
            return None;
        }
        let word = ring.ref_word(position).load(Relaxed);
        let taken = self.read(ring, word, read);
        chaos::point("ring.read");
        self.pass(ring, Ref::size(word));
        Some(taken)
    }

    /// Where the next message lies, for who takes many from a ring that rejects: a record in the chunk that was read from last.
    /// `None`: it takes [`next`](Consumer::next) to tell.
    #[inline]
    pub(crate) fn peek<M: Memory>(&mut self, ring: &Ring<M>) -> Option<(usize, u32)> {
        let position = self.next.0;
        // Acquire pairs with the commit, as in `next`.
        let is_there = !ring.layout.drop_oldest
            && ring.is_slot_reserved(position, &mut self.slots_reserved)
            && ring.sequence_word(position).load(Acquire) == ring.sequence(position);
        if !is_there {
            return None;
        }
        match Ref::unpack(ring.ref_word(position).load(Relaxed)) {
            Some(Ref::Record { chunk, offset, len })
                if self.chunk == Some(chunk) && ring.layout.holds(chunk, offset, len) =>
            {
                Some((ring.chunk_offset(chunk) + offset as usize, len))
            }
            _ => None,
        }
    }

    /// Fetches the next few records into the cache, of the messages before `end`, which are known to be there: those behind are
    /// being written. For a ring that rejects.
    #[inline]
    pub(crate) fn fetch_ahead<M: Memory>(&mut self, ring: &Ring<M>, end: u64) {
        let waiting = end.wrapping_sub(self.next.0);
        if self.ahead.0.wrapping_sub(self.next.0) > waiting {
            self.ahead = self.next;
        }
        while self.ahead.0 != end && self.ahead.1.wrapping_sub(self.next.1) < AHEAD_BYTES {
            // A hint only: what it says is checked when the message is taken.
            let word = ring.ref_word(self.ahead.0).load(Relaxed);
            if let Some(Ref::Record { chunk, offset, len }) = Ref::unpack(word) {
                if ring.layout.holds(chunk, offset, len) {
                    ring.memory.prefetch_to_read(ring.chunk_offset(chunk) + offset as usize, len as usize);
                }
            }
            self.ahead = (self.ahead.0.wrapping_add(1), self.ahead.1.wrapping_add(Ref::size(word)));
        }
    }

    /// Takes the record of `len` bytes that was [peeked](Consumer::peek) at and copied.
    #[inline]
    pub(crate) fn advance<M: Memory>(&mut self, ring: &Ring<M>, len: u32) {
        chaos::point("ring.read");
        self.consumed += u64::from(len);
        self.pass(ring, u64::from(len));
    }

    /// Moves on by one position, whose message had `size` bytes; tells publishers now and then.
    #[inline]
    fn pass<M: Memory>(&mut self, ring: &Ring<M>, size: u64) {
        self.next = (self.next.0.wrapping_add(1), self.next.1.wrapping_add(size));
        let unpublished = self.next.1.wrapping_sub(self.published.1);
        if self.next.0.wrapping_sub(self.published.0) >= UNPUBLISHED || unpublished >= UNPUBLISHED_BYTES {
            self.publish_head(ring);
        }
    }

    /// Tells publishers how far it is.
    #[inline]
    pub(crate) fn publish_head<M: Memory>(&mut self, ring: &Ring<M>) {
        if self.next == self.published {
            return;
        }
        // Release by the swap: the bytes were read before a publisher that sees this head writes over them. Only the consumer
        // moves the head of a ring that rejects: the swap fails where somebody has written what no publisher writes.
        if !ring.swap_head(self.published, self.next) {
            let _ = ring.swap_head(ring.head(), self.next);
        }
        self.published = self.next;
        chaos::point("ring.head");
    }

    /// Drop-oldest: takes the message from publishers that would drop it, then reads it.
    fn next_dropping<M: Memory, T>(
        &mut self,
        ring: &Ring<M>,
        read: impl FnOnce(&M, Ref, usize) -> T,
    ) -> Option<Taken<T>> {
        // Each turn that fails does so because a publisher dropped what was about to be taken, and made progress.
        loop {
            let head = ring.head();
            let Some(word) = ring.occupant(head.0, &mut self.slots_reserved) else {
                if ring.head() != head {
                    continue;
                }
                // Left by a turn whose swap failed. It would keep publishers from the chunk until the next message.
                if ring.word(HAZARD).load(Relaxed) != 0 {
                    ring.word(HAZARD).store(0, Release);
                }
                return None;
            };
            // Before the swap that takes it: see the module's text.
            if let Some(Ref::Record { chunk, .. }) = Ref::unpack(word) {
                ring.word(HAZARD).store(u64::from(chunk) + 1, SeqCst);
            }
            chaos::point("ring.hazard");
            let next = (head.0.wrapping_add(1), head.1.wrapping_add(Ref::size(word)));
            if !ring.swap_head(head, next) {
                continue;
            }
            // Saturating: the head comes from shared memory.
            self.lost = self.lost.saturating_add(head.0.wrapping_sub(self.next.0));
            (self.next, self.published) = (next, next);
            self.taken = self.taken.wrapping_add(1);
            ring.word(TAKEN).store(self.taken, Relaxed);
            chaos::point("ring.claimed");
            let taken = self.read(ring, word, read);
            chaos::point("ring.read");
            // Release: the bytes were read before the chunk may be restarted.
            ring.word(HAZARD).store(0, Release);
            return Some(taken);
        }
    }

    /// Drop-oldest: what was taken last had been dropped in part: its file is gone.
    #[cfg(not(loom))]
    pub(crate) fn count_lost<M: Memory>(&mut self, ring: &Ring<M>) {
        self.lost = self.lost.saturating_add(1);
        self.taken = self.taken.wrapping_sub(1);
        ring.word(TAKEN).store(self.taken, Relaxed);
    }

    #[inline]
    fn read<M: Memory, T>(&mut self, ring: &Ring<M>, word: u64, read: impl FnOnce(&M, Ref, usize) -> T) -> Taken<T> {
        match Ref::unpack(word) {
            Some(place @ Ref::Record { chunk, offset, len }) if ring.layout.holds(chunk, offset, len) => {
                // The ref comes from shared memory: no page is touched that nobody has reserved.
                if self.chunk != Some(chunk) {
                    if !ring.load_chunk(chunk).is_reserved() {
                        return Taken::Malformed;
                    }
                    self.chunk = Some(chunk);
                }
                self.consumed += u64::from(len);
                let at = ring.chunk_offset(chunk) + offset as usize;
                Taken::Message(read(&ring.memory, place, at))
            }
            Some(place @ Ref::File { .. }) => Taken::Message(read(&ring.memory, place, 0)),
            _ => Taken::Malformed,
        }
    }

    /// Makes the bell odd: publishers write to the FIFO from now on. Whether the queue is still empty; if not, do not sleep.
    pub(crate) fn arm<M: Memory>(&mut self, ring: &Ring<M>) -> bool {
        let bell = ring.word(BELL);
        // An odd number that was never there before: a publisher that has rung for an earlier sleep makes even only the
        // one that it saw, however late it does. Only the consumer makes odd numbers, so nothing is lost between the two.
        let epoch = bell.load(Relaxed);
        // SeqCst, then the slot SeqCst: see the module's text.
        bell.swap(if planted("one number for every sleep") { 1 } else { epoch.wrapping_add(1) | 1 }, SeqCst);
        sync::sequential();
        chaos::point("ring.armed");
        !self.has_message(ring)
    }

    /// Makes the bell even again: publishers write nothing to the FIFO until it is [armed](Consumer::arm). For who is awake, and
    /// sleeps only after that.
    pub(crate) fn disarm<M: Memory>(&mut self, ring: &Ring<M>) {
        let bell = ring.word(BELL);
        // Relaxed: this promises nothing to anybody. A publisher that still finds it odd writes a token too many; one that finds it
        // even has committed before the next `arm`, whose look at the slot sees that: the pair is there.
        let epoch = bell.load(Relaxed);
        if epoch & 1 == 1 {
            if planted("disarmed by going back") {
                return bell.store(epoch.wrapping_sub(1), Relaxed);
            }
            // Up, as publishers do: no odd number comes twice. When it fails, a publisher has rung meanwhile.
            let _ = bell.compare_exchange(epoch, epoch.wrapping_add(1), Relaxed, Relaxed);
        }
    }

    /// Whether so much was consumed that pages may have to be given back.
    pub(crate) fn may_give_back(&self) -> bool {
        self.consumed >= GIVE_BACK_AFTER
    }

    /// Gives pages of drained chunks back to the system, when there is nothing to read.
    pub(crate) fn give_back<M: Memory>(&mut self, ring: &Ring<M>, locks: &impl Locks) {
        self.consumed = 0;
        self.chunk = None;
        let layout = &ring.layout;
        ring.steal(locks, None, &mut self.slots_reserved);
        let others = layout.fixed_bytes() + layout.slots as usize * 16;
        let mut kept = KEEP.saturating_sub(others) / layout.chunk_size as usize;
        for chunk in 0..layout.chunks {
            let word = ring.load_chunk(chunk);
            if word.state() != ChunkState::Free || !word.is_present() {
                continue;
            }
            let head = ring.word(HEAD).load(Acquire);
            if word.unread(head, layout.slots).is_some() {
                continue;
            }
            if kept > 0 {
                kept -= 1;
                continue;
            }
            // AcqRel by the CAS: from now on nobody takes it.
            let marked = planted("punch without a mark")
                || ring.chunk_word(chunk).compare_exchange(word.0, word.punching().0, AcqRel, Acquire).is_ok();
            if !marked {
                continue;
            }
            chaos::point("ring.punch");
            let given = ring.memory.give_back(ring.chunk_offset(chunk), layout.chunk_size as usize).is_ok();
            chaos::point("ring.punched");
            ring.chunk_word(chunk).store(ChunkWord::bare(!given, word.0 >> 17).0, Release);
        }
    }
}
