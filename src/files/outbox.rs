//! The sending end of one channel.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::{MessageFile, QUEUE};
use crate::control::{self, Control, FullPolicy, Unusable};
use crate::error::{Error, ErrorKind};
use crate::message::id::{TOKEN, is_native};
use crate::ring::{Counted, LOOK_MESSAGES, LOOK_US, Opened, Record, RingOutbox, Sender};
use crate::sys::chaos;
use crate::sys::directory::{Directory, EntryPath, Kind};
use crate::sys::fd::{Fd, status};
use crate::sys::fifo;
use crate::sys::random;

/// What became of one message for one channel.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// It is in the queue.
    Taken,
    /// The queue is full and rejects.
    Full,
    /// Nobody receives there any more.
    Gone,
    /// The id is in use in this channel: try again with another.
    IdTaken,
    /// The file can be linked no more: try again with a new one.
    FileSpent,
    /// The ring has no room for a record, but takes a message in a file.
    NoSpace,
    /// It could not be delivered.
    Failed(Error),
}

/// What came of dropping the oldest message.
enum Dropping {
    One,
    Nothing,
    Denied,
}

/// A channel opened for sending.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The channel's directory, a name in the store.
    directory: Vec<u8>,
    fifo: Fd,
    /// `None`: a formix-pubsub channel.
    control: Option<Arc<Control>>,
    /// The way of libpubsub publishers to a ring channel.
    ring: Option<RingOutbox>,
    /// The user whose channel it is.
    pub owner: u32,
    /// Drop-oldest: ids seen in the directory, oldest first, that were there at the last look.
    oldest: Mutex<VecDeque<u64>>,
    /// When it was last used, nanoseconds of the wall clock.
    pub used: AtomicU64,
    _counted: Counted,
    /// Ring: messages since the receiver was last looked after, and when that was.
    since_look: AtomicU32,
    looked_us: AtomicU64,
}

impl Outbox {
    /// Opens a channel for sending. `Ok(None)`: nobody receives there (yet, or any more).
    pub(crate) fn open(base: &Directory, directory: &[u8], open: &Arc<AtomicUsize>) -> Result<Option<Outbox>, Error> {
        let name = || String::from_utf8_lossy(directory);
        let fd = base.fd().map_err(|e| Error::os("using the store", e))?;
        let queue = EntryPath::new(directory, QUEUE);
        let fifo = match fifo::open(fd, queue.as_c_str(), libc::O_WRONLY) {
            Ok(fifo) => fifo,
            Err(error) => {
                return match error.raw_os_error() {
                    // No reader, no queue yet, no directory any more, or a hostile entry in place of one of them.
                    Some(libc::ENXIO | libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENODEV | libc::EISDIR) => {
                        Ok(None)
                    }
                    None if error.kind() == io::ErrorKind::InvalidData => Ok(None),
                    _ => Err(Error::os(format_args!("opening the queue of channel '{}'", name()), error)),
                };
            }
        };
        let owner = status(&fifo).map_err(|e| Error::os("looking at a queue", e))?.st_uid;
        let page = EntryPath::new(directory, control::FILE);
        let (control, ring) = match base.open_at(page.as_c_str(), libc::O_RDWR, 0) {
            Ok(file) => match Control::attach(file.as_fd()) {
                Ok(control) => {
                    let control = Arc::new(control);
                    let ring =
                        control.terms().ring.map(|layout| RingOutbox::new(layout, &control, Fd::new(file), open));
                    (Some(control), ring)
                }
                Err(unusable) => return Err(unusable_error(unusable, &name())),
            },
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => (None, None),
            Err(error) => {
                return Err(Error::os(format_args!("opening the control page of channel '{}'", name()), error));
            }
        };
        Ok(Some(Outbox {
            // A ring's file stays open, too.
            _counted: Counted::new(open, if ring.is_some() { 2 } else { 1 }),
            directory: directory.to_vec(),
            fifo: Fd::new(fifo),
            control,
            ring,
            owner,
            oldest: Mutex::default(),
            used: AtomicU64::new(0),
            since_look: AtomicU32::new(0),
            looked_us: AtomicU64::new(0),
        }))
    }

