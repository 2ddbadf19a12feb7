//! Reading a history.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::page::{self, Terms, W_LOST, W_LOST_BEHIND};
use super::record::Entry;
use super::{record, unusable};
use crate::error::{Error, Result};
use crate::files;
use crate::message::Message;
use crate::ring::{Look, Place, Seen};
use crate::sys::clock;
use crate::sys::directory::{Directory, EntryPath, read_at};

/// What a position of a history holds.
#[derive(Debug)]
pub(crate) enum Kept {
    Message(Message),
    /// Older than the history keeps it.
    Expired,
    /// Given up for newer ones, or damaged.
    Gone,
}

/// Positions of a history that follow each other.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The offset to go on from.
    pub next: u64,
    /// What lies before `next`, by offset.
    pub kept: Vec<(u64, Kept)>,
}

/// A history opened for reading. Offsets count from 1.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    base: &'a Directory,
    directory: Vec<u8>,
    file: OwnedFd,
    terms: Terms,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// The history of a topic; `None`: it is not managed.
    pub(crate) fn open<'a>(base: &'a Directory, topic: &str) -> Result<Option<Reader<'a>>> {
        let directory = page::directory_name(topic);
        let path = EntryPath::new(&directory, page::FILE);
        let file = match base.open_at(path.as_c_str(), libc::O_RDONLY, 0) {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
            Err(error) => return Err(unusable(error.into(), topic)),
        };
        let terms = page::inspect(&file).map_err(|e| unusable(e, topic))?;
        Ok(Some(Reader { base, directory, file, terms, buffer: Vec::new() }))
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    fn look(&self) -> Look<'_, BorrowedFd<'_>> {
        Look { source: self.file.as_fd(), layout: &self.terms.layout }
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::os(format_args!("reading the history of '{}'", self.terms.topic), error)
    }

    /// The offset of the oldest message, and the one that the next will get.
    pub(crate) fn range(&self) -> Result<(u64, u64)> {
        let (head, tail) = self.look().range().map_err(|e| self.failed(e))?;
        let head = head.max(tail.saturating_sub(self.terms.messages));
        Ok((head.saturating_add(1), tail.saturating_add(1)))
    }

    /// Whether an append has failed since the message of this offset was the last.
    pub(crate) fn has_lost_since(&self, offset: u64) -> Result<bool> {
        let look = self.look();
        let word = |index| look.word(index).map_err(|e| self.failed(e));
        Ok(word(W_LOST)? > 0 && offset <= word(W_LOST_BEHIND)?)
    }

    /// What lies from one offset to before another: as much as fits into about `bytes`, one position at least.
    pub(crate) fn batch(&mut self, from: u64, to: u64, bytes: usize) -> Result<Batch> {
        let now = clock::wall_us();
        let mut batch = Batch { next: from, kept: Vec::new() };
        let mut left = bytes;
        while batch.next < to && (left > 0 || batch.next == from) {
            let position = batch.next.saturating_sub(1);
            let seen = self.look().slots(position, to - batch.next).map_err(|e| self.failed(e))?;
            if seen.is_empty() {
                // Less than was promised: the file is damaged. All of it is gone, at once.
                batch.kept.push((to - 1, Kept::Gone));
                batch.next = to;
                break;
            }
            for slot in seen {
                if left == 0 && batch.next != from {
                    break;
                }
                let offset = batch.next;
                let kept = match slot {
                    Seen::Message(place) => self.read(place, offset, now)?,
                    _ => Kept::Gone,
                };
                if let Kept::Message(message) = &kept {
                    left = left.saturating_sub(message.data().len() + message.headers_json().len() + 128);
                }
                batch.kept.push((offset, kept));
                batch.next += 1;
            }
        }
        // After the copies: see `ring::Look`.
        let head = self.look().head_after().map_err(|e| self.failed(e))?;
        for (_, kept) in batch.kept.iter_mut().take_while(|(offset, _)| *offset <= head) {
            *kept = Kept::Gone;
        }
        Ok(batch)
    }

    fn read(&mut self, place: Place, offset: u64, now: u64) -> Result<Kept> {
        let message = match place {
            Place::Record { offset: at, len } => {
                // No more than a chunk.
                self.buffer.resize(len, 0);
                let n = read_at(self.file.as_fd(), &mut self.buffer, at).map_err(|e| self.failed(e))?;
                record::parse(&self.buffer[..n], &self.terms, offset)?
            }
            Place::File { tag, .. } => self.read_file(tag, offset)?,
            Place::Malformed => None,
        };
        Ok(match message {
            Some(message) if self.is_expired(message.timestamp_us(), now) => Kept::Expired,
            Some(message) => Kept::Message(message),
            None => Kept::Gone,
        })
    }

    fn read_file(&self, tag: u32, offset: u64) -> Result<Option<Message>> {
        let name = crate::ring::file_name(tag);
        let path = EntryPath::new(&self.directory, name.as_bytes());
        let file = match self.base.open_at(path.as_c_str(), libc::O_RDONLY, 0) {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
                return Err(self.failed(error));
            }
            Err(_) => return Ok(None),
        };
        let read = files::read_message(&file, &mut [0; files::FIRST_READ])?;
        let is_whole = |message: &Message| {
            let tags = Entry::of_message(message).tags(&self.terms);
            message.topic() == self.terms.topic && tags.is_none_or(|mut tags| tags.any(|other| other == tag))
        };
        Ok(read.map(|(message, _)| message).filter(is_whole).map(|mut message| {
            message.set_place(self.terms.epoch, offset);
            message
        }))
    }

    fn is_expired(&self, timestamp_us: i64, now: u64) -> bool {
        self.terms.ttl_us != 0 && now.saturating_sub(timestamp_us.max(0) as u64) > self.terms.ttl_us
    }

    /// How many messages there are, and their bytes as they are stored.
    pub(crate) fn contents(&self, from: u64, to: u64) -> Result<(u64, u64)> {
        let (mut messages, mut bytes, mut next) = (0, 0, from);
        while next < to {
            let seen = self.look().slots(next.saturating_sub(1), to - next).map_err(|e| self.failed(e))?;
            if seen.is_empty() {
                break;
            }
            for slot in seen {
                next += 1;
                let size = match slot {
                    Seen::Message(Place::Record { len, .. }) => len as u64,
                    Seen::Message(Place::File { size, .. }) => size,
                    _ => continue,
                };
                messages += 1;
                bytes += size;
            }
        }
        Ok((messages, bytes))
    }

    /// The first offset from `from` on whose message is not too old. Times rise with offsets, give or take what publishers take
    /// between looking at the clock and appending: found by halving.
    pub(crate) fn first_fresh(&mut self, from: u64, to: u64) -> Result<u64> {
        if self.terms.ttl_us == 0 {
            return Ok(from);
        }
        let now = clock::wall_us();
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = low + (high - low) / 2;
            let slot = self.look().slots(middle.saturating_sub(1), 1).map_err(|e| self.failed(e))?;
            let old = match slot.first() {
                Some(Seen::Message(place)) => !matches!(self.read(*place, middle, now)?, Kept::Message(_)),
                _ => true,
            };
            if old {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// The epoch of a topic's history, and the offset that its next message gets; `None`: it is not managed, or that cannot be told.
pub(crate) fn end(base: &Directory, topic: &str) -> Option<(u64, u64)> {
    let reader = Reader::open(base, topic).ok()??;
    let (_, end) = reader.range().ok()?;
    Some((reader.terms().epoch, end))
}

/// The names of the files in a topic's directory that its history does not name; `None`: it is not managed.
pub(crate) fn stray_files(base: &Directory, topic: &str) -> Result<Option<Vec<Vec<u8>>>> {
    // Listed first: a file that is named later is in the history by the time it is looked at, or young.
    let directory = page::directory_name(topic);
    let mut names = Vec::new();
    let list = base.list(EntryPath::new(&directory, b".").as_c_str(), |entry| {
        if entry.name != page::FILE {
            names.push(entry.name.to_vec());
        }
        true
    });
    list.map_err(|e| Error::os(format_args!("listing the history of '{topic}'"), e))?;
    let Some(reader) = Reader::open(base, topic)? else { return Ok(None) };
    let (mut next, end) = reader.range()?;
    while next < end {
        let seen = reader.look().slots(next.saturating_sub(1), end - next).map_err(|e| reader.failed(e))?;
        if seen.is_empty() {
            return Ok(None);
        }
        next += seen.len() as u64;
        for slot in seen {
            if let Seen::Message(Place::File { tag, .. }) = slot {
                let name = crate::ring::file_name(tag);
                names.retain(|other| *other != name.as_bytes());
            }
        }
    }
    Ok(Some(names))
}
