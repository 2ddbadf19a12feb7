//! Reading a ring from beside it, without taking anything: what a history's readers do.
//!
//! By `pread`: no page is touched that may not be there, whatever is written in the file. A reader copies a record and looks at
//! `head` afterwards: a record is written over only after `head` has passed it, so one that `head` has not passed yet was
//! whole while it was copied. The fence stands between the copy and the look; it pairs with the publisher's, which stands
//! between its look at `head` and what it writes over the bytes.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::Ordering::Acquire;

use super::sync;
use super::words::Ref;
use super::{HEAD, Layout, SLOTS_RESERVED, TAIL_HINT};
use crate::sys::chaos::planted;

/// Slots looked at in one read.
const PIECE: u64 = 256;

/// Where the bytes of a ring are read from: its file, or a model's memory.
pub(crate) trait Source: Copy {
    /// Copies what lies from `offset` on; answers how much of it there is. A slot is copied at once, or its sequence first.
    fn read(self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A ring to be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a, S> {
    pub source: S,
    pub layout: &'a Layout,
}

/// A slot, as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Holds the message of its position.
    Message(Place),
    /// Nothing was put there yet.
    Nothing,
    /// Already another message's, or hostile.
    Other,
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the ring's file.
    Record { offset: u64, len: usize },
    /// In a file of its own with this tag in its name; what it counts towards the bound of bytes.
    File { tag: u32, size: u64 },
    /// Nowhere: the slot is not what a publisher writes.
    Malformed,
}

impl<S: Source> Look<'_, S> {
    /// One word of the file.
    pub(crate) fn word(&self, index: usize) -> io::Result<u64> {
        let mut word = [0; 8];
        if self.source.read(&mut word, index as u64 * 8)? < 8 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(u64::from_ne_bytes(word))
    }

    /// The first position that is there and the one behind the last.
    pub(crate) fn range(&self) -> io::Result<(u64, u64)> {
        let slots = self.layout.slots;
        let (head, hint) = (self.word(HEAD)?, self.word(TAIL_HINT)?);
        let mut tail = if (1..=slots).contains(&hint.wrapping_sub(head)) { hint } else { head };
        // A ring's length at most, whatever is written there.
        let limit = tail.saturating_add(2 * slots);
        'scan: while tail < limit {
            let seen = self.slots(tail, PIECE)?;
            for slot in &seen {
                if *slot == Seen::Nothing {
                    break 'scan;
                }
                tail = tail.saturating_add(1);
            }
            if seen.is_empty() {
                break;
            }
        }
        // Last: what has gone meanwhile is not there.
        let head = self.word(HEAD)?;
        Ok((head.max(tail.saturating_sub(slots)).min(tail), tail))
    }

    /// The first position that is still there, asked after records have been copied: those before it may be torn.
    pub(crate) fn head_after(&self) -> io::Result<u64> {
        if !planted("no fence behind the copy") {
            sync::fence(Acquire);
        }
        self.word(HEAD)
    }

    /// The slots of some positions: at least one and at most `count`, unless there are no more.
    pub(crate) fn slots(&self, position: u64, count: u64) -> io::Result<Vec<Seen>> {
        let layout = self.layout;
        let reserved = self.word(SLOTS_RESERVED)?.min(layout.slots);
        let index = position & (layout.slots - 1);
        let count = count.min(PIECE).min(layout.slots - index).min(reserved.saturating_sub(index)) as usize;
        let mut piece = [0; PIECE as usize * 16];
        let piece = &mut piece[..count * 16];
        if self.source.read(piece, layout.slot_word(position) as u64 * 8)? < piece.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let half = |slot: &[u8], from: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&slot[from..from + 8]);
            u64::from_ne_bytes(word)
        };
        let seen = piece.chunks_exact(16).enumerate().map(|(i, slot)| {
            let (sequence, occupied) = (half(slot, 0), layout.sequence(position.wrapping_add(i as u64)));
            match sequence {
                _ if sequence == occupied => Seen::Message(self.place(half(slot, 8))),
                _ if sequence < occupied => Seen::Nothing,
                _ => Seen::Other,
            }
        });
        Ok(seen.collect())
    }

    fn place(&self, word: u64) -> Place {
        match Ref::unpack(word) {
            Some(Ref::Record { chunk, offset, len }) if self.layout.holds(chunk, offset, len) => {
                let offset = self.layout.chunk_offset(chunk) as u64 + u64::from(offset);
                Place::Record { offset, len: len as usize }
            }
            Some(Ref::File { tag, .. }) => Place::File { tag, size: Ref::size(word) },
            _ => Place::Malformed,
        }
    }
}
