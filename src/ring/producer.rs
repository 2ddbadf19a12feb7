//! The sending end of a ring: bounds, commit, wake. Where it finds room for records: `space`; for others' messages: `oldest`.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst};

use super::space::{ROTATION, Space};
use super::sync;
use super::words::{IDS, Ref, STEP};
use super::{BELL, CLOSED, HUNGRY, Layout, Locks, Memory, Ring, SLOTS_RESERVED, SLOTS_STEP, STATE, TAIL_HINT};
use crate::sys::chaos::{self, planted};

/// How far ahead of the record that is written memory is fetched into the cache.
const PREFETCH: usize = 512;
/// How many slots ahead.
const PREFETCH_SLOTS: u64 = 8;
/// The tail hint is raised when it lies this far behind: few enough to walk, and seldom enough for its cache line to stay
/// shared.
const HINT_STEP: u64 = if cfg!(loom) { 1 } else { 64 };
/// How often a publisher that was overtaken finds that it was not before it calls the words wrong.
const STUCK: u32 = 1_000;
/// How many ids that may keep a chunk are tried: each is a system call.
const KEEPER_TRIES: u32 = 8;

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    Taken,
    /// The bound of messages or of bytes is reached.
    Full,
    /// The bounds are not reached, but no chunk has room; a message in a file needs none.
    NoSpace,
    /// Taken, in place of older ones.
    Displacing,
    /// Its pages cannot be had.
    NoMemory(io::Error),
    /// The receiver has closed the channel.
    Gone,
    /// The ring's words contradict each other.
    Corrupt,
}

/// Ids below this may keep a chunk.
fn keepers(layout: &Layout) -> u32 {
    layout.chunks / 2
}

/// Whether a position lies behind another. Not the greater: a wrong head just below 2^64 would be found again and again.
fn is_behind(one: u64, other: u64) -> bool {
    one != other && other.wrapping_sub(one) < 1 << 63
}

