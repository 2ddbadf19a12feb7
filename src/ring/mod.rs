//! The ring: a queue in shared memory with many publishers, one consumer and one total order.
//!
//! # Layout
//! The file is the channel's control page, followed by:
//! ```text
//! page 1    head and bytes before it, hazard, bell, tail hint and bytes before it, state, reserved slots: 128 bytes apart
//! table     a word for each chunk
//! slots     N x { sequence, ref }       N a power of two
//! chunks    C x chunk size              records, 16-aligned
//! ```
//! A slot is *occupied for position p* iff its sequence is p / N + 1, and *empty for p* iff it is p / N; so a zeroed file is
//! a valid ring. A [`Ref`](words::Ref) says where the message is and how long; lengths are never read from memory that may
//! be rewritten. A [chunk word](words::ChunkWord) says who may write into a chunk, or up to where it is filled and which
//! position its last record has.
//!
//! # Bounds
//! By messages: a position is less than `bound` beyond `head`. By bytes: the *total* of a position is the sum of the sizes of
//! all messages before it, since the ring was made; so what is unread is the total of the tail less that of `head`, and no
//! counter has to be shared. Who moves `head` knows its total; a publisher knows that of its own last position and adds the
//! sizes that the refs say of the slots it skips; when it has fallen behind it begins anew at `head` or at the tail hint, which
//! have theirs beside them. A queue that is empty takes a message of any size.
//!
//! # Publishing
//! 1. *Space.* A publisher owns at most one chunk and fills it from its offset on. Leaving it is one Release store of a free
//!    word; from then on the chunk belongs to nobody. A free chunk may be taken (CAS) by anyone: at its offset if enough is
//!    left, from 0 if it is *drained*: the position of its last record lies before `head`. The word is loaded before `head`
//!    (both Acquire), so that a stale view errs towards "in use".
//! 2. *Commit.* From its own last position on it skips occupied slots and swaps (sequence, ref) of the first empty one by a
//!    16-byte compare-and-swap. That is the moment in which the message is in the queue, behind all committed before and
//!    before all committed later. Nothing must be undone when it fails, and a publisher that dies before it has published
//!    nothing.
//! 3. *Wake.* After the commit it reads `bell`; odd means that the consumer sleeps or is about to: the publisher writes to
//!    the FIFO, then makes the bell even.
//!
//! # Consuming
//! The slot at `head` is occupied (Acquire): check the ref, copy the record, move `head` on with its total (Release: the bytes
//! are read before a publisher that sees the new head can overwrite them). To sleep: make the bell odd (SeqCst), look at the slot
//! again (SeqCst). The publisher's commit and its look at the bell are SeqCst too, so one of the two sees the other. A consumer that
//! is awake again may make the bell even itself, to a number that was never there before.
//!
//! # Dropping the oldest
//! Publishers may move `head` as well, by CAS of it and its total. The consumer therefore first says which chunk it is about to
//! read (`hazard`), then takes the message by the same CAS; who restarts a chunk from 0 looks at `hazard` after it has
//! claimed the chunk. The hazard is stored before the CAS, and a restart needs a head that is past the chunk, so it has seen
//! either the CAS, and the hazard with it, or somebody else's move, in which case the consumer's CAS fails. A message in a
//! file is unlinked before the CAS that drops it: a publisher killed in between leaves a ref without a file, which is counted
//! as dropped, and never a file without a ref.
//!
//! # Dying
//! A publisher's id is a lock byte of the file, freed by the kernel with it. A chunk owned by an id whose lock is free is
//! cleaned by whoever needs it, holding that lock byte throughout: no records found by a scan of the unread slots: full (not
//! empty: a record may have been consumed whose bytes are being copied), else filled up to the end of the last one. Who takes
//! an id cleans what it owns first.
//!
//! # Memory
//! No page is touched before it is reserved: slots up to the word `reserved slots` (raised after the reservation), chunks by
//! the bit in their word (set after it). The consumer alone gives pages back, of chunks that it has marked so that nobody
//! takes them meanwhile.
//!
//! The design and its costs were measured in prototypes before; ideas come from Aeron (recovery by format), the LMAX Disruptor
//! and Vyukov's bounded queue (sequences in slots), and hazard pointers (Michael).

#![forbid(unsafe_code)]

pub(crate) mod consumer;
mod look;
pub(crate) mod memory;
mod oldest;
#[cfg(not(loom))]
mod peek;
pub(crate) mod producer;
#[cfg(not(loom))]
mod receive;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod send;
#[cfg(not(loom))]
mod shared;
mod space;
pub(crate) mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod words;

