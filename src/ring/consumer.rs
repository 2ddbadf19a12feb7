//! The receiving end of a ring.

#![forbid(unsafe_code)]

use std::sync::atomic::{Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

use super::sync;
use super::words::{ChunkState, ChunkWord, Ref};
use super::{BELL, HAZARD, HEAD, Locks, Memory, Ring};
use crate::sys::chaos::{self, planted};

/// Drop-oldest: how many positions the consumer takes at a time, at most.
const BATCH: usize = 32;
/// Pages are given back after so many bytes were consumed.
const GIVE_BACK_AFTER: u64 = if cfg!(loom) { 1 } else { 256 << 10 };
/// Bytes of drained chunks that are kept.
const KEEP: u64 = if cfg!(loom) { 0 } else { 384 << 10 };

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
    /// The next position.
    head: u64,
    slots_reserved: u64,
    /// Drop-oldest: refs of positions that have been taken.
    batch: [u64; BATCH],
    batch_at: usize,
    batch_len: usize,
    /// Drop-oldest: positions that others have dropped since the last message.
    lost: u64,
    consumed: u64,
}

impl Consumer {
    pub(crate) fn new() -> Consumer {
        Consumer { head: 0, slots_reserved: 0, batch: [0; BATCH], batch_at: 0, batch_len: 0, lost: 0, consumed: 0 }
    }

    /// The position behind the last one that it took.
    #[cfg(any(test, loom))]
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// At this position, as if it had taken all before.
    #[cfg(test)]
    pub(crate) fn start_at(&mut self, position: u64) {
        self.head = position;
    }

    /// Messages dropped just before the one that was taken last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Whether a message waits. SeqCst, for a consumer that has just made the bell odd.
    pub(crate) fn has_message<M: Memory>(&mut self, ring: &Ring<M>) -> bool {
        if self.batch_at < self.batch_len {
            return true;
        }
        loop {
            let head = if ring.layout.drop_oldest { ring.word(HEAD).load(SeqCst) } else { self.head };
            if !ring.is_slot_reserved(head, &mut self.slots_reserved) {
                return false;
            }
            if ring.sequence_word(head).load(SeqCst) == ring.layout.sequence(head) {
                return true;
            }
            if !ring.layout.drop_oldest || ring.word(HEAD).load(SeqCst) == head {
                return false;
            }
        }
    }

    /// Takes the next message: `read` gets its place, checked, and copies it. `None`: there is none.
    pub(crate) fn next<M: Memory, T>(
        &mut self,
        ring: &Ring<M>,
        read: impl FnOnce(&M, Ref, usize) -> T,
    ) -> Option<Taken<T>> {
        if ring.layout.drop_oldest { self.next_dropping(ring, read) } else { self.next_keeping(ring, read) }
    }

    fn next_keeping<M: Memory, T>(
        &mut self,
        ring: &Ring<M>,
        read: impl FnOnce(&M, Ref, usize) -> T,
    ) -> Option<Taken<T>> {
        let head = self.head;
        if !ring.is_slot_reserved(head, &mut self.slots_reserved) {
            return None;
        }
        // Acquire pairs with the commit: the record's bytes were written before it.
        if ring.sequence_word(head).load(Acquire) != ring.layout.sequence(head) {
            return None;
        }
        let word = ring.ref_word(head).load(Relaxed);
        let taken = self.read(ring, word, read);
        chaos::point("ring.read");
        self.head = head.wrapping_add(1);
        // Release: the bytes were read before a publisher that sees this head writes over them. With every message: a
        // publisher refused because of an older head would have been refused wrongly.
        ring.word(HEAD).store(self.head, if planted("head relaxed") { Relaxed } else { Release });
        chaos::point("ring.head");
        Some(taken)
    }

