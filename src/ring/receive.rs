//! The receiving end of a channel's ring.

#![forbid(unsafe_code)]

mod batch;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::words::Ref;
use super::{CLOSED, Consumer, FileLocks, Layout, Ring, STATE, SharedMemory, Taken, record};
use crate::control::Control;
use crate::error::Result;
use crate::files;
use crate::message::Message;
use crate::sys::clock;
use crate::sys::directory::{Directory, EntryPath};
use crate::sys::fd::Fd;

/// Memory is given back at most this often: in a queue that fills and drains a thousand times a second, taking it anew each
/// time would cost more than the messages.
const REST_NS: u64 = 10_000_000;
/// How often a receiver looks for a message before it yields, and how long it pauses before each look: about 100 ns.
const LOOKS: u32 = 10;
const PAUSES: u32 = 5;
/// How often a receiver yields before it sleeps.
const YIELDS: u32 = 50;

/// The receiving end of a channel's ring.
#[derive(Debug)]
pub(crate) struct RingInbox {
    ring: Ring<SharedMemory>,
    consumer: Consumer,
    locks: FileLocks,
    control: Arc<Control>,
    base: Arc<Directory>,
    directory: Vec<u8>,
    /// When memory was last given back.
    rested: Option<u64>,
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
            ring: Ring { memory, layout },
            consumer: Consumer::new(),
            locks: FileLocks::new(held),
            control,
            base,
            directory: directory.to_vec(),
            rested: None,
        }
    }

    pub(crate) fn has_message(&mut self) -> bool {
        self.consumer.has_message(&self.ring)
    }

    /// Waits for a moment, then gives others the processor a few times: a publisher that is at work is worth waiting for, since
    /// waking a sleeper costs it a system call and the sleeper twenty microseconds.
    ///
    /// The next slot is looked at now and then only: each look takes its cache line from the publisher that is about to write
    /// to it, and slows it down.
    pub(crate) fn comes_soon(&mut self) -> bool {
        for _ in 0..LOOKS {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
            if self.has_message() {
                return true;
            }
        }
        for _ in 0..YIELDS {
            std::thread::yield_now();
            if self.has_message() {
                return true;
            }
        }
        false
    }

    /// Asks publishers to write to the FIFO; whether the ring is still empty.
    pub(crate) fn arm(&mut self) -> bool {
        self.consumer.arm(&self.ring)
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
            let taken = self.consumer.next(&self.ring, |memory, place, at| match place {
                Ref::Record { len, .. } => record::read(memory, at, len).map(Ok),
                Ref::File { tag, .. } => Ok(Err(tag)),
            });
            let message = match taken {
                None => return Ok(None),
                Some(Taken::Malformed) => None,
                Some(Taken::Message(result)) => match result? {
                    Ok(message) => message,
                    Err(tag) => match self.take_file(tag)? {
                        Some(parsed) => parsed,
                        // A publisher was about to drop it, and removed the file.
                        None => {
                            self.consumer.count_lost();
                            continue;
                        }
                    },
                },
            };
            let Some(mut message) = message else {
                self.control.count_malformed();
                continue;
            };
            let lost = self.take_lost();
            if lost > 0 {
                message.set_dropped_before(lost);
            }
            return Ok(Some(message));
        }
    }

    /// How many were lost just before the message that was taken last; counts them.
    #[inline]
    fn take_lost(&mut self) -> u64 {
        let lost = self.consumer.take_lost();
        if lost > 0 {
            self.control.count_dropped(lost);
        }
        lost
    }

    /// The message in a file; `None`: there is no file; `Some(None)`: it is no message.
    #[cold]
    #[inline(never)]
    fn take_file(&mut self, tag: u32) -> Result<Option<Option<Message>>> {
        let name = super::send::file_name(tag);
        let path = EntryPath::new(&self.directory, name.as_bytes());
        let file = match self.base.open_at(path.as_c_str(), libc::O_RDONLY, 0) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Ok(Some(None)),
        };
        let parsed = files::read_message(file.as_fd(), &mut [0; files::FIRST_READ])?;
        let _ = self.base.unlink(path.as_c_str());
        Ok(Some(parsed.map(|(message, _)| message)))
    }
}
