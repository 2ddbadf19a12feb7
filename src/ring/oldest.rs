//! Dropping the oldest messages, to make room for a new one.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering::Acquire;

use super::words::Ref;
use super::{Locks, Memory, Producer, Ring};
use crate::sys::chaos;

impl<M: Memory> Ring<M> {
    /// Drops the oldest of `length` messages until `fits`, asked about the head that would be, says that it is enough; never
    /// more than a sixteenth of them. `unlink` removes the message file of a tag. Answers the new head; `None` if it was
    /// moved by others meanwhile, who made room as well, or a slot that is to be dropped is not occupied.
    pub(super) fn drop_oldest(
        &self,
        head: (u64, u64),
        length: u64,
        fits: impl Fn((u64, u64)) -> bool,
        unlink: &mut impl FnMut(u32),
        known: &mut u64,
    ) -> Option<(u64, u64)> {
        let most = (length / 16).max(1).min(length);
        let mut to = head;
        while to.0.wrapping_sub(head.0) < most && !fits(to) {
            if !self.is_slot_reserved(to.0, known) || self.sequence_word(to.0).load(Acquire) != self.sequence(to.0) {
                return None;
            }
            // Should the slot be another message's by now, `head` has moved: the swap below fails.
            let word = self.ref_word(to.0).load(Acquire);
            if let Some(Ref::File { tag, .. }) = Ref::unpack(word) {
                // Only what is still the oldest: the consumer may have taken it, and be about to read its file.
                if self.head() != head {
                    return None;
                }
                unlink(tag);
            }
            to = (to.0.wrapping_add(1), to.1.wrapping_add(Ref::size(word)));
        }
        chaos::point("ring.drop");
        self.swap_head(head, to).then_some(to)
    }
}

impl<M: Memory> Ring<M> {
    /// The position behind the last message.
    pub(crate) fn tail(&self) -> u64 {
        self.true_tail(&mut 0)
    }
}

/// What a history's publishers need beyond a channel's.
impl<L: Locks> Producer<L> {
    /// The position of the message that it published last.
    pub(crate) fn last_position(&self) -> u64 {
        self.position.wrapping_sub(1)
    }

    /// Before a message of `size` bytes. Where it would exceed a bound, drops more of the oldest than it takes, so that not every
    /// message has to: all but the last `keep` with it, and a sixteenth of the bytes if those are too many.
    #[inline]
    pub(crate) fn trim<M: Memory>(&mut self, ring: &Ring<M>, size: u64, keep: u64, unlink: impl FnMut(u32)) {
        if !self.fits(ring, size) {
            self.trim_slowly(ring, size, keep, unlink);
        }
    }

    #[cold]
    fn trim_slowly<M: Memory>(&mut self, ring: &Ring<M>, size: u64, keep: u64, mut unlink: impl FnMut(u32)) {
        self.head = ring.head();
        let (position, total) = (self.position, self.total);
        let messages = position.wrapping_sub(self.head.0);
        // Nothing, or fallen behind.
        if self.fits(ring, size) || messages == 0 || messages > ring.layout.slots {
            return;
        }
        let bound = ring.layout.bytes_bound;
        let is_over = total.wrapping_sub(self.head.1).saturating_add(size) > bound;
        let bytes = if is_over { bound - bound / 16 } else { bound };
        let fits = |to: (u64, u64)| {
            position.wrapping_sub(to.0) < keep && total.wrapping_sub(to.1).saturating_add(size) <= bytes
        };
        // Asked for sixteen times as many as there are, it drops as many as it must. Should others have been quicker, the
        // publish itself sees to the bounds.
        let length = messages.saturating_mul(16);
        if let Some(head) = ring.drop_oldest(self.head, length, fits, &mut unlink, &mut self.slots_reserved) {
            self.head = head;
        }
    }

    /// Drops a few of the oldest, whatever the bounds; false when there is none.
    pub(crate) fn drop_oldest<M: Memory>(&mut self, ring: &Ring<M>, mut unlink: impl FnMut(u32)) -> bool {
        let head = ring.head();
        let length = ring.tail().wrapping_sub(head.0);
        if length == 0 || length > ring.layout.slots {
            return false;
        }
        // Moved by others: they made room as well.
        let moved = ring.drop_oldest(head, length, |_| false, &mut unlink, &mut self.slots_reserved);
        moved.is_some() || ring.head() != head
    }
}
