//! What there is to know of a ring from beside it.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;

use super::words::Ref;
use super::{HEAD, Layout, SLOTS_RESERVED, TAKEN};
use crate::sys::directory::read_at;

/// Slots looked at in one read.
const PIECE: u64 = 4096;

/// Unread messages and their bytes, and how many were dropped to make room so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Glance {
    pub messages: u64,
    pub bytes: u64,
    pub dropped: u64,
}

/// By `pread`, which touches no page: figures of one moment, or of several that lie close together.
pub(crate) fn glance(file: BorrowedFd<'_>, layout: &Layout) -> io::Result<Glance> {
    let word = |index: usize| {
        let mut word = [0; 8];
        read_at(file, &mut word, index as u64 * 8)?;
        io::Result::Ok(u64::from_ne_bytes(word))
    };
    let taken = word(TAKEN)?;
    let head = word(HEAD)?;
    let dropped = if layout.drop_oldest { head.wrapping_sub(taken) } else { 0 };
    let reserved = word(SLOTS_RESERVED)?.min(layout.slots);
    let (mut messages, mut bytes) = (0, 0);
    let mut piece = vec![0; PIECE as usize * 16];
    while messages < layout.bound {
        let position = head.wrapping_add(messages);
        let index = position & (layout.slots - 1);
        let count = PIECE.min(layout.slots - index).min(reserved.saturating_sub(index));
        let piece = &mut piece[..count as usize * 16];
        let offset = layout.slot_word(position) as u64 * 8;
        if count == 0 || read_at(file, piece, offset)? < piece.len() {
            break;
        }
        for (i, slot) in piece.chunks_exact(16).enumerate() {
            let half = |from: usize| {
                let mut word = [0; 8];
                word.copy_from_slice(&slot[from..from + 8]);
                u64::from_ne_bytes(word)
            };
            if half(0) != layout.sequence(position.wrapping_add(i as u64)) {
                return Ok(Glance { messages, bytes, dropped });
            }
            messages += 1;
            bytes += Ref::size(half(8));
        }
    }
    Ok(Glance { messages, bytes, dropped })
}