/// One publisher of a ring: used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Producer<L> {
    pub(super) locks: L,
    pub(super) id: u32,
    /// Where the next commit is tried first, and the bytes of all messages before it.
    pub(super) position: u64,
    pub(super) total: u64,
    /// The last known head and its total.
    pub(super) head: (u64, u64),
    /// The last known number of reserved slots.
    pub(super) slots_reserved: u64,
    /// The chunk that it owns, filled up to `offset`, its last record before position `end`.
    pub(super) current: Option<u32>,
    pub(super) offset: u32,
    pub(super) end: u64,
    /// Chunks that it owned before, oldest first.
    pub(super) recent: VecDeque<u32>,
    /// Whether it has dropped a message.
    dropped: bool,
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
        let head = ring.head();
        let (position, total) = ring.known_total();
        Ok(Producer {
            locks,
            id,
            position,
            total,
            head,
            slots_reserved,
            current: None,
            offset: 0,
            end: head.0,
            recent: VecDeque::with_capacity(ROTATION + 1),
            dropped: false,
            state: 0,
        })
    }

    /// Whether it may own a chunk from one message to the next. A publisher that falls idle after a quick message keeps its
    /// chunk, and nobody can tell when it will be back; so only as many may as half the chunks are, and the others always find
    /// one.
    pub(crate) fn may_keep<M: Memory>(&self, ring: &Ring<M>) -> bool {
        self.id < keepers(&ring.layout)
    }

    /// Publishes a record of `len` bytes, which `fill` writes at the offset that it is given. `wake` writes to the FIFO,
    /// `unlink` removes the message file of a tag, for who drops the oldest.
    pub(crate) fn publish<M: Memory>(
        &mut self,
        ring: &Ring<M>,
        len: u32,
        fill: impl FnOnce(&M, usize),
        wake: impl Fn(),
        unlink: impl FnMut(u32),
    ) -> Outcome {
        let pushed = self.push(ring, len, fill, unlink);
        self.finish(ring, pushed, wake)
    }

    /// Publishes a message that is in a file.
    pub(crate) fn publish_file<M: Memory>(
        &mut self,
        ring: &Ring<M>,
        file: Ref,
        wake: impl Fn(),
        unlink: impl FnMut(u32),
    ) -> Outcome {
        let pushed = self.commit(ring, file.pack(), unlink);
        self.finish(ring, pushed, wake)
    }

    /// Puts a record into the queue. Nothing counts before [`finish`](Producer::finish), which is to follow a few of these.
    #[inline(always)]
    pub(crate) fn push<M: Memory>(
        &mut self,
        ring: &Ring<M>,
        len: u32,
        fill: impl FnOnce(&M, usize),
        mut unlink: impl FnMut(u32),
    ) -> Outcome {
        // Before anything is written: who is refused is told quickly.
        if let Err(outcome) = self.make_room(ring, u64::from(len), &mut unlink) {
            return outcome;
        }
        let need = len.next_multiple_of(STEP);
        let chunk = match self.current {
            Some(chunk) if self.offset + need <= ring.layout.chunk_size => chunk,
            _ => match self.find_space(ring, need) {
                Space::Found(chunk) => chunk,
                Space::None => return Outcome::NoSpace,
                Space::NoMemory(error) => return Outcome::NoMemory(error),
            },
        };
        let at = ring.chunk_offset(chunk) + self.offset as usize;
        ring.memory.prefetch(at + PREFETCH, need as usize);
        fill(&ring.memory, at);
        chaos::point("ring.written");
        let message = Ref::Record { chunk, offset: self.offset, len }.pack();
        let outcome = if self.commit_next(ring, message) { Outcome::Taken } else { self.commit(ring, message, unlink) };
        if matches!(outcome, Outcome::Taken) {
            self.offset += need;
            self.end = self.position;
        }
        outcome
    }

    /// Ends a publish: whether it counts, and the consumer is woken. `pushed` is what became of the last message.
    #[inline]
    pub(crate) fn finish<M: Memory>(&mut self, ring: &Ring<M>, pushed: Outcome, wake: impl Fn()) -> Outcome {
        let refused = !matches!(pushed, Outcome::Taken);
        if !refused {
            chaos::point("ring.committed");
        }
        // SeqCst after the commit: a receiver that closes marks the state before it drains, so a message is either counted
        // by us and drained by it, or not counted.
        sync::sequential();
        let state = if planted("state before the commit") { self.state } else { ring.word(STATE).load(SeqCst) };
        self.raise_hint(ring);
        // Also when refused: a publisher that was killed between its commit and the bell left the consumer asleep behind a
        // full queue.
        if !refused || !planted("full does not ring") {
            self.ring_bell(ring, wake);
        }
        if state != 0 {
            self.release(ring);
            // Who is refused may be the one that is hungry.
            if state & HUNGRY != 0 && !refused {
                ring.word(STATE).fetch_and(!HUNGRY, Relaxed);
            }
            if state & CLOSED != 0 {
                return Outcome::Gone;
            }
        }
        if std::mem::take(&mut self.dropped) && !refused { Outcome::Displacing } else { pushed }
    }

    fn raise_hint<M: Memory>(&self, ring: &Ring<M>) {
        let hint = ring.word(TAIL_HINT).load(Relaxed);
        let ahead = self.position.wrapping_sub(hint);
        if ahead < HINT_STEP {
            return;
        }
        // Both words or none. Another's, raised meanwhile, does as well.
        if let Some(seen) = ring.memory.load_pair(TAIL_HINT) {
            if is_behind(seen.0, self.position) {
                ring.memory.swap_pair(TAIL_HINT, seen, (self.position, self.total));
            }
        }
    }

    #[inline]
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

    /// Whether a message of `size` bytes at `position` stays within the bounds, as far as this publisher knows the head.
    #[inline]
    pub(super) fn fits<M: Memory>(&self, ring: &Ring<M>, size: u64) -> bool {
        let (head, consumed) = self.head;
        let (messages, bytes) = (self.position.wrapping_sub(head), self.total.wrapping_sub(consumed));
        // An empty queue takes any message: `head` cannot be past a position that is found empty.
        messages == 0 || messages < ring.layout.bound && bytes.saturating_add(size) <= ring.layout.bytes_bound
    }

    /// Looks for the head until a message of `size` bytes fits behind what is known to be in the queue, or drops the oldest
    /// until it does.
    #[inline]
    pub(crate) fn make_room<M: Memory>(
        &mut self,
        ring: &Ring<M>,
        size: u64,
        unlink: &mut impl FnMut(u32),
    ) -> Result<(), Outcome> {
        if self.fits(ring, size) { Ok(()) } else { self.make_room_slowly(ring, size, unlink) }
    }

    #[cold]
    fn make_room_slowly<M: Memory>(
        &mut self,
        ring: &Ring<M>,
        size: u64,
        unlink: &mut impl FnMut(u32),
    ) -> Result<(), Outcome> {
        loop {
            let head = ring.head();
            if is_behind(self.position, head.0) {
                // Others have filled the slots from `position` on, and they were consumed.
                self.begin_anew(ring);
            }
            if head != self.head {
                self.head = head;
            } else if !ring.layout.drop_oldest {
                return Err(Outcome::Full);
            } else {
                let fits = |head: (u64, u64)| {
                    let (messages, bytes) = (self.position.wrapping_sub(head.0), self.total.wrapping_sub(head.1));
                    messages == 0
                        || messages < ring.layout.bound && bytes.saturating_add(size) <= ring.layout.bytes_bound
                };
                let length = self.position.wrapping_sub(head.0).min(ring.layout.slots);
                match ring.drop_oldest(head, length, fits, unlink, &mut self.slots_reserved) {
                    Some(head) => {
                        self.head = head;
                        self.dropped = true;
                    }
                    // Somebody else moved head, or the words contradict each other.
                    None if ring.head() == head => return Err(Outcome::Corrupt),
                    None => {}
                }
            }
            if self.fits(ring, size) {
                return Ok(());
            }
        }
    }

    /// To a position whose total is known.
    fn begin_anew<M: Memory>(&mut self, ring: &Ring<M>) {
        (self.position, self.total) = ring.known_total();
    }

    /// Puts a ref into the slot at its position, where room was made for it, unless somebody was quicker.
    #[inline(always)]
    fn commit_next<M: Memory>(&mut self, ring: &Ring<M>, message: u64) -> bool {
        let (position, size) = (self.position, Ref::size(message));
        if planted("state before the commit") {
            self.state = ring.word(STATE).load(SeqCst);
        }
        if !ring.is_slot_reserved(position, &mut self.slots_reserved) {
            return false;
        }
        let slot = ring.slot_word(position);
        let occupied = ring.sequence(position);
        let before = (ring.word(slot).load(Acquire), ring.word(slot + 1).load(Relaxed));
        // Looked at first: a swap that fails takes the line from those that read it.
        if before.0.wrapping_add(1) != occupied {
            return false;
        }
        chaos::point("ring.commit");
        if !ring.memory.swap_pair(slot, before, (occupied, message)) {
            return false;
        }
        self.position = position.wrapping_add(1);
        self.total = self.total.wrapping_add(size);
        ring.memory.prefetch(ring.slot_word(position.wrapping_add(PREFETCH_SLOTS)) * 8, 16);
        true
    }

    /// Puts a ref into the first empty slot.
    #[cold]
    fn commit<M: Memory>(&mut self, ring: &Ring<M>, message: u64, mut unlink: impl FnMut(u32)) -> Outcome {
        let layout = &ring.layout;
        let size = Ref::size(message);
        let (mut skipped, mut stuck) = (0_u64, 0);
        // Each turn moves on by a slot, or finds that another was quicker; hostile words could go on for ever.
        for _ in 0..layout.slots.saturating_mul(4).max(1 << 20) {
            if let Err(outcome) = self.make_room(ring, size, &mut unlink) {
                return outcome;
            }
            let position = self.position;
            if !ring.is_slot_reserved(position, &mut self.slots_reserved) {
                if let Err(error) = self.reserve_slots(ring, position) {
                    return Outcome::NoMemory(error);
                }
                continue;
            }
            let slot = ring.slot_word(position);
            let sequence = ring.word(slot).load(Acquire);
            let occupied = ring.sequence(position);
            if sequence.wrapping_add(1) == occupied {
                if self.commit_next(ring, message) {
                    return Outcome::Taken;
                }
                continue;
            }
            if is_behind(sequence, occupied) {
                return Outcome::Corrupt;
            }
            // Another's message: what it counts is in its ref.
            match ring.occupant(position, &mut self.slots_reserved) {
                Some(word) => {
                    self.position = position.wrapping_add(1);
                    let size = if planted("skipped without its size") { 0 } else { Ref::size(word) };
                    self.total = self.total.wrapping_add(size);
                }
                // Overtaken by a whole lap.
                None => {
                    self.begin_anew(ring);
                    if !is_behind(position, self.position) {
                        stuck += 1;
                        if stuck > STUCK {
                            return Outcome::Corrupt;
                        }
                    }
                }
            }
            skipped += 1;
            if skipped == HINT_STEP {
                let (position, total) = ring.known_total();
                if is_behind(self.position, position) {
                    (self.position, self.total) = (position, total);
                }
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
}