    pub(crate) fn is_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// Whether it is a formix-pubsub channel.
    pub(crate) fn is_foreign(&self) -> bool {
        self.control.is_none()
    }

    /// Whether it only wants what formix-pubsub programs publish: a recorder's.
    pub(crate) fn is_for_foreign(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.terms().for_foreign)
    }

    /// Since when its channel can be seen, microseconds since the epoch, if that reads histories first; else 0.
    pub(crate) fn joined_us(&self) -> u64 {
        self.control.as_ref().map_or(0, |control| control.joined_us())
    }

    /// Whether a message for the ring lies in a file, which must be [linked](Outbox::deliver_file) then.
    pub(crate) fn wants_file(&self, record: &Record<'_>) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.wants_file(record.len()))
    }

    /// Puts a message into the ring.
    pub(crate) fn deliver_record(&self, base: &Directory, record: &Record<'_>, now_us: u64) -> Delivery {
        let Some(ring) = &self.ring else { return Delivery::Gone };
        if self.is_dead_now_and_then(now_us) {
            return Delivery::Gone;
        }
        self.delivery(ring.publish(base, &self.directory, record, now_us, || self.wake()))
    }

    /// A publisher of the ring for one thread, to be [retired](Outbox::retire); `None`: there is no ring, or for some reason
    /// (which [`Outbox::deliver_record`] tells) no publisher.
    pub(crate) fn lend(&self, base: &Directory) -> Option<Sender> {
        self.ring.as_ref()?.lend(base, &self.directory).ok()
    }

    /// Ends what [`lend`](Outbox::lend) lent.
    pub(crate) fn retire(&self, sender: &mut Sender) {
        if let Some(ring) = &self.ring {
            ring.retire(sender);
        }
    }

    /// [`deliver_record`](Outbox::deliver_record) by a publisher that was lent. `more`: others follow, and this one is to be
    /// [finished](Outbox::finish) with them; any answer but `Taken` has finished those before it.
    #[inline]
    pub(crate) fn deliver_by(
        &self,
        sender: &mut Sender,
        base: &Directory,
        record: &Record<'_>,
        now_us: u64,
        more: bool,
    ) -> Delivery {
        let Some(ring) = &self.ring else { return Delivery::Gone };
        if sender.must_look(1, now_us) && self.is_abandoned() {
            return Delivery::Gone;
        }
        let pushed = ring.push_by(sender, base, &self.directory, record);
        let is_taken = matches!(pushed, crate::ring::Outcome::Taken);
        if is_taken && more {
            return Delivery::Taken;
        }
        match ring.finish(sender, pushed, now_us, || self.wake()) {
            crate::ring::Outcome::Taken => Delivery::Taken,
            outcome => self.delivery(outcome),
        }
    }

    /// Before a run of so many messages: whether the ring is worth it.
    pub(crate) fn begin_run(&self, sender: &mut Sender, messages: usize, now_us: u64) -> bool {
        let is_dead = sender.must_look(messages, now_us) && self.is_abandoned();
        if is_dead {
            // The message that goes another way is to find that out, and to say so.
            sender.look_next();
        }
        self.ring.is_some() && !is_dead
    }

    /// Puts a message of a run into the ring, of which the receiver is told by [`finish`](Outbox::finish). `false`: it must take
    /// another way.
    #[inline]
    pub(crate) fn deliver_opened_by(&self, sender: &mut Sender, base: &Directory, message: &Opened<'_>) -> bool {
        let Some(ring) = &self.ring else { return false };
        !ring.wants_file(message.len())
            && matches!(ring.push_opened_by(sender, base, &self.directory, message), crate::ring::Outcome::Taken)
    }

    /// [`deliver_by`](Outbox::deliver_by) for a message behind an opening, with no others to follow. `None`: it must take
    /// another way.
    #[inline]
    pub(crate) fn deliver_one_opened_by(
        &self,
        sender: &mut Sender,
        base: &Directory,
        message: &Opened<'_>,
    ) -> Option<Delivery> {
        let ring = self.ring.as_ref()?;
        if ring.wants_file(message.len()) {
            return None;
        }
        if sender.must_look(1, message.timestamp_us) && self.is_abandoned() {
            return Some(Delivery::Gone);
        }
        let pushed = ring.push_opened_by(sender, base, &self.directory, message);
        Some(match ring.finish(sender, pushed, message.timestamp_us, || self.wake()) {
            crate::ring::Outcome::Taken => Delivery::Taken,
            outcome => self.delivery(outcome),
        })
    }

    /// Ends a run of [`deliver_by`](Outbox::deliver_by): the receiver is woken. `Gone`: it has closed the channel.
    pub(crate) fn finish(&self, sender: &mut Sender, now_us: u64) -> Delivery {
        let Some(ring) = &self.ring else { return Delivery::Gone };
        self.delivery(ring.finish(sender, crate::ring::Outcome::Taken, now_us, || self.wake()))
    }

    /// Whether the ring takes a message that is to be put into a file: asked before that is written.
    pub(crate) fn make_room(&self, base: &Directory, record: &Record<'_>) -> Delivery {
        let Some(ring) = &self.ring else { return Delivery::Gone };
        let now_us = record.timestamp_us;
        self.delivery(ring.make_room(base, &self.directory, record.len() as u64, now_us, || self.wake()))
    }

    /// Puts a message into the ring whose content is in a file.
    pub(crate) fn deliver_file(&self, base: &Directory, file: &MessageFile, record: &Record<'_>) -> Delivery {
        let Some(ring) = &self.ring else { return Delivery::Gone };
        loop {
            let tag = random::number();
            let name = crate::ring::file_name(tag);
            let path = EntryPath::new(&self.directory, name.as_bytes());
            match file.link(base, path.as_c_str()) {
                Ok(()) => {
                    chaos::point("publish.linked");
                    let message = (tag, record.len() as u64);
                    let now_us = record.timestamp_us;
                    let outcome = ring.publish_file(base, &self.directory, message, now_us, || self.wake());
                    let delivery = self.delivery(outcome);
                    if !matches!(delivery, Delivery::Taken) {
                        let _ = base.unlink(path.as_c_str());
                    }
                    return delivery;
                }
                // Another message's tag.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return self.link_error(file, error),
            }
        }
    }

    #[cold]
    fn delivery(&self, outcome: crate::ring::Outcome) -> Delivery {
        use crate::ring::Outcome;
        match outcome {
            // A dead receiver's queue stays full.
            Outcome::Full | Outcome::Displacing if self.is_abandoned() => Delivery::Gone,
            Outcome::Taken | Outcome::Displacing => Delivery::Taken,
            Outcome::Full => Delivery::Full,
            Outcome::NoSpace => Delivery::NoSpace,
            Outcome::Gone => Delivery::Gone,
            Outcome::NoMemory(error) => Delivery::Failed(self.error("reserving memory for channel", error)),
            Outcome::Corrupt => Delivery::Failed(Error::new(
                ErrorKind::Corrupt,
                format_args!(
                    "the ring of channel '{}' is corrupt; close the channel and open a new one",
                    String::from_utf8_lossy(&self.directory)
                ),
            )),
        }
    }

    /// Wakes the receiver. A full FIFO wakes as well, and a receiver that is gone is noticed elsewhere.
    fn wake(&self) {
        if let Ok(fifo) = self.fifo.get() {
            let _ = fifo::write_entry(fifo, TOKEN);
        }
    }

    /// Looks after the receiver every [`LOOK_MESSAGES`] or 10 ms.
    fn is_dead_now_and_then(&self, now_us: u64) -> bool {
        let count = self.since_look.fetch_add(1, Relaxed);
        if count < LOOK_MESSAGES && now_us.saturating_sub(self.looked_us.load(Relaxed)) < LOOK_US {
            return false;
        }
        self.since_look.store(0, Relaxed);
        self.looked_us.store(now_us, Relaxed);
        self.is_abandoned()
    }

    /// Takes room for a message of this many bytes in its file; false when the queue is full and rejects. What is
    /// reserved is either [delivered](Outbox::deliver) or [released](Outbox::release).
    pub(crate) fn reserve(&self, base: &Directory, bytes: u64) -> bool {
        let Some(control) = &self.control else { return true };
        if control.try_reserve(bytes) {
            return true;
        }
        match control.terms().policy {
            FullPolicy::Reject => {
                self.ask_for_healing();
                false
            }
            FullPolicy::DropOldest => {
                while !control.try_reserve(bytes) {
                    match self.drop_one(base, control) {
                        Dropping::One => {}
                        Dropping::Denied => return false,
                        Dropping::Nothing => {
                            // Full by its figures, empty by its directory: killed publishers left the figures too high.
                            control.reserve(bytes);
                            break;
                        }
                    }
                }
                true
            }
        }
    }

    /// Takes room again that a message had.
    pub(crate) fn reserve_anyway(&self, bytes: u64) {
        if let Some(control) = &self.control {
            control.reserve(bytes);
        }
    }

    /// Gives back what was reserved for a message that is not delivered.
    pub(crate) fn release(&self, bytes: u64) {
        if let Some(control) = &self.control {
            control.release(bytes);
        }
    }

    /// Counts a message that was refused.
    pub(crate) fn count_rejected(&self) {
        if let Some(control) = &self.control {
            control.count_rejected();
        }
    }

    /// Puts a message into the queue, for which room is reserved. Whatever the answer but `Taken`, the room is given back.
    pub(crate) fn deliver(&self, base: &Directory, file: &MessageFile, id: u64, bytes: u64) -> Delivery {
        let delivery = self.try_deliver(base, file, id);
        if !matches!(delivery, Delivery::Taken) {
            self.release(bytes);
        }
        delivery
    }

    fn try_deliver(&self, base: &Directory, file: &MessageFile, id: u64) -> Delivery {
        let path = EntryPath::of_message(&self.directory, id);
        chaos::point("publish.reserved");
        let rung_before = chaos::planted("rung before linked");
        if rung_before {
            let _ = self.ring(id);
            chaos::point("publish.linked");
        }
        if let Err(error) = file.link(base, path.as_c_str()) {
            return self.link_error(file, error);
        }
        if rung_before {
            return Delivery::Taken;
        }
        chaos::point("publish.linked");
        match self.ring(id) {
            Ok(true) => {
                chaos::point("publish.rung");
                Delivery::Taken
            }
            Ok(false) => self.take_back(base, &path, Delivery::Full),
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => self.take_back(base, &path, Delivery::Gone),
            Err(error) => {
                let failed = Delivery::Failed(self.error("writing to the queue of channel", error));
                self.take_back(base, &path, failed)
            }
        }
    }

    fn link_error(&self, file: &MessageFile, error: io::Error) -> Delivery {
        match error.raw_os_error() {
            Some(libc::EEXIST) => Delivery::IdTaken,
            Some(libc::ENOENT | libc::EACCES) if file.is_spent() && !chaos::planted("a spent file counts as gone") => {
                Delivery::FileSpent
            }
            Some(libc::ENOENT | libc::ENOTDIR) => Delivery::Gone,
            _ => Delivery::Failed(self.error("linking a message into channel", error)),
        }
    }

    /// Writes the id to the FIFO; false when it must be taken back because the FIFO is full.
    fn ring(&self, id: u64) -> io::Result<bool> {
        let fifo = self.fifo.get()?;
        let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match fifo::write_entry(fifo, id) {
            Ok(()) => return Ok(true),
            Err(error) if !full(&error) => return Err(error),
            Err(_) => {}
        }
        let Some(control) = &self.control else { return Ok(false) };
        if chaos::planted("overflow unnoticed") {
            return Ok(true);
        }
        control.set_overflow();
        chaos::point("publish.overflow");
        match fifo::write_entry(fifo, id) {
            // Full after the mark was raised: the receiver has yet to empty it, and then sees the mark.
            Err(error) if full(&error) => {
                chaos::point("publish.unrung");
                Ok(true)
            }
            result => result.map(|()| true),
        }
    }

    /// Removes a message that was linked. One that is gone went with its channel.
    fn take_back(&self, base: &Directory, path: &EntryPath, outcome: Delivery) -> Delivery {
        chaos::point("publish.refused");
        if !chaos::planted("not taken back") {
            let _ = base.unlink(path.as_c_str());
        }
        outcome
    }

    /// Whether its receiver is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.fifo.get().is_ok_and(fifo::is_abandoned)
    }

    /// A full queue with an empty FIFO may be one that a killed publisher left so: the receiver, once awake, heals it.
    fn ask_for_healing(&self) {
        if let Ok(fifo) = self.fifo.get() {
            if fifo::waiting(fifo).is_ok_and(|bytes| bytes == 0) {
                // Full or abandoned: nothing to do about it here.
                let _ = fifo::write_entry(fifo, TOKEN);
            }
        }
    }

    /// Removes the oldest message to make room.
    fn drop_one(&self, base: &Directory, control: &Control) -> Dropping {
        while let Some(id) = self.next_oldest(base) {
            let path = EntryPath::of_message(&self.directory, id);
            let Ok(stat) = base.status(path.as_c_str()) else { continue };
            let late = chaos::planted("drop counted late");
            if !late {
                control.announce_drop();
            }
            chaos::point("drop.announced");
            if let Err(error) = base.unlink(path.as_c_str()) {
                if !late {
                    control.withdraw_drop();
                }
                match error.raw_os_error() {
                    // The receiver took it, or another publisher dropped it.
                    Some(libc::ENOENT) => continue,
                    // Another user's, or a hostile directory of that name.
                    _ => return Dropping::Denied,
                }
            }
            chaos::point("drop.unlinked");
            if late {
                control.announce_drop();
            }
            if is_native(id) {
                control.release(stat.st_size as u64);
            }
            return Dropping::One;
        }
        Dropping::Nothing
    }

    fn next_oldest(&self, base: &Directory) -> Option<u64> {
        // A poisoned lock guards nothing but a cache.
        let mut oldest = self.oldest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if oldest.is_empty() {
            let mut ids = message_ids(base, &self.directory).unwrap_or_default();
            ids.sort_unstable_by_key(|&id| super::inbox::age_key(id));
            // What is old now may not be the oldest much later: look again after a sixteenth of the queue.
            let few = ids.len().div_ceil(16);
            oldest.extend(ids.into_iter().take(few));
        }
        oldest.pop_front()
    }

    fn error(&self, what: &str, error: io::Error) -> Error {
        Error::os(format_args!("{what} '{}'", String::from_utf8_lossy(&self.directory)), error)
    }

    /// When it was last used; see [`Outbox::used`].
    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Relaxed);
    }
}

