//! The receiving end of a channel's ring.

#![forbid(unsafe_code)]

mod batch;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::words::Ref;
use super::{CLOSED, Consumer, FileLocks, Layout, Ring, STATE, SharedMemory, Taken, record};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::files;
use crate::message::Message;
use crate::sys::clock;
use crate::sys::directory::{Directory, EntryPath};
use crate::sys::fd::Fd;

/// Memory is given back at most this often: in a queue that fills and drains a thousand times a second, taking it anew each
/// time would cost more than the messages.
const REST_NS: u64 = 10_000_000;
/// How long a receiver waits before it looks for messages again: the longest is enough for a hundred of a batch, and comes only
/// while a stream of them runs.
const NAP_MIN_NS: u64 = 100;
const NAP_MAX_NS: u64 = 4_000;
/// With as many messages as this there is no need to wait for more.
const FEW: usize = 64;
/// Who takes fewer than this at once does not wait for more.
const MANY: usize = 16;
/// Messages that come no further apart than this are a stream.
const STREAM_NS: u64 = 50_000;
/// For how long it goes on looking before it yields.
const NAPPING_NS: u64 = 500;
/// Pauses between two looks at the clock.
const PAUSES: u32 = 2;
/// How often a receiver yields before it sleeps.
const YIELDS: u32 = 50;
/// And for how long: what fifty take where nobody else wants the processor, and some more.
const YIELDING_NS: u64 = 50_000;

/// Pauses until then; answers when it is.
fn pause_until(due: u64) -> u64 {
    loop {
        let now = clock::monotonic_ns();
        if now >= due {
            return now;
        }
        for _ in 0..PAUSES {
            std::hint::spin_loop();
        }
    }
}

/// The receiving end of a channel's ring.
#[derive(Debug)]
pub(crate) struct RingInbox {
    ring: Ring<SharedMemory>,
    consumer: Consumer,
    locks: FileLocks,
    control: Arc<Control>,
    base: Arc<Directory>,
    directory: Vec<u8>,
    /// A message that was taken and lies in a file which could not be opened yet.
    waiting: Option<u32>,
    /// One that could not be read once.
    unread: Option<u32>,
    /// When memory was last given back.
    rested: Option<u64>,
    /// The next nap, and the position at which the last one was taken.
    nap_ns: u64,
    taken_before: u64,
    /// When the last one ended.
    napped: u64,
}

impl RingInbox {
    /// `held` is the control file, whose lock the receiver holds.
    pub(crate) fn new(
        layout: Layout,
        control: Arc<Control>,
        held: Arc<Fd>,
        base: Arc<Directory>,
        directory: &[u8],
    ) -> RingInbox {
        let memory = SharedMemory::new(Arc::clone(control.map()), Arc::clone(&held));
        RingInbox {
            ring: Ring::new(memory, layout),
            consumer: Consumer::new(),
            locks: FileLocks::new(held),
            control,
            base,
            directory: directory.to_vec(),
            waiting: None,
            unread: None,
            rested: None,
            nap_ns: NAP_MIN_NS,
            taken_before: 0,
            napped: 0,
        }
    }

    pub(crate) fn has_message(&mut self) -> bool {
        self.waiting.is_some() || self.consumer.has_message(&self.ring)
    }

    /// Waits for a moment, then gives others the processor a few times: a publisher that is at work is worth waiting for, since
    /// waking a sleeper costs it a system call and the sleeper twenty microseconds.
    pub(crate) fn comes_soon(&mut self) -> bool {
        let mut end = self.nap();
        while !self.has_message() {
            let now = clock::monotonic_ns();
            if end.saturating_add(NAPPING_NS) <= now {
                for _ in 0..YIELDS {
                    std::thread::yield_now();
                    if self.has_message() {
                        return true;
                    }
                    // Others had the processor for whole slices: fifty of those would be an age, to a timeout or an interrupt.
                    if clock::monotonic_ns() >= now + YIELDING_NS {
                        break;
                    }
                }
                return false;
            }
            end = end.min(now);
            pause_until(now + NAP_MIN_NS);
        }
        true
    }

    /// For who takes up to `max` at once: where a stream of messages runs, lets a few more of them come.
    ///
    /// Each look at the next slot takes its cache line from the publisher that is about to write to it. Who takes every message
    /// as soon as it is there slows a stream down to the time that the line takes to go there and back; so who finds several
    /// after a nap naps longer the next time.
    #[inline]
    pub(crate) fn linger(&mut self, max: usize) {
        let few = max.min(FEW);
        // A single message is waited for by somebody, unless it is known to be one of many.
        let least = if self.nap_ns > NAP_MIN_NS { 1 } else { 2 };
        if few >= MANY && (least..few).contains(&self.consumer.waiting(&self.ring, few)) {
            self.nap();
        }
    }

