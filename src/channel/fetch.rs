//! Fetching: at once, waiting, many at a time, packed, by a callback.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::sources::TURN;
use super::{Channel, PackError};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::packed;
use crate::sys::clock::{self, Deadline};
use crate::sys::fifo::Wait;

impl Channel {
    /// The next message, or `None` at once.
    pub fn fetch(&mut self) -> Result<Option<Message>> {
        self.here()?;
        if let Some(message) = self.next_from_ring()? {
            return Ok(Some(message));
        }
        if !self.is_beside_due(0) {
            return Ok(None);
        }
        let message = self.next_beside()?;
        if message.is_none() {
            self.inbox.check_directory()?;
        }
        Ok(message)
    }

    /// The next message; waits up to `timeout` for one (`None`: without end). `Ok(None)`: it timed out.
    ///
    /// The wait also ends with [`Interrupted`](ErrorKind::Interrupted): by an [`Interrupter`], or when a signal was
    /// handled in this thread.
    pub fn fetch_wait(&mut self, timeout: Option<Duration>) -> Result<Option<Message>> {
        if timeout == Some(Duration::ZERO) {
            return self.fetch();
        }
        // What is there needs no clock.
        self.here()?;
        self.check_interrupt()?;
        if let Some(message) = self.next_from_ring()? {
            return Ok(Some(message));
        }
        self.fetch_until(Deadline::after(timeout), Channel::next)
    }

    #[inline]
    fn check_interrupt(&self) -> Result<()> {
        if self.interrupt.pending.load(Relaxed) && self.interrupt.pending.swap(false, SeqCst) {
            return Err(Error::new(
                ErrorKind::Interrupted,
                format_args!("the wait on '{}' was interrupted", self.topic),
            ));
        }
        Ok(())
    }

    /// What `take` takes; waits for it.
    fn fetch_until<T, E: From<Error>>(
        &mut self,
        deadline: Deadline,
        mut take: impl FnMut(&mut Channel) -> std::result::Result<Option<T>, E>,
    ) -> std::result::Result<Option<T>, E> {
        self.here()?;
        loop {
            self.check_interrupt()?;
            if let Some(taken) = take(self)? {
                return Ok(Some(taken));
            }
            // Again: looking for a message has taken the interrupt's wake-up from the FIFO if it came since.
            if self.interrupt.pending.load(SeqCst) {
                continue;
            }
            let remaining = deadline.remaining();
            if remaining == Some(Duration::ZERO) {
                return Ok(None);
            }
            let mut pause = remaining;
            if let Some(ring) = &mut self.ring {
                if ring.comes_soon() || !ring.arm() {
                    continue;
                }
                // It may be early for what a receiver at rest does.
                if let Some(early) = ring.rest() {
                    pause = Some(pause.map_or(early, |pause| pause.min(early)));
                }
            }
            if self.inbox.wait(pause)? == Wait::Signal {
                // When its handler called the interrupter, that ended this wait, too.
                self.interrupt.pending.store(false, SeqCst);
                let text = format_args!("the wait on '{}' was interrupted by a signal", self.topic);
                return Err(Error::new(ErrorKind::Interrupted, text).into());
            }
        }
    }