/// The ids of the message files in a channel's directory, in no order.
pub(crate) fn message_ids(base: &Directory, directory: &[u8]) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    let path = EntryPath::new(directory, b".");
    base.list(path.as_c_str(), |entry| {
        if entry.kind != Kind::Directory {
            ids.extend(message_id(entry.name));
        }
        true
    })?;
    Ok(ids)
}

/// The id that a file name stands for: decimal, as a publisher writes it.
pub(crate) fn message_id(name: &[u8]) -> Option<u64> {
    let canonical = name == b"0" || name.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    if !canonical || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

fn unusable_error(unusable: Unusable, name: &str) -> Error {
    match unusable {
        Unusable::Version(version) => Error::new(
            ErrorKind::Unsupported,
            format_args!(
                "channel '{name}' was opened by another version of libpubsub (control page version {version}, this one \
                 knows 1); use the same version in every program"
            ),
        ),
        Unusable::Corrupt(what) => Error::new(
            ErrorKind::Corrupt,
            format_args!("channel '{name}' is corrupt: {what}; close it and open a new one"),
        ),
        Unusable::Io(error) => Error::os(format_args!("reading the control page of channel '{name}'"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::message_id;

    #[test]
    fn only_canonical_decimal_names_are_messages() {
        assert_eq!(message_id(b"0"), Some(0));
        assert_eq!(message_id(b"18446744073709551615"), Some(u64::MAX));
        for name in [&b""[..], b"01", b"+1", b"1a", b"18446744073709551616", b"queue", b"-1", b"malformed-1"] {
            assert_eq!(message_id(name), None);
        }
    }
}