    /// Does not look at the ring for a moment; answers when that ended.
    fn nap(&mut self) -> u64 {
        let now = clock::monotonic_ns();
        let several = self.consumer.taken().wrapping_sub(self.taken_before) > 1;
        self.taken_before = self.consumer.taken();
        let is_stream = several && now.saturating_sub(self.napped) < STREAM_NS;
        self.nap_ns = if is_stream { (self.nap_ns * 2).min(NAP_MAX_NS) } else { (self.nap_ns / 2).max(NAP_MIN_NS) };
        self.napped = pause_until(now + self.nap_ns);
        self.napped
    }

    /// Asks publishers to write to the FIFO; whether the ring is still empty.
    pub(crate) fn arm(&mut self) -> bool {
        self.consumer.arm(&self.ring)
    }

    /// Asks them not to, until it is armed again.
    pub(crate) fn disarm(&mut self) {
        self.consumer.disarm(&self.ring);
    }

    /// Gives memory back, when there is nothing to read; says when to come again if it is too early.
    pub(crate) fn rest(&mut self) -> Option<Duration> {
        if !self.consumer.may_give_back() {
            return None;
        }
        let now = clock::monotonic_ns();
        let due = self.rested.map_or(0, |rested| rested + REST_NS);
        if now < due {
            return Some(Duration::from_nanos(due - now));
        }
        self.rested = Some(now);
        self.consumer.give_back(&self.ring, &self.locks);
        None
    }

    /// From now on publishers do not count this channel.
    pub(crate) fn close(&self) {
        self.ring.word(STATE).fetch_or(CLOSED, SeqCst);
    }

    /// The next message, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Message>> {
        let taken = self.take();
        self.consumer.publish_head(&self.ring);
        self.control.count_received(u64::from(matches!(taken, Ok(Some(_)))));
        taken
    }

    /// The next message, not counted yet, and publishers may learn of it late.
    #[inline]
    fn take(&mut self) -> Result<Option<Message>> {
        loop {
            let taken = match self.waiting.take() {
                Some(tag) => Some(Taken::Message(Ok(Err(tag)))),
                None => self.consumer.next(&self.ring, |memory, place, at| match place {
                    Ref::Record { len, .. } => record::read(memory, at, len).map(Ok),
                    Ref::File { tag, .. } => Ok(Err(tag)),
                }),
            };
            let message = match taken {
                None => return Ok(None),
                Some(Taken::Malformed) => None,
                Some(Taken::Message(result)) => match result? {
                    Ok(message) => message,
                    Err(tag) => {
                        let Some(message) = self.take_file(tag)? else { continue };
                        Some(message)
                    }
                },
            };
            let Some(mut message) = message else {
                self.control.count_malformed();
                continue;
            };
            let lost = self.consumer.take_lost();
            if lost > 0 {
                message.set_dropped_before(lost);
            }
            return Ok(Some(message));
        }
    }

    /// The message in a file; `None`: there is none, and that was counted. On an error it waits to be asked for again.
    #[cold]
    #[inline(never)]
    fn take_file(&mut self, tag: u32) -> Result<Option<Message>> {
        let name = super::send::file_name(tag);
        let path = EntryPath::new(&self.directory, name.as_bytes());
        let file = match self.base.open_at(path.as_c_str(), libc::O_RDONLY, 0) {
            Ok(file) => file,
            // A publisher that was about to drop the message has removed its file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.ring.layout.drop_oldest => {
                self.consumer.count_lost(&self.ring);
                return Ok(None);
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
                self.waiting = Some(tag);
                let directory = String::from_utf8_lossy(&self.directory);
                return Err(Error::os(format_args!("opening a message of channel '{directory}'"), error));
            }
            Err(_) => {
                self.control.count_malformed();
                return Ok(None);
            }
        };
        let parsed = match files::read_message(file.as_fd(), &mut [0; files::FIRST_READ]) {
            // There may be memory for it later. Not for ever: a file may say that it is larger than any memory.
            Err(error) if self.unread != Some(tag) => {
                (self.waiting, self.unread) = (Some(tag), Some(tag));
                return Err(error);
            }
            read => read.unwrap_or(None),
        };
        let _ = self.base.unlink(path.as_c_str());
        if parsed.is_none() {
            self.control.count_malformed();
        }
        Ok(parsed.map(|(message, _)| message))
    }
}
