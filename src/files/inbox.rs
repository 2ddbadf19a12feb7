//! The receiving end of one channel.

#![forbid(unsafe_code)]

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::outbox::message_ids;
use super::trailer::{self, TRAILER};
use super::{Figures, QUEUE, SETTLE};
use crate::control::Control;
use crate::error::{Error, ErrorKind, Result};
use crate::message::id::{self, TOKEN, is_native};
use crate::message::v1::{self, PrefixError};
use crate::message::{Message, MessageHead};
use crate::sys::chaos;
use crate::sys::clock;
use crate::sys::directory::{Directory, EntryPath, read_at, read_some_at};
use crate::sys::fd::{Fd, status};
use crate::sys::fifo::{self, Wait};
use crate::sys::fork;
use crate::topic::Pattern;

/// What is read of a message file at first: most messages are smaller.
pub(crate) const FIRST_READ: usize = 8192;
/// Ids taken from the FIFO at a time: a page of them.
const REFILL: usize = 4096;
/// Entries that cannot be parsed are kept for a look, this many.
const KEPT_ASIDE: u32 = 16;
/// How often a waiting receiver makes sure that its directory is still there.
const CHECK: Duration = Duration::from_secs(1);

/// The receiving end of one channel.
#[derive(Debug)]
pub(crate) struct Inbox {
    base: Arc<Directory>,
    directory: Vec<u8>,
    pattern: Pattern,
    control: Arc<Control>,
    /// The control page's file: its lock says that this receiver lives.
    held: Arc<Fd>,
    fifo: Arc<Fd>,
    fifo_capacity: usize,
    /// Ids taken from the FIFO or found in the directory, in the order in which to deliver.
    pending: VecDeque<u64>,
    /// A message that the caller gave back.
    returned: Option<Message>,
    /// Its bytes and one more, for [`Figures`]; 0 when there is none.
    returned_size: Arc<AtomicU64>,
    /// The beginning of an entry whose end has not been read yet.
    partial: Vec<u8>,
    /// Whether somebody waits on the descriptor, so that it must be readable while `pending` is not empty.
    fd_in_use: bool,
    /// Whether a token of ours is in the FIFO.
    token_out: bool,
    /// The directory must be listed before the next message is taken.
    list_due: bool,
    /// An id had no file: once the FIFO is empty, the directory is listed.
    unknown_seen: bool,
    /// The queue's figures (messages, bytes) when the queue was found empty, and since when.
    suspect: Option<((i64, i64), Instant)>,
    /// Drops that the receiver has been told of.
    drops_told: u64,
    aside: u32,
    /// Files that could neither be removed nor renamed: they are not taken twice.
    stuck: HashSet<u64>,
    buffer: Box<[u8; FIRST_READ]>,
    checked: Instant,
}

/// What became of one id.
enum Take {
    Message(Message),
    /// Its file is gone.
    Missing,
    /// It was not for us, or no message at all.
    Skipped,
}

impl Inbox {
    /// Opens the queue in this directory, before it can be seen.
    pub(crate) fn open_queue(base: &Directory, directory: &[u8]) -> io::Result<Fd> {
        // Read-write: the end of a FIFO that was opened for reading alone reports a hang-up for ever once a writer left.
        let queue = EntryPath::new(directory, QUEUE);
        let dir = base.fd()?;
        fork::not_amid_fork(|| fifo::open(dir, queue.as_c_str(), libc::O_RDWR).map(Fd::new))
    }

    /// Over a directory that holds this queue and this control page.
    pub(crate) fn new(
        base: Arc<Directory>,
        directory: &[u8],
        pattern: Pattern,
        (control, held): (Control, Fd),
        fifo: Fd,
    ) -> io::Result<Inbox> {
        Ok(Inbox {
            fifo_capacity: fifo::capacity(fifo.get()?),
            base,
            directory: directory.to_vec(),
            pattern,
            control: Arc::new(control),
            held: Arc::new(held),
            fifo: Arc::new(fifo),
            pending: VecDeque::new(),
            returned: None,
            returned_size: Arc::default(),
            partial: Vec::new(),
            fd_in_use: false,
            token_out: false,
            list_due: false,
            unknown_seen: false,
            suspect: None,
            drops_told: 0,
            aside: 0,
            stuck: HashSet::new(),
            buffer: Box::new([0; FIRST_READ]),
            checked: Instant::now(),
        })
    }

