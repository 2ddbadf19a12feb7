//! The store's page: one counter that makes ids unique, and where the next step of cleaning begins.
//!
//! It is the file `.pubsub/store`, 4,096 bytes, of native 64-bit words: 0 magic and version (a zeroed file is a valid new
//! one), 8 the last id given out, 16 when the next step of cleaning is due (wall-clock microseconds), 17 the place in the
//! listing at which it begins.
//!
//! An id is the greater of the clock (microseconds shifted left by 12) and the last id plus one, so ids are unique and
//! rise through the whole store, also when the clock is set back. Should somebody delete the page, the clock makes up for
//! it: the counter is ahead of the clock only by what was handed out faster than 4,096 in a microsecond.
//!
//! A publisher in a hurry takes ids in blocks ([`Ids`]), about as many as it used in the last microsecond: this page's
//! line is shared by all publishers of the store, and to write to it costs more than all else that a publish does.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::layout::{PRIVATE, STORE_FILE};
use super::{PAGE_CHECK_NS, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::message::id;
use crate::sys::chaos;
use crate::sys::clock::{self, Moment};
use crate::sys::directory::{self, Directory, set_mode};
use crate::sys::fd::status;
use crate::sys::fork::PerProcess;
use crate::sys::mapping::{Mapping, reserve};

const BYTES: usize = 4096;
/// `"pubsubS"` and version 1.
const MAGIC: u64 = u64::from_ne_bytes(*b"pubsubS\x01");
const W_MAGIC: usize = 0;
const W_LAST_ID: usize = 8;
const W_CLEAN_DUE: usize = 16;
const W_CLEAN_AT: usize = 17;
/// A last id further ahead of the clock than this is no id: something scribbled on the page.
const FAR_AHEAD_US: u64 = 24 * 3600 * 1_000_000;

/// The mapped page.
#[derive(Debug)]
pub(crate) struct StorePage {
    map: Mapping,
    inode: (u64, u64),
}

/// The page that this process opened last stays mapped: a program that opens one channel after the other, with nothing of the
/// store open in between, would spend a sixth of its time on it.
static LAST: PerProcess<Mutex<Option<Kept>>> = PerProcess::new(Mutex::default);

/// A page, and its store's home: the same directory may be found elsewhere with less rights.
#[derive(Debug)]
struct Kept {
    home: PathBuf,
    page: Arc<StorePage>,
}

impl StorePage {
    /// The page that was opened last, if it is that of the store at `home` still and opening it would find nothing to do.
    pub(crate) fn kept(home: &Path, base: &Directory, mode: u32) -> Option<Arc<StorePage>> {
        let last = lock(LAST.get()).as_ref().filter(|last| last.home == home).map(|last| Arc::clone(&last.page));
        last.filter(|page| page.is_good(base, mode))
    }

    /// Opens the page of the store at `home`, made if need be.
    pub(crate) fn open(home: &Path, base: &Directory, mode: u32) -> Result<Arc<StorePage>> {
        let page = Arc::new(StorePage::open_anew(base, mode)?);
        lock(LAST.get()).replace(Kept { home: home.to_path_buf(), page: Arc::clone(&page) });
        Ok(page)
    }

    fn open_anew(base: &Directory, mode: u32) -> Result<StorePage> {
        let failed = |e| Error::os("opening .pubsub/store in the store", e);
        let flags = libc::O_RDWR | libc::O_CREAT;
        let file = match base.open_at(STORE_FILE, flags, mode) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                directory::ensure(base, PRIVATE).map_err(failed)?;
                base.open_at(STORE_FILE, flags, mode)
            }
            result => result,
        }
        .map_err(failed)?;
        let stat = status(&file).map_err(failed)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Error::new(ErrorKind::Corrupt, "'.pubsub/store' in the store is not a file; remove it"));
        }
        let store = base.own_status().map_err(failed)?;
        if stat.st_uid != store.st_uid {
            // Made by root, or in a shared store by a user of its group, who may not give it away.
            let _ = directory::set_owner(&file, store.st_uid);
        }
        if stat.st_mode & 0o777 != mode {
            // Made by somebody whose umask took bits away, if it is ours to say.
            let _ = set_mode(&file, mode);
        }
        chaos::point("store.page");
        reserve(file.as_fd(), BYTES).map_err(failed)?;
        let map = Mapping::new(file.as_fd(), BYTES / 8).map_err(failed)?;
        if let Err(found) = map.word(W_MAGIC).compare_exchange(0, MAGIC, AcqRel, Acquire) {
            if found != MAGIC {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "'.pubsub/store' in the store was made by another version of libpubsub, or is damaged; end every program \
                     that uses the store and remove the file",
                ));
            }
        }
        Ok(StorePage { map, inode: (stat.st_dev, stat.st_ino) })
    }

    fn is_good(&self, base: &Directory, mode: u32) -> bool {
        base.status(STORE_FILE).is_ok_and(|stat| {
            (stat.st_dev, stat.st_ino) == self.inode
                && stat.st_size as usize >= BYTES
                && stat.st_mode & 0o777 == mode
                && self.map.word(W_MAGIC).load(Acquire) == MAGIC
        })
    }

    /// Whether the file at its path is still the one that is mapped.
    pub(crate) fn is_current(&self, base: &Directory) -> bool {
        base.status(STORE_FILE).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.inode)
    }

    /// New ids for `count` messages that are published now: this one and those behind it.
    pub(crate) fn next_ids(&self, wall_us: u64, count: u64) -> u64 {
        let floor = id::floor(wall_us);
        let ceiling = id::floor(wall_us.saturating_add(FAR_AHEAD_US));
        if chaos::planted("ids from a coarse clock") {
            return id::floor(wall_us / 1024 * 1024);
        }
        let next = |last: u64| if last >= floor && last < ceiling { last + 1 } else { floor };
        let word = self.map.word(W_LAST_ID);
        // Relaxed: uniqueness needs only that updates of the one word follow each other.
        match word.fetch_update(Relaxed, Relaxed, |last| Some(next(last) + (count - 1))) {
            Ok(last) | Err(last) => next(last),
        }
    }

    /// Whether a step of cleaning is due; if so, it is this caller's, and the next is due `pause_us` later.
    pub(crate) fn claim_cleaning(&self, pause_us: impl FnOnce() -> u64) -> bool {
        let word = self.map.word(W_CLEAN_DUE);
        let due = word.load(Relaxed);
        let now = clock::wall_us();
        // A time that is further off than any pause was written by a clock since set back.
        if now < due && due - now < 10_000_000 {
            return false;
        }
        word.compare_exchange(due, now + pause_us(), Relaxed, Relaxed).is_ok()
    }

    /// Puts off the next step.
    pub(crate) fn set_cleaning_due(&self, pause_us: u64) {
        self.map.word(W_CLEAN_DUE).store(clock::wall_us() + pause_us, Relaxed);
    }

    /// Where the next step begins; it moves on by `step`.
    pub(crate) fn cleaning_place(&self, step: u64) -> u64 {
        self.map.word(W_CLEAN_AT).fetch_add(step, Relaxed)
    }
}

