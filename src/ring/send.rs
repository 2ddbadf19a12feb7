//! The sending end of a channel's ring: its publishers of this process, one for each thread that is at work.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::record::{Opened, Record};
use super::words::Ref;
use super::{FileLocks, Layout, Outcome, Producer, Ring, SharedMemory};
use crate::control::{self, Control};
use crate::sys::directory::{Directory, EntryPath};
use crate::sys::fd::Fd;
use crate::sys::random;

/// A publisher keeps its chunk from one message to the next if they come faster than this.
const HURRIED_US: u64 = 50;

/// One publisher of a ring, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Sender {
    producer: Producer<FileLocks>,
    last_us: u64,
    /// Messages since the receiver was last looked after, and when that was.
    since_look: u32,
    looked_us: u64,
    /// Its descriptor, counted.
    _counted: Counted,
}

impl Sender {
    /// Whether it is time to see whether the receiver still lives: every [`LOOK_MESSAGES`] or 10 ms.
    #[inline]
    pub(crate) fn must_look(&mut self, messages: usize, now_us: u64) -> bool {
        self.since_look += messages as u32;
        let due = self.since_look >= LOOK_MESSAGES || now_us.saturating_sub(self.looked_us) >= LOOK_US;
        if due {
            (self.since_look, self.looked_us) = (0, now_us);
        }
        due
    }

    /// From now on it is time.
    pub(crate) fn look_next(&mut self) {
        self.since_look = LOOK_MESSAGES;
    }
}

/// How often publishers look after a receiver: half of the 1,000 messages that are promised, since the messages of a publisher
/// that several threads use are counted in two places.
pub(crate) const LOOK_MESSAGES: u32 = 500;
pub(crate) const LOOK_US: u64 = 10_000;

/// Descriptors of a channel that is open for sending, as the budget counts them.
#[derive(Debug)]
pub(crate) struct Counted {
    open: Arc<AtomicUsize>,
    many: usize,
}

impl Counted {
    pub(crate) fn new(open: &Arc<AtomicUsize>, many: usize) -> Counted {
        open.fetch_add(many, Relaxed);
        Counted { open: Arc::clone(open), many }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(self.many, Relaxed);
    }
}

/// The sending end of a channel's ring.
#[derive(Debug)]
pub(crate) struct RingOutbox {
    ring: Ring<SharedMemory>,
    file: Arc<Fd>,
    /// Those that no thread uses now.
    idle: Mutex<Vec<Sender>>,
    hint: AtomicU32,
    /// The store's descriptors for sending.
    open: Arc<AtomicUsize>,
}

/// The name of a message file that a ref names: no decimal number, so that nothing takes it for a message by itself.
pub(crate) fn file_name(tag: u32) -> String {
    format!("r{tag:x}")
}

/// Whether a file may be one that a ref names.
pub(crate) fn is_file_name(name: &[u8]) -> bool {
    let tag = name.strip_prefix(b"r").and_then(|hex| std::str::from_utf8(hex).ok());
    tag.and_then(|hex| u32::from_str_radix(hex, 16).ok()).is_some_and(|tag| file_name(tag).as_bytes() == name)
}

/// Removes the file of a message that is dropped. It may be gone with the channel.
fn unlink(base: &Directory, directory: &[u8], tag: u32) {
    let name = file_name(tag);
    let _ = base.unlink(EntryPath::new(directory, name.as_bytes()).as_c_str());
}

impl RingOutbox {
    pub(crate) fn new(layout: Layout, control: &Control, file: Fd, open: &Arc<AtomicUsize>) -> RingOutbox {
        let file = Arc::new(file);
        RingOutbox {
            ring: Ring::new(SharedMemory::new(Arc::clone(control.map()), Arc::clone(&file)), layout),
            file,
            idle: Mutex::default(),
            hint: AtomicU32::new(random::number()),
            open: Arc::clone(open),
        }
    }

    /// Whether a message of this length lies in a file: a quarter of a chunk at most is left unused at its end.
    pub(crate) fn wants_file(&self, record_len: usize) -> bool {
        record_len > self.ring.layout.chunk_size as usize / 4
    }

    /// Publishes a record. `wake` writes to the FIFO.
    pub(crate) fn publish(
        &self,
        base: &Directory,
        directory: &[u8],
        record: &Record<'_>,
        now_us: u64,
        wake: impl Fn(),
    ) -> Outcome {
        self.with(base, directory, now_us, |producer, ring| {
            let unlink = |tag| unlink(base, directory, tag);
            producer.publish(ring, record.len() as u32, |memory, at| record.write(memory, at), wake, unlink)
        })
    }