    /// What others may know of it meanwhile.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            base: Arc::clone(&self.base),
            directory: self.directory.clone(),
            control: Arc::clone(&self.control),
            held: Arc::clone(&self.held),
            returned_size: Arc::clone(&self.returned_size),
            fifo: Arc::clone(&self.fifo),
        }
    }

    /// What the ring beside it shares with it.
    pub(crate) fn shared(&self) -> (Arc<Control>, Arc<Fd>) {
        (Arc::clone(&self.control), Arc::clone(&self.held))
    }

    /// Whether somebody waits on the descriptor.
    pub(crate) fn is_fd_used(&self) -> bool {
        self.fd_in_use
    }

    /// A message waits elsewhere: the descriptor stays readable.
    pub(crate) fn keep_token(&mut self) -> Result<()> {
        self.keep_readable_if(true)
    }

    /// Whether there may be a message that needs no look at the FIFO.
    pub(crate) fn has_more(&self) -> bool {
        self.returned.is_some() || self.list_due || self.unknown_seen || !self.pending.is_empty()
    }

    pub(crate) fn has_returned(&self) -> bool {
        self.returned.is_some()
    }

    pub(crate) fn fifo(&self) -> &Arc<Fd> {
        &self.fifo
    }

    /// From now on the FIFO is readable as long as a message waits.
    pub(crate) fn use_fd(&mut self) -> Result<()> {
        self.fd_in_use = true;
        self.keep_readable()
    }

    /// Takes back what was read from the FIFO by somebody else.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.list_due |= self.looks_full(bytes.len()) || self.control.take_overflow();
        self.take_entries(bytes);
        self.keep_readable()
    }

    /// Takes back the message that was last taken: it is the next one again.
    pub(crate) fn put_back(&mut self, message: Message) -> Result<()> {
        self.returned_size.store(message.data().len() as u64 + 1, Relaxed);
        self.returned = Some(message);
        self.keep_readable()
    }

    /// The next message, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.returned.take() {
            self.returned_size.store(0, Relaxed);
            self.keep_readable()?;
            return Ok(Some(message));
        }
        loop {
            if self.list_due {
                self.list()?;
            }
            while let Some(id) = self.pending.pop_front() {
                match self.take(id) {
                    Ok(Take::Message(message)) => {
                        // The queue was not empty all the while.
                        self.suspect = None;
                        self.keep_readable()?;
                        return Ok(Some(message));
                    }
                    // Dropped, or found in the directory before: at the end. No id at all: what stands behind it may be
                    // shifted, so the directory tells the order.
                    Ok(Take::Missing) if is_plausible(id) => self.unknown_seen = true,
                    Ok(Take::Missing) => {
                        self.list_due = true;
                        break;
                    }
                    Ok(Take::Skipped) => {}
                    Err(error) => {
                        // Out of descriptors or memory: the message stays.
                        self.pending.push_front(id);
                        self.keep_readable()?;
                        return Err(error);
                    }
                }
            }
            if self.list_due || self.refill()? {
                continue;
            }
            // The FIFO is empty: an incomplete entry at its end was none.
            self.partial.clear();
            if self.unknown_seen || self.figure_is_stale() {
                let suspect = self.suspect.take();
                self.list()?;
                self.unknown_seen = false;
                if !self.pending.is_empty() {
                    continue;
                }
                if let Some((queued, since)) = suspect {
                    if since.elapsed() >= SETTLE && !chaos::planted("figures never healed") {
                        chaos::point("heal.begin");
                        self.control.heal_queued(queued);
                    } else {
                        self.suspect = suspect;
                    }
                }
            }
            return Ok(None);
        }
    }

    /// Waits until there may be a message: at most `timeout`, and no longer than until something must be looked at again.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<Wait> {
        let limit = if self.suspect.is_some() { SETTLE } else { CHECK };
        let fifo = self.fifo.get().map_err(|e| self.error("waiting on channel", e))?;
        let wait = fifo::wait_readable(fifo, Some(timeout.unwrap_or(limit).min(limit)))
            .map_err(|e| self.error("waiting on channel", e))?;
        if wait == Wait::TimedOut {
            self.check_directory()?;
        }
        Ok(wait)
    }

    /// Makes sure, once in a while, that nobody has deleted the channel.
    pub(crate) fn check_directory(&mut self) -> Result<()> {
        if self.checked.elapsed() < CHECK / 10 {
            return Ok(());
        }
        self.checked = Instant::now();
        let links = self.held.get().and_then(status).map_err(|e| self.error("looking at channel", e))?.st_nlink;
        if links == 0 { Err(self.deleted()) } else { Ok(()) }
    }

    /// Whether nobody has deleted the channel, now.
    pub(crate) fn is_there(&self) -> bool {
        self.held.get().and_then(status).is_ok_and(|status| status.st_nlink > 0)
    }

    fn deleted(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format_args!(
                "the directory of channel '{}' was deleted by another program; close the channel and open a new one",
                String::from_utf8_lossy(&self.directory)
            ),
        )
    }

    /// Whether so many bytes at once mean that ids may not have fitted into the FIFO. A page that has been read in part
    /// takes nothing more, so a FIFO can be full with up to a page less than its capacity.
    fn looks_full(&self, bytes: usize) -> bool {
        bytes + 4096 > self.fifo_capacity && !chaos::planted("overflow unnoticed")
    }

    /// Takes ids from the FIFO; false when there are none.
    fn refill(&mut self) -> Result<bool> {
        let fifo = Arc::clone(&self.fifo);
        let fifo = fifo.get().map_err(|e| self.error("reading the queue of channel", e))?;
        // The mark before the FIFO: an id that is read now was not written after one that did not fit.
        if self.control.take_overflow() {
            self.list_due = true;
            return Ok(true);
        }
        let waiting = fifo::waiting(fifo).map_err(|e| self.error("reading the queue of channel", e))?;
        if waiting == 0 {
            return Ok(false);
        }
        if self.looks_full(waiting) {
            self.list_due = true;
            return Ok(true);
        }
        let mut entries = [0; REFILL];
        let n = fifo::read(fifo, &mut entries).map_err(|e| self.error("reading the queue of channel", e))?;
        chaos::point("fetch.read");
        self.take_entries(&entries[..n]);
        // It may have become full between the look and the read.
        if n == REFILL {
            let left = fifo::waiting(fifo).map_err(|e| self.error("reading the queue of channel", e))?;
            self.list_due |= self.looks_full(n + left);
        }
        Ok(n > 0)
    }

    /// Splits what was read from the FIFO into ids.
    fn take_entries(&mut self, mut bytes: &[u8]) {
        if !self.partial.is_empty() {
            let missing = (8 - self.partial.len()).min(bytes.len());
            self.partial.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let Ok(entry) = <[u8; 8]>::try_from(&self.partial[..]) {
                self.partial.clear();
                self.take_entry(entry);
            }
        }
        let entries = bytes.chunks_exact(8);
        self.partial.extend_from_slice(entries.remainder());
        for entry in entries {
            // chunks_exact gives 8 bytes.
            self.take_entry(entry.try_into().unwrap_or_default());
        }
    }

    fn take_entry(&mut self, entry: [u8; 8]) {
        match u64::from_be_bytes(entry) {
            TOKEN => self.token_out = false,
            id => self.pending.push_back(id),
        }
    }

    /// Makes the directory's listing the queue: see the module's text.
    fn list(&mut self) -> Result<()> {
        // Until it is done: an attempt that failed (out of descriptors) is made up for.
        self.list_due = true;
        let result = self.try_list();
        if result.is_ok() {
            self.list_due = false;
        } else {
            self.keep_readable()?;
        }
        result
    }

    fn try_list(&mut self) -> Result<()> {
        self.drain()?;
        chaos::point("list.drained");
        let mut found = self.listed()?;
        // A listing takes a while, and of two files that a publisher links meanwhile it may show the second only (ext4 does).
        // Whoever made the newest that it shows had linked all its earlier ones before a second listing begins, and so had
        // any other publisher of what is older than that one.
        let indexed: HashSet<u64> = self.pending.iter().copied().collect();
        let newest = found.iter().filter(|id| is_native(**id) && !indexed.contains(id)).max().copied();
        if let Some(newest) = newest.filter(|_| !chaos::planted("listed once")) {
            found.extend(self.listed()?.into_iter().filter(|&id| is_native(id) && id < newest));
        }
        let mut ordered = Vec::with_capacity(found.len());
        // The FIFO's order, for formix ids do not rise.
        let mut latest = 0;
        for id in std::mem::take(&mut self.pending) {
            if found.remove(&id) {
                let age = if is_native(id) { age_key(id) } else { self.sent(id).max(latest) };
                if !is_native(id) {
                    latest = age;
                }
                ordered.push((age, id));
            }
        }
        for id in found {
            ordered.push((if is_native(id) { age_key(id) } else { self.sent(id) }, id));
        }
        ordered.sort_by_key(|&(age, _)| age);
        self.pending = ordered.into_iter().map(|(_, id)| id).collect();
        Ok(())
    }

    fn listed(&self) -> Result<HashSet<u64>> {
        let found = message_ids(&self.base, &self.directory).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => self.deleted(),
            _ => self.error("listing channel", e),
        })?;
        Ok(found.into_iter().filter(|id| !self.stuck.contains(id)).collect())
    }

    /// Takes all ids from the FIFO: at most one FIFO full, for publishers may be faster than this. What stays is read later
    /// and then has no file.
    fn drain(&mut self) -> Result<()> {
        let fifo = Arc::clone(&self.fifo);
        let fifo = fifo.get().map_err(|e| self.error("reading the queue of channel", e))?;
        let mut entries = [0; REFILL];
        for _ in 0..=self.fifo_capacity / REFILL {
            match fifo::read(fifo, &mut entries).map_err(|e| self.error("reading the queue of channel", e))? {
                0 => break,
                n => self.take_entries(&entries[..n]),
            }
        }
        Ok(())
    }

    /// When a formix message was sent, on the scale of our ids; its id alone is random within 65 milliseconds.
    fn sent(&self, id: u64) -> u64 {
        /// Where the time stamp stands in a message file.
        const TIMESTAMP: u64 = 13;
        let path = EntryPath::of_message(&self.directory, id);
        let mut stamp = [0; 8];
        match self.base.open_at(path.as_c_str(), libc::O_RDONLY, 0) {
            Ok(file) if matches!(read_at(file.as_fd(), &mut stamp, TIMESTAMP), Ok(8)) => {
                id::floor(u64::from_be_bytes(stamp) & (u64::MAX >> 12))
            }
            _ => age_key(id),
        }
    }

    /// Whether the queue's figure has stood apart from 0 for long enough while the queue is empty.
    fn figure_is_stale(&mut self) -> bool {
        let queued = self.control.queued();
        match self.suspect {
            _ if queued == (0, 0) => self.suspect = None,
            Some((before, since)) if before == queued => return since.elapsed() >= SETTLE,
            _ => self.suspect = Some((queued, Instant::now())),
        }
        false
    }

    /// Keeps the descriptor readable while there is more.
    fn keep_readable(&mut self) -> Result<()> {
        self.keep_readable_if(!self.pending.is_empty() || self.list_due || self.returned.is_some())
    }

    fn keep_readable_if(&mut self, more: bool) -> Result<()> {
        if self.fd_in_use && !self.token_out && more {
            let fifo = self.fifo.get().map_err(|e| self.error("waking channel", e))?;
            match fifo::write_own_entry(fifo, TOKEN) {
                Ok(()) => self.token_out = true,
                // A full FIFO is readable.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.error("waking channel", error)),
            }
        }
        Ok(())
    }

    fn take(&mut self, id: u64) -> Result<Take> {
        let path = EntryPath::of_message(&self.directory, id);
        let path = path.as_c_str();
        let file = match self.base.open_at(path, libc::O_RDONLY, 0) {
            Ok(file) => file,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT) => Ok(Take::Missing),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                        Err(self.error("opening a message of channel", error))
                    }
                    // A symbolic link, a socket, a file that we may not read.
                    _ => self.set_aside(id),
                };
            }
        };
        let Some((mut message, size)) = read_message(&file, &mut self.buffer)? else { return self.set_aside(id) };
        drop(file);
        chaos::point("fetch.parsed");
        // Who removes the file has the message.
        if chaos::planted("delivered twice") && self.stuck.insert(id) {
            self.pending.push_back(id);
        } else if let Err(error) = self.base.unlink(path) {
            if error.raw_os_error() == Some(libc::ENOENT) {
                return Ok(Take::Skipped);
            }
            // It cannot be removed, so it must not be taken twice.
            self.stuck.insert(id);
        }
        chaos::point("fetch.unlinked");
        if is_native(id) {
            self.control.release(size);
        }
        // formix publishers match by rules of their own: see `store::layout`.
        if !self.pattern.matches(message.topic()) {
            return Ok(Take::Skipped);
        }
        self.control.count_received(1);
        let dropped = self.control.dropped();
        if dropped > self.drops_told {
            message.set_dropped_before(dropped - self.drops_told);
            self.drops_told = dropped;
        }
        Ok(Take::Message(message))
    }

    /// Gets an entry that is no message out of the way: the first few are renamed for `doctor`, the others removed.
    fn set_aside(&mut self, id: u64) -> Result<Take> {
        let path = EntryPath::of_message(&self.directory, id);
        let size = self.base.status(path.as_c_str()).map_or(0, |stat| stat.st_size as u64);
        let name = EntryPath::new(&self.directory, format!("malformed-{id}").as_bytes());
        // What cannot be unlinked (a directory) is renamed whatever their number.
        let removed = (self.aside >= KEPT_ASIDE && self.base.unlink(path.as_c_str()).is_ok())
            || self.base.rename(path.as_c_str(), name.as_c_str()).is_ok();
        if removed {
            self.aside += 1;
            if is_native(id) {
                self.control.release(size);
            }
        } else {
            self.stuck.insert(id);
        }
        self.control.count_malformed();
        Ok(Take::Skipped)
    }

    fn error(&self, what: &str, error: io::Error) -> Error {
        Error::os(format_args!("{what} '{}'", String::from_utf8_lossy(&self.directory)), error)
    }
}

