//! Locks of single bytes of a file, held by an open file description (`F_OFD_*`, Linux 3.15): the kernel releases them
//! with the last descriptor, whatever killed the process, in whatever pid namespace it lived.
//!
//! Two opens of one file conflict also within a process. Descriptors shared by fork are one holder, which is why a child
//! closes what it inherits (see [`fork`](super::fork)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

fn flock(byte: i64) -> libc::flock {
    // SAFETY: an all-zero flock is a valid value of the plain C struct; OFD locks want l_pid = 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = byte as _;
    lock.l_len = 1;
    lock
}

#[cfg(target_os = "linux")]
const SET: libc::c_int = libc::F_OFD_SETLK;
#[cfg(target_os = "linux")]
const GET: libc::c_int = libc::F_OFD_GETLK;
// Elsewhere locks belong to the process: still released by the kernel, but blind to holders in the same process.
#[cfg(not(target_os = "linux"))]
const SET: libc::c_int = libc::F_SETLK;
#[cfg(not(target_os = "linux"))]
const GET: libc::c_int = libc::F_GETLK;

/// Takes the write lock of one byte; whether it was free. The file must be open for writing.
pub(crate) fn try_lock(fd: impl AsFd, byte: i64) -> io::Result<bool> {
    loop {
        // SAFETY: the descriptor is borrowed and the lock description is valid.
        if unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), SET, &flock(byte)) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EAGAIN) | Some(libc::EACCES) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Gives a lock back.
pub(crate) fn unlock(fd: impl AsFd, byte: i64) -> io::Result<()> {
    let mut lock = flock(byte);
    lock.l_type = libc::F_UNLCK as _;
    // SAFETY: the descriptor is borrowed and the lock description is valid.
    if unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), SET, &lock) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether somebody else holds the write lock of this byte.
pub(crate) fn is_locked(fd: impl AsFd, byte: i64) -> io::Result<bool> {
    loop {
        let mut lock = flock(byte);
        // SAFETY: the descriptor is borrowed and `lock` is valid to read and write.
        if unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), GET, &mut lock) } == 0 {
            return Ok(lock.l_type != libc::F_UNLCK as libc::c_short);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}
