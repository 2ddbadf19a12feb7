//! Where a channel's next message comes from: what was given back, histories, the ring, the FIFO.

#![forbid(unsafe_code)]

use super::Channel;
use crate::error::Result;
use crate::message::Message;
use crate::replay::Replay;
use crate::sys::clock;

/// The FIFO gets its turn after this many messages from the ring, if it had none for [`STREAM_LOOK_NS`]: a look costs up to four
/// system calls once the descriptor is used, and wakes who waits on it in another thread.
pub(super) const TURN: usize = 256;
const STREAM_LOOK_NS: u64 = 500_000;
/// Who fetched this many at once fetches again soon, and need not be told by the descriptor that there is nothing more.
const STREAM: usize = 16;
/// Fetching again and again from a ring that is empty looks at the FIFO this often, since that is a system call. It takes
/// longer than this to publish there, so that only a message which another process is publishing meanwhile comes late.
const IDLE_LOOK_NS: u64 = 2_000;

impl Channel {
    /// Messages know which store they came from.
    pub(super) fn marked(&self, mut message: Message) -> Message {
        message.set_home(self.store.number());
        message
    }

    /// The next message from the ring or the FIFO.
    pub(super) fn next(&mut self) -> Result<Option<Message>> {
        match self.next_from_ring()? {
            None => self.next_beside(),
            message => Ok(message),
        }
    }

    /// The next message from the ring, if there is one and it is the ring's turn.
    #[inline]
    pub(super) fn next_from_ring(&mut self) -> Result<Option<Message>> {
        if !self.is_rings_turn() {
            return Ok(None);
        }
        while let Some(ring) = &mut self.ring {
            self.turn += 1;
            let Some(message) = ring.next()? else { break };
            if let Some(message) = self.in_order(message)? {
                return Ok(Some(self.marked(message)));
            }
        }
        Ok(None)
    }

    /// A message that came live, or another that is to be given before it; `None`: it has come before.
    #[inline]
    pub(super) fn in_order(&mut self, message: Message) -> Result<Option<Message>> {
        if self.order.place.takes_message(&message) {
            return Ok(Some(message));
        }
        self.review(message)
    }

    /// As [`in_order`](Channel::in_order), for one that is not the next of its history.
    #[cold]
    pub(super) fn review(&mut self, message: Message) -> Result<Option<Message>> {
        let rejected = self.inbox.shared().0.counters().rejected;
        self.order.review(message, &self.store, rejected);
        self.next_ready()
    }

    /// The next of what is to be given before anything else.
    fn next_ready(&mut self) -> Result<Option<Message>> {
        if self.order.has_more_ready() && self.inbox.is_fd_used() {
            self.inbox.keep_token()?;
        }
        Ok(self.order.pop_ready())
    }

    /// Whether nothing comes before what is in the ring, if there is one.
    #[inline]
    pub(super) fn is_rings_turn(&mut self) -> bool {
        (self.turn < TURN || self.has_another_turn())
            && !self.inbox.has_returned()
            && self.replay.is_none()
            && !self.order.has_ready()
    }

    /// Whether the ring's turn was over and begins anew, since the FIFO had one just before.
    #[inline]
    pub(super) fn has_another_turn(&mut self) -> bool {
        let again = self.turn >= TURN && !self.is_time_to_look(STREAM_LOOK_NS);
        if again {
            self.turn = 0;
        }
        again
    }

    /// Whether what is not in the ring must be looked at, now that there is nothing more in the ring, or its turn is over.
    /// `found`: how many messages this fetch has already.
    pub(super) fn is_beside_due(&mut self, found: usize) -> bool {
        if self.ring.is_none()
            || self.replay.is_some()
            || self.turn >= TURN
            || self.inbox.has_more()
            || self.order.has_ready()
        {
            return true;
        }
        if self.inbox.is_fd_used() { found < STREAM } else { self.is_time_to_look(IDLE_LOOK_NS) }
    }

    fn is_time_to_look(&mut self, after_ns: u64) -> bool {
        let now = clock::monotonic_ns();
        let due = now.wrapping_sub(self.looked) >= after_ns;
        if due {
            self.looked = now;
        }
        due
    }

    /// The next message when the ring is empty, or it is the turn of something else.
    #[cold]
    pub(super) fn next_beside(&mut self) -> Result<Option<Message>> {
        let message = self.take_beside()?;
        Ok(message.map(|message| self.marked(message)))
    }

    fn take_beside(&mut self) -> Result<Option<Message>> {
        if self.inbox.has_returned() {
            let message = self.inbox.next()?;
            self.stay_readable()?;
            return Ok(message);
        }
        if self.replay.is_some() {
            return self.next_after_replay();
        }
        if self.order.has_ready() {
            return self.next_ready();
        }
        while let Some(message) = self.next_from_fifo()? {
            if let Some(message) = self.in_order(message)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// What histories have, then what is new and was not in them.
    fn next_after_replay(&mut self) -> Result<Option<Message>> {
        let Some(mut replay) = self.replay.take() else { return Ok(None) };
        let next = self.next_of(&mut replay);
        self.replay = Some(replay);
        next
    }

    fn next_of(&mut self, replay: &mut Replay) -> Result<Option<Message>> {
        if let Some(message) = replay.next(&self.store)? {
            self.inbox.shared().0.count_received(1);
            if replay.has_message() {
                self.inbox.keep_token()?;
            }
            return Ok(Some(message));
        }
        // Without `self.replay`, as if there was none.
        while let Some(message) = self.next()? {
            if let Some(message) = replay.live(message) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next message when the ring is empty, or it is the FIFO's turn.
    fn next_from_fifo(&mut self) -> Result<Option<Message>> {
        let Some(ring) = &mut self.ring else { return self.inbox.next() };
        self.turn = 0;
        let used = self.inbox.is_fd_used();
        let mut message = self.inbox.next()?;
        if message.is_none() {
            message = ring.next()?;
        }
        if message.is_some() {
            self.stay_readable()?;
            return Ok(message);
        }
        ring.rest();
        // The bell costs publishers a system call, so it is armed for waits, and for who waits on the descriptor.
        if used && !ring.arm() {
            let message = ring.next()?;
            self.stay_readable()?;
            return Ok(message);
        }
        Ok(None)
    }

    /// What made the descriptor readable has been read from the FIFO: it stays so if a message waits elsewhere, and becomes so
    /// with the ring's next one if not, also for who does not fetch until there is none.
    pub(super) fn stay_readable(&mut self) -> Result<()> {
        if !self.inbox.is_fd_used() {
            return Ok(());
        }
        if self.order.has_ready() {
            return self.inbox.keep_token();
        }
        let in_ring = self.ring.as_mut().is_some_and(|ring| ring.has_message() || !ring.arm());
        if in_ring || self.replay.as_ref().is_some_and(|replay| replay.has_message()) {
            self.inbox.keep_token()?;
        }
        Ok(())
    }
}