thread_local! {
    /// The last id that this thread used, behind the [number](Store::number) of its store.
    static LAST_USED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The thread has used an id that was not taken ahead: those that were are lower.
pub(crate) fn note_used(store: &Store, id: u64) {
    LAST_USED.set((store.number(), id));
}

/// Ids taken ahead.
///
/// They are good for the microsecond in which they were taken, so that an id never tells an earlier time than its message's.
/// Ids rise for each thread, whichever of its publishers' blocks it gets its next one from: it goes on in a block only where
/// that lies beyond the last id that it used. (Ids of different stores say nothing of each other.)
#[derive(Debug, Default)]
pub(crate) struct Ids {
    next: u64,
    end: u64,
    start: u64,
    /// The page that they come from, and when it was last seen to be the store's: kept, so that no lock stands before it.
    page: Option<(Arc<StorePage>, u64)>,
}

/// The most that are taken ahead: more than a microsecond, or a batch's run, can use.
const BLOCK: u64 = 128;

impl Ids {
    /// The next id, for a message published at `now`.
    #[inline]
    pub(crate) fn next(&mut self, now: Moment, store: &Store) -> Result<u64> {
        self.next_run(now, store, 1)
    }

    /// The first of the next `many` ids, which follow each other.
    #[inline]
    pub(crate) fn next_run(&mut self, now: Moment, store: &Store, many: usize) -> Result<u64> {
        let many = many as u64;
        let (number, last) = LAST_USED.get();
        let is_beyond = number == store.number() && last < self.next;
        if self.end - self.next < many || self.next < id::floor(now.wall_us()) || !is_beyond {
            self.take(now, store, many)?;
        }
        let id = self.next;
        self.next += many;
        LAST_USED.set((store.number(), self.next - 1));
        Ok(id)
    }

    #[cold]
    fn take(&mut self, now: Moment, store: &Store, many: u64) -> Result<()> {
        // As many as the last block was good for; twice as many if it was used up.
        let used = self.next - self.start;
        let count = if self.end - self.next < many { 2 * used } else { used };
        let count = count.min(BLOCK).max(many);
        let kept = self.page.take().filter(|&(_, checked)| !now.is_since(checked, PAGE_CHECK_NS));
        let (page, _) = self.page.insert(kept.map_or_else(|| store.page(now), Ok)?);
        self.start = page.next_ids(now.wall_us(), count);
        (self.next, self.end) = (self.start, self.start + count);
        Ok(())
    }
}

/// Looks at a page without mapping or changing it; answers the time of the last id, microseconds since the epoch.
pub(super) fn inspect(file: BorrowedFd<'_>) -> Result<u64> {
    let failed = |e| Error::os("cannot be read", e);
    if status(file).map_err(failed)?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Error::new(ErrorKind::InvalidArgument, "is not a file"));
    }
    let mut bytes = [0; BYTES];
    // What is short, or has no magic yet, is completed by who opens it next.
    directory::read_at(file, &mut bytes, 0).map_err(failed)?;
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_ne_bytes(word)
    };
    let (magic, ours) = (word(W_MAGIC).to_ne_bytes(), MAGIC.to_ne_bytes());
    if magic != ours && magic != [0; 8] {
        return Err(match magic[..7] == ours[..7] {
            true => Error::new(
                ErrorKind::Unsupported,
                format_args!("has version {}; this libpubsub knows {}", magic[7], ours[7]),
            ),
            false => Error::new(ErrorKind::Corrupt, "does not begin as the store's page does"),
        });
    }
    // Further ahead than that it is no id, and nobody takes it for one.
    let last_us = id::time_us(word(W_LAST_ID));
    Ok(if last_us < clock::wall_us().saturating_add(FAR_AHEAD_US) { last_us } else { 0 })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is replaced is replaced in one step.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether an error says that there is no such store page or directory because somebody has removed them.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_ids_rise_whichever_publishers_block_they_come_from() {
        let home = tempfile::tempdir_in("/dev/shm").unwrap();
        let store = Store::at(Some(home.path())).unwrap();
        let (mut one, mut other) = (Ids::default(), Ids::default());
        // All within a microsecond, for which blocks are good.
        let now = Moment::now();
        let mut last = 0;
        for many in [1, 1, 8, 20, 64, 2] {
            for ids in [&mut one, &mut other] {
                for many in [many, 1] {
                    let first = ids.next_run(now, &store, many).unwrap();
                    assert!(first > last, "{first} behind {last}");
                    last = first + many as u64 - 1;
                }
            }
            let noted = store.next_ids(now, 1).unwrap();
            note_used(&store, noted);
            last = noted;
        }
    }
}