pub(crate) use consumer::{Consumer, Taken};
pub(crate) use look::{Look, Place, Seen, Source};
pub(crate) use memory::{Locks, Memory};
#[cfg(not(loom))]
pub(crate) use peek::{Glance, glance};
pub(crate) use producer::{Outcome, Producer};
#[cfg(not(loom))]
pub(crate) use receive::RingInbox;
#[cfg(not(loom))]
pub(crate) use record::{Opened, Opening, Record};
#[cfg(not(loom))]
pub(crate) use send::{Counted, LOOK_MESSAGES, LOOK_US, RingOutbox, Sender, file_name, is_file_name};
#[cfg(not(loom))]
pub(crate) use shared::{FileLocks, SharedMemory};

use std::sync::atomic::{Ordering::Acquire, Ordering::SeqCst};

use crate::sys::chaos::{self, planted};
use sync::AtomicU64;
pub(crate) use words::Ref;
use words::{CHUNK_MAX, CHUNKS_MAX, ChunkState, ChunkWord};

const PAGE: usize = 4096;
/// First word of page 1.
const HOT: usize = PAGE / 8;
/// Apart by two cache lines: processors fetch lines in pairs.
const APART: usize = 16;

/// The position of the next message to be consumed, and in the next word its total: the bytes of all messages before it. The
/// two only change together.
pub(crate) const HEAD: usize = HOT;
/// Drop-oldest: how many the consumer took; what `head` is ahead of it was dropped.
pub(crate) const TAKEN: usize = HEAD + 2;
/// Drop-oldest: 1 + the chunk that the consumer reads; 0: none.
pub(crate) const HAZARD: usize = HOT + APART;
/// Odd: the consumer sleeps, or is about to.
pub(crate) const BELL: usize = HOT + 2 * APART;
/// A position at or before the true tail, which publishers begin to look from, and its total; they change together.
pub(crate) const TAIL_HINT: usize = HOT + 3 * APART;
/// Bits, see below.
pub(crate) const STATE: usize = HOT + 4 * APART;
/// How many slots have their pages reserved.
pub(crate) const SLOTS_RESERVED: usize = HOT + 5 * APART;

/// The receiver has closed the channel.
pub(crate) const CLOSED: u64 = 1;
/// A publisher found no chunk while others own some: they are to let go.
pub(crate) const HUNGRY: u64 = 2;

/// The smallest chunk that [`Layout::new`] chooses: records above a quarter of it go to files.
const CHUNK_MIN: u64 = 16 << 10;
const SPARE_CHUNKS: u64 = 16;
/// Slots are reserved this many bytes at a time.
const SLOTS_STEP: usize = if cfg!(loom) { 16 } else { 32 << 10 };

/// The sizes of a ring, all of them checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// A power of two.
    pub slots: u64,
    /// How many may be unread: at most `slots`.
    pub bound: u64,
    /// How many bytes may be unread.
    pub bytes_bound: u64,
    pub chunks: u32,
    pub chunk_size: u32,
    pub drop_oldest: bool,
}

impl Layout {
    /// The most messages that a ring can hold.
    pub(crate) const SLOTS_MAX: u64 = 1 << 26;

    /// For these bounds; `None`: a ring cannot hold that many.
    pub(crate) fn new(messages: u64, bytes: u64, drop_oldest: bool) -> Option<Layout> {
        let slots = messages.checked_next_power_of_two().filter(|&slots| slots <= Layout::SLOTS_MAX)?;
        // Chunks of 64 KiB, smaller ones where the bound would be few: publishers own one each.
        let chunk_size = (bytes / 64).next_power_of_two().clamp(CHUNK_MIN, u64::from(CHUNK_MAX));
        // More than the bound needs: chunks have ends too short for a message, publishers of few messages fill theirs slowly.
        let least = bytes.div_ceil(chunk_size);
        let chunks = least.saturating_mul(5).div_ceil(4).saturating_add(SPARE_CHUNKS).min(u64::from(CHUNKS_MAX)) as u32;
        if least > u64::from(chunks) {
            return None;
        }
        let chunk_size = chunk_size as u32;
        let layout = Layout { slots, bound: messages, bytes_bound: bytes, chunks, chunk_size, drop_oldest };
        Some(layout).filter(Layout::is_valid)
    }

