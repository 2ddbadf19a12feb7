//! The receiving end of a channel's ring.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::Arc;

use super::words::Ref;
use super::{CLOSED, Consumer, FileLocks, Layout, Ring, STATE, SharedMemory, Taken, record};
use crate::control::Control;
use crate::error::Result;
use crate::files;
use crate::message::Message;
use crate::sys::directory::{Directory, EntryPath};
use crate::sys::fd::Fd;
use std::sync::atomic::Ordering::SeqCst;

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
    told: u64,
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
            told: 0,
        }
    }

    pub(crate) fn has_message(&mut self) -> bool {
        self.consumer.has_message(&self.ring)
    }

    /// Gives others the processor a few times: a publisher that is at work is worth waiting for, since waking a sleeper
    /// costs it a system call and the sleeper twenty microseconds.
    pub(crate) fn comes_soon(&mut self) -> bool {
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

    /// Gives memory back when there is nothing to read.
    pub(crate) fn rest(&mut self) {
        self.consumer.give_back(&self.ring, &self.locks);
    }

    /// From now on publishers do not count this channel.
    pub(crate) fn close(&self) {
        self.ring.word(STATE).fetch_or(CLOSED, SeqCst);
    }

    /// The next message, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Message>> {
        loop {
            let taken = self.consumer.next(&self.ring, |memory, place, at| match place {
                Ref::Record { len, .. } => record::read(memory, at, len).map(Ok),
                Ref::File(id) => Ok(Err(id)),
            });
            let message = match taken {
                None => return Ok(None),
                Some(Taken::Malformed) => None,
                Some(Taken::Message(result)) => match result? {
                    Ok(message) => message,
                    Err(id) => self.take_file(id)?,
                },
            };
            let Some(mut message) = message else {
                self.control.count_malformed();
                continue;
            };
            self.control.count_received();
            let lost = self.consumer.take_lost();
            if lost > 0 {
                self.told = self.told.saturating_add(lost);
                self.control.count_dropped(lost);
                message.set_dropped_before(lost);
            }
            return Ok(Some(message));
        }
    }

    fn take_file(&mut self, id: u64) -> Result<Option<Message>> {
        let name = super::send::file_name(id);
        let path = EntryPath::new(&self.directory, name.as_bytes());
        let Ok(file) = self.base.open_at(path.as_c_str(), libc::O_RDONLY, 0) else { return Ok(None) };
        let parsed = files::read_message(file.as_fd(), &mut [0; files::FIRST_READ])?;
        let _ = self.base.unlink(path.as_c_str());
        Ok(parsed.map(|(message, size)| {
            self.control.release(size);
            message
        }))
    }
}
