//! Dropping the oldest messages, to make room for a new one.

#![forbid(unsafe_code)]

use super::words::Ref;
use super::{Memory, Ring};
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
            let word = self.occupant(to.0, known)?;
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
