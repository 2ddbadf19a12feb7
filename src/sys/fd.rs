//! Descriptors that a forked child closes and never uses.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::fork;

/// One bit for each descriptor number that is ours. Descriptors beyond are not closed in a child until it execs; the
/// kernel's own default ceiling (fs.nr_open) is this number.
const LIMIT: usize = 1 << 20;
static OURS: [AtomicU64; LIMIT / 64] = [const { AtomicU64::new(0) }; LIMIT / 64];
/// Words of `OURS` in use: those from here on were always 0.
static WORDS: AtomicUsize = AtomicUsize::new(0);

fn mark(fd: RawFd, ours: bool) {
    let fd = fd as usize;
    if fd >= LIMIT {
        return;
    }
    if ours {
        WORDS.fetch_max(fd / 64 + 1, Ordering::Relaxed);
        OURS[fd / 64].fetch_or(1 << (fd % 64), Ordering::Relaxed);
    } else {
        OURS[fd / 64].fetch_and(!(1 << (fd % 64)), Ordering::Relaxed);
    }
}

/// In a forked child: closes what it inherited. Async-signal-safe.
pub(super) fn close_inherited() {
    for (i, word) in OURS.iter().enumerate().take(WORDS.load(Ordering::Relaxed)) {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let fd = i * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // SAFETY: the descriptor is one of ours, inherited; its owner object sees another generation and will
            // neither use nor close it.
            unsafe { libc::close(fd as RawFd) };
        }
    }
}

/// An owned descriptor that ends with the process that opened it.
#[derive(Debug)]
pub(crate) struct Fd {
    fd: RawFd,
    generation: u64,
}

impl Fd {
    pub(crate) fn new(fd: OwnedFd) -> Fd {
        let fd = fd.into_raw_fd();
        mark(fd, true);
        Fd { fd, generation: fork::generation() }
    }

    /// Whether this process opened it.
    pub(crate) fn is_here(&self) -> bool {
        fork::generation() == self.generation
    }

    /// The descriptor; an error in a child that inherited the object but not the descriptor.
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        if self.is_here() {
            // SAFETY: open until drop, which takes &mut self.
            Ok(unsafe { BorrowedFd::borrow_raw(self.fd) })
        } else {
            Err(io::Error::from_raw_os_error(libc::EBADF))
        }
    }

    /// Its number, to hand out or to compare.
    pub(crate) fn raw(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if self.is_here() {
            mark(self.fd, false);
            // SAFETY: this process opened it and this is the only owner.
            drop(unsafe { OwnedFd::from_raw_fd(self.fd) });
        }
    }
}

/// How much of this process's limit of open files there is: the soft limit.
pub(crate) fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    limit.rlim_cur
}

/// Device, inode, links, size, modification time and mode of an open file.
pub(crate) fn status(fd: impl AsFd) -> io::Result<libc::stat> {
    // SAFETY: an all-zero stat is a valid value of the plain C struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is borrowed, `stat` is valid to write to.
    if unsafe { libc::fstat(fd.as_fd().as_raw_fd(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat)
}