    /// Whether these sizes, read from a file, are possible.
    pub(crate) fn is_valid(&self) -> bool {
        self.slots.is_power_of_two()
            && self.slots <= Layout::SLOTS_MAX
            && (1..=self.slots).contains(&self.bound)
            && (1..=CHUNKS_MAX).contains(&self.chunks)
            && self.chunk_size.is_power_of_two()
            && (16..=CHUNK_MAX).contains(&self.chunk_size)
    }

    /// The size of the file.
    pub(crate) fn file_len(&self) -> usize {
        self.chunk_offset(self.chunks)
    }

    /// The bytes that are reserved from the beginning: everything before the slots.
    pub(crate) fn fixed_bytes(&self) -> usize {
        2 * PAGE + (self.chunks as usize * 8).next_multiple_of(PAGE)
    }

    fn table_word(&self, chunk: u32) -> usize {
        2 * HOT + chunk as usize
    }

    fn slots_offset(&self) -> usize {
        self.fixed_bytes()
    }

    fn slot_word(&self, position: u64) -> usize {
        self.slots_offset() / 8 + 2 * (position & (self.slots - 1)) as usize
    }

    fn chunk_offset(&self, chunk: u32) -> usize {
        self.slots_offset()
            + (self.slots as usize * 16).next_multiple_of(PAGE)
            + chunk as usize * self.chunk_size as usize
    }

    /// The sequence of a slot that is occupied for this position.
    fn sequence(&self, position: u64) -> u64 {
        (position >> self.slots.trailing_zeros()).wrapping_add(1)
    }

    /// Whether a ref of a slot points into a chunk.
    fn holds(&self, chunk: u32, offset: u32, len: u32) -> bool {
        chunk < self.chunks && u64::from(offset) + u64::from(len) <= u64::from(self.chunk_size)
    }
}

/// A ring in some memory.
#[derive(Debug)]
pub(crate) struct Ring<M> {
    pub memory: M,
    pub layout: Layout,
    /// What the layout says, worked out: it is asked for several times with each message.
    first_slot: usize,
    first_chunk: usize,
    chunk_bits: u32,
    lap_bits: u32,
}

impl<M: Memory> Ring<M> {
    pub(crate) fn new(memory: M, layout: Layout) -> Ring<M> {
        Ring {
            first_slot: layout.slot_word(0),
            first_chunk: layout.chunk_offset(0),
            chunk_bits: layout.chunk_size.trailing_zeros(),
            lap_bits: layout.slots.trailing_zeros(),
            memory,
            layout,
        }
    }

    /// The word of a position's slot; its ref is the next.
    #[inline]
    fn slot_word(&self, position: u64) -> usize {
        self.first_slot + 2 * (position & (self.layout.slots - 1)) as usize
    }

    /// The sequence of a slot that is occupied for this position.
    #[inline]
    fn sequence(&self, position: u64) -> u64 {
        (position >> self.lap_bits).wrapping_add(1)
    }