/// Reads a message file: no more than it says, and no more than there is.
/// Answers the message and the file's size; `None`: it is no message.
pub(crate) fn read_message(file: impl AsFd, buffer: &mut [u8; FIRST_READ]) -> Result<Option<(Message, u64)>> {
    let fd = file.as_fd();
    let error = |e| Error::os("reading a message", e);
    // A directory or the like opens, but cannot be read.
    let Ok(mut n) = read_some_at(fd, &mut buffer[..], 0) else { return Ok(None) };
    // Most messages are whole with that; what is not may have been read in part.
    if n < FIRST_READ && !v1::is_whole(&buffer[..n]) {
        let Ok(more) = read_at(fd, &mut buffer[n..], n as u64) else { return Ok(None) };
        n += more;
    }
    // Beyond the first piece the file's size decides what may be allocated.
    let size = if n < FIRST_READ { n as u64 } else { status(fd).map_err(error)?.st_size as u64 };
    let mut longer = Vec::new();
    let mut bytes = &buffer[..n];
    let prefix = loop {
        match v1::parse_prefix(bytes) {
            Ok(prefix) => break prefix,
            Err(PrefixError::Malformed(_)) => return Ok(None),
            Err(PrefixError::Incomplete { need }) => {
                if need > size || need as usize <= bytes.len() {
                    return Ok(None);
                }
                longer = Vec::new();
                let out_of_memory = |_| Error::os("reading a message", io::ErrorKind::OutOfMemory.into());
                longer.try_reserve_exact(need as usize).map_err(out_of_memory)?;
                longer.resize(need as usize, 0);
                if read_at(fd, &mut longer, 0).map_err(error)? < longer.len() {
                    return Ok(None);
                }
                bytes = &longer;
            }
        }
    };
    let end = prefix.len as u64 + u64::from(prefix.data_len);
    if end > size {
        return Ok(None);
    }
    // Most often it has been read with the rest.
    let mut behind = [0; TRAILER];
    let behind = match usize::try_from(end).ok().and_then(|end| bytes.get(end..)) {
        Some(behind) if behind.len() >= TRAILER || size <= end => behind,
        _ if size <= end => &[],
        _ => {
            let n = read_at(fd, &mut behind, end).map_err(error)?;
            &behind[..n]
        }
    };
    let (epoch, offset) = trailer::parse(behind).unwrap_or_default();
    let head = MessageHead::of_history(prefix.id, prefix.timestamp_us, epoch, offset);
    let mut message = Message::new(head, prefix.topic, prefix.headers_json, prefix.data_len as usize)?;
    let here = &bytes[prefix.len..];
    let here = &here[..here.len().min(prefix.data_len as usize)];
    let offset = (prefix.len + here.len()) as u64;
    let (first, rest) = message.data_mut().split_at_mut(here.len());
    first.copy_from_slice(here);
    if read_at(fd, rest, offset).map_err(error)? < rest.len() {
        return Ok(None);
    }
    drop(longer);
    Ok(Some((message, size)))
}

/// Whether an id may be one: given out within a day, by its own clock.
fn is_plausible(id: u64) -> bool {
    const DAY_US: u64 = 24 * 3600 * 1_000_000;
    (age_key(id) / id::floor(1)).abs_diff(clock::wall_us()) < DAY_US
}

/// Sorts ids of both kinds by when they were given out.
pub(crate) fn age_key(id: u64) -> u64 {
    if is_native(id) { id } else { id::floor(id) }
}