    fn next_dropping<M: Memory, T>(
        &mut self,
        ring: &Ring<M>,
        read: impl FnOnce(&M, Ref, usize) -> T,
    ) -> Option<Taken<T>> {
        if self.batch_at == self.batch_len {
            self.take_batch(ring)?;
        }
        let taken = self.read(ring, self.batch[self.batch_at], read);
        chaos::point("ring.read");
        self.batch_at += 1;
        if self.batch_at == self.batch_len {
            // Release: the bytes were read before the chunk may be restarted.
            ring.word(HAZARD).store(0, Release);
        }
        Some(taken)
    }

    /// Drop-oldest: takes a few positions that lie in one chunk.
    fn take_batch<M: Memory>(&mut self, ring: &Ring<M>) -> Option<()> {
        let layout = &ring.layout;
        let limit = (layout.bound / 16).clamp(1, BATCH as u64);
        // Each turn that fails does so because a publisher dropped what was about to be taken, and made progress.
        loop {
            let head = ring.word(HEAD).load(Acquire);
            let occupied = |position: u64, known: &mut u64| {
                ring.is_slot_reserved(position, known)
                    && ring.sequence_word(position).load(Acquire) == layout.sequence(position)
            };
            if !occupied(head, &mut self.slots_reserved) {
                if ring.word(HEAD).load(Acquire) != head {
                    continue;
                }
                // Left by a turn whose CAS failed. It would keep publishers from the chunk until the next message, which,
                // in a ring of one chunk, cannot come.
                if ring.word(HAZARD).load(Relaxed) != 0 {
                    ring.word(HAZARD).store(0, Release);
                }
                return None;
            }
            let mut chunk_taken = None;
            let mut count = 0;
            for i in 0..limit {
                if i > 0 && !occupied(head.wrapping_add(i), &mut self.slots_reserved) {
                    break;
                }
                let word = ring.ref_word(head.wrapping_add(i)).load(Acquire);
                let chunk = match Ref::unpack(word) {
                    Some(Ref::Record { chunk, .. }) => Some(chunk),
                    _ => None,
                };
                if i > 0 && chunk != chunk_taken {
                    break;
                }
                chunk_taken = chunk;
                self.batch[i as usize] = word;
                count += 1;
            }
            // Before the CAS that takes them: see the module's text.
            ring.word(HAZARD).store(chunk_taken.map_or(0, |chunk| u64::from(chunk) + 1), SeqCst);
            chaos::point("ring.hazard");
            if ring.word(HEAD).compare_exchange(head, head.wrapping_add(count), SeqCst, Acquire).is_ok() {
                // Saturating: the head comes from shared memory.
                self.lost = self.lost.saturating_add(head.wrapping_sub(self.head));
                self.head = head.wrapping_add(count);
                (self.batch_at, self.batch_len) = (0, count as usize);
                return Some(());
            }
        }
    }

    fn read<M: Memory, T>(&mut self, ring: &Ring<M>, word: u64, read: impl FnOnce(&M, Ref, usize) -> T) -> Taken<T> {
        match Ref::unpack(word) {
            Some(place @ Ref::Record { chunk, offset, len }) if ring.layout.holds(chunk, offset, len) => {
                self.consumed += u64::from(len);
                let at = ring.layout.chunk_offset(chunk) + offset as usize;
                Taken::Message(read(&ring.memory, place, at))
            }
            Some(place @ Ref::File(_)) => Taken::Message(read(&ring.memory, place, 0)),
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

    /// Gives pages of drained chunks back to the system, once in a while, when there is nothing to read.
    pub(crate) fn give_back<M: Memory>(&mut self, ring: &Ring<M>, locks: &impl Locks) {
        if self.consumed < GIVE_BACK_AFTER || self.batch_at < self.batch_len {
            return;
        }
        self.consumed = 0;
        let layout = &ring.layout;
        ring.steal(locks, None, &mut self.slots_reserved);
        let mut kept = KEEP / u64::from(layout.chunk_size);
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
            let given = ring.memory.give_back(layout.chunk_offset(chunk), layout.chunk_size as usize).is_ok();
            chaos::point("ring.punched");
            ring.chunk_word(chunk).store(ChunkWord::bare(!given, word.0 >> 17).0, Release);
        }
    }
}