    /// Puts a record into the queue by a publisher that [`lend`](RingOutbox::lend) lent in this process. To be
    /// [finished](RingOutbox::finish), after this one or a few more.
    #[inline]
    pub(crate) fn push_by(
        &self,
        sender: &mut Sender,
        base: &Directory,
        directory: &[u8],
        record: &Record<'_>,
    ) -> Outcome {
        let unlink = |tag| unlink(base, directory, tag);
        let fill = |memory: &SharedMemory, at| record.write(memory, at);
        sender.producer.push(&self.ring, record.len() as u32, fill, unlink)
    }

    /// The same for a message behind an opening.
    #[inline]
    pub(crate) fn push_opened_by(
        &self,
        sender: &mut Sender,
        base: &Directory,
        directory: &[u8],
        message: &Opened<'_>,
    ) -> Outcome {
        let unlink = |tag| unlink(base, directory, tag);
        let fill = |memory: &SharedMemory, at| message.write(memory, at);
        sender.producer.push(&self.ring, message.len() as u32, fill, unlink)
    }

    /// Ends what was pushed; `pushed` is what became of the last.
    #[inline]
    pub(crate) fn finish(&self, sender: &mut Sender, pushed: Outcome, now_us: u64, wake: impl Fn()) -> Outcome {
        let outcome = sender.producer.finish(&self.ring, pushed, wake);
        self.settle(sender, now_us);
        outcome
    }

    /// Whether a message of `bytes` would be taken; drops the oldest for it where that is the policy.
    pub(crate) fn make_room(
        &self,
        base: &Directory,
        directory: &[u8],
        bytes: u64,
        now_us: u64,
        wake: impl Fn(),
    ) -> Outcome {
        self.with(base, directory, now_us, |producer, ring| {
            match producer.make_room(ring, bytes, &mut |tag| unlink(base, directory, tag)) {
                Ok(()) => Outcome::Taken,
                Err(outcome) => producer.finish(ring, outcome, wake),
            }
        })
    }

    /// Publishes a message of `bytes` that has been put into the channel's directory as [`file_name`] of the tag.
    pub(crate) fn publish_file(
        &self,
        base: &Directory,
        directory: &[u8],
        (tag, bytes): (u32, u64),
        now_us: u64,
        wake: impl Fn(),
    ) -> Outcome {
        self.with(base, directory, now_us, |producer, ring| {
            producer.publish_file(ring, Ref::file(tag, bytes), wake, |tag| unlink(base, directory, tag))
        })
    }

    fn with(
        &self,
        base: &Directory,
        directory: &[u8],
        now_us: u64,
        publish: impl FnOnce(&mut Producer<FileLocks>, &Ring<SharedMemory>) -> Outcome,
    ) -> Outcome {
        let mut sender = match self.lend(base, directory) {
            Ok(sender) => sender,
            Err(outcome) => return outcome,
        };
        let outcome = publish(&mut sender.producer, &self.ring);
        self.settle(&mut sender, now_us);
        self.lock().push(sender);
        outcome
    }

    /// A publisher for the calling thread, to be [retired](RingOutbox::retire).
    pub(crate) fn lend(&self, base: &Directory, directory: &[u8]) -> Result<Sender, Outcome> {
        // A forked child's copies have the parent's ids, and no locks.
        if !self.file.is_here() {
            return Err(Outcome::Gone);
        }
        if let Some(idle) = self.lock().pop() {
            return Ok(idle);
        }
        match self.attach(base, directory) {
            Ok(producer) => {
                Ok(Sender { producer, last_us: 0, since_look: 0, looked_us: 0, _counted: Counted::new(&self.open, 1) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Outcome::Gone),
            Err(error) => Err(Outcome::NoMemory(error)),
        }
    }

    /// Lets go of what a publisher holds in the ring; dropping it frees its id.
    pub(crate) fn retire(&self, sender: &mut Sender) {
        // A forked child's copy has no locks: what it would write belongs to the parent.
        if self.file.is_here() {
            sender.producer.release(&self.ring);
        }
    }

    /// After a publish: lets go of the chunk unless the next message can be expected soon.
    #[inline]
    fn settle(&self, sender: &mut Sender, now_us: u64) {
        if now_us.saturating_sub(sender.last_us) > HURRIED_US || !sender.producer.may_keep(&self.ring) {
            sender.producer.release(&self.ring);
        }
        sender.last_us = now_us;
    }

    /// One more publisher: its lock needs an open file description of its own.
    fn attach(&self, base: &Directory, directory: &[u8]) -> io::Result<Producer<FileLocks>> {
        let path = EntryPath::new(directory, control::FILE);
        let path: &CStr = path.as_c_str();
        let file = Fd::new(base.open_at(path, libc::O_RDWR, 0)?);
        let hint = self.hint.fetch_add(1, Relaxed);
        Producer::attach(&self.ring, FileLocks::new(Arc::new(file)), hint)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for RingOutbox {
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()));
        for mut sender in idle {
            self.retire(&mut sender);
        }
    }
}