    #[inline]
    fn chunk_offset(&self, chunk: u32) -> usize {
        self.first_chunk + ((chunk as usize) << self.chunk_bits)
    }

    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        self.memory.word(index)
    }

    fn chunk_word(&self, chunk: u32) -> &AtomicU64 {
        self.word(self.layout.table_word(chunk))
    }

    fn load_chunk(&self, chunk: u32) -> ChunkWord {
        ChunkWord(self.chunk_word(chunk).load(Acquire))
    }

    fn swap_chunk(&self, chunk: u32, from: ChunkWord, to: ChunkWord) -> bool {
        self.chunk_word(chunk).compare_exchange(from.0, to.0, SeqCst, Acquire).is_ok()
    }

    fn sequence_word(&self, position: u64) -> &AtomicU64 {
        self.word(self.slot_word(position))
    }

    fn ref_word(&self, position: u64) -> &AtomicU64 {
        self.word(self.slot_word(position) + 1)
    }

    /// Whether the slot of a position may be touched; `known` caches how many may.
    ///
    /// SeqCst: a consumer that is about to sleep must not miss the slots that a publisher has reserved before its commit.
    fn is_slot_reserved(&self, position: u64, known: &mut u64) -> bool {
        let index = position & (self.layout.slots - 1);
        if index < *known {
            return true;
        }
        // More than there are would let us touch chunks as slots: the figure comes from shared memory.
        *known = self.word(SLOTS_RESERVED).load(SeqCst).min(self.layout.slots);
        index < *known
    }

    /// The sequence and the ref of a position's slot as they were together, if it is occupied for that position.
    fn occupant(&self, position: u64, known: &mut u64) -> Option<u64> {
        if !self.is_slot_reserved(position, known) {
            return None;
        }
        let (sequence, word) = self.memory.load_pair(self.slot_word(position))?;
        (sequence == self.sequence(position)).then_some(word)
    }

    /// `head` and its total.
    fn head(&self) -> (u64, u64) {
        loop {
            // In a ring that drops, a pair that was there together; publishers make progress while it changes.
            if let Some(pair) = self.memory.load_pair(HEAD) {
                return pair;
            }
        }
    }

    /// Moves `head` and its total on, if both are what they were.
    fn swap_head(&self, from: (u64, u64), to: (u64, u64)) -> bool {
        self.memory.swap_pair(HEAD, from, to)
    }

    /// The latest position whose total is known without a walk: `head`, or the tail hint.
    fn known_total(&self) -> (u64, u64) {
        let (head, total) = self.head();
        match self.memory.load_pair(TAIL_HINT) {
            // Beyond a ring's length ahead it is wrong.
            Some(hint) if (1..=self.layout.slots).contains(&hint.0.wrapping_sub(head)) => hint,
            _ => (head, total),
        }
    }

    /// The first position that is not occupied.
    fn true_tail(&self, known: &mut u64) -> u64 {
        let (mut position, _) = self.known_total();
        // A ring's length at most, whatever is written there.
        for _ in 0..=self.layout.slots * 2 {
            if !self.is_slot_reserved(position, known) {
                break;
            }
            let sequence = self.sequence_word(position).load(Acquire);
            let occupied = self.sequence(position);
            if sequence.wrapping_add(1) == occupied {
                break;
            }
            position = position.wrapping_add(1);
            if sequence > occupied {
                // Overtaken by a whole lap while looking.
                position = position.max(self.word(HEAD).load(Acquire));
            }
        }
        position
    }

    /// Frees every chunk that `id` owns. The caller holds the lock of `id` and its former holder is gone.
    fn clean(&self, id: u32, known: &mut u64) -> u32 {
        let mut cleaned = 0;
        for chunk in 0..self.layout.chunks {
            let word = self.load_chunk(chunk);
            if word.state() != ChunkState::Owned(id) {
                continue;
            }
            let free = if word.is_reserved() {
                self.salvage(chunk, known)
            } else {
                // It died before its reservation returned: nothing was written, some pages may be there.
                ChunkWord::bare(true, self.word(HEAD).load(Acquire))
            };
            chaos::point("ring.clean");
            if self.swap_chunk(chunk, word, free) {
                cleaned += 1;
            }
        }
        cleaned
    }

    /// The word of a chunk whose owner is gone: behind the last record in it that is unread.
    fn salvage(&self, chunk: u32, known: &mut u64) -> ChunkWord {
        let tail = self.true_tail(known);
        let mut position = self.word(HEAD).load(Acquire);
        // Full, not empty: the consumer may be reading what was in it.
        let (mut end, mut offset) = (position, if planted("salvaged as empty") { 0 } else { self.layout.chunk_size });
        // Should hostile words say that there is more than can be: the chunk counts as full.
        let mut steps = self.layout.slots * 2;
        while position < tail && steps > 0 && !planted("salvage without a scan") {
            steps -= 1;
            let Some(word) = self.occupant(position, known) else {
                // Consumed, and taken for the next lap, meanwhile.
                position = position.wrapping_add(1).max(self.word(HEAD).load(Acquire));
                continue;
            };
            if let Some(Ref::Record { chunk: of, offset: at, len }) = Ref::unpack(word) {
                if of == chunk && self.layout.holds(of, at, len) {
                    end = position.wrapping_add(1);
                    offset = (at + len).next_multiple_of(words::STEP);
                }
            }
            position = position.wrapping_add(1);
        }
        ChunkWord::free(offset, end)
    }

    /// Frees the chunks of publishers that are gone; answers how many.
    pub(crate) fn steal(&self, locks: &impl Locks, own: Option<u32>, known: &mut u64) -> u32 {
        let mut stolen = 0;
        for chunk in 0..self.layout.chunks {
            let ChunkState::Owned(id) = self.load_chunk(chunk).state() else { continue };
            if Some(id) == own || locks.is_locked(id) || planted("no stealing") {
                continue;
            }
            // Kept while it cleans: another thief, or a publisher that takes the id, would clean or own at the same time.
            if !planted("thief without the lock") && !locks.try_lock(id) {
                continue;
            }
            chaos::point("ring.steal");
            stolen += self.clean(id, known);
            locks.unlock(id);
        }
        stolen
    }
}
