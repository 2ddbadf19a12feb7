//! Room for records: the chunks that a publisher takes, fills and lets go of.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

use super::sync;
use super::words::{ChunkState, ChunkWord, unread, unwrap_end};
use super::{HAZARD, HEAD, HUNGRY, Locks, Memory, Producer, Ring, STATE};
use crate::sys::chaos::{self, planted};

/// A publisher comes back to a chunk after this many others: writing into the chunk that the consumer is reading, or has just
/// read, means waiting for its cache lines. As few as that allows, since they are what a drained channel keeps.
pub(super) const ROTATION: usize = 4;

/// What a try to find space came to.
pub(super) enum Space {
    Found(u32),
    None,
    NoMemory(io::Error),
}

impl<L: Locks> Producer<L> {
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

    /// Makes sure that the current chunk has room for `need` bytes.
    #[cold]
    pub(super) fn find_space<M: Memory>(&mut self, ring: &Ring<M>, need: u32) -> Space {
        let layout = &ring.layout;
        if need > layout.chunk_size {
            return Space::None;
        }
        if let Some(chunk) = self.current {
            let head = ring.word(HEAD).load(Acquire);
            let few = layout.chunks as usize <= ROTATION;
            if few && unread(self.end, head, layout.slots).is_none() && !self.is_being_read(ring, chunk) {
                self.offset = 0;
                Self::before_overwriting();
                return Space::Found(chunk);
            }
            self.release(ring);
        } else if let Some(&last) = self.recent.back() {
            if self.retake(ring, last, need) {
                return Space::Found(last);
            }
        }
        // Its own, drained: warm, and not the warmest.
        if self.recent.len() >= ROTATION {
            for i in 0..self.recent.len() {
                let chunk = self.recent[i];
                if self.take(ring, chunk, need, true) {
                    return Space::Found(chunk);
                }
            }
        }
        for i in (0..self.recent.len()).rev() {
            let chunk = self.recent[i];
            if self.take(ring, chunk, need, false) {
                return Space::Found(chunk);
            }
        }
        let first = self.recent.back().map_or(self.id % layout.chunks, |&last| (last + 1) % layout.chunks);
        let chunks =
            || (0..layout.chunks).map(|i| ((u64::from(first) + u64::from(i)) % u64::from(layout.chunks)) as u32);
        let mut owned = false;
        for chunk in chunks() {
            if self.take(ring, chunk, need, false) {
                return Space::Found(chunk);
            }
            owned |= matches!(ring.load_chunk(chunk).state(), ChunkState::Owned(_));
        }
        // Asking for the dead costs a system call for each owner.
        if owned && ring.steal(&self.locks, Some(self.id), &mut self.slots_reserved) > 0 {
            if let Some(chunk) = chunks().find(|&chunk| self.take(ring, chunk, need, false)) {
                return Space::Found(chunk);
            }
        }
        for chunk in chunks() {
            match self.take_fresh(ring, chunk) {
                Ok(true) => return Space::Found(chunk),
                Ok(false) => {}
                Err(error) => return Space::NoMemory(error),
            }
        }
        if owned {
            ring.word(STATE).fetch_or(HUNGRY, Relaxed);
        }
        Space::None
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
        if early.is_some() && ring.load_chunk(chunk).is_reserved() {
            chaos::point("ring.take");
        }
        let word = ring.load_chunk(chunk);
        if word.state() != ChunkState::Free || !word.is_reserved() {
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
        if ahead.is_none() {
            Self::before_overwriting();
        }
        true
    }

    /// Before records are written over: who copies one of them, seeing what is written now, sees that `head` has passed it (see
    /// `look`).
    fn before_overwriting() {
        if !planted("no fence before overwriting") {
            sync::fence(Release);
        }
    }

    /// Takes a chunk without pages and reserves them.
    fn take_fresh<M: Memory>(&mut self, ring: &Ring<M>, chunk: u32) -> io::Result<bool> {
        let word = ring.load_chunk(chunk);
        if word.state() != ChunkState::Free || word.is_reserved() {
            // As `take` left it, or taken or given back meanwhile.
            return Ok(false);
        }
        if !ring.swap_chunk(chunk, word, ChunkWord::owned(self.id, planted("pages said to be there before they are"))) {
            return Ok(false);
        }
        chaos::point("ring.fresh");
        let head = ring.word(HEAD).load(Acquire);
        let reserved = if planted("no pages reserved") {
            Ok(())
        } else {
            ring.memory.reserve(ring.chunk_offset(chunk), ring.layout.chunk_size as usize)
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
        self.recent.retain(|&other| other != chunk);
    }
}