    /// Waits for the first message, then takes what is there, up to `max`, onto the end of `messages`. The answer is
    /// how many. Errors after the first message are left to the next call.
    pub fn fetch_batch(&mut self, messages: &mut Vec<Message>, max: usize, timeout: Option<Duration>) -> Result<usize> {
        if max == 0 {
            return Ok(0);
        }
        self.linger(max, timeout);
        let Some(first) = self.fetch_wait(timeout)? else { return Ok(0) };
        messages.push(first);
        let mut count = 1;
        while count < max {
            if self.is_rings_turn() {
                if let Some(ring) = &mut self.ring {
                    let max = (max - count).min(TURN - self.turn);
                    let Ok((taken, astray)) = ring.next_batch(messages, max, &mut self.order.place) else { break };
                    let new = messages.len() - taken;
                    messages[new..].iter_mut().for_each(|message| message.set_home(self.store.number()));
                    self.turn += taken;
                    count += taken;
                    if let Some(message) = astray {
                        let Ok(message) = self.review(message) else { break };
                        count += usize::from(message.is_some());
                        messages.extend(message.map(|message| self.marked(message)));
                        continue;
                    }
                }
            }
            if self.has_another_turn() {
                continue;
            }
            if count == max || !self.is_beside_due(count) {
                break;
            }
            match self.next_beside() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) | Err(_) => break,
            }
            count += 1;
        }
        Ok(count)
    }

    /// Like [`fetch_batch`](Channel::fetch_batch), but writes packed records (see `ps_packed_record` in `pubsub.h`)
    /// into `buffer`, as many as fit. Answers how many records and how many bytes they take.
    pub fn fetch_packed(
        &mut self,
        buffer: &mut [u64],
        timeout: Option<Duration>,
    ) -> std::result::Result<(usize, usize), PackError> {
        self.here()?;
        self.linger(usize::MAX, timeout);
        let packed = if timeout == Some(Duration::ZERO) {
            let packed = self.pack(buffer)?;
            if packed.is_none() {
                self.inbox.check_directory()?;
            }
            packed
        } else {
            self.fetch_until(Deadline::after(timeout), |channel| channel.pack(buffer))?
        };
        Ok(packed.map_or((0, 0), |(records, words)| (records, words * 8)))
    }

    /// Who may wait for messages, and takes many, lets some come.
    #[inline]
    fn linger(&mut self, max: usize, timeout: Option<Duration>) {
        if let Some(ring) = self.ring.as_mut().filter(|_| timeout != Some(Duration::ZERO)) {
            ring.linger(max);
        }
    }

    /// Writes what is there into `buffer`, as much as fits: how many records, and words; `None`: there is nothing.
    fn pack(&mut self, buffer: &mut [u64]) -> std::result::Result<Option<(usize, usize)>, PackError> {
        let (mut records, mut used) = (0, 0);
        loop {
            let (mut left, mut whole) = (None, None);
            if self.is_rings_turn() {
                if let Some(ring) = &mut self.ring {
                    match ring.next_packed(&mut buffer[used..], TURN - self.turn, &mut self.order.place) {
                        Ok(packed) => {
                            self.turn += packed.records;
                            (records, used) = (records + packed.records, used + packed.words);
                            left = packed.left;
                        }
                        Err(error) if records == 0 => return Err(error.into()),
                        Err(_) => break,
                    }
                }
            }
            if let Some(message) = left {
                whole = match self.in_order(message) {
                    Ok(None) => continue,
                    Ok(message) => message,
                    Err(error) if records == 0 => return Err(error.into()),
                    Err(_) => break,
                };
            }
            if whole.is_none() && self.has_another_turn() {
                continue;
            }
            if whole.is_none() && (records == 0 || self.is_beside_due(records)) {
                whole = match self.next_beside() {
                    Ok(message) => message,
                    Err(error) if records == 0 => return Err(error.into()),
                    Err(_) => break,
                };
            }
            let Some(message) = whole else { break };
            match packed::write(&message, &mut buffer[used..]) {
                Some(words) => (records, used) = (records + 1, used + words),
                None => {
                    let needed = packed::words(&message) * 8;
                    self.inbox.put_back(message)?;
                    if records == 0 {
                        return Err(PackError::TooSmall(needed));
                    }
                    break;
                }
            }
        }
        Ok((records > 0).then_some((records, used)))
    }

    /// Calls back with each message until the callback breaks or `timeout` has passed in all (`None`: without end; zero:
    /// takes what is there). Answers how many messages were handled. Ends early as [`fetch_wait`](Channel::fetch_wait)
    /// does.
    pub fn subscribe(
        &mut self,
        mut callback: impl FnMut(&Message) -> ControlFlow<()>,
        timeout: Option<Duration>,
    ) -> Result<u64> {
        let deadline = Deadline::after(timeout);
        let no_wait = timeout == Some(Duration::ZERO);
        let begun_us = clock::wall_us() as i64;
        let mut handled = 0;
        loop {
            let message = if no_wait { self.fetch()? } else { self.fetch_until(deadline, Channel::next)? };
            let Some(message) = message else { return Ok(handled) };
            handled += 1;
            // Of what is there, the end is known by what came later: else who publishes in the callback, or faster than it
            // takes, would keep it going for ever.
            let over = if no_wait { message.timestamp_us() > begun_us } else { deadline.passed() };
            if callback(&message).is_break() || over {
                return Ok(handled);
            }
        }
    }
}
